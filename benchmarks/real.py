"""`python -m benchmarks.real --work DIR`: the pipeline beside a plain script on real tissue, four folds by patient.

Needs GlaS (../shared/data/glas). Each fold trains both on the same patients, with the same encoder, on the same number
of crops less what validation takes; the pipeline in batches of half the size, so in twice the steps. It is measured as
it is and with test-time augmentation (d4), on the same weights, which are the moving average. All figures are of
level-0 px within the pictures of the test slides. What is known of a fold is kept in DIR and read again; another seed
wants another DIR. About an hour of one core a fold, a few minutes on a GPU.
"""

import argparse
import importlib
import statistics
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from PIL import Image

from acinus.files import read_json, write_json
from acinus.params import Project, Recipe, check_recipe
from acinus.paths import Paths
from acinus.stage import Stage
from benchmarks import real_script
from benchmarks.measure import ROOT
from benchmarks.real_cohort import FOLDS, GlasSlide, read_slides, write_cohort

NAME = "real"
BEFORE = ("watch", "inventory", "ingest", "index", "sample", "validate", "extract", "tune")
AFTER = ("calibrate", "infer", "quantify")
EPOCHS, LOOK_STEPS, BATCH = 2, 5, 6
"""Epochs of the pipeline, steps of the script that each gives up for scoring validation patches, patches of a step."""

WAYS = ("script", "acinus", "acinus, d4")


@dataclass(frozen=True)
class Heard:
    """A log that keeps when epochs ended."""

    run_id: str | None = None
    parent_id: str | None = None
    ends: list[float] = field(default_factory=list)

    def log_metrics(self, metrics: Mapping[str, Any], step: int = 0) -> None:
        """Take figures of an epoch."""
        if step:
            self.ends.append(time.perf_counter())

    def log_artifact(self, path: Path, folder: str | None = None) -> None:
        """Take a file."""

    def share_metrics(self, metrics: Mapping[str, Any]) -> None:
        """Take final figures."""

    def share_params(self, params: Mapping[str, str]) -> None:
        """Take what was settled."""

    @contextmanager
    def child(self, name: str, params: Mapping[str, str]) -> Iterator["Heard"]:
        """Give a log below this one."""
        yield self

    def end(self, state: str) -> None:
        """Take how it ended."""

    def log_model(self, folder: Path) -> None:
        """Take a model."""


