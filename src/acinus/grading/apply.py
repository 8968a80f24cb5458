"""One slide through an encoder and the graders: what the stage grade and predict share."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from acinus import params, records
from acinus.embedding.bags import Choice
from acinus.embedding.feature_file import Patches
from acinus.embedding.slide_features import EmbedJob, Encoder, SlideToEmbed, slide_features
from acinus.grading.card import CARD_FILE, load_graders
from acinus.grading.mil import Aggregator, class_probs, decide
from acinus.grading.rule import by_rule
from acinus.learning.device import reproducible
from acinus.scoring.burden import tumour_by_burden


@dataclass(frozen=True)
class SlideToGrade:
    """One slide. mpp: um per level-0 px (mean of both ways), None where unknown. map: its probability map, as
    `maps.slide_map.map_slide` writes it. tissue: its mask, as `save_tissue` does. class_px, burden_pred: of
    records.QUANTITIES, for the rule.
    """

    slide_id: str
    image: Path
    mpp: float | None
    map: Path
    tissue: Path
    class_px: tuple[int, ...] | None = None
    burden_pred: float | None = None


@dataclass(frozen=True)
class Verdict:
    """What the graders say of a slide. probs: mean over the seeds; grade: of these; by_seed: each one's own answer;
    spread: standard deviation of the seeds' expected grades; confidence: probs[grade]; attention: mean, in sum 1.
    """

    grade: int
    probs: tuple[float, ...]
    by_seed: tuple[int, ...]
    spread: float
    confidence: float
    attention: tuple[float, ...]


def judge(models: Sequence[Aggregator], features: np.ndarray) -> Verdict:
    """Return what graders in evaluation mode say of the features, float32 (n, d), of one slide's patches."""
    with torch.inference_mode():
        judged = [model(torch.from_numpy(features)) for model in models]
        loss = models[0].spec.loss
        probs = torch.stack([class_probs(bag.logits.double(), loss) for bag in judged])  # (seeds, classes)
        attention = torch.stack([bag.attention.double() for bag in judged]).mean(dim=0)
        mean = probs.mean(dim=0)
        expected = (probs * torch.arange(probs.shape[1])).sum(dim=1)
        grade = decide(mean, loss)
        return Verdict(
            grade=grade,
            probs=tuple(mean.tolist()),
            by_seed=tuple(decide(of_seed, loss) for of_seed in probs),
            spread=float(expected.std(correction=0)),
            confidence=float(mean[grade]),
            attention=tuple((attention / attention.sum()).tolist()),
        )


def patch_rows(patches: Patches, verdict: Verdict) -> list[dict[str, Any]]:
    """Return a row per patch, by y0 and x0: the columns of records.ATTENTION but slide_id."""
    columns = {
        "x0": patches.x0,
        "y0": patches.y0,
        "downsample": patches.downsample,
        "patch_px": patches.patch_px,
        "prob": patches.prob,
        "chosen": "all" if patches.top is None else np.where(patches.top, "top", "random"),
        "attention": verdict.attention,
    }
    return records.rows(pd.DataFrame(columns))


def has_grader(folder: Path) -> bool:
    """Return whether a trained grader lies in the folder (a recipe that grades nothing leaves a note there)."""
    return (folder / CARD_FILE).is_file()


def grade_slide(folder: Path, model: Path, slide: SlideToGrade, device: str, threads: int = 1) -> dict[str, Any] | None:
    """Return what the grader in `folder` says of one slide, or None where it has no tissue to take a patch from.

    model: the folder of the trained network that made the map. Plain values, ready for JSON: target, classes (what
    0, 1, ... mean), grade, name (of the grade), probs, by_seed, spread, confidence (see Verdict), rule (None where
    it has nothing to go by), num_patches and patches (see `patch_rows`).

    Raises:
        AcinusError: no grader, or another model's; a slide that cannot be read.
    """
    graders, card = load_graders(folder)
    job = EmbedJob(
        slide=SlideToEmbed(slide.slide_id, slide.image, slide.mpp, slide.tissue, slide.map),
        index=params.Index.model_validate(card.index),
        encoder=Encoder(card.encoder, model, folder, device, threads),
        choice=Choice(card.top_patches, card.random_patches, card.min_distance, card.positive),
        bag_seed=card.bag_seed,
    )
    encoded = slide_features(job)
    if encoded is None:
        return None
    with reproducible(torch.device("cpu"), threads):
        verdict = judge(graders, encoded.features)
    return {
        "target": card.target,
        "classes": list(card.classes),
        "grade": verdict.grade,
        "name": card.classes[verdict.grade],
        "probs": list(verdict.probs),
        "by_seed": list(verdict.by_seed),
        "spread": verdict.spread,
        "confidence": verdict.confidence,
        "rule": by_rule(card.target, card.map_classes, slide.class_px, slide.burden_pred, card.burden_percent),
        "rule_tumor": tumour_by_burden(slide.burden_pred, card.burden_percent),
        "num_patches": len(encoded.patches),
        "patches": patch_rows(encoded.patches, verdict),
    }
