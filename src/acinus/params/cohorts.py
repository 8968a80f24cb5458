"""Section `cohort` of a recipe: where the slides are and how their labels are read, family by family.

The text below a field is its meaning for people: docs/recipes.md is written from it.
"""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from acinus.params.base import Channel, Count, Fraction, Mpp, Section, Share


class Cohort(Section):
    """Where the slides are, and how they are split. Every family has these keys."""

    root: str
    """The folder of the slides; a relative one is meant from the project's folder, `~` is your home."""
    exclude: dict[str, str] = {}
    """Slides to leave out: slide id and the reason."""
    mpp: Mpp | None = None
    """µm per px of level 0, for slides that do not tell it; null: such slides cannot be used (rasters can)."""
    split_by: Literal["patient", "slide"] = "patient"
    """What is kept in one split: all slides of a patient, or each slide by itself."""
    allow_shared_patients: Annotated[str, Field(min_length=1)] | None = None
    """Why an official split may have one patient in several splits; the report then says so. null: it may not."""
    test_fraction: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    """Share of the patients drawn for the test split, among those whose split nothing else decides."""
    val_fraction: Share = 0.2
    """Share of the remaining patients drawn for the validation split."""
    max_bad_fraction: Fraction = 0.1
    """Share of slides that may be unusable; more stop the pipeline."""
    probe_tiles: Count = 16
    """`ingest` decodes this many tiles of each slide (or of each fold of arrays), to find damaged files early."""


class CamelyonCohort(Cohort):
    """CAMELYON16/17: outlines in ASAP XML, or mask TIFFs whose values are declared."""

    labels: Literal["asap_xml", "mask"] = "asap_xml"
    """Where the annotation is: outlines `<id>.xml`, or masks `<id>_mask.tif`."""
    positive_groups: list[str] = ["_0", "_1", "Tumor", "metastases"]
    """Groups of outlines that are tumour."""
    subtracted_groups: list[str] = ["_2", "Exclusion", "normal"]
    """Groups of outlines that are cut out of the tumour."""
    none_group: Literal["refuse", "tumor", "subtract", "ignore"] = "refuse"
    """What an outline of group None means. `refuse`: the slide cannot be used."""
    mask_values: dict[Channel, Literal["normal", "tumor", "ignore"]] = {0: "normal", 255: "tumor"}
    """With `mask`: a mask's value and what it means."""
    not_exhaustive: list[str] = []
    """Slides on which only a part of the tumour is outlined: outside the outlines nothing is known."""


class PandaCohort(Cohort):
    """PANDA: the meaning of a mask's values differs by provider."""

    mask_values: dict[Literal["karolinska", "radboud"], dict[Channel, str]]
    """For each provider: a mask's value and the class of the recipe it means, or ignore."""
    tissue_values: dict[Literal["karolinska", "radboud"], list[Channel]] = {}
    """For each provider: the values that are tissue rather than glass. Left out: the mask does not tell."""
    doubtful: list[str] = []
    """CSV files below the root that list doubtful slides with a reason."""
    doubtful_policy: Literal["keep", "exclude"] = "exclude"
    """Whether doubtful slides are kept (as a finding) or excluded."""

    @model_validator(mode="after")
    def _known_values(self) -> Self:
        for provider, listed in self.tissue_values.items():
            values = self.mask_values.get(provider, {})
            if strangers := sorted(set(listed) - set(values)):
                raise ValueError(
                    f"tissue_values.{provider} has {', '.join(map(str, strangers))}; must be values of "
                    f"mask_values.{provider} ({', '.join(map(str, values)) or 'none'})"
                )
        return self


class RgbMaskCohort(Cohort):
    """Rasters (PNG, JPEG, TIFF) in `images/` beside RGB masks of the same name in `masks/`."""

    colours: dict[str, Annotated[list[Channel], Field(min_length=3, max_length=3)]]
    """A class and its colour in the masks; all classes, in their order, each with a colour of its own."""
    tolerance: Annotated[int, Field(ge=0, le=127)] = 0
    """A px of another colour takes the class of the nearest one if no channel differs by more; else it is ignored."""
    max_near_fraction: Fraction = 0.1
    """A larger share of px in a mask that are only near to a colour is a finding."""
    max_pixels: Count = 400_000_000
    """Largest raster taken, in px by its header, before it is decoded."""
    pyramid_quality: Annotated[int, Field(ge=1, le=100)] = 90
    """JPEG quality of the tiled pyramid made of each raster."""

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        if len({tuple(colour) for colour in self.colours.values()}) != len(self.colours):
            raise ValueError("colours gives two classes one colour")
        return self


class PannukeCohort(Cohort):
    """PanNuke's arrays of tiles in three folds."""

    protocol: Literal["official-1", "official-2", "official-3", "random"] = "official-1"
    """Which fold trains, validates and tests; `random` draws by the fractions instead."""
    mpp: Mpp | None = 0.25
    """µm per px of the tiles."""
