"""Every example of docs/plugins.md does what the page says, by numbers worked out by hand."""

import math
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import shapely
import tifffile
import torch
import yaml
from PIL import Image

from acinus import params, records
from acinus.annotations.frame import Frame
from acinus.annotations.reading import read_annotations, tool_of
from acinus.cohorts import inventory
from acinus.cohorts.adapter import Order
from acinus.cohorts.manifest import build_manifest
from acinus.cohorts.slides import ingest
from acinus.errors import AcinusError, SlideError
from acinus.labels.labels import LabelRow, LabelRules, open_labels
from acinus.labels.places import Places
from acinus.learning.augmentation import Augmentation
from acinus.learning.dataset import PatchDataset
from acinus.learning.losses import PatchObjective, SegmentationObjective
from acinus.learning.models import build_model, check_input
from acinus.learning.weights import ModelSpec
from acinus.metrics.metric import Case
from acinus.metrics.registry import METRICS, measures, use_plugins
from acinus.metrics.setup import MetricSetup
from acinus.parallel import map_over
from acinus.params import check_recipe, load_recipe
from acinus.patches.index import LabelRule
from acinus.plugins import finding, loading
from acinus.stages.index import Job, index_one
from tests.plugins.pages import FILES, project

REPOSITORY = Path(__file__).resolve().parents[2]


def recipe(name: str, **sections: dict[str, Any]) -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load((REPOSITORY / "recipes" / f"{name}.yaml").read_text())
    for section, values in sections.items():
        document[section] |= values
    return document


def test_the_page_has_an_example_of_each_kind(tmp_path: Path) -> None:
    project(tmp_path, *FILES)
    assert {plugin.kind for plugin in finding.everything()} == set(finding.KINDS)
    assert len(finding.everything()) == 9


def test_a_loss_of_patches(tmp_path: Path) -> None:
    project(tmp_path, "losses.py")
    chosen = params.Loss(terms={"generalised_cross_entropy": 2.0}, class_weights=[1.0, 3.0])
    objective = PatchObjective(chosen, [1.0, 3.0], mined=False)
    logits = torch.tensor([[0.0, 0.0], [0.0, math.log(3)]])  # p of class 0: 1/2, 1/4
    loss, sums = objective.batch(logits, torch.tensor([0, 1]))
    first, second = (1 - 0.5**0.7) / 0.7, 3 * (1 - 0.75**0.7) / 0.7
    assert float(loss) == pytest.approx(2 * (first + second) / 2, abs=1e-6)
    assert objective.epoch(sums.double()) == pytest.approx(float(loss), abs=1e-6)


def test_the_same_loss_of_px_is_its_mean_over_those_that_are_known(tmp_path: Path) -> None:
    project(tmp_path, "losses.py")
    objective = SegmentationObjective(params.Loss(terms={"generalised_cross_entropy": 1.0}), [1.0, 1.0])
    logits = torch.tensor([[[[0.0, 0.0]], [[0.0, math.log(3)]]]], requires_grad=True)  # (1, 2, 1, 2)
    loss, sums = objective.batch(logits, torch.tensor([[[0, 255]]]))
    assert float(loss.detach()) == pytest.approx((1 - 0.5**0.7) / 0.7, abs=1e-6)
    assert objective.epoch(sums.double()) == pytest.approx(float(loss.detach()), abs=1e-6)
    loss.backward()
    assert logits.grad is not None
    assert logits.grad[..., 1].abs().max() == 0
    assert logits.grad[..., 0].abs().max() > 0


def test_a_loss_of_all_px_together(tmp_path: Path) -> None:
    """Of two classes the foreground alone: p 1/2 and 3/4, both of it; sum pt 5/4, sum p 5/4, sum t 2."""
    project(tmp_path, "overlap.py")
    settings = params.Loss(terms={"log_cosh_dice": 1.0, "cross_entropy": 1.0})
    objective = SegmentationObjective(settings, [1.0, 1.0])
    logits = torch.tensor([[[[0.0, 0.0]], [[0.0, math.log(3)]]]])
    loss, sums = objective.batch(logits, torch.tensor([[[1, 1]]]))
    dice, entropy = 1 - 2 * 1.25 / 3.25, (math.log(2) + math.log(4 / 3)) / 2
    assert float(loss) == pytest.approx(math.log(math.cosh(dice)) + entropy, abs=1e-6)
    assert objective.epoch(sums.double()) == pytest.approx(float(loss), abs=1e-6)


