"""The benchmarks' arithmetic, their slides and a small run of them; no time is asserted here."""

import dataclasses
import importlib
import inspect
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import openslide
import pytest
import simplejpeg
from PIL import Image

from acinus.labels import asap
from benchmarks import cases, slides, source_bytes, targets
from benchmarks.__main__ import main
from benchmarks.bench import Report, joined
from benchmarks.cases import Files, Scale
from benchmarks.measure import Case, Result, Run, in_turn, memory_of_tree, summed_up
from benchmarks.slides import TILE_PX, BenchSlide
from benchmarks.table import markdown
from benchmarks.targets import TARGETS, Verdict, judged

FILES = Files(*(Path(name) for name in ("slide.tif", "large.tif", "network.tif", "raster.png", "mask.png")))
GROUPS = cases.groups(FILES, Scale())
EDGE = 2_100


@pytest.fixture(scope="module")
def slide(tmp_path_factory: pytest.TempPathFactory) -> BenchSlide:
    return slides.build(tmp_path_factory.mktemp("bench") / "slide.tif", EDGE, None)


def result(name: str, cpu_ms: float = 1.0, wall_ms: float = 1.0, rss_mb: float = 100.0, **notes: float) -> Result:
    return Result(name, cpu_ms, wall_ms, 1, rss_mb, rss_mb, notes, ())


def verdict(results: list[Result], number: int) -> Verdict:
    return judged({one.name: one for one in results})[number]


def numbered(text: str, work: str = "") -> int:
    """Return the place of the first target that says this."""
    return next(i for i, one in enumerate(TARGETS) if text in one.target and work in one.work)


def test_per_unit_median_of_times_and_the_largest_memory() -> None:
    runs = [Run(2.0, 8.0, 4, 300.0, 200.0, {"tiles": 3.0}), Run(1.0, 4.0, 4, 500.0, 100.0, {"tiles": 5.0})]
    runs.append(Run(9.0, 36.0, 4, 400.0, 50.0, {"tiles": 4.0}))
    told = summed_up("extract", runs)
    assert (told.cpu_ms, told.wall_ms, told.units) == (500.0, 2000.0, 4)
    assert (told.rss_mb, told.own_mb, told.notes) == (500.0, 200.0, {"tiles": 4.0})


@pytest.mark.parametrize(
    ("text", "work", "ours", "other", "good", "bad"),
    [
        ("15 x script: PNG in LMDB", "", "extract: jpeg", "script: PNG in LMDB", (2.0, 30.0), (2.0, 29.0)),
        ("50% of limit", "", "extract: jpeg", "limit: decode once, encode once", (2.0, 1.0), (2.0, 0.9)),
        ("70% of limit: lossless cut", "", "extract: source", "limit: lossless cut", (1.0, 0.7), (1.0, 0.69)),
        ("80% of limit", "", "read: jpeg", "limit: JPEG decode", (1.0, 0.8), (1.0, 0.79)),
        ("1.5 x limit", "", "read: raw", "limit: JPEG decode", (1.0, 1.5), (1.0, 1.49)),
        ("1.10 x bare", "", "infer: ResNet-18", "bare ResNet-18", (1.1, 1.0), (1.11, 1.0)),
        ("1.60 x bare", "", "infer: tiny network", "bare tiny network", (1.6, 1.0), (1.61, 1.0)),
    ],
)
def test_a_ratio_of_cpu_times_is_met_from_its_limit_on(
    text: str, work: str, ours: str, other: str, good: tuple[float, float], bad: tuple[float, float]
) -> None:
    for (mine, theirs), met in ((good, True), (bad, False)):
        found = verdict([result(ours, mine, 50.0), result(other, theirs, 3.0)], numbered(text, work))
        assert found.met is met, found


@pytest.mark.parametrize("one", ["extract: 1 process", "extract: 1 process on one core"])
def test_two_processes_are_judged_by_the_clock_on_the_wall(one: str) -> None:
    two = "extract: 2 processes"
    number = numbered(f"1.7 x {one} (wall)")
    assert verdict([result(one, wall_ms=17.0), result(two, wall_ms=10.0, cpu_ms=9.0)], number).met
    assert not verdict([result(one, wall_ms=16.9), result(two, wall_ms=10.0, cpu_ms=0.1)], number).met


@pytest.mark.parametrize(("after", "met"), [(1240.0, True), (1250.0, False), (900.0, True), (1600.0, False)])
def test_memory_may_grow_by_less_than_a_quarter(after: float, met: bool) -> None:
    before, after_name = "memory: infer, small slide", "memory: infer, large slide"
    found = verdict([result(before, rss_mb=1000.0), result(after_name, rss_mb=after)], numbered("grows", "infer"))
    assert found.met is met
    assert f"1000 -> {after:.0f} MB" in found.measured


def test_memory_stays_under_its_bound_even_where_it_does_not_grow() -> None:
    names = [f"memory: extract, {size} slide" for size in ("small", "large")]
    assert not verdict([result(name, rss_mb=1500.0) for name in names], numbered("grows", "extract")).met


