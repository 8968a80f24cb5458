"""What a search of settings goes by: one figure of a trained network on a split, the higher the better.

Patches are measured at the size in which the network answers; what is to be ignored counts nowhere.
"""

from collections.abc import Callable
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from acinus.learning.dataset import PatchDataset, plain_tickets
from acinus.learning.device import pick, place, reproducible
from acinus.learning.inputs import to_input, to_target
from acinus.learning.job import FitJob
from acinus.params.recipe import Task
from acinus.params.results import Measure
from acinus.scoring.auc import auc
from acinus.scoring.confusion import confusion, image_dice, mdice, miou, pixel_accuracy

TUMOUR = 1
"""Class index of tumour where a patch as a whole is classified."""


class Gauge(Protocol):
    """A measure that is taken batch by batch."""

    def batch(self, logits: Tensor, target: Tensor) -> None:
        """Count a batch: (n, classes, ...) logits, (n, ...) class indices."""

    def close(self) -> float | None:
        """Return the figure, None where it is undefined on what was counted, and start over."""


class ConfusionGauge:
    """A figure of the confusion matrix summed over the split."""

    def __init__(self, figure: Callable[[np.ndarray], float | None], classes: int) -> None:
        self._figure, self._classes = figure, classes
        self._matrix = np.zeros((classes, classes), dtype=np.int64)

    def batch(self, logits: Tensor, target: Tensor) -> None:
        """Count a batch."""
        predicted = logits.detach().argmax(dim=1).to(torch.uint8).cpu().numpy()
        self._matrix += confusion(target.to(torch.uint8).cpu().numpy(), predicted, self._classes)

    def close(self) -> float | None:
        """Return the figure and start over."""
        figure = self._figure(self._matrix)
        self._matrix = np.zeros_like(self._matrix)
        return figure


class AucGauge:
    """The AUC of P(tumor) over the patches of the split."""

    def __init__(self) -> None:
        self._probs: list[np.ndarray] = []
        self._labels: list[np.ndarray] = []

    def batch(self, logits: Tensor, target: Tensor) -> None:
        """Count a batch."""
        self._probs.append(torch.softmax(logits.detach().float(), dim=1)[:, TUMOUR].cpu().numpy())
        self._labels.append((target == TUMOUR).cpu().numpy().astype(np.int64))

    def close(self) -> float | None:
        """Return the AUC and start over."""
        probs, labels = np.concatenate(self._probs), np.concatenate(self._labels)
        self._probs, self._labels = [], []
        if not np.isfinite(probs).all():  # a training that diverged; its loss says so in a moment
            return 0.0
        return auc(probs, labels)


FIGURES: dict[Measure, Callable[[np.ndarray], float | None]] = {
    "accuracy": pixel_accuracy,
    "mdice": mdice,
    "miou": miou,
}


def gauge(measure: Measure, classes: int) -> Gauge:
    """Return a gauge of the measure for a network of so many classes."""
    return AucGauge() if measure == "patch_auc" else ConfusionGauge(FIGURES[measure], classes)


METRICS: dict[Task, str] = {"segmentation": "val_dice", "patch_classification": "val_auc"}
"""The figure of the validation patches that every epoch is logged with: Dice of the foreground classes (all but the
first, their mean), summed over all patches; AUC of a classifier."""


def metric_gauge(task: Task, classes: int) -> Gauge:
    """Return a gauge of the task's METRICS."""
    return ConfusionGauge(image_dice, classes) if task == "segmentation" else AucGauge()


def measured(job: FitJob, measure: Measure, data: PatchDataset) -> float | None:
    """Return the measure of the job's model, as it is, on other patches than those that it was chosen by.

    None where it is undefined: no patches, or a class is missing.
    """
    if not len(data):
        return None
    device, taken = pick(job.machine.device), gauge(measure, len(job.classes))
    tickets, layout = plain_tickets(data), job.machine.channels_last
    with reproducible(device, job.machine.threads), torch.inference_mode():
        place(job.model, device, channels_last=layout)
        job.model.eval()
        for start in range(0, len(tickets), job.settings.batch_size):
            items = [data[ticket] for ticket in tickets[start : start + job.settings.batch_size]]
            target = torch.stack([torch.as_tensor(item[1]) for item in items]).to(device)
            if job.task == "segmentation":
                target = to_target(target, job.inputs.px)
            patches = torch.stack([item[0] for item in items]).to(device)
            taken.batch(job.model(to_input(patches, job.inputs, channels_last=layout)), target)
        job.model.cpu()
    return taken.close()
