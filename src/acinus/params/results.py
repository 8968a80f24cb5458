"""The sections of a recipe that search settings, and that turn maps into amounts and grades."""

from typing import Annotated, Any, Literal, Self

from pydantic import Discriminator, Field, Tag, model_validator

from acinus.params.base import Count, Fraction, NotNegative, Positive, Section, Share

Area = Annotated[float, Field(ge=0.0, le=1e12)]
"""In um2, at most a square metre."""

Value = bool | int | float | str
Measure = Literal["patch_auc", "accuracy", "mdice", "miou"]


class Range(Section):
    """Numbers from `low` to `high`, both included; whole: integers only; log: evenly over the logarithm."""

    low: float
    high: float
    log: bool = False
    whole: bool = False

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.low >= self.high:
            raise ValueError(f"low = {self.low} must be below high = {self.high}")
        if self.log and self.low <= 0:
            raise ValueError(f"low = {self.low} must be above 0 where log is true")
        if self.whole and (self.low % 1 or self.high % 1):
            raise ValueError(f"low = {self.low} and high = {self.high} must be whole numbers where whole is true")
        return self


class Choices(Section):
    """One of the values listed."""

    choices: Annotated[list[Value], Field(min_length=2)]


def _kind_of_space(value: Any) -> str:
    return "choices" if isinstance(value, Choices) or (isinstance(value, dict) and "choices" in value) else "range"


Space = Annotated[
    Annotated[Range, Tag("range")] | Annotated[Choices, Tag("choices")],
    Discriminator(_kind_of_space),
]


class Tune(Section):
    """Optuna over settings of `train`; trials 0: the recipe's own values are the best there are.

    space: dotted key below train (loss.terms.dice, loss.class_weights.1, lr) -> what it may be. objective: of the
    validation patches, the higher the better. startup_trials: drawn at random before the sampler learns and the
    pruner prunes; the first trial is always the recipe's own values. max_epochs: of a trial (null: train.max_epochs).
    storage: journal (a file of the project) or the URL of an RDB that Optuna knows.
    """

    trials: Annotated[int, Field(ge=0)] = 0
    objective: Measure | None = None
    pruner: Literal["median", "hyperband", "none"] = "median"
    startup_trials: Count = 3
    max_epochs: Count | None = None
    storage: Annotated[str, Field(pattern=r"^(journal|[a-z]+(\+[a-z0-9]+)?://.+)$")] = "journal"
    space: dict[str, Space] = {}

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.trials and (self.objective is None or not self.space):
            raise ValueError(f"trials = {self.trials}: needs an objective and a space; write trials: 0 for no search")
        return self


class Calibrate(Section):
    """Temperature, then Optuna over threshold and clean-up, on validation slides only; each is kept where it wins.

    bias: besides the temperature one offset per class on the logits (bias-corrected temperature scaling), for a
    network that takes one class too often; it may then answer with another class than before.
    objective: of whole slides: dice (mean over slides of the mean over all classes but the first: the Dice of a class
    that the slide has, and 1 / (1 + a / false_half_percent) of one that it has not, a being its predicted area in
    percent of the tissue), f1 (of tumour against normal slides, called by grade.burden_percent) or froc.
    min_region_um2, max_hole_um2: smallest region kept and largest hole filled of the plain point, which has threshold
    0.5 and no smoothing; with trials 0 it is the point. An isolated region below 200 um2, a disc of 16 um, is one cell
    or two nuclei: no finding at the magnifications of whole slides; a hole of that size is as little. Where nuclei are
    what is to be found, write 0. The largest values searched: most_region_um2 and most_hole_um2 (5000 um2, a disc of
    80 um, is the section of a whole gland; not above the plain one: not searched), max_smoothing_px (sigma, map px) and
    most_peak (p that a region must reach somewhere: what is there is told apart from how far it goes; 0: not searched).
    min_specificity: with at least 5 normal validation slides no point that calls more of them tumour is taken where
    any point can be. max_slides: so many validation slides, evenly chosen (null: all).
    """

    temperature: bool = True
    bias: bool = False
    trials: Annotated[int, Field(ge=0)] = 0
    objective: Literal["dice", "f1", "froc"] = "dice"
    max_smoothing_px: NotNegative = 2.0
    false_half_percent: Positive = 5.0
    min_specificity: Fraction = 0.9
    min_region_um2: Area = 200.0
    max_hole_um2: Area = 200.0
    most_region_um2: Area = 5000.0
    most_hole_um2: Area = 5000.0
    most_peak: Fraction = 0.99
    max_slides: Count | None = None


class Quantify(Section):
    """How a probability map becomes regions and amounts.

    threshold: instead of the operating point's (null). froc: whether regions are held against lesions.
    """

    threshold: Share | None = None
    froc: bool = False


class Grade(Section):
    """Attention MIL over patches of a slide; target none writes empty tables.

    encoder: model (the trained network's own encoder) or the name of a timm network, which then starts from
    `weights`. top_patches: the most suspicious by the probability map, at least min_distance patch edges apart;
    random_patches: a random complement. seeds: as many models, whose mean is the grade. burden_percent: the rule
    beside it calls a slide tumour from this predicted burden on.
    """

    target: Literal["none", "isup", "tumor"] = "none"
    encoder: str = "model"
    weights: Literal["none", "imagenet", "package"] = "imagenet"
    top_patches: Count = 16
    random_patches: Annotated[int, Field(ge=0)] = 4
    min_distance: NotNegative = 1.0
    loss: Literal["ordinal", "cross_entropy"] = "ordinal"
    hidden_units: Count = 64
    attention_units: Count = 32
    dropout: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.25
    max_epochs: Count = 60
    lr: Positive = 1e-3
    weight_decay: NotNegative = 1e-4
    seeds: Count = 3
    burden_percent: NotNegative = 0.5
