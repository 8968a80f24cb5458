"""Ingest of drawn cohorts in CAMELYON's layout: names, labels, splits, and everything that can be wrong."""

import dataclasses
import functools
import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from acinus import params, records
from acinus.cohorts import camelyon, inventory
from acinus.cohorts.adapter import Order
from acinus.cohorts.manifest import build_manifest
from acinus.errors import AcinusError
from acinus.labels.labels import LabelRules
from tests.slides.written_zarr import as_zarr2

SQUARE = [(10, 10), (60, 10), (60, 60), (10, 60)]
PICTURE = np.random.default_rng(0).integers(0, 256, (128, 192, 3), dtype=np.uint8)


class Layout:
    """A cohort folder to fill."""

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir(parents=True, exist_ok=True)

    def slide(self, path: str, mpp: float | None = 0.25) -> Path:
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        tags = {} if mpp is None else {"resolution": (1e4 / mpp, 1e4 / mpp), "resolutionunit": 3}
        tifffile.imwrite(
            target, PICTURE, tile=(64, 64), photometric="rgb", compression="jpeg", bigtiff=True, metadata=None, **tags
        )
        return target

    def mask(self, path: str, value: int = 255, size: tuple[int, int] = (64, 96)) -> Path:
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        mask = np.zeros(size, dtype=np.uint8)
        mask[5:20, 5:20] = value
        tifffile.imwrite(target, mask, tile=(32, 32), photometric="minisblack", compression="deflate", metadata=None)
        return target

    def xml(self, path: str, group: str = "_0", points: list[tuple[int, int]] = SQUARE) -> Path:
        dots = "".join(f'<Coordinate Order="{n}" X="{x}" Y="{y}"/>' for n, (x, y) in enumerate(points))
        return self.text(
            path,
            f'<ASAP_Annotations><Annotations><Annotation Name="a" Type="Polygon" PartOfGroup="{group}" Color="#F4FA58">'
            f"<Coordinates>{dots}</Coordinates></Annotation></Annotations></ASAP_Annotations>",
        )

    def text(self, path: str, text: str) -> Path:
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
        return target

    def rows(self, **settings: Any) -> dict[str, dict[str, Any]]:
        return {row["slide_id"]: row for row in camelyon.ingest(self.order(**settings))}

    def order(self, **settings: Any) -> Order:
        return Order(
            root=self.root,
            rasters=self.root.parent / "rasters",
            cohort=params.CamelyonCohort(root=str(self.root), **settings),
            classes=("normal", "tumor"),
            positive=("tumor",),
            files=inventory.fingerprints(inventory.inventory(self.root, None)),
            seed=7,
            map=map,
        )


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path / "cohort")


def published(layout: Layout) -> Layout:
    """A miniature of CAMELYON16 as it is published."""
    for number in range(1, 5):
        layout.slide(f"training/tumor/tumor_{number:03d}.tif")
        layout.xml(f"training/lesion_annotations/tumor_{number:03d}.xml")
        layout.slide(f"training/normal/normal_{number:03d}.tif")
    for number in range(1, 5):
        layout.slide(f"testing/images/test_{number:03d}.tif")
    layout.xml("testing/lesion_annotations/test_001.xml")
    layout.text(
        "testing/reference.csv",
        "test_001,Tumor,IDC,Macro\ntest_002.tif,Normal,None,None\ntest_099,Normal,None,None\ntest_003,Tumor,ILC,Micro\n",
    )
    return layout


