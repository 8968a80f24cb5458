"""The mixed real slides with outlines of three tools, from a drafted recipe and a filled-in table to the report.

A network of one epoch on two slides promises nothing: what must hold is places, areas, classes and reasons.
"""

import csv
import io
import json
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import openslide
import pandas as pd
import pytest
import shapely

from acinus import records
from acinus.cohorts.inventory import fingerprints, inventory
from acinus.commands.draft import own_draft
from acinus.labels.drawn import read_areas
from acinus.params import Recipe, check_recipe
from acinus.patches.keys import patch_key
from acinus.patches.store import open_mask_store, open_store
from acinus.paths import Paths
from tests.pipeline.conftest import Direct, settings
from tests.pipeline.families import STAGES
from tests.real.mixed_slides import CMU, CYTOLOGY, DRAWN, IHC, SQUARES, TCGA, lay_out

CHANGES: dict[str, dict[str, Any]] = {
    "cohort": {"root": "../slides", "test_fraction": 0.0, "max_bad_fraction": 0.3}
    | {"label": {"column": "DIAGNOSIS", "values": {"NILM": "normal"}}},
    "index": {"patch_px": 64, "stride_px": 48, "mpp": 2.0, "min_tissue_fraction": 0.2},
    "sample": {"balance": []},
    "train": {"encoder": "test_resnet.r160_in1k", "weights": "none", "max_epochs": 1, "batch_size": 8},
    "calibrate": {"trials": 2},
    "infer": {"stride_px": 64, "map_downsample": 16.0},
    "report": {"bootstrap": 20, "picture_px": 256, "views": 1},
}
MEANING = {"Stroma": "Stroma", "Epithelium": "Epithelium", "Tumor": "Epithelium", "Pen": "ignore"}
"""In this order: a tumour lies on top of stroma."""
FILLED_IN = {  # by a person, as spreadsheets write it
    IHC: {"split": "val", "mpp": "0,25", "Stain": "IHC"},
    CMU: {"split": "train"},
    CYTOLOGY: {"split": "train", "mpp": "0.5", "Diagnosis": "NILM"},
    SQUARES: {"split": "test", "mpp": "0.5"},
    TCGA: {"split": "test", "mpp": "0.5"},
}
BLUE_UM2, RED_UM2 = 68.5 * 66.5, 76.0 * 53.0 - 58.0 * 32.0  # of SQUARES at 0.5 um/px: the blue one hides a corner
IHC_STROMA_UM2 = 127.5 * 120.0 - 40.0 * 5.0 / 2  # at 0.25 um/px: a rectangle less a triangle
SUFFIXES = {".dcm", ".svs", ".tif", ".tiff"}
GLASS = 215  # the least channel of a px of glass in these slides' thumbnails is above


@dataclass(frozen=True)
class Study:
    """The files of a study after all its stages, and the slides that it is of."""

    paths: Paths
    slides: Path
    printed: str

    def table(self, table: records.Table, path: Path) -> pd.DataFrame:
        return records.read(table, path).set_index("slide_id")


def slide_id(name: str) -> str:
    return Path(name).stem


def filled_in(text: str) -> str:
    """Fill in the drafted table, and save it with semicolons as Excel does in many countries."""
    rows = list(csv.DictReader(io.StringIO(text)))
    columns = [*rows[0], "Diagnosis", "Stain"]
    with io.StringIO() as out:
        writer = csv.DictWriter(out, columns, delimiter=";", restval="")
        writer.writeheader()
        writer.writerows(row | FILLED_IN.get(row["slide"], {}) for row in rows)
        return out.getvalue()


def drafted(slides: Path, project: Path) -> Recipe:
    """Return the recipe that `acinus init` drafts, after a person has edited it and the table."""
    draft = own_draft(slides, fingerprints(inventory(slides, None)), "segmentation", seed=0)
    assert draft.table is not None
    (project / "slides.csv").write_text(filled_in(draft.table), encoding="utf-8-sig")
    document = draft.document | {"classes": ["Stroma", "Epithelium"], "positive": ["Epithelium"]}
    assert set(document["cohort"]["annotations"]["classes"]) == set(MEANING)
    document["cohort"]["annotations"]["classes"] = MEANING
    for section, values in CHANGES.items():
        document[section] |= values
    recipe: Recipe = check_recipe("study", document)
    return recipe


