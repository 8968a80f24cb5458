"""The balanced sample against counts worked by hand and properties that hold for any index."""

from typing import get_args

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from acinus import params, records
from acinus.patches.sample import SCHEMES, drawn_rows, spread, statistics, statistics_text

KEY = ["slide_id", "y0", "x0"]


def patches(slide_id: str, split: str, tumour: int, normal: int, ignore: int = 0) -> list[dict[str, object]]:
    labels = [records.TUMOR] * tumour + [records.NORMAL] * normal + [records.IGNORE] * ignore
    return [
        {
            "slide_id": slide_id,
            "x0": 10 * i,
            "y0": 0,
            "downsample": 1.0,
            "patch_px": 10,
            "tissue_fraction": 1.0,
            "tumour_fraction": float(label == records.TUMOR),
            "class_fractions": (float(label != records.TUMOR), float(label == records.TUMOR)),
            "label": label,
            "split": split,
        }
        for i, label in enumerate(labels)
    ]


def table(*slides: list[dict[str, object]]) -> pd.DataFrame:
    return records.frame(records.INDEX, [row for slide in slides for row in slide])


def draw_sample(index: pd.DataFrame, settings: params.Sample, seed: int) -> pd.DataFrame:
    """The rows that are kept, of a table as `records.read` gives it."""
    ordered = records.check(records.INDEX, index)
    rows = drawn_rows(ordered.drop(columns=list(records.FRACTIONS)), settings, seed)
    assert rows.dtype == np.int64
    assert (np.diff(rows) > 0).all()
    return records.check(records.SAMPLE, ordered.iloc[rows])


def counts(sample: pd.DataFrame, label: int) -> dict[str, int]:
    return sample[sample["label"] == label].groupby("slide_id").size().to_dict()


def of_classes(slide_id: str, split: str, *numbers: int, ignore: int = 0) -> list[dict[str, object]]:
    """Patches of a slide, so many of each class."""
    labels = np.concatenate([np.repeat(np.arange(len(numbers)), numbers), np.repeat(records.IGNORE, ignore)])
    rows = patches(slide_id, split, len(labels), 0)
    return [row | {"label": int(label)} for row, label in zip(rows, labels, strict=True)]


THREE = ("stroma", "gland", "lymph")
MANY = table(
    of_classes("a", "train", 50, 9, 0, ignore=4),
    of_classes("b", "train", 30, 3, 4),
    of_classes("c", "train", 0, 40, 6),
    of_classes("t", "test", 9, 1, 3, ignore=2),
)


def drawn_of(settings: params.Sample, seed: int = 1, classes: tuple[str, ...] = THREE) -> pd.DataFrame:
    return MANY.iloc[drawn_rows(records.check(records.INDEX, MANY), settings, seed, classes)]


def per_class(rows: pd.DataFrame) -> list[int]:
    return [int((rows["label"] == label).sum()) for label in range(3)]


def test_more_than_two_classes_get_as_many_patches_as_the_rarest() -> None:
    train = drawn_of(params.Sample(balance=["train"])).query("split == 'train'")
    assert per_class(train) == [10, 10, 10]
    assert counts(train, 0) == {"a": 5, "b": 5}  # spread over the slides
    assert counts(train, 2) == {"b": 4, "c": 6}
    assert sorted(counts(train, 1).values()) == [3, 3, 4]
    test = drawn_of(params.Sample(balance=["train"])).query("split == 'test'")
    assert per_class(test) == [9, 1, 3]


def test_a_ratio_lets_the_commoner_classes_give_more_and_a_cap_less() -> None:
    assert per_class(drawn_of(params.Sample(balance=["train"], max_class_ratio=2.5)).query("split == 'train'")) == [
        25, 25, 10
    ]  # fmt: skip
    capped = params.Sample(balance=["train"], max_tumor_per_slide=3, max_normal_per_slide=2)
    train = drawn_of(capped).query("split == 'train'")
    assert per_class(train) == [4, 4, 4]  # class 0 has two slides of at most 2
    assert set(counts(train, 0).values()) == {2}


