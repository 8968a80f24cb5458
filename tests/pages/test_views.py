"""Which patches and slides are shown, against lists sorted by hand."""

import pandas as pd
import pytest

from acinus.pages import views
from acinus.pages.views import PatchResult


def patch(slide_id: str, dice: float | None, filled: bool = True, false_px: int = 0, x0: int = 0) -> PatchResult:
    return PatchResult(slide_id, x0, 0, dice, filled, false_px)


def names(chosen: tuple[views.View, ...], kind: str) -> list[str]:
    return [one.patch.slide_id for one in chosen if one.kind == kind]


def test_best_median_worst_and_empty() -> None:
    patches = [patch(f"s{rank}", rank / 10) for rank in (3, 9, 0, 7, 5, 1, 8, 2, 6, 4, 10)]
    patches += [patch(f"e{count}", 0.0 if count else None, filled=False, false_px=count) for count in (0, 5, 2)]
    chosen = views.choose(patches, 2)
    assert names(chosen, "best") == ["s10", "s9"]
    assert names(chosen, "median") == ["s5", "s6"]
    assert names(chosen, "worst") == ["s0", "s1"]
    assert names(chosen, "empty") == ["e5", "e2"]
    assert [one.kind for one in chosen] == [kind for kind in views.KINDS for _ in range(2)]
    assert [one.file for one in chosen][:2] == ["view_best_1.png", "view_best_2.png"]


@pytest.mark.parametrize(
    ("count", "expected"),
    [(0, (0, 0, 0)), (1, (1, 0, 0)), (2, (1, 0, 1)), (4, (2, 1, 1)), (7, (3, 2, 2)), (9, (3,) * 3)],
)
def test_few_patches_are_shared_out_and_none_stands_twice(count: int, expected: tuple[int, int, int]) -> None:
    chosen = views.choose([patch(f"s{rank}", rank / 10) for rank in range(count)], 3)
    assert tuple(len(names(chosen, kind)) for kind in ("best", "median", "worst")) == expected
    assert len({one.patch for one in chosen}) == len(chosen)


def test_order_of_the_rows_and_ties_change_nothing() -> None:
    patches = [patch(slide_id, 0.5, x0=x0) for slide_id in "ba" for x0 in (9, 3)]
    patches += [patch(slide_id, None, filled=False, false_px=4) for slide_id in "dc"]
    assert views.choose(patches, 1) == views.choose(patches[::-1], 1)
    first = views.choose(patches, 1)[0].patch
    assert (first.slide_id, first.x0) == ("a", 3)
    assert names(views.choose(patches, 1), "empty") == ["c"]


def test_a_patch_of_unknown_dice_is_not_ranked() -> None:
    chosen = views.choose([patch("known", 0.2), patch("unknown", None)], 3)
    assert [one.patch.slide_id for one in chosen] == ["known"]


def test_the_table_of_the_choice() -> None:
    chosen = views.choose([patch("s", 0.25, x0=7), patch("e", None, filled=False, false_px=3)], 1)
    table = views.table(chosen)
    assert table["kind"].tolist() == ["best", "empty"]
    assert table["dice"].tolist()[0] == 0.25
    assert pd.isna(table["dice"][1])
    assert table["picture"].tolist() == ["view_best_1.png", "view_empty_1.png"]
    assert views.table(()).empty


def test_slides_for_pictures_span_the_ranks() -> None:
    table = pd.DataFrame(
        {
            "slide_id": [f"s{rank}" for rank in range(10)] + ["train", "lost"],
            "split": ["test"] * 10 + ["train", "test"],
            "scored": [True] * 11 + [False],
            "dice": [rank / 10 for rank in range(9)] + [None, 0.0, None],
        }
    )
    assert views.choose_slides(table, 20) == [f"s{rank}" for rank in range(10)]
    assert views.choose_slides(table, 4) == ["s0", "s3", "s6", "s9"]
    assert views.choose_slides(table, 1) == ["s0"]
