"""`acinus predict` on every real slide beside the checkout: a result, or the reason why there is none."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from acinus import predict
from acinus.files import write_json
from acinus.learning.card import Card, save_model
from acinus.learning.colour import stain_summary
from acinus.learning.models import build_model
from acinus.maps.tiff import read_map
from acinus.regions.operating_point import Maps, OperatingPoint, write_point

EDGE = 256
UNKNOWN, NO_TISSUE = "um/px unknown", "no tissue found"
AT_LEVEL: dict[str, set[str] | str] = {  # what is doubtful of each, or the reason of its failure
    "CRC-AI-8_E_X40_IHC.tif": {UNKNOWN},
    "broken.svs": "broken.svs does not open",
    "cmu-1-small-region.svs": set(),
    "cyto_A_BB_563479_1.svs": {UNKNOWN},
    "multiframe_camelyon_challenge_image.dcm": {UNKNOWN},  # an overview of 29 um/px
    "sm_image.dcm": {NO_TISSUE},
    "small_HE_levels.tiff": {UNKNOWN},
    "tcga-cr-7395-01a-01-ts1.svs": {UNKNOWN},
}
BY_MPP = {"cmu-1-small-region.svs": set(), "sm_image.dcm": {NO_TISSUE}, "broken.svs": "broken.svs does not open"}
BY_MPP |= {name: "does not tell its um/px" for name, found in AT_LEVEL.items() if UNKNOWN in found}


def make_model(folder: Path, level: int | None, mpp: float | None) -> Path:
    """Write a tiny network with random weights that works at a level, or at um per px."""
    card = Card(
        version="0",
        task="patch_classification",
        architecture="test_resnet",
        weights="none",
        classes=("normal", "tumor"),
        positive=("tumor",),
        patch_px=EDGE,
        input_px=64,
        level=level,
        mpp=mpp,
        mpp_mean=mpp or 0.5,
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
        index={"patch_px": EDGE, "stride_px": EDGE, "level": level, "mpp": mpp, "tissue": {"downsample": 16.0}},
        recipe_hash="",
        data_hashes={},
        epochs=1,
        best_epoch=1,
        seed=0,
    )
    torch.manual_seed(0)
    (folder / "r").mkdir(parents=True)
    save_model(folder / "r", build_model(card.spec()), card)
    point = OperatingPoint(maps=Maps(stride_px=EDGE, map_downsample=32.0, min_tissue_fraction=0.1))
    write_point(folder / "r.operating_point.yaml", point)
    # training slides so unlike each other that no stain is far from them
    write_json(folder / "r" / "stain.json", stain_summary([*(9 * np.eye(3)), *(-9 * np.eye(3))]))
    return folder / "r"


@pytest.mark.parametrize(("level", "mpp", "expected"), [(0, None, AT_LEVEL), (None, 1.0, BY_MPP)])
def test_every_real_slide_has_a_result_or_a_reason(shared_data: Path, tmp_path: Path, level, mpp, expected) -> None:
    slides = sorted(path for path in (shared_data / "slides").iterdir() if path.is_file())
    assert [path.name for path in slides] == sorted(AT_LEVEL)
    model, lines = make_model(tmp_path / "models", level, mpp), list[str]()
    outcomes = predict.run(slides, model, tmp_path / "out", echo=lines.append)
    assert len(lines) == len(slides)
    for outcome in outcomes:
        doubts = expected[outcome.slide.name]
        if isinstance(doubts, str):
            assert outcome.state == "failed"
            assert doubts in json.loads((outcome.folder / "error.json").read_text())["reason"]
            continue
        found = json.loads((outcome.folder / "result.json").read_text())
        assert {text.partition(" (")[0].partition(":")[0] for text in found["warnings"]} == doubts, outcome.slide.name
        assert (found["tissue_mm2"] is None) == (UNKNOWN in doubts)
        assert (found["tissue_px"] == 0) == (NO_TISSUE in doubts)
        pixels, geometry, _ = read_map(outcome.folder / "probability.tif")
        assert [geometry.width, geometry.height] == found["size_px"]
        assert pixels.any() == (found["tissue_px"] > 0)
        regions = json.loads((outcome.folder / "regions.geojson").read_text())["features"]
        assert len(regions) == found["regions"]["count"]
        with Image.open(outcome.folder / "overlay.png") as picture:
            assert min(picture.size) > 40
    assert {one.state for one in predict.run(slides, model, tmp_path / "out", echo=lines.append)} == {"kept", "failed"}
