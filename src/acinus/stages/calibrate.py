"""calibrate: model and validation slides -> operating point (scaling, threshold, clean-up) and its curves.

Validation slides only: no test slide and no score of one is read.
"""

import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from acinus import records
from acinus.calibration.confidence import Confidence, confidence
from acinus.calibration.point_score import Aim, Judged, Result, measure, open_judged, save_judged, tells
from acinus.calibration.point_search import SEARCHED, Found, search
from acinus.calibration.threshold_curve import histogram, threshold_curve
from acinus.files import sha256, write_json
from acinus.labels.labels import LabelRow, LabelRules, open_labels
from acinus.labels.places import Places, mean_mpp, mpp_of
from acinus.learning.card import WEIGHTS_FILE, selection_of
from acinus.learning.device import best_alone
from acinus.maps.slide_map import MapJob, map_slide
from acinus.maps.tiff import read_map
from acinus.maps.windows import coverage_of, tissue_of, truth_of
from acinus.regions.against_truth import lesion_grid
from acinus.regions.operating_point import Maps, OperatingPoint, write_point, write_scaling
from acinus.scoring.scaling import Scaling
from acinus.stage import Stage
from acinus.stages.infer import map_jobs
from acinus.tissue.mask import load_tissue

BAND_ROWS = 256
"""Rows of a truth that are drawn at a time."""


@dataclass(frozen=True)
class Job:
    """One slide to map and to lay beside its truth; travels to a worker. judged: whether all its truth is known."""

    map: MapJob
    label: Path | None
    rules: LabelRules
    positive: tuple[int, ...]
    judged: bool
    lesions: bool


