"""`acinus predict` with networks whose answer is known: every figure is worked out by hand."""

import errno
import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from shapely.geometry import shape

from acinus import predict
from acinus.encoders.loading import own_encoder
from acinus.errors import AcinusError
from acinus.grading.card import MilCard, save_graders
from acinus.grading.fit import Fitted
from acinus.grading.mil import GatedAttention
from acinus.learning.card import Card, save_model
from acinus.learning.colour import TrainingStain, stain_summary
from acinus.learning.models import build_model
from acinus.maps.slide_map import running_as
from acinus.maps.tiff import read_map
from acinus.predict import one, opening
from acinus.predict.opening import STEPS
from acinus.regions.operating_point import Maps, OperatingPoint, read_point, write_point
from acinus.slides.open import open_slide
from acinus.slides.pyramid import to_pyramid
from tests.slides.written_zarr import as_zarr2

EDGE, WIDTH, HEIGHT = 32, 150, 100
LOGIT = 2.0
"""Of the constant classifier: p(tumor) is sigmoid(2) = 0.881, tempered by 2 it is sigmoid(1) = 0.731."""
PINK, WHITE = (200, 120, 180), (250, 250, 250)
TASKS: dict[str, dict[str, Any]] = {
    "patch_classification": {"architecture": "test_resnet", "classes": ("normal", "tumor"), "positive": ("tumor",)},
    "segmentation": {
        "architecture": "unet",
        "encoder": "test_resnet",
        "classes": ("background", "stroma", "tumour"),
        "positive": ("tumour",),
    },
}
POINT = OperatingPoint(
    temperature=2.0, threshold=0.7, maps=Maps(stride_px=16, map_downsample=8.0, min_tissue_fraction=0.0)
)


def index(**changes: Any) -> dict[str, Any]:
    tissue = {"method": "all", "downsample": 4.0, "min_saturation": 0.05, "min_area_px": 1, "min_area_um2": 0.0}
    values = {"patch_px": EDGE, "stride_px": EDGE, "level": 0, "tissue": tissue | changes.pop("tissue", {})}
    return values | changes


def make_model(folder: Path, task: str = "patch_classification", point: OperatingPoint = POINT, **changes: Any) -> Path:
    """Write models/r whose network says the same of every px: LOGIT for the last class, 0 for the others."""
    values = {
        "version": "0",
        "task": task,
        "weights": "none",
        "patch_px": EDGE,
        "input_px": EDGE,
        "level": 0,
        "mpp": None,
        "mpp_mean": 0.5,
        "mean": (0.4, 0.5, 0.6),
        "std": (0.2, 0.3, 0.4),
        "index": index(),
        "recipe_hash": "abc",
        "data_hashes": {},
        "epochs": 1,
        "best_epoch": 1,
        "seed": 0,
    }
    card = Card.model_validate({**values, **TASKS[task], **changes})
    torch.manual_seed(0)
    model = build_model(card.spec())
    *_, (_, weight), (_, bias) = model.named_parameters()
    with torch.no_grad():
        weight.zero_()
        bias.zero_()
        bias[-1] = LOGIT
    (folder / "r").mkdir(parents=True)
    save_model(folder / "r", model, card)
    write_stain(folder / "r", [*(9 * np.eye(3)), *(-9 * np.eye(3))])  # nothing is far from these
    write_point(folder / "r.operating_point.yaml", point)
    return folder / "r"


def write_stain(model: Path, densities: list[np.ndarray]) -> None:
    (model / "stain.json").write_text(json.dumps(stain_summary(densities)))


