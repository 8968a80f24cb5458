"""What `acinus init` tells a person of slides of one's own: what to mend, and why nothing can be made of them."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path, PurePath

from acinus.cohorts.adapter import some
from acinus.cohorts.matching import FLAT_SUFFIXES
from acinus.commands.own_labels import MOST, WITHOUT_LABELS, number
from acinus.commands.own_recipe import Seen
from acinus.commands.own_slides import Look
from acinus.params.cohorts import SlidesRecipe

ONLY_LABELS = (
    "slide labels alone do not teach where tumour is: outline it on some of the slides (QuPath, ASAP, ImageScope or "
    "masks), then run acinus init again for a new project; until then slides can be checked and their tissue found. To "
    "learn the labels of whole slides no outline is needed: run acinus init with --task slides"
)
NO_LABELS = (
    "no column of the table tells normal from tumour by itself ({columns}): say under cohort.label of the recipe what "
    "the texts of one mean; to train, outline classes on some of the slides"
)
NO_TARGET = (
    "{slides}: no column of a table can be learned as a label of whole slides (columns: {columns}); put a slides.csv "
    "beside the slides with a column that has two texts at least, such as diagnosis, or numbers"
)
CONTRARY = (
    "column {column} of the table calls {count} otherwise than their annotations do ({some}), so cohort.label is left "
    "null: correct the table or the annotations, or say which classes are positive"
)
MOST_TODO = 10
"""So many things that stage ingest would stop at are told, a line each."""
SHOWN = 2
"""So many faults stand in one line."""


def refused(sight: Look) -> list[str]:
    """Return what ingest would stop at, a line each."""
    refused = list(sight.refused[:MOST_TODO])
    if more := len(sight.refused) - len(refused):
        refused.append(f"and {more} more like these, which acinus look lists")
    return refused


def odd_masks(seen: Seen) -> list[str]:
    """Return a line where masks have more values or colours than a person gives."""
    return [
        f"masks have {len(several)} {what}, of which the first {MOST} are classes: their borders are smoothed; export "
        f"the masks without smoothing (anti-aliasing, interpolation), or keep those that are meant in cohort.{key}"
        for several, what, key in (
            (seen.colours, "colours", "mask_colours"),
            (seen.values, "values", "mask_values"),
        )
        if len(several) > MOST
    ]


def no_slides(slides: Path, files: Iterable[str], sight: Look) -> str:
    """Return that no slide can be opened, and what lies there instead."""
    lines = [*(one.unread for one in sight.each.values() if one.unread), *sight.unread.values()]
    if lines:
        more = f"; and {len(lines) - SHOWN} more" if len(lines) > SHOWN else ""
        return f"{slides}: no slide that can be opened ({'; '.join(lines[:SHOWN])}{more})"
    kinds = Counter(PurePath(path).suffix.lower() or "without suffix" for path in files)
    there = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common(SHOWN + 2)) or "it is empty"
    return f"{slides}: no file has the name of a slide ({there}); give the folder that holds the slides with --slides"


def no_labels(slides: Path, sight: Look) -> str:
    """Return that nothing is known of the slides, and what was not understood."""
    lines = [*sight.first, *sight.refused, *sight.faults]
    said = f" ({'; '.join(lines[:SHOWN])}{f'; and {len(lines) - SHOWN} more' if len(lines) > SHOWN else ''})"
    return (
        f"{slides}: no outlines, no masks and no table with labels for {number(len(sight.seen.mpps), 'slide')}"
        f"{said if lines else ''}; {WITHOUT_LABELS}"
    )


def unplaced(sight: Look, recipe: SlidesRecipe) -> list[str]:
    """Return that slides lack um per px, without which they cannot be used."""
    bare = [one.path for one in sight.each.values() if one.usable and one.mpp is None]
    bare = [path for path in bare if recipe.index.mpp is not None or not path.lower().endswith(FLAT_SUFFIXES)]
    if not bare:
        return []
    return [
        f"{number(len(bare), 'slide')} without µm per px ({some(bare)}): write it into column mpp of slides.csv, or "
        "one for all of them into cohort.mpp of the recipe (20x is about 0.5, 40x about 0.25)"
    ]
