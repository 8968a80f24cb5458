"""Which candidate patches are kept: a balance of classes and a cap per slide, split by split; and a table of it."""

import math
from bisect import bisect_right
from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

from acinus import params
from acinus.records import IGNORE, NORMAL, TUMOR
from acinus.seeds import derive

Counts = dict[str, int]
"""Patches per slide."""


def drawn_rows(index: pd.DataFrame, settings: params.Sample, seed: int, classes: Sequence[str] = ()) -> np.ndarray:
    """Return which patches are kept, int64 (n,) row numbers, ascending: of the splits of `settings.balance` those
    drawn, of the others every labelled patch (up to `max_per_slide`). index: records.INDEX rows, sorted by its key.
    classes: those of the patches' labels, where there are more than tumour and normal.

    Patches to ignore are dropped. How many each slide gives is the scheme's affair (see SCHEMES); which
    ones is not: choice within a slide depends on (seed, slide, class) only, so that another slide in the
    cohort can change how many patches are taken here, never their order of preference. A split without
    tumour keeps its (capped) normals, so that validation can say what is wrong. The split is never changed.
    """
    labelled = index[["slide_id", "split", "label"]].reset_index(drop=True)
    labelled = labelled[labelled["label"] != IGNORE]
    chosen = [np.empty(0, dtype=np.int64)]
    for split, rows in labelled.groupby("split", sort=True):
        if split in settings.balance:
            chosen += _drawn_alike(rows, settings, seed, classes) if classes else _drawn(rows, settings, seed)
        else:
            for slide, numbers in _by_slide(rows).items():
                chosen.append(_choose(numbers, settings.max_per_slide, derive(seed, slide, "any")))
    return np.sort(np.concatenate(chosen))


def _drawn(rows: pd.DataFrame, settings: params.Sample, seed: int) -> list[np.ndarray]:
    """Return the numbers of the drawn rows of one split, per slide."""
    tumour = _by_slide(rows[rows["label"] == TUMOR])
    normal = _by_slide(rows[rows["label"] == NORMAL])
    counts = {slide: len(numbers) for slide, numbers in tumour.items()}
    offered = {slide: _capped(len(numbers), settings.max_normal_per_slide) for slide, numbers in normal.items()}
    taken, shares = SCHEMES[settings.scheme](counts, offered, settings, seed)
    return [
        *(_choose(rows, taken.get(slide, 0), derive(seed, slide, "tumor")) for slide, rows in tumour.items()),
        *(_choose(rows, shares[slide], derive(seed, slide, "normal")) for slide, rows in normal.items()),
    ]


def _drawn_alike(rows: pd.DataFrame, settings: params.Sample, seed: int, classes: Sequence[str]) -> list[np.ndarray]:
    """Return the numbers of the drawn rows of one split, per class and slide.

    Every class gives as many patches as the rarest one that the split has, or max_class_ratio times as many where it
    has them, spread over all slides. A class that is absent makes no other one smaller: validation says so.
    """
    numbers = {name: _by_slide(rows[rows["label"] == label]) for label, name in enumerate(classes)}
    caps = [settings.max_normal_per_slide] + [settings.max_tumor_per_slide] * (len(classes) - 1)
    offered = {
        name: {slide: _capped(len(found), cap) for slide, found in numbers[name].items()}
        for name, cap in zip(classes, caps, strict=True)
    }
    rarest = min(total for counts in offered.values() if (total := sum(counts.values())))
    most = int(settings.max_class_ratio * rarest + 1e-9)
    drawn = []
    for name, counts in offered.items():
        shares = spread(counts, min(most, sum(counts.values())), derive(seed, "class", name))
        drawn += [_choose(numbers[name][slide], count, derive(seed, slide, name)) for slide, count in shares.items()]
    return drawn


def _balanced(tumour: Counts, offered: Counts, settings: params.Sample, seed: int) -> tuple[Counts, Counts]:
    """All tumour patches up to the cap, and normal_per_tumor normal ones for each, spread over all slides.

    A slide with few gives what it has and the others fill up. Too few normals: all are taken.
    """
    taken = {slide: _capped(count, settings.max_tumor_per_slide) for slide, count in tumour.items()}
    return taken, spread(offered, _normals(taken, offered, settings), seed)


