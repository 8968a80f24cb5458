"""Slides of one's own: ingest of miniature folders, and every way in which real ones are broken."""

import json
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import shapely
import tifffile
from PIL import Image

from acinus import params, records
from acinus.cohorts import inventory, slides
from acinus.cohorts.adapter import Order
from acinus.cohorts.manifest import build_manifest
from acinus.errors import AcinusError, SlideError
from acinus.files import read_json
from acinus.labels.labels import LabelRow, LabelRules, open_labels
from acinus.labels.places import Places
from acinus.metrics.per_slide import with_labels, write_csv
from acinus.parallel import map_over
from acinus.patches.index import LabelRule
from acinus.patches.sample import drawn_rows
from acinus.paths import SLIDE_LABELS
from acinus.scoring.confusion import IGNORE
from acinus.stages.index import Job, _refuse_unscaled, index_one
from tests.slides.written_zarr import as_zarr2

CLASSES = ("background", "gland", "tumor")
DRAWN: dict[str, Any] = {"classes": {"Gland": "gland", "Tumor": "tumor", "Fold": "ignore"}, "outside": "background"}
WIDTH, HEIGHT = 128, 96


def feature(shape: Any, name: str | None, **more: Any) -> dict[str, Any]:
    named = {"classification": {"name": name, "color": [200, 0, 0]}} if name else {}
    return {
        "type": "Feature",
        "geometry": json.loads(shapely.to_geojson(shape)),
        "properties": {"objectType": "annotation", **named, **more},
    }


class Folder:
    """A folder of slides to fill, and the manifest rows that ingest makes of it."""

    def __init__(self, folder: Path) -> None:
        self.root, self.rasters = folder / "cohort", folder / "rasters"
        self.said: list[str] = []
        self.classes: tuple[str, ...] = CLASSES
        self.rasters.mkdir()

    def path(self, path: str) -> Path:
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        return target

    def slide(self, path: str, mpp: float | None = 0.5) -> None:
        seed = sum(map(ord, path))
        pixels = np.random.default_rng(seed).integers(120, 250, (HEIGHT, WIDTH, 3), dtype=np.uint8)
        if path.lower().endswith((".png", ".jpg")):
            Image.fromarray(pixels).save(self.path(path))
            return
        resolution = {} if mpp is None else {"resolution": (1e4 / mpp, 1e4 / mpp), "resolutionunit": "CENTIMETER"}
        tifffile.imwrite(self.path(path), pixels, tile=(64, 64), photometric="rgb", **resolution)

    def outlines(self, path: str, *features: dict[str, Any]) -> None:
        self.path(path).write_text(json.dumps({"type": "FeatureCollection", "features": list(features)}))

    def text(self, path: str, text: str) -> None:
        self.path(path).write_text(text, encoding="utf-8")

    def rows(self, workers: int = 1, **settings: Any) -> dict[str, dict[str, Any]]:
        self.cohort = params.SlidesCohort.model_validate({"root": str(self.root), "annotations": DRAWN} | settings)
        files = inventory.fingerprints(inventory.inventory(self.root, None))
        self.said.clear()
        order = Order(
            *(self.root, self.rasters, self.cohort, self.classes, self.classes[1:], files, 7),
            map=partial(map_over, workers=workers),
            say=self.said.append,
        )
        table = build_manifest(slides.ingest(order), self.cohort.model_copy(update={"max_bad_fraction": 1.0}))
        return {row["slide_id"]: row for row in records.rows(table)}

    def labels(self, row: dict[str, Any]) -> Any:
        path = Places(self.root, self.rasters).label(row)
        return open_labels(LabelRow.of(row, path), LabelRules.of(CLASSES, self.cohort))


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def shares(of: Any, x0: float, y0: float, edge0: float) -> list[float]:
    return of.fractions(np.array([x0]), np.array([y0]), edge0)[:, 0].tolist()