def test_the_published_layout(layout: Layout) -> None:
    rows = published(layout).rows()
    facts = {
        one: (row["label_kind"], row["slide_label"], row["split"] == "test", row["status"]) for one, row in rows.items()
    }
    assert facts == {
        **{f"tumor_{n:03d}": ("asap_xml", "tumor", False, "ok") for n in range(1, 5)},
        **{f"normal_{n:03d}": ("none", "normal", False, "ok") for n in range(1, 5)},
        "test_001": ("asap_xml", "tumor", True, "ok"),
        "test_002": ("none", "normal", True, "ok"),
        "test_003": ("unknown", "tumor", True, "ok"),  # known to be tumour, not known where
        "test_004": ("unknown", None, True, "ok"),
    }
    one = rows["tumor_001"]
    assert (one["image"], one["label_source"]) == (
        "training/tumor/tumor_001.tif",
        "training/lesion_annotations/tumor_001.xml",
    )
    assert (one["width"], one["height"], one["mpp_source"]) == (192, 128, "tag")
    assert (one["mpp_x"], one["mpp_y"]) == pytest.approx((0.25, 0.25))
    for label in ("tumor", "normal"):
        splits = [row["split"] for row in rows.values() if row["slide_label"] == label and row["split"] != "test"]
        assert sorted(splits) == ["train", "train", "train", "val"]


def test_the_manifest_is_the_contracts_table_and_the_same_twice(layout: Layout, tmp_path: Path) -> None:
    published(layout)
    cohort = params.Cohort(root=str(layout.root))
    for name in ("a", "b"):
        table = build_manifest(list(layout.rows().values()), cohort)
        records.write(records.MANIFEST, table, tmp_path / f"{name}.parquet")
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()
    assert table["fingerprint"].notna().all()
    assert table.loc[table["label_source"].notna(), "label_fingerprint"].notna().all()
    assert table.loc[table["label_source"].isna(), "label_fingerprint"].isna().all()


def test_examine_travels_to_other_processes(layout: Layout) -> None:
    order = published(layout).order()
    rules = LabelRules.of(order.classes, order.cohort)
    job = functools.partial(camelyon.examine, root=layout.root, settings=order.cohort, rules=rules, seed=7)
    found = camelyon.discover(order)
    again, first = pickle.loads(pickle.dumps((job, found[0])))
    assert again(first) == job(found[0])


def test_camelyon17_nodes_share_their_patient_and_isolated_cells_are_neither(layout: Layout) -> None:
    for patient in range(4):
        for node in range(3):
            layout.slide(f"training/center_0/patient_{patient:03d}_node_{node}.tif")
    layout.xml("lesion_annotations/patient_001_node_1.xml", group="metastases")
    layout.xml("lesion_annotations/patient_002_node_0.xml", group="metastases")
    layout.text(
        "stage_labels.csv",
        "patient,stage\npatient_000.zip,pN0\npatient_000_node_0.tif,negative\npatient_001.zip,pN1\n"
        "patient_001_node_0.tif,macro\npatient_001_node_1.tif,micro\npatient_002_node_0.tif,itc\n",
    )
    rows = layout.rows(val_fraction=0.25)
    kinds = {one[8:]: (row["label_kind"], row["slide_label"]) for one, row in rows.items()}
    assert kinds["000_node_0"] == ("none", "normal")
    assert kinds["001_node_0"] == ("unknown", "tumor")
    assert kinds["001_node_1"] == ("asap_xml", "tumor")
    assert kinds["002_node_0"] == ("unknown", None)
    assert kinds["003_node_0"] == ("unknown", None)
    assert {row["patient"] for row in rows.values()} == {f"patient_{n:03d}" for n in range(4)}
    for row in rows.values():
        assert row["split"] == rows[f"{row['patient']}_node_0"]["split"]
        assert row["status"] == "ok"


def test_masks_as_labels(layout: Layout) -> None:
    for name in ("tumor_001", "test_001", "normal_001", "test_002", "tumor_002", "tumor_003", "tumor_004"):
        layout.slide(f"{name}.tif")
    layout.mask("masks/tumor_001_mask.tif")
    layout.mask("masks/test_001_mask.tif")
    layout.mask("masks/normal_001_mask.tif", value=0)
    layout.mask("masks/test_002_mask.tif", value=0)
    layout.mask("masks/tumor_002_mask.tif", size=(64, 64))
    layout.mask("masks/tumor_003_mask.tif", value=7)
    layout.mask("masks/tumor_004_mask.tif", value=0)
    rows = layout.rows(labels="mask")
    assert {one: row["slide_label"] for one, row in rows.items() if row["status"] == "ok"} == {
        "tumor_001": "tumor",
        "test_001": "tumor",
        "normal_001": "normal",
        "test_002": "normal",
    }
    assert "64 x 64" in rows["tumor_002"]["reason"]
    assert "value 7" in rows["tumor_003"]["reason"]
    assert "has no tumour" in rows["tumor_004"]["reason"]


