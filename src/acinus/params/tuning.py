"""Settings of `train` changed by dotted key, as tune's space and best.yaml name them."""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from acinus.errors import RecipeError
from acinus.params.recipe import Recipe
from acinus.params.results import Choices, Range, Value


def with_values(recipe: Recipe, values: Mapping[str, Value]) -> Recipe:
    """Return the recipe with settings below `train` changed: dotted key -> value, a list's item by its number.

    The whole recipe is checked again, so a value that its page would refuse is refused here.

    Raises:
        RecipeError: a key that train does not have, or a value that it does not allow.
    """
    if not values:
        return recipe
    document = recipe.model_dump(mode="python", by_alias=True)
    for key, value in values.items():
        place, step = _place(document["train"], key)
        if isinstance(place[step], dict | list):
            raise RecipeError(f"train.{key} is a section, expected a single value below it")
        place[step] = value
    try:
        return type(recipe).model_validate(document)
    except ValidationError as error:
        changed = ", ".join(f"train.{key} = {value!r}" for key, value in values.items())
        faults = "; ".join(str(fault["msg"]).removeprefix("Value error, ") for fault in error.errors())
        raise RecipeError(f"{changed}: {faults}") from error


def value_of(recipe: Recipe, key: str) -> Any:
    """Return the recipe's own value of a dotted key below `train`."""
    place, step = _place(recipe.train.model_dump(mode="python"), key)
    return place[step]


def check_space(recipe: Recipe) -> None:
    """Refuse a `tune.space` that names what train does not have, or a value that it does not allow.

    Raises:
        RecipeError: names the key and the value.
    """
    for key, space in recipe.tune.space.items():
        ends: list[Value] = space.choices if isinstance(space, Choices) else [space.low, space.high]
        for end in ends:
            value = int(end) if isinstance(space, Range) and space.whole else end
            try:
                with_values(recipe, {key: value})
            except RecipeError as error:
                hint = "; write whole: true for integers" if "integer" in str(error) else ""
                raise RecipeError(f"tune.space.{key}: {error}{hint}") from error


def _place(train: dict[str, Any], key: str) -> tuple[Any, Any]:
    """Return the section or list in which a dotted key's value stands, and the key or number that it has there."""
    *above, last = key.split(".")
    place: Any = train
    for part in above:
        place = place[_step(place, part, key)]
    return place, _step(place, last, key)


def _step(place: Any, part: str, key: str) -> Any:
    """Return the key or number by which `part` stands in a section or list."""
    if isinstance(place, dict) and part in place:
        return part
    if isinstance(place, list) and part.isdecimal() and int(part) < len(place):
        return int(part)
    known = ", ".join(place) if isinstance(place, dict) else f"0 to {len(place) - 1}" if isinstance(place, list) else ""
    raise RecipeError(f"train.{key}: {part!r} is not there; known: {known or 'nothing below it'}")
