"""A study over drawn features: slides of noise on disk, a table of labels, and the stage grade over them."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from acinus import params, records
from acinus.embedding.feature_file import About, Patches, write_features
from acinus.embedding.folder import feature_path, save_encoder
from acinus.encoders.spec import EncoderSpec
from acinus.files import write_json
from acinus.paths import Paths
from acinus.stage import Stage

ROOT = Path(__file__).resolve().parents[2]
PX, WIDTH = 32, 8
Slides = list[dict[str, Any]]


def slides(patients: int = 30, tests: int = 0, seed: int = 0) -> Slides:
    """One or two slides per patient (s<patient>_<n>), a level in 0 to 1 each; so many patients are the test split."""
    rng = np.random.default_rng(seed)
    made = []
    for patient in range(patients):
        level = rng.random()
        for number in range(1 + patient % 2):
            split = "test" if patient >= patients - tests else "train"
            site = "AB"[patient % 2]
            made.append(
                {"id": f"s{patient}_{number}", "patient": f"p{patient}", "level": level, "split": split, "site": site}
            )
    return made


def write(root: Path, every: Slides, labels: dict[str, dict[str, str]], shift: float = 6.0, name: str = "r") -> Paths:
    """Write a project: a third of a slide's patches have their first feature moved by shift times its level."""
    paths, rng = Paths(root, name), np.random.default_rng(1)
    (root / "cohort").mkdir(exist_ok=True)
    paths.tissue.mkdir(parents=True)
    paths.features.mkdir(parents=True)
    manifest = []
    images = rng.integers(0, 255, (len(every), PX, PX, 3)).astype(np.uint8)
    np.save(root / "cohort" / f"{name}.npy", images)
    for number, slide in enumerate(every):
        count = int(rng.integers(6, 16))
        features = rng.normal(size=(count, WIDTH)).astype(np.float32)
        features[: count // 3, 0] += shift * slide["level"]
        places = {"x0": np.arange(count) % 4 * 8, "y0": np.arange(count) // 4 * 8, "stride_px": 8}
        at = Patches(slide_id=slide["id"], width=PX, height=PX, mpp=0.5, downsample=1.0, patch_px=8, **places)
        write_features(feature_path(paths.features, slide["id"]), at, iter([features]), About("k", "drawn"))
        Image.fromarray(np.full((8, 8), True)).save(paths.tissue / f"{slide['id']}.png")
        manifest.append(_manifest_row(slide, f"{name}.npy#{number}"))
    spec = {"name": "drawn", "weights_sha256": "0" * 64, "px": 32, "mean": (0.5,) * 3, "std": (0.5,) * 3}
    save_encoder(paths.features, EncoderSpec(**spec))
    records.write(records.MANIFEST, records.frame(records.MANIFEST, manifest), paths.manifest)
    paths.rasters.mkdir()
    write_json(paths.slide_labels, labels)
    return paths


def _manifest_row(slide: dict[str, Any], image: str) -> dict[str, Any]:
    fixed = dict.fromkeys(records.MANIFEST.schema.names)
    told = {"slide_id": slide["id"], "image": image, "split": slide["split"], "patient": slide["patient"]}
    told |= {"provider": slide["site"], "label_kind": "unknown", "exhaustive": True, "split_rule": "", "derived": False}
    return fixed | told | {"findings": "", "status": "ok", "reason": "", "fingerprint": ""}


def stage(
    root: Path, grade: dict[str, Any], folds: dict[str, Any] | None = None, name: str = "r", workers: int = 1
) -> Stage:
    """The stage grade of a recipe of task slide_labels over the project at `root`."""
    whole, project = params.load_recipe(ROOT, "demo-panda"), params.load_project(ROOT)
    compute = project.compute.model_copy(update={"workers": workers, "threads": 1, "device": "cpu"})
    small = {"max_epochs": 20, "lr": 0.01, "hidden_units": 8, "attention_units": 4, "seeds": 2, "dropout": 0.0}
    section = params.Grade(**{**small, **grade})
    drawn = None if folds is None else params.Folds(**folds)
    cohort = whole.cohort.model_copy(update={"root": str(root / "cohort"), "folds": drawn})
    index = whole.index.model_copy(update={"patch_px": 8, "stride_px": 8, "level": 0, "mpp": None})
    recipe = whole.model_copy(update={"task": "slide_labels", "grade": section, "cohort": cohort, "index": index})
    log = SimpleNamespace(run_id=None, log_metrics=lambda *_: None, log_artifact=lambda *_: None)
    project = project.model_copy(update={"seed": 5, "compute": compute})
    return Stage("grade", root, project, log, name, recipe, Paths(root, name))


def predictions(work: Stage) -> pd.DataFrame:
    """What the stage predicted."""
    return records.read(records.PREDICTIONS, work.paths.predictions)
