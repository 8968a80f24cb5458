"""The stage grade over a small drawn cohort, and what predict makes of its graders."""

import hashlib
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from acinus import params, records
from acinus.errors import AcinusError
from acinus.files import read_json
from acinus.grading.apply import SlideToGrade, grade_slide, has_grader
from acinus.grading.card import load_graders
from acinus.learning.card import Card, save_model
from acinus.learning.models import build_model
from acinus.maps.geometry import MapGeometry
from acinus.maps.tiff import MapInfo, write_map
from acinus.params import Recipe, load_project, load_recipe
from acinus.paths import Paths
from acinus.stage import Stage
from acinus.stages import embed, grade

ROOT = Path(__file__).resolve().parents[2]
EDGE, PX, GRADES = 16, 96, (0, 2, 5)
SPLITS = ("train", "train", "train", "val", "test", "test")
HOSTILE = ("con..", "-rf", "a" * 190, "0.tif", "None")
BLANK = "blank"


def slides() -> list[dict[str, Any]]:
    names = [f"s{number}" for number in range(18 - len(HOSTILE))] + [f"h{name}" for name in HOSTILE]
    return [{"id": name, "isup": GRADES[i % 3], "split": SPLITS[i // 3]} for i, name in enumerate(names)]


def recipe(**settings: object) -> Recipe:
    whole = load_recipe(ROOT, "demo-panda")
    index = whole.index.model_copy(update={"patch_px": EDGE, "stride_px": EDGE, "level": 0, "mpp": None})
    patches = {"top_patches": 4, "random_patches": 2, "encoder": "test_resnet"}
    small = {"max_epochs": 12, "lr": 0.01, "hidden_units": 8, "seeds": 2, "attention_units": 4}
    of_embed = patches | {key: value for key, value in settings.items() if key in params.Embed.model_fields}
    of_grade = small | {key: value for key, value in settings.items() if key in params.Grade.model_fields}
    sections = {"embed": whole.embed.model_copy(update=of_embed), "grade": whole.grade.model_copy(update=of_grade)}
    return whole.model_copy(update={"index": index, **sections})


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """18 slides whose suspicious patches are the redder the worse the grade, and one without tissue."""
    root = tmp_path_factory.mktemp("project")
    paths, rng = Paths(root, "r"), np.random.default_rng(0)
    every = [*slides(), {"id": BLANK, "isup": 0, "split": "test"}]
    images = rng.integers(0, 30, (len(every), PX, PX, 3)).astype(np.uint8)
    manifest, quantities = [], []
    for number, slide in enumerate(every):
        probs = np.zeros((1, PX // EDGE, PX // EDGE))
        for row, column in ((1, 1), (1, 3), (3, 2), (4, 5)):
            images[number, row * EDGE : (row + 1) * EDGE, column * EDGE : (column + 1) * EDGE, 0] += 40 * slide["isup"]
            probs[0, row, column] = 0.9
        write_map(
            paths.maps / f"{slide['id']}.tif", [probs], MapGeometry(PX, PX, EDGE), MapInfo("x", ("cancer",), None)
        )
        paths.tissue.mkdir(parents=True, exist_ok=True)
        mask = np.full((6, 6), slide["id"] != BLANK)
        Image.fromarray(mask).save(paths.tissue / f"{slide['id']}.png")
        manifest.append(manifest_row(slide, number))
        quantities.append(quantities_row(slide["id"]))
    manifest.append(manifest_row({"id": "unmapped", "isup": 1, "split": "train"}, 0))
    (root / "cohort").mkdir()
    np.save(root / "cohort" / "a.npy", images)
    records.write(records.MANIFEST, records.frame(records.MANIFEST, manifest), paths.manifest)
    records.write(records.QUANTITIES, records.frame(records.QUANTITIES, quantities), paths.quantities)
    return root


def manifest_row(slide: dict[str, Any], number: int) -> dict[str, Any]:
    fixed = dict.fromkeys(records.MANIFEST.schema.names)
    return fixed | {
        "slide_id": slide["id"],
        "image": f"a.npy#{number}",
        "label_kind": "unknown",
        "exhaustive": True,
        "split": slide["split"],
        "patient": slide["id"],
        "provider": "p",
        "isup": slide["isup"],
        "slide_label": "tumor" if slide["isup"] else "normal",
        "split_rule": "",
        "derived": False,
        "findings": "",
        "status": "ok",
        "reason": "",
        "fingerprint": "",
    }


def quantities_row(slide_id: str) -> dict[str, Any]:
    fixed = dict.fromkeys(records.QUANTITIES.schema.names)
    counts = {"tumour_px": 1, "tissue_px": 36, "map_downsample": 16.0, "class_px": [32, 4], "num_regions": 0}
    return fixed | counts | {"slide_id": slide_id, "burden_pred": 11.0}


def stage(root: Path, settings: Recipe, name: str = "r", seed: int = 5) -> Stage:
    """The stage over the project at `root`, writing under another recipe's name where one is given."""
    project = load_project(ROOT)
    compute = project.compute.model_copy(update={"workers": 1, "threads": 1, "device": "cpu"})
    project = project.model_copy(update={"seed": seed, "compute": compute})
    cohort = settings.cohort.model_copy(update={"root": str(root / "cohort")})
    log = SimpleNamespace(run_id=None, log_metrics=lambda *_: None, log_artifact=lambda *_: None)
    paths = Paths(root, name)
    if name != "r":
        paths.data.mkdir(parents=True, exist_ok=True)
        for one in ("manifest.parquet", "quantities.parquet", "maps", "tissue"):
            (paths.data / one).symlink_to(root / "data" / "r" / one)
    if not paths.model.exists():
        network(paths.model, settings)
    return Stage("grade", root, project, log, name, settings.model_copy(update={"cohort": cohort}), paths)


def network(folder: Path, settings: Recipe) -> None:
    """Write a drawn network where the trained one would lie."""
    card = Card(
        version="0",
        task="segmentation",
        architecture="unet",
        encoder="resnet18",
        weights="none",
        classes=tuple(settings.classes),
        positive=tuple(settings.positive),
        patch_px=EDGE,
        input_px=32,
        level=0,
        mpp=None,
        mpp_mean=None,
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
        index=settings.index.model_dump(mode="json"),
        recipe_hash="",
        data_hashes={},
        epochs=1,
        best_epoch=1,
        seed=0,
    )
    torch.manual_seed(0)
    save_model(folder, build_model(card.spec()), card)


def run(work: Stage) -> None:
    """Run embed, then grade."""
    embed.run(replace(work, name="embed"))
    grade.run(work)


def tables(paths: Paths) -> tuple[pd.DataFrame, pd.DataFrame]:
    return records.read(records.GRADES, paths.grades), records.read(records.ATTENTION, paths.attention)


def digests(paths: Paths) -> dict[str, str]:
    files = [paths.grades, paths.attention, *sorted(paths.mil.iterdir())]
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_every_mapped_slide_is_graded_and_the_grades_are_learned(project: Path, capsys: Any) -> None:
    work = stage(project, recipe())
    run(work)
    grades, attention = tables(work.paths)
    assert set(grades["slide_id"]) == {slide["id"] for slide in slides()}
    assert f"{BLANK}: no tissue" in capsys.readouterr().out
    train = grades[grades["split"] == "train"]
    assert (train["mil"] == train["true"]).mean() > 0.8  # a third by guessing
    test = grades[grades["split"] == "test"]
    assert np.corrcoef(test["mil"], test["true"].astype(float))[0, 1] > 0.7
    for row in records.rows(grades):
        assert sum(row["mil_probs"]) == pytest.approx(1.0)
        assert row["confidence"] == row["mil_probs"][row["mil"]]
        assert (len(row["mil_probs"]), len(row["mil_by_seed"]), row["num_patches"], row["rule"]) == (6, 2, 6, None)
        assert row["rule_tumor"] == 1  # whatever the target: a burden of 11 percent everywhere
    patches = attention.groupby("slide_id")
    assert patches["attention"].sum().to_numpy() == pytest.approx(1.0)
    assert (patches.size() == 6).all()
    top = attention[attention["chosen"] == "top"]
    assert {*zip(top["x0"] // EDGE, top["y0"] // EDGE, strict=True)} == {(1, 1), (3, 1), (2, 3), (5, 4)}
    assert (top["prob"] > 0.89).all()
    assert (attention.loc[attention["chosen"] == "random", "prob"] == 0).all()


def test_the_same_inputs_give_the_same_bytes(project: Path) -> None:
    settings = recipe(max_epochs=2)
    one, other, third = (stage(project, settings, name, seed) for name, seed in (("one", 5), ("two", 5), ("three", 6)))
    for work in (one, other, third):
        run(work)
    assert digests(one.paths) == digests(other.paths)
    assert {*digests(one.paths)} == {
        *("grades.parquet", "attention.parquet", "card.json", "encoder.safetensors"),
        *("mil_1.safetensors", "mil_2.safetensors"),
    }
    changed = {name for name, value in digests(third.paths).items() if value != digests(one.paths)[name]}
    assert {"attention.parquet", "mil_1.safetensors"} <= changed


def test_predict_says_what_the_stage_said(project: Path) -> None:
    work = stage(project, recipe(encoder="model", max_epochs=2), "own")
    run(work)
    grades, attention = tables(work.paths)
    for number, slide in [*enumerate(slides())][-7:]:
        asked = SlideToGrade(
            slide_id=slide["id"],
            image=project / "cohort" / f"a.npy#{number}",
            mpp=None,
            map=work.paths.maps / f"{slide['id']}.tif",
            tissue=work.paths.tissue / f"{slide['id']}.png",
            class_px=(32, 4),
        )
        found = grade_slide(work.paths.mil, work.paths.model, asked, "cpu")
        assert found is not None
        row = next(row for row in records.rows(grades) if row["slide_id"] == slide["id"])
        assert (found["grade"], found["name"]) == (row["mil"], f"ISUP {row['mil']}")
        assert found["probs"] == pytest.approx(list(row["mil_probs"]), abs=1e-9)
        assert (tuple(found["by_seed"]), found["rule"]) == (row["mil_by_seed"], None)
        theirs = attention[attention["slide_id"] == slide["id"]]
        assert [patch["x0"] for patch in found["patches"]] == theirs["x0"].tolist()
        assert [patch["attention"] for patch in found["patches"]] == pytest.approx(theirs["attention"].tolist())
    blank = SlideToGrade(
        BLANK,
        project / "cohort" / "a.npy#18",
        None,
        work.paths.maps / f"{BLANK}.tif",
        work.paths.tissue / f"{BLANK}.png",
    )
    assert grade_slide(work.paths.mil, work.paths.model, blank, "cpu") is None
    other = project / "models" / "other"
    network(other, recipe())
    (other / "model.safetensors").write_bytes((other / "model.safetensors").read_bytes() + b" ")
    with pytest.raises(AcinusError, match="not the weights that the grader was trained on"):
        grade_slide(work.paths.mil, other, asked, "cpu")


def test_tumour_or_normal(project: Path) -> None:
    work = stage(project, recipe(target="tumor", loss="cross_entropy", burden_percent=12.0), "tumor")
    run(work)
    grades, _ = tables(work.paths)
    truth = {slide["id"]: int(slide["isup"] > 0) for slide in slides()}
    assert grades.set_index("slide_id")["true"].to_dict() == truth
    assert set(grades["mil"]) <= {0, 1}
    assert set(grades["rule"]) == set(grades["rule_tumor"]) == {0}  # a burden of 11 percent everywhere
    card = load_graders(work.paths.mil)[1]
    assert (card.classes, card.slides) == (("normal", "tumor"), {"train": 9, "val": 3})


def test_the_grader_says_all_that_it_takes_to_run_it(project: Path) -> None:
    work = stage(project, recipe(max_epochs=2), "card")
    run(work)
    graders, card = load_graders(work.paths.mil)
    assert has_grader(work.paths.mil)
    assert len(graders) == len(card.models) == 2
    assert all(not grader.training for grader in graders)
    assert card.index == work.recipe.index.model_dump(mode="json")
    assert card.classes[2] == "ISUP 2"
    text = (work.paths.mil / "card.json").read_text()
    assert str(project) not in text
    broken = project / "broken"
    broken.mkdir()
    (broken / "card.json").write_text(text.replace('"target": "isup"', '"target": "age"'))
    with pytest.raises(AcinusError, match=r"card.json: not a grader's card of this version \(target: "):
        load_graders(broken)


@pytest.mark.parametrize("why", ["target", "labels"])
def test_nothing_to_grade_leaves_empty_tables_and_a_note(project: Path, why: str) -> None:
    work = stage(project, recipe(target="none") if why == "target" else recipe(), why)
    if why == "labels":
        manifest = records.read(records.MANIFEST, work.paths.manifest)
        manifest.loc[manifest["split"] == "train", "isup"] = None
        work.paths.manifest.unlink()
        records.write(records.MANIFEST, manifest, work.paths.manifest)
    run(work)
    assert [len(table) for table in tables(work.paths)] == [0, 0]
    assert [path.name for path in work.paths.mil.iterdir()] == ["none.txt"]
    assert "grade.target" in (work.paths.mil / "none.txt").read_text()
    assert not has_grader(work.paths.mil)
    with pytest.raises(AcinusError, match="no grader here"):
        load_graders(work.paths.mil)
    assert read_json(work.paths.model / "card.json")["format"] == 3


def test_a_recipe_that_grades_nothing_does_not_import_torch() -> None:
    code = "import sys, acinus.stages.grade; assert 'torch' not in sys.modules, 'torch'"
    subprocess.run([sys.executable, "-c", code], check=True)