def make_slide(path: Path, colour: tuple[int, int, int] = PINK, mpp: float | None = 0.5) -> Path:
    """Write a tiled pyramid of one colour with noise."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(0).integers(-9, 10, (HEIGHT, WIDTH, 3))
    picture = Image.fromarray(np.clip(np.array(colour) + noise, 0, 255).astype(np.uint8))
    raster = path.with_suffix(".raster.png")
    picture.save(raster, **({"dpi": (25_400 / mpp, 25_400 / mpp)} if mpp else {}))
    to_pyramid(raster, path, 90)
    raster.unlink()
    return path


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return make_model(tmp_path / "models")


@pytest.fixture
def slide(tmp_path: Path) -> Path:
    return make_slide(tmp_path / "slides" / "one.tif")


def run(slides: list[Path], model: Path, out: Path, **settings: Any) -> list[predict.Outcome]:
    return predict.run(slides, model, out, **{"echo": lambda _: None, **settings})


def result(out: Path, name: str = "one") -> dict[str, Any]:
    return json.loads((out / name / "result.json").read_text())


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_every_figure_of_a_slide_that_is_tumour_all_over(slide: Path, model: Path, tmp_path: Path) -> None:
    lines: list[str] = []
    (outcome,) = run([slide], model, tmp_path / "out", echo=lines.append)
    assert (outcome.state, outcome.folder) == ("done", tmp_path / "out" / "one")
    assert lines == ["one.tif: 100 % of tissue is tumor (0.00375 mm2), 1 region"]  # 150 * 0.5 um by 100 * 0.5 um
    kept = {"result.json", "probability.tif", "overlay.png", "regions.geojson", "regions.xml"}
    assert set(files(outcome.folder)) == kept
    pixels, geometry, info = read_map(outcome.folder / "probability.tif")
    assert (geometry.width, geometry.height, geometry.downsample) == (WIDTH, HEIGHT, 8.0)
    assert info.mpp == pytest.approx((0.5, 0.5), rel=1e-4)
    assert np.unique(pixels).tolist() == [round(255 / (1 + math.exp(-LOGIT / 2)))]  # the temperature is 2
    found = result(tmp_path / "out")
    area = WIDTH * HEIGHT * found["mpp"][0] * found["mpp"][1] / 1e6  # the px that the border cuts count by their share
    assert found["mpp"] == pytest.approx([0.5, 0.5], rel=1e-4)
    assert found["tumour_mm2"] == found["tissue_mm2"] == pytest.approx(area)
    assert [one["mm2"] for one in found["classes"]] == pytest.approx([0.0, area])
    assert [one["percent_of_tissue"] for one in found["classes"]] == [0.0, 100.0]
    (region,) = found["regions"]["largest"]
    assert [region[key] for key in ("x0", "y0", "x1", "y1", "class")] == [0, 0, WIDTH, HEIGHT, "tumor"]
    assert found["burden_percent"] == 100.0
    assert (found["mpp_source"], found["warnings"], found["grade"]) == ("tag", [], None)
    assert found["operating_point"] == POINT.model_dump(mode="json")
    assert found["model"] == json.loads((model / "card.json").read_text())
    (feature,) = json.loads((outcome.folder / "regions.geojson").read_text())["features"]
    assert shape(feature["geometry"]).area == WIDTH * HEIGHT
    with Image.open(outcome.folder / "overlay.png") as picture:
        assert picture.format == "PNG"


def test_the_operating_point_decides(slide: Path, tmp_path: Path) -> None:
    """p is 0.731 at temperature 2 and 0.881 at 1, on either side of the threshold."""
    for temperature, burden in ((2.0, 0.0), (1.0, 100.0)):
        point = POINT.model_copy(update={"temperature": temperature, "threshold": 0.8})
        model = make_model(tmp_path / f"models{temperature}", point=point)
        run([slide], model, tmp_path / f"out{temperature}")
        assert result(tmp_path / f"out{temperature}")["burden_percent"] == burden


@pytest.mark.parametrize(
    ("mpp", "least", "kept"),
    [(0.5, 3950.0, True), (0.5, 3960.0, False), (0.25, 3950.0, False), (1.0, 3960.0, True), (None, 3960.0, False)],
)
def test_sizes_in_um2_are_taken_at_the_slides_own_resolution(
    tmp_path: Path, mpp: float | None, least: float, kept: bool
) -> None:
    """The whole slide is one region of 19 x 13 map px of 8 level-0 px: 3952 um2 at 0.5 um per px."""
    slide = make_slide(tmp_path / "slides" / "one.tif", mpp=mpp)
    model = make_model(tmp_path / "models", point=POINT.model_copy(update={"min_region_um2": least}))
    run([slide], model, tmp_path / "out")
    found = result(tmp_path / "out")
    assert (found["burden_percent"], found["regions"]["count"]) == ((100.0, 1) if kept else (0.0, 0))
    sized = [text for text in found["warnings"] if text.startswith(f"regions below {least:g} um2 are removed")]
    assert len(sized) == (mpp is None)
    assert all("as at 0.5 um/px: um/px unknown" in text for text in sized)


def test_the_offsets_of_the_operating_point_are_added(slide: Path, tmp_path: Path) -> None:
    """At temperature 2 the second class is ahead by 1; offsets of 0.75 either way put it behind by 0.5."""
    model = make_model(tmp_path / "models", point=POINT.model_copy(update={"bias": [0.75, -0.75]}))
    run([slide], model, tmp_path / "out")
    pixels, _, _ = read_map(tmp_path / "out" / "one" / "probability.tif")
    assert np.unique(pixels).tolist() == [round(255 / (1 + math.exp(0.5)))]
    assert result(tmp_path / "out")["operating_point"]["bias"] == [0.75, -0.75]


def test_a_segmentation_tells_every_class(slide: Path, tmp_path: Path) -> None:
    model = make_model(tmp_path / "models", "segmentation")
    (outcome,) = run([slide], model, tmp_path / "out")
    found = result(tmp_path / "out")
    assert [(one["name"], one["percent_of_tissue"]) for one in found["classes"]] == [
        ("background", 0.0),
        ("stroma", 0.0),
        ("tumour", 100.0),
    ]
    assert sum(one["mm2"] for one in found["classes"]) == pytest.approx(found["tissue_mm2"])
    assert read_map(outcome.folder / "probability.tif")[0].shape == (3, 13, 19)


def test_a_cell_is_a_px_of_the_map(slide: Path, tmp_path: Path) -> None:
    cells = index(cell_px=16, stride_px=16)
    point = POINT.model_copy(update={"maps": Maps(stride_px=16, map_downsample=16.0, min_tissue_fraction=0.1)})
    model = make_model(tmp_path / "models", point=point, index=cells)
    run([slide], model, tmp_path / "out")
    found = result(tmp_path / "out")
    assert found["map_downsample"] == 16.0
    assert found["tissue_px"] == 10 * 7 - 1  # of the cell in the corner 6 x 4 of 256 px lie on the slide: below a tenth


def test_px_of_the_map_are_as_large_on_a_slide_of_another_resolution(slide: Path, tmp_path: Path) -> None:
    """Clean-up counts px: at 0.4 um per level-0 px it takes 10 of them to be 4 um wide, at 0.8 only 5."""
    maps = Maps(stride_px=16, map_downsample=8.0, min_tissue_fraction=0.0, um_per_px=4.0)
    model = make_model(tmp_path / "models", point=POINT.model_copy(update={"maps": maps}))
    for mpp, downsample in ((0.4, 10.0), (0.8, 5.0)):
        run([slide], model, tmp_path / str(mpp), mpp=mpp)
        assert result(tmp_path / str(mpp))["map_downsample"] == pytest.approx(downsample)


def test_a_point_chosen_on_maps_of_another_kind_is_warned_of(slide: Path, tmp_path: Path) -> None:
    for maps, warned in (({}, False), ({"precision": "bf16-mixed"}, True), ({"engine": "openvino"}, True)):
        made = Maps(stride_px=16, map_downsample=8.0, min_tissue_fraction=0.0, **maps)
        assert made.model_dump(exclude={"stride_px", "map_downsample", "min_tissue_fraction", "um_per_px"}) == maps
        folder = tmp_path / "-".join(["m", *maps])
        model = make_model(folder / "models", point=POINT.model_copy(update={"maps": made}))
        run([slide], model, folder / "out")
        assert any("maps of another kind" in line for line in result(folder / "out")["warnings"]) == warned


def test_windows_are_seen_as_in_the_maps_that_the_point_was_chosen_on(slide: Path, tmp_path: Path, monkeypatch) -> None:
    seen: list[str] = []
    own = one.map_slide

    def watched(job: Any) -> Any:
        seen.append(f"{running_as(job.compute, job.infer).tta} {job.infer.tta}")
        return own(job)

    monkeypatch.setattr(one, "map_slide", watched)
    for tta in ("none", "d4"):
        made = Maps(stride_px=16, map_downsample=8.0, min_tissue_fraction=0.0, tta=tta)
        model = make_model(tmp_path / tta / "models", point=POINT.model_copy(update={"maps": made}))
        run([slide], model, tmp_path / tta / "out")
    assert seen == ["none none", "d4 d4"]


def test_a_raster_is_streamed_into_a_pyramid_that_does_not_stay(model: Path, tmp_path: Path) -> None:
    for name, mode in (("a.png", "RGB"), ("b.jpg", "RGB"), ("c.tif", "RGB"), ("d.png", "P"), ("e.png", "L")):
        Image.new("RGB", (WIDTH, HEIGHT), PINK).convert(mode).save(tmp_path / name)
    outcomes = run(sorted(tmp_path.glob("?.*")), model, tmp_path / "out")
    assert [outcome.state for outcome in outcomes] == [*["done"] * 4, "failed"]
    assert "the picture is grey" in outcomes[-1].text
    for name in "abcd":
        found = result(tmp_path / "out", name)
        assert found["size_px"] == [WIDTH, HEIGHT]
        assert found["burden_percent"] == 100.0
        assert found["tumour_mm2"] is None  # never guessed
        assert found["regions"]["largest"][0]["area_mm2"] is None
        assert [text.partition(" (")[0] for text in found["warnings"]] == ["um/px unknown"]
        assert not [path for path in files(tmp_path / "out") if "pyramid" in path]


def test_a_given_mpp_is_used_and_said_to_be_assumed(slide: Path, model: Path, tmp_path: Path) -> None:
    run([slide], model, tmp_path / "out", mpp=0.25)
    found = result(tmp_path / "out")
    assert (found["mpp"], found["mpp_source"]) == ([0.25, 0.25], "--mpp")
    assert found["tissue_mm2"] == pytest.approx(WIDTH * HEIGHT * 0.25**2 / 1e6)
    assumed, far = found["warnings"]
    assert assumed.startswith("um/px assumed: 0.25 as given by --mpp (its tag says 0.5")
    assert "0.25 um/px, it was trained at 0.5 (2.00 x off, more than 1.25)" in far


@pytest.mark.parametrize(("mpp", "warned"), [(0.45, False), (0.62, False), (0.63, True), (0.39, True)])
def test_mpp_far_from_training_is_told_by_its_ratio(model: Path, tmp_path: Path, mpp: float, warned: bool) -> None:
    run([make_slide(tmp_path / "one.tif", mpp=mpp)], model, tmp_path / "out")
    assert len(result(tmp_path / "out")["warnings"]) == warned


def test_slides_that_cannot_be_predicted_have_a_reason_and_stop_nothing(slide: Path, tmp_path: Path) -> None:
    model = make_model(tmp_path / "models", level=None, mpp=0.5, index=index(level=None, mpp=0.5))
    coarse = make_slide(tmp_path / "coarse.tif", mpp=1.0)
    unknown = make_slide(tmp_path / "unknown.tif", mpp=None)
    text = tmp_path / "text.svs"
    text.write_text("no slide")
    given = [coarse, unknown, text, tmp_path / "missing.svs", tmp_path, slide]
    lines: list[str] = []
    outcomes = run(given, model, tmp_path / "out", echo=lines.append)
    assert [outcome.state for outcome in outcomes] == ["failed"] * 5 + ["done"]
    assert len(lines) == 6
    assert not any("\n" in line for line in lines)
    reasons = [json.loads((one.folder / "error.json").read_text())["reason"] for one in outcomes[:5]]
    for reason, expected in zip(
        reasons,
        (
            "the model works at 0.5 um/px, the slide has 1 um/px at best",
            "does not tell its um/px (no tag); give it by --mpp",
            "; replace the file, or leave the slide out",
            "missing.svs is not there; check the path",
            f"{tmp_path} is a folder; give the slides' files",
        ),
        strict=True,
    ):
        assert expected in reason
        assert "cohort" not in reason  # there is none
    assert all(set(files(one.folder)) == {"error.json"} for one in outcomes[:5])
    assert run([unknown], model, tmp_path / "out", mpp=0.5)[0].state == "done"
    assert set(files(tmp_path / "out" / "unknown")) == set(files(tmp_path / "out" / "one"))  # no error.json any more


def test_a_level_that_the_slide_has_not_is_a_reason(slide: Path, tmp_path: Path) -> None:
    model = make_model(tmp_path / "models", level=3, index=index(level=3))
    (outcome,) = run([slide], model, tmp_path / "out")
    assert "works at level 3, the slide has levels 0 to 0" in outcome.text


def test_a_slide_without_tissue_is_told_so(tmp_path: Path) -> None:
    model = make_model(tmp_path / "models", index=index(tissue={"method": "otsu"}))
    white = make_slide(tmp_path / "white.tif", WHITE)
    assert run([white], model, tmp_path / "out")[0].state == "done"
    found = result(tmp_path / "out", "white")
    assert (found["burden_percent"], found["tissue_px"], found["regions"]["count"]) == (None, 0, 0)
    assert found["warnings"] == ["no tissue found: nothing was looked at, every figure is 0 or null"]


def test_a_finished_slide_is_kept_until_something_it_depends_on_changes(slide: Path, model: Path, tmp_path) -> None:
    out = tmp_path / "out"
    run([slide], model, out)
    before, made = files(out), (out / "one" / "result.json").stat().st_mtime_ns
    assert run([slide], model, out)[0].state == "kept"
    assert (out / "one" / "result.json").stat().st_mtime_ns == made
    assert run([slide], model, out, overwrite=True)[0].state == "done"
    assert files(out) == before  # the same bytes again
    (out / "one" / "result.json").unlink()  # killed before its end
    (out / "one" / ".work.x.part").mkdir()
    assert run([slide], model, out)[0].state == "done"
    assert files(out) == before
    assert not (out / "one" / ".work.x.part").exists()
    assert run([slide], model, out, mpp=0.6)[0].state == "done"
    assert run([slide], model, out)[0].state == "done"
    point = model.parent / "r.operating_point.yaml"
    write_point(point, read_point(point).model_copy(update={"threshold": 0.9}))
    assert run([slide], model, out)[0].state == "done"
    assert result(out)["burden_percent"] == 0.0
    make_slide(slide, (120, 60, 120))
    assert run([slide], model, out)[0].state == "done"
    slide.write_bytes(slide.read_bytes()[:2000])
    assert run([slide], model, out)[0].state == "failed"
    assert set(files(out)) == {"one/error.json"}  # nothing of the result that is no longer true


def test_an_ome_zarr_is_one_slide_and_kept_until_a_chunk_changes(slide: Path, model: Path, tmp_path: Path) -> None:
    pytest.importorskip("zarr", reason="the extra zarr is not installed")
    out = tmp_path / "out"
    with open_slide(slide, "one") as source:
        pixels = source.region((0, 0), 0, (source.width, source.height))
    folder = as_zarr2(slide.parent / "two.ome.zarr", [pixels, pixels[::2, ::2]], mpp=0.5)
    assert [outcome.state for outcome in run([slide, folder], model, out)] == ["done", "done"]
    assert result(out, "two_ome")["burden_percent"] == result(out)["burden_percent"] > 0
    assert run([folder], model, out)[0].state == "kept"
    (folder / "0" / "0" / "1" / "0" / "0" / "0").write_bytes(b"")
    assert run([folder], model, out)[0].state == "failed"
    assert "level 0, chunk at row 0, column 0" in json.loads((out / "two_ome" / "error.json").read_text())["reason"]


def test_a_run_that_is_interrupted_leaves_nothing_half_written(slide, model, tmp_path, monkeypatch) -> None:
    out, find = tmp_path / "out", one.find_regions

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    run([slide], model, tmp_path / "straight")
    monkeypatch.setattr(one, "find_regions", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run([slide], model, out)
    assert set(files(out)) == {"one/probability.tif"}
    assert [path.name for path in (out / "one").iterdir()] == ["probability.tif"]
    monkeypatch.setattr(one, "find_regions", find)
    assert run([slide], model, out)[0].state == "done"
    assert files(out) == files(tmp_path / "straight")


def test_folders_are_safe_unique_and_never_anothers(slide: Path, model: Path, tmp_path: Path) -> None:
    out, data = tmp_path / "out", slide.read_bytes()
    hostile = ["a b.tif", "..tif", "-rf.tif", "x\ny.tif", "ONE.tif", "<b>.tif", "é.tif", "q" * 180 + ".tif"]
    paths = [slide]
    for number, name in enumerate([*hostile, "one.tif"]):
        path = tmp_path / "slides" / str(number) / name
        path.parent.mkdir()
        path.write_bytes(data)
        paths.append(path)
    strange = tmp_path / "slides" / os.fsdecode(b"\xff\xfe.tif")
    strange.write_bytes(data)
    (out / "a_b").mkdir(parents=True)  # as the data folder of a .mrxs slide lies beside it
    (out / "a_b" / "Index.dat").write_text("not ours")
    outcomes = run([*paths, strange, slide], model, out)  # one of them twice
    assert [outcome.state for outcome in outcomes] == ["done"] * 11
    names = [outcome.folder.name for outcome in outcomes]
    assert len({name.casefold() for name in names}) == 11
    assert all(outcome.folder.parent == out and outcome.folder.is_dir() for outcome in outcomes)
    assert names[0] == "one"
    assert names[1].startswith("a_b-")
    assert (out / "a_b" / "Index.dat").read_text() == "not ours"
    assert len(list((out / "a_b").iterdir())) == 1
    again = run([paths[-1]], model, out)  # alone, it finds its own folder again
    assert [(one.folder.name, one.state) for one in again] == [(names[-2], "kept")]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["models", "out", "slides"]


def test_lines_for_the_terminal_hold_no_control_characters(model: Path, tmp_path: Path) -> None:
    lines: list[str] = []
    run([tmp_path / "a\n\x1b[31m.svs"], model, tmp_path / "out", echo=lines.append)
    assert all(line.isprintable() for line in lines)
    assert lines[0].startswith("a??[31m.svs: failed: ")


@pytest.mark.parametrize("stopped", ["truncated", "gone", errno.EACCES, errno.EIO, MemoryError, torch.OutOfMemoryError])
def test_a_slide_that_fails_midway_loses_no_other(slide, model, tmp_path, monkeypatch, stopped: Any) -> None:
    bad, last = make_slide(tmp_path / "slides" / "bad.tif"), make_slide(tmp_path / "slides" / "last.tif")
    out, map_slide = tmp_path / "out", one.map_slide

    def failing(job: Any) -> int:
        if job.row["slide_id"] != "bad":
            return map_slide(job)
        (job.target.parent / ".probability.tif.x.part").mkdir()  # as a writer leaves it that was stopped
        if stopped == "truncated":
            bad.write_bytes(bad.read_bytes()[: bad.stat().st_size // 2])
        elif stopped == "gone":
            bad.unlink()
        elif isinstance(stopped, int):
            raise OSError(stopped, os.strerror(stopped), str(bad))
        else:
            raise stopped("Unable to allocate 9 GiB\nfor an array")
        return map_slide(job)

    monkeypatch.setattr(one, "map_slide", failing)
    outcomes = run([slide, bad, last], model, out)
    assert [outcome.state for outcome in outcomes] == ["done", "failed", "done"]
    assert set(files(out / "bad")) == {"error.json"}
    assert [path.name for path in (out / "bad").iterdir()] == ["error.json"]
    error = json.loads((out / "bad" / "error.json").read_text())
    assert outcomes[1].text == f"bad.tif: failed: {error['reason']}"
    said = {
        "truncated": "behind the file's end",
        "gone": "bad.tif is not there",
        errno.EACCES: "bad.tif cannot be read or worked on (Permission denied); check",
        errno.EIO: "bad.tif cannot be read or worked on (Input/output error); check",
    }.get(stopped, "bad.tif needs more memory than there is; ")
    assert said in error["reason"]
    assert (error["slide"], error["file"], "\n" in error["reason"]) == ("bad", "bad.tif", False)
    monkeypatch.setattr(one, "map_slide", map_slide)
    make_slide(bad)
    assert [outcome.state for outcome in run([slide, bad, last], model, out)] == ["kept", "done", "kept"]


def test_a_fault_of_ours_is_not_put_down_to_the_slide(slide, model, tmp_path, monkeypatch) -> None:
    def wrong(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(one, "find_regions", wrong)
    with pytest.raises(ZeroDivisionError):
        run([slide], model, tmp_path / "out")


def test_a_path_that_the_system_refuses_is_a_failed_slide(slide: Path, model: Path, tmp_path: Path) -> None:
    outcomes = run([tmp_path / ("q" * 300 + ".svs"), slide], model, tmp_path / "out")
    assert [outcome.state for outcome in outcomes] == ["failed", "done"]
    assert "(File name too long)" in outcomes[0].text


def test_folders_that_are_anothers_stop_before_the_first_slide(slide: Path, model: Path, tmp_path: Path) -> None:
    other, out = make_slide(tmp_path / "slides" / "other.tif"), tmp_path / "out"
    (failed,) = run([tmp_path / "x" / "other.tif"], model, out)  # takes `other`, so that the slide's is another
    (outcome,) = run([other], model, out)
    for folder in (failed.folder, outcome.folder):
        (folder / "notes.txt").write_text("not ours")
    with pytest.raises(AcinusError, match="holds other files; give another folder by --out"):
        run([slide, other], model, out)
    assert not (out / "one").exists()


def test_a_class_has_one_colour_in_picture_regions_and_result(slide: Path, tmp_path: Path) -> None:
    """Okabe and Ito's blue and orange, after white for the class that is left clear."""
    model = make_model(tmp_path / "models", "segmentation")
    (outcome,) = run([slide], model, tmp_path / "out")
    colours = {one["name"]: one["colour"] for one in result(tmp_path / "out")["classes"]}
    assert colours == {"background": [255, 255, 255], "stroma": [0, 114, 178], "tumour": [230, 159, 0]}
    (feature,) = json.loads((outcome.folder / "regions.geojson").read_text())["features"]
    assert feature["properties"]["classification"] == {"name": "tumour", "color": colours["tumour"]}
    assert 'Name="tumour" PartOfGroup="None" Color="#e69f00"' in (outcome.folder / "regions.xml").read_text()
    with Image.open(outcome.folder / "overlay.png") as picture:
        pixels = np.asarray(picture.convert("RGB")).astype(int)
    for name in ("stroma", "tumour"):  # the key's squares
        assert (pixels == colours[name]).all(axis=2).any()
    tinted = 0.55 * np.array(PINK) + 0.45 * np.array(colours["tumour"])
    assert (abs(pixels - tinted).max(axis=2) < 8).sum() > WIDTH * HEIGHT / 2


