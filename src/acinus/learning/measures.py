"""What a search of settings goes by: one metric of a trained network on a split, the higher the better.

Patches are measured at the size in which the network answers; what is to be ignored counts nowhere.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import default_collate

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


class ConfusionGauge:
    """A metric of the confusion matrix summed over the split."""

    def __init__(self, metric: Callable[[np.ndarray], float | None], classes: int) -> None:
        self._metric, self._classes = metric, classes
        self._matrix = np.zeros((classes, classes), dtype=np.int64)

    def batch(self, logits: Tensor, target: Tensor) -> None:
        predicted = logits.detach().argmax(dim=1).to(torch.uint8).cpu().numpy()
        self._matrix += confusion(target.to(torch.uint8).cpu().numpy(), predicted, self._classes)

    def close(self) -> float | None:
        value = self._metric(self._matrix)
        self._matrix = np.zeros_like(self._matrix)
        return value


class AucGauge:
    """The AUC of P(tumor) over the patches of the split; of more than two classes the mean, each against the rest.

    Undefined where a class is missing.
    """

    def __init__(self, classes: int) -> None:
        self._judged = [TUMOUR] if classes == 2 else list(range(classes))
        self._probs: list[np.ndarray] = []
        self._labels: list[np.ndarray] = []

    def batch(self, logits: Tensor, target: Tensor) -> None:
        self._probs.append(torch.softmax(logits.detach().float(), dim=1)[:, self._judged].cpu().numpy())
        self._labels.append(target.cpu().numpy())

    def close(self) -> float | None:
        probs, labels = np.concatenate(self._probs), np.concatenate(self._labels)
        self._probs, self._labels = [], []
        if not np.isfinite(probs).all():  # a training that diverged; its loss says so in a moment
            return 0.0
        pairs = zip(probs.T, self._judged, strict=True)
        aucs = [auc(scores, (labels == judged).astype(np.int64)) for scores, judged in pairs]
        defined = [value for value in aucs if value is not None]
        return sum(defined) / len(defined) if len(defined) == len(aucs) else None


Gauge = ConfusionGauge | AucGauge
"""A metric taken batch by batch of (n, classes, ...) logits and (n, ...) class indices.

close: returns it, None where it is undefined on what was counted, and starts over.
"""

METRICS: dict[Task, str] = {"segmentation": "val_dice", "patch_classification": "val_auc"}
"""The metric of the validation patches that every epoch is logged with: Dice of the foreground classes (all but the
first, their mean), summed over all patches; AUC of a classifier, of more than two classes their mean."""

OF_CONFUSION: dict[str, Callable[[np.ndarray], float | None]] = {
    "accuracy": pixel_accuracy,
    "mdice": mdice,
    "miou": miou,
    "val_dice": image_dice,
}


def gauge(metric: str, classes: int) -> Gauge:
    """Return a gauge of a `Measure`, or of one of METRICS, for a network of so many classes."""
    return ConfusionGauge(OF_CONFUSION[metric], classes) if metric in OF_CONFUSION else AucGauge(classes)


def measured(job: FitJob, measure: Measure, data: PatchDataset) -> float | None:
    """Return the measure of the job's model, as it is, on other patches than those that it was chosen by.

    None where it is undefined: no patches, or a class is missing.
    """
    if not len(data):
        return None
    device, counted = pick(job.machine.device), gauge(measure, len(job.classes))
    tickets, layout = plain_tickets(data), job.machine.channels_last
    with reproducible(device, job.machine.threads), torch.inference_mode():
        place(job.model, device, channels_last=layout)
        job.model.eval()
        for start in range(0, len(tickets), job.settings.batch_size):
            items = data.__getitems__(tickets[start : start + job.settings.batch_size])
            patches, target = (part.to(device) for part in default_collate(items))
            if job.task == "segmentation":
                target = to_target(target, job.inputs.px)
            counted.batch(job.model(to_input(patches, job.inputs, channels_last=layout)), target)
        job.model.cpu()
    return counted.close()