def test_a_tile_decoded_twice_is_a_missed_target() -> None:
    name, number = "299-px windows: pixels alone", numbered("decoded at most once")
    runs = [Run(1.0, 1.0, 1, 1.0, 1.0, {"tiles": 9.0, "decoded": float(decoded)}) for decoded in (9, 10, 9)]
    assert verdict([dataclasses.replace(result(name), runs=tuple(runs[::2]))], number).met
    found = verdict([dataclasses.replace(result(name), runs=tuple(runs))], number)  # one run of three is enough
    assert (found.met, found.measured) == (False, "10 decodes of 9 tiles")


def test_the_raster_is_compared_as_a_whole_since_the_script_loses_its_edges() -> None:
    ours, other = "giant PNG to patches", "script: PNG load + copy"
    few = dataclasses.replace(result(other, cpu_ms=1000.0), units=8)
    many = dataclasses.replace(result(ours, cpu_ms=900.0), units=9)
    found = verdict([many, few], numbered("no slower than"))
    assert (found.met, found.measured) == (False, "8.1 s, the script 8.0 s")


def test_what_has_no_result_is_neither_met_nor_missed() -> None:
    assert {one.met for one in judged({})} == {None}
    unclean = verdict([result("dvc repro", wall_ms=1.0, clean=0.0)], numbered("under 5 s"))
    assert unclean.met is None
    assert "not clean" in unclean.measured


def test_every_target_looks_at_cases_that_are_measured() -> None:
    names = [case.name for group in GROUPS for case in group.cases]
    assert len(set(names)) == len(names)
    assert {name for target in TARGETS for name in target.needs} <= set(names)


def test_every_case_calls_a_task_with_arguments_that_it_takes() -> None:
    for case in (case for group in GROUPS for case in group.cases):
        module, _, name = case.task.rpartition(".")
        prepare = getattr(importlib.import_module(f"benchmarks.{module}"), name)
        inspect.signature(prepare).bind(out="", **case.args)


def test_the_groups_that_can_be_named_are_all_there_are() -> None:
    assert tuple(group.name for group in GROUPS) == cases.NAMES


def test_the_table_has_a_row_for_every_target_and_case() -> None:
    verdicts = [Verdict("extract", "at least 2 x", "2.50 x", True), Verdict("read | decode", "80 %", "-", None)]
    text = markdown({"machine": "one"}, verdicts, [result("extract: jpeg", cpu_ms=0.5)])
    assert "- machine: one" in text
    assert "| extract | at least 2 x | 2.50 x | met |" in text
    assert "| read \\| decode | 80 % | - | - |" in text
    assert "| extract: jpeg | 1 | 0.500 | 1.000 | 2,000.0 | 100 | 100 |" in text