@pytest.mark.parametrize("broken", ["point", "maps", "card", "weights", "folder", "index", "mpp", "device", "stain"])
def test_a_model_that_cannot_be_used_stops_before_the_first_slide(slide, model, tmp_path, broken: str) -> None:
    point, settings = model.parent / "r.operating_point.yaml", {}
    if broken == "maps":
        write_point(point, OperatingPoint())
    elif broken == "index":
        card = json.loads((model / "card.json").read_text())
        (model / "card.json").write_text(json.dumps({**card, "index": {"patch_px": 1}}))
    elif broken in ("mpp", "device"):
        settings = {"mpp": 900.0} if broken == "mpp" else {"device": "cuda:77"}
    elif broken == "stain":
        (model / "stain.json").write_text('{"n": 2, "mean": [NaN, 0, 0], "std": null, "covariance": null}')
    elif broken == "folder":
        model = model.with_name("none")
    else:
        {"point": point, "card": model / "card.json", "weights": model / "model.safetensors"}[broken].unlink()
    expected = {
        "point": "no operating point here",
        "maps": "does not say how maps are made",
        "card": "no model here",
        "weights": "no weights beside the card",
        "folder": "no such folder",
        "index": "index is not a recipe's section",
        "mpp": "--mpp 900: expected",
        "device": "--device 'cuda:77'",
        "stain": "not a summary of stains",
    }
    with pytest.raises(AcinusError, match=expected[broken]) as caught:
        run([slide], model, tmp_path / "out", **settings)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def training(mean: list[float], covariance: list[list[float]]) -> TrainingStain:
    summary = {"n": 4, "mean": mean, "std": [0.0] * 3, "covariance": covariance}
    return TrainingStain.model_validate_json(json.dumps(summary))


