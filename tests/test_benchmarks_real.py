"""The benchmark on real tissue: its folds, its figures and its table by hand, and that its recipe is one."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks import real, real_point, real_script
from benchmarks.real_cohort import FOLDS, GlasSlide, Picture, read_slides


def slide(name: str, mask: list[list[int]], *, malignant: bool = True) -> GlasSlide:
    truth = np.array(mask, dtype=bool)
    picture = Picture(np.zeros((*truth.shape, 3), np.uint8), truth)
    return GlasSlide(name, name, malignant, (picture,), ((4, 2),), (truth,))


def test_figures_by_hand() -> None:
    ill, well = slide("a", [[1, 1, 0, 0]]), slide("b", [[0, 0, 0, 0]], malignant=False)
    other = slide("c", [[1, 0, 0, 0], [1, 0, 0, 0]])
    guess = {
        "a": [np.array([[1, 1, 1, 0]], bool)],  # Dice 4 / 5, burden 75 for 50 %
        "b": [np.array([[1, 0, 0, 0]], bool)],  # 25 for 0 %
        "c": [np.array([[1, 0, 0, 0], [0, 0, 0, 0]], bool)],  # Dice 2 / 3, 12.5 for 25 %
    }
    assert real.figures([ill, well, other], guess) == pytest.approx(
        {"dice_mean": (0.8 + 2 / 3) / 2, "dice_pooled": 6 / 8, "burden_error": 37.5 / 2, "burden_error_all": 62.5 / 3}
    )


def test_a_class_mask_is_read_under_the_pictures() -> None:
    mask = np.zeros((8, 8), np.uint8)
    mask[1, 3] = 1  # level-0 px: columns 6 and 7, rows 2 and 3
    (found,) = real.cut(mask, slide("a", [[0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]), 2.0)
    assert found.tolist() == [[False, False, True, True]] * 2 + [[False] * 4]


def test_the_table_says_what_each_way_has_beyond_the_script() -> None:
    def one(dice: float) -> dict[str, float]:
        names = ("dice_mean", "dice_pooled", "burden_error", "burden_error_all", "train_s")
        return dict(zip(names, (dice, dice, 5.0, 4.0, 100.0), strict=True))

    folds = {0: {way: one(0.8 + 0.01 * n) for n, way in enumerate(real.WAYS)}}
    folds[1] = {way: one(0.9) for way in real.WAYS}
    lines = real.table(folds).splitlines()
    assert "| 0 | acinus, d4 | 0.8200 (+0.0200) | 0.8200 (+0.0200) | 5.0 (+0.0) | 4.0 (+0.0) | 100.0 |" in lines
    assert lines[-2] == "| mean | acinus | 0.8550 (+0.0050) | 0.8550 (+0.0050) | 5.0 (+0.0) | 4.0 (+0.0) | 100.0 |"


def test_finished_folds_are_read_again(tmp_path: Path, shared_data: Path, monkeypatch, capsys) -> None:
    kept = {way: dict.fromkeys(("dice_mean", "dice_pooled", "burden_error", "burden_error_all", "train_s"), 0.5)
            for way in real.WAYS}  # fmt: skip
    (tmp_path / "fold_2.json").write_text(json.dumps(kept))
    monkeypatch.setattr(sys, "argv", ["real", "--work", str(tmp_path), "--folds", "2", "--shared", str(shared_data)])
    assert real.main() == 0
    assert "| 2 | script | 0.5000 |" in capsys.readouterr().out


def test_no_patient_is_in_two_splits_and_every_fold_has_both_kinds(shared_data: Path) -> None:
    slides = read_slides(shared_data / "glas")
    assert sum(len(one.pictures) for one in slides) == 85
    for plan in (*FOLDS, *real_point.PLANS):
        test, val = plan
        assert not set(test) & set(val)
        for split in ("train", "val", "test"):
            assert {one.malignant for one in slides if one.split(plan) == split} == {True, False}
    assert len({patient for test, _ in FOLDS for patient in test}) == sum(len(test) for test, _ in FOLDS)


@pytest.mark.parametrize("tta", ["none", "d4"])
def test_its_recipe_takes_fewer_crops_than_the_script(tta: str) -> None:
    train = real.recipe_of(tta, 300).train
    assert train.iterations_per_epoch is not None
    assert train.max_epochs * train.iterations_per_epoch * train.batch_size < 300 * real_script.BATCH
    assert (train.crop_px, train.encoder) == (real_script.CROP_PX, "tf_efficientnet_lite0")
