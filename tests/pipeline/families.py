"""Every family through every stage, at the smallest size."""

from typing import Any

CONTEXT = "demo-camelyon-context"
STAGES = ("inventory", "ingest", "index", "sample", "validate", "extract", "tune", "train", "calibrate")
STAGES += ("infer", "quantify", "embed", "grade", "report")
QUICK: dict[str, dict[str, Any]] = {
    "train": {"max_epochs": 1},
    "embed": {"top_patches": 3, "random_patches": 1},
    "grade": {"seeds": 1, "max_epochs": 2},
    "report": {"bootstrap": 20, "picture_px": 256, "views": 1},
}
# one family has its recipe's own network, which takes half of the time; `make reproduce` has those of all
LITTLE: dict[str, dict[str, Any]] = QUICK | {"train": QUICK["train"] | {"encoder": "test_resnet", "weights": "none"}}
SMALL: dict[str, dict[str, dict[str, Any]]] = {
    "demo-panda": LITTLE
    | {"sample": {"max_tumor_per_slide": 2, "max_normal_per_slide": 2}, "calibrate": {"trials": 2}},
    # a drawn raster of 512 px has one level; coarser map px than that of the mask are another case of its size
    "demo-biopsy": LITTLE
    | {"index": {"level": 0}, "sample": {"max_tumor_per_slide": 8}, "tune": {"trials": 2}}
    | {"calibrate": {"min_region_um2": 0.0, "max_hole_um2": 0.0}},  # so that masks are the map's likeliest classes
    "demo-pannuke": LITTLE,
    CONTEXT: QUICK | {"calibrate": {"temperature": False, "trials": 2}},  # so that the map has what the scores say
}


def run_all(project: Any) -> Any:
    """Run every stage of these recipes, then the summary."""
    for name, changes in SMALL.items():
        project.run(name, project.recipe(name, changes), *STAGES)
    project.sum_up(*SMALL)
    return project
