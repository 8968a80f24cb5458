"""demo: params `demo` -> data/demo/<family>/."""

from functools import partial

from acinus.cohorts.demo import camelyon
from acinus.errors import RecipeError
from acinus.files import atomic_path
from acinus.stage import ProjectStage


def run(stage: ProjectStage, family: str) -> None:
    """Draw the cohort of one family: every slide from its own seed, so the order of work changes nothing."""
    if family not in stage.project.demo.families:
        allowed = ", ".join(stage.project.demo.families) or "none"
        raise RecipeError(f"family {family!r}: not in demo.families of params.yaml; there: {allowed}")
    plans = camelyon.plan(stage.project.seed, stage.project.demo.camelyon)
    with atomic_path(stage.root / "data" / "demo" / family) as folder:
        for number, _ in enumerate(stage.map(partial(camelyon.draw_slide, root=folder), plans), 1):
            stage.say(f"{plans[number - 1].slide_id} ({number} of {len(plans)})")
        camelyon.write_reference(plans, folder)
    stage.log.log_metrics({"n_slides": len(plans)})
