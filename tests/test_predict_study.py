"""`acinus predict` with models of whole slides' labels: a constant answer worked by hand, files, table and warnings."""

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save

from acinus import predict
from acinus.encoders.loading import make_encoder
from acinus.errors import AcinusError
from acinus.files import write_json
from acinus.grading.aggregators import AGGREGATORS
from acinus.grading.answers import Decision, Scale
from acinus.grading.baselines import Baselines
from acinus.grading.mil import MilSpec
from acinus.grading.runs import Run
from acinus.grading.study import Learned, Member
from acinus.grading.study_card import save_study
from acinus.grading.study_stain import STAIN_FILE, study_stain
from acinus.grading.targets import Kind, Target
from acinus.maps.tiff import read_map
from acinus.params import Embed
from tests.test_predict import PINK, WHITE, index, make_slide

LOGIT = 2.0
"""Of the second class; the first has 0: its probability is sigmoid(2) = 0.8808."""


def make_study(folder: Path, kind: Kind = "binary", mpp: float | None = 0.5) -> Path:
    """Write models/r.mil whose models say the same of every slide and look at all patches alike."""
    torch.manual_seed(0)
    mil = folder / "r.mil"
    mil.mkdir(parents=True)
    encoder = make_encoder("test_resnet.r160_in1k", "none", 32, mil, 0, Embed(encoder="test_resnet.r160_in1k"), folder)
    classes = ("benign", "malignant") if kind == "binary" else ()
    loss = "cross_entropy" if kind == "binary" else "huber"
    spec = MilSpec(encoder.width or 96, max(len(classes), 1), 4, 4, 0.0, loss, aggregator="attention")
    model = AGGREGATORS["attention"](spec)
    *_, bias = model.parameters()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        bias[-1] = LOGIT
    tensors = {name: value.detach().contiguous() for name, value in model.state_dict().items()}
    run = Run(1, 1, ("a",), (), ("b",))
    members = (Member(1, save(tensors), 1, 0, None),)
    settled = Scale(10.0, 5.0), Decision(1.0, 0.5), Baselines("binary", {}, ())
    learned = [Learned(one, spec, members, *settled, answers={}, searched={}) for one in (run, replace(run, fold=2))]
    grid = index() if mpp is None else {**index(), "level": None, "mpp": mpp}
    known = {"version": "0", "encoder": encoder, "notes": (), "data_hashes": {}, "index": grid}
    save_study(mil, learned, Target("diagnosis", kind, classes, {}), **known)
    colours = [np.array([*np.array(PINK) / 255 + shift, 0, 0, 0]) for shift in (-0.1, 0.0, 0.1)]
    write_json(mil / STAIN_FILE, study_stain(colours))
    return mil


