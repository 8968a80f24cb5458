"""The cohort with slide labels only: small slides and a table; nothing is outlined, and a part of each tells its label.

Every slide has three islands of epithelium among stroma, lymphoid tissue and necrosis. In `grade` of them the cells are
those of a tumour, in the others they stand in glands. How large the tissue is and how it is stained says nothing.
"""

import dataclasses
import itertools
import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from acinus import seeds
from acinus.files import write_text
from acinus.params import MilDemo
from acinus_demo import layout, nuclei, outline, pyramid, render, stain, tissues
from acinus_demo.ground import grid_shape
from acinus_demo.outline import Ring
from acinus_demo.texture import Field, fractal, stream

ISLANDS = 3
"""Of epithelium; as many of a slide as its grade says are tumour."""
OTHERS = ("lymphoid", "lymphoid", "necrosis")
"""The other islands, on every slide."""
COLUMNS, ROWS = 3, 2  # of places for islands
UNLABELLED = 2
"""The last patients, of whom no label is known."""
GRADES = (0, 1, 0, 2, 0, 3)
"""Of the patients in turn."""
SIZES = (0.8, 1.15)  # of a slide, relative to the settings
BORDERS = (("glands", tissues.GLAND_PX), ("nests", tissues.NEST_PX))
STAIN_SPREAD = 2.0  # laboratories differ by more than slides of one
FOLLOW_UP = 60.0  # months, after which nobody was seen any more


@dataclasses.dataclass(frozen=True)
class Patient:
    """One patient. grade: how many islands of epithelium are tumour. months: until death (event 1) or last seen."""

    name: str
    site: str
    grade: int
    months: float
    event: int
    labelled: bool


@dataclasses.dataclass(frozen=True)
class SlidePlan:
    """All that is needed to draw one slide. size: width, height; islands: (tissue, ring in level-0 px)."""

    slide_id: str
    patient: Patient
    score: float
    size: tuple[int, int]
    mpp: float
    seed: int
    cohort_seed: int
    tissue: Ring
    islands: tuple[tuple[str, Ring], ...]

    @property
    def image(self) -> str:
        """The slide's file below the root."""
        return f"{self.slide_id}.tif"


def plan(seed: int, settings: MilDemo) -> list[SlidePlan]:
    """Return the plans of all slides in drawing order; cheap, and the same for the same arguments."""
    own = seeds.derive(seed, "demo", "mil")
    owners = list(itertools.islice(_owners(), settings.slides))
    last = owners[-1]
    patients = [_patient(own, number, number <= last - UNLABELLED) for number in range(last + 1)]
    return [_plan_slide(own, settings, number, patients[owner]) for number, owner in enumerate(owners)]


def _owners() -> "itertools.chain[int]":
    """Return whose slide is whose, without an end: every fifth patient has two."""
    return itertools.chain.from_iterable([number] * (2 if number % 5 == 4 else 1) for number in itertools.count())


def _patient(seed: int, number: int, labelled: bool) -> Patient:
    rng = stream(seed, "patient", number)
    grade = GRADES[number % len(GRADES)]
    months = max(0.1, round(-math.log(1 - float(rng.random())) * 70 / math.exp(0.9 * grade), 1))
    return Patient(
        name=f"P{number + 1:02d}",
        site="north" if number // len(GRADES) % 2 else "south",
        grade=grade,
        months=min(months, FOLLOW_UP),
        event=int(months < FOLLOW_UP),
        labelled=labelled,
    )


def _plan_slide(seed: int, settings: MilDemo, number: int, patient: Patient) -> SlidePlan:
    slide_id = f"mil_{number + 1:02d}"
    own_seed = seeds.derive(seed, slide_id)
    rng = stream(own_seed, "layout")
    scale = SIZES[0] + (SIZES[1] - SIZES[0]) * float(rng.random())
    size = (round(settings.width_px * scale), round(settings.height_px * scale))
    (tissue,) = layout.tissue(rng, size, 1)
    kinds = ["tumour"] * patient.grade + ["glands"] * (ISLANDS - patient.grade) + list(OTHERS)
    return SlidePlan(
        slide_id=slide_id,
        patient=patient,
        score=round(20 * patient.grade + 12 * float(rng.random()), 1),
        size=size,
        mpp=tissues.MPP,
        seed=own_seed,
        cohort_seed=seed,
        tissue=tissue,
        islands=_islands(rng, size, rng.permutation(kinds).tolist()),
    )


