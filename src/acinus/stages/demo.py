"""demo: params `demo` -> data/demo/<family>/."""

from functools import partial
from typing import Any

from acinus.errors import RecipeError
from acinus.files import atomic_path
from acinus.stage import ProjectStage
from acinus_demo import camelyon, mil, panda, pannuke, rgb_mask, slides

FAMILIES: dict[str, Any] = {
    "slides": slides,
    "camelyon": camelyon,
    "panda": panda,
    "rgb_mask": rgb_mask,
    "pannuke": pannuke,
    "mil": mil,
}
"""What draws each family: plan(seed, settings), draw_slide(plan, root), finish(plans, root)."""


def run(stage: ProjectStage, family: str) -> None:
    """Draw the cohort of one family: every slide from its own seed, so the order of work changes nothing."""
    if family not in stage.project.demo.families:
        allowed = ", ".join(stage.project.demo.families) or "none"
        raise RecipeError(f"family {family!r}: not in demo.families of params.yaml; there: {allowed}")
    artist = FAMILIES[family]
    plans = artist.plan(stage.project.seed, getattr(stage.project.demo, family))
    with atomic_path(stage.root / "data" / "demo" / family) as folder:
        for number, _ in enumerate(stage.map(partial(artist.draw_slide, root=folder), plans), 1):
            stage.say(f"{plans[number - 1].slide_id} ({number} of {len(plans)})")
        artist.finish(plans, folder)
    stage.log.log_metrics({"n_slides": len(plans)})