def result(out: Path, name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((out / name / "result.json").read_text())
    return content


def test_a_slide_has_its_answer_its_attention_and_a_row_in_the_table(tmp_path: Path) -> None:
    mil, slide = make_study(tmp_path / "models"), make_slide(tmp_path / "slides" / "one.tif")
    said: list[str] = []
    outcomes = predict.run([slide, tmp_path / "gone.svs"], mil, tmp_path / "out", echo=said.append)
    assert [one.state for one in outcomes] == ["done", "failed"]
    found = result(tmp_path / "out", "one")
    malignant = 1 / (1 + np.exp(-LOGIT))
    assert found["predicted"] == "malignant"
    assert found["probs"] == pytest.approx({"benign": 1 - malignant, "malignant": malignant}, abs=1e-6)
    assert (found["target"], found["kind"], found["models"], found["num_patches"]) == ("diagnosis", "binary", 2, 15)
    assert found["warnings"] == []
    assert sum(one["attention"] for one in found["top_patches"]) == pytest.approx(10 / 15)
    assert said[0] == "one.tif: diagnosis malignant (0.88), 15 patches"
    pixels, geometry, _ = read_map(tmp_path / "out" / "one" / "attention.tif")
    assert geometry.downsample == 8.0
    assert (pixels[:12] == 255).all(), "every patch has the highest attention"
    assert not pixels[12:].any(), "below them too little of a patch is slide"
    features = json.loads((tmp_path / "out" / "one" / "attention.geojson").read_text())["features"]
    assert [round(one["properties"]["measurements"]["attention"], 6) for one in features] == [round(1 / 15, 6)] * 15
    rows = list(csv.DictReader((tmp_path / "out" / "predictions.csv").read_text().splitlines()))
    said_of = [(row["slide"], row["predicted"], row["num_patches"]) for row in rows]
    assert said_of == [("one", "malignant", "15"), ("gone", "", "")]
    assert "is not there" in rows[1]["error"]


def test_the_folder_of_the_recipe_leads_to_the_models_and_a_finished_slide_is_kept(tmp_path: Path) -> None:
    mil, slide = make_study(tmp_path / "models"), make_slide(tmp_path / "slides" / "one.tif")
    (mil.parent / "r").mkdir()
    for state in ("done", "kept"):
        (outcome,) = predict.run([slide], mil.parent / "r", tmp_path / "out", echo=lambda _: None)
        assert outcome.state == state
    assert len(list(csv.DictReader((tmp_path / "out" / "predictions.csv").read_text().splitlines()))) == 1


def test_features_in_the_cache_are_taken_and_change_nothing(tmp_path: Path) -> None:
    mil, slide = make_study(tmp_path / "models"), make_slide(tmp_path / "slides" / "one.tif")
    cache = tmp_path / "cache"
    for out in ("plain", "first", "second"):
        embed_cache = None if out == "plain" else cache
        predict.run([slide], mil, tmp_path / out, echo=lambda _: None, embed_cache=embed_cache)
    (kept,) = cache.glob("*.h5")
    assert result(tmp_path / "plain", "one") == result(tmp_path / "first", "one") == result(tmp_path / "second", "one")
    before = kept.stat().st_mtime_ns
    predict.run([slide], mil, tmp_path / "third", echo=lambda _: None, embed_cache=cache)
    assert kept.stat().st_mtime_ns == before


def test_a_number_is_told_as_such(tmp_path: Path) -> None:
    mil, slide = make_study(tmp_path / "models", "regression"), make_slide(tmp_path / "slides" / "one.tif")
    predict.run([slide], mil, tmp_path / "out", echo=lambda _: None)
    found = result(tmp_path / "out", "one")
    assert (found["predicted"], found["probs"]) == (None, {})
    assert found["value"] == pytest.approx(10 + 5 * LOGIT)


@pytest.mark.parametrize(
    ("colour", "mpp", "given", "warning"),
    [
        ((90, 60, 200), 0.5, None, "stain far from training"),
        (PINK, None, 0.5, "um/px assumed: 0.5 as given by --mpp"),
    ],
)
def test_what_is_doubtful_is_said(
    tmp_path: Path, colour: tuple[int, int, int], mpp: float | None, given: float | None, warning: str
) -> None:
    mil, slide = make_study(tmp_path / "models"), make_slide(tmp_path / "slides" / "one.tif", colour, mpp)
    predict.run([slide], mil, tmp_path / "out", mpp=given, echo=lambda _: None)
    assert any(warning in text for text in result(tmp_path / "out", "one")["warnings"])


def test_a_slide_without_tissue_is_not_predicted_and_says_so(tmp_path: Path) -> None:
    mil = make_study(tmp_path / "models")
    card = json.loads((mil / "card.json").read_text())
    card["index"]["tissue"] |= {"method": "density"}
    (mil / "card.json").write_text(json.dumps(card))
    slide = make_slide(tmp_path / "slides" / "glass.tif", WHITE)
    said: list[str] = []
    predict.run([slide], mil, tmp_path / "out", echo=said.append)
    found = result(tmp_path / "out", "glass")
    assert (found["predicted"], found["num_patches"]) == (None, 0)
    assert "nothing is predicted" in found["warnings"][-1]
    assert said[0].startswith("glass.tif: diagnosis not predicted, 0 patches; warning: ")
    assert not read_map(tmp_path / "out" / "glass" / "attention.tif")[0].any()


def test_other_models_have_no_cache_and_damaged_ones_are_one_line(tmp_path: Path) -> None:
    mil, slide = make_study(tmp_path / "models"), make_slide(tmp_path / "slides" / "one.tif")
    shutil.copytree(mil, tmp_path / "models" / "other.mil")
    (tmp_path / "models" / "other.mil" / STAIN_FILE).write_text("{}")
    with pytest.raises(AcinusError, match=r"stain.json: not a summary of stains; run the grade stage again"):
        predict.run([slide], tmp_path / "models" / "other.mil", tmp_path / "out")
    (tmp_path / "models" / "maps").mkdir()
    with pytest.raises(AcinusError, match=r"--embed-cache .*: .*models? of whole slides' labels"):
        predict.run([slide], tmp_path / "models" / "maps", tmp_path / "out", embed_cache=tmp_path / "c")
