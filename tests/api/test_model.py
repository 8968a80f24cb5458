"""A model on arrays and slides: known networks, and the very files that `acinus predict` writes."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import acinus
from acinus import predict
from acinus.maps.tiff import read_map
from tests.test_predict import EDGE, LOGIT, POINT, make_model, make_slide


def sigmoid(logit: float) -> float:
    return 1 / (1 + math.exp(-logit))


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, (*shape, 3)).astype(np.uint8)


def test_probabilities_are_those_of_the_operating_point(tmp_path: Path) -> None:
    model = acinus.load_model(make_model(tmp_path / "models"))
    assert (model.classes, model.positive, model.task) == (("normal", "tumor"), ("tumor",), "patch_classification")
    assert (model.patch_px, model.mpp, model.resolution, model.threshold) == (EDGE, 0.5, {"level": 0}, 0.7)
    probs = model.predict(noise(20, EDGE, EDGE))
    assert (probs.shape, probs.dtype) == ((20, 2), np.float32)
    assert probs[:, 1] == pytest.approx(sigmoid(LOGIT / POINT.temperature))
    assert probs.sum(axis=1) == pytest.approx(1.0)
    one = model.predict(noise(EDGE, EDGE), calibrated=False)
    assert one == pytest.approx([1 - sigmoid(LOGIT), sigmoid(LOGIT)])
    assert model.predict(noise(0, EDGE, EDGE)).shape == (0, 2)


def test_a_segmentation_answers_for_every_px(tmp_path: Path) -> None:
    model = acinus.load_model(make_model(tmp_path / "models", "segmentation"))
    assert model.predict(noise(3, EDGE, EDGE)).shape == (3, 3, EDGE, EDGE)
    assert model.predict(noise(EDGE, EDGE)).shape == (3, EDGE, EDGE)


def test_finer_patches_are_shrunk_to_the_models_resolution(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = acinus.load_model(make_model(tmp_path / "models"))
    seen: list[np.ndarray] = []

    def watched(batch: np.ndarray) -> np.ndarray:
        seen.append(batch)
        return np.zeros((len(batch), 2), dtype=np.float32)

    monkeypatch.setattr(model, "_predictor", lambda calibrated: watched)
    halves = np.zeros((2 * EDGE, 2 * EDGE, 3), dtype=np.uint8)
    halves[:, EDGE:] = 200
    model.predict(halves, mpp=0.25)
    assert seen[0].shape == (1, EDGE, EDGE, 3)
    assert (seen[0][0, :, : EDGE // 2 - 1] == 0).all()
    assert (seen[0][0, :, EDGE // 2 + 1 :] == 200).all()
    patches = noise(2, EDGE, EDGE)
    model.predict(patches, mpp=0.502)  # a tag that was rounded
    assert np.array_equal(seen[1], patches)


@pytest.mark.parametrize(
    ("shape", "mpp", "text"),
    [
        ((EDGE, 40), None, "patches of 40 x 32 px at the model's resolution; it takes 32 x 32 px at 0.5 um/px"),
        ((EDGE, EDGE), 0.25, "patches of 16 x 16 px at the model's resolution"),
        ((EDGE, EDGE), 1.0, "patches at 1 um/px; the model takes 32 x 32 px at 0.5 um/px"),
        ((EDGE, EDGE), -1.0, "mpp = -1.0: expected um per px, a number above 0"),
        ((), None, "expected uint8"),
    ],
)
def test_other_patches_are_refused(tmp_path: Path, shape: tuple[int, ...], mpp: float | None, text: str) -> None:
    model = acinus.load_model(make_model(tmp_path / "models"))
    with pytest.raises(acinus.AcinusError, match=text.replace("(", r"\(")):
        model.predict(noise(*shape), mpp)
    with pytest.raises(acinus.AcinusError, match="patches are float64"):
        model.predict(np.zeros((EDGE, EDGE, 3)))


def test_a_slides_map_is_that_of_acinus_predict(tmp_path: Path) -> None:
    folder, path = make_model(tmp_path / "models"), make_slide(tmp_path / "slides" / "one.tif")
    (outcome,) = predict.run([path], folder, tmp_path / "cli", echo=lambda _: None)
    model = acinus.load_model(folder)
    for out in (None, tmp_path / "kept"):
        found = model.predict_slide(path, out=out)
        pixels, geometry, info = read_map(outcome.folder / "probability.tif")
        assert np.array_equal(found.map.pixels, pixels)
        assert (found.map.downsample, found.map.classes, found.map.mpp) == (geometry.downsample, info.classes, info.mpp)
        assert found.map.probability.max() == pytest.approx(sigmoid(LOGIT / 2), abs=1 / 255)
        assert found.result == json.loads((outcome.folder / "result.json").read_text())
        with Image.open(outcome.folder / "overlay.png") as picture:
            assert np.array_equal(found.overlay, np.asarray(picture))
        assert found.regions[["class", "area_px"]].to_numpy().tolist() == [["tumor", 150.0 * 100.0]]
        assert found.regions["id"].tolist() == ["feature 0"]  # the number stands in the name (docs/python.md)
        features = json.loads((outcome.folder / "regions.geojson").read_text())["features"]
        assert [feature["properties"]["name"] for feature in features] == ["region 1"]
        assert "id" not in features[0]
        assert found.folder == (None if out is None else out / "one")
    for name in ("probability.tif", "regions.geojson", "regions.xml", "overlay.png", "result.json"):
        assert (tmp_path / "kept" / "one" / name).read_bytes() == (outcome.folder / name).read_bytes()


def test_what_cannot_be_predicted_is_one_line(tmp_path: Path) -> None:
    model = acinus.load_model(make_model(tmp_path / "models", level=None, mpp=0.5))
    plain = make_slide(tmp_path / "slides" / "plain.tif", mpp=None)
    with pytest.raises(acinus.AcinusError, match=r"does not tell its um/px \(no tag\); give it as mpp"):
        model.predict_slide(plain)
    assert model.predict_slide(plain, mpp=0.5).result["mpp"] == [0.5, 0.5]
    with pytest.raises(acinus.AcinusError, match="is not there; check the path"):
        model.predict_slide(tmp_path / "no.svs")
    with pytest.raises(acinus.AcinusError, match="no such folder"):
        acinus.load_model(tmp_path / "nothing")
    with pytest.raises(acinus.AcinusError, match=r"^device = 'tape': not a device"):
        acinus.load_model(model.folder, device="tape")