def test_a_bad_slide_is_a_row_with_a_reason_and_the_others_go_on(layout: Layout) -> None:
    published(layout)
    (layout.root / "training/normal/normal_001.tif").write_bytes(b"")
    slide = layout.root / "training/normal/normal_002.tif"
    slide.write_bytes(slide.read_bytes()[:2000])
    layout.slide("training/normal/normal_003.tif", mpp=None)
    zeroed = layout.root / "training/tumor/tumor_001.tif"
    with tifffile.TiffFile(zeroed) as tiff:
        offset, count = tiff.pages[0].dataoffsets[4], tiff.pages[0].databytecounts[4]
    data = bytearray(zeroed.read_bytes())
    data[offset : offset + count] = bytes(count)
    zeroed.write_bytes(data)
    layout.text("training/lesion_annotations/tumor_002.xml", "<ASAP_Annotations><Annot")
    layout.xml("training/lesion_annotations/tumor_003.xml", group="strange")
    (layout.root / "training/lesion_annotations/tumor_004.xml").unlink()
    layout.xml("training/lesion_annotations/normal_004.xml")
    (layout.root / "testing/images/test_004.tif").unlink()
    (layout.root / "testing/images/test_004.tif").symlink_to("nowhere.tif")
    rows = layout.rows()
    for slide_id, reason in {
        "normal_001": r"normal_001.tif is empty \(0 bytes\)",
        "normal_002": "slide normal_002: ",
        "normal_003": r"no plausible mpp \(.*\); set cohort\.mpp",
        "tumor_001": r"level 0, tile 4: its \d+ bytes are all zero",
        "tumor_002": r"tumor_002\.xml",
        "tumor_003": "strange",
        "tumor_004": "it has no annotation; add the annotation",
        "normal_004": "said to be normal, but training/lesion_annotations/normal_004.xml outlines tumour",
        "test_004": "is not there",
    }.items():
        row = rows.pop(slide_id)
        assert row["status"] == "bad"
        assert str(layout.root) not in row["reason"]
        assert "\n" not in row["reason"]
        assert re.search(reason, row["reason"]), row["reason"]
    assert {row["status"] for row in rows.values()} == {"ok"}


def test_mpp_override_serves_only_slides_without_their_own(layout: Layout) -> None:
    layout.slide("normal_001.tif", mpp=0.5)
    layout.slide("normal_002.tif", mpp=1000.0)
    rows = layout.rows(mpp=0.24)
    assert (rows["normal_001"]["mpp_x"], rows["normal_001"]["mpp_source"]) == (pytest.approx(0.5), "tag")
    assert (rows["normal_002"]["mpp_x"], rows["normal_002"]["mpp_source"]) == (0.24, "override")


def test_excluded_and_not_exhaustive(layout: Layout) -> None:
    published(layout)
    (layout.root / "training/tumor/tumor_001.tif").write_bytes(b"")
    rows = layout.rows(exclude={"tumor_001": "blurred", "gone_001": "absent"}, not_exhaustive=["tumor_002"])
    assert (rows["tumor_001"]["status"], rows["tumor_001"]["reason"]) == ("excluded", "blurred")
    assert [one for one, row in rows.items() if not row["exhaustive"]] == ["tumor_002"]


def test_contradictions_are_bad_rows(layout: Layout) -> None:
    published(layout)
    layout.xml("a/test_002.xml")
    layout.text("b/reference.csv", "normal_001,Tumor\n")
    layout.xml("training/lesion_annotations/tumor_001.xml", group="_2")
    rows = layout.rows()
    assert "said to be normal, but a/test_002.xml outlines tumour" in rows["test_002"]["reason"]
    assert "its name says normal, the reference file says tumor" in rows["normal_001"]["reason"]
    assert (
        "said to be tumor, but training/lesion_annotations/tumor_001.xml has no tumour" in rows["tumor_001"]["reason"]
    )