def test_a_folder_as_people_have_it(folder: Folder) -> None:
    folder.slide("batch 1/Präparat 1 (HE).tif")
    folder.outlines("batch 1/Präparat 1 (HE).geojson", feature(shapely.box(0, 0, 32, 32), "Gland"))
    folder.slide("b.SVS", mpp=None)
    folder.slide("c.png")
    folder.outlines("Annotations/c.json", feature(shapely.box(0, 0, 16, 16), "Tumor"))
    folder.slide("e.tif")
    folder.text("notes.txt", "x")
    folder.text(
        "Slides.CSV",
        "Slide;Patient;Split;MPP;Site;Grade;Exclude;Reason\nPraparat;;;;;;;\n".replace("Praparat", "Präparat 1 (HE)")
        + "b;007;test;0,25;north;benign;;\nC.PNG;007;;;north;malign;;\ne;;;;;;x;torn, twice\n",
    )
    label = {"column": "Grade", "values": {"benign": "normal", "malign": "tumor"}}
    rows = folder.rows(label=label, val_fraction=0.5)
    first, b, c, e = (rows[name] for name in ("Praparat_1_HE", "b", "c", "e"))
    assert [row["status"] for row in (first, b, c, e)] == ["ok", "ok", "ok", "excluded"]
    assert (first["image"], first["label_kind"], first["slide_label"]) == (
        *("batch 1/Präparat 1 (HE).tif", "outlines", "tumor"),
    )
    assert (b["mpp_x"], b["mpp_source"], b["label_kind"], b["patient"], b["split"]) == (
        *(0.25, "table", "none", "007", "test"),
    )
    assert (c["mpp_x"], c["split"], c["split_rule"], c["provider"]) == (None, "test", "slides.csv", "north")
    assert e["reason"] == "torn, twice (slides.csv)"
    assert "batch 1/Präparat 1 (HE).tif is slide Praparat_1_HE" in folder.said
    assert "not used: notes.txt: by its name no slide, annotation or table" in folder.said
    assert shares(folder.labels(first), 0, 0, 64) == [0.75, 0.25, 0.0, 0.0]
    assert shares(folder.labels(c), 0, 0, 32) == [0.75, 0.0, 0.25, 0.0]
    assert shares(folder.labels(b), 0, 0, 32) == [1.0, 0.0, 0.0, 0.0]


def test_every_slide_below_the_root_counts_where_there_is_no_table(folder: Folder) -> None:
    for name in ("a", "x/y/b", "TCGA-AA-1234-01Z-00-DX1", "TCGA-AA-1234-01Z-00-DX2"):
        folder.slide(f"{name}.tif")
    folder.outlines("a.geojson", feature(shapely.box(0, 0, 9, 9), "Tumor"))
    rows = folder.rows()
    assert {row["patient"] for row in rows.values()} == {"a", "b", "TCGA-AA-1234"}
    assert rows == folder.rows(workers=2), "the same in other processes"


def test_all_that_a_person_must_decide_is_told_at_once(folder: Folder) -> None:
    for name in ("a", "b", "c c", "c_c", "new"):
        folder.slide(f"{name}.tif")
    folder.outlines("a.geojson", feature(shapely.box(0, 0, 9, 9), "Tumor"))
    folder.outlines("annotations/a.json", feature(shapely.box(0, 0, 9, 9), "Tumor"))
    folder.outlines("annotations/lost.json", feature(shapely.box(0, 0, 9, 9), "Tumor"))
    folder.text("slides.csv", "slide,split,grade\na,hold-out,low\nb,,\nB.tif,,\nz,,\nc c,,\n")
    with pytest.raises(AcinusError) as failure:
        folder.rows(label={"column": "grade", "values": {"high": "tumor"}})
    told = str(failure.value).split(" | ")
    starts = [
        "c c.tif and c_c.tif: all would be slide c_c",
        "a.geojson and annotations/a.json: annotations of one slide, a.tif",
        "slides.csv: row 2: split 'hold-out'",
        "slides.csv: row 4: slide 'B.tif' stands in row 3 too",
        "slides.csv: row 5: slide 'z' is no slide",
        "new.tif: slides.csv has no row for it",
        "annotations/lost.json: an annotation without a slide: no slide has its name",
        "slides.csv: grade is 'low' for 1 slide, which cohort.label.values does not name",
    ]
    assert len(told) == len(starts)
    for line, start in zip(told, starts, strict=True):
        assert line.startswith(start)