def _cells(tumour: Counts, offered: Counts, settings: params.Sample, seed: int) -> tuple[Counts, Counts]:
    """Tumour slides give tumor_share of their tumour cells (at least one) and own normal ones in proportion.

    The other slides fill the balance of normal_per_tumor evenly with their normal cells. Too few normals: all
    are taken. Tumour slides are those of the list, else those of at least tumor_slide_min_ratio tumour cells.
    """
    if settings.tumor_slides is not None:
        tumour = {slide: count for slide, count in tumour.items() if slide in settings.tumor_slides}
    else:
        ratio = settings.tumor_slide_min_ratio
        tumour = {slide: n for slide, n in tumour.items() if n >= ratio * (n + offered.get(slide, 0))}
    taken = {
        slide: _capped(max(1, _nearest(settings.tumor_share * count)), settings.max_tumor_per_slide)
        for slide, count in tumour.items()
    }
    beside_tumour = {
        slide: min(offered[slide], _nearest(settings.own_normal_per_tumor * count))
        for slide, count in taken.items()
        if slide in offered
    }
    others = {slide: count for slide, count in offered.items() if slide not in tumour}
    missing = max(0, _normals(taken, offered, settings) - sum(beside_tumour.values()))
    return taken, beside_tumour | spread(others, missing, seed)


SCHEMES: dict[str, Callable[[Counts, Counts, params.Sample, int], tuple[Counts, Counts]]] = {
    "balanced": _balanced,
    "cells": _cells,
}
"""(tumour patches there are, normal ones offered, settings, seed) -> (tumour, normal) patches to take per slide."""


def _normals(taken: Counts, offered: Counts, settings: params.Sample) -> int:
    """Return how many normal patches a split should have in all: without tumour, whatever is offered."""
    return _nearest(settings.normal_per_tumor * sum(taken.values())) if taken else sum(offered.values())


def spread(offered: Counts, target: int, seed: int) -> Counts:
    """Return how many each slide gives: `target` in all (or all there is), as evenly as the offers allow.

    Water-filling: every slide gives up to one common level, slides with less give all. What cannot be
    divided goes one each to slides in a seeded order of their ids.
    """

    def filled(level: int) -> int:
        return sum(min(count, level) for count in offered.values())

    # the highest level that the target fills
    level = bisect_right(range(max(offered.values(), default=0) + 1), target, key=filled) - 1
    shares = {slide: min(count, level) for slide, count in offered.items()}
    higher = [slide for slide, count in offered.items() if count > level]
    higher.sort(key=lambda slide: (derive(seed, slide, "remainder"), slide))
    for slide in higher[: target - filled(level)]:
        shares[slide] += 1
    return shares


def statistics(index: pd.DataFrame, sample: pd.DataFrame, classes: Sequence[str] = ()) -> pd.DataFrame:
    """Return one row per slide of the index, sorted by slide_id: what there was and what was drawn.

    Columns: slide_id, split, candidates (patches with tissue or tumour), of them tumour, normal and
    ignored; drawn_tumour, drawn_normal. Of more than these two classes: patches.<class>, ignored; drawn.<class>.
    """
    table = index.groupby("slide_id", sort=True).agg(split=("split", "first"), candidates=("label", "size"))
    names = {label: (f"patches.{name}", f"drawn.{name}") for label, name in enumerate(classes)}
    names = names or {TUMOR: ("tumour", "drawn_tumour"), NORMAL: ("normal", "drawn_normal")}
    kinds = [(there, index, label) for label, (there, _) in names.items()]
    kinds += [("ignored", index, IGNORE), *((drawn, sample, label) for label, (_, drawn) in names.items())]
    for name, rows, label in kinds:
        counts = rows[rows["label"] == label].groupby("slide_id").size()
        table[name] = counts.reindex(table.index, fill_value=0).astype("int64")
    return table.reset_index()


def statistics_text(table: pd.DataFrame) -> str:
    """Return a table of `statistics` as lines to print, split by split, with a sum after each split."""
    parts = []
    for split, rows in table.groupby("split", sort=True):
        total = rows.drop(columns=["slide_id", "split"]).sum()
        count = f"{len(rows)} slide{'s' if len(rows) != 1 else ''}"
        parts += [rows, pd.DataFrame([{"slide_id": count, "split": split, **total}])]
    return pd.concat(parts).to_string(index=False) if parts else "no slides"


def _by_slide(rows: pd.DataFrame) -> dict[str, np.ndarray]:
    """Return slide_id -> the numbers of its rows, int64 (n,)."""
    return {str(slide): group.index.to_numpy() for slide, group in rows.groupby("slide_id", sort=True)}


def _capped(count: int, cap: int | None) -> int:
    return count if cap is None else min(count, cap)


def _nearest(value: float) -> int:
    return math.floor(value + 0.5)


def _choose(numbers: np.ndarray, count: int | None, seed: int) -> np.ndarray:
    """Return the first `count` (None: all) of a seeded order: a larger count adds to a smaller one."""
    return numbers[np.sort(np.random.default_rng(seed).permutation(len(numbers))[:count])]