def test_stain_distance_by_hand() -> None:
    """Independent channels: the root of the sum of squared deviations, the floor of 0.05 added to the variance."""
    alone = training([0.2, 0.5, 0.3], np.diag([0.01, 0.0, 0.0]).tolist())
    assert opening.stain_distance(np.array([0.2, 0.5, 0.3]), alone) == 0.0
    assert opening.stain_distance(np.array([0.2, 0.6, 0.3]), alone) == pytest.approx(2.0)
    assert opening.stain_distance(np.array([0.2, 0.6, 0.45]), alone) == pytest.approx(math.sqrt(4 + 9))
    assert opening.stain_distance(np.array([0.4, 0.5, 0.3]), alone) == pytest.approx(0.2 / math.sqrt(0.0125))
    together = training([0.0, 0.0, 0.0], [[0.01, 0.01, 0], [0.01, 0.01, 0], [0, 0, 0.01]])
    along, across = np.array([0.1, 0.1, 0.0]), np.array([0.1, -0.1, 0.0])
    assert opening.stain_distance(along, together) == pytest.approx(0.1 * math.sqrt(2) / math.sqrt(0.02 + 0.0025))
    assert opening.stain_distance(across, together) == pytest.approx(0.1 * math.sqrt(2) / 0.05)


def test_a_stain_unlike_the_trainings_is_told(model: Path, tmp_path: Path) -> None:
    # patches as in training: those of the last column lie on the slide with 22 of 32 px, the rest is white and 0
    shown = (4 + 22 / 32) / 5
    pink, green = (-np.log((np.array(colour) + 1) / 256) * shown for colour in (PINK, (120, 160, 90)))
    stain = {"mean": pink.tolist(), "std": [0.0] * 3, "covariance": np.zeros((3, 3)).tolist(), "n": 5}
    (model / "stain.json").write_text(json.dumps(stain))
    other = make_slide(tmp_path / "other.tif", (120, 160, 90))
    run([make_slide(tmp_path / "like.tif"), other], model, tmp_path / "out")
    like, far = result(tmp_path / "out", "like"), result(tmp_path / "out", "other")
    assert like["warnings"] == []
    assert like["stain"]["distance"] < 0.2
    assert like["stain"]["mean_optical_density"] == pytest.approx(pink.tolist(), abs=0.02)
    expected = math.dist(green, pink) / opening.STAIN_FLOOR
    assert far["stain"]["distance"] == pytest.approx(expected, rel=0.03)
    (warning,) = far["warnings"]
    assert warning.startswith("stain far from training: ")
    assert warning.endswith("more than 3; look at the picture before trusting the figures")


