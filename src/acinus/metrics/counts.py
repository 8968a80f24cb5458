"""How many slides and patients a report is of."""

from acinus.metrics.metric import Case, count
from acinus.metrics.setup import PATCHES, SEGMENTATION, SLIDES

EVERY_TASK = (PATCHES, SEGMENTATION, SLIDES)


def _unlabelled(case: Case) -> int:
    """Return how many of the scored slides have no annotation to compare with."""
    manifest = case.behind.manifest
    unknown = manifest.loc[manifest["label_kind"] == "unknown", "slide_id"]
    return int(case.slides["slide_id"][case.scored].isin(unknown).sum())


def _seen(case: Case) -> int:
    """Return how many patients of the scored slides have slides that the model was trained on as well."""
    manifest = case.behind.manifest
    trained = manifest.loc[(manifest["status"] == "ok") & (manifest["split"] == "train"), "patient"]
    return int(case.slides["patient"][case.scored].drop_duplicates().isin(trained).sum())


METRICS = (
    count("n_slides", "slides that are scored", lambda case: int(case.scored.sum()), tasks=EVERY_TASK),
    count(
        "n_slides_excluded",
        "test slides that are not scored, each with its reason on the page",
        lambda case: case.n_test - int(case.scored.sum()),
    ),
    count(
        "n_slides_unlabelled",
        "scored slides without an annotation, left out of every metric that needs one",
        _unlabelled,
        tables=("manifest",),
    ),
    count(
        "n_patients",
        "patients of the scored slides",
        lambda case: int(case.slides["patient"][case.scored].nunique()),
        tasks=EVERY_TASK,
    ),
    count(
        "n_patients_seen",
        "patients of the scored slides who also have training slides; no interval corrects for that",
        _seen,
        tables=("manifest",),
    ),
)
