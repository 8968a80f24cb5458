"""The colour-only baseline: what colour decides it decides, what it does not it leaves open."""

import json

import numpy as np
import pytest
from scipy.optimize import minimize

from acinus.errors import AcinusError
from acinus.learning import colour
from acinus.learning.colour import (
    ColourModel,
    fit_colours,
    mean_colours,
    patch_features,
    pixel_features,
)


def blobs(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Colours of three classes around pink, purple and white, overlapping."""
    rng = np.random.default_rng(seed)
    labels = rng.choice(3, count, p=[0.5, 0.3, 0.2])
    centres = np.array([[0.9, 0.6, 0.75], [0.5, 0.3, 0.6], [0.95, 0.95, 0.95]])
    return np.clip(centres[labels] + rng.normal(0, 0.1, (count, 3)), 0, 1), labels


def fit_pixels(colours: np.ndarray, labels: np.ndarray, classes: int, seed: int = 0) -> ColourModel:
    return fit_colours(pixel_features(colours), labels, classes, seed=seed)


def test_features_by_hand() -> None:
    patch = np.zeros((2, 2, 3), dtype=np.uint8)
    patch[0, :, 0], patch[:, :, 2] = 255, 51
    np.testing.assert_allclose(patch_features(patch), [0.5, 0, 0.2, 0.5, 0, 0], atol=1e-12)
    np.testing.assert_allclose(
        pixel_features(np.array([[0.5, 0.2, 0.1]])), [[0.5, 0.2, 0.1, 0.25, 0.04, 0.01, 0.1, 0.05, 0.02]], atol=1e-12
    )


def test_the_regression_is_the_minimum_that_scipy_finds() -> None:
    colours, labels = blobs(400)
    model = fit_pixels(colours, labels, 3)
    x = pixel_features(colours)
    x = (x - x.mean(axis=0)) / x.std(axis=0)

    def penalised(flat: np.ndarray) -> float:
        weights, bias = flat[:27].reshape(3, 9), flat[27:]
        logits = x @ weights.T + bias
        top = logits.max(axis=1)
        likelihood = logits[np.arange(len(x)), labels] - top - np.log(np.exp(logits - top[:, None]).sum(axis=1))
        return float(0.5 * (weights**2).sum() - likelihood.sum())

    best = minimize(penalised, np.zeros(30), method="L-BFGS-B", options={"maxfun": 100_000, "maxiter": 2000})
    logits = x @ best.x[:27].reshape(3, 9).T + best.x[27:]
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(model.probs(pixel_features(colours)), expected, atol=5e-3)


def test_what_colour_decides_is_learned_and_what_it_does_not_is_the_prior() -> None:
    colours, labels = blobs(3000)
    model = fit_pixels(colours, labels, 3)
    new, truth = blobs(2000, seed=1)
    probs = model.probs(pixel_features(new))
    np.testing.assert_allclose(probs.sum(axis=1), 1, atol=1e-12)
    assert (probs.argmax(axis=1) == truth).mean() > 0.9
    assert model.majority == 0
    blind = fit_pixels(colours, np.random.default_rng(2).permutation(labels), 3)
    shares = np.bincount(labels, minlength=3) / len(labels)
    np.testing.assert_allclose(blind.probs(pixel_features(new)).mean(axis=0), shares, atol=0.03)


def test_patches_of_two_classes_are_told_by_mean_or_by_spread() -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(200) % 2
    spread = np.where(labels, 60, 20)[:, None, None, None]
    patches = np.clip(128 + spread * rng.standard_normal((200, 8, 8, 3)), 0, 255).astype(np.uint8)
    features = np.stack([patch_features(patch) for patch in patches])
    model = fit_colours(features[:100], labels[:100])
    probs = model.probs(features[100:])
    assert probs.shape == (100, 2)
    assert ((probs[:, 1] > 0.5) == labels[100:]).all()


def test_a_class_absent_from_training_has_probability_0() -> None:
    colours, labels = blobs(500)
    relabelled = np.array([1, 4, 5])[labels]
    model = fit_pixels(colours, relabelled, 6)
    probs = model.probs(pixel_features(colours))
    assert probs.shape == (500, 6)
    assert (probs[:, [0, 2, 3]] == 0).all()
    np.testing.assert_allclose(
        probs,
        fit_pixels(colours, labels, 3).probs(pixel_features(colours))[:, [0, 0, 0, 0, 1, 2]] * [0, 1, 0, 0, 1, 1],
        atol=1e-12,
    )
    assert model.majority == 1
    alone = fit_pixels(colours, np.full(500, 2), 4)
    np.testing.assert_array_equal(alone.probs(pixel_features(colours[:3])), [[0, 0, 1, 0]] * 3)


def test_a_feature_that_never_changes_does_no_harm() -> None:
    colours, labels = blobs(500)
    colours[:, 2] = 0.5
    assert np.isfinite(fit_pixels(colours, labels, 3).probs(pixel_features(colours))).all()


def test_a_model_goes_through_json_unchanged() -> None:
    colours, labels = blobs(300)
    model = fit_pixels(colours, labels, 3)
    again = ColourModel.from_json(json.loads(json.dumps(model.to_json())))
    assert again == model
    assert fit_pixels(colours, labels, 3) == model


@pytest.mark.parametrize("key", ["weights", "seen", "bias", "classes"])
def test_json_that_is_no_model_is_one_line(key: str) -> None:
    values = fit_pixels(*blobs(100), 3).to_json()
    for broken in (
        {name: value for name, value in values.items() if name != key},
        {**values, key: "x"},
        {**values, "more": 1},
        {**values, "bias": [0.0]},
        [],
    ):
        with pytest.raises(AcinusError, match="not a colour model"):
            ColourModel.from_json(broken)


def test_many_samples_are_thinned_by_the_seed_and_the_majority_is_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(colour, "MOST", 500)
    colours, labels = blobs(4000)
    one, same, other = (fit_pixels(colours, labels, 3, seed=seed) for seed in (1, 1, 2))
    assert one == same
    assert one != other
    assert np.abs(one.probs(pixel_features(colours)) - other.probs(pixel_features(colours))).mean() < 0.03
    assert one.majority == int(np.bincount(labels).argmax())


def test_blocks_are_mean_colours_and_commonest_known_classes() -> None:
    patch = np.zeros((1, 4, 5, 3), dtype=np.uint8)  # column 4 fills no block
    patch[0, :2, :2] = 255
    patch[0, :2, 2:4] = [[10, 20, 30], [30, 40, 50]]
    patch[0, :, 4] = 99
    mask = np.array([[[1, 1, 2, 3, 9], [0, 1, 3, 2, 9], [255, 255, 255, 0, 9], [255, 0, 0, 255, 9]]], dtype=np.uint8)
    colours, labels = mean_colours(patch, mask, 2)
    # blocks: upper left 1 of 3:1; upper right 2 and 3 twice each; lower left mostly ignored; lower right a tie
    assert labels.tolist() == [1, 2, 0]
    np.testing.assert_allclose(colours * 255, [[255] * 3, [20, 30, 40], [0, 0, 0]], atol=1e-9)


def test_blocks_of_one_px_are_the_px() -> None:
    rng = np.random.default_rng(0)
    patches, masks = rng.integers(0, 256, (2, 6, 6, 3), dtype=np.uint8), rng.integers(0, 4, (2, 6, 6), dtype=np.uint8)
    colours, labels = mean_colours(patches, masks, 1)
    np.testing.assert_allclose(colours, patches.reshape(-1, 3) / 255)
    np.testing.assert_array_equal(labels, masks.reshape(-1))


def test_what_cannot_be_learned_from_is_refused() -> None:
    colours, labels = blobs(10)
    with pytest.raises(AcinusError, match="10 samples with 9 labels"):
        fit_pixels(colours, labels[:9], 3)
    with pytest.raises(AcinusError, match="0 samples with 0 labels"):
        fit_pixels(colours[:0], labels[:0], 3)
    with pytest.raises(AcinusError, match=r"labels 255..255 found, the classes are 0..2"):
        fit_pixels(colours, np.full(10, 255), 3)
    with pytest.raises(AcinusError, match="do not fit patches"):
        mean_colours(np.zeros((1, 4, 4, 3), np.uint8), np.zeros((1, 4, 5), np.uint8), 2)
    with pytest.raises(AcinusError, match="blocks of 8 px do not fit"):
        mean_colours(np.zeros((1, 4, 4, 3), np.uint8), np.zeros((1, 4, 4), np.uint8), 8)