def _islands(rng: np.random.Generator, size: tuple[int, int], kinds: Sequence[str]) -> tuple[tuple[str, Ring], ...]:
    """Return an island of each kind, each in a place of its own."""
    step = (0.78 * size[0] / COLUMNS, 0.74 * size[1] / ROWS)
    rings = []
    for (row, column), kind in zip(itertools.product(range(ROWS), range(COLUMNS)), kinds, strict=True):
        shift = 0.44 + 0.12 * rng.random(2)
        centre = (
            0.11 * size[0] + step[0] * (column + float(shift[0])),
            0.13 * size[1] + step[1] * (row + float(shift[1])),
        )
        rings.append((kind, outline.irregular(rng, centre, (0.47 * step[0], 0.45 * step[1]), 0.2)))
    return tuple(rings)


def labels(slide: SlidePlan) -> NDArray[np.uint8]:
    """Return what tissue each px (h, w) is of: 0 glass, else its number in tissues.TISSUES from 1."""
    inside = outline.mask([slide.tissue], slide.size)
    drawn = inside.astype(np.uint8) * (tissues.TISSUES.index("stroma") + 1)
    for kind, ring in slide.islands:
        drawn[inside & outline.mask([ring], slide.size)] = tissues.TISSUES.index(kind) + 1
    return drawn


@dataclasses.dataclass(frozen=True)
class Stock:
    """What all slides share, drawn once: it takes longer than a small slide. sprites: in the order of tissues.LOOKS."""

    tiles: render.Tiles
    borders: tuple[Field, Field]
    sprites: tuple[nuclei.Bank, ...]


@lru_cache(maxsize=1)
def stock(seed: int) -> Stock:
    """Return the stock of a cohort."""
    oriented = {"spindle", "epithelium"}
    rng = stream(seed, "sprites")
    return Stock(
        tiles=render.make_tiles(stream(seed, "tiles")),
        borders=tuple(tissues.border_tile(stream(seed, name), px) for name, px in BORDERS),  # type: ignore[arg-type]
        sprites=tuple(nuclei.bank(rng, kind, 256, name in oriented, tissues.MPP) for name, kind in tissues.LOOKS),
    )


def picture(slide: SlidePlan) -> NDArray[np.uint8]:
    """Return the slide's level-0 picture (h, w, 3) uint8, drawn from its plan alone."""
    shared, rng = stock(slide.cohort_seed), stream(slide.seed, "cells")
    # how thick the section is and how the stains took differs between areas that are none of the tissues'
    areas = (24 * fractal(stream(slide.seed, "areas"), grid_shape(slide.size), 120)).astype(np.int64)
    section = tissues.build(stream(slide.seed, "tissues"), labels(slide), areas, shared.borders)
    canvases = nuclei.canvas(slide.size), nuclei.canvas(slide.size)
    points = {
        name: nuclei.scatter(rng, slide.size, spacing / slide.mpp, section.cells[name])
        for name, spacing in tissues.SPACING_UM.items()
    }
    for (name, kind), sprites in zip(tissues.LOOKS, shared.sprites, strict=True):
        nuclei.put_sprites(rng, canvases[kind.eosin], sprites, points[name], section.directions.get(name))
    dye = stain.vary(stream(slide.seed, "stain"), STAIN_SPREAD)
    return render.render(slide.size, section.ground, *canvases, shared.tiles, dye)


def draw_slide(slide: SlidePlan, root: Path) -> None:
    """Draw one slide under `root`.

    Raises:
        AcinusError: `root` cannot be written.
    """
    pyramid.write_pyramid(root / slide.image, picture(slide), slide.mpp, tile_px=256)


def finish(plans: Sequence[SlidePlan], root: Path) -> None:
    """Write slides.csv: whose slide is whose, and what is known of it, which is nothing for the last patients."""
    head = "slide,patient,site,diagnosis,grade,score,months,event\n"
    write_text(root / "slides.csv", head + "".join(f"{','.join(_row(slide).values())}\n" for slide in plans))


def _row(slide: SlidePlan) -> Mapping[str, str]:
    patient = slide.patient
    known = {
        "diagnosis": "malignant" if patient.grade else "benign",
        "grade": str(patient.grade),
        "score": str(slide.score),
        "months": str(patient.months),
        "event": str(patient.event),
    }
    named = {"slide": slide.image, "patient": patient.name, "site": patient.site}
    return named | (known if patient.labelled else dict.fromkeys(known, ""))
