"""`python -m benchmarks.real_point --work DIR`: what the chosen operating point does on real patients it never saw.

Needs GlaS (../shared/data/glas), two pictures to a slide. A network is trained on three patients as `benchmarks.real`
trains. Of the other twelve, six choose the operating point and six are held out; then the other way round, with another
training, since the temperature is fitted on scores that training leaves of its own validation patches. Said of the
held-out slides: how many benign ones are clean or below the rule, and the mean Dice of the malignant ones beside the
best that any threshold alone gives on the same maps (an oracle: it knows the truth). About an hour of one core.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image

from acinus.maps.tiff import read_map
from acinus.params import Recipe, check_recipe
from acinus.paths import Paths
from acinus.scoring.burden import tumour_by_burden
from benchmarks import real, real_script
from benchmarks.measure import ROOT
from benchmarks.real_cohort import GlasSlide, Plan, read_slides, write_cohort

PER_SLIDE = 2
HALVES = ("10", "13", "6", "7", "8", "16"), ("3", "4", "5", "15", "11", "14")
PLANS: tuple[Plan, ...] = (HALVES, HALVES[::-1])
THRESHOLDS = np.arange(0.05, 1.0, 0.05)


def recipe_of(steps: int) -> Recipe:
    """Return the recipe of `benchmarks.real` with the search for an operating point."""
    recipe = real.recipe_of("none", steps).model_dump(by_alias=True)
    recipe["calibrate"] |= {"trials": 40, "bias": True}
    return check_recipe(real.NAME, recipe)


def best_dice(paths: Paths, slides: Sequence[GlasSlide], downsample: float) -> tuple[float, float]:
    """Return the highest mean Dice of malignant slides that one threshold for all of them gives, and the threshold."""
    maps = {slide.slide_id: read_map(paths.maps / f"{slide.slide_id}.tif")[0] for slide in slides}
    dice = {}
    for threshold in THRESHOLDS:
        predicted = {
            slide.slide_id: real.cut(maps[slide.slide_id] >= 255 * threshold, slide, downsample) for slide in slides
        }
        dice[float(threshold)] = real.figures(slides, predicted)["dice_mean"]
    best = max(dice, key=dice.__getitem__)
    return dice[best], best


@dataclass(frozen=True)
class HeldOut:
    """What the point chosen in one half does on the other's slides.

    benign, clean: slides, and those of them that are called normal. dice: mean of the malignant slides; best: the
    highest that one threshold gives, at `threshold`.
    """

    benign: int
    clean: int
    dice: float
    best: float
    threshold: float
    point: str

    def __str__(self) -> str:
        """Return it in words."""
        return (
            f"{self.point}held out: {self.clean} of {self.benign} benign slides are called normal; "
            f"Dice of malignant slides {self.dice:.4f}, with the best threshold ({self.threshold:.2f}) {self.best:.4f}"
        )


def half(number: int, slides: list[GlasSlide], work: Path, steps: int, device: str) -> HeldOut:
    """Train, choose the operating point on one half of the other patients, and apply it to the other half."""
    plan, root, recipe = PLANS[number], work / f"plan_{number}", recipe_of(steps)
    torch.set_num_threads(1)
    write_cohort(slides, plan, root / "cohort")
    real.run_stages(root, recipe, (*real.BEFORE, "train", *real.AFTER), device)
    paths, downsample = Paths(root, real.NAME), recipe.infer.map_downsample
    tests = [slide for slide in slides if slide.split(plan) == "test"]
    masks = {
        slide.slide_id: real.cut(np.asarray(Image.open(paths.masks / f"{slide.slide_id}.png")), slide, downsample)
        for slide in tests
    }
    best, threshold = best_dice(paths, [slide for slide in tests if slide.malignant], downsample)
    burden = pd.read_parquet(paths.quantities).set_index("slide_id")["burden_pred"]
    benign = [float(burden[slide.slide_id]) for slide in tests if not slide.malignant]
    clean = [tumour_by_burden(percent, recipe.grade.burden_percent) for percent in benign].count(0)
    dice = real.figures(tests, masks)["dice_mean"]
    return HeldOut(len(benign), clean, dice, best, threshold, paths.operating_point.read_text())


def main() -> int:
    """Train, choose and hold out, twice; print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.real_point", description=__doc__)
    parser.add_argument("--work", type=Path, required=True, help="a new folder for cohorts, models and maps")
    parser.add_argument("--steps", type=int, default=real_script.STEPS, help="of 12 crops (default: %(default)s)")
    parser.add_argument("--device", default="cpu", help="cpu or cuda (default: %(default)s)")
    parser.add_argument("--shared", type=Path, default=ROOT.parent / "shared" / "data", help="folder of real slides")
    options = parser.parse_args()
    if not (options.shared / "glas").is_dir():
        sys.exit(f"error: {options.shared / 'glas'}: not here; this benchmark needs the pictures of GlaS")
    slides, halves = read_slides(options.shared / "glas", PER_SLIDE), []
    for number in range(len(PLANS)):
        halves.append(half(number, slides, options.work, options.steps, options.device))
        print(halves[-1], flush=True)
    clean, benign, short = (sum(one.clean for one in halves), sum(one.benign for one in halves),
                            max(one.best - one.dice for one in halves))  # fmt: skip
    print(f"both: {clean} of {benign} benign slides; Dice below the best threshold's by at most {short:.4f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