def test_a_class_that_a_split_lacks_makes_the_others_no_smaller() -> None:
    test = drawn_of(params.Sample(balance=["test"]), classes=(*THREE, "fat")).query("split == 'test'")
    assert per_class(test) == [1, 1, 1]


def test_a_larger_draw_of_a_class_adds_to_a_smaller_one() -> None:
    small, large = (
        set(drawn_of(params.Sample(balance=["train"], max_class_ratio=ratio)).index) for ratio in (1.0, 2.0)
    )
    assert small < large


def test_statistics_of_three_classes_by_hand() -> None:
    drawn = drawn_of(params.Sample(balance=["train"]))
    found = statistics(MANY, drawn, THREE)
    assert found.columns.tolist() == [
        *("slide_id", "split", "candidates", "patches.stroma", "patches.gland", "patches.lymph", "ignored"),
        *("drawn.stroma", "drawn.gland", "drawn.lymph"),
    ]
    a = found.set_index("slide_id").loc["a"]
    assert a[["candidates", "patches.stroma", "patches.gland", "patches.lymph", "ignored"]].tolist() == [
        63,
        50,
        9,
        0,
        4,
    ]
    assert found[["drawn.stroma", "drawn.gland", "drawn.lymph"]].sum().tolist() == [19, 11, 13]


INDEX = table(
    patches("a", "train", 30, 100, 5),
    patches("b", "train", 10, 3, 5),
    patches("c", "train", 0, 100, 5),
    patches("t", "test", 4, 50, 6),
)


def test_balance_worked_by_hand():
    sample = draw_sample(INDEX, params.Sample(), 7)
    assert counts(sample, records.TUMOR) == {"a": 30, "b": 10, "t": 4}
    # 40 normals wanted: b has 3, a and c share 37 as 19 and 18 or the other way round
    normal = counts(sample, records.NORMAL)
    assert normal["b"] == 3
    assert sorted([normal["a"], normal["c"]]) == [18, 19]
    assert normal["t"] == 50  # the test split is not drawn from


def test_ratio_and_caps_worked_by_hand():
    settings = params.Sample(normal_per_tumor=1.5, max_tumor_per_slide=12, max_normal_per_slide=20)
    sample = draw_sample(INDEX, settings, 7)
    assert counts(sample, records.TUMOR) == {"a": 12, "b": 10, "t": 4}
    normal = counts(sample, records.NORMAL)  # 33 wanted: 3 from b, 15 each from a and c
    assert normal == {"a": 15, "b": 3, "c": 15, "t": 50}


def test_too_few_normals_are_all_taken():
    sample = draw_sample(table(patches("a", "train", 50, 4), patches("b", "train", 0, 6)), params.Sample(), 7)
    assert counts(sample, records.NORMAL) == {"a": 4, "b": 6}
    assert counts(sample, records.TUMOR) == {"a": 50}


def test_ignored_patches_are_dropped_everywhere_and_rows_stay_as_they_were():
    sample = draw_sample(INDEX, params.Sample(), 7)
    assert records.IGNORE not in set(sample["label"])
    merged = sample.merge(INDEX, how="left", indicator=True)  # on every column
    assert set(merged["_merge"]) == {"both"}
    assert sample.equals(sample.sort_values(KEY, ignore_index=True))


@pytest.mark.parametrize(("tumour", "normal"), [(0, 8), (8, 0)])
def test_a_split_of_one_class_is_left_for_validation_to_refuse(tumour: int, normal: int):
    sample = draw_sample(table(patches("a", "train", tumour, normal)), params.Sample(max_normal_per_slide=5), 7)
    assert len(sample) == (5 if normal else 8)


def test_an_empty_index_gives_an_empty_sample():
    assert draw_sample(records.frame(records.INDEX, []), params.Sample(), 7).empty


def test_the_order_of_the_index_does_not_matter_and_the_seed_does():
    shuffled = INDEX.sample(frac=1.0, random_state=3)
    assert draw_sample(INDEX, params.Sample(), 7).equals(draw_sample(shuffled, params.Sample(), 7))
    assert not draw_sample(INDEX, params.Sample(), 7).equals(draw_sample(INDEX, params.Sample(), 8))