@pytest.fixture(scope="module")
def study(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Study:
    root = tmp_path_factory.mktemp("mixed")
    slides, project = root / "slides", Direct(root / "study", settings())
    lay_out(shared_data / "slides", slides)
    project.root.mkdir()
    recipe = drafted(slides, project.root)
    printed = io.StringIO()
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("sys.stdout", printed)
        paths = project.run("study", recipe, *STAGES)
    return Study(paths, slides, printed.getvalue())


def test_every_slide_is_used_or_bad_for_a_reason(study: Study) -> None:
    manifest = study.table(records.MANIFEST, study.paths.manifest)
    assert len(manifest) == 8
    bad = manifest[manifest["status"] == "bad"]
    assert sorted(bad.index) == ["multiframe_camelyon_challenge_image"]
    assert manifest.loc["broken", "status"] == "excluded"  # init's table says so
    assert "does not open" in manifest.loc["broken", "reason"]
    assert "its tag says 28.969 um/px" in bad.loc["multiframe_camelyon_challenge_image", "reason"]
    for name, cells in FILLED_IN.items():
        row = manifest.loc[slide_id(name)]
        assert (row["status"], row["split"]) == ("ok", cells["split"])
        stated = float(cells["mpp"].replace(",", ".")) if "mpp" in cells else 0.499
        assert row["mpp_x"] == row["mpp_y"] == stated
        assert row["mpp_source"] == ("table" if "mpp" in cells else "tag")
        assert row["label_kind"] == ("outlines" if name in DRAWN else "none")
        assert row["slide_label"] == ("tumor" if name in DRAWN else "normal")
    assert manifest.loc["tcga-cr-7395-01a-01-ts1", "patient"] == "TCGA-CR-7395"


def test_areas_are_those_worked_by_hand(study: Study) -> None:
    manifest = study.table(records.MANIFEST, study.paths.manifest)

    def um2(name: str) -> dict[int, float]:
        row, areas = manifest.loc[slide_id(name)], read_areas(study.paths.rasters / f"{slide_id(name)}_areas.parquet")
        return {label: area.area * row["mpp_x"] * row["mpp_y"] for label, area in areas.by_label.items()}

    assert um2(SQUARES) == pytest.approx({0: RED_UM2, 1: BLUE_UM2}, abs=1e-6)
    assert um2(IHC)[0] == pytest.approx(IHC_STROMA_UM2, abs=1e-6)
    for name, mpp in ((CMU, 0.499), (TCGA, 0.5)):
        assert um2(name) == pytest.approx({k: shape.area * mpp**2 for k, shape in enumerate(by_class(name))}, rel=1e-9)


def by_class(name: str) -> list[shapely.Geometry]:
    """Return the areas of the recipe's two classes on a slide, level-0 px."""
    stroma, epithelium = (
        shapely.union_all([shapely.Polygon(ring) for drawn, ring in DRAWN[name] if MEANING[drawn] == kind])
        for kind in ("Stroma", "Epithelium")
    )
    return [shapely.difference(stroma, epithelium), epithelium]


def test_shares_of_patches_are_those_of_the_polygons(study: Study) -> None:
    """Whatever the tool: GeoJSON, ASAP and ImageScope."""
    index = records.read(records.INDEX, study.paths.index)
    for name in DRAWN:
        rows = index[index["slide_id"] == slide_id(name)]
        assert len(rows) > 3
        edge = float(rows["patch_px"].iloc[0] * rows["downsample"].iloc[0])
        squares = shapely.box(rows["x0"], rows["y0"], rows["x0"] + edge, rows["y0"] + edge)
        exact = np.stack([shapely.area(shapely.intersection(squares, shape)) / edge**2 for shape in by_class(name)])
        np.testing.assert_allclose(np.array(rows["class_fractions"].tolist()), exact.T, atol=1e-6)


def test_a_masks_class_is_the_colour_of_the_patch(study: Study) -> None:
    """Blue px are Tumor and red ones Stroma, in what the network is shown."""
    sample = records.read(records.SAMPLE, study.paths.sample)
    rows = records.rows(sample[sample["slide_id"] == slide_id(SQUARES)])
    assert rows
    pictures, masks = open_store(study.paths.patches), open_mask_store(study.paths.patches)
    with closing(pictures), closing(masks):
        for row in rows:
            key = patch_key(row["slide_id"], row["x0"], row["y0"])
            rgb, mask = pictures.read(key).astype(int), np.squeeze(masks.read(key))
            for label, colour in enumerate(((255, 0, 0), (0, 0, 255))):
                pure = np.abs(rgb - colour).max(axis=2) < 60
                assert pure.sum() > 100
                assert (mask[pure] == label).mean() > 0.97  # px at the rims are of two colours
            assert (mask[(rgb > 240).all(axis=2)] == 255).mean() > 0.97  # glass is not outlined


@contextmanager
def thumbnail(path: Path) -> Iterator[tuple[np.ndarray, float]]:
    """Give OpenSlide's picture of a slide, and level-0 px per px of it."""
    with openslide.OpenSlide(path) as slide:
        picture = slide.get_thumbnail((400, 400)).convert("RGB")
        yield np.asarray(picture), slide.dimensions[0] / picture.width


def glass_share(shape: shapely.Geometry, picture: np.ndarray, scale: float) -> float:
    """Return the share of a shape, in level-0 px, that the picture shows as glass."""
    x, y = (np.arange(count) * scale + scale / 2 for count in (picture.shape[1], picture.shape[0]))
    inside = shapely.contains_xy(shape, x[None, :], y[:, None])
    assert inside.sum() > 50
    return float((picture.min(axis=2)[inside] > GLASS).mean())


def test_regions_lie_on_tissue_and_have_the_area_that_the_table_says(study: Study) -> None:
    regions = records.read(records.REGIONS, study.paths.region_table)
    file = study.paths.regions / f"{slide_id(TCGA)}.geojson"
    shapes = [shapely.from_geojson(json.dumps(one["geometry"])) for one in json.loads(file.read_text())["features"]]
    with thumbnail(study.slides / TCGA) as (picture, scale):
        whole = shapely.box(0, 0, picture.shape[1] * scale, picture.shape[0] * scale)
        assert glass_share(whole, picture, scale) > 0.3  # so that what lies anywhere would fail
        assert glass_share(shapely.union_all(shapes), picture, scale) < 0.05
    mm2 = regions.loc[regions["slide_id"] == slide_id(TCGA), "area_mm2"].sum()
    assert sum(shape.area for shape in shapes) * 0.5**2 * 1e-6 == pytest.approx(mm2, rel=1e-9)
    truth = study.table(records.QUANTITIES, study.paths.quantities).loc[slide_id(TCGA), "true_px"] * 16.0**2
    drawn = sum(shapely.Polygon(ring).area for kind, ring in DRAWN[TCGA] if MEANING[kind] == "Epithelium")
    assert truth == pytest.approx(drawn, rel=0.01)


def test_the_report_shows_or_names_every_slide(study: Study) -> None:
    folder = study.paths.reports
    page = (folder / "index.html").read_text()
    rows = pd.read_csv(folder / "per_slide.csv", dtype={"slide_id": str}).set_index("slide_id")
    assert sorted(rows.index) == sorted(path.stem for path in (study.slides).iterdir() if path.suffix in SUFFIXES)
    for name, cells in FILLED_IN.items():
        shown = cells["split"] == "test"
        assert (f'slides/{slide_id(name)}.html"' in page) == shown
        assert (folder / "slides" / f"{slide_id(name)}.html").is_file() == shown
        assert np.isfinite(rows.loc[slide_id(name), "dice"]) == shown
    labels = rows[["label.Diagnosis", "label.Stain"]].dropna(how="all").fillna("")
    assert labels.T.to_dict("list") == {slide_id(IHC): ["", "IHC"], slide_id(CYTOLOGY): ["NILM", ""]}
    assert "ingest: train: 1 of 3 slides have no annotation (sm_image): they give" in study.printed
    assert "ingest: slides.csv: labels that nothing is learned from: Stain; they stand in" in study.printed
    for reason in ("broken.svs does not open", "28.969 um/px"):
        assert reason in page
    assert "burden.png" not in page  # only parts were outlined, so no burden is known: no empty chart
    assert "index: no candidate patch on sm_image" in study.printed  # of 25 um each way
