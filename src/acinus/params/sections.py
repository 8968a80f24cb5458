"""The sections of a recipe that every family shares, one class each; the network's training is in `training`.

The text below a field is its meaning for people: docs/recipes.md is written from it.
"""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from acinus.params.base import Count, Fraction, Mpp, NotNegative, Positive, Section, Split

EVEN_SHARE = 0.5
"""Left out of what is written down, so that a recipe of two classes is written as it was before there were more."""


class Tissue(Section):
    """Where the network is applied, and what burden is divided by.

    Tissue is found on a small copy of the slide. Pieces that are too small are dropped.
    """

    method: Literal["density", "otsu", "all", "annotation"] = "density"
    """How tissue is told from glass. `density`: what is optically denser than the slide's own glass. `otsu`: Otsu
    threshold of the saturation; it misses pale tissue. `all`: the whole image. `annotation`: what the slide's own mask
    says."""
    downsample: Annotated[float, Field(ge=1.0)] = 128.0
    """Width of one px of the small copy, in level-0 px: 128 is level 7 of a CAMELYON slide."""
    min_density: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.02
    """With `density`: smallest optical density of tissue, above that of the slide's own glass."""
    closing_um: NotNegative = 20.0
    """With `density`: gaps up to twice this width (µm) are closed; 2 px each way where the slide has no µm per px."""
    max_hole_um2: NotNegative = 50_000.0
    """With `density`: holes up to this area (µm²) are filled, such as lumina and fat; 500 px where the slide has no
    µm per px."""
    min_saturation: Fraction = 0.04
    """With `otsu`: the threshold is never below this saturation."""
    min_area_um2: NotNegative = 0.0
    """Pieces of tissue smaller than this (µm²) are dropped as specks."""
    min_area_px: Annotated[int, Field(ge=0)] = 16
    """Pieces of fewer px of the small copy are dropped too; the only limit where the slide has no µm per px."""


class Index(Section):
    """The grid of patches, and the rule that turns shares of classes into a label.

    Give exactly one of `level` and `mpp`. `cell_px` may not exceed `patch_px`, and `normal_max_fraction` must be
    below `tumor_min_fraction`. Patches of more than two classes are labelled by `min_class_fraction` alone.
    """

    level: Annotated[int, Field(ge=0, le=15)] | None = None
    """Work at this level of the slide's pyramid; 0 is the finest."""
    mpp: Mpp | None = None
    """Or work at this many µm per px, whatever levels the slide has."""
    patch_px: Annotated[int, Field(ge=8, le=4096)]
    """Edge of a patch, in px of the working resolution."""
    stride_px: Count
    """Step from one patch to the next; below `patch_px` patches overlap."""
    cell_px: Count | None = None
    """Edge of the cell, the central square of a patch that alone is labelled; the rest is context. null: the whole
    patch is labelled. Patch classification only."""
    tissue: Tissue = Tissue()
    """See [index.tissue](#indextissue)."""
    min_tissue_fraction: Fraction = 0.25
    """Smallest share of tissue in a patch. A patch with any tumour is always a candidate."""
    min_foreground_fraction: Fraction = 0.0
    """Segmentation only: smallest share of the positive classes in a patch."""
    tumor_min_fraction: Annotated[float, Field(gt=0.0, le=1.0)] = 0.5
    """A patch with at least this share of tumour is labelled tumour."""
    normal_max_fraction: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    """A patch with at most this share of tumour is labelled normal. Patches between the two shares are left out. Patch
    classification only."""
    min_class_fraction: Annotated[float, Field(gt=0.0, le=1.0, exclude_if=lambda value: value == EVEN_SHARE)] = (
        EVEN_SHARE
    )
    """A patch gets the class with the largest share of it, if that share is at least this. Other patches, and patches
    with a tie, are left out. Patch classification with more than two classes only."""

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if (self.level is None) == (self.mpp is None):
            raise ValueError("give exactly one of level and mpp")
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
    """Which candidate patches are kept, split by split. The random choice depends on the seed alone."""

    scheme: Literal["balanced", "cells"] = "balanced"
    """`balanced`: classes in a given proportion, up to a limit for each slide. `cells`: tumour slides give a share of
    their tumour cells and some normal cells, and normal slides evenly give the normal cells still missing for the
    balance; needs `index.cell_px`."""
    normal_per_tumor: NotNegative = 1.0
    """Normal patches for each tumour patch."""
    max_class_ratio: Annotated[float, Field(ge=1.0, exclude_if=lambda value: value == 1.0)] = 1.0
    """Instead of `normal_per_tumor`: at most this many patches of a class for each patch of the rarest class. Patch
    classification with more than two classes only."""
    max_tumor_per_slide: Count | None = None
    """At most this many tumour patches per slide (with more than two classes: of each class but the first); null: no
    limit."""
    max_normal_per_slide: Count | None = None
    """At most this many normal patches (of the first class) per slide; null: no limit."""
    tumor_share: Annotated[float, Field(gt=0.0, le=1.0)] = 1 / 3
    """With `cells`: the share of a tumour slide's tumour cells that is taken."""
    own_normal_per_tumor: NotNegative = 0.5
    """With `cells`: normal cells of the same slide for each tumour cell taken."""
    tumor_slides: list[str] | None = None
    """With `cells`: the slides that count as tumour slides; null: those with any tumour cell."""
    tumor_slide_min_ratio: Fraction = 0.0
    """With `cells`, where `tumor_slides` is null: smallest share of tumour in the labelled cells of a tumour slide."""
    balance: list[Split] = ["train", "val"]
    """The splits that are balanced. The others keep every labelled patch."""
    max_per_slide: Count | None = None
    """In splits that are not balanced: at most this many patches per slide, drawn at random; null: no limit."""


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
    "no_region",
    "no_tumor_outlined",
    "nothing_outlined",
    "one_class_mask",
    "tumor_cut_away",
]
"""What ingest may find (cohorts.manifest says what each means)."""


