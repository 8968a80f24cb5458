"""The sections of a recipe that every family shares, one class each."""

from typing import Annotated, Any, Literal, Self

from pydantic import Discriminator, Field, Tag, model_validator

from acinus.params.base import AtResolution, Count, Fraction, NotNegative, Positive, Section, Share, Split

Term = Literal["cross_entropy", "focal", "dice", "jaccard", "tversky", "lovasz"]
Amplitude = Annotated[float, Field(ge=0.0, lt=1.0)]


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


class Tissue(Section):
    """Where to look, and what burden is divided by, found at a downsample (128 = level 7 of a CAMELYON slide).

    method density: what is denser than the slide's own glass, by min_density (optical density) at least; gaps up to
    twice closing_um are closed and holes up to max_hole_um2 filled. otsu: Otsu on saturation, from min_saturation up;
    it loses what is pale. all: the whole image. annotation: what the slide's own label says.
    Pieces smaller than min_area_um2, or than min_area_px of the downsampled slide, are dropped.
    """

    method: Literal["density", "otsu", "all", "annotation"] = "density"
    downsample: Annotated[float, Field(ge=1.0)] = 128.0
    min_density: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.02
    closing_um: NotNegative = 20.0
    max_hole_um2: NotNegative = 50_000.0
    min_saturation: Fraction = 0.04
    min_area_um2: NotNegative = 0.0
    min_area_px: Annotated[int, Field(ge=0)] = 16


class Index(AtResolution):
    """The patch grid and the rule that turns a tumour fraction into a label.

    cell_px: the patch is a window centred on a cell of this edge, which alone is labelled (null: the
    whole patch). min_foreground_fraction: least share of the positive classes of a segmentation's patch.
    """

    patch_px: Annotated[int, Field(ge=8, le=4096)]
    stride_px: Count
    cell_px: Count | None = None
    tissue: Tissue = Tissue()
    min_tissue_fraction: Fraction = 0.25
    min_foreground_fraction: Fraction = 0.0
    tumor_min_fraction: Annotated[float, Field(gt=0.0, le=1.0)] = 0.5
    normal_max_fraction: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.normal_max_fraction >= self.tumor_min_fraction:
            raise ValueError(
                f"normal_max_fraction = {self.normal_max_fraction} must be below "
                f"tumor_min_fraction = {self.tumor_min_fraction}"
            )
        if self.cell_px is not None and self.cell_px > self.patch_px:
            raise ValueError(
                f"cell_px = {self.cell_px} must not exceed patch_px = {self.patch_px}: the cell lies inside the window"
            )
        return self


class Sample(Section):
    """Which of the candidate patches are kept, split by split.

    balanced: a balance of classes and a cap per slide. cells: tumour slides give tumor_share of their
    tumour cells and own_normal_per_tumor normal cells for each; normal slides fill the balance evenly.
    tumor_slides: which slides count as tumour slides there (null: those with any tumour cell);
    tumor_slide_min_ratio: instead, those with at least this share of tumour among their labelled cells.
    max_per_slide: in splits that are not balanced, drawn from all labelled patches of the slide alike.
    """

    scheme: Literal["balanced", "cells"] = "balanced"
    normal_per_tumor: NotNegative = 1.0
    max_tumor_per_slide: Count | None = None
    max_normal_per_slide: Count | None = None
    tumor_share: Annotated[float, Field(gt=0.0, le=1.0)] = 1 / 3
    own_normal_per_tumor: NotNegative = 0.5
    tumor_slides: list[str] | None = None
    tumor_slide_min_ratio: Fraction = 0.0
    balance: list[Split] = ["train", "val"]
    max_per_slide: Count | None = None


Finding = Literal[
    "background_contradicts",
    "blank_mask",
    "blank_slide",
    "cancer_without_isup",
    "doubtful",
    "gleason_isup_mismatch",
    "isup_without_cancer",
    "mask_missing",
    "near_colours",
    "no_tumor_outlined",
    "one_class_mask",
    "tumor_cut_away",
]
"""What ingest may find (cohorts.findings says what each means)."""


class Validate(Section):
    """What the Great Expectations suites hold the tables against; tolerate: findings that do not stop.

    max_unlabelled: largest share of a split's slides of which nothing is known, neither annotation nor slide label.
    """

    balance_tolerance: Positive = 0.25
    rows_shown: Annotated[int, Field(ge=1, le=100)] = 5
    tolerate: list[Finding] = []
    max_unlabelled: Fraction = 0.1


class Extract(Section):
    """How the patch store is written.

    codec source: a slide's own JPEG bytes where a patch is a tile, cut without loss where it is a part of one on
    its grid of blocks; what is neither is decoded and encoded once, at jpeg_quality.
    """

    backend: Literal["lmdb", "hdf5", "files"] = "lmdb"
    codec: Literal["jpeg", "png", "raw", "source"] = "jpeg"
    jpeg_quality: Annotated[int, Field(ge=1, le=100)] = 90
    max_shards: Count = 256


