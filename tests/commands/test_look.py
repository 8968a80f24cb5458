"""`acinus look`: every file of a folder is told of, and the sheet shows annotations where they lie."""

import io
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
import tifffile
from click.testing import CliRunner
from PIL import Image

from acinus.charts import sheet
from acinus.cli import main
from acinus.cohorts.slides import discover
from acinus.commands import look
from acinus.errors import AcinusError
from acinus.plugins import finding

WIDTH, HEIGHT = 600, 400
DICOM = Path(__file__).resolve().parents[3] / "shared" / "data" / "slides" / "sm_image.dcm"
PINK = (230, 200, 215)


def write_slide(path: Path, mpp: float | None = 0.5) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.broadcast_to(np.array(PINK, np.uint8), (HEIGHT, WIDTH, 3))
    resolution = {} if mpp is None else {"resolution": (1e4 / mpp, 1e4 / mpp), "resolutionunit": "CENTIMETER"}
    tifffile.imwrite(path, pixels, tile=(64, 64), photometric="rgb", metadata=None, **resolution)


def write_outlines(path: Path, *drawn: tuple[Any, str | None]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    features = [
        {
            "type": "Feature",
            "geometry": json.loads(shapely.to_geojson(shape)),
            "properties": {"classification": {"name": name, "color": [0, 0, 250]} if name else None},
        }
        for shape, name in drawn
    ]
    path.write_text(json.dumps(features))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "slides"
    write_slide(root / "a.tif")
    write_outlines(root / "a.geojson", (shapely.box(0, 0, 300, 200), "Tumor"), (shapely.Point(5, 5), "Tumor"))
    write_slide(root / "Präparat (1).tif", mpp=None)
    Image.fromarray(np.kron([[0, 3], [0, 0]], np.ones((40, 60))).astype(np.uint8)).save(root / "Präparat (1)_mask.png")
    write_slide(root / "overview.tif", mpp=28.97)
    write_outlines(root / "overview.geojson", (shapely.box(900, 0, 990, 99), "Tumor"))
    (root / "torn.svs").write_bytes(b"II*\0")
    (root / "c.vsi").write_text("x")
    (root / "labels.csv").write_text("ID;grade\na;1\noverview.tif;2\nelse;3\n")
    (root / "list.xlsx").write_text("x")
    (root / "read me.txt").write_text("x")
    write_outlines(root / "annotations" / "lost.json", (shapely.box(0, 0, 9, 9), "Tumor"))
    return root


def test_every_file_is_told_of(folder: Path, tmp_path: Path) -> None:
    text = look.run(folder, tmp_path / "out")
    for line in (
        "3 of 4 can be used: 3 TIFF; 2 of them annotated; 12 files",
        "a.tif: TIFF, 600 x 400 px, 1 level, 0.5 um/px",
        "torn.svs: ",
        "Präparat (1).tif: no um/px: give it in column mpp",
        "overview.tif: its tag says 28.97 um/px, which is not plausible",
        "c.vsi: Olympus VSI is not read; convert it",
        "Präparat (1).tif is slide Praparat_1",
        "a.geojson (qupath) -> a.tif: Tumor 1 (0.015 mm2)",
        "Präparat (1)_mask.png (mask) -> Präparat (1).tif: 0 (7,200 mask px), 3 (2,400 mask px)",
        "Tumor: 1 outline in 1 file, 0.015 mm2",
        "overview.geojson: 1 of 1 outlines lie wholly outside the slide",
        "a.geojson: passed over: 1 point",
        "annotations/lost.json: no slide has its name",
        "labels.csv: 3 rows; columns ID, grade",
        "labels.csv: column ID names 2 slides; acinus init takes it over into slides.csv",
        "labels.csv: grade ('1' 1, '2' 1)",
        "list.xlsx: only CSV is read; save it as CSV",
        "read me.txt: by its name no slide, annotation or table",
    ):
        assert f"  {line}" in text, line
    written = (tmp_path / "out" / "look.txt").read_text()
    for path in folder.rglob("*.*"):
        assert path.name in written


def test_um_per_px_of_the_table_come_first(folder: Path, tmp_path: Path) -> None:
    (folder / "slides.csv").write_text("slide;mpp\nPräparat (1).tif;0,25\noverview.tif;1\na.tif;\ntorn.svs;\n")
    text = look.run(folder, tmp_path / "out")
    assert "overview.tif: TIFF, 600 x 400 px, 1 level, 1 um/px (slides.csv)" in text
    assert "Präparat (1).tif: TIFF, 600 x 400 px, 1 level, 0.25 um/px (slides.csv)" in text
    assert "a.tif: TIFF, 600 x 400 px, 1 level, 0.5 um/px\n" in text
    assert "slides without a resolution" not in text


def test_um_per_px_of_a_table_of_any_name_count_too(folder: Path, tmp_path: Path) -> None:
    (folder / "labels.csv").write_text("ID;µm/px\noverview;1,5\nPräparat (1);0,25\n", encoding="utf-8")
    text = look.run(folder, tmp_path / "out")
    assert "overview.tif: TIFF, 600 x 400 px, 1 level, 1.5 um/px (labels.csv)" in text
    assert "slides without a resolution" not in text


def test_what_comes_next_is_what_can_be_done(folder: Path, tmp_path: Path) -> None:
    bare = tmp_path / "bare"
    write_slide(bare / "a.tif")
    (bare / "genes.csv").write_text("gene,x\nTP53,1\n")
    assert "next: nothing says yet what the slides are" in look.run(bare, tmp_path / "out")
    (bare / "list.csv").write_text("file,diagnosis\na,benign\n")
    for root in (bare, folder):
        assert look.run(root, tmp_path / "out").endswith(f"\nnext: acinus init my-study --slides {root}")


def test_the_sheet_shows_outlines_in_their_tools_colours(folder: Path, tmp_path: Path) -> None:
    for path in [*folder.glob("*.csv"), *folder.glob("*.vsi"), folder / "torn.svs", folder / "overview.tif"]:
        path.unlink()
    look.run(folder, tmp_path / "out")
    pixels = np.asarray(Image.open(tmp_path / "out" / look.SHEET).convert("RGB")).astype(int)
    blue = (pixels == (0, 0, 250)).all(axis=2)
    rows, columns = np.nonzero(blue[:520])
    # a.tif is the second of two tiles (by id): 480 px wide, its outline the upper left quarter
    left, top = sheet._GAP_PX * 2 + 480, sheet._GAP_PX + 480 - 320
    assert abs(columns.min() - left) <= 2
    assert abs(columns.max() - (left + 240)) <= 2
    assert abs(rows.max() - (top + 160)) <= 2
    inside, outside = pixels[top + 80, left + 120], pixels[top + 80, left + 300]
    np.testing.assert_allclose(inside, 0.75 * np.array(PINK) + 0.25 * np.array((0, 0, 250)), atol=1.5)
    np.testing.assert_array_equal(outside, PINK)


def test_a_hole_of_an_outline_stays_clear() -> None:
    picture = np.full((100, 100, 3), 200, dtype=np.uint8)
    ring = shapely.box(0, 0, 160, 160).difference(shapely.box(40, 40, 120, 120))
    drawn = sheet.outlined(picture, [(ring, (255, 0, 0))], 2.0)
    assert drawn[40, 40].tolist() == [200, 200, 200]
    assert drawn[10, 10].tolist() == [213, 150, 150]
    assert drawn[90, 90].tolist() == [200, 200, 200]


def test_a_sheet_of_many_or_of_none_is_a_picture() -> None:
    tile = sheet.Tile(np.full((90, 60, 3), 9, dtype=np.uint8), ("a very long name of a slide that cannot fit", "x"))
    for count in (0, 1, 7, 2000):
        png = sheet.contact_sheet([tile] * count, {"病 class": (1, 2, 3)})
        assert max(Image.open(io.BytesIO(png)).size) < 8000


def test_a_table_that_cannot_be_used_is_told_and_the_rest_all_the_same(folder: Path, tmp_path: Path) -> None:
    (folder / "slides.csv").write_text("id,grade\na,1\n")
    assert "  slides.csv: row 1: no column slide among id, grade" in look.run(folder, tmp_path / "out")
    (folder / "slides.csv").write_text("slide,split\na,all\nzz,\n")
    text = look.run(folder, tmp_path / "out")
    assert "  slides.csv: row 2: split 'all'; write train, val, test or nothing" in text
    assert "  slides.csv: row 3: slide 'zz' is no slide below the root" in text
    assert "  overview.tif: slides.csv has no row for it" in text


def test_long_parts_are_cut_on_the_terminal_alone(tmp_path: Path) -> None:
    root = tmp_path / "slides"
    write_slide(root / "a.tif")
    for number in range(40):
        (root / f"note{number}.txt").write_text("x")
    text = look.run(root, tmp_path / "out")
    assert "... and 15 more" in text
    assert "note9.txt" not in text
    assert (tmp_path / "out" / "look.txt").read_text().count("note") == 40


def test_what_cannot_be_looked_at_is_one_line(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(AcinusError, match="lies in the folder of the slides"):
        look.run(folder, folder / "look")
    failed = CliRunner().invoke(main, ["look", str(tmp_path / "nowhere"), "--out", str(tmp_path / "out")])
    assert failed.exit_code == 1
    assert failed.stderr.startswith(f"error: {tmp_path / 'nowhere'}: no such folder")


def test_a_dicom_series_is_one_slide_as_ingest_has_it(tmp_path: Path) -> None:
    if not DICOM.is_file():
        pytest.skip("shared/data/slides is not here")
    root = tmp_path / "slides"
    root.mkdir()
    for name in ("level 0.dcm", "level 1.dcm"):
        shutil.copy(DICOM, root / name)
    text = look.run(root, tmp_path / "out")
    assert "  1 of 1 can be used: 1 DICOM; 0 of them annotated; 2 files" in text
    assert "  level 0.dcm: DICOM, 50 x 50 px, 1 level, 0.499 um/px, 2 files of one series" in text
    assert "  level 1.dcm: " not in text
    assert "next: nothing says yet what the slides are: put annotation files beside the slides, or a slides.csv" in text
    assert text.endswith(f"--like; then acinus init my-study --slides {root}")
    (root / "slides.csv").write_text("slide,site\nlevel 1,x\n")
    found = discover(root, [path.name for path in root.iterdir()])
    assert not found.joined.slides_without, "the row of one file is that of the series"
    assert {entry.site for entry in found.joined.by_slide.values()} == {"x"}
    for name in ("level 0", "level 1"):
        write_outlines(root / f"{name}.geojson", (shapely.box(0, 0, 9, 9), "Tumor"))
    text = look.run(root, tmp_path / "out")
    assert "  level 0.geojson and level 1.geojson: annotations of files of one DICOM series; keep one" in text


def test_colours_of_a_mask_are_told_with_their_px(tmp_path: Path) -> None:
    root = tmp_path / "slides"
    write_slide(root / "a.tif")
    mask = Image.new("RGB", (WIDTH, HEIGHT))
    mask.paste((255, 0, 0), (0, 0, 300, 200))
    mask.save(root / "a_mask.png")
    (root / "colours.csv").write_text("class,hex\ntumor,#ff0000\n")
    text = look.run(root, tmp_path / "out")
    assert "  a_mask.png (mask) -> a.tif: #000000 (180,000 mask px), #ff0000 (60,000 mask px)" in text
    assert "  colours.csv: says of masks: #ff0000 is tumor" in text
    pixels = np.asarray(Image.open(tmp_path / "out" / look.SHEET).convert("RGB")).astype(int)
    mixed = np.rint(0.5 * np.array(PINK) + 0.5 * np.array((255, 0, 0)))
    assert (np.abs(pixels - mixed) <= 1).all(axis=2).any(), "a mask is shown in its own colours"


def test_the_next_step_says_that_init_reads_no_files_of_plugins(tmp_path: Path) -> None:
    reader = "@plugins.annotation_reader('corners', suffixes=('.corners',))\ndef f(path, frame):\n    pass\n"
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "own.py").write_text(f"from acinus import plugins\n\n\n{reader}")
    finding.use(tmp_path)
    try:
        plain, plugged = (
            look._next(tmp_path, [look.SlideLook("a", "a.tif", "TIFF", tool=tool)], labelled=True)
            for tool in ("asap", "corners")
        )
    finally:
        finding.use(None)
    assert plain == f"next: acinus init my-study --slides {tmp_path}"
    assert plugged.startswith(f"{plain}, which reads no files of plug-ins (corners): then copy plugins/ into my-study")