@pytest.mark.parametrize(
    ("slides", "said"),
    [
        (1, "stain not judged: the model was trained on 1 slide, which does not tell how stains vary"),
        (0, "stain not judged: the model was trained on 0 slides, which does not tell how stains vary"),
        (None, "stain not judged: no stain.json beside the model's weights; copy it there, or train again"),
    ],
)
def test_a_training_that_says_nothing_of_stains_is_told(slide, model, tmp_path, slides: int | None, said: str) -> None:
    if slides is None:
        (model / "stain.json").unlink()
    else:
        write_stain(model, [np.array([0.2, 0.5, 0.3])] * slides)
    (outcome,) = run([slide], model, tmp_path / "out")
    found = result(tmp_path / "out")
    assert (outcome.state, found["warnings"], found["stain"]["distance"]) == ("done", [said], None)
    assert outcome.text.endswith(f"; warning: {said}")
    shown = (4 + 22 / 32) / 5  # as above
    expected = [-math.log((value + 1) / 256) * shown for value in PINK]
    assert found["stain"]["mean_optical_density"] == pytest.approx(expected, abs=0.02)


def make_grader(model: Path) -> None:
    """Write models/r.mil that says grade 1 with probability 3/4 of everything."""
    encoder, folder = own_encoder(model), model.parent / "r.mil"
    card = MilCard(
        version="0",
        target="tumor",
        classes=("normal", "tumor"),
        loss="cross_entropy",
        features=96,
        hidden_units=2,
        attention_units=2,
        dropout=0.0,
        encoder=encoder,
        index=index(),
        map_classes=("normal", "tumor"),
        positive=(1,),
        top_patches=3,
        random_patches=1,
        min_distance=1.0,
        bag_seed=1,
        burden_percent=0.5,
        models=({"seed": 0, "epochs": 1, "best_epoch": 1, "val_loss": None},),
        slides={"train": 2},
        data_hashes={},
    )
    grader = GatedAttention(card.spec())
    with torch.no_grad():
        for values in grader.parameters():
            values.zero_()
        grader.head.bias[1] = math.log(3)
    folder.mkdir()
    save_graders(folder, [Fitted(grader.eval(), 1, 1, None)], card)