def square(group: str, edge: int, kind: str = "Polygon") -> str:
    points = [(10, 10), (10 + edge, 10), (10 + edge, 10 + edge), (10, 10 + edge)]
    dots = "".join(f'<Coordinate Order="{n}" X="{x}" Y="{y}"/>' for n, (x, y) in enumerate(points))
    return (
        f'<Annotation Name="a" Type="{kind}" PartOfGroup="{group}" Color="#F4FA58">'
        f"<Coordinates>{dots}</Coordinates></Annotation>"
    )


NO_LABELS = {
    "empty": ("", "no_tumor_outlined"),
    "dots only": (square("_0", 20, "PointSet"), "no_tumor_outlined"),
    "cut-outs only": (square("_2", 20), "no_tumor_outlined"),
    "cut-outs larger than the tumour": (square("_0", 20) + square("_2", 30), "tumor_cut_away"),
    "cut-outs of its very size": (square("_0", 20) + square("_2", 20), "tumor_cut_away"),
}


@pytest.mark.parametrize("case", NO_LABELS)
def test_an_annotation_without_tumour_is_a_finding_and_no_label(case: str, layout: Layout) -> None:
    """It made a normal slide, whose patches trained as normal."""
    annotations, finding = NO_LABELS[case]
    for slide_id in ("test_001", "normal_001", "slide_x"):
        layout.slide(f"{slide_id}.tif")
        layout.text(f"{slide_id}.xml", f"<ASAP_Annotations><Annotations>{annotations}</Annotations></ASAP_Annotations>")
    layout.text("reference.csv", "test_001,Normal,None,None\n")
    rows = layout.rows()
    assert [rows["slide_x"][one] for one in ("status", "label_kind", "slide_label", "findings")] == [
        *("ok", "unknown", None, finding)
    ]
    for slide_id in ("test_001", "normal_001"):  # said by another source: there the file agrees with it
        assert [rows[slide_id][one] for one in ("status", "slide_label", "findings")] == ["ok", "normal", ""]


@pytest.mark.parametrize(("cut", "findings"), [(27, ""), (29, "tumor_cut_away")])
def test_cut_outs_that_take_more_than_they_leave_are_a_finding_of_a_tumour_slide(
    cut: int, findings: str, layout: Layout
) -> None:
    """Of an outline of 40 x 40 px a cut-out of 28.3 x 28.3 takes half."""
    layout.slide("tumor_001.tif")
    both = square("_0", 40) + square("_2", cut)
    layout.text("tumor_001.xml", f"<ASAP_Annotations><Annotations>{both}</Annotations></ASAP_Annotations>")
    row = layout.rows()["tumor_001"]
    assert (row["slide_label"], row["label_kind"], row["findings"]) == ("tumor", "asap_xml", findings)


def test_a_mask_of_one_class_is_a_finding(layout: Layout) -> None:
    for slide_id in ("slide_a", "slide_b", "slide_c", "normal_001"):
        layout.slide(f"{slide_id}.tif")
    layout.mask("slide_a_mask.tif", value=0)
    layout.mask("normal_001_mask.tif", value=0)
    layout.mask("slide_b_mask.tif")
    tifffile.imwrite(layout.root / "slide_c_mask.tif", np.full((64, 96), 255, np.uint8), photometric="minisblack")
    rows = layout.rows(labels="mask")
    assert {one: (row["slide_label"], row["findings"]) for one, row in rows.items()} == {
        "slide_a": ("normal", "blank_mask"),
        "slide_b": ("tumor", ""),
        "slide_c": ("tumor", "one_class_mask"),
        "normal_001": ("normal", ""),
    }
    unknown = layout.rows(labels="mask", not_exhaustive=["slide_a"])["slide_a"]
    assert (unknown["slide_label"], unknown["label_kind"], unknown["findings"]) == (None, "unknown", "blank_mask")