def test_a_recipe_names_a_loss_where_it_fits(tmp_path: Path) -> None:
    project(tmp_path, "losses.py", "overlap.py")
    both = {"terms": {"generalised_cross_entropy": 1.0, "cross_entropy": 0.5}}
    read = check_recipe("here", recipe("demo-camelyon", train={"loss": both}))
    assert read.train.loss.terms == both["terms"]
    with pytest.raises(
        AcinusError, match="log_cosh_dice need task segmentation; allowed here: cross_entropy, focal, g"
    ):
        check_recipe("here", recipe("demo-camelyon", train={"loss": {"terms": {"log_cosh_dice": 1.0}}}))
    with pytest.raises(
        AcinusError, match=r"no such loss; allowed are .*lovasz; plug-ins: generalised_cross_entropy, lo"
    ):
        check_recipe("here", recipe("demo-camelyon", train={"loss": {"terms": {"generalized": 1.0}}}))


def test_a_network(tmp_path: Path) -> None:
    project(tmp_path, "networks.py")
    train = {"model": "two_layers", "weights": "none"}
    check_recipe("here", recipe("demo-camelyon", train=train))
    with pytest.raises(
        AcinusError, match=r"train.weights = 'imagenet': there are none of the plug-in two_layers \(plug"
    ):
        check_recipe("here", recipe("demo-camelyon", train=train | {"weights": "imagenet"}))
    spec = ModelSpec(task="patch_classification", name="two_layers", classes=3)
    check_input(spec, 64)
    assert build_model(spec)(torch.zeros(2, 3, 64, 64)).shape == (2, 3)
    with pytest.raises(
        AcinusError, match=r"networks.py:9: network 'two_layers' cannot train on batches of 2 with 8 px"
    ):
        check_input(spec, 8)


def test_an_encoder_below_an_architecture(tmp_path: Path) -> None:
    project(tmp_path, "encoders.py")
    spec = ModelSpec(task="segmentation", name="unet", encoder="five_steps", classes=4)
    check_input(spec, 64)
    model: Any = build_model(spec)
    assert model(torch.zeros(1, 3, 50, 70)).shape == (1, 4, 50, 70)
    assert model.net.encoder.out_channels == [3, 8, 16, 24, 32, 48]
    check_recipe("here", recipe("demo-biopsy", train={"encoder": "five_steps", "weights": "none"}))
    assert build_model(ModelSpec(task="segmentation", name="pspnet", encoder="five_steps", classes=2))
    with pytest.raises(AcinusError, match=r"'five_steps' does not suit train.model = 'deeplabv3'"):
        build_model(ModelSpec(task="segmentation", name="deeplabv3", encoder="five_steps", classes=2))


class Rows:
    """A store of patches whose value is that of their row, and of masks alike."""

    def __init__(self, channels: int) -> None:
        self.pixels = np.tile(np.arange(16, dtype=np.uint8)[:, None], (1, 16))
        if channels:
            self.pixels = np.stack([self.pixels] * channels, axis=2)

    def visit(self, keys: list[str]) -> Iterator[tuple[int, np.ndarray]]:
        for at in range(len(keys)):
            yield at, self.pixels


def test_augmentations_move_patch_and_mask_alike(tmp_path: Path) -> None:
    project(tmp_path, "changes.py")
    data = partial(PatchDataset, Rows(3), ["a", "b"], [0, 0], 16, masks=Rows(0))  # type: ignore[arg-type]
    pixels, mask = data(augmentation=Augmentation(seed=3, plugged=("rolled", "grey_square")))[(0, 1)]
    assert isinstance(mask, torch.Tensor)
    grey = (pixels == 128).all(dim=0)
    assert int(grey.sum()) == 64
    assert (pixels[0][~grey] == mask[~grey]).all()
    assert sorted(mask[:, 0].tolist()) == list(range(16))
    rows = [data(augmentation=Augmentation(seed=3, plugged=("rolled",)))[(0, item)][1][0, 0] for item in range(2)]
    assert any(int(row) for row in rows)
    again, _ = data(augmentation=Augmentation(seed=3, plugged=("rolled", "grey_square")))[(0, 1)]
    other, _ = data(augmentation=Augmentation(seed=3, plugged=("rolled", "grey_square")))[(1, 1)]
    assert (again == pixels).all()
    assert (other != pixels).any()


