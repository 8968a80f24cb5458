"""`acinus init --task slides` on slides and a table: which column is learned, as what, and what is said of it."""

import os
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from acinus.cohorts.slides_table import join, parse
from acinus.commands import init, look
from acinus.commands.own_targets import TargetSeen, targets_of
from acinus.errors import AcinusError
from acinus.params import load_project, load_recipe
from acinus.params.cohorts import SlidesCohort

FILES = [f"s{number}.tif" for number in range(20)]


def seen(header: str, *columns: list[Any]) -> list[TargetSeen]:
    rows = zip(FILES, *columns, strict=False)
    text = f"slide,{header}\n" + "".join(",".join(map(str, row)) + "\n" for row in rows)
    table = parse(text, "slides.csv")
    return targets_of(table, join(table, FILES))


HALF = ["benign"] * 10 + ["cancer"] * 10


@pytest.mark.parametrize(
    ("title", "values", "kind", "classes"),
    [
        ("diagnosis", HALF, "binary", ("benign", "cancer")),
        ("tumour", [1, 0] * 10, "binary", ("0", "1")),
        ("diagnosis", ["cancer"] * 10 + ["benign"] * 9 + ["unknown"], "binary", ("benign", "cancer")),
        ("subtype", ["luminal", "basal", "HER2", "basal"] * 5, "classes", ("HER2", "basal", "luminal")),
        ("ISUP grade", [0, 1, 2, 3, 4, 5, 0, 1, 2, 3] * 2, "ordinal", ("0", "1", "2", "3", "4", "5")),
        ("her2", [0, 1, 2, 3] * 5, "ordinal", ("0", "1", "2", "3")),
        ("ki67", [round(3.7 * number, 1) for number in range(20)], "regression", ()),
        ("age", [41, 52, 63, 74] * 5, "regression", ()),
    ],
)
def test_what_a_column_holds(title: str, values: list[Any], kind: str, classes: tuple[str, ...]) -> None:
    (one,) = seen(title, values)
    assert (one.column, one.kind, one.classes) == (title, kind, classes)


def test_a_slip_of_the_pen_is_no_class() -> None:
    (one,) = seen("diagnosis", ["benign"] * 8 + ["malignant"] * 9 + ["Benign", "malignnant", "benign "])
    assert (one.kind, one.classes, one.slides) == ("binary", ("benign", "malignant"), 20)
    assert one.slips == {"Benign": "benign", "malignnant": "malignant"}
    (one,) = seen("grade", [1, 2, 3] * 6 + ["1.0"])
    assert (one.kind, one.classes, one.slips) == ("ordinal", ("1", "2", "3"), {"1.0": "1"})


@pytest.mark.parametrize(
    ("title", "values"),
    [
        ("diagnosis", ["cancer"] * 20),
        ("comment", [f"text {number}" for number in range(20)]),
        ("case id", [1, 2] * 10),
        ("diagnosis", ["unknown"] * 20),
        ("comment", ["seen twice " * 20, "seen once"] * 10),
    ],
)
def test_what_cannot_be_learned_is_none(title: str, values: list[Any]) -> None:
    assert seen(title, values) == []


def test_times_with_events_are_survival_and_what_tells_tumour_comes_first() -> None:
    columns: list[list[Any]] = [[round(1.5 * n + 1, 1) for n in range(20)], [0, 1] * 10, ["x", "y"] * 10, HALF]
    found = seen("OS months,death,arm,diagnosis", *columns)
    assert [(one.column, one.kind) for one in found] == [
        ("diagnosis", "binary"),
        ("arm", "binary"),
        ("OS months", "survival"),
    ]
    assert found[2].event == "death"


def write_slides(folder: Path, count: int) -> None:
    folder.mkdir(parents=True)
    for number in range(count):
        Image.new("RGB", (2000, 1600), (220, 180, 200)).save(folder / f"s{number}.tif", tiled=True, resolution=20_000)


