"""Which candidate patches are kept: a balance of classes and a cap per slide, split by split."""

import math

import numpy as np
import pandas as pd

from acinus import params
from acinus.records import IGNORE, NORMAL, SAMPLE, TUMOR, check
from acinus.seeds import derive


def draw_sample(index: pd.DataFrame, settings: params.Sample, seed: int) -> pd.DataFrame:
    """Return records.SAMPLE rows: the balanced splits drawn, the others with every labelled patch.

    Patches to ignore are dropped. In a split of `settings.balance` the tumour patches are kept up to
    the cap per slide, and `normal_per_tumor` normal patches for each of them, spread evenly over the
    slides: a slide with few gives what it has and the others fill up. Too few normals: all are taken.
    A split without tumour keeps its (capped) normals, so that validation can say what is wrong.
    Choice within a slide depends on (seed, slide, class) only: another slide in the cohort can change
    how many patches are taken here, never their order of preference. The split is never changed.
    """
    labelled = check(SAMPLE, index)
    labelled = labelled[labelled["label"] != IGNORE]
    kept = []
    for split, rows in labelled.groupby("split", sort=True):
        kept.append(_balanced(rows, settings, seed) if split in settings.balance else rows)
    return check(SAMPLE, pd.concat(kept) if kept else labelled)


def _balanced(rows: pd.DataFrame, settings: params.Sample, seed: int) -> pd.DataFrame:
    """Return the drawn rows of one split."""
    tumour = _by_slide(rows[rows["label"] == TUMOR])
    normal = _by_slide(rows[rows["label"] == NORMAL])
    taken = {slide: _capped(len(own), settings.max_tumor_per_slide) for slide, own in tumour.items()}
    offered = {slide: _capped(len(own), settings.max_normal_per_slide) for slide, own in normal.items()}
    target = sum(offered.values())
    if taken:
        target = math.floor(settings.normal_per_tumor * sum(taken.values()) + 0.5)
    shares = spread(offered, target, seed)
    drawn = [_choose(own, taken[slide], derive(seed, slide, "tumor")) for slide, own in tumour.items()]
    drawn += [_choose(own, shares[slide], derive(seed, slide, "normal")) for slide, own in normal.items()]
    return pd.concat(drawn) if drawn else rows


def spread(offered: dict[str, int], target: int, seed: int) -> dict[str, int]:
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


def _by_slide(rows: pd.DataFrame) -> dict[str, pd.DataFrame]:
    return {str(slide): own for slide, own in rows.groupby("slide_id", sort=True)}


def _capped(count: int, cap: int | None) -> int:
    return count if cap is None else min(count, cap)


def _choose(rows: pd.DataFrame, count: int, seed: int) -> pd.DataFrame:
    """Return the first `count` rows of a seeded order: a larger count adds to a smaller one."""
    return rows.iloc[np.sort(np.random.default_rng(seed).permutation(len(rows))[:count])]
