"""The calibrate stage on drawn cohorts: what it reads, what it writes, and that its figures are the slides' own."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
import shapely
import torch
import yaml

from acinus import records
from acinus.files import read_json, sha256
from acinus.learning.card import Card, save_model
from acinus.learning.models import build_model
from acinus.maps import slide_map as whole_slide
from acinus.maps.geometry import MapGeometry
from acinus.maps.tiff import read_map
from acinus.paths import Paths
from acinus.regions.operating_point import OperatingPoint, read_point
from acinus.scoring.calibration import fit_bias_corrected, fit_temperature
from acinus.stages import calibrate
from acinus.tissue.mask import load_tissue

NAME = "demo-camelyon"
SMALL: dict[str, dict[str, Any]] = {
    "cohort": {"val_fraction": 0.34},
    "index": {"patch_px": 64, "stride_px": 64},
    "infer": {"splits": ["val"], "stride_px": 64, "map_downsample": 16.0},
}
BARE = {"trials": 8, "min_region_um2": 0.0, "max_hole_um2": 0.0}  # no clean-up: what can be counted by hand
BEFORE = ("inventory", "ingest", "index")


def recipe_of(project: Any, name: str = NAME, **calibrate_settings: Any) -> Any:
    changes = SMALL if name == NAME else {}
    return project.recipe(name, changes | {"calibrate": BARE | calibrate_settings})


def write_model(paths: Paths, recipe: Any, task: str = "patch_classification") -> None:
    """A network that has learnt nothing, but is sure of itself, and scores of validation patches."""
    encoder = "test_resnet" if task == "segmentation" else None
    classes = tuple(recipe.classes)
    card = Card(
        version="0",
        task=task,
        architecture="unet" if encoder else "test_resnet",
        encoder=encoder,
        weights="none",
        classes=classes,
        positive=tuple(recipe.positive),
        patch_px=recipe.index.patch_px,
        input_px=64,
        level=recipe.index.level,
        mpp=None,
        mpp_mean=None,
        mean=(0.8, 0.6, 0.7),
        std=(0.1, 0.1, 0.1),
        index=recipe.index.model_dump(mode="json"),
        recipe_hash="",
        data_hashes={},
        epochs=1,
        best_epoch=1,
        seed=0,
    )
    torch.manual_seed(4)
    model = build_model(card.spec())
    if encoder is None:
        with torch.no_grad():
            model.get_classifier().weight *= 20
    paths.model.mkdir(parents=True)
    save_model(paths.model, model, card)
    write_scores(paths, len(classes))
    (paths.model / "scores_test.parquet").write_bytes(b"nobody reads this")


def write_scores(paths: Paths, classes: int, lean: float = 1.0) -> None:
    """Scores of twelve validation slides: true at temperature 2, the last class `lean` times as likely as they say."""
    rng = np.random.default_rng(0)
    scores = rng.dirichlet(np.ones(classes), 600)
    true = scores**0.5 * np.array([*[1.0] * (classes - 1), lean])
    labels = (rng.random((600, 1)) > (true / true.sum(1, keepdims=True)).cumsum(1)).sum(1)
    rows = [
        {"slide_id": f"v{n % 12:02}", "x0": n, "y0": 0, "px": -1, "label": min(int(label), classes - 1)}
        | {"probs": list(one)}
        for n, (one, label) in enumerate(zip(scores, labels, strict=True))
    ]
    table = records.frame(records.CLASS_SCORES, sorted(rows, key=lambda row: (row["slide_id"], row["x0"])))
    records.write(records.CLASS_SCORES, table, paths.model / "scores_val.parquet")


@pytest.fixture(scope="module")
def ready(direct: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A project whose model of the camelyon recipe is to be calibrated."""
    project = direct.copy(tmp_path_factory.mktemp("calibrate"))
    recipe = recipe_of(project)
    write_model(project.run(NAME, recipe, *BEFORE), recipe)
    return project


@pytest.fixture
def fresh(ready: Any, tmp_path: Path) -> Callable[[], Any]:
    """Copies of that project, to be changed."""

    def copy() -> Any:
        root = tmp_path / str(len(list(tmp_path.iterdir())))
        shutil.copytree(ready.root, root)
        return type(ready)(root, ready.project)

    return copy


