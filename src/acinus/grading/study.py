"""One run of a study: baselines and one model per seed learn from its slides, and predict those that they never saw."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from acinus import params
from acinus.errors import AcinusError
from acinus.grading.answers import Decision, Scale, answer_of, counts_of, fit_decision, label_of, loss_of, scale_of
from acinus.grading.baselines import Baselines, Facts, fit_baselines
from acinus.grading.fit import Fitted, Stored, fit, moments_of
from acinus.grading.linear import Truths, scaled_back
from acinus.grading.mean import of_linear
from acinus.grading.mil import Aggregator, MilSpec
from acinus.grading.runs import Run, Subject
from acinus.grading.targets import Target
from acinus.grading.tuned import tuned
from acinus.learning.device import pick, reproducible

MEAN = "mean"


@dataclass(frozen=True, eq=False)
class Job:
    """A run to do; travels to a worker. features: slide_id -> float32 (n, d). seeds: of the models, one each. device:
    where they learn; they answer on the CPU.
    """

    run: Run
    subjects: Mapping[str, Subject]
    target: Target
    settings: params.Grade
    features: Mapping[str, np.ndarray]
    facts: Mapping[str, Facts]
    seeds: tuple[int, ...]
    device: str
    threads: int


@dataclass(frozen=True)
class Member:
    """One model of a run as it travels back. weights: as safetensors. The rest: see `fit.Fitted`."""

    seed: int
    weights: bytes
    epochs: int
    best_epoch: int
    val_loss: float | None


@dataclass(frozen=True, eq=False)
class Answer:
    """What the models of one run say of a slide. by_model: (models, classes or 1), calibrated. attention: (n,), their
    mean, in sum 1.
    """

    by_model: np.ndarray
    attention: np.ndarray


@dataclass(frozen=True, eq=False)
class Learned:
    """A run done. answers: of every slide of run.predict and run.also. searched: settings that its search chose."""

    run: Run
    spec: MilSpec
    members: tuple[Member, ...]
    scale: Scale
    decision: Decision
    baselines: Baselines
    answers: Mapping[str, Answer]
    searched: Mapping[str, Any]


def do(job: Job) -> Learned:
    """Learn and predict. Bits repeat for the same job and number of threads."""
    with reproducible(pick(job.device), job.threads):
        run, kind, classes = job.run, job.target.kind, max(len(job.target.classes), 1)
        train, val = (_truths(job, ids) for ids in (run.train, run.val))
        facts = [[job.facts[slide] for slide in ids] for ids in (run.train, run.val)]
        baselines = fit_baselines(kind, classes, (facts[0], train), (facts[1], val))
        scale = scale_of(kind, train.value, train.event)
        if job.settings.aggregator != MEAN:
            chosen = tuned(job.settings, bool(run.val), lambda settings: _tried(job, settings, scale), job.seeds[0])
            job = replace(job, settings=chosen)
        spec = _spec(job, scale)
        fitted = _fit_mean(job, spec, baselines, scale) if spec.aggregator == MEAN else _fit_all(job, spec, scale)
        models = [one.model for one in fitted]
        probs = [ask(models, job.features[slide], scale).by_model.mean(axis=0) for slide in run.val]
        decision = fit_decision(kind, np.array(probs), val.value.astype(np.int64))
        answers = {
            slide: calibrated(ask(models, job.features[slide], scale), job.target, decision)
            for slide in (*run.predict, *run.also)
        }
    members = tuple(
        Member(seed, _saved(one.model), one.epochs, one.best_epoch, one.val_loss)
        for seed, one in zip(job.seeds, fitted, strict=False)
    )
    searched = {key: getattr(job.settings, key) for key in job.settings.space}
    return Learned(run, spec, members, scale, decision, baselines, answers, searched)


def ask(models: Sequence[Aggregator], features: np.ndarray, scale: Scale) -> Answer:
    """Return what models in evaluation mode say of a slide's features, float32 (n, d), uncalibrated."""
    with torch.inference_mode():
        judged = [model(torch.from_numpy(features)) for model in models]
        by_model = np.array(
            [answer_of(bag.logits, model.spec.loss, scale) for bag, model in zip(judged, models, strict=True)]
        )
        attention = torch.stack([bag.attention.double() for bag in judged]).mean(dim=0).numpy()
    return Answer(by_model, attention / attention.sum())


def calibrated(answer: Answer, target: Target, decision: Decision) -> Answer:
    """Return the answer with calibrated probabilities; numbers stay."""
    return Answer(decision.calibrated(answer.by_model, target.kind), answer.attention)


def _truths(job: Job, ids: Sequence[str]) -> Truths:
    truths = [job.subjects[slide].truth for slide in ids]
    values = np.array([one.value for one in truths], dtype=np.float64)
    return Truths(values, np.array([1 if one.event is None else one.event for one in truths], dtype=np.int64))


def _spec(job: Job, scale: Scale) -> MilSpec:
    settings, target = job.settings, job.target
    loss = loss_of(target.kind, settings.aggregator)
    outputs = {"huber": 1, "cox": 1, "hazard": len(scale.edges) - 1}.get(loss, len(target.classes))
    return MilSpec(
        features=len(job.facts[job.run.train[0]].mean),
        classes=outputs,
        hidden_units=settings.hidden_units,
        attention_units=settings.attention_units,
        dropout=settings.dropout,
        loss=loss,
        aggregator=settings.aggregator,
    )


def _tried(job: Job, settings: params.Grade, scale: Scale) -> float:
    """Return the validation loss of one model with other settings."""
    tried = replace(job, settings=settings, seeds=job.seeds[:1])
    loss = _fit_all(tried, _spec(tried, scale), scale)[0].val_loss
    return float("inf") if loss is None else loss


def _fit_mean(job: Job, spec: MilSpec, baselines: Baselines, scale: Scale) -> list[Fitted]:
    """Return the one model of mean pooling, which draws nothing."""
    linear = baselines.linear["mean_pooling"]
    if spec.loss == "huber":
        linear = scaled_back(linear, scale.mean, scale.std)
    return [Fitted(of_linear(linear, spec), 0, 0, None)]


def _fit_all(job: Job, spec: MilSpec, scale: Scale) -> list[Fitted]:
    """Return a model per seed."""
    train, val = (_slides(job, ids, scale) for ids in (job.run.train, job.run.val))
    moments = moments_of(train)
    device = pick(job.device)
    try:
        return [fit(train, val, spec, job.settings, seed, moments, device) for seed in job.seeds]
    except AcinusError as error:
        where = "" if job.run.fold is None else f"fold {job.run.fold} of repeat {job.run.repeat}: "
        raise AcinusError(f"{where}{error}") from error


def _slides(job: Job, ids: Sequence[str], scale: Scale) -> list[Stored]:
    target = job.target
    truths = _truths(job, ids)
    weights = np.ones(len(ids))
    if target.classed and job.settings.class_weights == "balanced" and ids == job.run.train:
        counts = counts_of(truths.value.tolist(), len(target.classes))
        weights = len(ids) / ((counts > 0).sum() * counts[truths.value.astype(np.int64)])
    slides = []
    for place, slide in enumerate(ids):
        label, event = label_of(float(truths.value[place]), int(truths.event[place]), target.kind, scale)
        slides.append(Stored(job.features, slide, label, event, float(weights[place])))
    return slides


def _saved(model: Aggregator) -> bytes:
    from safetensors.torch import save

    return save({key: value.detach().contiguous() for key, value in model.state_dict().items()})
