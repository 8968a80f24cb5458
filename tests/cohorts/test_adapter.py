"""The shared part of the adapters: rows of the manifest's shape, resolution, failures of single slides."""

import errno
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from acinus import params, records
from acinus.cohorts import adapter
from acinus.cohorts.adapter import Order, new_row
from acinus.errors import AcinusError, SlideError, WriteError
from acinus.files import atomic_path
from acinus.labels.places import Places
from acinus.slides.pyramid import made_fingerprint, slide_file
from acinus.stages import ingest


def order(root: Path, *files: str) -> Order:
    cohort = params.Cohort(root=str(root))
    return Order(root, root / "rasters", cohort, ("normal", "tumor"), ("tumor",), dict.fromkeys(files, "f"), 7, map)


def slide(tag_mpp: tuple[float, float] | None, **properties: str) -> Any:
    return SimpleNamespace(slide_id="s", tag_mpp=tag_mpp, properties=properties)


def test_a_new_row_is_a_row_of_the_manifest() -> None:
    row = new_row("s1", "a/s1.tif", "abc", provider="radboud")
    table = records.frame(records.MANIFEST, [row | {"split": "train"}])
    assert list(table.loc[0, ["slide_id", "patient", "provider", "status", "findings"]]) == [
        *("s1", "s1", "radboud", "ok", "")
    ]
    with pytest.raises(ValueError, match="no column colour"):
        new_row("s1", "a/s1.tif", "abc", colour="red")


def test_resolution_is_the_tag_then_the_override_then_an_error() -> None:
    bare, given = params.Cohort(root="r"), params.Cohort(root="r", mpp=0.5)
    tagged = {"mpp_x": 0.25, "mpp_y": 0.26, "mpp_source": "tag"}
    assert adapter.resolution(slide((0.25, 0.26)), given, needed=True) == tagged
    override = {"mpp_x": 0.5, "mpp_y": 0.5, "mpp_source": "override"}
    assert adapter.resolution(slide(None), given, needed=False) == override
    nulls = {"mpp_x": None, "mpp_y": None, "mpp_source": None}
    assert adapter.resolution(slide(None), bare, needed=False) == nulls
    with pytest.raises(SlideError, match=r"slide s: no plausible mpp \(the tag says 1000; .*set cohort\.mpp"):
        adapter.resolution(slide(None, **{"openslide.mpp-x": "1000"}), bare, needed=True)


def test_a_failure_keeps_what_was_known_and_names_no_folder(tmp_path: Path) -> None:
    row = new_row("s", "x/s.tif", "f")
    with adapter.judged(row, tmp_path):
        row |= {"width": 7}
        raise SlideError(f"slide s: {tmp_path}/x/s.tif is odd")
    assert (row["width"], row["status"], row["reason"]) == (7, "bad", "slide s: x/s.tif is odd")
    row = new_row("s", "x/s.tif", "f")
    with adapter.judged(row, tmp_path):
        raise OSError(5, "Input/output error")
    assert row["reason"] == "slide s: x/s.tif cannot be read (Input/output error); check the disk"
    row = new_row("s", "x/s.tif", "f")
    with pytest.raises(WriteError, match="free space"), adapter.judged(row, tmp_path), atomic_path(tmp_path / "made"):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert row["status"] == "ok", "a full disk says nothing of the slide"
    with pytest.raises(KeyError), adapter.judged(new_row("s", "x", "f"), tmp_path):
        raise KeyError("a mistake of ours is not the slide's")


def test_bad_slides_take_no_part_in_the_draw_but_follow_their_patient() -> None:
    rows = [new_row(f"s{n}", "x", "f", patient=f"p{n // 2}") for n in range(8)]
    for n in (1, 3, 5, 7):
        rows[n]["status"] = "bad"
    cohort = params.Cohort(root="r", test_fraction=0.25, val_fraction=0.25)
    drawn = adapter.with_splits(rows, cohort, 3, lambda row: "all")
    splits = [row["split"] for row in drawn]
    assert splits[::2] == splits[1::2]
    assert sorted(splits[::2]) == ["test", "train", "train", "val"]
    assert all(row["split"] is None for row in rows)
    alone = adapter.with_splits(rows, cohort.model_copy(update={"split_by": "slide"}), 3, lambda row: "all")
    assert {row["split"] for row in alone[1::2]} == {"train"}