def recipe_of(tta: str, steps: int) -> Recipe:
    """Return the recipe: demo-panda's, at the pictures' own resolution, trained as the script is."""
    recipe = yaml.safe_load((ROOT / "recipes" / "demo-panda.yaml").read_text())
    recipe["cohort"]["root"] = "cohort"
    index = {"patch_px": 384, "stride_px": 64, "level": 0, "min_tissue_fraction": 0.9, "tumor_min_fraction": 0.01}
    recipe["index"] = index | {"tissue": recipe["index"]["tissue"]}
    recipe["sample"] = {"scheme": "balanced", "balance": [], "max_per_slide": 100}
    recipe["validate"]["balance_tolerance"] = 100.0
    recipe["extract"]["jpeg_quality"] = 95
    recipe["train"] |= {
        "crop_px": 256, "batch_size": BATCH, "max_epochs": EPOCHS,
        "iterations_per_epoch": max(1, (steps // EPOCHS - LOOK_STEPS) * real_script.BATCH // BATCH),
        "max_val_patches": 16, "optimizer": "adamw", "lr": 1e-3, "weight_decay": 0.01, "schedule": "one_cycle",
        "warmup_share": 0.3, "keep": "ema", "ema_decay": 0.99, "checkpoint_every": 100,
    }  # fmt: skip
    recipe["calibrate"] |= {"trials": 0, "bias": False}
    recipe["infer"] |= {"splits": ["test"], "stride_px": 256, "map_downsample": 1.0, "tta": tta}
    recipe["grade"]["target"] = "none"
    return check_recipe(NAME, recipe)


def run_stages(root: Path, recipe: Recipe, stages: Sequence[str], device: str, seed: int = 1) -> float:
    """Run stages in the folder `root`; return the seconds until the last one's last epoch ended, if it has any.

    A GPU is so fast that it would wait for patches: three processes read them.
    """
    project = yaml.safe_load((ROOT / "params.yaml").read_text())
    project |= {"recipes": [NAME], "raw_cohorts": [NAME], "demo": {"families": []}, "seed": seed}
    loaders = 0 if device == "cpu" else 3
    project["compute"] |= {"workers": 1, "threads": 1, "device": device, "loader_workers": loaders}
    checked, start = Project.model_validate(project), time.perf_counter()
    heard = Heard()
    for name in stages:
        stage = Stage(name, root, checked, heard, NAME, recipe, Paths(root, NAME))
        importlib.import_module(f"acinus.stages.{name}").run(stage)
    return heard.ends[-1] - start if heard.ends else 0.0


def cut(mask: np.ndarray, slide: GlasSlide, downsample: float) -> list[np.ndarray]:
    """Return the parts of a slide's class mask (px of `downsample` level-0 px) that lie under its pictures."""
    found = []
    for picture, (x0, y0) in zip(slide.pictures, slide.places, strict=True):
        height, width = picture.mask.shape
        rows = ((np.arange(y0, y0 + height) + 0.5) / downsample).astype(int)
        columns = ((np.arange(x0, x0 + width) + 0.5) / downsample).astype(int)
        found.append(mask[np.minimum(rows, len(mask) - 1)][:, np.minimum(columns, mask.shape[1] - 1)] > 0)
    return found


def figures(slides: Sequence[GlasSlide], predicted: Mapping[str, Sequence[np.ndarray]]) -> dict[str, float]:
    """Return mean and pooled Dice of the malignant slides, their mean burden error, and that of all (points)."""
    sums, burdens = [], []
    for slide in slides:
        pairs = list(zip(predicted[slide.slide_id], (one.mask for one in slide.pictures), strict=True))
        both, guessed, true = (sum(int(one.sum()) for one in parts) for parts in (
            [a & b for a, b in pairs], [a for a, _ in pairs], [b for _, b in pairs]))  # fmt: skip
        burdens.append(100 * abs(guessed - true) / sum(b.size for _, b in pairs))
        sums.append((both, guessed, true))
    ill = [n for n, slide in enumerate(slides) if slide.malignant]
    dices = [2 * sums[n][0] / (sums[n][1] + sums[n][2]) for n in ill]
    both, guessed, true = (sum(sums[n][k] for n in ill) for k in range(3))
    return {
        "dice_mean": statistics.mean(dices),
        "dice_pooled": 2 * both / (guessed + true),
        "burden_error": statistics.mean(burdens[n] for n in ill),
        "burden_error_all": statistics.mean(burdens),
    }


def fold(
    number: int, slides: list[GlasSlide], work: Path, steps: int, device: str, seed: int
) -> dict[str, dict[str, float]]:
    """Return way -> figures of one fold, with the seconds that training took; each is kept in `work`."""
    root, kept = work / f"fold_{number}", work / f"fold_{number}.json"
    known: dict[str, dict[str, float]] = read_json(kept) if kept.is_file() else {}
    tests = [slide for slide in slides if slide.split(FOLDS[number]) == "test"]
    torch.set_num_threads(1)

    def keep(way: str, guesses: Mapping[str, Sequence[np.ndarray]], seconds: float) -> None:
        known[way] = figures(tests, guesses) | {"train_s": seconds}
        write_json(kept, known)
        print(f"fold {number}, {way}: {known[way]}", flush=True)

    if "script" not in known:
        training = [picture for slide in slides if slide.split(FOLDS[number]) == "train" for picture in slide.pictures]
        model, seconds = real_script.train(training, seed, steps, device)
        guesses = {one.slide_id: [real_script.predict(model, picture) for picture in one.pictures] for one in tests}
        keep("script", guesses, seconds)
    if set(WAYS) <= set(known):
        return known
    write_cohort(slides, FOLDS[number], root / "cohort")
    run_stages(root, recipe_of("none", steps), BEFORE, device, seed)
    seconds = run_stages(root, recipe_of("none", steps), ("train",), device, seed)
    for way, tta in zip(WAYS[1:], ("none", "d4"), strict=True):
        recipe = recipe_of(tta, steps)
        run_stages(root, recipe, AFTER, device, seed)
        masks = {one.slide_id: np.asarray(Image.open(Paths(root, NAME).masks / f"{one.slide_id}.png")) for one in tests}
        keep(way, {one.slide_id: cut(masks[one.slide_id], one, recipe.infer.map_downsample) for one in tests}, seconds)
    return known


def table(folds: Mapping[int, Mapping[str, Mapping[str, float]]]) -> str:
    """Return the figures of the folds and their means as a table, with what each way has beyond the script."""
    lines = ["| fold | way | Dice, malignant slides | pooled | burden error, points | all slides | training, s |"]
    lines.append("|---|---|---|---|---|---|---|")
    names = ("dice_mean", "dice_pooled", "burden_error", "burden_error_all", "train_s")
    means = {way: {name: statistics.mean(one[way][name] for one in folds.values()) for name in names} for way in WAYS}
    for label, one in [*((str(number), found) for number, found in sorted(folds.items())), ("mean", means)]:
        for way in WAYS:
            own, script = one[way], one["script"]
            cells = []
            for name in names:
                figure = f"{own[name]:.1f}" if name in names[2:] else f"{own[name]:.4f}"
                apart = own[name] - script[name]
                beyond = f" ({apart:+.4f})" if name in names[:2] else f" ({apart:+.1f})" if name != "train_s" else ""
                cells.append(figure + (beyond if way != "script" else ""))
            lines.append(f"| {label} | {way} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> int:
    """Run the folds asked for, print the table after each."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.real", description=__doc__)
    parser.add_argument("--work", type=Path, required=True, help="keep cohorts, models and finished folds here")
    parser.add_argument("--folds", default=",".join(map(str, range(len(FOLDS)))), help="(default: %(default)s)")
    parser.add_argument("--steps", type=int, default=real_script.STEPS, help="of the script (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of both (default: %(default)s)")
    parser.add_argument("--device", default="cpu", help="cpu or cuda, for both (default: %(default)s)")
    parser.add_argument("--shared", type=Path, default=ROOT.parent / "shared" / "data", help="folder of real slides")
    options = parser.parse_args()
    glas = options.shared / "glas"
    if not glas.is_dir():
        sys.exit(f"error: {glas}: not here; this benchmark needs the pictures of GlaS")
    slides, done = read_slides(glas), {}
    for number in map(int, options.folds.split(",")):
        done[number] = fold(number, slides, options.work, options.steps, options.device, options.seed)
        print(table(done), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
