"""What a family asks of its recipe: its section `cohort` (where slides and labels are), and what fits together.

The text below a field is its meaning for people: docs/recipes.md is written from it.
"""

from collections.abc import Collection, Iterator, Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from acinus.params.base import Channel, Count, Fraction, Mpp, Section
from acinus.params.recipe import Cohort, Recipe, Task


class CamelyonCohort(Cohort):
    """CAMELYON16/17: outlines in ASAP XML, or mask TIFFs."""

    labels: Literal["asap_xml", "mask"] = "asap_xml"
    """The form of the annotations: outlines `<id>.xml`, or masks `<id>_mask.tif`."""
    positive_groups: list[str] = ["_0", "_1", "Tumor", "metastases"]
    """Groups of outlines that are tumour."""
    subtracted_groups: list[str] = ["_2", "Exclusion", "normal"]
    """Groups of outlines that are cut out of the tumour."""
    none_group: Literal["refuse", "tumor", "subtract", "ignore"] = "refuse"
    """What an outline of group None means. `refuse`: the slide cannot be used."""
    mask_values: dict[Channel, Literal["normal", "tumor", "ignore"]] = {0: "normal", 255: "tumor"}
    """With `labels: mask`: what each value of a mask means."""
    not_exhaustive: list[str] = []
    """Slides on which only a part of the tumour is outlined: outside the outlines the truth is unknown."""

    def label_rules(self, classes: Sequence[str]) -> dict[str, Any]:
        """Return what groups of outlines and the values of masks mean, whoever made them."""
        return {
            "mask_values": {"*": dict(self.mask_values)},
            "positive_groups": tuple(self.positive_groups),
            "subtracted_groups": tuple(self.subtracted_groups),
            "none_group": self.none_group,
        }


class CamelyonRecipe(Recipe):
    """Lymph nodes: patches, or cells in their context, classified; or what is outlined segmented."""

    family: Literal["camelyon"]
    task: Task
    cohort: CamelyonCohort

    def _faults(self) -> Iterator[str | None]:
        yield from super()._faults()
        if self.classes != ["normal", "tumor"]:
            yield f"classes = {self.classes}: must be [normal, tumor], which are what the outlines tell apart"


class PandaCohort(Cohort):
    """PANDA: the meaning of a mask's values differs by provider."""

    mask_values: dict[Literal["karolinska", "radboud"], dict[Channel, str]]
    """For each provider: which class of the recipe each mask value means, or ignore."""
    tissue_values: dict[Literal["karolinska", "radboud"], list[Channel]] = {}
    """For each provider: the mask values that are tissue, not glass. Left out: the masks do not show tissue."""
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

    def label_rules(self, classes: Sequence[str]) -> dict[str, Any]:
        """Return what the values of each provider's masks mean."""
        return {
            "mask_values": {provider: dict(values) for provider, values in self.mask_values.items()},
            "tissue_values": {provider: tuple(values) for provider, values in self.tissue_values.items()},
        }

    def tells_tissue(self) -> bool:
        """Return whether tissue_values says something."""
        return bool(self.tissue_values)


class PandaRecipe(Recipe):
    """Prostate biopsies segmented, with the slide's ISUP grade."""

    family: Literal["panda"]
    task: Literal["segmentation", "slide_labels"]
    cohort: PandaCohort

    def _faults(self) -> Iterator[str | None]:
        yield from super()._faults()
        for provider, values in self.cohort.mask_values.items():
            strangers = sorted(set(values.values()) - {*self.classes, "ignore"})
            if strangers:
                yield (
                    f"cohort.mask_values.{provider} names {', '.join(strangers)}; "
                    f"allowed are {', '.join(self.classes)}, ignore"
                )


class RgbMaskCohort(Cohort):
    """Raster images (PNG, JPEG, TIFF) in `images/`, and RGB masks of the same name in `masks/`."""

    colours: dict[str, Annotated[list[Channel], Field(min_length=3, max_length=3)]]
    """The colour of each class in the masks: all classes, in the order of `classes`, each with its own colour."""
    tolerance: Annotated[int, Field(ge=0, le=127)] = 0
    """A px of another colour gets the class of the nearest colour if no channel differs by more; else it is ignored."""
    max_near_fraction: Fraction = 0.1
    """If more than this share of a mask's px matches a colour only nearly, that is a finding."""
    max_pixels: Count = 400_000_000
    """Largest image accepted, in px. The image's header is checked before anything is decoded."""
    pyramid_quality: Annotated[int, Field(ge=1, le=100)] = 90
    """JPEG quality of the tiled pyramid made of each raster."""

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        if len({tuple(colour) for colour in self.colours.values()}) != len(self.colours):
            raise ValueError("colours gives two classes one colour")
        return self

    def label_rules(self, classes: Sequence[str]) -> dict[str, Any]:
        """Return what the masks hold that ingest makes of the coloured ones: class indices."""
        values = {**dict(enumerate(classes)), 255: "ignore"}
        return {"mask_values": {"*": values}, "values_key": "cohort.colours"}


class RgbMaskRecipe(Recipe):
    """Giant rasters with colour-coded masks: what the colours tell apart segmented, or patches of them classified."""

    family: Literal["rgb_mask"]
    task: Task
    cohort: RgbMaskCohort

    def _faults(self) -> Iterator[str | None]:
        yield from super()._faults()
        if list(self.cohort.colours) != self.classes:
            yield (
                f"cohort.colours names {', '.join(self.cohort.colours)}; must give a colour to "
                f"{', '.join(self.classes)}, in this order"
            )


