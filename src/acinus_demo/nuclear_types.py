"""The five kinds of nuclei that PanNuke tells apart, as sprites that know their own outline."""

import dataclasses
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from acinus import seeds
from acinus_demo import nuclei
from acinus_demo.nuclei import Bank, Kind
from acinus_demo.texture import Field

NuclearType = Literal["neoplastic", "inflammatory", "connective", "dead", "epithelial"]
TYPES: tuple[NuclearType, ...] = get_args(NuclearType)  # in the order of masks.npy
ORIENTED: frozenset[NuclearType] = frozenset({"connective", "epithelial"})
VARIANTS = 256
MPP = 0.25
SLENDER = 6  # of the 16 variants of each direction, the most elongated ones are spindles

KINDS: dict[NuclearType, Kind] = {
    "neoplastic": Kind(9.25, 0.30, 1.9, 0.26, body=0.50, clumps=0.50, rim=0.80, nucleoli=2, nucleolus_um=2.0),
    "inflammatory": Kind(5.5, 0.12, 1.2, 0.06, body=0.88, clumps=0.70, rim=0.25, body_spread=0.2),
    "connective": Kind(5.5, 0.12, 5.0, 0.14, body=0.72, clumps=0.35, rim=0.25, body_spread=0.25),
    "epithelial": Kind(7.5, 0.08, 1.6, 0.05, body=0.60, clumps=0.30, rim=0.40, nucleoli=1, nucleolus_um=0.75),
}
CORPSE = Kind(3.75, 0.15, 1.4, 0.10, body=1.35, clumps=0.0, rim=0.0, body_spread=0.2)
CRUMB = Kind(1.875, 0.25, 1.2, 0.05, body=1.35, clumps=0.0, rim=0.0, body_spread=0.2)
HALO = Kind(8.5, 0.15, 1.3, 0.12, body=0.72, clumps=0.25, rim=0.0)  # shrunken pink cytoplasm round a dead nucleus


@dataclasses.dataclass(frozen=True)
class Sprites:
    """Variants of one kind, all (variants, edge, edge): density * nuclei.UNIT, and True within the outline."""

    density: Bank
    inside: NDArray[np.bool_]


def sprites(seed: int, name: NuclearType) -> Sprites:
    """Draw the variants of one type; those of ORIENTED types stand in direction order for `nuclei.facing`."""
    if name == "dead":
        return _fragmented(seed)
    drawn = _outlined(seed, KINDS[name], name in ORIENTED)
    return _slender(drawn) if name == "connective" else drawn


def halo(seed: int) -> Bank:
    """Draw the eosinophilic bodies that dead nuclei lie in."""
    return nuclei.bank(np.random.default_rng(seed), HALO, VARIANTS, mpp=MPP)


def _outlined(seed: int, kind: Kind, oriented: bool) -> Sprites:
    # the same draws without chromatin give the same outlines, filled evenly
    flat = dataclasses.replace(kind, body=1.0, clumps=0.0, rim=0.0, nucleoli=0, body_spread=0.0)
    density = nuclei.bank(np.random.default_rng(seed), kind, VARIANTS, oriented, MPP)
    filled = nuclei.bank(np.random.default_rng(seed), flat, VARIANTS, oriented, MPP)
    return Sprites(density, filled >= nuclei.UNIT // 2)


def _slender(drawn: Sprites) -> Sprites:
    """Keep the SLENDER most elongated variants of each direction."""
    edge = drawn.inside.shape[1]
    twice = 2 * np.arange(edge) - (edge - 1)
    distance2 = twice[:, None] * twice[:, None] + twice[None, :] * twice[None, :]
    area = drawn.inside.sum(axis=(1, 2))
    spread: Field = ((drawn.inside * distance2).sum(axis=(1, 2)) / (area * area)).astype(np.float32)
    groups = spread.reshape(nuclei.ANGLES, -1)
    best = np.argsort(-groups, axis=1, kind="stable")[:, :SLENDER]
    keep = (best + np.arange(nuclei.ANGLES)[:, None] * groups.shape[1]).ravel()
    return Sprites(drawn.density[keep], drawn.inside[keep])


def _fragmented(seed: int) -> Sprites:
    """Draw dead nuclei: a shrunken smooth piece and one to three crumbs beside it."""
    rng = np.random.default_rng(seed)
    corpse = _outlined(seeds.derive(seed, "corpse"), CORPSE, oriented=False)
    crumb = _outlined(seeds.derive(seed, "crumb"), CRUMB, oriented=False)
    edge = 52
    density = np.zeros((VARIANTS, edge, edge), np.uint8)
    inside = np.zeros((VARIANTS, edge, edge), np.bool_)
    for k in range(VARIANTS):
        pieces = [(corpse, 0, 0)]
        for _ in range(int(rng.integers(1, 4))):
            dx, dy = (int(d) for d in rng.integers(-11, 12, 2))
            pieces.append((crumb, dx, dy))
        for piece, dx, dy in pieces:
            small = piece.density.shape[1]
            top, left = (edge - small) // 2 + dy, (edge - small) // 2 + dx
            cut = (k, slice(top, top + small), slice(left, left + small))
            variant = int(rng.integers(VARIANTS))
            density[cut] = np.maximum(density[cut], piece.density[variant])
            inside[cut] |= piece.inside[variant]
    return Sprites(density, inside)
