"""Section `train` of a recipe: the network, its loss, its augmentation and how it learns.

The text below a field is its meaning for people: docs/recipes.md is written from it.
"""

from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, Discriminator, Field, Tag

from acinus.params.base import Count, NotNegative, Positive, Section, Share
from acinus.plugins import finding

Term = Literal["cross_entropy", "focal", "dice", "jaccard", "tversky", "lovasz"]
"""The losses that Acinus has."""
Amplitude = Annotated[float, Field(ge=0.0, lt=1.0)]


def _known_loss(name: str) -> str:
    if name not in get_args(Term) and name not in finding.found("loss"):
        raise ValueError(f"no such loss; {finding.known('loss', get_args(Term))}")
    return name


def _known_augmentation(name: str) -> str:
    if name not in finding.found("augmentation"):
        raise ValueError(f"no such augmentation; {finding.known('augmentation', ())}")
    return name


def _kind_of_weights(value: Any) -> str | None:
    """Return which of both kinds of class_weights a value is, or None; the union alone reports each kind's fault."""
    return "numbers" if isinstance(value, list) else "rule" if value in ("balanced", "equal") else None


ClassWeights = Annotated[
    Annotated[Literal["balanced", "equal"], Tag("rule")] | Annotated[list[Positive], Tag("numbers")],
    Discriminator(
        _kind_of_weights,
        custom_error_type="class_weights",
        custom_error_message="must be balanced, equal or a list of one number per class",
    ),
]


class Loss(Section):
    """A weighted sum of terms. With two classes `cross_entropy` over both is binary cross-entropy.

    Patch classification allows `cross_entropy`, `focal` and plug-ins that are functions.
    """

    terms: Annotated[dict[Annotated[Term | str, AfterValidator(_known_loss)], Positive], Field(min_length=1)] = {
        "cross_entropy": 1.0
    }
    """Each term and its weight in the sum. Text: the name of a [plug-in](plugins.md)."""
    class_weights: ClassWeights = "balanced"
    """With `cross_entropy` and `focal`. `balanced`: the number of all patches (or px) divided by that of the class.
    `equal`: 1 each. Or a list of one number per class."""
    focal_gamma: NotNegative = 2.0
    """With `focal`: how much less easy examples count; 0 is cross-entropy."""
    label_smoothing: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    """With `cross_entropy`: the share of a label that is spread evenly over all classes."""
    tversky_alpha: NotNegative = 0.5
    """With `tversky`: the weight of false positives. If both weights are 0.5, it is Dice."""
    tversky_beta: NotNegative = 0.5
    """With `tversky`: the weight of false negatives."""
    ohem: bool = False
    """Learn from the hardest normal patches of a batch only (online hard example mining). Patch classification only."""
    ohem_ratio: Positive = 3.0
    """With `ohem`: this many normal patches for each tumour patch of the batch."""
    ohem_min_negatives: Count = 64
    """With `ohem`: this many normal patches where a batch has no tumour patch."""


class Photometric(Section):
    """Random colour changes of training patches: the largest relative change of each kind, 0 = none."""

    brightness: Amplitude = 0.0
    """All values are multiplied by a random factor between 1 minus this and 1 plus this."""
    contrast: Amplitude = 0.0
    """Differences from the patch's mean grey are multiplied by such a factor."""
    saturation: Amplitude = 0.0
    """Differences from each px's own grey are multiplied by such a factor."""
    hue: Annotated[float, Field(ge=0.0, le=0.5)] = 0.0
    """Largest rotation of the hue, as a share of the colour circle."""
    stain: Amplitude = 0.0
    """The amounts of haematoxylin, eosin and the rest are each multiplied by such a factor of their own."""


class Geometric(Section):
    """Random changes of shape of training patches and their masks, in addition to flips and quarter turns; 0 = none."""

    scale: Annotated[float, Field(ge=0.0, le=0.5)] = 0.0
    """The largest relative change of size."""
    elastic_px: Annotated[float, Field(ge=0.0, le=16.0)] = 0.0
    """Elastic deformation: standard deviation, in px, of random shifts of points 32 px apart; px in between are
    interpolated."""


class HardNegatives(Section):
    """A second pass over the training patches, in which the worst normal ones are repeated. Segmentation only."""

    epochs: Annotated[int, Field(ge=0)] = 0
    """Length of the second pass; 0: there is none."""
    share: Share = 0.2
    """Share of the sampled normal patches that is repeated: those with most false positives."""
    copies: Count = 2
    """How many more times they come."""