def test_a_built_slide_shows_openslide_the_pixels_of_its_tiles(slide: BenchSlide) -> None:
    places = slide.places(TILE_PX, TILE_PX)
    tiles = source_bytes.tiles_under(slide.path, places, TILE_PX)
    with openslide.OpenSlide(slide.path) as opened:
        assert opened.level_dimensions == ((2100, 2100), (1050, 1050), (525, 525), (263, 263))
        assert float(opened.properties["openslide.mpp-x"]) == pytest.approx(slides.MPP)
        for x, y in places.tolist():
            own = simplejpeg.decode_jpeg(tiles[y // TILE_PX, x // TILE_PX], "RGB")
            region = np.asarray(opened.read_region((x, y), 0, (TILE_PX, TILE_PX)).convert("RGB"))
            np.testing.assert_array_equal(region, own)


def test_the_levels_of_a_built_slide_show_the_same_picture(slide: BenchSlide) -> None:
    with openslide.OpenSlide(slide.path) as opened:
        fine = np.asarray(opened.read_region((0, 0), 0, (2048, 2048)).convert("RGB"), dtype=float)
        for level, factor in ((1, 2), (2, 4), (3, 8)):
            edge = 2048 // factor
            coarse = np.asarray(opened.read_region((0, 0), level, (edge, edge)).convert("RGB"), dtype=float)
            mean = fine.reshape(edge, factor, edge, factor, 3).mean(axis=(1, 3))
            assert np.abs(coarse - mean).mean() < 5, level
            assert np.corrcoef(coarse.ravel(), mean.ravel())[0, 1] > 0.97, level


def test_places_are_all_squares_of_the_grid_in_tissue(slide: BenchSlide) -> None:
    assert len(slide.tissue) == pytest.approx(slides.TISSUE_SHARE * 25, abs=1)
    expected = []
    for y in range(0, EDGE - 299 + 1, 128):
        for x in range(0, EDGE - 299 + 1, 128):
            corners = {(v // TILE_PX, u // TILE_PX) for v in (y, y + 298) for u in (x, x + 298)}
            if corners <= set(slide.tissue):
                expected.append([x, y])
    assert slide.places(299, 128).tolist() == expected
    assert expected


def test_the_annotation_of_a_built_slide_has_lesions_with_cut_outs(slide: BenchSlide) -> None:
    area = asap.parse(slide.annotation, ("_0",), ("_2",), "refuse")
    assert {one.role for one in area.outlines} == {"tumor", "subtract"}
    assert 0 < area.tumour.area < area.outlined.area


def test_the_same_slide_is_built_again(slide: BenchSlide, tmp_path: Path) -> None:
    again = slides.build(tmp_path / "slide.tif", EDGE, None)
    assert again.tissue == slide.tissue
    assert again.path.read_bytes() == slide.path.read_bytes()
    assert again.annotation.read_bytes() == slide.annotation.read_bytes()


def test_a_case_is_run_in_a_process_of_its_own_and_leaves_nothing(slide: BenchSlide, tmp_path: Path) -> None:
    grid = {"slide": slide.path, "edge_px": 256, "stride_px": 256}
    few = Case("script", "references.jpeg_lmdb", {**grid, "limit": 3})
    every = Case("ours", "ours.extract", {**grid, "codec": "jpeg"})
    (script, ours), failures = in_turn((few, every), 1, tmp_path)
    assert failures == {}
    assert (script.units, ours.units) == (3, len(slide.places(256, 256)))
    for one in (script, ours):
        assert one.cpu_ms > 0
        assert one.wall_ms > 0
        assert 20 < one.own_mb < one.rss_mb < 4000
    assert list(tmp_path.iterdir()) == []


def test_a_case_that_fails_says_why_and_leaves_the_others(tmp_path: Path) -> None:
    missing = Case("lost", "references.patchify", {"png": tmp_path / "no.png", "edge_px": 8})
    picture = tmp_path / "yes.png"
    Image.fromarray(np.zeros((19, 16, 3), dtype=np.uint8)).save(picture)
    there = Case("found", "references.patchify", {"png": picture, "edge_px": 8})
    (found,), failures = in_turn((missing, there), 2, tmp_path)
    assert (found.name, found.units, len(found.runs)) == ("found", 4, 2)
    assert list(failures) == ["lost"]
    assert failures["lost"].startswith("FileNotFoundError: ")
    assert list(tmp_path.iterdir()) == [picture]


def held_by_a_child(size: int) -> dict[str, float]:
    """Of a fresh process: this one may find room in what it holds already."""
    code = f"held = b'1' * {size}; print('ready', flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"ready\n"
        found = memory_of_tree(child.pid)
        child.communicate(b"\n")
    return found


def test_memory_of_a_tree_counts_what_is_held() -> None:
    before, after = held_by_a_child(0), held_by_a_child(100_000_000)
    assert after["own"] - before["own"] == pytest.approx(100, rel=0.2)
    assert after["rss"] >= after["own"]


def test_targets_name_every_line_of_the_issue() -> None:
    assert {target.work for target in targets.TARGETS} == {
        "extract 256 px, level 0, to LMDB, decoded and encoded once",
        "the same, cut losslessly (`source`)",
        "whole tiles passed through (`source`, 512 px)",
        "extract, several slides",
        "299-px windows at stride 128",
        "random reads from the LMDB store, decoded",
        "inference, whole slide, 256 px",
        "features of a whole slide, 224 px, batches of 64",
        "features for a second recipe, same encoder",
        "peak memory: extract",
        "peak memory: infer",
        "peak memory: quantify",
        "peak memory: embed",
        "index of the large slide",
        "giant PNG to patches",
        "acinus --help",
        "dvc repro, nothing to do",
    }


def test_a_part_run_again_takes_the_place_of_its_group_alone() -> None:
    facts = {"machine": "this one"}
    old = [result("index of the large slide", cpu_ms=500.0), result("read: raw", cpu_ms=1.0)]
    before = Report(facts, tuple(old), (), {"whole tiles": "no turbojpeg", "dvc repro": "busy"})
    now = Report(facts, (result("index of the large slide", cpu_ms=2000.0),), (), {})
    both = joined(before, now, ["index", "whole tiles"])
    assert {one.name: one.cpu_ms for one in both.results} == {"read: raw": 1.0, "index of the large slide": 2000.0}
    assert both.failures == {"dvc repro": "busy"}
    assert both.verdicts[numbered("under 1 s")].met is False
    with pytest.raises(ValueError, match=r"is of other machine \(another; now: this one\): leave --only out, or name"):
        joined(Report({"machine": "another"}, (), (), {}), now, ["index"])


def test_a_part_that_would_not_fit_the_report_is_refused_before_it_is_measured(tmp_path: Path, monkeypatch) -> None:
    old = Report({"machine": "another"}, (), (), {})
    (tmp_path / "benchmarks.json").write_text(json.dumps(old.as_json()))
    (slide := tmp_path / "slide.tif").touch()
    monkeypatch.setattr("benchmarks.__main__.prepare", lambda *_: dataclasses.replace(FILES, slide=slide))
    monkeypatch.setattr("benchmarks.__main__.facts", lambda *_: {"machine": "this one"})
    monkeypatch.setattr("benchmarks.__main__.measure", lambda *_: pytest.fail("measured"))
    monkeypatch.setattr(sys, "argv", ["benchmarks", "--only", "index", "--reports", str(tmp_path)])
    with pytest.raises(SystemExit, match=r"^error: .*benchmarks.json: the report before is of other machine \(another"):
        main()