def outputs(paths: Paths) -> tuple[dict[str, Any], dict[str, Any]]:
    return yaml.safe_load(paths.operating_point.read_text()), read_json(paths.calibration)


def split_of(paths: Paths, *splits: str) -> list[dict[str, Any]]:
    manifest = records.read(records.MANIFEST, paths.manifest)
    return records.rows(manifest[manifest["split"].isin(splits)])


def dice_by_hand(project: Any, paths: Paths, row: dict[str, Any], prob: np.ndarray, geometry: MapGeometry) -> float:
    """The figure of p >= 0.5, wherever a window ran, the truth being whether a map px has its centre in an outline.

    Of a tumour slide its Dice, of a normal one 5 / (5 + percent of the tissue that is found).
    """
    tissue = load_tissue(paths.tissue / f"{row['slide_id']}.png", row["width"], row["height"]).raster(
        geometry.columns, geometry.rows, geometry.downsample
    )
    said = prob >= 128
    truth = np.zeros(said.shape, dtype=bool)
    if row["label_source"]:
        y, x = (np.mgrid[: geometry.rows, : geometry.columns] + 0.5) * geometry.downsample
        source = ElementTree.parse(project.root / "data" / "demo" / "camelyon" / row["label_source"])
        for one in source.iter("Annotation"):  # outlines go before their cut-outs
            ring = [(float(dot.get("X") or ""), float(dot.get("Y") or "")) for dot in one.iter("Coordinate")]
            truth[shapely.contains_xy(shapely.Polygon(ring), x, y)] = one.get("PartOfGroup") == "_0"
    if not truth.any():
        return float(5 / (5 + 100 * said.sum() / tissue.sum()))
    return float(2 * (said & truth).sum() / (said.sum() + truth.sum()))


def test_the_point_and_its_figures_are_those_of_the_validation_slides(ready: Any) -> None:
    recipe = recipe_of(ready)
    paths = ready.run(NAME, recipe, "calibrate")
    point, curves = outputs(paths)
    scores = pd.read_parquet(paths.model / "scores_val.parquet")
    fitted = fit_temperature(np.array(scores["probs"].tolist()), scores["label"].to_numpy())
    assert point["temperature"] == pytest.approx(fitted, abs=1e-6)
    assert point["temperature"] != pytest.approx(1, abs=0.2)
    assert point["source"]["ece_after"] < point["source"]["ece_before"]
    rows = split_of(paths, "val")
    assert point["source"]["slides"] == [one["slide_id"] for one in curves["slides"]] == [r["slide_id"] for r in rows]
    assert {row["slide_label"] for row in rows} == {"normal", "tumor"}
    # the maps of stage infer, made with the same temperature, are the ones it was chosen on
    assert read_json(paths.temperature) == {"temperature": point["temperature"]}
    ready.run(NAME, recipe, "infer")
    by_hand = {}
    for row in rows:
        prob, geometry, _ = read_map(paths.maps / f"{row['slide_id']}.tif")
        by_hand[row["slide_id"]] = dice_by_hand(ready, paths, row, prob, geometry)
    assert any(0 < value < 1 for value in by_hand.values())
    assert {one["slide_id"]: one["at_half"] for one in curves["slides"]} == pytest.approx(by_hand, abs=0.005)
    at_half = curves["curve"]["threshold"].index(0.5)
    assert curves["curve"]["dice_mean"][at_half] == pytest.approx(curves["value_at_half"])
    assert curves["value_at_half"] == pytest.approx(np.mean(list(by_hand.values())), abs=0.005)
    assert curves["value"] >= curves["value_at_half"] == point["source"]["value_at_half"]
    assert point["maps"] == {"stride_px": 64, "map_downsample": 16.0, "min_tissue_fraction": 0.1, "um_per_px": None}
    assert {name: point[name] for name in curves["point"]} == curves["point"]
    assert len(curves["trials"]) == point["source"]["trials"] == 8
    # two validation slides show no gain, whatever the trials say
    assert curves["note"] == "the plain point: 2 patients or slides to judge by, 6 are needed to tell a gain"
    assert curves["point"] == curves["point_at_half"]
    assert (curves["gain"], curves["value"]) == (None, curves["value_at_half"])
    assert curves["curve"]["slide_specificity"][at_half] == curves["specificity"]