class Loss(Section):
    """A weighted sum of terms. With two classes cross_entropy over both is binary cross-entropy.

    class_weights (cross_entropy and focal): balanced (total / count), equal, or one number per class.
    label_smoothing: of cross_entropy, the share of a label that is spread evenly over all classes. tversky_alpha,
    tversky_beta: what false positives and false negatives weigh in tversky (0.5 and 0.5: Dice).
    """

    terms: Annotated[dict[Term, Positive], Field(min_length=1)] = {"cross_entropy": 1.0}
    class_weights: ClassWeights = "balanced"
    focal_gamma: NotNegative = 2.0
    label_smoothing: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    tversky_alpha: NotNegative = 0.5
    tversky_beta: NotNegative = 0.5
    ohem: bool = False
    ohem_ratio: Positive = 3.0
    ohem_min_negatives: Count = 64


class Photometric(Section):
    """Random colour changes of a training patch: the largest relative change of each kind, 0 = none."""

    brightness: Amplitude = 0.0
    contrast: Amplitude = 0.0
    saturation: Amplitude = 0.0
    hue: Annotated[float, Field(ge=0.0, le=0.5)] = 0.0
    stain: Amplitude = 0.0


class Geometric(Section):
    """Random changes of shape of a training patch (and its mask), beside flips and quarter turns; 0 = none.

    scale: the largest relative change of size. elastic_px: standard deviation of the displacements, in px of the
    patch, of points 32 px apart; what lies between them follows smoothly.
    """

    scale: Annotated[float, Field(ge=0.0, le=0.5)] = 0.0
    elastic_px: Annotated[float, Field(ge=0.0, le=16.0)] = 0.0


class HardNegatives(Section):
    """A second pass: the `share` of normal training patches with most false positives come `copies` times more."""

    epochs: Annotated[int, Field(ge=0)] = 0
    share: Share = 0.2
    copies: Count = 2


class Train(Section):
    """The patch model and how it learns. model: a timm classifier, or an smp architecture with `encoder`.

    max_iterations: instead of max_epochs, rounded up to whole epochs. stop_patience null: never stop early.
    crop_px: training sees random crops of this edge, anywhere in the stored patches; validation and maps see whole
    ones at the same scale. iterations_per_epoch: so many batches are an epoch (null: every patch once).
    max_val_patches: of the validation patches so many, evenly taken, are scored after each epoch (null: all).
    warmup_share: the part of all steps in which cosine and one_cycle raise the rate to lr. keep: whose weights become
    the model: those of the epoch of least val_loss or best val_metric (foreground Dice of the validation patches, AUC
    of a classifier), of the last epoch, or ema, the moving average of the weights over the steps (ema_decay).
    val_every_steps: also score the validation patches within an epoch, for a person to read (null: never).
    members: so many networks of other seeds are trained, and their probabilities averaged: as many times the work.
    final: what the model is fitted on; train+val: after the fit that validation guides, a second one on both.
    """

    model: str = "resnet50"
    encoder: str | None = None
    weights: str = "imagenet"
    weights_sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    freeze: bool = False
    head_units: Count | None = None
    dropout: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    input_px: Annotated[int, Field(ge=32)] | None = None
    crop_px: Annotated[int, Field(ge=8)] | None = None
    batch_size: Count = 32
    max_epochs: Count = 50
    max_iterations: Count | None = None
    iterations_per_epoch: Count | None = None
    max_val_patches: Count | None = None
    val_every_steps: Count | None = None
    optimizer: Literal["adam", "adamw", "rmsprop", "sgd"] = "adam"
    lr: Positive = 1e-3
    momentum: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    weight_decay: NotNegative = 0.0
    schedule: Literal["plateau", "poly", "cosine", "one_cycle", "constant"] = "plateau"
    warmup_share: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.25
    poly_power: Positive = 0.9
    plateau_factor: Share = 0.5
    plateau_patience: Annotated[int, Field(ge=0)] = 3
    stop_patience: Annotated[int, Field(ge=0)] | None = 2
    keep: Literal["val_loss", "val_metric", "last", "ema"] = "val_loss"
    ema_decay: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.99
    members: Annotated[int, Field(ge=1, le=5)] = 1
    final: Literal["train", "train+val"] = "train"
    checkpoint_every: Count = 5
    positive_augmentation: bool = True
    aug_factor: Annotated[int, Field(ge=0)] = 1
    train_augmentation: bool = False
    photometric: Photometric = Photometric()
    geometric: Geometric = Geometric()
    hard_negatives: HardNegatives = HardNegatives()
    loss: Loss = Loss()
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "32-true"


class Infer(Section):
    """Which slides get a probability map, and how finely windows overlap.

    precision: bf16 and fp16 are autocast on a GPU. engine: what runs the network; openvino on a CPU only.
    tta: probabilities are averaged over each window as it is and under its symmetries: flips (4 passes, four times
    the time) or d4, the flips with quarter turns (8 passes).
    """

    splits: Annotated[list[Split], Field(min_length=1)] = ["test"]
    stride_px: Count
    map_downsample: Annotated[float, Field(ge=1.0)]
    batch_size: Count = 64
    min_tissue_fraction: Fraction = 0.0
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "32-true"
    engine: Literal["torch", "openvino"] = "torch"
    tta: Literal["none", "flips", "d4"] = "none"


class Report(Section):
    """How the figures are reduced and shown; views: patch-wise pictures of each kind (best, median, worst, empty)."""

    slide_score: Literal["max", "p99"] = "p99"
    bootstrap: Annotated[int, Field(ge=0)] = 1000
    picture_px: Annotated[int, Field(ge=128, le=8192)] = 900
    views: Annotated[int, Field(ge=0, le=20)] = 3
