"""The operating point: sizes in um2 on slides of any resolution, and the files that hold it."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acinus.errors import AcinusError
from acinus.regions.operating_point import (
    ASSUMED_MPP,
    OperatingPoint,
    read_point,
    read_scaling,
    write_point,
    write_scaling,
)
from acinus.scoring.scaling import Scaling


@pytest.mark.parametrize(
    ("downsample", "mpp", "region_px", "hole_px"),
    [
        (4.0, (0.5, 0.5), 50, 50),  # px of 4 um2
        (4.0, (0.25, 0.25), 200, 200),  # the same map px of a slide twice as fine: 1 um2
        (32.0, (0.25, 0.25), 4, 3),  # 64 um2: 3 px are 192, 4 are 256
        (32.0, (0.5, 0.5), 1, 0),  # 256 um2: every region is larger, every hole too
        (10.0, (0.5, 0.2), 20, 20),  # px of 5 x 2 um
        (4.0, None, 50, 50),  # taken as 0.5 um per level-0 px
    ],
)
def test_the_same_area_is_meant_on_every_slide(
    downsample: float, mpp: tuple[float, float] | None, region_px: int, hole_px: int
) -> None:
    found = OperatingPoint(min_region_um2=200.0, max_hole_um2=200.0).on_map(downsample, mpp)
    assert (found.min_region_px, found.max_hole_px) == (region_px, hole_px)


@given(st.integers(0, 10_000), st.floats(0.05, 20.0), st.floats(0.05, 20.0), st.floats(1.0, 500.0))
def test_a_size_of_whole_px_is_that_many(px: int, x: float, y: float, downsample: float) -> None:
    """A region of just the smallest size is kept, a hole of just the largest filled, whatever rounding does."""
    um2 = px * x * y * downsample**2
    found = OperatingPoint(min_region_um2=um2, max_hole_um2=um2).on_map(downsample, (x, y))
    assert (found.min_region_px, found.max_hole_px) == (px, px)


def test_threshold_and_smoothing_go_with_it() -> None:
    found = OperatingPoint(threshold=0.3, smoothing_px=1.5, min_peak=0.8).on_map(8.0, (0.5, 0.5))
    assert found.min_peak == 0.8
    assert (found.threshold, found.smoothing_px, found.min_region_px, found.max_hole_px) == (0.3, 1.5, 0, 0)
    assert ASSUMED_MPP == 0.5, "docs/tuning.md says so"


def test_sizes_stand_in_um2_in_the_file(tmp_path: Path) -> None:
    point = OperatingPoint(min_region_um2=200.0, max_hole_um2=150.5)
    write_point(tmp_path / "point.yaml", point)
    text = (tmp_path / "point.yaml").read_text()
    assert "min_region_um2: 200.0\nmax_hole_um2: 150.5\n" in text
    assert read_point(tmp_path / "point.yaml") == point


@pytest.mark.parametrize(
    "line",
    [
        "min_region_px: 9",  # of an earlier version: px of which map?
        "min_region_um2: -1.0",
        "min_region_um2: .inf",
        "max_hole_um2: .nan",
        "max_hole_um2: 1.0e+300",
        "min_region_um2: many",
        "min_peak: 1.5",
    ],
)
def test_what_is_no_point_is_refused_in_one_line(tmp_path: Path, line: str) -> None:
    (tmp_path / "r.operating_point.yaml").write_text(f"temperature: 1.0\n{line}\n")
    with pytest.raises(AcinusError, match=r"r\.operating_point\.yaml: not an operating point .*run the cal") as caught:
        read_point(tmp_path / "r.operating_point.yaml")
    assert "\n" not in str(caught.value)


def test_a_point_with_offsets_comes_back_and_one_without_does_not_name_them(tmp_path: Path) -> None:
    for bias in ([], [0.25, -0.25]):
        point = OperatingPoint(temperature=1.5, bias=bias, threshold=0.25)
        write_point(tmp_path / "point.yaml", point)
        write_scaling(tmp_path / "scaling.json", point.scaling)
        assert read_point(tmp_path / "point.yaml") == point
        assert read_scaling(tmp_path / "scaling.json") == point.scaling == Scaling(1.5, tuple(bias))
        text = (tmp_path / "point.yaml").read_text()
        assert text.startswith("temperature: 1.5\nbias:\n- 0.25\n- -0.25\nthr" if bias else "temperature: 1.5\nthr")
    write_scaling(tmp_path / "scaling.json", Scaling(1.5))
    assert (tmp_path / "scaling.json").read_bytes() == b'{\n  "temperature": 1.5\n}\n'  # as before there were offsets


@pytest.mark.parametrize(
    "text", ["{}", "[1.5]", '{"temperature": "hot"}', '{"temperature": 0}', '{"temperature": 1, "bias": [NaN, 0]}']
)
def test_what_is_no_scaling_is_refused_in_one_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "r.temperature.json").write_text(text)
    with pytest.raises(AcinusError, match=r"r\.temperature\.json: .*run the calibrate stage") as caught:
        read_scaling(tmp_path / "r.temperature.json")
    assert "\n" not in str(caught.value)
    with pytest.raises(AcinusError, match=r"missing\.json: not found"):
        read_scaling(tmp_path / "missing.json")