def test_another_slide_does_not_reshuffle_the_others():
    """A slide that now gives fewer gives a part of what it gave; one that gives more keeps what it gave."""
    before = draw_sample(INDEX, params.Sample(), 7)
    more = pd.concat([INDEX, table(patches("d", "train", 0, 100))])
    after = draw_sample(more, params.Sample(), 7)
    for slide in "abc":
        one, two = (set(frame.loc[frame["slide_id"] == slide, "x0"]) for frame in (before, after))
        assert two <= one or one <= two
    assert counts(after, records.NORMAL)["a"] < counts(before, records.NORMAL)["a"]


def test_choice_is_spread_over_the_slide_not_its_first_rows():
    sample = draw_sample(table(patches("a", "train", 20, 1000)), params.Sample(), 7)
    places = sample.loc[sample["label"] == records.NORMAL, "x0"]
    assert places.max() - places.min() > 5000  # the 20 lie in a row of 10,000 px; the first 20 would span 200


@given(
    st.dictionaries(st.text("abcdefgh", min_size=1, max_size=3), st.integers(0, 50), max_size=8), st.integers(0, 300)
)
def test_spread_gives_what_is_asked_as_evenly_as_can_be(offered: dict[str, int], target: int):
    given_ = spread(offered, target, 1)
    assert given_.keys() == offered.keys()
    assert sum(given_.values()) == min(target, sum(offered.values()))
    assert all(given_[slide] <= offered[slide] for slide in offered)
    # even: whoever could give more gives at most one less than anybody
    highest = max(given_.values(), default=0)
    assert all(given_[slide] >= highest - 1 for slide in offered if given_[slide] < offered[slide])


def test_the_recipe_offers_the_schemes_there_are():
    assert set(get_args(params.Sample.model_fields["scheme"].annotation)) == set(SCHEMES)


CELLS = params.Sample(scheme="cells")
NODES = table(
    patches("a", "train", 30, 100, 5),
    patches("b", "train", 10, 3, 5),
    patches("e", "train", 1, 0),
    patches("c", "train", 0, 100, 5),
    patches("d", "train", 0, 4),
    patches("v", "val", 9, 2),
    patches("w", "val", 0, 50),
    patches("t", "test", 4, 50, 6),
)


def test_cells_worked_by_hand():
    """A third of each tumour slide's tumour cells, half as many normal ones of its own, normal slides for the rest."""
    sample = draw_sample(NODES, CELLS, 7)
    assert counts(sample, records.TUMOR) == {"a": 10, "b": 3, "e": 1, "v": 3, "t": 4}
    normal = counts(sample, records.NORMAL)
    # train: 14 tumour want 14 normal: own are 5 of a, 2 of b (1.5 rounded up), none of e; c and d share 7
    assert (normal["a"], normal["b"]) == (5, 2)
    assert sorted([normal["c"], normal["d"]]) == [3, 4]
    # val: 3 want 3: 2 of v, and w the one that is missing; the test split is not drawn from
    assert (normal["v"], normal["w"], normal["t"]) == (2, 1, 50)
    assert "e" not in normal


def test_caps_shares_and_ratios_of_cells_worked_by_hand():
    settings = params.Sample(
        scheme="cells",
        tumor_share=0.5,
        own_normal_per_tumor=1.0,
        normal_per_tumor=2.0,
        max_tumor_per_slide=8,
        max_normal_per_slide=6,
    )
    sample = draw_sample(NODES, settings, 7)
    # half of 30 is 15, capped at 8; half of 10 is 5; half of 1 is rounded up
    assert counts(sample, records.TUMOR) == {"a": 8, "b": 5, "e": 1, "v": 5, "t": 4}
    # own: a 8 capped at 6, b all of its 3; 28 wanted, so that c (capped at 6) and d give all they may
    assert counts(sample, records.NORMAL) == {"a": 6, "b": 3, "c": 6, "d": 4, "v": 2, "w": 6, "t": 50}