@pytest.fixture
def there(tmp_path: Path) -> Any:
    before = Path.cwd()
    os.chdir(tmp_path)
    yield tmp_path
    os.chdir(before)


def test_slides_and_a_table_make_a_project_that_learns_its_column(there: Path) -> None:
    write_slides(there / "scans", 12)
    rows = [f"s{n},P{n // 2},{'benign' if n % 4 < 2 else 'cancer'},{7 * n}" for n in range(12)]
    (there / "scans" / "list.csv").write_text("\n".join(["file,patient,Diagnosis,Ki67", *rows]))
    assert "--task slides (slide labels are enough: no outline is needed)" in look.run(there / "scans", there / "out")
    told = init.run(Path("study"), there / "scans", "slides", None).splitlines()
    assert (
        "first: column Diagnosis of the table is learned as binary (12 slides of 6 patients): look at grade in the "
        "recipe; no outline is needed"
    ) in told
    assert told[-1] == "next: cd study && dvc repro"
    recipe = load_recipe(there / "study", "study")
    assert isinstance(recipe.cohort, SlidesCohort)
    assert (recipe.task, recipe.grade.target, recipe.grade.kind) == ("slide_labels", "Diagnosis", "binary")
    assert recipe.grade.classes == ["benign", "cancer"]
    assert recipe.cohort.folds is not None
    assert (recipe.cohort.folds.k, recipe.cohort.folds.by) == (5, "patient")
    assert recipe.embed.encoder == "tf_efficientnet_lite0"
    compute = load_project(there / "study").compute
    assert (compute.workers, compute.threads) == (2, 1)  # runs side by side; two threads each were five times slower
    text = " ".join((there / "study" / "recipes" / "study.yaml").read_text().replace("#", "").split())
    assert "A guess. Two texts: 'benign' 6, 'cancer' 6." in text
    assert "Other columns that can be learned: Ki67 (regression, 12 slides)." in text
    assert "acinus encoders lists them with their licences" in text
    table = (there / "study" / "slides.csv").read_text().splitlines()
    assert table[1].startswith("s0.tif,P0,")


def test_fewer_patients_than_folds_are_told_before_anything_runs(there: Path) -> None:
    write_slides(there / "scans", 4)
    (there / "scans" / "list.csv").write_text("file,diagnosis\ns0,benign\ns1,cancer\ns2,benign\ns3,cancer\n")
    told = init.run(Path("study"), there / "scans", "slides", None).splitlines()
    assert any(
        line.startswith("first: 4 patients with a label for 5 folds: write a smaller cohort.folds.k") for line in told
    )
    assert told[-1].endswith("dvc repro index@study")


def test_a_table_without_a_column_to_learn_is_refused_with_its_columns(there: Path) -> None:
    write_slides(there / "scans", 3)
    (there / "scans" / "list.csv").write_text("file,stain\ns0,HE\ns1,HE\ns2,HE\n")
    with pytest.raises(AcinusError, match=r"no column of a table can be learned .*\(columns: stain\)"):
        init.run(Path("study"), there / "scans", "slides", None)


def test_a_slip_in_the_table_is_told_before_anything_runs_and_refused(there: Path) -> None:
    write_slides(there / "scans", 12)
    texts = ["benign", "cancer"] * 5 + ["benign", "cancr"]
    (there / "scans" / "list.csv").write_text(
        "\n".join(["file,diagnosis", *(f"s{n},{t}" for n, t in enumerate(texts))])
    )
    told = init.run(Path("study"), there / "scans", "slides", None).splitlines()
    line = "first: column diagnosis says 'cancr' ('cancer'?): correct slides.csv, or name them in grade.classes"
    assert any(one.startswith(line) for one in told)
    assert told[-1].endswith("dvc repro index@study")
    recipe = load_recipe(there / "study", "study")
    assert recipe.grade.classes == ["benign", "cancer"]
