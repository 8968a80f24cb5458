"""Sections `embed` and `grade` of a recipe: features of patches by an encoder, and what is learned of whole slides.

The text below a field is its meaning for people: docs/recipes.md is written from it.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from acinus.params.base import Count, Mpp, NotNegative, Positive, Section
from acinus.params.results import Choices, Space

if TYPE_CHECKING:
    from acinus.params.recipe import Recipe

SLIDE_LABELS = "slide_labels"
"""The task of a recipe that learns from labels of whole slides."""
UNUSED = ("sample", "extract", "tune", "train", "calibrate", "infer", "quantify")
"""Sections that such a recipe leaves empty: nothing is learned from patches, and no map is made."""
Rgb = Annotated[list[float], Field(min_length=3, max_length=3)]


class Embed(Section):
    """Which patches of a slide become features, and by which encoder. See [Encoders](encoders.md)."""

    encoder: str = "model"
    """What turns a patch into features: `model` is the trained network's own encoder; or a network that timm knows; or
    one of `acinus encoders`; or `hf-hub:org/name`; or a folder with `config.json` and `model.safetensors`."""
    weights: str = "imagenet"
    """Weights of a timm network: `none`, `imagenet`, `package`, or the path of a `.safetensors` file. Other encoders
    bring their own. `imported`: another program made the features (`acinus embed --import`)."""
    weights_sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    """SHA-256 of the encoder's file of weights; null: not checked, but written down."""
    arguments: dict[str, Any] = {}
    """Keyword arguments of the timm network, such as `img_size` or `init_values`, in addition to the encoder's own."""
    pooling: Literal["cls", "mean", "cls+mean"] | None = None
    """What of a transformer's tokens is kept: the class token, the mean of the patch tokens, or both. null: as the
    encoder's authors do."""
    mean: Rgb | None = None
    """Mean of RGB in 0 to 1 that the encoder expects; null: its own."""
    std: Rgb | None = None
    """Standard deviation of RGB in 0 to 1 that the encoder expects; null: its own."""
    input_px: Annotated[int, Field(ge=16, le=4096)] | None = None
    """Edge to which a patch is scaled for the encoder; null: its own, or as the patch is."""
    mpp: Mpp | None = None
    """µm per px that the encoder is given; null: as its authors say. `index` must agree with it."""
    licence: str | None = None
    """The encoder's licence, where it forbids commercial use: you have read it and keep to it."""
    patches: Literal["suspicious", "all"] | None = None
    """Which patches of a slide: the most suspicious by its map, or all of its tissue. null: all for task
    `slide_labels`, else the suspicious ones."""
    top_patches: Count = 16
    """With `suspicious`: this many patches per slide, the most suspicious by its map."""
    random_patches: Annotated[int, Field(ge=0)] = 4
    """With `suspicious`: number of random patches added to them."""
    min_distance: NotNegative = 1.0
    """With `suspicious`: smallest distance between top patches, in patch edges."""
    batch_size: Count = 64
    """With `all`: patches per batch."""
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "32-true"
    """With `all`: numeric precision of the encoder; bf16 and fp16 are for GPUs."""
    dtype: Literal["float32", "float16"] = "float32"
    """With `all`: how features are stored."""


class Grade(Section):
    """What is learned of whole slides from the features of their patches. See [Slide labels](slide_labels.md)."""

    target: str = "none"
    """What is learned: nothing (`none`), the ISUP grade (`isup`, family `panda`), tumour against normal (`tumor`); with
    task `slide_labels` also a column of the cohort's table."""
    kind: Literal["binary", "classes", "ordinal", "regression", "survival"] | None = None
    """Task `slide_labels` only: what the column holds. `ordinal`: classes in an order, such as grades. `survival`: the
    time until an event or the end of observation. null: `ordinal` for `isup`, `binary` for `tumor`."""
    classes: Annotated[list[str], Field(min_length=2, max_length=64)] | None = None
    """The column's texts in their order, the negative one first; null: those that are there, sorted."""
    event: str | None = None
    """With `survival`: the column that says whether the event was seen (1) or not (0)."""
    aggregator: Literal["attention", "mean", "clam", "transformer"] = "attention"
    """How patches become one answer: gated attention, the mean of the features, attention with CLAM's loss on patches,
    or a small transformer."""
    loss: Literal["ordinal", "cross_entropy"] = "ordinal"
    """With `isup` and `tumor` beside maps: `ordinal` uses the order of the grades."""
    hidden_units: Count = 64
    """Units of the first layer, which reads the features."""
    attention_units: Count = 32
    """Units of the attention layer."""
    dropout: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.25
    """Share of hidden units dropped at random in training."""
    max_epochs: Count = 60
    """At most this many epochs; validation slides decide which is kept."""
    stop_patience: Count = 15
    """Epochs without a better validation loss before training stops."""
    lr: Positive = 1e-3
    """Learning rate."""
    weight_decay: NotNegative = 1e-4
    """How strongly weights are pulled to 0."""
    class_weights: Literal["equal", "balanced"] = "equal"
    """`balanced`: slides of rare classes count more, in inverse proportion to their number."""
    patch_dropout: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    """Share of a slide's patches left out at random in each training step."""
    feature_noise: NotNegative = 0.0
    """Standard deviation of the noise added to standardised features in training."""
    max_patches: Count | None = None
    """At most this many patches of a slide, drawn at random, in a training step; null: all."""
    trials: Annotated[int, Field(ge=0, le=10_000)] = 0
    """Task `slide_labels` only: trials of a search of settings in each run, by its validation slides; 0: none."""
    space: dict[str, Space] = {}
    """A key of this section, and its range or choices, as in `tune.space`."""
    seeds: Count = 3
    """This many models are trained; the answer is that of their mean."""
    burden_percent: NotNegative = 0.5
    """The simple rule: a slide is called tumour if its predicted burden (percent of the tissue) is at least this."""


