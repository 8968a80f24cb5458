"""Families and losses of plug-ins, beside Acinus's own."""

from typing import get_args

from acinus.errors import AcinusError
from acinus.params.cohorts import RECIPES
from acinus.params.recipe import Recipe
from acinus.params.training import Term
from acinus.plugins import finding, loading


def check_plugins() -> None:
    """Refuse plug-ins with the name of a loss or a family that Acinus has. AcinusError: see `finding.everything`."""
    finding.with_builtin("loss", get_args(Term), "learning/losses.py")
    finding.with_builtin("cohort_family", RECIPES, "params/cohorts.py")


def recipe_of(family: str) -> type[Recipe] | None:
    """Return the recipe of a family, Acinus's own or a plug-in's; None where there is none of this name.

    Raises:
        AcinusError: a plug-in that cannot be used; one line with its file and line number.
    """
    if family in RECIPES:
        return RECIPES[family]
    plugin = loading.named("cohort_family", family)
    if plugin is None:
        return None
    model = plugin.options.get("recipe")
    if not (isinstance(model, type) and issubclass(model, Recipe)):
        raise AcinusError(f"{plugin.plugin.place}: recipe = {model!r} of family {family!r} is no subclass of Recipe")
    anew = sorted(set(vars(model).get("__annotations__", {})) - {"family", "task", "cohort"})
    if anew:
        raise AcinusError(
            f"{plugin.plugin.place}: the recipe of family {family!r} has fields of its own ({', '.join(anew)}); it may "
            "say anew family, task and cohort; put what is the family's into its section cohort"
        )
    return model
