"""Amounts of a slide from its probability map: tumour, tissue, burden, areas, the counts behind Dice."""

import math
from typing import Any

import numpy as np

from acinus.mapping.geometry import MapGeometry
from acinus.scoring.burden import burden_percent
from acinus.scoring.dice import overlap

UNKNOWN = 255
"""Value of a truth raster where the label is not known."""


def quantify(
    prob: np.ndarray,
    tissue: np.ndarray,
    truth: np.ndarray | None,
    threshold: float,
    geometry: MapGeometry,
    mpp: tuple[float, float] | None,
    mpp_source: str | None = None,
) -> dict[str, Any]:
    """Return the columns of records.QUANTITIES but slide_id.

    `prob` uint8 (p*255), `tissue` bool, `truth` uint8 (0 normal, 1 tumour, 255 unknown; None without
    labels), all (rows, columns) of `geometry`; `mpp` (x, y) in um per level-0 px.

    - Predicted tumour: p >= threshold (see `tumour_mask`) inside tissue; outside tissue nothing is predicted.
    - Dice counts (intersection_px, pred_px, true_px): over every px of the slide whose truth is known,
      inside tissue or not, so tumour that the tissue mask lost counts as missed. None where no truth is known.
    - true_tumour_px and burden_true: true tumour inside tissue; None if the truth of any tissue px is
      unknown, since a part of the tumour might lie there.
    - Areas: px * mpp_x * mpp_y * downsample^2 / 1e6; a px cut by the slide's border counts by its share.
      None without mpp.
    - score_max, score_p99: maximum and 99th percentile (linear) of p over tissue px; None without tissue.
    """
    _check(prob, tissue, truth, geometry, mpp)
    tumour = tumour_mask(prob, threshold) & tissue
    tissue_px, tumour_px = int(np.count_nonzero(tissue)), int(np.count_nonzero(tumour))
    px_mm2 = mpp[0] * mpp[1] * geometry.downsample**2 / 1e6 if mpp else None
    values = prob[tissue]
    return {
        "tumour_px": tumour_px,
        "tissue_px": tissue_px,
        "map_downsample": float(geometry.downsample),
        "burden_pred": burden_percent(tumour_px, tissue_px),
        "tumour_mm2": geometry.area_px(tumour) * px_mm2 if px_mm2 else None,
        "tissue_mm2": geometry.area_px(tissue) * px_mm2 if px_mm2 else None,
        "mpp_source": mpp_source if mpp else None,
        "score_max": float(values.max()) / 255 if tissue_px else None,
        "score_p99": float(np.percentile(values.astype(np.float32), 99)) / 255 if tissue_px else None,
        **_against_truth(tumour, tissue, truth),
    }


def tumour_mask(prob: np.ndarray, threshold: float) -> np.ndarray:
    """Return where the map says tumour: value v (p = v / 255) with v >= threshold * 255, bool.

    The bound is the smallest whole v that is not below threshold * 255 (within 1e-9, so that a threshold
    of k / 255 means v >= k); 0.5 means v >= 128.
    """
    return prob >= math.ceil(threshold * 255 - 1e-9)


def _against_truth(tumour: np.ndarray, tissue: np.ndarray, truth: np.ndarray | None) -> dict[str, Any]:
    """Return the columns that need the truth, all None where there is none."""
    names = ("true_tumour_px", "burden_true", "intersection_px", "pred_px", "true_px")
    result: dict[str, Any] = dict.fromkeys(names)
    if truth is None:
        return result
    true, known = truth == 1, truth != UNKNOWN
    if known.any():
        counts = overlap(tumour, true, known)
        result |= {"intersection_px": counts.intersection, "pred_px": counts.predicted, "true_px": counts.true}
    if not (tissue & ~known).any() and known.any():
        true_tumour_px = int(np.count_nonzero(true & tissue))
        burden_true = burden_percent(true_tumour_px, int(np.count_nonzero(tissue)))
        result |= {"true_tumour_px": true_tumour_px, "burden_true": burden_true}
    return result


def _check(
    prob: np.ndarray,
    tissue: np.ndarray,
    truth: np.ndarray | None,
    geometry: MapGeometry,
    mpp: tuple[float, float] | None,
) -> None:
    """Refuse arrays that do not lie on one grid, and values that mean nothing."""
    for name, values, dtype in (("prob", prob, np.uint8), ("tissue", tissue, np.bool_), ("truth", truth, np.uint8)):
        if values is not None and (values.shape != geometry.shape or values.dtype != dtype):
            raise ValueError(f"{name} is {values.dtype} {values.shape}, expected {np.dtype(dtype)} {geometry.shape}")
    if truth is not None and (truth[truth != UNKNOWN] > 1).any():
        raise ValueError(f"truth holds the value {truth[(truth != UNKNOWN) & (truth > 1)][0]}, expected 0, 1 or 255")
    if mpp is not None and not all(0 < value < math.inf for value in mpp):
        raise ValueError(f"mpp is {mpp}, expected two numbers above 0, or None where it is unknown")