def test_a_table_of_more_or_fewer_slides_may_be_allowed(folder: Folder) -> None:
    folder.slide("a.tif")
    folder.slide("b.tif")
    folder.outlines("a.geojson", feature(shapely.box(0, 0, 9, 9), "Tumor"))
    folder.text("all.csv", "slide\na\nelsewhere\n")
    rows = folder.rows(table="all.csv", unlisted="exclude")
    assert (rows["a"]["status"], rows["b"]["reason"]) == ("ok", "all.csv has no row for it")
    assert any(line.startswith("all.csv: row 3: slide 'elsewhere' is no slide") for line in folder.said)
    with pytest.raises(AcinusError, match=r"^none\.csv: no such table below"):
        folder.rows(table="none.csv")


def test_classes_that_the_recipe_does_not_name_are_refused_with_their_counts(folder: Folder) -> None:
    for name in "ab":
        folder.slide(f"{name}.tif")
        folder.outlines(
            f"{name}.geojson",
            *(feature(shapely.box(n, 0, n + 9, 9), "Stroma") for n in range(3)),
            feature(shapely.box(0, 20, 9, 29), None),
            feature(shapely.box(0, 0, 9, 9), "Tumor"),
        )
    with pytest.raises(
        AcinusError, match=re.escape("does not name 'Stroma' (6 outlines), 'unclassified' (2 outlines);")
    ):
        folder.rows()
    rows = folder.rows(annotations=DRAWN | {"unmapped": "ignore"})
    assert [line for line in folder.said if "'Stroma' (6 outlines)" in line]
    assert shares(folder.labels(rows["a"]), 0, 0, 9) == [0.0, 0.0, 1.0, 0.0]
    assert shares(folder.labels(rows["a"]), 0, 20, 9) == [0.0, 0.0, 0.0, 1.0]


def test_annotations_whose_meaning_is_not_said_are_refused(folder: Folder) -> None:
    folder.slide("a.tif")
    folder.outlines("a.geojson", feature(shapely.box(0, 0, 9, 9), "Tumor"))
    folder.slide("b.tif")
    with pytest.raises(
        AcinusError, match=r"1 annotation file beside the slides \(a\.geojson\), but cohort\.annotations"
    ):
        folder.rows(annotations=None)


def test_a_cohort_of_which_nothing_is_known_is_refused(folder: Folder) -> None:
    folder.slide("a.tif")
    with pytest.raises(AcinusError, match="none of 1 slides has an annotation or a label; put annotation files"):
        folder.rows()


def test_what_is_not_used_of_an_annotation_is_named(folder: Folder) -> None:
    folder.slide("a.tif")
    folder.outlines(
        "a.geojson",
        feature(shapely.box(0, 0, 9, 9), "Tumor"),
        feature(shapely.Point(3, 3), "Tumor"),
        feature(shapely.box(0, 0, 2, 2), "Cell", objectType="cell"),
    )
    folder.rows()
    assert any(re.match(r"a\.geojson: passed over.*: 1 point", line) for line in folder.said)
    assert any("objects not used: 1 of kind cell" in line for line in folder.said)


@pytest.mark.parametrize(
    ("break_it", "reason"),
    [
        (lambda folder: folder.text("a.geojson", '{"type": "FeatureCollection", "features": ['), "a.geojson"),
        (lambda folder: folder.outlines("a.geojson", feature(shapely.box(900, 900, 990, 990), "Tumor")), "outside the"),
        (lambda folder: folder.slide("a.tif", mpp=28.97), "28.97.* um/px, .*in column mpp of slides.csv, or"),
        (lambda folder: folder.path("a.tif").write_bytes(b""), "a.tif is empty"),
    ],
)
def test_a_slide_that_cannot_be_used_is_a_row_with_the_reason(
    folder: Folder, break_it: Callable[[Folder], Any], reason: str
) -> None:
    for name in "ab":
        folder.slide(f"{name}.tif")
        folder.outlines(f"{name}.geojson", feature(shapely.box(0, 0, 9, 9), "Tumor"))
    break_it(folder)
    rows = folder.rows()
    assert (rows["a"]["status"], rows["b"]["status"]) == ("bad", "ok")
    assert re.search(reason, rows["a"]["reason"])
    assert not list(folder.rasters.glob("a*"))


