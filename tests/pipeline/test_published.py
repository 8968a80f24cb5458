"""The published recipes as they stand: their own networks, patch sizes, losses and optimisers, for two steps.

Cohorts are the drawn ones, as small as can be. What is changed besides the cohort's place, with the reason:

- weights: none, where the recipe fetches ImageNet's from the hub;
- batches of two (or three), two iterations, and as few slides or patches as two steps take;
- the px to which pannuke's tiles are enlarged: 256 and not 512, but for the slow test;
- one threshold, where the lesions of a drawn slide are smaller than a published patch (CHANGES says which).
"""

import math
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import yaml

from acinus import records
from acinus.files import read_json
from acinus.learning.card import Card, load_model
from acinus.learning.models import build_model
from acinus.maps.tiff import read_map
from acinus.patches.store import Store, open_mask_store, open_store
from acinus.seeds import derive

ROOT = Path(__file__).resolve().parents[2]

UNTIL_TRAIN = ("inventory", "ingest", "index", "sample", "validate", "extract", "tune", "train")
AFTER_TRAIN = ("calibrate", "infer", "quantify", "embed", "grade", "report")
TWO_STEPS = {"weights": "none", "max_iterations": 2, "batch_size": 2}
ONE_EACH = {"max_tumor_per_slide": 1, "max_normal_per_slide": 1, "balance": ["train", "val", "test"]}

CHANGES: dict[str, dict[str, dict[str, Any]]] = {
    "camelyon": {
        "cohort": {"root": "data/demo/camelyon"},
        "index": {"tumor_min_fraction": 0.1},  # lesions are as small as the slides, 256 px are more than most of them
        "sample": ONE_EACH,
        "train": TWO_STEPS | {"batch_size": 3},  # every tumour patch comes twice: six patches
    },
    "camelyon-context": {"cohort": {"root": "data/demo/camelyon"}, "sample": ONE_EACH, "train": TWO_STEPS},
    "slides": {
        "cohort": {
            "root": "data/demo/camelyon",
            "annotations": {
                "classes": {"_0": "tumor", "_2": "normal", "Exclusion": "normal"},
                "outside": "normal",
            },
            "label": {"column": "diagnosis", "values": {"normal": "normal", "tumor": "tumor"}},
        },
        "index": {"mpp": None, "level": 0, "tumor_min_fraction": 0.1},  # drawn slides are coarser than 0.5 um/px
        "sample": ONE_EACH,
        "train": TWO_STEPS | {"batch_size": 64},  # an epoch is one step
    },
    "panda": {"cohort": {"root": "data/demo/panda", "doubtful": []}, "sample": ONE_EACH, "train": TWO_STEPS},
    "biopsy": {"cohort": {"root": "data/demo/rgb_mask"}, "train": TWO_STEPS},
    "pannuke": {
        "cohort": {
            "root": "data/demo/pannuke",
            "exclude": {f"fold{fold}_{row:06d}": "not needed" for fold in (2, 3) for row in (1, 2, 3)},
        },
        "train": TWO_STEPS,
    },
}
MODEL_2 = {"freeze": False, "head_units": None, "dropout": 0.0}
"""The other network of recipe camelyon-context, as its file says: trained as a whole."""

# of the networks' own publications or libraries, with as many outputs as the recipe has classes
RESNET50 = 25_557_032 - 2_049_000 + 2 * 2048 + 2  # torchvision's, its 1000 outputs exchanged for 2
INCEPTION = 23_834_568 - 2_049_000  # torchvision's without the auxiliary branch and its 1000 outputs
UNET_RESNET34 = 24_436_369 + 5 * (16 * 3 * 3 + 1)  # smp's with one output, and five more
DEEPLABV3_RESNET50 = 39_633_729 + 256 + 1  # smp's with one output, and one more


