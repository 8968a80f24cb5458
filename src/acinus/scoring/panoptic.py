"""Panoptic quality of instances from additive counts (Kirillov et al., CVPR 2019, equations 1 and 2)."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class PqCounts:
    """The sufficient statistics of panoptic quality of one class. They add up, so pooling is exact."""

    iou_sum: float  # over the matched pairs
    tp: int  # matched pairs
    fp: int  # predicted instances without a partner
    fn: int  # true instances without a partner


def pq_counts(true_instances: np.ndarray, predicted_instances: np.ndarray) -> PqCounts:
    """Match the instances of one class in one image: a pair matches where its IoU is above 0.5.

    Both are int (h, w), 0 where there is no instance and else any positive id, one per instance, connected
    or not. Since instances of one image do not overlap, no instance can have two partners of IoU above 0.5,
    so the matching is unique and needs no search.

    Raises:
        ValueError: shapes that differ, ids that are no whole numbers or below 0.
    """
    if true_instances.shape != predicted_instances.shape:
        raise ValueError(
            f"truth of {true_instances.shape} px against a prediction of {predicted_instances.shape} px, "
            "expected one shape"
        )
    true, true_px = _instances(true_instances)
    predicted, predicted_px = _instances(predicted_instances)
    both = (true > 0) & (predicted > 0)
    columns = predicted_px.size + 1
    pair, shared = np.unique(true[both] * columns + predicted[both], return_counts=True)
    union = true_px[pair // columns - 1] + predicted_px[pair % columns - 1] - shared
    matched = 2 * shared > union  # in whole numbers: an IoU of exactly 0.5 is none
    tp = int(matched.sum())
    iou_sum = float((shared[matched] / union[matched]).sum())
    return PqCounts(iou_sum, tp, fp=predicted_px.size - tp, fn=true_px.size - tp)


def _instances(ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the instances renumbered 1..n (0 stays none) as int64 (pixels,), and their n areas in pixels."""
    if ids.dtype.kind not in "iu" or (ids.size and int(ids.min()) < 0):
        raise ValueError(f"instance ids of type {ids.dtype}, expected whole numbers from 0")
    names, number, count = np.unique(ids.ravel(), return_inverse=True, return_counts=True)
    background = int(names.size > 0 and names[0] == 0)
    return number.astype(np.int64) + 1 - background, count[background:].astype(np.int64)


def panoptic_quality(counts: PqCounts) -> float | None:
    """Return iou_sum / (tp + fp / 2 + fn / 2); None without any instance."""
    total = counts.tp + counts.fp / 2 + counts.fn / 2
    return counts.iou_sum / total if total else None
