"""A search of `grade`'s settings by Optuna: within one run, by its validation slides, so that no slide it predicts is
looked at.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from acinus import params
from acinus.errors import AcinusError
from acinus.params.results import Choices, Value

if TYPE_CHECKING:
    from optuna import Trial

Loss = Callable[[params.Grade], float]
"""Settings -> loss of the validation slides after training with them."""


def tuned(settings: params.Grade, has_val: bool, loss: Loss, seed: int) -> params.Grade:
    """Return the settings of the least loss among `grade.trials` trials, the first of which are the recipe's own.

    A trial whose training diverges counts for nothing. Deterministic. Nothing is kept of a killed search: trials are
    short.

    Raises:
        AcinusError: no validation slides, or no trial with a finite loss.
    """
    if not settings.trials:
        return settings
    if not has_val:
        raise AcinusError(
            f"grade.trials = {settings.trials}: a run has no validation slides to choose by; write cohort.folds.k: 3 "
            "or more, label slides of split val, or write trials: 0"
        )
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed % 2**32))
    own = {key: getattr(settings, key) for key in settings.space}
    best, least, last = None, float("inf"), ""
    for number in range(settings.trials):
        trial = study.ask()
        values = own if number == 0 else {key: suggested(trial, key, space) for key, space in settings.space.items()}
        chosen = with_values(settings, values)
        try:
            value = loss(chosen)
        except AcinusError as error:
            last = str(error)
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
            continue
        if number == 0:  # not the sampler's own idea
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
        else:
            study.tell(trial, value)
        if value < least:
            best, least = chosen, value
    if best is None:
        raise AcinusError(f"grade.trials: none of {settings.trials} trials learned anything ({last})")
    return best


def suggested(trial: "Trial", key: str, space: params.Range | params.Choices) -> Value:
    """Return a value of a setting."""
    if isinstance(space, Choices):
        return space.choices[trial.suggest_categorical(key, list(range(len(space.choices))))]
    if space.whole:
        return int(trial.suggest_int(key, int(space.low), int(space.high), log=space.log))
    return float(trial.suggest_float(key, space.low, space.high, log=space.log))


def with_values(settings: params.Grade, values: dict[str, Value]) -> params.Grade:
    """Return the section with other values, checked like a recipe's."""
    return params.Grade.model_validate({**settings.model_dump(), **values})