def chosen_biopsies(root: Any) -> dict[str, dict[str, Any]]:
    """Write splits.csv for as few slides as two steps need, and return what leaves the others out.

    Two slides without cancer and two with train, one validates, one is tested: each is one tile of 512 px at 1 um/px.
    """
    table = pd.read_csv(root / "train.csv")
    masked = table[[(root / "train_label_masks" / f"{one}_mask.tiff").is_file() for one in table["image_id"]]]
    normal, tumour = (masked.loc[rows, "image_id"] for rows in (masked["isup_grade"] == 0, masked["isup_grade"] > 0))
    splits = dict.fromkeys([*normal[:2], *tumour[:2]], "train") | {tumour.iloc[2]: "val", tumour.iloc[3]: "test"}
    lines = [f"{slide_id},{split},{slide_id}\n" for slide_id, split in splits.items()]
    (root / "splits.csv").write_text("slide_id,split,patient\n" + "".join(lines))
    others = {one: "not needed" for one in table["image_id"] if one not in splits}
    return {"cohort": {"exclude": others}, "sample": {"balance": ["train"]}}


@pytest.fixture(scope="module")
def project(direct: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Another project of the drawn cohorts, to whose panda cohort a splits.csv is added."""
    return direct.copy(tmp_path_factory.mktemp("published"))


def changed(project: Any, name: str, **train: Any) -> Any:
    """Return the published recipe with CHANGES, and further settings of its training."""
    changes = {section: dict(values) for section, values in CHANGES[name].items()}
    if name == "panda":
        for section, values in chosen_biopsies(project.root / "data" / "demo" / "panda").items():
            changes[section] |= values
    changes["train"] |= train
    return project.recipe(name, changes)


def trained(project: Any, recipe: Any, known_as: str, parameters: int) -> Any:
    """Run a recipe up to its training and hold what must be true of every one; return its paths."""
    paths = project.run(known_as, recipe, *UNTIL_TRAIN)
    sample = records.read(records.SAMPLE, paths.sample)
    train = sample[sample["split"] == "train"]
    copies = int((train["label"] == 1).sum()) if recipe.train.positive_augmentation else 0
    epochs = pd.read_csv(paths.model / "training_log.csv")
    assert len(epochs) * math.ceil((len(train) + copies) / recipe.train.batch_size) == 2  # steps
    assert np.isfinite(epochs[["train_loss", "val_loss"]].to_numpy()).all()
    assert shapes(open_store(paths.patches)) == {(recipe.index.patch_px, recipe.index.patch_px, 3)}
    model, card = load_model(paths.model)
    assert sum(one.numel() for one in model.parameters()) == parameters
    name = known_as.partition(".")[0]
    published = yaml.safe_load((ROOT / "recipes" / f"{name}.yaml").read_text())
    published["index"] |= CHANGES[name].get("index", {})
    check_card(card, published, recipe.train.input_px)
    check_moved(project, model, card, frozen=recipe.train.freeze)
    return paths


def shapes(store: Store) -> set[tuple[int, ...]]:
    """Return the shapes of all patches of a store."""
    keys = store.keys()
    with closing(store):
        return {store.read(key).shape for key in keys}


def check_card(card: Card, published: dict[str, Any], input_px: int | None) -> None:
    """Hold that the model is the one that the recipe's file in the repository describes."""
    train, index = published["train"], published["index"]
    assert (card.architecture, card.encoder) == (train["model"], train.get("encoder"))
    assert (card.task, list(card.classes)) == (published["task"], published["classes"])
    assert (card.patch_px, card.level, card.mpp) == (index["patch_px"], index.get("level"), index.get("mpp"))
    assert card.input_px == (input_px or index["patch_px"])


def check_moved(project: Any, model: Any, card: Card, frozen: bool) -> None:
    """Hold that training moved weights, of a frozen network none but the head's."""
    torch.manual_seed(derive(project.project.seed, "train", "weights"))
    first = dict(build_model(card.spec()).named_parameters())
    moved = {name for name, one in model.named_parameters() if not torch.equal(one, first[name])}
    assert all(torch.isfinite(one).all() for one in model.parameters())
    body = {name for name in first if not name.startswith("head.")}
    assert moved == (set(first) - body if frozen else moved)
    assert len(moved) > 0.9 * (len(first) - len(body) if frozen else len(first))


def test_camelyon(project: Any) -> None:
    paths = trained(project, changed(project, "camelyon"), "camelyon", RESNET50)
    scores = records.read(records.SCORES, paths.model / "patch_scores.parquet")
    assert set(scores["label"]) == {0, 1}
    assert scores["probs"].between(0, 1).all()


def test_slides(project: Any) -> None:
    """The drawn CAMELYON slides with a table that says which annotation is whose, and which slides are normal."""
    root = project.root / "data" / "demo" / "camelyon"
    lines = ["slide,annotation,diagnosis"]
    for slide in sorted(root.rglob("*.tif")):
        outlines = [path.relative_to(root).as_posix() for path in root.rglob(f"{slide.stem}.xml")]
        lines.append(f"{slide.name},{outlines[0]},tumor" if outlines else f"{slide.name},,normal")
    (project.root / "slides.csv").write_text("\n".join(lines) + "\n")
    paths = trained(project, changed(project, "slides"), "slides", RESNET50)
    manifest = records.read(records.MANIFEST, paths.manifest)
    assert set(manifest["label_kind"]) == {"outlines", "none"}
    assert set(manifest["split"]) == {"train", "val", "test"}


@pytest.mark.parametrize(
    ("known_as", "other", "parameters"),
    [
        ("camelyon-context", {}, INCEPTION + 2048 * 128 + 128 + 128 * 2 + 2),
        pytest.param("camelyon-context.2", MODEL_2, INCEPTION + 2048 * 2 + 2, marks=pytest.mark.slow),
    ],
)
def test_both_models_of_camelyon_context(project: Any, known_as: str, other: dict[str, Any], parameters: int) -> None:
    paths = trained(project, changed(project, "camelyon-context", **other), known_as, parameters)
    scores = records.read(records.SCORES, paths.model / "patch_scores.parquet")
    assert set(scores["label"]) == {0, 1}


@pytest.mark.parametrize("input_px", [256, pytest.param(512, marks=pytest.mark.slow)])
def test_pannuke(project: Any, input_px: int) -> None:
    published = yaml.safe_load((ROOT / "recipes" / "pannuke.yaml").read_text())["train"]
    assert published["input_px"] == 512
    paths = trained(project, changed(project, "pannuke", input_px=input_px), "pannuke", UNET_RESNET34)
    assert read_json(paths.model / "card.json")["input_px"] == input_px
    assert project.log.metrics["lr"] == pytest.approx(0.01 * 0.5**0.9)  # of the second of two steps


@pytest.mark.slow  # test_families.py takes smaller networks all the way
@pytest.mark.parametrize(
    ("name", "parameters", "downsample"), [("panda", DEEPLABV3_RESNET50, 8.0), ("biopsy", UNET_RESNET34, 1.0)]
)
def test_panda_and_biopsy_up_to_the_report(project: Any, name: str, parameters: int, downsample: float) -> None:
    """One slide is mapped, counted and reported with the published stride and resolution of the map."""
    recipe = changed(project, name)
    paths = trained(project, recipe, name, parameters)
    assert shapes(open_mask_store(paths.patches)) == {(512, 512)}
    project.run(name, recipe, *AFTER_TRAIN)
    manifest = records.read(records.MANIFEST, paths.manifest)
    (test,) = records.rows(manifest[(manifest["split"] == "test") & (manifest["status"] == "ok")])
    pixels, geometry, info = read_map(paths.maps / f"{test['slide_id']}.tif")
    size = (math.ceil(test["height"] / downsample), math.ceil(test["width"] / downsample))
    assert pixels.shape[-2:] == geometry.shape == size
    assert list(info.classes) == (recipe.classes if len(recipe.classes) > 2 else recipe.classes[1:])
    assert pixels.any()
    quantities = records.read(records.QUANTITIES, paths.quantities).set_index("slide_id")
    assert sum(quantities.loc[test["slide_id"], "confusion"]) == size[0] * size[1]
    metrics = read_json(paths.reports / "metrics.json")
    assert (metrics["n_slides"], metrics["n_truth"]) == (1, 1)
    assert 0 <= metrics["dice_mean"] <= 1
    assert f"{recipe.train.model} on {recipe.train.encoder}" in (paths.reports / "index.html").read_text()
