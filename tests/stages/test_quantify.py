"""quantify from maps on disk to its tables and files: worked by hand on small slides."""

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from acinus import params, records
from acinus.files import write_json
from acinus.learning.colour import ColourModel
from acinus.maps.geometry import MapGeometry
from acinus.maps.tiff import MapInfo, write_map
from acinus.paths import Paths
from acinus.regions.operating_point import OperatingPoint, write_point
from acinus.slides.open import open_slide
from acinus.slides.pixels import SlidePixels
from acinus.stages import quantify
from acinus.tissue.mask import TissueMask, save_tissue

RECIPES = Path(__file__).resolve().parents[2]
EDGE = 64
SQUARE = '<Coordinate Order="0" X="{0}" Y="{0}"/><Coordinate Order="1" X="{1}" Y="{0}"/>'
SQUARE += '<Coordinate Order="2" X="{1}" Y="{1}"/><Coordinate Order="3" X="{0}" Y="{1}"/>'


@dataclass
class Project:
    """A project of one recipe whose slides are tiles of one array."""

    root: Path
    recipe: params.Recipe
    rows: list[dict[str, Any]]

    @property
    def paths(self) -> Paths:
        return Paths(self.root, "r")

    @property
    def cohort(self) -> Path:
        return self.root / "cohort"

    def add(self, slide_id: str, kind: str, source: str | None, mpp: float | None, prob: np.ndarray) -> None:
        """Add a slide of EDGE px with its map (channels, rows, columns) over it, tissue everywhere."""
        row: dict[str, Any] = dict.fromkeys(records.MANIFEST.schema.names)
        row |= {"image": f"images.npy#{len(self.rows)}", "label_source": source, "label_kind": kind}
        row |= {"slide_id": slide_id, "exhaustive": True, "split": "test", "patient": slide_id, "provider": "p"}
        row |= {"mpp_x": mpp, "mpp_y": mpp, "mpp_source": "tag" if mpp else None, "width": EDGE, "height": EDGE}
        row |= {
            "split_rule": "name",
            "derived": False,
            "findings": "",
            "status": "ok",
            "reason": "",
            "fingerprint": "0",
        }
        self.rows.append(row)
        geometry = MapGeometry(EDGE, EDGE, EDGE / prob.shape[1])
        self.paths.maps.mkdir(parents=True, exist_ok=True)
        names = tuple(f"c{number}" for number in range(len(prob)))
        write_map(self.paths.maps / f"{slide_id}.tif", [prob], geometry, MapInfo(slide_id, names, None))
        self.paths.tissue.mkdir(exist_ok=True)
        save_tissue(TissueMask(np.ones((8, 8), dtype=bool), EDGE, EDGE), self.paths.tissue / f"{slide_id}.png")

    def run(self, point: OperatingPoint) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """Quantify and return the rows of both tables."""
        self.cohort.mkdir(exist_ok=True)
        np.save(self.cohort / "images.npy", np.full((len(self.rows), EDGE, EDGE, 3), 200, dtype=np.uint8))
        records.write(records.MANIFEST, records.frame(records.MANIFEST, self.rows), self.paths.manifest)
        write_point(self.paths.operating_point, point)
        one = (0.0,) * 9
        colour = ColourModel(6, 0, (0,), one, (1.0,) * 9, (one,), (0.0,))
        write_json(self.paths.model / "colour.json", colour.to_json())
        quantify.run(
            SimpleNamespace(
                paths=self.paths,
                recipe=self.recipe,
                cohort_root=self.cohort,
                map=map,
                log=SimpleNamespace(log_metrics=lambda metrics: None),
                say=lambda text: None,
            )
        )
        tables = (records.QUANTITIES, self.paths.quantities), (records.REGIONS, self.paths.region_table)
        amounts, regions = (records.rows(records.read(table, path)) for table, path in tables)
        return amounts, regions