def test_the_reported_slide_of_12_bits_is_refused(shared_data: Path, layout: Layout) -> None:
    """OpenSlide reads its 16-bit values, none above 4080, as 0 to 16: patches trained near black."""
    for suffix in ("tif", "xml"):
        source = shared_data / "reported" / "06_12bit_tiff_black" / f"tumor_001.{suffix}"
        (layout.root / source.name).symlink_to(source)
    row = layout.rows(mpp=0.5)["tumor_001"]
    assert row["status"] == "bad"
    assert "pixels of 16 bits whose brightest are read as 16 of 255" in row["reason"]
    assert "save it with 8 bits" in row["reason"]


def test_splits_csv_overrides_every_rule(layout: Layout) -> None:
    published(layout)
    layout.text(
        "splits.csv",
        "slide_id,split,patient,provider\ntest_001,val,p1,rumc\ntumor_001,test,p2,\nnormal_001,test,p2,umcu\n",
    )
    rows = layout.rows()
    assert [rows[one]["split"] for one in ("test_001", "tumor_001", "normal_001", "test_002")] == [
        "val",
        "test",
        "test",
        "test",
    ]
    assert [rows[one]["patient"] for one in ("test_001", "tumor_001", "tumor_002")] == ["p1", "p2", "tumor_002"]
    assert [rows[one]["provider"] for one in ("test_001", "tumor_001", "tumor_002")] == ["rumc", "unknown", "unknown"]
    assert [rows[one]["split_rule"] for one in ("test_001", "test_002", "tumor_002")] == ["splits.csv", "name", "drawn"]


def test_a_test_set_is_drawn_where_names_give_none(layout: Layout) -> None:
    for number in range(6):
        layout.slide(f"tumor_{number:03d}.tif")
        layout.xml(f"tumor_{number:03d}.xml")
        layout.slide(f"normal_{number:03d}.tif")
    rows = layout.rows(test_fraction=0.34, val_fraction=0.25)
    for label in ("tumor", "normal"):
        drawn = [row["split"] for row in rows.values() if row["slide_label"] == label]
        assert sorted(drawn) == ["test", "test", "train", "train", "train", "val"]


def test_groups_csv_keeps_slides_of_one_patient_in_one_split(layout: Layout) -> None:
    for number in range(8):
        layout.slide(f"normal_{number:03d}.tif")
    layout.text("groups.csv", "slide_id,patient\n" + "".join(f"normal_{n:03d},p{n // 4}\n" for n in range(6)))
    rows = layout.rows(val_fraction=0.4)
    patients = [rows[f"normal_{number:03d}"]["patient"] for number in range(8)]
    assert patients == [*["p0"] * 4, "p1", "p1", "normal_006", "normal_007"]
    assert all(len({row["split"] for row in rows.values() if row["patient"] == one}) == 1 for one in patients)
    layout.text("groups.csv", "slide_id,patient\nnormal_099,p\n")
    with pytest.raises(AcinusError, match=r"groups.csv: row 2: slide_id 'normal_099' is no slide of this cohort"):
        layout.rows()


@pytest.mark.parametrize("suffix", [".svs", ".NDPI", ".mrxs", ".tif", ""])
def test_a_reference_names_slides_with_any_slides_suffix(suffix: str) -> None:
    assert camelyon.parse_reference(f"slideB{suffix},Tumor\n", "reference.csv", {"slideB"}) == {"slideB": "tumor"}


@pytest.mark.parametrize("suffix", [".ome.tif", ".OME.TIFF"])
def test_an_ome_tiff_goes_with_the_annotation_of_its_name(layout: Layout, suffix: str) -> None:
    layout.slide(f"tumor_001{suffix}")
    layout.xml("tumor_001.xml")
    (row,) = layout.rows().values()
    assert (row["slide_id"], row["image"], row["label_kind"]) == ("tumor_001", f"tumor_001{suffix}", "asap_xml")
    assert camelyon.parse_reference(f"Tumor_001{suffix},tumor\n", "reference.csv", {"tumor_001"}) == {
        "tumor_001": "tumor"
    }


def test_an_ome_zarr_goes_with_its_mask(layout: Layout) -> None:
    as_zarr2(layout.root / "tumor_001.ome.zarr", [PICTURE])
    layout.mask("tumor_001_mask.ome.tif")
    (row,) = layout.rows(labels="mask", mpp=0.25).values()
    assert (row["slide_id"], row["label_kind"]) == ("tumor_001", "mask")