def test_a_metric(tmp_path: Path) -> None:
    project(tmp_path, "counts.py")
    before = set(METRICS)
    use_plugins()
    assert set(METRICS) - before == {"largest_burden_error"}
    slides = pd.DataFrame({"slide_id": list("abc"), "burden_error": [1.0, -7.5, np.nan], "scored": [True] * 3})
    case = Case(slides, MetricSetup("segmentation", ("normal", "tumor"), ("tumor",), 5.0))
    values = {name: measure.value(measure.resampled) for _, name, measure in measures(case) if "largest" in name}
    assert values == {"largest_burden_error": 7.5}
    finding.use(None)
    use_plugins()
    assert set(METRICS) == before


@pytest.fixture
def cohort(tmp_path: Path) -> Path:
    """Two slides of 128 x 96 px, one with a table of corners."""
    root = project(tmp_path, "readers.py", "paired.py") / "cohort"
    root.mkdir()
    for name in ("a", "b"):
        pixels = np.random.default_rng(1).integers(120, 250, (96, 128, 3), dtype=np.uint8)
        scale = {"resolution": (2e4, 2e4), "resolutionunit": "CENTIMETER"}
        tifffile.imwrite(root / f"{name}.tif", pixels, tile=(64, 64), photometric="rgb", **scale)
    corners = [(0, 0), (64, 0), (64, 32), (0, 32)]
    lines = [f"Tumor,1,{x},{y}" for x, y in corners] + [f"Gland,2,{x + 64},{y + 64}" for x, y in corners]
    (root / "a.outlines.csv").write_text("class,object,x,y\n" + "\n".join(lines) + "\n")
    return root


def test_an_annotation_reader_to_the_index(cohort: Path, tmp_path: Path) -> None:
    file = read_annotations(cohort / "a.outlines.csv", Frame(128, 96))
    assert [one.class_name for one in file.outlines] == ["Tumor", "Gland"]
    boxes = [shapely.box(0, 0, 64, 32), shapely.box(64, 64, 128, 96)]
    assert all(one.area.equals(box) for one, box in zip(file.outlines, boxes, strict=True))
    drawn = {"classes": {"Tumor": "tumor", "Gland": "normal"}, "outside": "normal"}
    settings = params.SlidesCohort.model_validate({"root": str(cohort), "annotations": drawn, "max_bad_fraction": 1.0})
    classes = ("normal", "tumor")
    (tmp_path / "rasters").mkdir()
    files = inventory.fingerprints(inventory.inventory(cohort, None))
    said: list[str] = []
    places = (cohort, tmp_path / "rasters", settings, classes, classes[1:], files, 7)
    rows = ingest(Order(*places, map=partial(map_over, workers=2), say=said.append))
    table = build_manifest(rows, settings)
    row = next(row for row in records.rows(table) if row["slide_id"] == "a")
    assert (row["label_kind"], row["slide_label"]) == ("outlines", "tumor")
    section = params.Index.model_validate(
        recipe("demo-camelyon")["index"] | {"level": 0, "mpp": None, "patch_px": 32, "stride_px": 32}
        | {"min_foreground_fraction": 0.0}
    )  # fmt: skip
    rule = LabelRule(2, (1,), "patch_classification")
    (tmp_path / "tissue").mkdir()
    where = Places(cohort, tmp_path / "rasters")
    index = index_one(Job(row, where, tmp_path / "tissue", section, LabelRules.of(classes, settings), rule)).to_pandas()
    tumour = index[index["tumour_fraction"] == 1]
    assert sorted(zip(tumour["x0"], tumour["y0"], strict=True)) == [(0, 0), (32, 0)]
    assert (index["tumour_fraction"] > 0).sum() == 2


