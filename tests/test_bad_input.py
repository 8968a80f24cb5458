"""Bad input as a person at the command line meets it: one line with the remedy, exit 1, nothing half-written.

The cohort is tiny and good until a test damages one thing of it. Stages run in this process, through the same
command that a shell would start; one test starts a shell's.
"""

import os
import re
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import yaml
from click.testing import CliRunner, Result

from acinus import records
from acinus.cli import RECIPE_STAGES, main
from acinus.files import read_json
from acinus.tracking import runs
from acinus_demo.pyramid import levels

REPO = Path(__file__).resolve().parents[1]
EDGE_PX, TILE_PX, PATCH_PX = 512, 128, 64
LESION = ((0, 0), (256, 0), (256, 256), (0, 256))  # level-0 px: a quarter of the slide
WAY = list(RECIPE_STAGES)
TRAINING = ("tumor_001", "tumor_002", "normal_001", "normal_002")


# ------------------------------------------------------------------ a good cohort


def picture(number: int) -> np.ndarray:
    """Eosin-coloured noise over the whole slide, another for each number."""
    noise = np.random.default_rng(number).normal(0, 18, (EDGE_PX, EDGE_PX, 1))
    return np.clip(np.array([205, 120, 170]) + noise, 0, 255).astype(np.uint8)


def write_slide(path: Path, number: int, mpp: float | None = 0.5) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    tags: dict[str, Any] = {} if mpp is None else {"resolution": (1e4 / mpp, 1e4 / mpp), "resolutionunit": 3}
    with tifffile.TiffWriter(path, bigtiff=True) as writer:
        for level, pixels in enumerate(levels(picture(number))):
            kind = {"photometric": "rgb", "compression": "jpeg", "tile": (TILE_PX, TILE_PX), "metadata": None}
            writer.write(pixels, subfiletype=int(level > 0), **kind, **tags)


def xml(group: str = "_0", points: tuple[tuple[int, int], ...] = LESION) -> str:
    dots = "".join(f'<Coordinate Order="{n}" X="{x}" Y="{y}"/>' for n, (x, y) in enumerate(points))
    return (
        f'<ASAP_Annotations><Annotations><Annotation Name="a" Type="Polygon" PartOfGroup="{group}" Color="#F4FA58">'
        f"<Coordinates>{dots}</Coordinates></Annotation></Annotations></ASAP_Annotations>"
    )


def write_cohort(root: Path) -> None:
    for number, slide_id in enumerate((*TRAINING, "test_001", "test_002")):
        write_slide(root / f"{slide_id}.tif", number)
        if slide_id.startswith("tumor") or slide_id == "test_001":
            (root / f"{slide_id}.xml").write_text(xml())
    (root / "reference.csv").write_text("test_001,Tumor,None,Macro\ntest_002,Normal,None,None\n")


class Project:
    """A project folder with one recipe, `tiny`, over a raw cohort."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.cohort = root / "cohort"
        self.data = root / "data" / "tiny"

    def run(self, *words: str) -> Result:
        return CliRunner().invoke(main, list(words))

    def stage(self, name: str) -> Result:
        return self.run(name, "--recipe", "tiny")

    def until(self, last: str) -> Result:
        """Run every stage before `last`, each of which must succeed, then `last`."""
        for name in WAY[: WAY.index(last)]:
            passed(self.stage(name))
        return self.stage(last)

    def edit(self, change: Callable[[dict[str, Any]], None], name: str = "recipes/tiny.yaml") -> None:
        values = yaml.safe_load((self.root / name).read_text())
        change(values)
        (self.root / name).write_text(yaml.safe_dump(values))

    def cohort_setting(self, **settings: Any) -> None:
        self.edit(lambda recipe: recipe["cohort"].update(settings))

    def manifest(self) -> dict[str, dict[str, Any]]:
        rows = records.read(records.MANIFEST, self.data / "manifest.parquet").to_dict("records")
        return {row["slide_id"]: row for row in rows}

    def files(self) -> set[str]:
        """What the pipeline has made: paths below data, models and reports."""
        made = [path for top in ("data", "models", "reports") for path in (self.root / top).rglob("*")]
        return {path.relative_to(self.root).as_posix() for path in made if path.is_file()}


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with its cohort and MLflow's database, to be copied."""
    root = tmp_path_factory.mktemp("bad_input") / "project"
    (root / "recipes").mkdir(parents=True)
    shutil.copy(REPO / "dvc.yaml", root)
    project = yaml.safe_load((REPO / "params.yaml").read_text())
    project |= {"recipes": ["tiny"], "raw_cohorts": ["tiny"]}
    project["demo"]["families"] = []
    project["compute"] |= {"workers": 1, "threads": 1}
    project["tracking"] = {"uri": "sqlite:///mlflow.db", "required": True}
    recipe = yaml.safe_load((REPO / "recipes" / "demo-camelyon.yaml").read_text())
    recipe["cohort"] |= {"root": "cohort", "val_fraction": 0.5, "max_bad_fraction": 0.0}
    recipe["index"] |= {"patch_px": PATCH_PX, "stride_px": PATCH_PX}
    recipe["index"]["tissue"]["downsample"] = 8.0
    recipe["infer"] |= {"stride_px": PATCH_PX, "map_downsample": 8.0}
    (root / "params.yaml").write_text(yaml.safe_dump(project))
    (root / "recipes" / "tiny.yaml").write_text(yaml.safe_dump(recipe))
    write_cohort(root / "cohort")
    shell(root, "setup")
    return root