def test_splits_csv_may_not_tear_a_patient_apart(layout: Layout) -> None:
    layout.slide("patient_001_node_0.tif")
    layout.slide("patient_001_node_1.tif")
    layout.text("splits.csv", "slide_id,split,patient\npatient_001_node_0,test,patient_001\n")
    with pytest.raises(AcinusError, match=r"patient patient_001: .*list all slides of the patient"):
        layout.rows()
    assert layout.rows(split_by="slide")["patient_001_node_0"]["split"] == "test"


def test_an_override_of_a_slide_that_is_not_here_is_refused(layout: Layout) -> None:
    layout.slide("normal_001.tif")
    layout.text("splits.csv", "slide_id,split,patient\n../normal_001,test,p\n")
    with pytest.raises(AcinusError, match=r"splits\.csv: row 2: slide_id '\.\./normal_001' is no slide"):
        layout.rows()


@pytest.mark.parametrize("second", ["b/tumor_001.tif", "a/tumor_001.svs", "b/Tumor_001.tif"])
def test_two_slides_with_one_id_are_refused_with_both_paths(layout: Layout, second: str) -> None:
    layout.slide("a/tumor_001.tif")
    layout.slide(second)
    with pytest.raises(AcinusError, match=r"two slides with the id [tT]umor_001: ") as caught:
        layout.rows()
    assert "a/tumor_001.tif" in str(caught.value)
    assert second in str(caught.value)


@pytest.mark.parametrize("name", ["tumor 001.tif", "tumör_001.tif", "-rf.tif", "a..b.tif"])
def test_an_id_that_is_no_safe_file_name_is_refused(layout: Layout, name: str) -> None:
    layout.slide(f"x/{name}")
    with pytest.raises(AcinusError, match=r"x/.*: not safe as slide ids; rename"):
        layout.rows()


def test_paths_that_lead_out_of_the_root_are_not_opened(layout: Layout) -> None:
    layout.slide("../outside.tif")
    rows = camelyon.ingest(dataclasses.replace(layout.order(), files={"../outside.tif": "0"}))
    assert rows[0]["status"] == "bad"
    assert "leads out of the cohort" in rows[0]["reason"]


def test_an_annotation_without_its_slide_is_refused(layout: Layout) -> None:
    published(layout).xml("x/tumor_077.xml")
    with pytest.raises(AcinusError, match=r"x/tumor_077\.xml: annotation without a slide"):
        layout.rows()
    assert "tumor_077" not in layout.rows(exclude={"tumor_077": "not downloaded"})


def test_an_empty_cohort_is_one_line(layout: Layout) -> None:
    with pytest.raises(AcinusError, match=r"no slides below this folder; set cohort\.root"):
        build_manifest(list(layout.rows().values()), params.Cohort(root="raw/camelyon"))


