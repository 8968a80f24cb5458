"""Features that were imported for a recipe (embed.weights: imported): where they are kept, and taking them over."""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from acinus import params
from acinus.embedding.feature_file import FORMAT, check_features
from acinus.embedding.folder import Embedded, feature_path, features_kept, link_or_copy, save_encoder
from acinus.encoders.known import find
from acinus.encoders.spec import IMPORTED, EncoderSpec
from acinus.errors import AcinusError
from acinus.labels.places import Places, mean_mpp

SHOWN = 20
"""So many files or slides are named in one line."""
NO_WEIGHTS = "0" * 64
"""Stands for the SHA-256 of an encoder's weights that were never here."""
GREY = (0.5, 0.5, 0.5)


@dataclass(frozen=True)
class WantedSlide:
    """A slide that features are wanted of. names: what a file of it may be called, without ending. mpp: um per level-0
    px (mean of both ways), None where unknown."""

    slide_id: str
    names: frozenset[str]
    image: Path
    fingerprint: str
    mpp: float | None


def wanted_slides(rows: Sequence[Mapping[str, Any]], places: Places) -> list[WantedSlide]:
    """Return the slides of rows of the manifest; a file of one is named by its id or, where no other is, its image."""
    stems = [PurePosixPath(row["image"]).stem.removesuffix(".ome") for row in rows]
    ids, counts = {row["slide_id"] for row in rows}, Counter(stems)
    return [
        WantedSlide(
            slide_id=row["slide_id"],
            names=frozenset({row["slide_id"]} | ({stem} if counts[stem] == 1 and stem not in ids else set())),
            image=places.image(row),
            fingerprint=row["fingerprint"],
            mpp=mean_mpp(row),
        )
        for row, stem in zip(rows, stems, strict=True)
    ]


def imported_folder(root: Path, recipe: str) -> Path:
    """Return where the project at `root` keeps what was imported for a recipe."""
    return features_kept(root) / IMPORTED / recipe


def import_key(slide: WantedSlide, index: params.Index) -> str:
    """Return what imported features of a slide depend on: the slide, and the size of its patches."""
    facts = [FORMAT, IMPORTED, slide.slide_id, slide.fingerprint, slide.mpp, index.level, index.mpp, index.patch_px]
    return hashlib.blake2b(json.dumps(facts).encode(), digest_size=16).hexdigest()


def take_imported(
    kept: Path,
    slides: Sequence[WantedSlide],
    embed: params.Embed,
    index: params.Index,
    folder: Path,
    say: Callable[[str], None],
) -> list[Embedded]:
    """Put the imported features of slides into `folder`, and what made them; those without any are named by `say`.

    Raises:
        AcinusError: nothing was imported for the recipe; or a slide or the patches' size has changed since.
    """
    done = []
    for slide in slides:
        path, count, width = feature_path(kept, slide.slide_id), 0, 0
        if path.is_file():
            count, width = check_features(path, import_key(slide, index))
            link_or_copy(path, feature_path(folder, slide.slide_id))
        done.append(Embedded(slide.slide_id, count, width, 0.0, taken_over=True))
    found, bare = [slide for slide in done if slide.num_patches], [one.slide_id for one in done if not one.num_patches]
    if not found:
        raise AcinusError(
            f"embed.weights = {IMPORTED}: no features were imported for this recipe; run acinus embed --recipe "
            f"{kept.name} --import FOLDER"
        )
    if bare:
        say(f"no features were imported of {len(bare)} of {len(done)} slides, left out: {shown(bare)}")
    save_encoder(folder, imported_spec(embed, index.patch_px, found[0].width))
    return done


def imported_spec(embed: params.Embed, patch_px: int, width: int) -> EncoderSpec:
    """Return what is known of the encoder that made imported features: it cannot run here."""
    known = find(embed.encoder)
    return EncoderSpec(
        name=embed.encoder,
        weights_sha256=NO_WEIGHTS,
        px=embed.input_px or (known.px if known else patch_px),
        mean=known.mean if known else GREY,
        std=known.std if known else GREY,
        width=width,
        mpp=embed.mpp or (known.mpp[0] if known and known.mpp else None),
    )


def shown(names: Sequence[str]) -> str:
    """Return the first of the names, and how many there are more."""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