def test_the_plain_point_has_the_recipes_smallest_region_and_hole(fresh: Callable[[], Any]) -> None:
    project = fresh()
    paths = project.run(NAME, recipe_of(project, trials=0, min_region_um2=200.0, max_hole_um2=150.0), "calibrate")
    point, curves = outputs(paths)
    assert (point["threshold"], point["min_region_um2"], point["max_hole_um2"]) == (0.5, 200.0, 150.0)
    assert curves["point"] == curves["point_at_half"] == {name: point[name] for name in curves["point"]}


def test_patients_are_asked_not_slides(fresh: Callable[[], Any]) -> None:
    """All scores of one patient: nothing tells that a temperature holds for another."""
    project = fresh()
    paths = Paths(project.root, NAME)
    scores = records.read(records.CLASS_SCORES, paths.model / "scores_val.parquet")
    slides = [row["slide_id"] for row in split_of(paths, "val")]
    scores["slide_id"] = [slides[n % 2] for n in range(len(scores))]
    records.write(records.CLASS_SCORES, scores.sort_values("slide_id"), paths.model / "scores_val.parquet")
    manifest = records.read(records.MANIFEST, paths.manifest)
    manifest.loc[manifest["slide_id"].isin(slides), "patient"] = "one"
    records.write(records.MANIFEST, manifest, paths.manifest)
    point, _ = outputs(project.run(NAME, recipe_of(project, trials=0), "calibrate"))
    assert point["temperature"] == 1.0
    assert "a single validation slide or patient" in point["source"]["note"]


def test_a_model_that_saw_the_validation_slides_is_not_the_one_that_they_judge(fresh: Callable[[], Any]) -> None:
    """It lies beside the one fitted on training slides alone, whose maps and checksum the point has."""
    plain, project = fresh(), fresh()
    expected, curves = outputs(plain.run(NAME, recipe_of(plain), "calibrate"))
    paths = Paths(project.root, NAME)
    selection = paths.model / "selection"
    selection.mkdir()
    for name in ("model.safetensors", "card.json"):
        (paths.model / name).rename(selection / name)
    card = Card.model_validate_json((selection / "card.json").read_bytes())
    torch.manual_seed(77)
    save_model(paths.model, build_model(card.spec()), card.model_copy(update={"fitted_on": ("train", "val")}))
    assert outputs(project.run(NAME, recipe_of(project), "calibrate")) == (expected, curves)
    assert expected["source"]["model_sha256"] == sha256(selection / "model.safetensors")


def test_the_point_is_chosen_on_maps_with_the_augmentation_of_infer(fresh: Callable[[], Any]) -> None:
    project = fresh()
    recipe = recipe_of(project, trials=0)
    recipe = recipe.model_copy(update={"infer": recipe.infer.model_copy(update={"tta": "flips"})})
    point, _ = outputs(project.run(NAME, recipe, "calibrate"))
    plain, _ = outputs(project.run(NAME, recipe_of(project, trials=0), "calibrate"))
    assert (point["maps"]["tta"], "tta" in plain["maps"]) == ("flips", False)
    assert point["temperature"] == plain["temperature"]
    assert point["source"]["value_at_half"] != plain["source"]["value_at_half"]