def run(stage: Stage) -> None:
    """Fit temperature and offsets, map the validation slides with them, and search the point that does best there."""
    manifest = records.read(records.MANIFEST, stage.paths.manifest)
    scores = records.read(records.CLASS_SCORES, stage.paths.model / "scores_val.parquet")
    probs = np.array(scores["probs"].tolist(), dtype=np.float64).reshape(len(scores), len(stage.recipe.classes))
    settings = stage.recipe.calibrate
    patients = dict(zip(manifest["slide_id"], manifest["patient"], strict=True))
    groups = [patients.get(name) or name for name in scores["slide_id"]]
    seed = stage.seed("temperature") % 2**32
    trust = confidence(probs, scores["label"].to_numpy(), groups, settings.temperature, settings.bias, seed)
    offsets = ", ".join(f"{name} {offset:+g}" for name, offset in _offsets(stage, trust.scaling).items())
    text = f"temperature {trust.scaling.temperature:g}" + (f", offsets {offsets}" if offsets else "")
    stage.say(text + (f" ({trust.note})" if trust.note else ""))
    rows = chosen_slides(records.rows(manifest), settings.objective, settings.max_slides)
    scratch = stage.root / ".acinus" / "calibrate" / stage.recipe_name
    shutil.rmtree(scratch, ignore_errors=True)  # of a killed run
    scratch.mkdir(parents=True)
    try:
        _choose(stage, _judged_slides(stage, rows, trust.scaling, scratch), trust, _um_per_px(stage, rows))
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def chosen_slides(manifest: Sequence[dict[str, Any]], objective: str, most: int | None) -> list[dict[str, Any]]:
    """Return the rows of usable validation slides that the objective can judge, at most `most`.

    Evenly taken from them sorted by label and id, so that tumour and normal slides keep their shares.
    """

    def fits(row: dict[str, Any]) -> bool:
        if objective == "f1":
            return row["slide_label"] is not None
        return _is_judged(row) and (objective != "froc" or mean_mpp(row) is not None)

    rows = [row for row in manifest if row["status"] == "ok" and row["split"] == "val" and fits(row)]
    rows.sort(key=lambda row: (row["slide_label"] or "", row["slide_id"]))
    count = min(most or len(rows), len(rows))
    return [rows[(2 * number + 1) * len(rows) // (2 * count)] for number in range(count)]


def _is_judged(row: dict[str, Any]) -> bool:
    """Return whether a slide's truth is known everywhere: tumour without known normal would flatter Dice."""
    return row["label_kind"] != "unknown" and bool(row["exhaustive"])


def _judged_slides(stage: Stage, rows: list[dict[str, Any]], scaling: Scaling, scratch: Path) -> list[Judged]:
    """Map every slide into `scratch` and return it beside its truth; the arrays stay on disk."""
    places, model = Places(stage.cohort_root, stage.paths.rasters), selection_of(stage.paths.model)
    jobs = [
        Job(
            map=map_job,
            label=places.label(map_job.row),
            rules=LabelRules.of(stage.recipe.classes, stage.recipe.cohort),
            positive=_positive(stage),
            judged=_is_judged(map_job.row),
            lesions=stage.recipe.calibrate.objective == "froc",
        )
        for map_job in map_jobs(stage, rows, model, scaling, scratch)
    ]
    slides = []
    for folder in stage.map(judge_one, jobs, alone=best_alone(stage.project.compute.device)):
        slides.append(open_judged(folder))
        stage.say(f"{slides[-1].slide_id}: mapped")
    return slides


def _positive(stage: Stage) -> tuple[int, ...]:
    return tuple(stage.recipe.classes.index(name) for name in stage.recipe.positive)


def judge_one(job: Job) -> Path:
    """Map one slide, lay tissue and truth beside the map on its grid, and return the folder that holds them."""
    row, target, index = job.map.row, job.map.target, job.map.index
    map_slide(job.map)
    prob, geometry, _ = read_map(target)
    target.unlink()
    mask = load_tissue(job.map.tissue, geometry.width, geometry.height)
    truth, lesions = None, None
    if job.judged:
        labels = open_labels(LabelRow.of(row, job.label), job.rules)
        truth = np.empty(geometry.shape, dtype=np.uint8)
        for top in range(0, geometry.rows, BAND_ROWS):
            truth[top : top + BAND_ROWS] = truth_of(labels, geometry, top, min(BAND_ROWS, geometry.rows - top), index)
        if job.lesions:
            lesions = lesion_grid(labels, (geometry.width, geometry.height), mean_mpp(row), job.positive)
    folder = target.parent / f"{row['slide_id']}.judged"  # no other slide's file is called so
    judged = Judged(
        slide_id=row["slide_id"],
        geometry=geometry,
        prob=prob if prob.ndim == 3 else prob[None],
        tissue=tissue_of(mask, geometry, 0, geometry.rows, index, job.map.infer.min_tissue_fraction),
        truth=truth,
        tumour=None if row["slide_label"] is None else row["slide_label"] == "tumor",
        lesions=lesions,
        mpp=mpp_of(row),
        patient=row["patient"],
        looked=coverage_of(job.map.image, row, mask, geometry, index, job.map.infer).rows(0, geometry.rows),
    )
    save_judged(folder, judged)
    return folder


def _um_per_px(stage: Stage, rows: list[dict[str, Any]]) -> float | None:
    """Return the mean um per map px of the slides, where the recipe works at so many um per px."""
    mpps = [mpp for mpp in (mean_mpp(row) for row in rows) if mpp is not None]
    if stage.recipe.index.mpp is None or not mpps or len(mpps) < len(rows):
        return None
    return round(sum(mpps) / len(mpps) * stage.recipe.infer.map_downsample, 6)


def _choose(stage: Stage, slides: list[Judged], trust: Confidence, um_per_px: float | None) -> None:
    """Search the point over the slides; write it, and the curves behind it."""
    settings, infer, positive = stage.recipe.calibrate, stage.recipe.infer, _positive(stage)
    plain = OperatingPoint(
        temperature=trust.scaling.temperature,
        bias=list(trust.scaling.bias),
        min_region_um2=settings.min_region_um2,
        max_hole_um2=settings.max_hole_um2,
        maps=Maps(
            stride_px=infer.stride_px,
            map_downsample=infer.map_downsample,
            min_tissue_fraction=infer.min_tissue_fraction,
            um_per_px=um_per_px,
            precision=infer.precision,
            engine=infer.engine,
            tta=infer.tta,
        ),
    )
    two = len(stage.recipe.classes) == 2
    aim = Aim(settings.objective, positive, settings.false_half_percent, stage.recipe.grade.burden_percent)

    def results(point: OperatingPoint) -> Result:
        return measure(slides, point, aim)

    if any(tells(slide, settings.objective, positive) for slide in slides):
        groups = {slide.slide_id: slide.group for slide in slides}
        found = search(results, plain, settings, two, groups, stage.seed("search"))
    else:
        nothing = Result(None, results(plain).slides)
        found = Found(plain, nothing, nothing, (), note="the plain point: no validation slide with known tumour")
    curve = threshold_curve([histogram(slide) for slide in slides], aim) if two and slides else None
    _write(stage, found, trust, {"point_at_half": _settings(plain), "curve": curve})
    _tell(stage, found, trust, len(slides))


def _write(stage: Stage, found: Found, trust: Confidence, more: dict[str, Any]) -> None:
    """Write the chosen point, its scaling alone, and what both were chosen by; more: of calibration.json."""
    scaling, objective = trust.scaling, stage.recipe.calibrate.objective
    gain = {"difference": found.gain.difference, "low": found.gain.low, "high": found.gain.high} if found.gain else None
    worth: dict[str, Any] = {"value": found.chosen.value, "value_at_half": found.plain.value, "gain": gain}
    for name in ("specificity", "sensitivity"):
        worth |= {name: getattr(found.chosen, name), f"{name}_at_half": getattr(found.plain, name)}
    scores = sorted(found.plain.slides.items())
    write_json(
        stage.paths.calibration,
        {
            "temperature": scaling.temperature,
            **({"bias": list(scaling.bias)} if scaling.bias else {}),
            "temperature_note": trust.note,
            "n_scores": trust.n_scores,
            **{name: {"before": trust.before[name], "after": trust.after[name]} for name in trust.before},
            "objective": objective,
            "point": _settings(found.point),
            **worth,
            "note": found.note,
            "slides": [{"slide_id": name, "at_half": at, "chosen": found.chosen.slides[name]} for name, at in scores],
            "trials": [asdict(trial) for trial in found.tried],
            **more,
        },
    )
    source = {
        "model_sha256": sha256(selection_of(stage.paths.model) / WEIGHTS_FILE),
        "split": "val",
        "objective": objective,
        **worth,
        "trials": len(found.tried),
        "ece_before": trust.before["ece"],
        "ece_after": trust.after["ece"],
        "n_scores": trust.n_scores,
        "note": "; ".join(text for text in (trust.note, found.note) if text) or None,
        "slides": [name for name, _ in scores],
    }
    write_scaling(stage.paths.temperature, found.point.scaling)
    write_point(stage.paths.operating_point, found.point.model_copy(update={"source": source}))


def _offsets(stage: Stage, scaling: Scaling) -> dict[str, float]:
    """Return class -> its offset, none where there is no bias."""
    return dict(zip(stage.recipe.classes, scaling.bias, strict=True)) if scaling.bias else {}


def _settings(point: OperatingPoint) -> dict[str, float]:
    return {name: getattr(point, name) for name in SEARCHED}


def _tell(stage: Stage, found: Found, trust: Confidence, n_slides: int) -> None:
    """Log the metrics and say them to a person."""
    objective, settings = stage.recipe.calibrate.objective, _settings(found.point)
    for path in (stage.paths.operating_point, stage.paths.calibration):
        stage.log.log_artifact(path, "calibration")
    stage.log.log_metrics(
        {
            "n_slides": n_slides,
            "temperature": trust.scaling.temperature,
            **{f"bias.{name}": offset for name, offset in _offsets(stage, trust.scaling).items()},
            "val.ece": trust.after["ece"],
            "val.ece.uncalibrated": trust.before["ece"],
            f"val.{objective}": found.chosen.value,
            f"val.{objective}.at_half": found.plain.value,
            "val.slide_specificity": found.chosen.specificity,
            "val.slide_sensitivity": found.chosen.sensitivity,
            **settings,
        }
    )
    values = (found.plain.value, found.chosen.value)
    change = " -> ".join("undefined" if value is None else f"{value:.4f}" for value in values)
    chosen = ", ".join(f"{name} {value:g}" for name, value in settings.items())
    stage.say(f"{objective} {change} on {n_slides} slides: {chosen}" + (f" ({found.note})" if found.note else ""))
