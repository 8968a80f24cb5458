"""Optical density and its summary against hand-worked values and numpy."""

import json
import math

import numpy as np
import pytest
from pydantic import ValidationError

from acinus.learning.colour import TrainingStain, optical_density, stain_summary


def test_density_of_white_black_and_grey() -> None:
    def flat(*rgb: int) -> np.ndarray:
        return np.full((4, 5, 3), rgb, dtype=np.uint8)

    assert optical_density([flat(255, 255, 255)]).tolist() == [0.0, 0.0, 0.0]
    np.testing.assert_allclose(optical_density([flat(0, 127, 63)]), [math.log(256), math.log(2), math.log(4)])


def test_density_is_of_all_pixels_alike_whatever_the_patches() -> None:
    pixels = np.random.default_rng(3).integers(0, 256, (12, 10, 3), dtype=np.uint8)
    expected = -np.log((pixels.astype(float) + 1) / 256).mean(axis=(0, 1))
    np.testing.assert_allclose(optical_density([pixels[:2], pixels[2:]]), expected)
    assert np.isnan(optical_density([])).all()


def test_summary_of_slides() -> None:
    found = stain_summary([np.array([0.0, 1.0, 2.0]), np.array([2.0, 1.0, 4.0])])
    assert found["n"] == 2
    assert found["mean"] == [1.0, 1.0, 3.0]
    np.testing.assert_allclose(found["std"], [math.sqrt(2), 0.0, math.sqrt(2)])
    np.testing.assert_allclose(found["covariance"], [[2.0, 0.0, 2.0], [0.0, 0.0, 0.0], [2.0, 0.0, 2.0]])
    assert stain_summary([np.ones(3)]) == {"n": 1, "mean": [1.0, 1.0, 1.0], "std": None, "covariance": None}
    assert stain_summary([])["mean"] is None


def test_every_summary_reads_back_as_it_was_written() -> None:
    slides = np.random.default_rng(0).random((5, 3))
    for count in range(6):
        summary = stain_summary(list(slides[:count]))
        found = TrainingStain.model_validate_json(json.dumps(summary))
        assert json.loads(found.model_dump_json()) == summary


@pytest.mark.parametrize(
    "changes",
    [
        {"covariance": [[1, 2, 0], [0, 1, 0], [0, 0, 1]]},  # not symmetric
        {"covariance": [[1, 2, 0], [2, 1, 0], [0, 0, 1]]},  # eigenvalues 3, -1 and 1
        {"covariance": [[1, 0], [0, 1]]},
        {"mean": [0.1, math.nan, 0.1]},
        {"n": None},
        {"colour": 1},
    ],
)
def test_what_is_no_summary_is_refused(changes: dict[str, object]) -> None:
    good = {"n": 2, "mean": [0, 0, 0], "std": [1, 1, 1], "covariance": [[1, 0, 0], [0, 1, 0], [0, 0, 1]]}
    TrainingStain.model_validate_json(json.dumps(good))
    with pytest.raises(ValidationError):
        TrainingStain.model_validate_json(json.dumps(good | changes))
