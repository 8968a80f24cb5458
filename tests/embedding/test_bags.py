"""Which patches are graded: held against brute force, and drawn slides whose answer is known."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from acinus import params
from acinus.embedding.bags import Bag, Choice, choose, mean_probs, read_patches, suspicious
from acinus.maps.geometry import MapGeometry
from acinus.maps.tiff import MapInfo, open_map, write_map
from acinus.patches.index import Squares
from acinus.slides.geometry import Resolution
from acinus.slides.open import open_slide
from acinus.tissue.mask import TissueMask

AT = Resolution(1.0, 0, 1.0)


def index(**changes: object) -> params.Index:
    return params.Index.model_validate({"patch_px": 8, "stride_px": 8, "level": 0, **changes})


def write(path: Path, probs: np.ndarray, width: int, height: int, downsample: float) -> Path:
    names = tuple(f"c{number}" for number in range(len(probs)))
    write_map(path, [probs], MapGeometry(width, height, downsample), MapInfo("a", names, None))
    return path


places = st.lists(
    st.tuples(st.integers(-20, 60), st.integers(-20, 60), st.sampled_from([0.0, 0.25, 0.5, 1.0])),
    max_size=24,
    unique_by=lambda one: one[:2],
)


@given(places, st.integers(1, 8), st.sampled_from([0.0, 7.5, 16.0, 40.0]))
def test_greedy_choice_is_that_of_brute_force(found: list[tuple[int, int, float]], count: int, distance: float) -> None:
    x0, y0 = (np.array([one[axis] for one in found], dtype=np.int64) for axis in (0, 1))
    prob = np.array([one[2] for one in found])
    wanted: list[int] = []
    while len(wanted) < count:
        far = [
            i
            for i in range(len(found))
            if i not in wanted and all(abs(x0[i] - x0[j]) >= distance or abs(y0[i] - y0[j]) >= distance for j in wanted)
        ]
        if not far:
            break
        wanted.append(min(far, key=lambda i: (-prob[i], y0[i], x0[i])))
    assert suspicious(x0, y0, prob, count, distance).tolist() == wanted


def test_of_equal_probabilities_the_first_row_by_row_is_taken() -> None:
    x0, y0 = np.array([8, 0, 0, 8]), np.array([8, 8, 0, 0])
    assert suspicious(x0, y0, np.full(4, 0.5), 3, 8.0).tolist() == [2, 3, 1]


def test_mean_probability_is_that_of_the_px_whose_centres_lie_under_the_patch(tmp_path: Path) -> None:
    width, height, downsample = 700, 1300, 2.3  # several bands of 256 rows, px that fit no patch
    geometry = MapGeometry(width, height, downsample)
    values = np.random.default_rng(0).integers(0, 256, geometry.shape).astype(np.uint8)
    path = write(tmp_path / "a.tif", values[None] / 255.0, width, height, downsample)
    rng = np.random.default_rng(1)
    x0, y0 = rng.integers(-30, 690, 200), rng.integers(-30, 1290, 200)
    with open_map(path) as reader:
        found = mean_probs(reader, Squares(x0, y0, x0, y0, 37.5), (1,))
    centres_x, centres_y = ((np.arange(count) + 0.5) * downsample for count in (geometry.columns, geometry.rows))
    checked = 0
    for x, y, mean in zip(x0, y0, found, strict=True):
        under = np.ix_((centres_y >= y) & (centres_y < y + 37.5), (centres_x >= x) & (centres_x < x + 37.5))
        if values[under].size:
            checked += 1
            assert mean == pytest.approx(values[under].mean() / 255, abs=1e-12)
    assert checked > 190


def test_a_patch_smaller_than_a_map_px_has_its_value(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", np.array([[[0.0, 1.0], [0.2, 0.6]]]), 64, 64, 32.0)
    x0, y0 = np.array([0, 33, 58]), np.array([0, 1, 60])
    with open_map(path) as reader:
        assert mean_probs(reader, Squares(x0, y0, x0, y0, 4.0), (1,)).tolist() == pytest.approx([0.0, 1.0, 0.6])


def test_the_top_is_the_most_suspicious_and_the_rest_is_drawn_by_seed(tmp_path: Path) -> None:
    probs = np.zeros((1, 8, 8))  # a px of the map is a patch
    probs[0, 2, 3], probs[0, 5, 5], probs[0, 5, 6] = 1.0, 0.8, 0.6
    path = write(tmp_path / "a.tif", probs, 64, 64, 8.0)
    tissue = TissueMask(np.ones((8, 8), dtype=bool), 64, 64)

    def bag(seed: int, distance: float = 2.0) -> Bag:
        with open_map(path) as reader:
            return choose(reader, tissue, AT, index(), Choice(2, 5, distance, (1,)), seed)

    one = bag(0, 1.0)
    assert list(zip(one.x0[one.top], one.y0[one.top], strict=True)) == [(24, 16), (40, 40)]
    assert one.prob[one.top].tolist() == pytest.approx([1.0, 0.8])
    assert len(one) == 7
    assert len({*zip(one.x0, one.y0, strict=True)}) == 7
    assert np.all(np.diff(one.y0 * 1000 + one.x0) > 0)  # row by row
    same, other = bag(0, 1.0), bag(1, 1.0)
    assert np.array_equal(one.x0, same.x0)
    assert np.array_equal(one.y0, same.y0)
    assert not np.array_equal(one.x0 * 1000 + one.y0, other.x0 * 1000 + other.y0)


def test_only_patches_with_tissue_are_candidates(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", np.ones((1, 8, 8)), 64, 64, 8.0)
    mask, settings = np.zeros((64, 64), dtype=bool), index(min_tissue_fraction=0.5)

    def bag(top: int = 100, drawn: int = 100) -> list[tuple[int, int]]:
        with open_map(path) as reader:
            found = choose(reader, TissueMask(mask.copy(), 64, 64), AT, settings, Choice(top, drawn, 0.0, (1,)), 0)
        return [*zip(found.x0.tolist(), found.y0.tolist(), strict=True)]

    assert bag() == []
    mask[8:10, 16:24] = True  # a quarter of patch (2, 1): too little, but all there is
    assert bag() == [(16, 8)]
    mask[32:40, 40:48] = True
    assert bag() == [(40, 32)]
    mask[32:40, 48:56] = True
    assert bag() == [(40, 32), (48, 32)]
    assert bag(1, 0) == [(40, 32)]


def test_of_several_classes_the_positive_ones_count_together(tmp_path: Path) -> None:
    probs = np.zeros((3, 1, 3))
    probs[:, 0] = np.array([[0.2, 0.5, 1.0], [0.4, 0.5, 0.0], [0.4, 0.0, 0.0]])
    path = write(tmp_path / "a.tif", probs, 24, 8, 8.0)
    x0, y0 = np.array([0, 8, 16]), np.zeros(3, dtype=np.int64)
    with open_map(path) as reader:
        assert mean_probs(reader, Squares(x0, y0, x0, y0, 8.0), (1, 2)).tolist() == pytest.approx(
            [0.8, 0.5, 0.0], abs=0.005
        )


def test_a_window_is_judged_by_its_cell_and_read_around_it(tmp_path: Path) -> None:
    probs = np.zeros((1, 4, 4))
    probs[0, 0, 0] = 1.0
    path = write(tmp_path / "a.tif", probs, 32, 32, 8.0)
    image = np.zeros((1, 32, 32, 3), dtype=np.uint8)
    image[0, :8, :8] = (10, 20, 30)
    np.save(tmp_path / "a.npy", image)
    settings = index(patch_px=16, cell_px=8)
    tissue = TissueMask(np.ones((4, 4), dtype=bool), 32, 32)
    with open_map(path) as reader, open_slide(tmp_path / "a.npy#0", "a") as slide:
        bag = choose(reader, tissue, AT, settings, Choice(1, 0, 0.0, (1,)), 0)
        pixels = read_patches(slide, bag.x0, bag.y0, AT, 16)
    assert (bag.x0.tolist(), bag.y0.tolist(), bag.prob.tolist()) == ([-4], [-4], [1.0])
    assert np.all(pixels[0, 4:12, 4:12] == (10, 20, 30))
    assert np.all(pixels[0, :4] == 255)  # beyond the slide