class Train(Section):
    """The network, and how it learns from the stored patches."""

    model: str = "resnet50"
    """The network: one that timm knows (patch classification), an architecture of segmentation_models_pytorch such as
    `unet` (segmentation), or a [plug-in](plugins.md)."""
    encoder: str | None = None
    """Segmentation only: the network's encoder, by its name in timm, or a plug-in; null where `model` is a plug-in."""
    weights: str = "imagenet"
    """Initial weights. `none`: random. `imagenet`: from timm's hub. `package`: those of `tf_efficientnet_lite0` that
    come as a Python package. Or the path of a `.safetensors` file."""
    weights_sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    """SHA-256 of the `.safetensors` file; required if `weights` is one."""
    freeze: bool = False
    """Only the last layers are trained; the rest keeps the loaded weights. Patch classification only."""
    head_units: Count | None = None
    """Units of a hidden layer before the last one; null: none. Patch classification only."""
    dropout: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    """Share of the last layer's inputs that is dropped at random. Patch classification only."""
    input_px: Annotated[int, Field(ge=32)] | None = None
    """Edge to which a patch is scaled for the network; null: as it is stored."""
    crop_px: Annotated[int, Field(ge=8)] | None = None
    """Segmentation only: training uses random crops of this edge, anywhere in the stored patches. Validation patches
    and windows of maps are used whole at the same scale, so `input_px` stays null."""
    batch_size: Count = 32
    """Patches per step."""
    max_epochs: Count = 50
    """At most this many epochs."""
    max_iterations: Count | None = None
    """Instead of `max_epochs`: at most this many steps, rounded up to whole epochs."""
    iterations_per_epoch: Count | None = None
    """Batches per epoch, whatever the cohort's size; null: every patch once. No patch is repeated before all have been
    used."""
    max_val_patches: Count | None = None
    """This many validation patches, evenly chosen, are scored after each epoch; null: all."""
    val_every_steps: Count | None = None
    """Steps after which validation patches are also scored within an epoch, for the log only; null: never."""
    optimizer: Literal["adam", "adamw", "rmsprop", "sgd"] = "adam"
    """The optimiser, as torch has it."""
    lr: Positive = 1e-3
    """Learning rate; if a schedule changes it, the highest one."""
    momentum: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    """Momentum of `sgd` and `rmsprop`."""
    weight_decay: NotNegative = 0.0
    """How strongly weights are pulled to 0."""
    schedule: Literal["plateau", "poly", "cosine", "one_cycle", "constant"] = "plateau"
    """How the learning rate changes: lowered when validation stops improving (`plateau`), by a power of the remaining
    steps (`poly`), along a cosine, up and down once (`one_cycle`), or never."""
    warmup_share: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.25
    """With `cosine` and `one_cycle`: the part of all steps in which the rate rises to `lr`."""
    poly_power: Positive = 0.9
    """With `poly`: the exponent."""
    plateau_factor: Share = 0.5
    """With `plateau`: what the rate is multiplied by."""
    plateau_patience: Annotated[int, Field(ge=0)] = 3
    """With `plateau`: epochs without a better validation loss before the rate falls."""
    stop_patience: Annotated[int, Field(ge=0)] | None = 2
    """Epochs without a better validation loss (with `keep: val_metric`: metric) before training stops; null: no early
    stopping."""
    keep: Literal["val_loss", "val_metric", "last", "ema"] = "val_loss"
    """Which weights become the model: those of the epoch with the lowest validation loss; with the best validation
    metric (Dice of the foreground, AUC of a classifier); of the last epoch; or `ema`, the moving average over the
    steps."""
    ema_decay: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.99
    """With `ema`: the share of the old average that each step keeps."""
    members: Annotated[int, Field(ge=1, le=5)] = 1
    """This many networks with different seeds are trained and their probabilities averaged: as many times the work."""
    final: Literal["train", "train+val"] = "train"
    """The data the model is fitted on. `train+val`: after a fit guided by validation, a second one on both splits."""
    checkpoint_every: Count = 5
    """A checkpoint is kept for good every this many epochs. The last and the best one are always kept; a killed
    training resumes from the last."""
    positive_augmentation: bool = True
    """Each tumour patch (of any class but the first) is also used turned or mirrored, `aug_factor` times. Patch
    classification only."""
    aug_factor: Annotated[int, Field(ge=0)] = 1
    """With `positive_augmentation`: the number of copies."""
    train_augmentation: bool = False
    """All training patches are turned and mirrored at random."""
    photometric: Photometric = Photometric()
    """See [train.photometric](#trainphotometric)."""
    geometric: Geometric = Geometric()
    """See [train.geometric](#traingeometric)."""
    augmentations: Annotated[
        list[Annotated[str, AfterValidator(_known_augmentation)]], Field(exclude_if=lambda names: not names)
    ] = []
    """[Plug-ins](plugins.md) that change training patches further, in this order."""
    hard_negatives: HardNegatives = HardNegatives()
    """See [train.hard_negatives](#trainhard_negatives)."""
    loss: Loss = Loss()
    """See [train.loss](#trainloss)."""
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "32-true"
    """Numeric precision of training; bf16 and fp16 are for GPUs."""