def recipe(name: str, **changed: Any) -> params.Recipe:
    """Return a recipe of the demo whose maps may be of any slide, with sections changed."""
    found = params.load_recipe(RECIPES, name)
    changed["index"] = {"level": 0, "mpp": None, **changed.get("index", {})}  # the array has one level
    return found.model_copy(
        update={key: getattr(found, key).model_copy(update=value) for key, value in changed.items()}
    )


def squares(count: int, *boxes: tuple[int, int, int, int]) -> np.ndarray:
    """Return a map of one channel of count x count px: 0.8 within boxes (top, left, bottom, right), else 0.1."""
    prob = np.full((1, count, count), 0.1, dtype=np.float32)
    for top, left, bottom, right in boxes:
        prob[0, top:bottom, left:right] = 0.8
    return prob


def asap(path: Path, *boxes: tuple[int, int]) -> None:
    path.parent.mkdir(exist_ok=True)
    ones = (
        f'<Annotation Name="a" Type="Polygon" PartOfGroup="Tumor"><Coordinates>{SQUARE.format(*box)}</Coordinates>'
        "</Annotation>"
        for box in boxes
    )
    path.write_text(f"<ASAP_Annotations><Annotations>{''.join(ones)}</Annotations></ASAP_Annotations>")


@pytest.fixture
def camelyon(tmp_path: Path) -> Project:
    return Project(tmp_path, recipe("demo-camelyon", quantify={"froc": True}), [])


def test_regions_amounts_and_lesions_of_a_point(camelyon: Project) -> None:
    # 40 um per px: one lesion of 16 px (640 um) at 8..24, isolated tumour cells of 2 px at 40
    asap(camelyon.cohort / "t.xml", (8, 24), (40, 42))
    # of 32 x 32 map px of 80 um: a region on the lesion, with a hole; one on the ITC; one on nothing; a single px
    prob = squares(32, (5, 5, 11, 11), (19, 19, 22, 22), (0, 28, 3, 32), (30, 0, 31, 1))
    prob[0, 7, 7], prob[0, 20, 20] = 0.2, 1.0
    camelyon.add("t", "asap_xml", "t.xml", 40.0, prob)
    camelyon.add("n", "none", None, 40.0, squares(32, (2, 2, 4, 4)))
    amounts, regions = camelyon.run(OperatingPoint(threshold=0.4, min_region_um2=12800.0, max_hole_um2=6400.0))
    normal, tumour = amounts
    assert (tumour["num_regions"], tumour["num_lesions"], tumour["num_itc"]) == (3, 1, 1)
    assert (normal["num_regions"], normal["num_lesions"], normal["num_itc"]) == (1, 0, 0)
    assert (tumour["tumour_px"], tumour["tissue_px"]) == (36 + 9 + 12, 1024)
    assert tumour["burden_pred"] == 100 * 57 / 1024
    assert (tumour["true_px"], tumour["intersection_px"], tumour["pred_px"]) == (64 + 1, 36 + 1, 57)
    assert tumour["tumour_mm2"] == pytest.approx(57 * 6400 / 1e6)
    assert tumour["pq_counts"] is None
    found = [(row["slide_id"], row["region"], row["area_px"], row["lesion"]) for row in regions]
    assert found == [("n", 1, 4, 0), ("t", 1, 12, 0), ("t", 2, 36, 1), ("t", 3, 9, -1)]
    assert (regions[2]["x0"], regions[2]["y1"], regions[2]["centroid_x0"]) == (10.0, 22.0, 16.0)
    assert regions[2]["prob_max"] == pytest.approx(0.8)
    assert regions[2]["prob_mean"] == pytest.approx((35 * 0.8 + 0.2) / 36)
    assert (regions[3]["peak_x0"], regions[3]["peak_y0"]) == (41.0, 41.0)
    geojson = json.loads((camelyon.paths.regions / "t.geojson").read_text())
    assert [one["properties"]["name"] for one in geojson["features"]] == ["region 1", "region 2", "region 3"]
    assert (camelyon.paths.regions / "n.xml").is_file()
    # no colours in this cohort: class indices on the map's grid, holes filled, what is too small removed
    assert sorted(one.name for one in camelyon.paths.masks.iterdir()) == ["n.png", "t.png"]
    mask = squares(32, (5, 5, 11, 11), (19, 19, 22, 22), (0, 28, 3, 32))[0] > 0.5
    with Image.open(camelyon.paths.masks / "t.png") as picture:
        assert picture.mode == "L"
        assert np.array_equal(np.asarray(picture), mask.astype(np.uint8))