def test_too_many_bad_slides_stop_with_the_first_reasons(layout: Layout) -> None:
    published(layout)
    for number in (1, 2, 3, 4):
        (layout.root / f"training/normal/normal_{number:03d}.tif").write_bytes(b"")
    rows = list(layout.rows().values())
    with pytest.raises(
        AcinusError, match=r"4 of 12 slides cannot be used.*max_bad_fraction = 0\.1: .*normal_001"
    ) as caught:
        build_manifest(rows, params.Cohort(root="raw"))
    assert "\n" not in str(caught.value)
    assert len(build_manifest(rows, params.Cohort(root="raw", max_bad_fraction=0.34))) == 12
    with pytest.raises(AcinusError, match="two slides with the id test_001"):
        build_manifest(
            [*rows, next(r for r in rows if r["slide_id"] == "test_001") | {"image": "other.tif"}],
            params.Cohort(root="raw"),
        )
    with pytest.raises(AcinusError, match="none of 4 slides can be used"):
        build_manifest([row for row in rows if row["status"] == "bad"], params.Cohort(root="raw", max_bad_fraction=1.0))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("test_001,Tumor\ntest_001.tif,Normal\n", r"row 2: test_001 is normal here and tumor above"),
        ("test_001,maybe\n", r"row 1: test_001 is 'maybe'; expected one of itc, macro"),
        ("test_001\n", r"row 1: test_001 is nothing; expected"),
        ('"test_001,Tumor\n', r"row \d: not CSV"),
        ("test_001,Tumor,IDC\ntest_002;Normal;None\n", r"row 2: another separator than in row 1; save it with one"),
        ("test_01;Tumor\n", r"names no slide of this cohort; its row 1 begins with 'test_01'; write a slide's id"),
        ("test_001|Tumor\n", r"names no slide of this cohort; its row 1 begins with 'test_001\|Tumor'"),
        ("", r"names no slide of this cohort: it is empty"),
    ],
)
def test_a_wrong_reference_is_one_line_with_the_row(text: str, message: str) -> None:
    with pytest.raises(AcinusError, match=r"^reference\.csv: " + message):
        camelyon.parse_reference(text, "reference.csv", {"test_001"})


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("form", ["{}", "\ufeff{}", "sep=;\n{}"])
def test_a_reference_is_read_however_a_spreadsheet_saved_it(separator: str, form: str, layout: Layout) -> None:
    published(layout)
    if "sep=" in form:
        form = form.replace(";", separator)
    text = "test_002.tif,Normal,None,None\r\ntest_003,Tumor,ILC,Micro\r\n".replace(",", separator)
    layout.text("testing/reference.csv", form.format(text))
    rows = layout.rows()
    assert [rows[f"test_00{n}"]["slide_label"] for n in (2, 3, 4)] == ["normal", "tumor", None]


def test_the_reported_reference_with_semicolons_is_read(shared_data: Path, layout: Layout) -> None:
    for number in (1, 2):
        layout.slide(f"test_00{number}.tif")
    layout.xml("test_001.xml")
    layout.text("reference.csv", (shared_data / "reported" / "02_reference_semicolon" / "reference.csv").read_text())
    assert {one: row["slide_label"] for one, row in layout.rows().items()} == {
        "test_001": "tumor",
        "test_002": "normal",
    }


def test_a_file_whose_name_only_ends_as_a_reference_is_none(layout: Layout) -> None:
    layout.slide("test_001.tif")
    for name in ("old_reference.csv", "my-reference.csv", "reference.csv.bak"):
        layout.text(name, "test_001,Normal\n")
    assert layout.rows()["test_001"]["slide_label"] is None


def test_ids_are_compared_in_any_case(layout: Layout) -> None:
    """Tumor_010.tif with `not_exhaustive: [tumor_010]` must not teach unannotated tumour as normal."""
    layout.slide("Tumor_010.tif")
    layout.xml("tumor_010.xml")
    layout.slide("Test_049.tif")
    layout.slide("Test_001.tif")
    layout.xml("Test_001.xml")
    layout.slide("Patient_004_Node_4.tif")
    layout.xml("Patient_004_Node_4.xml")
    layout.text("reference.csv", "test_001,Tumor,IDC,Macro\n")
    layout.text("stage_labels.csv", "patient_004_node_4.tif,itc\n")
    rows = layout.rows(not_exhaustive=["tumor_010"], exclude={"test_049": "a duplicate"})
    assert rows["Tumor_010"]["exhaustive"] is False
    assert rows["Tumor_010"]["label_source"] == "tumor_010.xml"
    assert (rows["Test_049"]["status"], rows["Test_049"]["reason"]) == ("excluded", "a duplicate")
    assert rows["Test_001"]["slide_label"] == "tumor"
    assert rows["Patient_004_Node_4"]["label_kind"] == "unknown"


def test_splits_csv_is_found_in_any_folder_and_two_are_refused(layout: Layout) -> None:
    for number in (1, 2):
        layout.slide(f"normal_00{number}.tif")
    layout.text("training/Splits.csv", "slide_id,split,patient\nnormal_001,test,a\n")
    assert layout.rows()["normal_001"]["split"] == "test"
    layout.text("splits.csv", "slide_id,split,patient\nnormal_001,train,a\n")
    with pytest.raises(AcinusError, match=r"splits.csv and training/Splits.csv: two split files; keep one"):
        layout.rows()