class Validate(Section):
    """The rules that the tables must meet before anything is learned from them."""

    balance_tolerance: Positive = 0.25
    """How far the class balance may deviate: 0.25 is a quarter more or less than `sample.normal_per_tumor`, or a
    quarter more than `sample.max_class_ratio`."""
    rows_shown: Annotated[int, Field(ge=1, le=100)] = 5
    """How many of the rows that break a rule are shown."""
    tolerate: list[Finding] = []
    """Findings that do not stop the pipeline; [what each means](cohorts.md#findings)."""
    max_unlabelled: Fraction = 0.1
    """Largest share of a split's slides that may have neither an annotation nor a slide label."""


class Extract(Section):
    """How the patches are stored."""

    backend: Literal["lmdb", "hdf5", "files"] = "lmdb"
    """How the patches are stored: an LMDB or HDF5 file per shard, or one image file per patch."""
    codec: Literal["jpeg", "png", "raw", "source"] = "jpeg"
    """How a patch is encoded. `source` keeps the slide's own JPEG bytes: a whole tile is copied, a part of a tile
    aligned with its JPEG blocks is cut out without loss; any other patch is decoded and encoded once. `files` cannot
    keep `raw`."""
    jpeg_quality: Annotated[int, Field(ge=1, le=100)] = 90
    """Quality of JPEG patches, 1 to 100."""
    max_shards: Count = 256
    """Largest number of shards. Up to this many slides, each shard holds one slide; with more slides, several."""


class Infer(Section):
    """Which slides get a probability map, and how finely the windows overlap."""

    splits: Annotated[list[Split], Field(min_length=1)] = ["test"]
    """The splits whose slides are mapped. Grading needs all three, since it learns from maps."""
    stride_px: Count
    """Step of the windows, in px of the working resolution; at most `index.patch_px` (or `index.cell_px`)."""
    map_downsample: Annotated[float, Field(ge=1.0)]
    """Width of one px of the map, in level-0 px; at most a window's, with `index.cell_px` exactly a cell's."""
    batch_size: Count = 64
    """Windows per batch."""
    min_tissue_fraction: Fraction = 0.0
    """Windows with a smaller share of tissue are skipped."""
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "32-true"
    """Numeric precision: 32 bits, or autocast to bf16 or fp16 on a GPU."""
    engine: Literal["torch", "openvino"] = "torch"
    """What runs the network; `openvino` on a CPU only."""
    tta: Literal["none", "flips", "d4"] = "none"
    """Test-time augmentation: the average over each window as it is and mirrored (`flips`: 4 passes), and also turned
    (`d4`: 8 passes). It takes as many times the work."""


class Report(Section):
    """How metrics are computed and shown."""

    slide_score: Literal["max", "p99"] = "p99"
    """The score of a whole slide: the map's largest probability, or its 99th percentile."""
    bootstrap: Annotated[int, Field(ge=0)] = 1000
    """Resamples behind each 95 % interval; 0: no intervals."""
    picture_px: Annotated[int, Field(ge=128, le=8192)] = 900
    """Longest edge of a slide's picture."""
    views: Annotated[int, Field(ge=0, le=20)] = 3
    """Segmentation only: pictures of single patches of each kind (best, median, worst, empty)."""