class PannukeCohort(Cohort):
    """PanNuke's arrays of tiles in three folds."""

    protocol: Literal["official-1", "official-2", "official-3", "random"] = "official-1"
    """Which fold is used for training, validation and test; `random` splits at random by the fractions instead."""
    mpp: Mpp | None = 0.25
    """µm per px of the tiles."""


PANNUKE_CLASSES = ["background", "neoplastic", "inflammatory", "connective", "dead", "epithelial"]


class PannukeRecipe(Recipe):
    """Nuclei of six classes in tiles of 256 px."""

    family: Literal["pannuke"]
    task: Literal["segmentation"]
    classes: list[str] = PANNUKE_CLASSES
    cohort: PannukeCohort

    def _faults(self) -> Iterator[str | None]:
        yield from super()._faults()
        if self.classes != PANNUKE_CLASSES:
            yield f"classes = {self.classes}: must be [{', '.join(PANNUKE_CLASSES)}], in the data set's order"


IGNORED, REGION, UNCLASSIFIED = "ignore", "region", "unclassified"
"""Words of `cohort.annotations`: what is not to be judged, what alone is, and the class of outlines without one."""


class Annotations(Section):
    """What the outlines mean that people drew, with whatever tool."""

    classes: Annotated[dict[str, str], Field(min_length=1)]
    """A class as the tool names it, and what it means: a class of the recipe, `ignore` (not judged) or `region` (only
    inside such outlines is the slide judged). `unclassified`: outlines without a class."""
    unmapped: Literal["refuse", "ignore"] = "refuse"
    """What a class means that `classes` does not name: the cohort is refused, or such outlines are not judged."""
    outside: str
    """What is not outlined: a class of the recipe, or `ignore` where only a part of the slide was annotated."""
    overlap: Literal["order", "smaller"] = "order"
    """Which of two outlines lies on top: the one whose class stands later in `classes`, or the smaller one."""
    objects: Annotated[list[Literal["annotation", "detection", "tile", "cell", "tma_core"]], Field(min_length=1)] = [
        "annotation"
    ]
    """Kinds of QuPath's objects that count; the others are counted and named. Other tools have annotations only."""


class SlideLabel(Section):
    """Which column of the table says what whole slides are."""

    column: str
    """A column of `cohort.table`."""
    values: Annotated[dict[str, Literal["normal", "tumor", "unknown"]], Field(min_length=1)]
    """A text of the column and what it means. `normal`: nothing of a positive class is on the slide, so that without an
    annotation all of it is of the first class. `tumor`: something is. `unknown`: as an empty field."""


class SlidesCohort(Cohort):
    """Slides anywhere below the root, with outlines of any tool, masks, or only a table."""

    table: str = "slides.csv"
    """The table of the slides: a file of the project, else its path below the root, or its name. Only `slides.csv` may
    be missing."""
    unlisted: Literal["refuse", "exclude"] = "refuse"
    """What is done where the table and the slides do not go together. `exclude`: slides without a row are left out, and
    rows without a slide are named."""
    annotations: Annotations | None = None
    """See [cohort.annotations](#cohortannotations); null: there are no outlines."""
    mask_values: dict[Channel, str] = {}
    """A mask's value and the class of the recipe it means, or ignore."""
    mask_colours: dict[str, Annotated[list[Channel], Field(min_length=3, max_length=3)]] = {}
    """Instead, where masks are coloured: a class of the recipe and its colour; px of other colours are ignored."""
    label: SlideLabel | None = None
    """See [cohort.label](#cohortlabel); null: what a slide is, its annotation alone says."""

    @model_validator(mode="after")
    def _one_kind_of_masks(self) -> Self:
        if self.mask_values and self.mask_colours:
            raise ValueError("mask_values and mask_colours are both given; keep the one that the masks have")
        if len({tuple(colour) for colour in self.mask_colours.values()}) != len(self.mask_colours):
            raise ValueError("mask_colours gives two classes one colour")
        return self

    @property
    def mpp_column(self) -> str:
        """Where a table says the um per px of single slides, for messages."""
        return f"column mpp of {self.table}"

    @property
    def split_table(self) -> str:
        """Where the table says the split of single slides, for messages."""
        return f"column split of {self.table}"

    def label_rules(self, classes: Sequence[str]) -> dict[str, Any]:
        """Return what the values of masks mean."""
        del classes
        return {"mask_values": {"*": dict(self.mask_values)}}


class SlidesRecipe(Recipe):
    """Slides of one's own."""

    family: Literal["slides"]
    task: Task
    cohort: SlidesCohort

    def _faults(self) -> Iterator[str | None]:
        yield from super()._faults()
        if REGION in self.classes:
            yield f"classes = {self.classes}: {REGION} means something else in cohort.annotations; name it otherwise"
        cohort, allowed = self.cohort, ", ".join(self.classes)
        meanings: dict[str, tuple[Collection[str], set[str]]] = {
            "cohort.mask_values": (cohort.mask_values.values(), {IGNORED}),
            "cohort.mask_colours": (cohort.mask_colours, set()),
        }
        if cohort.annotations is not None:
            meanings["cohort.annotations.classes"] = (cohort.annotations.classes.values(), {IGNORED, REGION})
            meanings["cohort.annotations.outside"] = ([cohort.annotations.outside], {IGNORED})
        for key, (names, more) in meanings.items():
            strangers = sorted(set(names) - {*self.classes, *more})
            if strangers:
                yield f"{key} names {', '.join(strangers)}; allowed are {', '.join([allowed, *sorted(more)])}"


RECIPES: dict[str, type[Recipe]] = {
    "camelyon": CamelyonRecipe,
    "panda": PandaRecipe,
    "rgb_mask": RgbMaskRecipe,
    "pannuke": PannukeRecipe,
    "slides": SlidesRecipe,
}
"""Family -> its recipe."""