@pytest.fixture
def project(template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    root = tmp_path / "project"
    shutil.copytree(template, root)
    monkeypatch.chdir(root)
    monkeypatch.setattr(runs, "_open", lambda run: None)  # MLflow is half of a small stage's time, and not the matter
    yield Project(root)
    assert not list(root.rglob("*.part")), "a temporary folder was left"


def shell(root: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "PYTHONPATH": str(REPO / "src"), "OMP_NUM_THREADS": "1"}
    return subprocess.run(["acinus", *words], cwd=root, env=environment, capture_output=True, text=True, timeout=120)


def passed(result: Result) -> None:
    assert result.exit_code == 0, (result.output, result.exception)


def refused(result: Result, *parts: str) -> str:
    """Hold that the command said one `error:` line with all of `parts` and exited 1; return the line."""
    assert isinstance(result.exception, SystemExit), repr(result.exception)  # any other would be a traceback
    assert result.exit_code == 1
    lines = result.stderr.splitlines()
    assert len(lines) == 1, result.stderr
    assert lines[0].startswith("error: ")
    assert "Traceback" not in result.output
    for part in parts:
        assert part in lines[0]
    return lines[0]


# ------------------------------------------------------------------ a slide or a label that cannot be used


def tile_of(path: Path, tile: int) -> tuple[int, int]:
    """Return (offset, bytes) of a tile of level 0."""
    with tifffile.TiffFile(path) as tiff:
        page = tiff.pages[0]
        return page.dataoffsets[tile], page.databytecounts[tile]


def overwrite(path: Path, offset: int, data: bytes) -> None:
    with path.open("r+b") as stream:
        stream.seek(offset)
        stream.write(data)


def zero_all_tiles(path: Path) -> None:
    with tifffile.TiffFile(path) as tiff:
        places = [place for page in tiff.pages for place in zip(page.dataoffsets, page.databytecounts, strict=True)]
    for offset, count in places:
        overwrite(path, offset, bytes(count))


def cut_tile(path: Path) -> None:
    """Cut the first tile in its middle: what follows is zeros, the directory stays whole."""
    offset, count = tile_of(path, 0)
    overwrite(path, offset + count // 2, bytes(count - count // 2))


def truncate(path: Path, share: float) -> None:
    os.truncate(path, int(path.stat().st_size * share))


def cut_behind_the_directory(path: Path) -> None:
    """Move a tile to the end of the file, which changes no pixel, and cut the file there."""
    data, size = path.read_bytes(), path.stat().st_size
    offset, count = tile_of(path, 7)
    with tifffile.TiffFile(path) as tiff:
        entry = tiff.pages[0].tags["TileOffsets"].valueoffset + 7 * 8  # BigTIFF: 8 bytes each
    overwrite(path, size, data[offset : offset + count])
    overwrite(path, entry, struct.pack("<Q", size))
    assert tile_of(path, 7) == (size, count)
    os.truncate(path, size + count // 2)


BOMB = (
    '<?xml version="1.0"?><!DOCTYPE lolz [<!ENTITY a "lol"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">'
    '<!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;&b;&b;">]><ASAP_Annotations>&c;</ASAP_Annotations>'
)
DAMAGES: dict[str, tuple[Callable[[Path], object], list[str]]] = {  # of tumor_001.tif or .xml -> what is said
    "truncated": (lambda root: truncate(root / "tumor_001.tif", 0.6), ["tumor_001.tif does not open", "exclude"]),
    "cut off behind its directory": (
        lambda root: cut_behind_the_directory(root / "tumor_001.tif"),
        ["tumor_001", "the file is cut off", "exclude"],
    ),
    "all tiles zeroed": (lambda root: zero_all_tiles(root / "tumor_001.tif"), ["level 0, tile 0", "zero", "exclude"]),
    "a tile cut off": (lambda root: cut_tile(root / "tumor_001.tif"), ["level 0, tile 0", "break off", "exclude"]),
    "zero bytes": (lambda root: truncate(root / "tumor_001.tif", 0), ["tumor_001.tif is empty", "exclude"]),
    "not a slide": (lambda root: (root / "tumor_001.tif").write_text("hello"), ["does not open", "exclude"]),
    "no mpp": (lambda root: write_slide(root / "tumor_001.tif", 0, None), ["no plausible mpp", "set cohort.mpp"]),
    "absurd mpp": (lambda root: write_slide(root / "tumor_001.tif", 0, 1000.0), ["tag says 1000", "set cohort.mpp"]),
    "malformed XML": (lambda root: truncate(root / "tumor_001.xml", 0.5), ["tumor_001.xml", "not well-formed XML"]),
    "empty XML": (lambda root: truncate(root / "tumor_001.xml", 0), ["tumor_001.xml", "not well-formed XML"]),
    "entity bomb": (lambda root: (root / "tumor_001.xml").write_text(BOMB), ["entities", "save it again"]),
    "unknown group": (
        lambda root: (root / "tumor_001.xml").write_text(xml("Mystery")),
        ["unknown group 'Mystery'", "cohort.positive_groups"],
    ),
    "no group": (lambda root: (root / "tumor_001.xml").write_text(xml("None")), ["group None", "cohort.none_group"]),
    "outlines of another slide": (
        lambda root: (root / "tumor_001.xml").write_text(xml(points=((9000, 9000), (9100, 9000), (9100, 9100)))),
        ["outside the slide of 512 x 512"],
    ),
}


@pytest.mark.parametrize("damage", ["truncated", "malformed XML"])
def test_a_bad_slide_stops_ingest_with_the_reason(project: Project, damage: str) -> None:
    inflict, parts = DAMAGES[damage]
    inflict(project.cohort)
    line = refused(project.until("ingest"), "1 of 6 slides cannot be used", "max_bad_fraction", "tumor_001", *parts)
    assert str(project.root) not in line  # the reason is the same on every machine
    assert project.files() == {"data/raw/tiny.json", "data/tiny/inventory.json"}


@pytest.mark.parametrize("damage", sorted(DAMAGES))
def test_a_bad_slide_is_a_row_with_the_reason_where_that_is_allowed(project: Project, damage: str) -> None:
    """As cohort.max_bad_fraction says; the other slides are usable as before."""
    inflict, parts = DAMAGES[damage]
    inflict(project.cohort)
    project.cohort_setting(max_bad_fraction=0.2)
    result = project.until("ingest")
    passed(result)
    rows = project.manifest()
    assert {slide_id for slide_id, row in rows.items() if row["status"] != "ok"} == {"tumor_001"}
    assert rows["tumor_001"]["status"] == "bad"
    for part in parts:
        assert part in rows["tumor_001"]["reason"]
    assert f"tumor_001 is bad: {rows['tumor_001']['reason']}" in result.stdout
    assert str(project.root) not in rows["tumor_001"]["reason"]  # the reason is the same on every machine
    assert len(rows) == 6


def test_an_empty_file_in_the_middle_of_a_cohort_does_not_stop_the_others(project: Project) -> None:
    truncate(project.cohort / "tumor_001.tif", 0)
    write_slide(project.cohort / "tumor_003.tif", 11)  # so that training and validation still have one each
    (project.cohort / "tumor_003.xml").write_text(xml())
    project.cohort_setting(max_bad_fraction=0.2)
    passed(project.until("extract"))
    index = records.read(records.INDEX, project.data / "index.parquet")
    assert set(index["slide_id"]) == {"normal_001", "normal_002", "test_001", "test_002", "tumor_002", "tumor_003"}
    assert not (project.data / "tissue" / "tumor_001.png").exists()
    assert read_json(project.root / "reports" / "tiny" / "validation.json")["success"]
    assert (project.data / "patches" / "store.json").exists()


def test_a_slide_without_mpp_is_served_by_the_override_and_keeps_saying_so(project: Project) -> None:
    write_slide(project.cohort / "tumor_001.tif", 0, None)
    project.cohort_setting(mpp=0.25)
    passed(project.until("ingest"))
    rows = project.manifest()
    assert (rows["tumor_001"]["mpp_x"], rows["tumor_001"]["mpp_source"]) == (0.25, "override")
    assert (rows["tumor_002"]["mpp_x"], rows["tumor_002"]["mpp_source"]) == (0.5, "tag")


@pytest.mark.parametrize("late", ["zeroed", "cut off"])
def test_a_tile_that_fails_after_ingest_fails_its_slide_by_name(project: Project, late: str) -> None:
    """Other tools write white patches here and report success."""
    slide = project.cohort / "test_001.tif"
    offset, count = tile_of(slide, 5)
    keep = count // 2 if late == "cut off" else 0
    passed(project.until("validate"))
    save_model(project.root / "models" / "tiny")
    (project.root / "models" / "tiny.temperature.json").write_text('{"temperature": 1.0}')
    before = project.files()
    overwrite(slide, offset + keep, bytes(count - keep))
    refused(project.stage("extract"), "slide test_001", "exclude")
    assert not (project.data / "patches" / "store.json").exists()
    made = {name.split("/")[-1].split(".")[0] for name in project.files() - before}
    assert "test_001" not in made
    refused(project.stage("infer"), "slide test_001", "exclude")
    assert not (project.data / "maps").exists()


def save_model(folder: Path) -> None:
    """Write an untrained net, enough for infer to start."""
    from acinus.learning import card, models
    from acinus.learning.weights import ModelSpec

    model = models.build_model(ModelSpec(task="patch_classification", name="test_resnet", classes=2))
    facts: dict[str, Any] = {"version": "0", "architecture": "test_resnet", "weights": "none", "mpp_mean": 0.5}
    facts |= {"task": "patch_classification", "classes": ("normal", "tumor"), "positive": ("tumor",)}
    facts |= {"patch_px": PATCH_PX, "input_px": PATCH_PX, "level": 0, "mpp": None}
    facts |= {"mean": (0.5, 0.5, 0.5), "std": (0.2, 0.2, 0.2), "recipe_hash": "", "data_hashes": {}, "index": {}}
    folder.mkdir(parents=True)
    card.save_model(folder, model, card.Card(**facts, epochs=1, best_epoch=1, seed=0))


# ------------------------------------------------------------------ masks


def write_mask(path: Path, shape: tuple[int, int], value: int = 255) -> None:
    """Write a mask whose upper left quarter is tumour."""
    mask = np.zeros(shape, dtype=np.uint8)
    mask[: shape[0] // 2, : shape[1] // 2] = value
    tifffile.imwrite(path, mask, tile=(64, 64), photometric="minisblack", compression="deflate", metadata=None)


@pytest.fixture
def masked(project: Project) -> Project:
    for path in sorted(project.cohort.glob("*.xml")):
        path.unlink()
        write_mask(path.with_name(f"{path.stem}_mask.tif"), (EDGE_PX, EDGE_PX))
    project.cohort_setting(labels="mask")
    return project


def test_a_mask_of_another_size_covers_the_whole_slide(masked: Project) -> None:
    """Elsewhere every patch outside it silently becomes normal."""
    write_mask(masked.cohort / "test_001_mask.tif", (EDGE_PX // 4, EDGE_PX // 4))
    passed(masked.until("index"))
    index = records.read(records.INDEX, masked.data / "index.parquet")
    own = index[index["slide_id"] == "test_001"]
    quarter = (own["x0"] < EDGE_PX // 2) & (own["y0"] < EDGE_PX // 2)
    assert len(own) == (EDGE_PX // PATCH_PX) ** 2
    assert (own["tumour_fraction"] == quarter).all()


@pytest.mark.parametrize(
    ("inflict", "parts"),
    [
        (lambda path: write_mask(path, (EDGE_PX, EDGE_PX // 2)), ["256 x 512", "512 x 512"]),
        (lambda path: write_mask(path, (EDGE_PX, EDGE_PX), 7), ["value 7", "cohort.mask_values"]),
        (lambda path: truncate(path, 0.5), ["tumor_001_mask.tif"]),
        (lambda path: path.write_bytes(b""), ["tumor_001_mask.tif"]),
    ],
    ids=["another aspect", "undeclared value", "truncated", "zero bytes"],
)
def test_a_mask_that_cannot_be_trusted_is_refused(
    masked: Project, inflict: Callable[[Path], None], parts: list[str]
) -> None:
    inflict(masked.cohort / "tumor_001_mask.tif")
    refused(masked.until("ingest"), "slide tumor_001", *parts)
    assert not (masked.data / "manifest.parquet").exists()


# ------------------------------------------------------------------ the cohort as a whole


def test_two_slides_with_one_id_are_refused(project: Project) -> None:
    """Elsewhere the second silently gets the first one's patches."""
    write_slide(project.cohort / "again" / "tumor_001.tif", 17)
    refused(project.until("ingest"), "two slides", "again/tumor_001.tif", " tumor_001.tif", "rename")
    assert not (project.data / "manifest.parquet").exists()


def test_an_id_that_leads_elsewhere_is_refused_in_splits_csv(project: Project) -> None:
    (project.cohort / "splits.csv").write_text("slide_id,split,patient\n../x,train,p1\n")
    refused(project.until("ingest"), "splits.csv: row 2", "'../x' is no slide of this cohort")
    assert not (project.data / "manifest.parquet").exists()


def test_an_id_that_leads_elsewhere_in_reference_csv_is_nobodys(project: Project) -> None:
    """The published files list whole data sets, so a row of a slide that is not here is passed over, unopened."""
    write_slide(project.root / "x.tif", 23)
    with (project.cohort / "reference.csv").open("a") as stream:
        stream.write("../x,Tumor,None,Macro\n")
    passed(project.until("ingest"))
    assert sorted(project.manifest()) == sorted((*TRAINING, "test_001", "test_002"))


DOTS = (
    '<ASAP_Annotations><Annotations><Annotation Name="a" Type="Dot" PartOfGroup="Tumor" Color="#F4FA58"><Coordinates>'
    '<Coordinate Order="0" X="9" Y="9"/></Coordinates></Annotation></Annotations></ASAP_Annotations>'
)


def test_an_annotation_of_dots_teaches_nothing_and_stops_validate(project: Project) -> None:
    """It made a normal slide: all its patches, those of the tumour among them, trained as normal."""
    write_slide(project.cohort / "case_009.tif", 9)
    (project.cohort / "case_009.xml").write_text(DOTS)
    result = project.until("validate")
    refused(result, "of", "expectations broken")
    assert "not_tolerated=no_tumor_outlined, slide_id=case_009" in result.output
    assert "validate.tolerate" in result.output
    assert read_json(project.root / "reports/tiny/validation.json")["findings"] == {"no_tumor_outlined": ["case_009"]}
    index = records.read(records.INDEX, project.data / "index.parquet", without=records.FRACTIONS)
    assert set(index.loc[index["slide_id"] == "case_009", "label"]) == {records.IGNORE}


def test_test_slides_without_any_label_are_counted_and_stop_validate(project: Project) -> None:
    """Their figures were those of the other slides, without a word."""
    (project.cohort / "reference.csv").unlink()
    result = project.until("ingest")
    assert re.search(r"test: 1 of 2 slides have no annotation \(test_00\d\): they are in no Dice", result.output)
    assert "of 1 nothing says tumour or normal: they are in no slide figure either" in result.output
    for name in ("index", "sample"):
        passed(project.stage(name))
    result = project.stage("validate")
    refused(result, "expectations broken")
    assert "table splits, unlabelled_share" in result.output
    assert "unlabelled_share=0.5, split=test" in result.output


def test_a_table_that_no_rule_reads_is_named(project: Project) -> None:
    (project.cohort / "my_reference.csv").write_text("test_002,Tumor\n")
    result = project.until("ingest")
    passed(result)
    assert "not read: my_reference.csv; tables are read by their names: groups.csv, reference.csv" in result.output


@pytest.mark.parametrize("name", ["tumor 009.tif", "tümor.tif", "a;rm -rf.tif", "two\nlines.tif", "-r.tif", "a..b.tif"])
def test_a_file_name_that_is_no_safe_id_is_refused(project: Project, name: str) -> None:
    write_slide(project.cohort / name, 19)
    refused(project.until("ingest"), "not safe as slide ids", "rename the files")
    assert not (project.data / "manifest.parquet").exists()


@pytest.mark.parametrize("name", ["../tiny", "/etc/passwd", "tiny.yaml", "", "tiny\n"])
def test_a_recipes_name_that_leads_elsewhere_is_refused(project: Project, name: str) -> None:
    refused(project.run("ingest", "--recipe", name), "a recipe's name has letters")


def test_an_empty_cohort_is_refused(project: Project) -> None:
    for path in project.cohort.iterdir():
        path.unlink()
    refused(project.until("ingest"), "no slides below this folder", "set cohort.root")
    project.cohort.rmdir()
    refused(project.stage("watch"), "no such folder", "set cohort.root")


def test_a_split_of_one_class_is_stopped_by_validate(project: Project) -> None:
    """The verdict is written, says which split, and extract does not start on it."""
    rows = {"tumor_001": "train", "tumor_002": "train", "normal_001": "train", "normal_002": "val"}
    lines = [f"{slide_id},{split},{slide_id}" for slide_id, split in rows.items()]
    (project.cohort / "splits.csv").write_text("\n".join(["slide_id,split,patient", *lines]) + "\n")
    result = project.until("validate")
    refused(result, "expectations broken", "reports/tiny/validation.json")
    assert "no tumour patch in this split" in result.stdout
    assert "val" in next(line for line in result.stdout.splitlines() if "no tumour patch in this split" in line)
    assert read_json(project.root / "reports" / "tiny" / "validation.json")["success"] is False
    refused(project.stage("extract"), "validation failed")
    assert not (project.data / "patches").exists()


# ------------------------------------------------------------------ parameters and the disk


def test_an_unknown_parameter_is_refused_before_any_work(project: Project) -> None:
    project.edit(lambda recipe: recipe["train"].update(learning_rate=0.1))
    refused(project.stage("watch"), "recipes/tiny.yaml", "train.learning_rate = 0.1: unknown key", "lr")
    project.edit(lambda params: params["compute"].update(gpus=4), "params.yaml")
    refused(project.stage("watch"), "params.yaml", "compute.gpus = 4: unknown key", "workers")
    assert project.files() == set()


def test_a_recipe_that_is_not_there_is_refused(project: Project) -> None:
    refused(project.run("ingest", "--recipe", "tyni"), "tyni.yaml: no such file", "tiny")


def test_a_recipe_that_is_no_yaml_is_refused(project: Project) -> None:
    (project.root / "recipes" / "tiny.yaml").write_text("family: [camelyon\n")
    refused(project.stage("ingest"), "recipes/tiny.yaml: not valid YAML")


@pytest.mark.parametrize(
    ("blocked", "stage"),
    [("data/raw", "watch"), ("data/tiny", "inventory"), (".acinus", "watch"), ("reports", "validate")],
)
def test_a_place_that_cannot_be_written_is_refused(project: Project, blocked: str, stage: str) -> None:
    """A file stands where a folder is needed: that stops root, too."""
    place = project.root / blocked
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text("in the way")
    refused(project.until(stage), f"/{blocked}", "cannot write here", "make the folder writable")
    assert place.read_text() == "in the way"


def test_a_stage_before_its_turn_says_which_file_it_lacks(project: Project) -> None:
    refused(project.stage("inventory"), "raw_cohorts", "acinus watch --recipe tiny")
    for stage, lacked in (("ingest", "inventory.json"), ("index", "manifest.parquet"), ("sample", "index.parquet")):
        refused(project.stage(stage), lacked, "run the stage that writes it")
    assert project.files() == set()


def test_a_cohort_that_nobody_watches_is_looked_at_by_hand_and_refused_under_dvc(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By hand it was refused although `watch` had just run; under DVC no later `dvc repro` would see it change."""
    passed(project.until("inventory"))
    seen = read_json(project.data / "inventory.json")["files"]
    path = project.root / "params.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | {"raw_cohorts": []}))
    write_slide(project.cohort / "normal_003.tif", 31)
    result = project.stage("inventory")
    passed(result)
    assert "no dvc repro will see them change" in result.output
    now = read_json(project.data / "inventory.json")["files"]
    assert [one for one in now if one["path"] != "normal_003.tif"] == seen
    assert len(now) == len(seen) + 1  # what watch saw is not taken for what is there
    monkeypatch.setattr("acinus.stages.inventory.dvc_above", object)
    refused(project.stage("inventory"), "add tiny to raw_cohorts")


def test_a_shell_sees_one_line_and_exit_1(project: Project) -> None:
    truncate(project.cohort / "tumor_002.tif", 0.6)
    passed(project.until("inventory"))
    done = shell(project.root, "ingest", "--recipe", "tiny")
    assert done.returncode == 1
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("error: cohort: 1 of 6 slides cannot be used")
