"""The sections of a recipe that search settings, and that turn maps into amounts and grades.

The text below a field is its meaning for people: docs/recipes.md is written from it.
"""

from typing import Annotated, Any, Literal, Self

from pydantic import Discriminator, Field, Tag, model_validator

from acinus.params.base import Count, Fraction, NotNegative, Positive, Section, Share

Area = Annotated[float, Field(ge=0.0, le=1e12)]
"""In um2, at most a square metre."""

Value = bool | int | float | str
Measure = Literal["patch_auc", "auc_macro", "accuracy", "mdice", "miou"]


class Range(Section):
    """An entry of `space` that is a range of numbers."""

    low: float
    """The lowest value, included."""
    high: float
    """The highest value, included."""
    log: bool = False
    """Sample on a logarithmic scale."""
    whole: bool = False
    """Whole numbers only."""

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
    """An entry of `space` that is one of a few values."""

    choices: Annotated[list[Value], Field(min_length=2)]
    """The values."""


def _kind_of_space(value: Any) -> str:
    return "choices" if isinstance(value, Choices) or (isinstance(value, dict) and "choices" in value) else "range"


Space = Annotated[
    Annotated[Range, Tag("range")] | Annotated[Choices, Tag("choices")],
    Discriminator(_kind_of_space),
]


class Tune(Section):
    """A search with Optuna over settings of `train`. See [Tuning](tuning.md#tuning)."""

    trials: Annotated[int, Field(ge=0)] = 0
    """Number of trials (trainings); 0: no search, the recipe's own values are used. A search needs an objective and a
    space."""
    objective: Measure | None = None
    """What the search maximises on the validation patches: `patch_auc` (`auc_macro` with more than two classes) or
    `accuracy` for classification, `mdice` or `miou` for segmentation."""
    pruner: Literal["median", "hyperband", "none"] = "median"
    """How unpromising trials are ended early."""
    startup_trials: Count = 3
    """Random trials before the search learns from earlier ones and ends trials early."""
    max_epochs: Count | None = None
    """Epochs of a trial; null: as `train.max_epochs`."""
    storage: Annotated[str, Field(pattern=r"^(journal|[a-z]+(\+[a-z0-9]+)?://.+)$")] = "journal"
    """Where the study is kept: `journal`, a file of the project, or the URL of a database that Optuna supports."""
    space: dict[str, Space] = {}
    """A dotted key of section `train`, and its range or choices (below)."""

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.trials and (self.objective is None or not self.space):
            raise ValueError(f"trials = {self.trials}: needs an objective and a space; write trials: 0 for no search")
        return self


class Calibrate(Section):
    """Temperature, then a search of threshold and clean-up, on validation slides only; each is kept only if better.

    See [Calibration](tuning.md#calibration). A region below 200 µm², a disc of 16 µm diameter, is one cell or two
    nuclei: too small for a finding at the magnifications of whole slides. To find nuclei, write 0. 5000 µm², a disc of
    80 µm, is the section of a whole gland.
    """

    temperature: bool = True
    """Fit a temperature, one number that corrects over- or underconfidence of the network."""
    bias: bool = False
    """Fit one offset per class too, for a network that predicts one class too often. Segmentation only."""
    trials: Annotated[int, Field(ge=0)] = 0
    """Number of operating points tried; 0: the plain point (threshold 0.5, no smoothing) is taken."""
    objective: Literal["dice", "f1", "froc"] = "dice"
    """The score on whole slides: [Dice](tuning.md#calibration), F1 of tumour against normal slides, or FROC (needs
    `quantify.froc`)."""
    max_smoothing_px: NotNegative = 2.0
    """Largest smoothing searched: sigma of a Gaussian filter, in px of the map; 0: not searched."""
    false_half_percent: Positive = 5.0
    """With `dice`: the false-positive area, in percent of the tissue, at which a slide without the class scores one
    half."""
    min_specificity: Fraction = 0.9
    """With 5 or more normal validation slides: smallest share of them that must be called normal."""
    min_region_um2: Area = 200.0
    """At the plain point: smaller regions (µm²) are dropped."""
    max_hole_um2: Area = 200.0
    """At the plain point: holes up to this area (µm²) are filled."""
    most_region_um2: Area = 5000.0
    """Largest region limit searched; not searched if it is not above `min_region_um2`."""
    most_hole_um2: Area = 5000.0
    """Largest hole limit searched; not searched if it is not above `max_hole_um2`."""
    most_peak: Fraction = 0.99
    """Largest `min_peak` searched: the probability that a region must reach somewhere to be kept; 0: not searched."""
    max_slides: Count | None = None
    """At most this many validation slides, evenly chosen; null: all."""


class Quantify(Section):
    """How a probability map becomes regions and areas."""

    threshold: Share | None = None
    """Instead of the operating point's threshold; null: the operating point's."""
    froc: bool = False
    """Whether regions are compared with annotated lesions (FROC)."""
