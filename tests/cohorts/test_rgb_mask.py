"""Ingest of rasters beside colour-coded masks: every form, every fault, and the files that come of them."""

import json
import pickle
import re
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from acinus import params, records
from acinus.cohorts import inventory, rgb_mask
from acinus.cohorts.adapter import Order
from acinus.cohorts.manifest import build_manifest
from acinus.errors import AcinusError
from acinus.parallel import map_over
from acinus.slides.open import open_slide

COLOURS = {
    "background": [0, 0, 0],
    "yellow": [255, 255, 0],
    "grey": [150, 150, 150],
    "green": [0, 255, 0],
    "blue": [0, 0, 255],
    "red": [0, 150, 255],
}
HEIGHT, WIDTH = 90, 140
rng = np.random.default_rng(2)
TRUTH = np.kron(rng.integers(0, 6, (9, 14), dtype=np.uint8), np.ones((10, 10), dtype=np.uint8))
RGB = np.array(list(COLOURS.values()), dtype=np.uint8)[TRUTH]
PICTURE = np.broadcast_to(np.arange(WIDTH, dtype=np.uint8)[None, :, None], (HEIGHT, WIDTH, 3)) + np.array(
    [70, 60, 65], dtype=np.uint8
)


class Layout:
    """A cohort folder to fill, and the manifest rows that ingest makes of it."""

    def __init__(self, folder: Path) -> None:
        self.root, self.rasters = folder / "cohort", folder / "rasters"

    def file(self, path: str, pixels: np.ndarray, **options: Any) -> None:
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(target, **options)

    def pair(self, slide_id: str, suffix: str = ".png", mask: np.ndarray = RGB) -> None:
        self.file(f"images/{slide_id}{suffix}", PICTURE)
        self.file(f"masks/{slide_id}.png", mask)

    def text(self, path: str, text: str) -> None:
        self.root.mkdir(parents=True, exist_ok=True)
        (self.root / path).write_text(text, encoding="utf-8")

    def rows(self, workers: int = 1, **settings: Any) -> dict[str, dict[str, Any]]:
        cohort = params.RgbMaskCohort(root=str(self.root), **{"colours": COLOURS, "tolerance": 8} | settings)
        order = Order(
            root=self.root,
            rasters=self.rasters,
            cohort=cohort,
            classes=tuple(COLOURS),
            positive=tuple(COLOURS)[1:],
            files=inventory.fingerprints(inventory.inventory(self.root, None)),
            seed=7,
            map=partial(map_over, workers=workers),
        )
        rows = rgb_mask.ingest(order)
        table = build_manifest(rows, cohort.model_copy(update={"max_bad_fraction": 1.0}))
        return {row["slide_id"]: row for row in records.rows(table)}

    def made(self) -> set[str]:
        return {path.name for path in self.rasters.iterdir()} if self.rasters.exists() else set()


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path)


def test_each_form_is_converted_once_and_told(layout: Layout) -> None:
    for slide_id, suffix in (("a", ".png"), ("b", ".jpg"), ("c", ".tif"), ("d", ".tiff"), ("e", ".jpeg")):
        layout.pair(slide_id, suffix)
    layout.text("images/notes.txt", "not a raster")
    rows = layout.rows()
    assert sorted(rows) == ["a", "b", "c", "d", "e"]
    files = inventory.fingerprints(inventory.inventory(layout.root, None))
    one = rows["b"]
    assert (one["image"], one["label_source"], one["label_kind"]) == ("images/b.jpg", "masks/b.png", "mask")
    assert one["fingerprint"].startswith(files["images/b.jpg"])
    assert one["label_fingerprint"].startswith(files["masks/b.png"])
    for slide_id, row in rows.items():
        assert (row["status"], row["reason"], row["derived"], row["slide_label"]) == ("ok", "", True, None)
        assert (row["width"], row["height"], row["exhaustive"], row["split_rule"]) == (WIDTH, HEIGHT, True, "drawn")
        assert row["mpp_x"] is row["mpp_source"] is None
        np.testing.assert_array_equal(tifffile.imread(layout.rasters / f"{slide_id}_mask.tif"), TRUTH)
        with open_slide(layout.rasters / f"{slide_id}.tif", slide_id) as slide:
            assert (slide.width, slide.height) == (WIDTH, HEIGHT)
            assert np.abs(slide.overview(WIDTH, HEIGHT).astype(int) - PICTURE).mean() < 2
    assert layout.made() == {f"{one}{end}" for one in "abcde" for end in (".tif", "_mask.tif", ".json")}