def test_a_reader_says_what_is_wrong_with_a_file(cohort: Path) -> None:
    path = cohort / "b.outlines.csv"
    path.write_text("class,object,x,y\nTumor,1,left,0\n")
    assert tool_of(path) == "corner_table"
    with pytest.raises(SlideError, match=r"b.outlines.csv, line 2: expected class, object, x, y"):
        read_annotations(path, Frame(128, 96))
    project(cohort.parent, readers=FILES["readers.py"].replace("corners = defaultdict(list)", "corners = none"))
    with pytest.raises(SlideError, match=r"b.outlines.csv: plugins/readers.py:16: NameError: name 'none' is not"):
        read_annotations(path, Frame(128, 96))


def test_a_cohort_family(cohort: Path, tmp_path: Path) -> None:
    for folder in ("slides", "masks"):
        (cohort / folder).mkdir()
    for name in ("a", "b"):
        (cohort / f"{name}.tif").rename(cohort / "slides" / f"{name}.tif")
    mask = np.zeros((96, 128), dtype=np.uint8)
    mask[:32, :64] = 7
    Image.fromarray(mask).save(cohort / "masks" / "a.tif")
    document = recipe("demo-camelyon") | {"family": "paired"}
    document["cohort"] = {"root": str(cohort), "mask_values": {0: "normal", 7: "tumor"}}
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes" / "own.yaml").write_text(yaml.safe_dump(document))
    read = load_recipe(tmp_path, "own")
    assert type(read).__name__ == "PairedRecipe"
    files = inventory.fingerprints(inventory.inventory(cohort, None))
    plugin = loading.named("cohort_family", "paired")
    assert plugin is not None
    places = (cohort, tmp_path, read.cohort, ("normal", "tumor"), ("tumor",), files, 7)
    for workers in (1, 2):  # in further processes too
        order = Order(*places, map=partial(map_over, workers=workers), say=print)
        table = build_manifest(plugin.function(order), read.cohort)
        rows = {row["slide_id"]: row for row in records.rows(table)}
        assert [(rows[name]["status"], rows[name]["label_kind"]) for name in "ab"] == [
            ("ok", "mask"),
            ("ok", "unknown"),
        ]
    rules = LabelRules.of(read.classes, read.cohort)
    labels = open_labels(LabelRow.of(rows["a"], cohort / "masks" / "a.tif"), rules)
    assert labels.fractions(np.array([0]), np.array([0]), 64.0)[1, 0] == 0.5


def test_the_cards_of_models_say_which_code_they_need(tmp_path: Path) -> None:
    from acinus.learning.card import check_plugins, plugins_of

    spec = ModelSpec(task="patch_classification", name="two_layers", classes=2)
    project(tmp_path / "one", "networks.py")
    needed = plugins_of(spec)
    assert list(needed) == ["network two_layers"]
    card = type("Card", (), {"plugins": needed, "spec": lambda self: spec})()
    check_plugins(card, tmp_path)
    project(tmp_path / "one", networks=FILES["networks.py"].replace('"""A small', '"""Another small'))
    check_plugins(card, tmp_path)
    project(tmp_path / "one", networks=FILES["networks.py"].replace("stride=4", "stride=3"))
    with pytest.raises(AcinusError, match="plug-in network two_layers, which has other code here than when it was"):
        check_plugins(card, tmp_path)
    finding.use(tmp_path)
    with pytest.raises(
        AcinusError, match=r"card.json: the model needs the plug-in network two_layers, which is not here"
    ):
        check_plugins(card, tmp_path)


def test_a_decorator_gives_back_the_function_itself() -> None:
    """A plug-in's file can be imported anywhere, by its own tests for one."""
    names: dict[str, Any] = {"__name__": "anywhere"}
    exec(FILES["losses.py"], names)
    assert names["generalised_cross_entropy"](torch.zeros(1, 2), torch.tensor([0]), torch.ones(2), None).shape == (1,)