def test_without_um_per_px_a_slide_is_of_use_by_level_whatever_its_format(folder: Folder) -> None:
    folder.slide("a.tif", mpp=None)
    folder.slide("b.tif", mpp=1e4 / 72)
    folder.slide("c.tif")
    folder.slide("d.png")
    folder.outlines("a.geojson", feature(shapely.box(0, 0, 9, 9), "Tumor"))
    rows = folder.rows()
    assert {name: row["mpp_source"] for name, row in rows.items()} == {"a": None, "b": None, "c": "tag", "d": None}
    assert {row["status"] for row in rows.values()} == {"ok"}
    (line,) = [line for line in folder.said if line.startswith("no um/px")]
    assert line.startswith("no um/px: 3 slides (a.tif, b.tif, d.png); give it in column mpp of slides.csv or set")
    index = {"patch_px": 64, "stride_px": 64}
    cohort = params.SlidesCohort(root="x", table="list.csv")
    _refuse_unscaled(list(rows.values()), params.Index(level=0, **index), cohort)
    with pytest.raises(
        AcinusError, match=r"^index\.mpp = 2: 3 of 4 slides have no um/px \(a, b, d\); give it in column mpp of list"
    ):
        _refuse_unscaled(list(rows.values()), params.Index(mpp=2.0, **index), cohort)


def test_columns_of_labels_are_carried_along_and_named_where_unused(folder: Folder) -> None:
    for name in "abc":
        folder.slide(f"{name}.tif")
    folder.text("slides.csv", "slide;Grade;Status\na;03;well\nb;;ill\nc;=1+1;\n")
    label = {"column": "STATUS", "values": {"well": "normal", "ill": "tumor"}}
    rows = folder.rows(annotations=None, label=label)
    assert {name: row["slide_label"] for name, row in rows.items()} == {"a": "normal", "b": "tumor", "c": None}
    assert [line for line in folder.said if "labels" in line] == [
        "slides.csv: labels that nothing is learned from: Grade; they stand in the report's per_slide.csv; "
        "cohort.label may name one column that tells normal slides from tumour"
    ]
    labels = read_json(folder.rasters / SLIDE_LABELS)
    assert labels == {"a": {"Grade": "03", "Status": "well"}, "b": {"Status": "ill"}, "c": {"Grade": "=1+1"}}
    table = with_labels(pd.DataFrame({"slide_id": ["c", "a", "z"]}), labels)
    assert table["label.Grade"].tolist() == ["=1+1", "03", pd.NA]
    write_csv(table, folder.rasters / "t.csv")
    assert "c,'=1+1," in (folder.rasters / "t.csv").read_text()


def test_a_slide_without_a_region_is_found_where_other_slides_may_have_one(folder: Folder) -> None:
    for name in "ab":
        folder.slide(f"{name}.tif")
    gland, region = feature(shapely.box(0, 0, 9, 9), "Gland"), feature(shapely.box(0, 0, 50, 50), "ROI")
    folder.outlines("a.geojson", gland, region)
    folder.outlines("b.geojson", gland)
    classes = DRAWN["classes"] | {"ROI": "region"}
    for outside, expected in (("background", "no_region"), ("ignore", "")):
        rows = folder.rows(annotations={"classes": classes, "outside": outside})
        assert (rows["a"]["findings"], rows["b"]["findings"]) == ("", expected)
    rows = folder.rows(annotations=DRAWN | {"unmapped": "ignore"})
    assert {row["findings"] for row in rows.values()} == {""}, "no class is a region"