def test_the_account_of_colours(layout: Layout) -> None:
    mask = RGB.copy()
    mask[:10, :10] = (255, 248, 0)
    mask[10:20, :10] = (90, 10, 10)
    layout.pair("a", mask=mask)
    layout.pair("b")
    layout.rows()
    account = json.loads((layout.rasters / "a.json").read_text())
    inner = TRUTH[20:].ravel().tolist() + TRUTH[:20, 10:].ravel().tolist()
    assert account["exact_px"] == {name: inner.count(index) for index, name in enumerate(COLOURS)}
    assert account["near_px"] == dict.fromkeys(COLOURS, 0) | {"yellow": 100}
    assert account["unknown_colours"] == [{"rgb": [90, 10, 10], "px": 100}]
    assert (account["image"], account["mask"], account["ignored_px"]) == ("images/a.png", "masks/a.png", 100)


def test_a_missing_mask_is_legal(layout: Layout) -> None:
    layout.pair("a")
    layout.file("images/b.png", PICTURE)
    row = layout.rows()["b"]
    assert (row["status"], row["label_kind"], row["label_source"], row["label_fingerprint"]) == (
        "ok",
        "unknown",
        None,
        None,
    )
    assert layout.made() == {"a.tif", "a_mask.tif", "a.json", "b.tif"}


FAULTS = {
    "another size": (
        lambda layout: layout.file("masks/x.png", RGB[:, :-1]),
        r"masks/x\.png: the mask has 139 x 90 px, its image 140 x 90",
    ),
    "JPEG mask": (
        lambda layout: layout.file("masks/x.jpg", RGB),
        r"x\.jpg: a JPEG is no mask",
    ),
    "other colours": (
        lambda layout: layout.file("masks/x.png", np.full_like(RGB, 77)),
        r"masks/x\.png: no px has a colour of cohort\.colours; its most frequent is \[77, 77, 77\]",
    ),
    "transparent": (
        lambda layout: layout.file("masks/x.png", np.zeros((HEIGHT, WIDTH, 4), np.uint8)),
        "is transparent",
    ),
    "damaged image": (
        lambda layout: (layout.file("masks/x.png", RGB), layout.text("images/x.png", "<svg/>")),
        r"x\.png: begins with 3c73",
    ),
    "too large": (
        lambda layout: layout.file("images/x.png", np.zeros((200, 300, 3), np.uint8)),
        r"images/x\.png: 300 x 200 = 60000 px, more than cohort\.max_pixels = 50000",
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_what_cannot_be_used_is_a_row_with_its_reason(fault: str, layout: Layout) -> None:
    spoil, reason = FAULTS[fault]
    layout.pair("a")
    layout.file("images/x.png", PICTURE)
    spoil(layout)
    rows = layout.rows(max_pixels=50_000)
    assert rows["a"]["status"] == "ok"
    assert rows["x"]["status"] == "bad"
    assert re.search(reason, rows["x"]["reason"])
    assert str(layout.root.parent) not in rows["x"]["reason"]
    assert layout.made() == {"a.tif", "a_mask.tif", "a.json"}


INDEX = TRUTH % 3  # the classes' numbers instead of their colours: all near black, the colour of background
BLENDED = RGB.copy()
BLENDED[:20] = np.minimum(RGB[:20].astype(int) + 5, 255)  # two rows of nine are near
FINDINGS = {
    "sound": (RGB, {}, ""),
    "index mask": (INDEX, {}, "near_colours;one_class_mask"),
    "index mask with little drawn": (INDEX * (np.arange(HEIGHT)[:, None] < 5), {}, "one_class_mask"),
    "background only": (np.zeros_like(RGB), {}, "one_class_mask"),
    "no tolerance": (INDEX, {"tolerance": 0}, "one_class_mask"),
    "blended": (BLENDED, {}, "near_colours"),
    "blended, and meant": (BLENDED, {"max_near_fraction": 0.25}, ""),
}


@pytest.mark.parametrize("case", FINDINGS)
def test_masks_whose_colours_cannot_be_meant_are_findings(case: str, layout: Layout) -> None:
    mask, settings, findings = FINDINGS[case]
    layout.pair("a")
    layout.pair("x", mask=mask)
    rows = layout.rows(**settings)
    assert (rows["a"]["status"], rows["a"]["findings"], rows["x"]["status"]) == ("ok", "", "ok")
    assert rows["x"]["findings"] == findings


def test_grey_and_dark_rasters_are_refused(layout: Layout) -> None:
    layout.pair("a")
    for slide_id, picture in (("grey", PICTURE[..., 0]), ("dark", np.minimum(PICTURE, 20))):
        layout.file(f"images/{slide_id}.png", picture)
        layout.file(f"masks/{slide_id}.png", RGB)
    rows = layout.rows()
    assert "the picture is grey" in rows["grey"]["reason"]
    assert "no brightfield picture" in rows["dark"]["reason"]
    assert layout.made() == {"a.tif", "a_mask.tif", "a.json"}


LONG = r"images/a{201}\.png: too long as slide ids; rename the files to at most 200 characters before the suffix$"


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            lambda layout: layout.file("images/a.tif", PICTURE),
            r"two images with the id a: images/a\.png and images/a\.",
        ),
        (lambda layout: layout.file("more/images/A.png", PICTURE), "two images with the id"),
        (lambda layout: layout.file("masks/a.tif", RGB), "two masks with the id a"),
        (lambda layout: layout.file("masks/z.png", RGB), r"masks/z\.png: mask without an image"),
        (lambda layout: layout.file("images/a b.png", PICTURE), r"images/a b\.png: not safe as slide ids"),
        (lambda layout: layout.file(f"images/{'a' * 201}.png", PICTURE), LONG),
        (lambda layout: layout.text("splits.csv", "slide_id,split,patient\nq,test,q\n"), "no slide of this cohort"),
    ],
)
def test_what_no_single_raster_is_to_blame_for_is_raised(spoil: Any, message: str, layout: Layout) -> None:
    layout.pair("a")
    spoil(layout)
    with pytest.raises(AcinusError, match=message):
        layout.rows()


