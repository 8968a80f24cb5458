"""PANDA's own train.csv and a published list of doubtful slides through the adapter's label checks."""

from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from acinus.cohorts import grade, panda, tables
from acinus.cohorts.grade import Graded
from acinus.slides import brightfield
from acinus.slides.open import open_slide


@pytest.fixture(scope="module")
def graded(shared_data: Path) -> dict[str, Graded]:
    return grade.parse_grades(tables.read_text(shared_data / "panda" / "train.csv"), "train.csv", panda.PROVIDERS)


def test_every_row_is_read_as_pandas_reads_it(graded: dict[str, Graded], shared_data: Path) -> None:
    table = pd.read_csv(shared_data / "panda" / "train.csv").set_index("image_id")
    assert len(graded) == len(table) == 10_616
    assert Counter(row.provider for row in graded.values()) == {"karolinska": 5456, "radboud": 5160}
    assert {one: row.isup for one, row in graded.items()} == table["isup_grade"].to_dict()
    assert {one: row.gleason for one, row in graded.items()} == table["gleason_score"].to_dict()


def test_the_one_inconsistent_row_is_found(graded: dict[str, Graded]) -> None:
    assert [row for row in graded.values() if grade.isup_of(row.gleason) != row.isup] == [
        Graded("b0a92a74cb53899311acc30b7405e101", "karolinska", 2, "4+3"),
    ]


def test_the_published_list_of_doubtful_slides(graded: dict[str, Graded], shared_data: Path) -> None:
    path = shared_data / "panda" / "PANDA_Suspicious_Slides.csv"
    doubtful = grade.parse_doubtful(tables.read_text(path), path.name)
    assert set(doubtful) == set(pd.read_csv(path)["image_id"])
    assert len(doubtful) == 662  # of 675 rows: some slides stand there two or three times
    assert set(doubtful) <= set(graded)
    assert "blank" in doubtful["3790f55cad63053e956fb73027179707"]
    reasons = [reason.split(", ") for reason in doubtful.values()]
    assert sum("No Mask" in some for some in reasons) == 100  # as many as PANDA has slides without a mask


def test_near_white_is_the_colour_of_the_glass(shared_data: Path) -> None:
    """Held against the px within 20 grey values of the commonest colour, which is the glass."""
    name = "cmu-1-small-region.svs"
    with open_slide(shared_data / "slides" / name, name) as slide:
        share = panda.near_white(brightfield.overview_of(slide))
        px = slide.overview(383, 512).reshape(-1, 3).astype(int)
    colours, counts = np.unique(px, axis=0, return_counts=True)
    glass = np.abs(px - colours[counts.argmax()]).max(axis=1) <= 20
    assert share == pytest.approx(glass.mean(), abs=0.01)


def test_a_thin_smear_is_nearly_blank_but_not_quite(shared_data: Path) -> None:
    name = "cyto_A_BB_563479_1.svs"
    with open_slide(shared_data / "slides" / name, name) as slide:
        assert 0.95 < panda.near_white(brightfield.overview_of(slide)) < panda.BLANK_SHARE
