"""One slide through an encoder and the graders: what the stage grade and predict share."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from acinus import params, records
from acinus.encoders.loading import load_encoder, patch_features
from acinus.encoders.spec import EncoderSpec
from acinus.embedding.bags import Bag, Choice, choose, read_patches
from acinus.grading.card import CARD_FILE, load_graders
from acinus.grading.mil import GatedAttention, class_probs, decide
from acinus.grading.rule import by_rule
from acinus.learning.device import pick, reproducible
from acinus.maps.tiff import open_map
from acinus.scoring.burden import tumour_by_burden
from acinus.seeds import derive
from acinus.slides.geometry import resolve
from acinus.slides.open import open_slide
from acinus.tissue.mask import load_tissue


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
class BagJob:
    """One slide to choose patches of and to encode; travels to a worker. model, grader: the folders of the trained
    network and of the grader, in one of which the encoder's weights lie.
    """

    slide: SlideToGrade
    index: params.Index
    choice: Choice
    bag_seed: int
    encoder: EncoderSpec
    model: Path
    grader: Path
    device: str
    threads: int


@dataclass(frozen=True, eq=False)
class Encoded:
    """A bag with its features, float32 (n, d), and how its patches lie. downsample: level-0 px per patch px."""

    bag: Bag
    features: np.ndarray
    downsample: float
    patch_px: int


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


def encode(job: BagJob) -> Encoded | None:
    """Return a slide's bag and its features, or None where it has no tissue to take a patch from."""
    slide, index = job.slide, job.index
    with reproducible(pick(job.device), job.threads), open_slide(slide.image, slide.slide_id) as pixels:
        at = resolve(pixels.level_downsamples, slide.mpp, level=index.level, mpp=index.mpp)
        tissue = load_tissue(slide.tissue, pixels.width, pixels.height)
        with open_map(slide.map) as reader:
            bag = choose(reader, tissue, at, index, job.choice, derive(job.bag_seed, slide.slide_id))
        if not len(bag):
            return None
        patches = read_patches(pixels, bag, at, index.patch_px)
        encoder = _encoder(job.encoder, job.model, job.grader)
        features = patch_features(encoder, patches, job.encoder, job.device)
    return Encoded(bag, features, at.downsample, index.patch_px)


_encoder = lru_cache(maxsize=1)(load_encoder)
"""Loaded once per process: the spec has the checksum of its weights."""


def judge(models: Sequence[GatedAttention], features: np.ndarray) -> Verdict:
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


def patch_rows(encoded: Encoded, verdict: Verdict) -> list[dict[str, Any]]:
    """Return a row per patch, by y0 and x0: the columns of records.ATTENTION but slide_id."""
    bag = encoded.bag
    columns = {
        "x0": bag.x0,
        "y0": bag.y0,
        "downsample": encoded.downsample,
        "patch_px": encoded.patch_px,
        "prob": bag.prob,
        "chosen": np.where(bag.top, "top", "random"),
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
    job = BagJob(
        slide=slide,
        index=params.Index.model_validate(card.index),
        choice=Choice(card.top_patches, card.random_patches, card.min_distance, card.positive),
        bag_seed=card.bag_seed,
        encoder=card.encoder,
        model=model,
        grader=folder,
        device=device,
        threads=threads,
    )
    encoded = encode(job)
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
        "num_patches": len(encoded.bag),
        "patches": patch_rows(encoded, verdict),
    }