def test_geojson_counts_from_the_corner_that_qupath_counts_from(
    camelyon: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A slide without openslide.bounds first, then the same one with them."""
    camelyon.add("n", "none", None, 40.0, squares(32, (2, 4, 6, 10)))  # level-0 px 8..20 by 4..12
    point = OperatingPoint(threshold=0.4)
    plain = camelyon.run(point)
    xml = (camelyon.paths.regions / "n.xml").read_bytes()
    bounds = {"x": "5", "y": "3", "width": "50", "height": "40"}

    @contextlib.contextmanager
    def with_bounds(path: Path, slide_id: str) -> Iterator[SlidePixels]:
        with open_slide(path, slide_id) as slide:
            slide.properties = {f"openslide.bounds-{name}": value for name, value in bounds.items()}
            yield slide

    def corners() -> list[list[int]]:
        (one,) = json.loads((camelyon.paths.regions / "n.geojson").read_text())["features"]
        return one["geometry"]["coordinates"][0]

    assert corners() == [[8, 4], [20, 4], [20, 12], [8, 12], [8, 4]]
    monkeypatch.setattr(quantify, "open_slide", with_bounds)
    assert camelyon.run(point) == plain  # the tables count from the full slide, as ASAP does
    assert corners() == [[3, 1], [15, 1], [15, 9], [3, 9], [3, 1]]
    assert (camelyon.paths.regions / "n.xml").read_bytes() == xml


def test_point_and_colours_are_read_once_for_all_slides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = Project(tmp_path, recipe("demo-panda"), [])
    write_point(project.paths.operating_point, OperatingPoint(threshold=0.3))
    nine = (0.5,) * 9
    colour = ColourModel(6, 2, (2,), nine, nine, (nine,), (0.0,))
    write_json(project.paths.model / "colour.json", colour.to_json())
    read, plain = [], Path.read_text
    monkeypatch.setattr(Path, "read_text", lambda self, **options: read.append(self.name) or plain(self, **options))
    stage: Any = SimpleNamespace(paths=project.paths, recipe=project.recipe, cohort_root=project.cohort)
    jobs = quantify._jobs(stage, [{"slide_id": name} for name in "abc"], tmp_path, tmp_path)
    assert [job.row["slide_id"] for job in jobs] == ["a", "b", "c"]
    assert all((job.point.threshold, job.baseline) == (0.3, colour) for job in jobs)
    assert sorted(read) == sorted([project.paths.operating_point.name, "colour.json"])


def test_folders_without_a_slide_say_so(camelyon: Project) -> None:
    camelyon.add("n", "none", None, None, squares(32))
    camelyon.rows[0]["split"] = "train"
    camelyon.run(OperatingPoint())
    assert (camelyon.paths.masks / "none.txt").read_text() == (camelyon.paths.regions / "none.txt").read_text()


def test_the_recipes_threshold_goes_before_the_operating_points(camelyon: Project) -> None:
    camelyon.add("n", "none", None, None, squares(32, (2, 2, 4, 4)))
    assert camelyon.run(OperatingPoint(threshold=0.5))[0][0]["tumour_px"] == 4
    camelyon.recipe = recipe("demo-camelyon", quantify={"threshold": 0.9, "froc": True})
    amounts, regions = camelyon.run(OperatingPoint(threshold=0.5))
    assert (amounts[0]["tumour_px"], regions) == (0, [])


def test_lesions_are_null_where_they_are_not_known_or_not_asked_for(camelyon: Project) -> None:
    asap(camelyon.cohort / "t.xml", (8, 24))
    camelyon.add("no_mpp", "asap_xml", "t.xml", None, squares(32, (5, 5, 11, 11)))
    camelyon.add("partly", "asap_xml", "t.xml", 40.0, squares(32, (5, 5, 11, 11)))
    camelyon.rows[-1]["exhaustive"] = False
    camelyon.add("unknown", "unknown", None, 40.0, squares(32, (5, 5, 11, 11)))
    for asked in (True, False):
        camelyon.recipe = recipe("demo-camelyon", quantify={"froc": asked})
        amounts, regions = camelyon.run(OperatingPoint())
        assert [(row["num_lesions"], row["num_itc"], row["num_regions"]) for row in amounts] == [(None, None, 1)] * 3
        assert [row["lesion"] for row in regions] == [None] * 3


def test_instances_of_a_tile_of_a_fold(tmp_path: Path) -> None:
    project = Project(tmp_path, recipe("demo-pannuke"), [])
    prob = np.zeros((6, EDGE, EDGE), dtype=np.float32)
    prob[0] = 0.5
    prob[1, :10, :10] = 0.9  # hits its nucleus exactly
    prob[2, 30:40, 30:40] = 0.9  # half of a nucleus of the same class and no more: no match
    prob[5, 60:, 60:] = 0.9
    project.add("fold1_000000", "fold", "masks.npy#0", 0.25, prob)
    ids = np.zeros((1, EDGE, EDGE, 6), dtype=np.float64)
    ids[0, :10, :10, 0] = 3  # channel 0 is class 1, neoplastic
    ids[0, 30:40, 20:40, 1] = 4
    project.cohort.mkdir()
    np.save(project.cohort / "masks.npy", ids)
    amounts, regions = project.run(OperatingPoint())
    # per class: sum of IoU, matched, said without a nucleus, nuclei without a match
    assert amounts[0]["pq_counts"] == (0, 0, 0, 0, 1, 1, 0, 0, 0, 0, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0)
    assert amounts[0]["class_px"][1:] == (100, 100, 0, 0, 16)
    assert [row["class_index"] for row in regions] == [1, 2, 5]
    features = json.loads((project.paths.regions / "fold1_000000.geojson").read_text())["features"]
    named = [one["properties"]["classification"]["name"] for one in features]
    assert named == ["neoplastic", "inflammatory", "epithelial"]


def test_a_mask_in_the_cohorts_colours_is_cleaned_too(tmp_path: Path) -> None:
    """No um/px is known: a map px of 2 level-0 px is taken as 1 um."""
    project = Project(tmp_path, recipe("demo-biopsy"), [])
    prob = np.zeros((6, 32, 32), dtype=np.float32)
    prob[0] = 0.3
    prob[3, 4:8, 4:8] = 0.9
    prob[1, 7, 7] = 1.0  # another class within the same tumour: small too, but a part of something larger
    prob[2, 20, 20] = 0.9  # too small to stay
    project.add("b", "unknown", None, None, prob)
    amounts, regions = project.run(OperatingPoint(min_region_um2=2.0))
    assert amounts[0]["class_px"] == (1024 - 16, 1, 0, 15, 0, 0)
    assert [row["class_index"] for row in regions] == [3, 1]
    assert [row["area_px"] for row in regions] == [15, 1]
    with Image.open(project.paths.masks / "b.png") as picture:
        pixels = np.asarray(picture.convert("RGB"))
    assert pixels.shape == (EDGE, EDGE, 3)
    assert (pixels[8:14, 8:14] == (0, 255, 0)).all()
    assert (pixels[14:16, 14:16] == (255, 255, 0)).all()
    features = json.loads((project.paths.regions / "b.geojson").read_text())["features"]
    classified = [one["properties"]["classification"] for one in features]
    assert classified == [{"name": "green", "color": [0, 255, 0]}, {"name": "yellow", "color": [255, 255, 0]}]
    assert not pixels[32:].any()
