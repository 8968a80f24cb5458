"""Ingest of small cohorts in PANDA's layout: grades, masks, findings, splits, and what can be wrong."""

import dataclasses
import functools
import pickle
import re
import typing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from acinus import params, records
from acinus.cohorts import inventory, panda
from acinus.cohorts.adapter import Order
from acinus.cohorts.manifest import FINDINGS, build_manifest
from acinus.errors import AcinusError
from acinus.labels.labels import LabelRules
from acinus.slides import brightfield
from acinus.slides.open import open_slide

WIDTH, HEIGHT = 402, 266
TISSUE = np.random.default_rng(0).integers(60, 200, (HEIGHT, WIDTH, 3), dtype=np.uint8)
VALUES = {
    "karolinska": {0: "normal", 1: "normal", 2: "tumor"},
    "radboud": {0: "normal", 1: "normal", 2: "normal", 3: "tumor", 4: "tumor", 5: "tumor"},
}
HEAD = "image_id,data_provider,isup_grade,gleason_score"
GLEASON = {0: "0+0", 1: "3+3", 2: "3+4", 3: "4+3", 4: "4+4", 5: "5+4"}


class Layout:
    """A cohort folder to fill; add() fills table, image and mask alike."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.table: list[str] = []
        for folder in ("train_images", "train_label_masks"):
            (root / folder).mkdir(parents=True)

    def add(self, name: str, provider: str, isup: int, value: int | None = None, gleason: str | None = None) -> None:
        """Add a slide whose mask has the background 0 but for a corner of `value`; no mask where value is None."""
        self.table.append(f"{name},{provider},{isup},{gleason or GLEASON[isup]}")
        self.image(name)
        if value is not None:
            self.mask(name, value)

    def image(self, name: str, pixels: np.ndarray = TISSUE, mpp: float | None = 0.4862) -> Path:
        path = self.root / "train_images" / f"{name}.tiff"
        tags: dict[str, Any] = {} if mpp is None else {"resolution": (1e4 / mpp, 1e4 / mpp), "resolutionunit": 3}
        kind: dict[str, Any] = {"tile": (64, 64), "photometric": "rgb", "compression": "jpeg", "metadata": None}
        with tifffile.TiffWriter(path) as tiff:
            tiff.write(pixels, **kind, **tags)
            tiff.write(pixels[2::4, 2::4], subfiletype=1, **kind)  # 100 x 66: downsample 4.02, not 4
        return path

    def mask(self, name: str, value: int, size: tuple[int, int] = (HEIGHT, WIDTH)) -> None:
        red = np.zeros((*size, 3), dtype=np.uint8)
        red[10:60, 20:120, 0] = value
        path = self.root / "train_label_masks" / f"{name}_mask.tiff"
        tifffile.imwrite(path, red, tile=(64, 64), photometric="rgb", compression="deflate", metadata=None)

    def text(self, path: str, text: str) -> None:
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        (self.root / path).write_text(text, encoding="utf-8")

    def order(self, **settings: Any) -> Order:
        if self.table:
            self.text("train.csv", "\n".join([HEAD, *self.table]) + "\n")
        return Order(
            root=self.root,
            rasters=self.root.parent / "rasters",
            cohort=params.PandaCohort(root=str(self.root), **{"mask_values": VALUES, **settings}),
            classes=("normal", "tumor"),
            positive=("tumor",),
            files=inventory.fingerprints(inventory.inventory(self.root, None)),
            seed=7,
            map=map,
        )

    def rows(self, **settings: Any) -> dict[str, dict[str, Any]]:
        return {row["slide_id"]: row for row in panda.ingest(self.order(**settings))}


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path / "cohort")


def mixed(layout: Layout) -> Layout:
    """Both providers, cancer and none, one slide without a mask."""
    layout.add("k0", "karolinska", 0, 1, "0+0")
    layout.add("k4", "karolinska", 4, 2)
    layout.add("r0", "radboud", 0, 2, "negative")
    layout.add("r5", "radboud", 5, 5)
    layout.add("r1", "radboud", 1)
    return layout


def test_the_published_layout(layout: Layout) -> None:
    rows = mixed(layout).rows()
    columns = ("provider", "isup", "gleason", "slide_label", "label_kind", "status", "findings")
    assert {one: tuple(row[column] for column in columns) for one, row in rows.items()} == {
        "k0": ("karolinska", 0, "0+0", "normal", "mask", "ok", ""),
        "k4": ("karolinska", 4, "4+4", "tumor", "mask", "ok", ""),
        "r0": ("radboud", 0, "negative", "normal", "mask", "ok", ""),
        "r5": ("radboud", 5, "5+4", "tumor", "mask", "ok", ""),
        "r1": ("radboud", 1, "3+3", "tumor", "unknown", "ok", "mask_missing"),
    }
    one = rows["k4"]
    assert (one["image"], one["label_source"]) == ("train_images/k4.tiff", "train_label_masks/k4_mask.tiff")
    assert (one["width"], one["height"], one["mpp_source"], one["split_rule"]) == (WIDTH, HEIGHT, "tag", "drawn")
    assert (one["mpp_x"], one["mpp_y"]) == pytest.approx((0.4862, 0.4862), rel=1e-6)
    assert rows["r1"]["label_source"] is rows["r1"]["label_fingerprint"] is None


def test_the_manifest_is_the_contracts_table_and_the_same_twice(layout: Layout, tmp_path: Path) -> None:
    mixed(layout)
    for name in ("a", "b"):
        table = build_manifest(list(layout.rows().values()), params.Cohort(root="r"))
        records.write(records.MANIFEST, table, tmp_path / f"{name}.parquet")
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()


def test_examine_travels_to_other_processes(layout: Layout) -> None:
    order = mixed(layout).order()
    rules = LabelRules.of(order.classes, order.cohort)
    job = functools.partial(
        panda.examine, root=layout.root, cohort=order.cohort, rules=rules, positive=order.positive, seed=7
    )
    found = panda.discover(order)
    again, first = pickle.loads(pickle.dumps((job, found[0])))
    assert again(first) == job(found[0])


@pytest.mark.parametrize(
    ("provider", "isup", "value", "gleason", "findings"),
    [
        ("karolinska", 3, 2, "4+3", ""),
        ("radboud", 2, 3, "4+3", "gleason_isup_mismatch"),
        ("radboud", 0, 3, "negative", "cancer_without_isup"),
        ("radboud", 3, 2, None, "isup_without_cancer"),  # 2 is cancer at Karolinska, benign here
        ("karolinska", 3, 1, None, "isup_without_cancer"),
        ("karolinska", 0, 2, None, "cancer_without_isup"),
        ("karolinska", 0, 0, None, "blank_mask"),
        ("radboud", 4, 0, None, "blank_mask;isup_without_cancer"),
        ("radboud", 1, 0, "3+4", "blank_mask;gleason_isup_mismatch;isup_without_cancer"),
        ("radboud", 0, 1, None, ""),  # stroma is of one class with the background, but not blank
        ("karolinska", 2, None, "5+5", "gleason_isup_mismatch;mask_missing"),
        ("radboud", 0, None, None, "mask_missing"),
    ],
)
def test_findings(layout: Layout, provider: str, isup: int, value: int | None, gleason: str, findings: str) -> None:
    layout.add("a", provider, isup, value, gleason)
    row = layout.rows()["a"]
    assert (row["status"], row["reason"], row["findings"]) == ("ok", "", findings)
    assert set(findings.split(";")) - {""} <= set(FINDINGS)


def test_blank_masks_are_told_by_value_whatever_the_classes(layout: Layout) -> None:
    """Background to be ignored, stroma a class of its own: 0 is still what says that nothing was drawn."""
    layout.add("blank", "radboud", 0, 0)
    layout.add("stroma", "radboud", 0, 1)
    layout.add("cancer", "radboud", 1, 3)
    values = {0: "ignore", 1: "stroma", 2: "stroma", 3: "tumor", 4: "tumor", 5: "tumor"}
    order = layout.order(mask_values={"radboud": values})
    order = dataclasses.replace(order, classes=("background", "stroma", "tumor"))
    assert {row["slide_id"]: row["findings"] for row in panda.ingest(order)} == {
        "blank": "blank_mask",
        "stroma": "",
        "cancer": "",
    }


@pytest.mark.parametrize(("tissue_rows", "finding"), [(0, "blank_slide"), (1, "blank_slide"), (8, "")])
def test_a_slide_is_blank_from_99_percent_of_near_white(layout: Layout, tissue_rows: int, finding: str) -> None:
    pixels = np.full((HEIGHT, WIDTH, 3), 244, dtype=np.uint8)
    pixels[128 : 128 + tissue_rows] = (200, 120, 180)  # 1 of 266 rows is 0.4 %, 8 are 3 %
    layout.add("a", "radboud", 0, 1)
    layout.image("a", pixels)
    assert layout.rows()["a"]["findings"] == finding


def test_a_mask_that_is_cancer_everywhere_is_a_finding(layout: Layout) -> None:
    layout.add("a", "karolinska", 4, 2)
    path = layout.root / "train_label_masks" / "a_mask.tiff"
    pixels = np.zeros((HEIGHT, WIDTH, 3), dtype=np.uint8)
    pixels[..., 0] = 2
    tifffile.imwrite(path, pixels, tile=(64, 64), photometric="rgb", compression="deflate", metadata=None)
    assert layout.rows()["a"]["findings"] == "one_class_mask"


@pytest.mark.parametrize(
    ("pixels", "reason"),
    [
        (np.repeat(TISSUE[..., :1], 3, axis=2), "the picture is grey"),
        (TISSUE // 8, "no brightfield picture"),
    ],
)
def test_slides_that_are_no_brightfield_are_refused(layout: Layout, pixels: np.ndarray, reason: str) -> None:
    layout.add("a", "radboud", 1, 3)
    layout.image("a", pixels)
    row = layout.rows()["a"]
    assert row["status"] == "bad"
    assert reason in row["reason"]


def test_near_white_counts_the_whole_overview(layout: Layout) -> None:
    pixels = np.full((HEIGHT, WIDTH, 3), 255, dtype=np.uint8)
    pixels[:, : WIDTH // 2] = (250, 250, 210)  # its darkest channel is not near white
    with open_slide(layout.image("a", pixels), "a") as slide:
        assert panda.near_white(brightfield.overview_of(slide)) == pytest.approx(0.5, abs=0.02)


def test_lists_of_doubtful_slides_exclude_or_are_findings(layout: Layout) -> None:
    mixed(layout)
    layout.text("lists/a.csv", "image_id,reason\nk0,pen marks\nelsewhere,blank\n")
    layout.text("lists/b.csv", "image_id\nk0\nr0\n")
    lists = ["lists/a.csv", "lists/b.csv"]
    rows = layout.rows(doubtful=lists, exclude={"k4": "blurred"})
    assert {one: (row["status"], row["reason"]) for one, row in rows.items() if row["status"] != "ok"} == {
        "k0": ("excluded", "doubtful: pen marks, listed in lists/b.csv"),
        "r0": ("excluded", "doubtful: listed in lists/b.csv"),
        "k4": ("excluded", "blurred"),
    }
    rows = layout.rows(doubtful=lists, doubtful_policy="keep")
    assert {row["status"] for row in rows.values()} == {"ok"}
    assert [one for one, row in rows.items() if "doubtful" in row["findings"]] == ["k0", "r0"]
    with pytest.raises(AcinusError, match=r"lists/c\.csv: no such file below cohort\.root; correct cohort\.doubtful"):
        layout.rows(doubtful=["lists/c.csv"])
    with pytest.raises(AcinusError, match="leads out of the cohort"):
        layout.rows(doubtful=["../c.csv"])


def test_excluded_slides_are_not_opened(layout: Layout) -> None:
    mixed(layout)
    (layout.root / "train_images/k0.tiff").write_bytes(b"")
    row = layout.rows(exclude={"K0": ""})["k0"]
    assert (row["status"], row["reason"], row["isup"]) == ("excluded", "listed under cohort.exclude", 0)


def test_a_bad_slide_is_a_row_with_a_reason_and_the_others_go_on(layout: Layout) -> None:
    mixed(layout)
    layout.image("stranger")
    layout.add("empty", "radboud", 1, 3)
    (layout.root / "train_images/empty.tiff").write_bytes(b"")
    layout.add("nompp", "radboud", 1, 3)
    layout.image("nompp", mpp=None)
    layout.add("value", "karolinska", 1, 3)
    layout.add("cropped", "radboud", 1, 3)
    layout.mask("cropped", 3, size=(HEIGHT, WIDTH // 2))
    rows = layout.rows()
    for slide_id, reason in {
        "stranger": r"^slide stranger: train\.csv has no row for it",
        "empty": r"empty\.tiff is empty \(0 bytes\)",
        "nompp": r"no plausible mpp \(.*\); set cohort\.mpp",
        "value": r"slide value: .*value 3 .*cohort\.mask_values\.karolinska has 0 = normal",
        "cropped": r"slide cropped: .*201 x 266 does not lie over the slide of 402 x 266",
    }.items():
        row = rows.pop(slide_id)
        assert row["status"] == "bad"
        assert str(layout.root) not in row["reason"]
        assert "\n" not in row["reason"]
        assert re.search(reason, row["reason"]), row["reason"]
    assert {row["status"] for row in rows.values()} == {"ok"}
    assert layout.rows(mpp=0.5)["nompp"]["mpp_source"] == "override"


def test_a_provider_whose_values_are_not_declared_is_named(layout: Layout) -> None:
    rows = mixed(layout).rows(mask_values={"radboud": VALUES["radboud"]})
    assert rows["r5"]["status"] == rows["r1"]["status"] == "ok"
    assert re.search(r"slide k4: provider 'karolinska' has no mask values", rows["k4"]["reason"])


def test_a_smaller_mask_of_the_same_aspect_serves(layout: Layout) -> None:
    layout.add("a", "radboud", 1)
    layout.mask("a", 3, size=(HEIGHT // 2, WIDTH // 2))
    row = layout.rows()["a"]
    assert (row["status"], row["findings"]) == ("ok", "")


def test_part_of_the_data_set_is_a_cohort_too(layout: Layout) -> None:
    """Rows of train.csv and masks without an image are other slides of the data set."""
    mixed(layout)
    for one in ("k0", "k4"):
        (layout.root / f"train_images/{one}.tiff").unlink()
    layout.text("groups.csv", "slide_id,patient\nk0,p1\nr0,p1\nr5,p1\n")
    rows = layout.rows()
    assert sorted(rows) == ["r0", "r1", "r5"]
    assert rows["r0"]["split"] == rows["r5"]["split"]
    for one in ("r0", "r1", "r5"):
        (layout.root / f"train_images/{one}.tiff").unlink()
    with pytest.raises(
        AcinusError, match=r"none of its 5 slides has an image train_images/<image_id>\.tiff \(0 images"
    ):
        layout.rows()


def test_the_draw_keeps_grades_and_providers_alike(layout: Layout) -> None:
    """36 slides as the demonstration has them, 3 of each provider and grade; examined without their pixels."""
    for isup in range(6):
        for number in range(3):
            layout.table += [f"{p[0]}{isup}{number},{p},{isup},{GLEASON[isup]}" for p in VALUES]
    order = layout.order(test_fraction=1 / 3, val_fraction=0.2)
    files = {f"train_images/{line.split(',')[0]}.tiff": "f" for line in layout.table}
    rows = panda.ingest(dataclasses.replace(order, files=order.files | files, map=unopened))
    for isup in range(6):
        here = [row for row in rows if row["isup"] == isup]
        assert sorted(row["split"] for row in here) == ["test"] * 2 + ["train"] * 3 + ["val"]
        assert {row["provider"] for row in here if row["split"] == "test"} == set(VALUES)


def unopened(look: Any, found: Any) -> list[dict[str, Any]]:
    """Give the rows of slides that are not there as if they could be used."""
    return [look(one) | {"status": "ok"} for one in found]


def test_groups_stay_together_and_agree_with_splits(layout: Layout) -> None:
    for number in range(8):
        layout.add(f"s{number}", "radboud", 1 + number % 2, 3)
    layout.text("meta/groups.csv", "slide_id,patient\n" + "".join(f"s{n},p{n // 2}\n" for n in range(8)))
    rows = layout.rows(test_fraction=0.25, val_fraction=0.25)
    for number in range(0, 8, 2):
        first, second = rows[f"s{number}"], rows[f"s{number + 1}"]
        assert first["patient"] == second["patient"] == f"p{number // 2}"
        assert first["split"] == second["split"]
    assert sorted(row["split"] for row in rows.values()) == ["test"] * 2 + ["train"] * 4 + ["val"] * 2
    layout.text("splits.csv", "slide_id,split,patient,provider\ns0,test,p0,radboud\ns1,test,p0,karolinska\n")
    rows = layout.rows()
    assert (rows["s0"]["split"], rows["s0"]["split_rule"]) == ("test", "splits.csv")
    assert "provider karolinska in splits.csv and radboud in train.csv" in rows["s1"]["reason"]
    layout.text("splits.csv", "slide_id,split,patient\ns0,test,other\n")
    with pytest.raises(AcinusError, match=r"s0: patient other in splits\.csv and p0 in groups\.csv"):
        layout.rows()


def test_cohorts_that_do_not_go_together_are_refused(layout: Layout) -> None:
    with pytest.raises(AcinusError, match=r"no train\.csv below this folder; set cohort\.root"):
        layout.rows()
    mixed(layout)
    layout.mask("k9", 2)
    with pytest.raises(AcinusError, match=r"train_label_masks/k9_mask\.tiff: mask of no slide of train\.csv"):
        layout.rows()
    (layout.root / "train_label_masks/k9_mask.tiff").unlink()
    layout.image("odd name")
    with pytest.raises(AcinusError, match=r"train_images/odd name\.tiff: not safe as slide ids"):
        layout.rows()
    (layout.root / "train_images/odd name.tiff").rename(layout.root / f"train_images/{'k' * 201}.tiff")
    with pytest.raises(
        AcinusError, match=r"train_images/k{201}\.tiff: too long as slide ids; .* at most 200 characters"
    ):
        layout.rows()
    (layout.root / f"train_images/{'k' * 201}.tiff").rename(layout.root / "train_images/K4.tiff")
    with pytest.raises(AcinusError, match=r"two files with the id k4: train_images/K4\.tiff and train_images/k4\.tiff"):
        layout.rows()
    (layout.root / "train_images/K4.tiff").unlink()
    layout.table.append("k10,stanford,0,0+0")
    with pytest.raises(AcinusError, match=r"^train\.csv: row 7: image_id k10: data_provider 'stanford'"):
        layout.rows()
    layout.text("old/train.csv", "")
    with pytest.raises(AcinusError, match=r"old/train\.csv and train\.csv: two grade tables; keep one"):
        layout.rows()


def test_the_providers_are_those_of_the_recipes() -> None:
    keys = typing.get_args(params.PandaCohort.model_fields["mask_values"].annotation)[0]
    assert set(typing.get_args(keys)) == set(panda.PROVIDERS)


def test_findings_that_a_recipe_may_tolerate_are_those_there_are() -> None:
    from typing import get_args

    from acinus.params.sections import Finding

    assert set(get_args(Finding)) == set(FINDINGS)