def test_a_grader_beside_the_model_grades_with_its_confidence(slide: Path, model: Path, tmp_path: Path) -> None:
    run([slide], model, tmp_path / "out")
    make_grader(model)
    (outcome,) = run([slide], model, tmp_path / "out")  # not kept: the grader belongs to the model
    grade = result(tmp_path / "out")["grade"]
    assert (grade["grade"], grade["name"], grade["rule"], grade["num_patches"]) == (1, "tumor", 1, 4)
    assert grade["confidence"] == pytest.approx(0.75)
    assert outcome.text.endswith("1 region, tumor (0.75)")


def test_nothing_of_the_pipeline_is_loaded(slide: Path, model: Path, tmp_path: Path) -> None:
    """No recipe, no DVC, no MLflow, and no training library either."""
    code = f"""
import sys
from pathlib import Path
from acinus import predict
predict.run([Path({str(slide)!r})], Path({str(model)!r}), Path({str(tmp_path / "out")!r}))
print("LOADED", sorted({{"mlflow", "dvc", "lightning", "optuna", "great_expectations"}} & set(sys.modules)))
"""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert "LOADED []" in done.stdout
    assert "100 % of tissue" in done.stdout
    assert done.stderr == ""  # no bar where there is no terminal


def test_every_step_is_announced_in_order(slide: Path, model: Path, tmp_path: Path) -> None:
    from acinus.predict.model import open_model
    from acinus.predict.opening import Order

    told: list[str] = []
    (tmp_path / "one").mkdir()
    one.predict_slide(Order(slide, tmp_path / "one", None, "cpu", told.append), open_model(model))
    assert tuple(told) == STEPS
