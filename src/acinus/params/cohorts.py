"""Section `cohort` of a recipe: where the slides are and how their labels are read, family by family."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from acinus.params.base import Channel, Count, Fraction, Mpp, Section, Share


class Cohort(Section):
    """What every family has (stages inventory, ingest and all that open slides and labels).

    exclude: slide_id -> reason. mpp: um per level-0 px for slides that carry none. Slides that neither
    splits.csv nor the family's own rule decides are drawn: test_fraction, then val_fraction of the rest.
    allow_shared_patients: why patients may have slides in several decided splits; the report then says so.
    """

    root: str
    exclude: dict[str, str] = {}
    mpp: Mpp | None = None
    split_by: Literal["patient", "slide"] = "patient"
    allow_shared_patients: Annotated[str, Field(min_length=1)] | None = None
    test_fraction: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    val_fraction: Share = 0.2
    max_bad_fraction: Fraction = 0.1
    probe_tiles: Count = 16


class CamelyonCohort(Cohort):
    """CAMELYON16/17: outlines in ASAP XML, or mask TIFFs with a declared value map."""

    labels: Literal["asap_xml", "mask"] = "asap_xml"
    positive_groups: list[str] = ["_0", "_1", "Tumor", "metastases"]
    subtracted_groups: list[str] = ["_2", "Exclusion", "normal"]
    none_group: Literal["refuse", "tumor", "subtract", "ignore"] = "refuse"
    mask_values: dict[Channel, Literal["normal", "tumor", "ignore"]] = {0: "normal", 255: "tumor"}
    not_exhaustive: list[str] = []


class PandaCohort(Cohort):
    """PANDA: train.csv, train_images/, train_label_masks/; the meaning of a mask's values differs by provider.

    mask_values: provider -> value -> class of the recipe, or ignore. tissue_values: provider -> values that are tissue
    rather than glass (of a provider left out none is known). doubtful: CSV files below the root
    that list slides with a reason, which doubtful_policy keeps (as a finding) or excludes.
    """

    mask_values: dict[Literal["karolinska", "radboud"], dict[Channel, str]]
    tissue_values: dict[Literal["karolinska", "radboud"], list[Channel]] = {}
    doubtful: list[str] = []
    doubtful_policy: Literal["keep", "exclude"] = "exclude"

    @model_validator(mode="after")
    def _known_values(self) -> Self:
        for provider, listed in self.tissue_values.items():
            known = self.mask_values.get(provider, {})
            if strangers := sorted(set(listed) - set(known)):
                raise ValueError(
                    f"tissue_values.{provider} has {', '.join(map(str, strangers))}; must be values of "
                    f"mask_values.{provider} ({', '.join(map(str, known)) or 'none'})"
                )
        return self


class RgbMaskCohort(Cohort):
    """Rasters (PNG, JPEG, TIFF) in images/ beside RGB masks of the same name in masks/.

    colours: class -> RGB. tolerance: a mask pixel is the nearest colour's class if no channel differs by
    more; others are ignored and counted. max_near_fraction: a larger share of such px in a mask is a finding.
    max_pixels: of one raster, from its header, before it is decoded.
    """

    colours: dict[str, Annotated[list[Channel], Field(min_length=3, max_length=3)]]
    tolerance: Annotated[int, Field(ge=0, le=127)] = 0
    max_near_fraction: Fraction = 0.1
    max_pixels: Count = 400_000_000
    pyramid_quality: Annotated[int, Field(ge=1, le=100)] = 90

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        if len({tuple(colour) for colour in self.colours.values()}) != len(self.colours):
            raise ValueError("colours gives two classes one colour")
        return self


class PannukeCohort(Cohort):
    """PanNuke's fold arrays. protocol: which fold trains, validates and tests; random draws by the fractions."""

    protocol: Literal["official-1", "official-2", "official-3", "random"] = "official-1"
    mpp: Mpp | None = 0.25