def test_an_official_split_may_share_patients_where_the_recipe_says_why() -> None:
    decided = {"a": ("p", "train"), "b": ("p", "test"), "c": ("q", "val"), "d": ("r", None), "e": ("r", None)}
    rows = [new_row(one, "x", "f", patient=patient, split=split) for one, (patient, split) in decided.items()]
    strict = params.Cohort(root="r", test_fraction=0.0, val_fraction=0.5)
    with pytest.raises(
        AcinusError, match=r"^patient p: slide a is in train, slide b in test; .*allow_shared_patients$"
    ):
        adapter.with_splits(rows, strict, 3, lambda row: "all")
    shared = strict.model_copy(update={"allow_shared_patients": "the challenge's own split"})
    drawn = {row["slide_id"]: row["split"] for row in adapter.with_splits(rows, shared, 3, lambda row: "all")}
    assert [drawn[one] for one in "abc"] == ["train", "test", "val"]
    assert drawn["d"] == drawn["e"]  # what is drawn is drawn by patient all the same
    rows.append(new_row("f", "x", "f", patient="p"))  # one slide of p is left to be drawn: where would it go?
    with pytest.raises(AcinusError, match=r"^patient p: in test and train, but slide f is in no split yet; list it"):
        adapter.with_splits(rows, shared, 3, lambda row: "all")


def test_every_family_says_which_tables_it_reads() -> None:
    for family in params.RECIPES:
        assert {name.lower() for name in ingest.FAMILIES[family].TABLES} == set(ingest.FAMILIES[family].TABLES)
    files = ["a/Splits.csv", "old_splits.csv", "x.xlsx", "notes.txt", "lists/doubtful.csv"]
    assert adapter.unread_tables(files, {"splits.csv", "lists/doubtful.csv"}) == ["old_splits.csv", "x.xlsx"]


def test_groups_and_splits_lie_anywhere_once(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "Groups.csv").write_text("slide_id,patient\ns1,p\n")
    (tmp_path / "splits.csv").write_text("slide_id,split,patient\ns1,val,p\n")
    both = order(tmp_path, "a/Groups.csv", "splits.csv", "x.tif")
    listed, patients = adapter.user_tables(both, {"s1"})
    assert patients == {"s1": "p"}
    assert listed["s1"].split == "val"
    assert adapter.user_tables(order(tmp_path), {"s1"}) == ({}, {})
    with pytest.raises(AcinusError, match=r"^a/groups\.csv and groups\.csv: two group files; keep one$"):
        adapter.user_tables(order(tmp_path, "groups.csv", "a/groups.csv"), {"s1"})
    with pytest.raises(AcinusError, match=r"^a/Groups\.csv: row 2: slide_id 's1' is no slide"):
        adapter.user_tables(order(tmp_path, "a/Groups.csv"), {"s2"})


def test_a_large_picture_without_levels_is_opened_by_way_of_a_pyramid(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its fingerprint changes with what is made of it; its outlines stay where they are."""
    picture = np.random.default_rng(0).integers(0, 255, (600, 700, 3), dtype=np.uint8)
    Image.fromarray(picture).save(tmp_path / "s.png")
    cohort, rasters = params.Cohort(root=str(tmp_path)), tmp_path / "rasters"
    places = Places(tmp_path, rasters)
    for limit, made in ((600 * 700, False), (600 * 700 - 1, True)):
        monkeypatch.setattr("acinus.cohorts.adapter.slide_file", partial(slide_file, flat_px=limit))
        row = new_row("s", "s.png", "print", label_source="s.xml", label_kind="asap_xml")
        with adapter.opened(row, tmp_path, cohort, 7, rasters) as slide:
            assert len(slide.level_dimensions) == (2 if made else 1)
            np.testing.assert_array_equal(slide.region((0, 0), 0, (700, 600)), picture)
        assert (row["width"], row["height"], row["derived"]) == (700, 600, made)
        assert row["fingerprint"] == (made_fingerprint("print") if made else "print")
        assert places.image(row) == (rasters / "s.tif" if made else tmp_path / "s.png")
        assert places.label(row) == tmp_path / "s.xml"