def test_splits_groups_and_exclusions(layout: Layout) -> None:
    for slide_id in "abcdefgh":
        layout.pair(slide_id)
    layout.text("splits.csv", "slide_id,split,patient,provider\na,test,p1,north\nb,val,p2,\n")
    layout.text("groups.csv", "slide_id,patient\nc,p3\nd,p3\n")
    rows = layout.rows(exclude={"H": "pen marks"})
    facts = {one: (row["split"], row["split_rule"], row["patient"], row["provider"]) for one, row in rows.items()}
    assert facts["a"] == ("test", "splits.csv", "p1", "north")
    assert facts["b"] == ("val", "splits.csv", "p2", "unknown")
    assert facts["c"][2] == facts["d"][2] == "p3"
    assert facts["c"][0] == facts["d"][0]
    drawn = [facts[one][0] for one in "cdefg"]
    assert set(drawn) == {"train", "val"}
    assert {facts[one][1] for one in "cdefgh"} == {"drawn"}
    assert (rows["h"]["status"], rows["h"]["reason"], rows["h"]["derived"]) == ("excluded", "pen marks", False)
    assert not any(name.startswith("h") for name in layout.made())


def test_mpp_comes_from_tags_or_the_override(layout: Layout) -> None:
    layout.pair("a")
    layout.file("images/b.png", PICTURE, dpi=(50800, 50800))
    layout.file("images/c.png", PICTURE, dpi=(72, 72))
    mpp = {one: (row["mpp_x"], row["mpp_source"]) for one, row in layout.rows().items()}
    assert mpp == {"a": (None, None), "b": (pytest.approx(0.5, rel=1e-4), "tag"), "c": (None, None)}
    mpp = {one: (row["mpp_x"], row["mpp_source"]) for one, row in layout.rows(mpp=0.25).items()}
    assert mpp == {"a": (0.25, "override"), "b": (pytest.approx(0.5, rel=1e-4), "tag"), "c": (0.25, "override")}


def test_workers_make_the_same_rows_and_bytes(layout: Layout, tmp_path: Path) -> None:
    for slide_id in "abc":
        layout.pair(slide_id)
    alone = layout.rows()
    layout.rasters, first = tmp_path / "again", layout.rasters
    assert layout.rows(workers=2) == alone
    for path in first.iterdir():
        assert path.read_bytes() == (layout.rasters / path.name).read_bytes(), path.name


def test_what_travels_to_workers_can_be_pickled() -> None:
    assert pickle.loads(pickle.dumps(rgb_mask.examine)) is rgb_mask.examine


def test_fingerprints_tell_what_was_made_not_only_of_what(layout: Layout) -> None:
    """A store remembers what its pixels and masks were made from by them: settings that change either must show."""
    layout.pair("a")
    seen = {}
    for name, settings in {
        "as it is": {},
        "again": {},
        "quality": {"pyramid_quality": 30},
        "tolerance": {"tolerance": 0},
        "colours": {"colours": COLOURS | {"red": [1, 150, 255]}},
    }.items():
        row = layout.rows(**settings)["a"]
        seen[name] = (row["fingerprint"], row["label_fingerprint"])
    assert seen["again"] == seen["as it is"]
    assert seen["quality"][0] != seen["as it is"][0]
    assert seen["quality"][1] == seen["as it is"][1]
    for name in ("tolerance", "colours"):
        assert seen[name][0] == seen["as it is"][0]
        assert seen[name][1] != seen["as it is"][1]