def test_own_cells_beyond_the_balance_take_none_of_normal_slides():
    settings = params.Sample(scheme="cells", own_normal_per_tumor=3.0, tumor_share=0.1)
    sample = draw_sample(table(patches("a", "train", 20, 50), patches("c", "train", 0, 50)), settings, 7)
    assert counts(sample, records.TUMOR) == {"a": 2}
    assert counts(sample, records.NORMAL) == {"a": 6}


def test_cells_without_any_tumour_are_left_for_validation_to_refuse():
    assert (
        len(draw_sample(table(patches("c", "train", 0, 8)), CELLS.model_copy(update={"max_normal_per_slide": 5}), 7))
        == 5
    )
    assert len(draw_sample(table(patches("a", "train", 9, 0)), CELLS, 7)) == 3
    assert draw_sample(records.frame(records.INDEX, []), CELLS, 7).empty


def test_a_larger_share_of_cells_adds_to_a_smaller_one_and_the_order_does_not_matter():
    third = draw_sample(NODES, CELLS, 7)
    assert third.equals(draw_sample(NODES.sample(frac=1.0, random_state=3), CELLS, 7))
    assert not third.equals(draw_sample(NODES, CELLS, 8))
    half = draw_sample(NODES, CELLS.model_copy(update={"tumor_share": 0.5}), 7)
    for slide in "ab":
        one, two = (
            set(frame.loc[(frame["slide_id"] == slide) & (frame["label"] == records.TUMOR), "x0"])
            for frame in (third, half)
        )
        assert one < two


def test_statistics_worked_by_hand():
    found = statistics(NODES, draw_sample(NODES, CELLS, 7))
    assert list(found.columns) == [
        "slide_id", "split", "candidates", "tumour", "normal", "ignored", "drawn_tumour", "drawn_normal",
    ]  # fmt: skip
    rows = {row[0]: row[1:] for row in found.itertuples(index=False, name=None)}
    assert list(rows) == ["a", "b", "c", "d", "e", "t", "v", "w"]
    assert rows["a"] == ("train", 135, 30, 100, 5, 10, 5)
    assert rows["b"] == ("train", 18, 10, 3, 5, 3, 2)
    assert rows["e"] == ("train", 1, 1, 0, 0, 1, 0)
    assert rows["t"] == ("test", 60, 4, 50, 6, 4, 50)
    assert (found["tumour"] + found["normal"] + found["ignored"] == found["candidates"]).all()


def test_statistics_are_printed_with_a_sum_per_split():
    text = statistics_text(statistics(NODES, draw_sample(NODES, CELLS, 7)))
    lines = [line.split() for line in text.splitlines()]
    assert lines[0][0] == "slide_id"
    assert ["a", "train", "135", "30", "100", "5", "10", "5"] in lines
    assert ["5", "slides", "train", "263", "41", "207", "15", "14", "14"] in lines
    assert ["1", "slide", "test", "60", "4", "50", "6", "4", "50"] in lines
    assert len(lines) == 1 + 8 + 3
    empty = records.frame(records.INDEX, [])
    assert statistics(empty, empty).empty
    assert statistics_text(statistics(empty, empty)) == "no slides"


def test_splits_that_are_not_balanced_are_capped_per_slide_and_keep_the_mixture() -> None:
    index = table(patches("a", "test", 600, 1400), patches("b", "test", 3, 4))
    capped = draw_sample(index, params.Sample(max_per_slide=500), seed=3)
    assert capped.groupby("slide_id").size().to_dict() == {"a": 500, "b": 7}
    share = capped.loc[capped["slide_id"] == "a", "label"].mean()
    assert abs(share - 0.3) < 0.07  # three standard errors of 500 drawn from 30 %
    more = draw_sample(index, params.Sample(max_per_slide=600), seed=3)
    places = [set(one[["slide_id", "x0", "y0"]].itertuples(index=False, name=None)) for one in (capped, more)]
    assert places[0] < places[1]
