"""What a search may choose from, between tune.space and Optuna."""

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from acinus.params.results import Choices, Space, Value


def distribution(space: Space) -> BaseDistribution:
    """Return the space as Optuna draws from it."""
    if isinstance(space, Choices):
        return CategoricalDistribution(space.choices)
    if space.whole:
        return IntDistribution(int(space.low), int(space.high), log=space.log)
    return FloatDistribution(space.low, space.high, log=space.log)


def inside(value: Value, space: Space) -> bool:
    """Return whether a value of the recipe is one that the space could give."""
    if isinstance(space, Choices):
        return any(value == one and type(value) is type(one) for one in space.choices)
    return isinstance(value, int | float) and not isinstance(value, bool) and space.low <= value <= space.high


def readable(value: Value, space: Space) -> Value:
    """Return a drawn number with six digits, still within the space, for people read it in a recipe."""
    if isinstance(space, Choices) or not isinstance(value, float):
        return value
    return min(max(float(f"{value:.6g}"), space.low), space.high)