def test_an_override_stands_in_for_an_absent_tag_alone(folder: Folder) -> None:
    folder.slide("tagged.tif", mpp=0.25)
    folder.slide("bare.tif", mpp=None)
    folder.slide("default.tif", mpp=1e4 / 72)
    folder.slide("overview.tif", mpp=28.97)
    folder.slide("lies.tif", mpp=0.25)
    folder.outlines("bare.geojson", feature(shapely.box(0, 0, 9, 9), "Tumor"))
    folder.text("slides.csv", "slide,mpp\ntagged,\nbare,\ndefault,\noverview,\nlies,0.5\n")
    rows = folder.rows(mpp=0.46)
    known = {name: (row["mpp_x"] and round(row["mpp_x"], 6), row["mpp_source"]) for name, row in rows.items()}
    assert known == {
        "tagged": (0.25, "tag"),
        "bare": (0.46, "override"),
        "default": (0.46, "override"),
        "overview": (None, None),
        "lies": (0.5, "table"),
    }
    assert rows["overview"]["status"] == "bad"


def test_a_label_of_the_table_that_the_outlines_deny_is_a_bad_slide(folder: Folder) -> None:
    for name in "ab":
        folder.slide(f"{name}.tif")
        folder.outlines(f"{name}.geojson", feature(shapely.box(0, 0, 9, 9), "Tumor"))
    folder.text("slides.csv", "slide,grade\na,benign\nb,malign\n")
    rows = folder.rows(label={"column": "grade", "values": {"benign": "normal", "malign": "tumor"}})
    assert rows["a"]["reason"].startswith("slide a: slides.csv says normal, but a.geojson has something of a positive")
    assert rows["b"]["slide_label"] == "tumor"


def test_an_empty_annotation_says_nothing(folder: Folder) -> None:
    for name in "ab":
        folder.slide(f"{name}.tif")
    folder.outlines("a.geojson")
    folder.outlines("b.geojson", feature(shapely.box(0, 0, 9, 9), "Fold"))
    rows = folder.rows()
    assert (rows["a"]["label_kind"], rows["a"]["findings"]) == ("unknown", "nothing_outlined")
    assert (rows["b"]["label_kind"], rows["b"]["slide_label"], rows["b"]["exhaustive"]) == ("outlines", "normal", True)


def test_outlines_of_positive_classes_alone_do_not_say_what_is_normal(folder: Folder) -> None:
    for name, drawn in (("a", "Tumor"), ("b", "Gland")):
        folder.slide(f"{name}.tif")
        folder.outlines(f"{name}.geojson", feature(shapely.box(0, 0, 9, 9), drawn))
    rules = {"classes": {"Tumor": "tumor", "Gland": "background"}, "outside": "ignore"}
    rows = folder.rows(annotations=rules)
    assert (rows["a"]["exhaustive"], rows["a"]["slide_label"]) == (False, "tumor")
    assert (rows["b"]["exhaustive"], rows["b"]["slide_label"]) == (True, "normal")