class Folds(Section):
    """Cross-validation: every slide is predicted once by models that never saw its patient.

    Slides of the test split are in no fold; the models of all folds together predict them.
    """

    k: Annotated[int, Field(ge=2, le=100)] = 5
    """Number of folds."""
    by: Literal["patient", "slide"] = "patient"
    """`patient`: all slides of a patient are in one fold."""
    stratify: bool = True
    """Each fold gets its share of each class (of quantiles of a number, of events)."""
    preserve_site: bool = False
    """All slides of a site are in one fold (Howard et al. 2021); needs a column `site`."""
    repeats: Annotated[int, Field(ge=1, le=20)] = 1
    """How often the folds are drawn anew."""


def without_unused(data: dict[str, Any]) -> dict[str, Any]:
    """Return the content of a recipe of task slide_labels with valid values in the sections that it leaves empty.

    Raises:
        ValueError: one that is not empty.
    """
    for name in UNUSED:
        section = data.get(name) or {}
        if not isinstance(section, dict):
            continue
        given = [key for key, value in section.items() if value is not None]
        if given:
            raise ValueError(
                f"{name}.{given[0]} = {section[given[0]]!r}: task {SLIDE_LABELS} trains nothing on patches and makes "
                "no map; write null, or leave the section empty"
            )
    least: dict[str, Any] = {name: {} for name in UNUSED} | {"infer": {"stride_px": 1, "map_downsample": 1.0}}
    return {**data, **least}


def slide_label_faults(recipe: "Recipe") -> Iterator[str]:
    """Yield what does not fit together in a recipe that learns from labels of whole slides."""
    embed, grade = recipe.embed, recipe.grade
    if grade.target == "none":
        yield "grade.target = none: task slide_labels learns a column of the table; name it"
    if embed.encoder == "model":
        yield "embed.encoder = model: task slide_labels trains no network on patches; name an encoder (acinus encoders)"
    if embed.patches == "suspicious":
        yield "embed.patches = suspicious: task slide_labels has no maps; write all"
    if recipe.index.cell_px is not None:
        yield f"index.cell_px = {recipe.index.cell_px}: is for task patch_classification; write null"
    if grade.kind is None and grade.target not in ("isup", "tumor", "none"):
        yield "grade.kind: missing; say what the column holds: binary, classes, ordinal, regression or survival"
    if (grade.kind == "survival") != (grade.event is not None):
        yield f"grade.event = {grade.event!r}: grade.kind = survival needs it, nothing else; name the column or null"
    yield from _space_faults(grade)
    if grade.aggregator == "clam" and grade.kind in ("regression", "survival"):
        yield f"grade.aggregator = clam: its loss is of classes, not of kind {grade.kind}; write attention"
    if grade.classes is not None and grade.kind in ("regression", "survival"):
        yield f"grade.classes = {grade.classes}: kind {grade.kind} has no classes; write null"
    if grade.classes is not None and len(set(grade.classes)) != len(grade.classes):
        yield f"grade.classes = {grade.classes}: must be different texts"
    if grade.kind == "binary" and grade.classes is not None and len(grade.classes) != 2:
        yield f"grade.classes = {grade.classes}: kind binary has two, the negative one first"


SEARCHED = (
    *("hidden_units", "attention_units", "dropout", "max_epochs", "stop_patience", "lr", "weight_decay"),
    *("class_weights", "patch_dropout", "feature_noise", "max_patches"),
)
"""Keys of section grade that may be searched."""


def _space_faults(grade: Grade) -> Iterator[str]:
    """Yield what a search of settings does not allow."""
    if bool(grade.trials) != bool(grade.space):
        yield f"grade.trials = {grade.trials}: a search needs trials and a space, or neither"
    if grade.trials and grade.aggregator == "mean":
        yield f"grade.trials = {grade.trials}: aggregator mean has nothing to search; write 0"
    for key, space in grade.space.items():
        if key not in SEARCHED:
            yield f"grade.space.{key}: not searched; allowed: {', '.join(SEARCHED)}"
            continue
        ends = space.choices if isinstance(space, Choices) else [space.low, space.high]
        for end in ends:
            value = int(end) if isinstance(end, float) and getattr(space, "whole", False) else end
            try:
                Grade.model_validate({key: value})
            except ValueError as error:
                yield f"grade.space.{key} = {end!r}: {str(error).splitlines()[2].strip()}"


def patch_faults(recipe: "Recipe") -> Iterator[str]:
    """Yield settings of whole slides' labels in a recipe that learns from patches."""
    embed, grade = recipe.embed, recipe.grade
    if grade.target not in ("none", "isup", "tumor"):
        yield (
            f"grade.target = {grade.target!r}: beside maps none, isup or tumor is learned; other columns need "
            f"task: {SLIDE_LABELS}"
        )
    if embed.patches == "all":
        yield f"embed.patches = all: is for task {SLIDE_LABELS}; write suspicious"
    defaults = Grade()
    of_slides = ("kind", "classes", "event", "aggregator", "stop_patience", "class_weights", "trials", "space")
    for key in (*of_slides, "patch_dropout", "feature_noise", "max_patches"):
        if (value := getattr(grade, key)) != getattr(defaults, key):
            yield f"grade.{key} = {value!r}: is for task {SLIDE_LABELS}; leave it out"
    if recipe.cohort.folds is not None:
        yield f"cohort.folds: is for task {SLIDE_LABELS}; write null"
