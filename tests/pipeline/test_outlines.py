"""Segmentation from outlines: ASAP polygons through index and extract to masks worked by hand, and on to a report."""

from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from acinus import records
from acinus.files import read_json
from acinus.patches.keys import patch_key
from acinus.patches.store import open_mask_store

EDGE_PX, PATCH_PX = 256, 64
LESION, CUT = (32, 32, 160, 160), (96, 96, 128, 128)  # x0, y0, x1, y1, level-0 px
PARTLY = "tumor_002"  # nothing is known outside its outline
UNTIL_EXTRACT = ("inventory", "ingest", "index", "sample", "validate", "extract")
CHANGES: dict[str, dict[str, Any]] = {
    "cohort": {"not_exhaustive": [PARTLY], "exclude": {}, "val_fraction": 0.5, "max_bad_fraction": 0.0},
    "index": {"patch_px": PATCH_PX, "stride_px": PATCH_PX, "level": 0, "mpp": None, "tissue": {"method": "all"}},
    "sample": {"balance": []},
    "extract": {"codec": "png"},
    "train": {"model": "unet", "encoder": "test_resnet.r160_in1k", "weights": "none", "max_epochs": 1, "batch_size": 4},
    "calibrate": {"trials": 2, "max_slides": 2},
    "infer": {"stride_px": PATCH_PX, "map_downsample": 4.0},
    "grade": {"target": "none"},
    "report": {"bootstrap": 20, "picture_px": 256, "views": 1},
}


def annotation(group: str, box: tuple[int, int, int, int]) -> str:
    x0, y0, x1, y1 = box
    corners = enumerate(((x0, y0), (x1, y0), (x1, y1), (x0, y1)))
    dots = "".join(f'<Coordinate Order="{n}" X="{x}" Y="{y}"/>' for n, (x, y) in corners)
    return (
        f'<Annotation Name="a" Type="Polygon" PartOfGroup="{group}" Color="#F4FA58">'
        f"<Coordinates>{dots}</Coordinates></Annotation>"
    )


def write_cohort(root: Path) -> None:
    root.mkdir()
    names = ("tumor_001", PARTLY, "tumor_003", "normal_001", "normal_002", "test_001", "test_002")
    for number, name in enumerate(names):
        noise = np.random.default_rng(number).normal(0, 18, (EDGE_PX, EDGE_PX, 1))
        pixels = np.clip(np.array([205, 120, 170]) + noise, 0, 255).astype(np.uint8)
        tags = {"resolution": (2e4, 2e4), "resolutionunit": 3}
        tifffile.imwrite(root / f"{name}.tif", pixels, tile=(64, 64), photometric="rgb", metadata=None, **tags)
        if name.startswith("tumor") or name == "test_001":
            both = annotation("_0", LESION) + annotation("_2", CUT)
            text = f"<ASAP_Annotations><Annotations>{both}</Annotations></ASAP_Annotations>"
            (root / f"{name}.xml").write_text(text)
    (root / "reference.csv").write_text("test_001,Tumor,IDC,Macro\ntest_002,Normal,None,None\n")


def by_hand(slide_id: str) -> np.ndarray:
    """The whole slide's classes: 1 inside the outline but for the cut-out, 255 outside it where that is not known."""
    classes = np.zeros((EDGE_PX, EDGE_PX), dtype=np.uint8)
    if slide_id == PARTLY:
        classes[:] = 255
    if slide_id.startswith("tumor") or slide_id == "test_001":
        classes[32:160, 32:160] = 1
        classes[96:128, 96:128] = 0  # looked at, and found free of tumour
    return classes


@pytest.fixture(scope="module")
def done(undrawn: Any) -> Any:
    """The recipe's paths after extract."""
    write_cohort(undrawn.root / "outlined")
    cohort = CHANGES["cohort"] | {"root": str(undrawn.root / "outlined")}
    recipe = undrawn.recipe("camelyon-segmentation", CHANGES | {"cohort": cohort})
    return undrawn, recipe, undrawn.run("outlined", recipe, *UNTIL_EXTRACT)


def test_index_has_the_outlines_shares_and_ignores_only_what_is_all_unknown(done: Any) -> None:
    index = records.read(records.INDEX, done[2].index).set_index(["slide_id", "y0", "x0"])
    assert len(index) == 7 * (EDGE_PX // PATCH_PX) ** 2
    for (slide_id, y0, x0), row in index.iterrows():
        truth = by_hand(slide_id)[y0 : y0 + PATCH_PX, x0 : x0 + PATCH_PX]
        assert row["tumour_fraction"] == pytest.approx((truth == 1).mean(), abs=1e-12)
        assert row["class_fractions"] == pytest.approx([(truth == 0).mean(), (truth == 1).mean()], abs=1e-12)
        expected = records.IGNORE if (truth == 255).all() else int((truth == 1).mean() >= 0.01)
        assert row["label"] == expected, (slide_id, x0, y0)


def test_extracted_masks_are_the_outlines_px_by_px(done: Any) -> None:
    sample = records.read(records.SAMPLE, done[2].sample)
    assert len(sample) > 40
    masks = open_mask_store(done[2].patches)
    with closing(masks):
        for row in records.rows(sample):
            x0, y0 = row["x0"], row["y0"]
            truth = by_hand(row["slide_id"])[y0 : y0 + PATCH_PX, x0 : x0 + PATCH_PX]
            key = patch_key(row["slide_id"], x0, y0)
            np.testing.assert_array_equal(np.squeeze(masks.read(key)), truth)


def test_the_rest_of_the_way_gives_figures_of_a_segmentation(done: Any) -> None:
    project, recipe, paths = done
    project.run("outlined", recipe, "tune", "train", "calibrate", "infer", "quantify", "embed", "grade", "report")
    metrics = read_json(paths.reports / "metrics.json")
    assert metrics["n_slides"] == 2
    assert {"dice_mean_tumor", "miou", "burden_mae"} <= set(metrics)
    page = (paths.reports / "index.html").read_text()
    assert "foreground classes" not in page
    # of the annotation, all of it tissue here: 128 x 128 less 32 x 32 of 256 x 256 px
    quantities = records.read(records.QUANTITIES, paths.quantities).set_index("slide_id")
    assert quantities.loc["test_001", "burden_true"] == pytest.approx(100 * (128**2 - 32**2) / 256**2)