def test_offsets_reach_the_maps_and_are_written_only_where_there_are_any(fresh: Callable[[], Any]) -> None:
    """The network itself answers the same of every slide: each map px is moved by what the offsets say."""
    plain, project = fresh(), fresh()
    maps = {}
    for one, bias in ((plain, False), (project, True)):
        write_scores(Paths(one.root, NAME), 2, lean=4.0)
        recipe = recipe_of(one, trials=0)
        # a recipe may say so of a segmentation only; the stages' arithmetic is the same, and this network the quickest
        offset = recipe.calibrate.model_copy(update={"bias": bias})
        recipe = recipe.model_copy(update={"calibrate": offset})
        paths = one.run(NAME, recipe, "calibrate", "infer")
        point, curves = outputs(paths)
        kept = {key: point[key] for key in ("temperature", "bias") if key in point}
        assert read_json(paths.temperature) == kept == {key: curves[key] for key in kept}
        assert ("bias" in kept) == ("bias" in curves) == bias
        slides = [row["slide_id"] for row in split_of(paths, "val")]
        maps[bias] = kept, np.concatenate([read_map(paths.maps / f"{name}.tif")[0].ravel() for name in slides])
    scores = pd.read_parquet(paths.model / "scores_val.parquet")
    fitted = fit_bias_corrected(np.array(scores["probs"].tolist()), scores["label"].to_numpy())
    assert (kept["temperature"], *kept["bias"]) == pytest.approx((fitted.temperature, *fitted.bias), abs=1e-6)
    (before, one), (after, other) = maps[False], maps[True]
    inside = (one > 3) & (one < 252)  # where 8 bits tell enough
    assert inside.any()
    logit = before["temperature"] * np.log(one[inside] / (255.0 - one[inside]))
    moved = logit / after["temperature"] + after["bias"][1] - after["bias"][0]
    np.testing.assert_allclose(other[inside], 255 / (1 + np.exp(-moved)), atol=3)


