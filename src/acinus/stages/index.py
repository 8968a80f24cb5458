"""index: manifest -> index.parquet and tissue/."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from acinus import params, records
from acinus.errors import AcinusError, SlideError
from acinus.files import atomic_path
from acinus.labels.labels import LabelRow, LabelRules, Labels, open_labels, open_tissue
from acinus.labels.places import Places, mean_mpp, mpp_of
from acinus.patches.index import LabelRule, SlideFacts, index_slide
from acinus.patches.index_file import write_index
from acinus.slides.geometry import at_downsample, resolve
from acinus.slides.open import open_slide
from acinus.slides.tiles import check_under
from acinus.stage import Stage
from acinus.tissue.mask import find_tissue, save_tissue

SHOWN = 20
"""So many slides are named in one line."""


@dataclass(frozen=True)
class Job:
    """One slide to index; travels to a worker."""

    row: dict[str, Any]
    places: Places
    tissue: Path
    index: params.Index
    rules: LabelRules
    rule: LabelRule


def run(stage: Stage) -> None:
    """Find tissue and list every candidate patch of every usable slide."""
    manifest = records.read(records.MANIFEST, stage.paths.manifest)
    usable = records.rows(manifest[manifest["status"] == "ok"])
    _refuse_unscaled(usable, stage.recipe.index, stage.recipe.cohort)
    classes = stage.recipe.classes
    rule = LabelRule(len(classes), stage.recipe.positive_indices, stage.recipe.task)
    rules = LabelRules.of(classes, stage.recipe.cohort)
    places = Places(stage.cohort_root, stage.paths.rasters)
    counted, bare = Counter[int](), list[str]()
    with atomic_path(stage.paths.tissue) as folder:
        folder.mkdir()
        jobs = [Job(row, places, folder, stage.recipe.index, rules, rule) for row in usable]
        write_index(_counted(zip(usable, stage.map(index_one, jobs), strict=True), counted, bare), stage.paths.index)
    for slide_id in bare:
        stage.say(f"no candidate patch on {slide_id}: none has enough tissue (index.min_tissue_fraction) or any tumour")
    ignored = counted[records.IGNORE]
    if stage.recipe.many_labels:
        said = ", ".join(f"{counted[label]} {name}" for label, name in enumerate(classes))
        metrics = {f"n_patches.{name}": counted[label] for label, name in enumerate(classes)}
    else:
        said, metrics = f"{counted[records.TUMOR]} tumour", {"n_tumor": counted[records.TUMOR]}
    if stage.recipe.task == params.SLIDE_LABELS:  # nothing is drawn, so that no patch has a label
        stage.say(f"{counted.total()} patches with tissue of {len(jobs)} slides")
    else:
        stage.say(f"{counted.total()} candidates of {len(jobs)} slides: {said}, {ignored} to ignore")
    stage.log.log_metrics({"n_slides": len(jobs), "n_patches": counted.total(), **metrics, "n_ignore": ignored})


def _refuse_unscaled(usable: Sequence[dict[str, Any]], index: params.Index, cohort: params.Cohort) -> None:
    """Refuse slides whose um per px nothing tells, all at once, where the recipe works at an mpp."""
    bare = [row["slide_id"] for row in usable if row["mpp_x"] is None]
    if index.mpp is not None and bare:
        more = f" and {len(bare) - SHOWN} more" if len(bare) > SHOWN else ""
        raise AcinusError(
            f"index.mpp = {index.mpp:g}: {len(bare)} of {len(usable)} slides have no um/px ({', '.join(bare[:SHOWN])}"
            f"{more}); {f'give it in {cohort.mpp_column}, ' if cohort.mpp_column else ''}set cohort.mpp, give "
            "index.level instead, or list them under cohort.exclude"
        )


def _counted(
    slides: Iterable[tuple[dict[str, Any], pa.Table]], counted: Counter[int], bare: list[str]
) -> Iterator[pa.Table]:
    """Yield the slides' rows on their way to the file, counting them by label; slides without any go to `bare`."""
    for slide, rows in slides:
        if not rows.num_rows:
            bare.append(slide["slide_id"])
        labels, numbers = np.unique(rows["label"].to_numpy(), return_counts=True)
        counted.update(dict(zip(labels.tolist(), numbers.tolist(), strict=True)))
        yield rows


def index_one(job: Job) -> pa.Table:
    """Index one slide: its tissue mask goes to the folder, its INDEX rows come back."""
    row = job.row
    with open_slide(job.places.image(row), row["slide_id"]) as slide:
        try:
            at = resolve(slide.level_downsamples, mean_mpp(row), level=job.index.level, mpp=job.index.mpp)
        except SlideError as error:
            raise SlideError(
                f"slide {row['slide_id']}: {error} in section index, or list the slide under cohort.exclude"
            ) from error
        overview = at_downsample(slide.level_downsamples, job.index.tissue.downsample)
        corner = np.zeros(1, dtype=np.int64)
        check_under(slide, overview, corner, corner, float(max(slide.width, slide.height)))  # no damaged tile anywhere
        label = LabelRow.of(row, job.places.label(row))
        annotated = _annotated_tissue(label, job.rules) if job.index.tissue.method == "annotation" else None
        tissue = find_tissue(slide, job.index.tissue, mpp_of(row), annotated)
        save_tissue(tissue, job.tissue / f"{row['slide_id']}.png")
        facts = SlideFacts(row["slide_id"], row["split"], slide.width, slide.height)
        labels = open_labels(label, job.rules)
        return index_slide(facts, at, tissue, labels, job.index, job.rule)


def _annotated_tissue(label: LabelRow, rules: LabelRules) -> Labels:
    """Return the tissue of a slide's own label, or refuse a slide whose label does not tell tissue from glass."""
    tissue = open_tissue(label, rules)
    if tissue is None:
        raise SlideError(
            f"slide {label.slide_id}: index.tissue.method = annotation, but its label ({label.label_kind}, provider "
            f"{label.provider}) does not tell tissue from glass; write method density, list the slide under "
            "cohort.exclude, or declare the values of its mask in cohort.tissue_values"
        )
    return tissue
