"""PanNuke's masks against a loop over pixels, and against what the data set says of its channels."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from acinus import params
from acinus.errors import RecipeError, SlideError
from acinus.labels.fold import instances, semantic
from acinus.labels.labels import LabelRow, LabelRules, check_source, open_labels

CLASSES = ["background", "neoplastic", "inflammatory", "connective", "dead", "epithelial"]
RULES = LabelRules.of(CLASSES, params.PannukeCohort(root="anywhere"))
HEIGHT, WIDTH = 24, 32


def drawn(seed: int, tiles: int = 3) -> np.ndarray:
    """Instance ids in channels that overlap and leave gaps."""
    rng = np.random.default_rng(seed)
    ids = rng.integers(1, 400, size=(tiles, HEIGHT, WIDTH, 6))
    return ids * (rng.random(ids.shape) < 0.3)


def naive(ids: np.ndarray) -> np.ndarray:
    classes = np.zeros(ids.shape[:2], np.uint8)
    for r in range(ids.shape[0]):
        for c in range(ids.shape[1]):
            set_here = [channel for channel in range(6) if ids[r, c, channel] > 0]
            if set_here:
                classes[r, c] = (set_here[-1] + 1) % 6
    return classes


def row(path: Path, width: int = WIDTH, height: int = HEIGHT) -> LabelRow:
    return LabelRow("f1_1", path, "fold", True, "unknown", width, height)


def save(folder: Path, ids: np.ndarray) -> Path:
    np.save(folder / "masks.npy", ids)
    return folder / "masks.npy#1"


def refusal(label_row: LabelRow) -> str:
    with pytest.raises(SlideError) as caught:
        check_source(label_row, RULES)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith("slide f1_1: masks")
    return message


def test_each_channel_is_the_class_that_the_data_set_names() -> None:
    ids = np.zeros((1, 7, 6))
    for channel in range(6):
        ids[0, channel, channel] = 12
    assert semantic(ids).tolist() == [[1, 2, 3, 4, 5, 0, 0]]


def test_where_channels_overlap_the_later_wins_and_background_last() -> None:
    ids = np.zeros((1, 4, 6))
    ids[0, 0, [0, 1]] = 3
    ids[0, 1, [3, 1]] = 3
    ids[0, 2, [4, 5]] = 1
    ids[0, 3, [0, 2, 4]] = 9
    assert semantic(ids).tolist() == [[2, 4, 0, 5]]


@given(st.integers(0, 2**32 - 1))
def test_classes_equal_a_loop_over_pixels(seed: int) -> None:
    ids = drawn(seed, 1)[0, :6, :8]
    np.testing.assert_array_equal(semantic(ids), naive(ids))


@pytest.mark.parametrize("dtype", ["float64", "uint16", "int32", "float32", ">f8"])
def test_one_interface_over_a_tile_of_any_type(tmp_path: Path, dtype: str) -> None:
    ids = drawn(1)
    path = save(tmp_path, ids.astype(dtype))
    expected = naive(ids[1])
    labels = open_labels(row(path), RULES)
    np.testing.assert_array_equal(labels.raster(WIDTH, HEIGHT, 1.0), expected)
    np.testing.assert_array_equal(labels.raster(WIDTH, 5, 1.0, 9), expected[9:14])
    np.testing.assert_array_equal(labels.raster(WIDTH // 2, HEIGHT // 2, 2.0), expected[1::2, 1::2])
    first, second = labels.windows(np.array([3, -8]), np.array([5, 20]), 16, 1.0)
    np.testing.assert_array_equal(first, expected[5:21, 3:19])
    np.testing.assert_array_equal(second[:4, 8:], expected[20:, :8])
    assert (second[4:] == 255).all()
    assert (second[:, :8] == 255).all()
    shares = labels.fractions(np.array([0, 7]), np.array([0, 11]), 10.0)
    for column, part in enumerate((expected[:10, :10], expected[11:21, 7:17])):
        np.testing.assert_allclose(shares[:, column], np.bincount(part.ravel(), minlength=7) / 100, atol=1e-12)
    counts = check_source(row(path), RULES)
    assert counts is not None
    assert counts.dtype == np.int64
    assert counts.tolist() == [int((expected == value).sum()) for value in range(6)] + [0]


def test_instance_ids_are_kept_channel_by_channel(tmp_path: Path) -> None:
    ids = drawn(2)
    save(tmp_path, ids.astype(np.float64))
    found = instances(tmp_path / "masks.npy", 2)
    assert found.dtype == np.int32
    assert found.shape == (6, HEIGHT, WIDTH)
    for channel in range(6):
        np.testing.assert_array_equal(found[channel], ids[2, ..., channel])


def test_masks_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    path = save(tmp_path, drawn(3))
    assert "is 32 x 24, but the image is 24 x 32" in refusal(row(path, HEIGHT, WIDTH))
    assert "has 3 rows, no row 3" in refusal(row(path.with_name("masks.npy#3")))
    assert "cannot be read" in refusal(row(path.with_name("masks2.npy#1")))
    assert "names no row" in refusal(row(path.with_name("masks.npy")))
    for wrong, says in (
        (drawn(3)[..., :5], "expected (N, height, width, 6)"),
        (drawn(3) - 1, "ids from -1 to"),
        (drawn(3) + 0.5, "fractions for instance ids"),
        (np.where(drawn(3) == 0, np.nan, 1.0), "ids from nan to nan"),
        (drawn(3) * 1e9, "expected 0 or more"),
        (drawn(3).astype(object), "no array of plain numbers"),
    ):
        path = save(tmp_path, wrong)
        assert says in refusal(row(path))


def test_a_fold_has_six_classes(tmp_path: Path) -> None:
    rules = LabelRules.of(CLASSES[:5], params.PannukeCohort(root="anywhere"))
    with pytest.raises(RecipeError, match="classes: 5 of them, but a fold array has 6"):
        open_labels(row(save(tmp_path, drawn(4))), rules)
