"""The tables, figures and files of a recipe that has run, as pandas."""

from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from acinus import records
from acinus.api.arguments import AnyPath, path_of, text
from acinus.api.probability import ProbabilityMap
from acinus.api.slide import Slide
from acinus.api.slide import open_slide as open_path
from acinus.api.tissue import Tissue
from acinus.errors import AcinusError
from acinus.files import read_json
from acinus.labels.places import Places, mpp_of
from acinus.metrics.per_slide import TABLE, read_table
from acinus.params import cohort_root, load_recipe
from acinus.paths import Paths
from acinus.records import Table
from acinus.tissue.mask import load_tissue


class Run:
    """A recipe of a project after `dvc repro`. Made by `open_run`. Tables are read when first asked for, and kept.

    root: of the project. name: of the recipe. recipe: its keys. paths: where its files lie.
    What columns mean: docs/report.md for `slides`, acinus.records for the others.
    """

    def __init__(self, root: Path, name: str) -> None:
        self.root, self.name = root, name
        self.recipe = load_recipe(root, name)
        self.paths = Paths(root, name)

    @property
    def classes(self) -> tuple[str, ...]:
        """The recipe's classes, in the order of their indices."""
        return tuple(self.recipe.classes)

    @cached_property
    def manifest(self) -> pd.DataFrame:
        """Every slide of the cohort: file, label, split, patient, um/px, status and why (stage ingest)."""
        return self._table(records.MANIFEST, self.paths.manifest)

    @cached_property
    def candidates(self) -> pd.DataFrame:
        """Every candidate patch with its shares of tissue and classes (stage index); millions of a large cohort."""
        return self._table(records.INDEX, self.paths.index)

    @cached_property
    def patches(self) -> pd.DataFrame:
        """The patches that were drawn for training and test (stage sample)."""
        return self._table(records.SAMPLE, self.paths.sample)

    @cached_property
    def slides(self) -> pd.DataFrame:
        """Figures of every slide, as in the report's per_slide.csv."""
        return read_table(self.paths.reports / TABLE)

    @cached_property
    def metrics(self) -> dict[str, Any]:
        """The report's figures with their intervals, as in metrics.json; None is undefined."""
        return dict(read_json(self.paths.reports / "metrics.json"))

    @cached_property
    def quantities(self) -> pd.DataFrame:
        """Amounts of every mapped slide: px, mm2, burden, confusion (stage quantify)."""
        return self._table(records.QUANTITIES, self.paths.quantities)

    @cached_property
    def regions(self) -> pd.DataFrame:
        """Every predicted region after clean-up (stage quantify)."""
        return self._table(records.REGIONS, self.paths.region_table)

    @cached_property
    def grades(self) -> pd.DataFrame:
        """Grades of slides (stage grade); empty where the recipe grades none."""
        return self._table(records.GRADES, self.paths.grades)

    @cached_property
    def patch_scores(self) -> pd.DataFrame:
        """Probabilities of the test patches (stage train); empty for a segmentation."""
        return self._table(records.SCORES, self.paths.model / "patch_scores.parquet")

    @cached_property
    def training_log(self) -> pd.DataFrame:
        """Loss and accuracy of every epoch (stage train)."""
        path = self.paths.model / "training_log.csv"
        if not path.is_file():
            raise AcinusError(f"{path}: not found; run the train stage (dvc repro)")
        return pd.read_csv(path)

    def open_slide(self, slide_id: str) -> Slide:
        """Open a slide of the cohort, with the um/px of the manifest.

        Raises:
            AcinusError: no such slide, one that cannot be used (with the reason), or a file that is not there.
        """
        row = self._row(slide_id)
        root = cohort_root(self.root, self.name, self.recipe.cohort)
        return open_path(Places(root, self.paths.rasters).image(row), mpp_of(row))

    def tissue(self, slide_id: str) -> Tissue:
        """Return the tissue of a slide, as stage index found it."""
        row = self._row(slide_id)
        found = load_tissue(self.paths.tissue / f"{slide_id}.png", int(row["width"]), int(row["height"]))
        return Tissue(found.mask, found.width, found.height, mpp_of(row))

    def map(self, slide_id: str) -> ProbabilityMap:
        """Return the probability map of a slide (stage infer), which only slides of infer.splits have."""
        self._row(slide_id)
        return ProbabilityMap.of_file(self.paths.maps / f"{slide_id}.tif")

    def _row(self, slide_id: str) -> dict[str, Any]:
        """Return a usable slide's row of the manifest."""
        text("slide_id", slide_id, "a text, the slide_id of run.manifest")
        rows = records.rows(self.manifest[self.manifest["slide_id"] == slide_id])
        if not rows:
            raise AcinusError(f"slide {slide_id!r}: not in {self.paths.manifest}; give a slide_id of run.manifest")
        if rows[0]["status"] != "ok":
            raise AcinusError(f"slide {slide_id}: {rows[0]['status']}: {rows[0]['reason']}")
        return rows[0]

    def _table(self, table: Table, path: Path) -> pd.DataFrame:
        return records.read(table, path)

    def __repr__(self) -> str:
        return f"<Run {self.name} ({self.recipe.title}) in {self.root}>"


def open_run(root: AnyPath, recipe: str) -> Run:
    """Open a recipe's tables and figures in the project at `root` (the folder of dvc.yaml and params.yaml).

    Its patches are `open_store(run.paths.patches)`, its model is `load_model(run.paths.model)`.

    Raises:
        AcinusError: no such recipe there. A table says which stage writes it, where it has not run.
    """
    return Run(path_of(root, "root"), text("recipe", recipe, "the name of a recipe, a text"))