def test_nothing_but_validation_slides_is_opened(fresh: Callable[[], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """All other slides, their labels and tissue are gone, and the scores of test patches are no table."""
    whole, project = fresh(), fresh()
    expected = outputs(whole.run(NAME, recipe_of(whole), "calibrate"))
    paths, cohort = Paths(project.root, NAME), project.root / "data" / "demo" / "camelyon"
    others = split_of(paths, "test", "train")
    assert {row["split"] for row in others} == {"test", "train"}
    for row in others:
        (cohort / row["image"]).unlink()
        (paths.tissue / f"{row['slide_id']}.png").unlink()
        if row["label_source"]:
            (cohort / row["label_source"]).unlink()
    opened, real = [], whole_slide.open_slide

    def spy(path: Path, slide_id: str) -> Any:
        opened.append(slide_id)
        return real(path, slide_id)

    monkeypatch.setattr(whole_slide, "open_slide", spy)
    project.run(NAME, recipe_of(project), "calibrate")
    assert sorted(opened) == sorted(row["slide_id"] for row in split_of(paths, "val"))
    assert outputs(paths) == expected


def test_a_killed_run_leaves_nothing_that_the_next_one_minds(fresh: Callable[[], Any]) -> None:
    first, second = fresh(), fresh()
    (second.root / ".acinus" / "calibrate" / NAME / "tumor_002").mkdir(parents=True)
    found = []
    for project in (first, second):
        paths = project.run(NAME, recipe_of(project), "calibrate")
        assert not (project.root / ".acinus" / "calibrate" / NAME).exists()
        found.append([path.read_bytes() for path in (paths.operating_point, paths.calibration)])
    assert found[0] == found[1], "the same bytes twice"


def test_without_a_slide_of_known_truth_the_point_is_plain_and_says_why(fresh: Callable[[], Any]) -> None:
    project = fresh()
    paths = Paths(project.root, NAME)
    manifest = records.read(records.MANIFEST, paths.manifest)
    manifest.loc[manifest["split"] == "val", "label_kind"] = "unknown"
    records.write(records.MANIFEST, manifest, paths.manifest)
    project.run(NAME, recipe_of(project, temperature=False), "calibrate")
    point, curves = read_point(paths.operating_point), read_json(paths.calibration)
    assert point.model_dump(exclude={"source", "maps"}) == OperatingPoint().model_dump(exclude={"source", "maps"})
    assert point.source["slides"] == []
    assert "no validation slide with known tumour" in point.source["note"]
    assert "calibrate.temperature is false" in point.source["note"]
    assert curves["curve"] is None
    assert curves["value"] is None


@pytest.mark.parametrize("objective", ["f1", "froc"])
def test_the_other_objectives_run_on_the_same_slides(fresh: Callable[[], Any], objective: str) -> None:
    project = fresh()
    paths = project.run(NAME, recipe_of(project, objective=objective, trials=3), "calibrate")
    point, curves = outputs(paths)
    assert 0 <= curves["value_at_half"] <= curves["value"] <= 1
    assert len(point["source"]["slides"]) == len(split_of(paths, "val"))


def test_several_classes_have_no_threshold_to_search(direct: Any, tmp_path: Path) -> None:
    project, name = direct.copy(tmp_path / "project"), "demo-pannuke"
    recipe = recipe_of(project, name, trials=4, max_smoothing_px=1.0)
    paths = project.run(name, recipe, *BEFORE)
    write_model(paths, recipe, "segmentation")
    project.run(name, recipe, "calibrate")
    point, curves = outputs(paths)
    assert point["threshold"] == 0.5
    assert curves["curve"] is None
    assert all("threshold" not in one["settings"] for one in curves["trials"][1:])
    assert 0 < curves["value_at_half"] <= curves["value"] < 1
    assert len(curves["slides"]) == 4


def test_cells_are_judged_by_the_label_of_the_index(direct: Any, tmp_path: Path) -> None:
    project, name = direct.copy(tmp_path / "project"), "demo-camelyon-context"
    changes = {
        "cohort": {"val_fraction": 0.34},
        "index": {"min_tissue_fraction": 0.1},  # as infer's: every cell that may be called tumour is in the index
        "calibrate": {"trials": 0},
        "infer": {"splits": ["val"]},
    }
    recipe = project.recipe(name, changes)
    paths = project.run(name, recipe, *BEFORE)
    write_model(paths, recipe)
    project.run(name, recipe, "calibrate", "infer")
    _, curves = outputs(paths)
    assert curves["trials"] == []
    index = records.read(records.INDEX, paths.index)
    margin_px = (recipe.index.patch_px - recipe.index.cell_px) / 2
    by_hand = {}
    for row in split_of(paths, "val"):
        prob, geometry, _ = read_map(paths.maps / f"{row['slide_id']}.tif")
        own = index[(index["slide_id"] == row["slide_id"]) & (index["label"] >= 0)]
        column, line = (
            ((own[axis] + margin_px * own["downsample"]) / geometry.downsample).round().astype(int)
            for axis in ("x0", "y0")
        )
        tissue = own["tissue_fraction"] >= recipe.infer.min_tissue_fraction
        said, true = (prob[line, column] >= 128) & tissue, own["label"] == 1
        dice, false_percent = 2 * (said & true).sum() / (said.sum() + true.sum()), 100 * said.sum() / tissue.sum()
        by_hand[row["slide_id"]] = dice if true.any() else 5 / (5 + false_percent)
    assert any(by_hand.values())
    assert {one["slide_id"]: one["at_half"] for one in curves["slides"]} == {
        name: pytest.approx(value) for name, value in by_hand.items()
    }


# ------------------------------------------------------------------ which slides


def manifest_rows(normal: int, tumour: int) -> list[dict[str, Any]]:
    common = {"status": "ok", "split": "val", "label_kind": "mask", "exhaustive": True, "mpp_x": 0.5, "mpp_y": 0.5}
    return [
        {**common, "slide_id": f"{kind[0]}{number:02}", "slide_label": kind}
        for kind, count in (("tumor", tumour), ("normal", normal))
        for number in range(count)
    ]


def test_slides_are_taken_evenly_from_both_kinds() -> None:
    rows = manifest_rows(normal=30, tumour=10)
    chosen = calibrate.chosen_slides(rows, "dice", 8)
    assert [row["slide_label"] for row in chosen].count("normal") == 6
    assert len({row["slide_id"] for row in chosen}) == 8
    assert len(calibrate.chosen_slides(rows, "dice", None)) == len(calibrate.chosen_slides(rows, "dice", 99)) == 40
    assert calibrate.chosen_slides([], "dice", 3) == []


@pytest.mark.parametrize(
    ("change", "fits"),
    [
        ({"split": "test"}, ()),
        ({"split": "train"}, ()),
        ({"status": "bad"}, ()),
        ({"label_kind": "unknown"}, ("f1",)),
        ({"exhaustive": False}, ("f1",)),
        ({"slide_label": None}, ("dice", "froc")),
        ({"mpp_x": None}, ("dice", "f1")),
    ],
)
def test_a_slide_is_taken_only_where_the_objective_can_judge_it(change: dict[str, Any], fits: tuple[str, ...]) -> None:
    row = manifest_rows(0, 1)[0] | change
    objectives = ("dice", "f1", "froc")
    assert tuple(one for one in objectives if calibrate.chosen_slides([row], one, None)) == fits