TRUTH = np.kron(np.array([[0, 1], [2, 255]], dtype=np.uint8), np.ones((HEIGHT // 2, WIDTH // 2), dtype=np.uint8))
COLOURS = {"background": [255, 255, 255], "gland": [0, 200, 0], "tumor": [200, 0, 0]}


def indexed(target: Path) -> None:
    image = Image.fromarray(TRUTH)
    image.putpalette([value for colour in [*COLOURS.values(), *[[9, 9, 9]] * 253] for value in colour])
    image.save(target)


def coloured(target: Path) -> None:
    table = np.full((256, 3), 17, dtype=np.uint8)
    table[:3] = list(COLOURS.values())
    Image.fromarray(table[TRUTH]).save(target)


VALUES = {0: "background", 1: "gland", 2: "tumor", 255: "ignore"}


@pytest.mark.parametrize(
    ("mask", "write", "settings", "kind"),
    [
        ("masks/a.tif", lambda path: tifffile.imwrite(path, TRUTH), {"mask_values": VALUES}, "mask"),
        ("a_mask.png", lambda path: Image.fromarray(TRUTH).save(path), {"mask_values": VALUES}, "class_mask"),
        ("masks/a.png", indexed, {"mask_values": VALUES}, "class_mask"),
        ("masks/a.png", coloured, {"mask_colours": COLOURS}, "class_mask"),
        ("masks/a_mask.tif", coloured, {"mask_colours": COLOURS}, "class_mask"),
    ],
)
def test_masks_of_every_kind_say_the_same(
    folder: Folder, mask: str, write: Callable[[Path], Any], settings: dict[str, Any], kind: str
) -> None:
    folder.slide("a.tif")
    write(folder.path(mask))
    row = folder.rows(annotations=None, **settings)["a"]
    assert (row["status"], row["reason"], row["label_kind"], row["slide_label"]) == ("ok", "", kind, "tumor")
    expected = np.where(TRUTH == 255, IGNORE, TRUTH)
    np.testing.assert_array_equal(folder.labels(row).raster(WIDTH, HEIGHT, 1.0), expected)


def test_masks_that_cannot_be_used_are_named(folder: Folder) -> None:
    for name in "abc":
        folder.slide(f"{name}.tif")
    coloured(folder.path("masks/a.png"))
    Image.fromarray(TRUTH + 3).save(folder.path("masks/b.png"))
    Image.fromarray(TRUTH).save(folder.path("masks/c.png"))
    with pytest.raises(AcinusError, match=r"3 masks beside the slides .* cohort\.mask_values or cohort\.mask_colours"):
        folder.rows(annotations=None)
    rows = folder.rows(annotations=None, mask_values=VALUES)
    assert "the mask is coloured; say in cohort.mask_colours" in rows["a"]["reason"]
    assert re.search(r"value 3 at mask pixel \(0, 0\) is not declared; .* has 0 = background", rows["b"]["reason"])
    assert rows["c"]["status"] == "ok"


@pytest.mark.parametrize(
    ("mask", "settings", "said"),
    [
        ("masks/a.png", {"mask_values": VALUES}, "the mask of 128 x 40 does not lie over the slide of 128 x 96"),
        ("masks/a.png", {"mask_colours": COLOURS}, "the mask of 128 x 40 does not lie over the slide of 128 x 96"),
        ("masks/a.tif", {"mask_values": VALUES}, "the mask of 128 x 40 does not lie over the slide of 128 x 96"),
        ("masks/a.jpg", {"mask_values": VALUES}, "a JPEG is no mask: it smears values, so that some lie between"),
        ("masks/a.jpg", {"mask_colours": COLOURS}, "a JPEG is no mask: it smears values, so that some lie between"),
    ],
)
def test_a_mask_is_named_as_a_person_knows_it(folder: Folder, mask: str, settings: dict[str, Any], said: str) -> None:
    folder.slide("a.tif")
    folder.slide("b.tif")
    Image.fromarray(TRUTH[:40]).save(folder.path(mask))
    Image.fromarray(TRUTH).save(folder.path("masks/b.png"))
    if "mask_colours" in settings:
        Image.fromarray(np.full((40, 128, 3), 255, dtype=np.uint8)).save(folder.path(mask))
        coloured(folder.path("masks/b.png"))
    reason = folder.rows(annotations=None, **settings)["a"]["reason"]
    assert reason.removeprefix("slide a: ").startswith(f"{mask}: {said}")


def test_the_split_of_a_patient_is_mended_where_it_is_said(folder: Folder) -> None:
    for name in "abc":
        folder.slide(f"{name}.tif")
        folder.outlines(f"{name}.geojson", feature(shapely.box(0, 0, 9, 9), "Tumor"))
    folder.text("slides.csv", "slide,patient,split\na,p,test\nb,p,train\nc,q,train\n")
    with pytest.raises(AcinusError, match=r"list all slides of the patient in column split of slides\.csv with one"):
        folder.rows()
    folder.text("slides.csv", "slide,patient,split\na,p,test\nb,p,train\nc,p,\n")
    with pytest.raises(AcinusError, match=r"in no split yet; list it in column split of slides\.csv"):
        folder.rows(allow_shared_patients="they are")
    folder.path("slides.csv").unlink()
    folder.text("splits.csv", "slide_id,split,patient\na,test,p\n")
    folder.text("groups.csv", "slide_id,patient\nb,p\nc,q\n")
    with pytest.raises(AcinusError, match=r"list all slides of the patient in splits\.csv with one split"):
        folder.rows()


def test_slides_that_nothing_reads_are_rows_that_say_what_does(folder: Folder) -> None:
    folder.slide("a.tif")
    folder.outlines("a.geojson", feature(shapely.box(0, 0, 9, 9), "Tumor"))
    folder.text("scan.vsi", "x")
    folder.text("a.lif", "x")
    rows = folder.rows()
    assert "Olympus VSI is not read; convert it to an OME-TIFF with bfconvert" in rows["scan"]["reason"]
    assert "not used: a.lif: a.tif has its name and is read instead" in folder.said


def test_two_tables_may_not_say_the_same(folder: Folder) -> None:
    folder.slide("a.tif")
    folder.outlines("a.geojson", feature(shapely.box(0, 0, 9, 9), "Tumor"))
    folder.text("slides.csv", "slide,split\na,test\n")
    folder.text("splits.csv", "slide_id,split,patient\na,train,p\n")
    with pytest.raises(AcinusError, match=r"^slides\.csv and splits\.csv or groups\.csv both say the split of slides"):
        folder.rows()


GRID = {"level": 0, "patch_px": 32, "stride_px": 32, "tumor_min_fraction": 0.5, "normal_max_fraction": 0.1}


@pytest.mark.parametrize("task", ["segmentation", "patch_classification"])
def test_a_cohort_goes_through_ingest_index_and_sample(folder: Folder, task: str) -> None:
    for name in "abcd":
        folder.slide(f"{name}.tif")
        folder.outlines(
            f"{name}.geojson",
            feature(shapely.box(0, 0, 64, 64), "Gland"),
            feature(shapely.box(32, 16, 64, 64), "Tumor"),
            feature(shapely.box(96, 0, 128, 96), "Fold"),
        )
    positive = (2,)
    rows = folder.rows(val_fraction=0.5)
    index = params.Index.model_validate(GRID | {"tissue": {"method": "all", "downsample": 8.0}})
    rules = LabelRules.of(CLASSES, folder.cohort)
    rule = LabelRule(3, positive, task)  # type: ignore[arg-type]
    places = Places(folder.root, folder.rasters)
    tables = {name: index_one(Job(row, places, folder.rasters, index, rules, rule)) for name, row in rows.items()}
    first = tables["a"].to_pandas().set_index(["y0", "x0"])
    exact = {  # (y0, x0): shares of background, gland, tumor; then label of a segmentation's patch, of a classifier's
        (0, 0): ([0, 1, 0], 0, 1),
        (0, 32): ([0, 0.5, 0.5], 1, -1),  # two classes alike
        (0, 64): ([1, 0, 0], 0, 0),
        (0, 96): ([0, 0, 0], -1, -1),
        (32, 32): ([0, 0, 1], 1, 2),
        (64, 0): ([1, 0, 0], 0, 0),
    }
    for place, (fractions, segmented, classified) in exact.items():
        assert first.loc[place, "class_fractions"].tolist() == fractions
        assert first.loc[place, "label"] == (segmented if task == "segmentation" else classified)
    table = pd.concat([one.to_pandas() for one in tables.values()], ignore_index=True)
    many = CLASSES if task == "patch_classification" else ()
    drawn = table.iloc[drawn_rows(table, params.Sample(normal_per_tumor=1.0), 7, many)]
    by_split = drawn.groupby(["split", "label"]).size().to_dict()
    labels, count = ((0, 1, 2), 2) if many else ((0, 1), 4)  # as many of each class as the rarest has
    assert by_split == {(split, label): count for split in ("train", "val") for label in labels}


def test_a_slide_that_is_coarser_than_asked_for_is_named(folder: Folder) -> None:
    folder.slide("a.tif")
    folder.outlines("a.geojson", feature(shapely.box(0, 0, 64, 64), "Tumor"))
    row = folder.rows()["a"]
    index = params.Index.model_validate({key: value for key, value in GRID.items() if key != "level"} | {"mpp": 0.05})
    rules, rule = LabelRules.of(CLASSES, folder.cohort), LabelRule(3, (2,), "segmentation")
    with pytest.raises(SlideError, match=r"slide a: 0\.05 um/px asked for.* in section index, or .* cohort\.exclude"):
        index_one(Job(row, Places(folder.root, folder.rasters), folder.rasters, index, rules, rule))


def test_an_ome_zarr_is_a_slide_as_a_tiff_of_the_same_px_is(folder: Folder) -> None:
    pytest.importorskip("zarr", reason="the extra zarr is not installed")
    folder.slide("a.tif")
    pixels = tifffile.imread(folder.path("a.tif"))
    as_zarr2(folder.path("b.ome.zarr"), [pixels], mpp=0.5)
    for name in ("a", "b"):
        folder.outlines(f"{name}.geojson", feature(shapely.box(0, 0, 64, 64), "Tumor"))
    rows = folder.rows()
    assert folder.said == []
    assert (rows["b"]["image"], rows["b"]["status"], rows["b"]["mpp_source"]) == ("b.ome.zarr", "ok", "tag")
    assert {key: rows["a"][key] for key in ("width", "height", "mpp_x")} == {
        key: rows["b"][key] for key in ("width", "height", "mpp_x")
    }
    index = params.Index.model_validate(GRID | {"tissue": {"downsample": 8.0}})
    rules, rule = LabelRules.of(CLASSES, folder.cohort), LabelRule(3, (2,), "segmentation")
    places = Places(folder.root, folder.rasters)
    first, second = (
        index_one(Job(row, places, folder.rasters, index, rules, rule)).to_pandas() for row in rows.values()
    )
    pd.testing.assert_frame_equal(first.drop(columns=["slide_id", "split"]), second.drop(columns=["slide_id", "split"]))
    assert len(first) > 3


def test_outlines_of_a_class_tissue_tell_tissue_from_glass(folder: Folder) -> None:
    folder.slide("a.tif")
    folder.outlines(
        "a.geojson", feature(shapely.box(0, 0, 64, 64), "Tissue"), feature(shapely.box(0, 0, 32, 32), "Tumor")
    )
    folder.classes = ("glass", "tissue", "tumor")
    rules = {"classes": {"Tissue": "tissue", "Tumor": "tumor"}, "outside": "glass"}
    row = folder.rows(annotations=rules)["a"]
    index = params.Index.model_validate(GRID | {"tissue": {"method": "annotation", "downsample": 8.0}})
    job = Job(
        *(row, Places(folder.root, folder.rasters), folder.rasters, index),
        *(LabelRules.of(folder.classes, folder.cohort), LabelRule(3, (2,), "segmentation")),
    )
    table = index_one(job).to_pandas()
    assert set(zip(table["x0"], table["y0"], strict=True)) == {(0, 0), (32, 0), (0, 32), (32, 32)}
    assert (table["tissue_fraction"] == 1.0).all()


def test_an_annotation_of_200_000_outlines_takes_seconds(folder: Folder) -> None:
    """Figures for 200,000, one core: read 18 s, made disjoint 6 s, indexed 10 s, 2.0 GB at most; here a tenth."""
    folder.slide("a.tif")
    x, y = (axis.ravel() for axis in np.meshgrid(np.linspace(0, 126, 160), np.linspace(0, 94, 125)))
    cells = shapely.box(x, y, x + 0.5, y + 0.5)
    ring = '{"type":"Feature","geometry":%s,"properties":{"classification":{"name":"Gland"}}}'
    text = ",".join(ring % shapely.to_geojson(cell) for cell in cells)
    folder.text("a.geojson", f'{{"type":"FeatureCollection","features":[{text}]}}')
    row = folder.rows()["a"]
    share = shares(folder.labels(row), 0, 0, 32)
    assert share[1] == pytest.approx(shapely.area(shapely.intersection(cells, shapely.box(0, 0, 32, 32))).sum() / 1024)
