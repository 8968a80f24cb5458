"""Which candidate patches are kept: a balance of classes and a cap per slide, split by split; and a table of it."""

import math
from collections.abc import Callable

import numpy as np
import pandas as pd

from acinus import params
from acinus.records import IGNORE, NORMAL, TUMOR
from acinus.seeds import derive

Counts = dict[str, int]
"""Patches per slide."""


def drawn_rows(index: pd.DataFrame, settings: params.Sample, seed: int) -> np.ndarray:
    """Return which patches are kept, int64 (n,) row numbers, ascending: of the splits of `settings.balance` those
    drawn, of the others every labelled patch (up to `max_per_slide`). index: records.INDEX rows, sorted by its key.

    Patches to ignore are dropped. How many each slide gives is the scheme's affair (see SCHEMES); which
    ones is not: choice within a slide depends on (seed, slide, class) only, so that another slide in the
    cohort can change how many patches are taken here, never their order of preference. A split without
    tumour keeps its (capped) normals, so that validation can say what is wrong. The split is never changed.
    """
    labelled = index[["slide_id", "split", "label"]].reset_index(drop=True)
    labelled = labelled[labelled["label"] != IGNORE]
    kept = []
    for split, rows in labelled.groupby("split", sort=True):
        kept.append(_drawn(rows, settings, seed) if split in settings.balance else _capped_slides(rows, settings, seed))
    return np.sort(pd.concat(kept).index.to_numpy()) if kept else np.empty(0, dtype=np.int64)


def _capped_slides(rows: pd.DataFrame, settings: params.Sample, seed: int) -> pd.DataFrame:
    """Return every patch of a split that is not balanced, or so many of each slide as are allowed."""
    if settings.max_per_slide is None:
        return rows
    slides = _by_slide(rows).items()
    return pd.concat([_choose(own, settings.max_per_slide, derive(seed, slide, "any")) for slide, own in slides])


def _drawn(rows: pd.DataFrame, settings: params.Sample, seed: int) -> pd.DataFrame:
    """Return the drawn rows of one split."""
    tumour = _by_slide(rows[rows["label"] == TUMOR])
    normal = _by_slide(rows[rows["label"] == NORMAL])
    offered = {slide: _capped(len(own), settings.max_normal_per_slide) for slide, own in normal.items()}
    quotas = SCHEMES[settings.scheme]
    taken, shares = quotas({slide: len(own) for slide, own in tumour.items()}, offered, settings, seed)
    drawn = [_choose(own, taken.get(slide, 0), derive(seed, slide, "tumor")) for slide, own in tumour.items()]
    drawn += [_choose(own, shares[slide], derive(seed, slide, "normal")) for slide, own in normal.items()]
    return pd.concat(drawn) if drawn else rows


def _balanced(tumour: Counts, offered: Counts, settings: params.Sample, seed: int) -> tuple[Counts, Counts]:
    """All tumour patches up to the cap, and normal_per_tumor normal ones for each, spread over all slides.

    A slide with few gives what it has and the others fill up. Too few normals: all are taken.
    """
    taken = {slide: _capped(count, settings.max_tumor_per_slide) for slide, count in tumour.items()}
    return taken, spread(offered, _normals(taken, offered, settings), seed)


def _cells(tumour: Counts, offered: Counts, settings: params.Sample, seed: int) -> tuple[Counts, Counts]:
    """Tumour slides give tumor_share of their tumour cells (at least one) and own normal ones in proportion.

    The other slides fill the balance of normal_per_tumor evenly with their normal cells. Too few normals: all
    are taken. What a tumour slide is says `_is_tumour_slide`.
    """
    tumour = {slide: count for slide, count in tumour.items() if _is_tumour_slide(slide, tumour, offered, settings)}
    wanted = {slide: max(1, _nearest(settings.tumor_share * count)) for slide, count in tumour.items()}
    taken = {slide: _capped(count, settings.max_tumor_per_slide) for slide, count in wanted.items()}
    own = {
        slide: min(offered[slide], _nearest(settings.own_normal_per_tumor * count))
        for slide, count in taken.items()
        if slide in offered
    }
    rest = {slide: count for slide, count in offered.items() if slide not in tumour}
    missing = max(0, _normals(taken, offered, settings) - sum(own.values()))
    return taken, own | spread(rest, missing, seed)


def _is_tumour_slide(slide: str, tumour: Counts, offered: Counts, settings: params.Sample) -> bool:
    """Return whether a slide with tumour cells is a tumour slide: by the list, else by its share of tumour cells."""
    if settings.tumor_slides is not None:
        return slide in settings.tumor_slides
    return tumour[slide] >= settings.tumor_slide_min_ratio * (tumour[slide] + offered.get(slide, 0))


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
    level, left, filled = 0, min(target, sum(offered.values())), 0
    given = dict.fromkeys(offered, 0)
    by_size = sorted(offered, key=lambda slide: (offered[slide], slide))
    for slide in by_size:  # raise the level to the next slide's offer while the water lasts
        open_slides = len(by_size) - filled
        rise = min(offered[slide] - level, left // open_slides)
        level += rise
        left -= rise * open_slides
        if level < offered[slide]:
            break
        given[slide] = level
        filled += 1
    rest = by_size[filled:]
    for slide in rest:
        given[slide] = level
    for slide in sorted(rest, key=lambda one: (derive(seed, one, "remainder"), one))[:left]:
        given[slide] += 1
    return given


def statistics(index: pd.DataFrame, sample: pd.DataFrame) -> pd.DataFrame:
    """Return one row per slide of the index, sorted by slide_id: what there was and what was drawn.

    Columns: slide_id, split, candidates (patches with tissue or tumour), of them tumour, normal and
    ignored; drawn_tumour, drawn_normal.
    """
    table = index.groupby("slide_id", sort=True).agg(split=("split", "first"), candidates=("label", "size"))
    kinds = (("tumour", index, TUMOR), ("normal", index, NORMAL), ("ignored", index, IGNORE))
    for name, rows, label in (*kinds, ("drawn_tumour", sample, TUMOR), ("drawn_normal", sample, NORMAL)):
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


def _by_slide(rows: pd.DataFrame) -> dict[str, pd.DataFrame]:
    return {str(slide): own for slide, own in rows.groupby("slide_id", sort=True)}


def _capped(count: int, cap: int | None) -> int:
    return count if cap is None else min(count, cap)


def _nearest(value: float) -> int:
    return math.floor(value + 0.5)


def _choose(rows: pd.DataFrame, count: int, seed: int) -> pd.DataFrame:
    """Return the first `count` rows of a seeded order: a larger count adds to a smaller one."""
    return rows.iloc[np.sort(np.random.default_rng(seed).permutation(len(rows))[:count])]
