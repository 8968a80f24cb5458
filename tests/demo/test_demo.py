"""What holds for the drawn cohort of every family. As a script: draw what is compared, argv family and folder."""

import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from acinus.errors import AcinusError
from acinus.params import CamelyonDemo, MilDemo, PandaDemo, PannukeDemo, RgbMaskDemo, SlidesDemo
from acinus.stages.demo import FAMILIES

SETTINGS = {
    "slides": SlidesDemo(slides=5, width_px=600, height_px=512),
    "camelyon": CamelyonDemo(size_px=1024, training_tumor=1, training_normal=1, test_tumor=1, test_normal=1),
    "panda": PandaDemo(slides=12, width_px=1000, height_px=800),
    "rgb_mask": RgbMaskDemo(train=5, val=1, test=2, width_px=601, height_px=553),
    "pannuke": PannukeDemo(tiles_per_fold=4),
    "mil": MilDemo(slides=12, width_px=400, height_px=384),
}
DRAWN = {"slides": [0, 1, 2, 3], "camelyon": [0], "panda": [11], "rgb_mask": [4, 7], "pannuke": [1], "mil": [0, 5]}
SUFFIXES = {
    "slides": {".csv", ".geojson", ".png", ".svs", ".tif", ".xml"},
    "camelyon": {".csv", ".tif", ".xml"},
    "panda": {".csv", ".tiff"},
    "rgb_mask": {".csv", ".jpg", ".png", ".tif"},
    "pannuke": {".npy"},
    "mil": {".csv", ".tif"},
}


def draw(family: str, root: Path) -> None:
    """Draw a few slides of each kind, and what belongs to no single slide."""
    artist = FAMILIES[family]
    plans = artist.plan(5, SETTINGS[family])
    chosen = [plans[k] for k in DRAWN[family]]
    for plan in chosen:
        artist.draw_slide(plan, root)
    artist.finish(chosen, root)


@pytest.mark.parametrize("family", FAMILIES)
def test_bytes_are_the_same_in_another_process_on_a_lesser_cpu(family: str, tmp_path: Path) -> None:
    draw(family, tmp_path / "here")
    # numpy and libjpeg-turbo without the vector units that not every machine has
    lesser = {**os.environ, "NPY_DISABLE_CPU_FEATURES": "X86_V3 X86_V4", "JSIMD_FORCENONE": "1"}
    subprocess.run([sys.executable, __file__, family, str(tmp_path / "there")], check=True, env=lesser)
    here, there = (
        {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}
        for root in (tmp_path / "here", tmp_path / "there")
    )
    assert {Path(name).suffix for name in here} == SUFFIXES[family]
    assert here.keys() == there.keys()
    assert [name for name in here if here[name] != there[name]] == []


@pytest.mark.parametrize("family", FAMILIES)
def test_a_plan_is_a_function_of_seed_and_settings(family: str) -> None:
    plan, settings = FAMILIES[family].plan, SETTINGS[family]
    slides = plan(3, settings)
    assert plan(3, settings) == slides
    assert not [slide for slide in plan(4, settings) if slide in slides]
    assert pickle.loads(pickle.dumps(slides)) == slides  # they travel to workers


@pytest.mark.parametrize(
    ("family", "more"),
    [
        ("slides", {"slides": 12}),
        ("camelyon", {"training_normal": 3}),
        ("panda", {"slides": 18}),
        ("rgb_mask", {"test": 5}),
    ],
)
def test_a_larger_cohort_has_the_slides_of_the_smaller_one(family: str, more: dict[str, int]) -> None:
    plan, settings = FAMILIES[family].plan, SETTINGS[family]
    smaller, larger = plan(3, settings), plan(3, settings.model_copy(update=more))
    assert len(larger) > len(smaller)
    assert [slide for slide in larger if slide in smaller] == smaller


@pytest.mark.parametrize("family", FAMILIES)
def test_a_folder_that_cannot_be_written_is_one_clear_line(family: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(AcinusError, match="cannot write here"):
        draw(family, tmp_path / "file")


if __name__ == "__main__":
    draw(sys.argv[1], Path(sys.argv[2]))
