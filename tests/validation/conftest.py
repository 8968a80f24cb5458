"""A small good cohort as tables: two slides per split, one with tumour, three normal and three tumour patches each."""

from dataclasses import dataclass, field, replace
from pathlib import Path

import pandas as pd
import pytest

from acinus import params, records
from acinus.labels.places import Places
from acinus.validation.suites import Suite, all_suites
from acinus.validation.tables import manifest_view, patch_view, split_view
from acinus.validation.verdict import Verdict, judge

SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class Case:
    """The tables of a cohort, and what the suites say of them."""

    root: Path
    manifest: pd.DataFrame
    index: pd.DataFrame
    sample: pd.DataFrame
    settings: params.Sample = field(default_factory=params.Sample)
    split_by: str = "patient"
    task: str = "patch_classification"
    tolerate: tuple[str, ...] = ()

    @property
    def places(self) -> Places:
        """Where the images lie: the cohort's folder, and beside it what ingest made."""
        return Places(self.root, self.root.parent / "rasters")

    def having(self, table: str, row: int, **values: object) -> "Case":
        """The same cohort with other values in one row of one table."""
        frame = getattr(self, table).copy()
        for column, value in values.items():
            frame.loc[row, column] = value
        return replace(self, **{table: frame})

    def suites(self) -> tuple[Suite, ...]:
        return all_suites(self.settings, params.Validate(balance_tolerance=0.25), self.split_by, self.task)

    def frames(self) -> dict[str, pd.DataFrame]:
        return {
            "manifest": manifest_view(self.manifest, self.places, self.tolerate),
            "index": patch_view(self.index, self.manifest),
            "sample": patch_view(self.sample, self.manifest),
            "splits": split_view(self.manifest, self.sample),
        }

    def judge(self, docs: Path, *tables: str, rows_shown: int = 5) -> Verdict:
        """The verdict over the named tables (all without a name)."""
        suites = tuple(suite for suite in self.suites() if not tables or suite.table in tables)
        return judge(self.frames(), suites, rows_shown, docs)


def _slides(root: Path) -> list[dict[str, object]]:
    rows = []
    for number, split in enumerate(SPLITS):
        for label in ("normal", "tumor"):
            slide_id = f"{split}_{label}"
            (root / f"{slide_id}.tif").write_bytes(b"II*")
            rows.append(
                {
                    "slide_id": slide_id,
                    "image": f"{slide_id}.tif",
                    "label_source": None,
                    "label_kind": "none" if label == "normal" else "asap_xml",
                    "exhaustive": True,
                    "split": split,
                    "patient": f"patient_{number}_{label}",
                    "provider": "centre",
                    "slide_label": label,
                    "mpp_x": 0.25,
                    "mpp_y": 0.25,
                    "mpp_source": "tag",
                    "width": 1000,
                    "height": 800,
                    "isup": None if label == "normal" else number,
                    "gleason": None,
                    "tissue_type": ("Breast", "Colon")[number % 2] if label == "tumor" else None,
                    "split_rule": "drawn",
                    "derived": False,
                    "findings": "",
                    "status": "ok",
                    "reason": "",
                    "fingerprint": f"print of {slide_id}",
                    "label_fingerprint": None,
                }
            )
    return rows


def _patches() -> list[dict[str, object]]:
    return [
        {
            "slide_id": f"{split}_{label}",
            "x0": 100 * column,
            "y0": 0,
            "downsample": 1.0,
            "patch_px": 100,
            "tissue_fraction": 1.0,
            "tumour_fraction": 1.0 if label == "tumor" else 0.0,
            "class_fractions": [0.0, 1.0] if label == "tumor" else [1.0, 0.0],
            "label": records.TUMOR if label == "tumor" else records.NORMAL,
            "split": split,
        }
        for split in SPLITS
        for label in ("normal", "tumor")
        for column in range(3)
    ]


@pytest.fixture
def case(tmp_path: Path) -> Case:
    root = tmp_path / "cohort"
    root.mkdir()
    patches = records.frame(records.SAMPLE, _patches())
    return Case(root, records.frame(records.MANIFEST, _slides(root)), patches, patches.copy())
