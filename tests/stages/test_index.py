"""One slide indexed: whose word is taken for tissue."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from acinus import params, records
from acinus.errors import RecipeError, SlideError
from acinus.labels.labels import LabelRules
from acinus.labels.places import Places
from acinus.patches.index import LabelRule
from acinus.stages.index import Job, index_one
from acinus.tissue.mask import load_tissue

EDGE = 128
INDEX = {"level": 0, "patch_px": 32, "stride_px": 32, "tissue": {"method": "annotation", "downsample": 8.0}}
RULES = LabelRules(
    ("other", "cancer"),
    {"radboud": {0: "other", 1: "other", 3: "cancer"}, "karolinska": {0: "other", 1: "other", 2: "cancer"}},
    tissue_values={"radboud": (1, 3)},
)


def job(root: Path, **changes: Any) -> Job:
    """A pink slide whose mask has glass above, stroma in the middle and cancer below."""
    mask = np.zeros((EDGE, EDGE), np.uint8)
    mask[32:64], mask[64:] = 1, 3
    tifffile.imwrite(root / "a.tif", np.full((EDGE, EDGE, 3), (230, 150, 200), np.uint8), tile=(64, 64))
    tifffile.imwrite(root / "m.tif", mask, tile=(64, 64), compression="lzw")
    row: dict[str, Any] = dict.fromkeys(records.MANIFEST.schema.names)
    row |= {"slide_id": "a", "image": "a.tif", "label_source": "m.tif", "label_kind": "mask", "exhaustive": True}
    row |= {"provider": "radboud", "split": "train", "width": EDGE, "height": EDGE, "derived": False}
    index = params.Index.model_validate(INDEX)
    rule = LabelRule(2, (1,), "segmentation")
    return Job(row | changes, Places(root, root), root, index, RULES, rule)


def test_tissue_is_what_the_annotation_says_whatever_the_slide_looks_like(tmp_path: Path) -> None:
    rows = index_one(job(tmp_path)).to_pandas()
    assert load_tissue(tmp_path / "a.png", EDGE, EDGE).mask.mean(axis=1).tolist() == [0.0] * 4 + [1.0] * 12
    assert sorted(set(rows["y0"])) == [32, 64, 96]
    assert (rows["tissue_fraction"] == 1.0).all()


@pytest.mark.parametrize(
    "changes",
    [{"provider": "karolinska"}, {"label_kind": "unknown", "label_source": None}],
    ids=["values not declared", "no label"],
)
def test_a_label_that_cannot_say_is_one_line_with_a_remedy(tmp_path: Path, changes: dict[str, Any]) -> None:
    with pytest.raises(SlideError, match=r"slide a: index\.tissue\.method = annotation.*write method density, list"):
        index_one(job(tmp_path, **changes))


def test_a_recipe_whose_cohort_never_says_is_refused_at_once() -> None:
    root = Path(__file__).parents[2]
    text = (root / "recipes" / "demo-camelyon.yaml").read_text()
    assert "method: density" in text
    data = params.load_recipe(root, "demo-camelyon").model_dump(by_alias=True)
    data["index"]["tissue"]["method"] = "annotation"
    with pytest.raises(RecipeError, match=r"annotation: needs cohort\.tissue_values or a class tissue; write density"):
        params.check_recipe("demo-camelyon", data)
