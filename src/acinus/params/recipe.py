"""recipes/<name>.yaml: one experiment on one page; what a family asks of it besides is in `cohorts`."""

from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from acinus.params.base import Count, Fraction, Mpp, Name, Section, Share
from acinus.params.embedding import SLIDE_LABELS, Embed, Folds, Grade, patch_faults, slide_label_faults, without_unused
from acinus.params.faults import IMAGE_CODECS, cell_fault, map_fault, no_image_files, package_fault, source_fault
from acinus.params.results import Calibrate, Quantify, Tune
from acinus.params.sections import Extract, Index, Infer, Report, Sample, Validate
from acinus.params.training import Term as Term
from acinus.params.training import Train
from acinus.plugins import finding

Task = Literal["patch_classification", "segmentation", "slide_labels"]


class Cohort(Section):
    """Where the slides are, and how they are split. Every family has these keys."""

    root: str
    """The folder of the slides. A relative path starts at the project's folder; `~` is your home."""
    exclude: dict[str, str] = {}
    """Slides to leave out: slide id and the reason."""
    mpp: Mpp | None = None
    """µm per px of level 0, for slides without a resolution tag; null: such slides cannot be used (rasters can, and
    slides of family `slides` where `index.level` is given)."""
    split_by: Literal["patient", "slide"] = "patient"
    """`patient`: a random split keeps all slides of a patient together. `slide`: each slide is drawn by itself."""
    allow_shared_patients: Annotated[str, Field(min_length=1)] | None = None
    """The reason why an official split may have one patient in several splits; the report then says so. null: it may
    not."""
    test_fraction: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    """Share of the patients drawn for the test split, among those whose split no other rule decides."""
    val_fraction: Share = 0.2
    """Share of the remaining patients drawn for the validation split."""
    max_bad_fraction: Fraction = 0.1
    """Share of slides that may be unusable; if more are, the pipeline stops."""
    probe_tiles: Count = 16
    """`ingest` decodes this many tiles of each slide (or of each fold of arrays), to find damaged files early."""
    folds: Folds | None = None
    """Task `slide_labels` only: see [cohort.folds](#cohortfolds); null: the splits are used."""

    def label_rules(self, classes: Sequence[str]) -> dict[str, Any]:
        """Return the fields of `labels.LabelRules` beside the classes; without them labels are outlines or arrays."""
        del classes
        return {}

    @property
    def mpp_column(self) -> str | None:
        """Where a table says the um per px of single slides, for messages; None: the family reads none."""
        return None

    @property
    def split_table(self) -> str:
        """Where a table says the split of single slides, for messages."""
        return "splits.csv"

    def tells_tissue(self) -> bool:
        """Return whether a mask of this cohort tells tissue from glass, whatever the classes are called."""
        return False


class Recipe(Section):
    """All settings of one experiment. The keys of its section `cohort` depend on the family."""

    title: str
    """Title of the report's page."""
    family: str
    """Which files the cohort has, and how labels are read from them: see [Cohorts](cohorts.md)."""
    task: Task
    """`patch_classification`: a label for each patch. `segmentation`: a class for each px. `slide_labels`: labels of
    whole slides only, learned from the features of an encoder."""
    classes: Annotated[list[Name], Field(min_length=2, max_length=64)] = ["normal", "tumor"]
    """Names of the classes. The first is the negative one (normal, background)."""
    positive: list[str] = []
    """The classes that count as tumour for burden and metrics; left out: all but the first class."""
    cohort: Cohort
    index: Index
    sample: Sample
    validate_: Validate = Field(alias="validate")
    extract: Extract
    tune: Tune
    train: Train
    calibrate: Calibrate
    infer: Infer
    quantify: Quantify
    embed: Embed = Embed()
    grade: Grade
    report: Report

    @model_validator(mode="before")
    @classmethod
    def _filled_in(cls, data: Any) -> Any:
        """Fill in `positive` (every class but the first) and, without patches to learn from, what they would need."""
        if isinstance(data, dict) and data.get("task") == SLIDE_LABELS:
            data = without_unused(data)
        if not isinstance(data, dict) or "positive" in data:
            return data
        classes = data.get("classes", cls.model_fields["classes"].default)
        return {**data, "positive": classes[1:]} if isinstance(classes, list) else data

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        for fault in self._faults():
            if fault is not None:
                raise ValueError(fault)
        return self

    @property
    def positive_indices(self) -> tuple[int, ...]:
        """The places of the positive classes among `classes`."""
        return tuple(self.classes.index(name) for name in self.positive)

    @property
    def many_labels(self) -> bool:
        """Whether patches are classified, and by more than two classes."""
        return self.task == "patch_classification" and len(self.classes) > 2

    def _faults(self) -> Iterator[str | None]:
        """Yield what does not fit together; a family adds what it asks for."""
        yield from self._faults_of_classes()
        if self.task == SLIDE_LABELS:
            yield from slide_label_faults(self)
            yield from self._faults_of_slides()
            return
        yield from patch_faults(self)
        yield from self._faults_of_labels()
        edge_key = "patch_px" if self.index.cell_px is None else "cell_px"
        edge = self.index.cell_px or self.index.patch_px
        yield from self._faults_of_plugins()
        if self.infer.stride_px > edge:
            yield (
                f"infer.stride_px = {self.infer.stride_px}: must not exceed index.{edge_key} = {edge}, "
                "windows would leave gaps"
            )
        weights = self.train.loss.class_weights
        if isinstance(weights, list) and len(weights) != len(self.classes):
            yield (
                f"train.loss.class_weights = {weights}: {len(weights)} numbers for {len(self.classes)} classes "
                f"({', '.join(self.classes)})"
            )
        yield from self._faults_of_classifier() if self.task == "patch_classification" else self._faults_of_segmenter()
        yield from self._faults_of_results()
        yield from self._faults_of_training()
        yield from self._faults_of_stages()

    def _faults_of_classes(self) -> Iterator[str]:
        if len(set(self.classes)) != len(self.classes) or "ignore" in self.classes:
            yield f"classes = {self.classes}: must be different names, none of them ignore"
        strangers = set(self.positive) - set(self.classes[1:])
        if strangers or not self.positive or len(set(self.positive)) != len(self.positive):
            yield f"positive = {self.positive}: must name some of {', '.join(self.classes[1:])}, each once"

    def _faults_of_labels(self) -> Iterator[str]:
        """Yield the keys of patches of two classes where there are more, and the other way round."""
        of_two = (
            (self.index, "index", "tumor_min_fraction", "index.min_class_fraction"),
            (self.index, "index", "normal_max_fraction", "index.min_class_fraction"),
            (self.sample, "sample", "normal_per_tumor", "sample.max_class_ratio"),
        )
        of_many = (
            (self.index, "index", "min_class_fraction", "index.tumor_min_fraction"),
            (self.sample, "sample", "max_class_ratio", "sample.normal_per_tumor"),
        )
        which = "two classes" if self.many_labels else "task patch_classification with more than two classes"
        for section, name, key, instead in of_two if self.many_labels else of_many:
            if (value := getattr(section, key)) != type(section).model_fields[key].default:
                yield f"{name}.{key} = {value}: is for {which}; leave it out and set {instead}"
        if self.many_labels and self.sample.scheme == "cells":
            yield "sample.scheme = cells: is for two classes; write balanced"

    def _faults_of_classifier(self) -> Iterator[str]:
        train, cell_px = self.train, self.index.cell_px
        if train.encoder is not None:
            yield f"train.encoder = {train.encoder!r}: is for task segmentation; leave it out"
        allowed = ["cross_entropy", "focal"]
        strangers = sorted(set(train.loss.terms) - set(allowed))
        if strangers:  # or plug-ins
            allowed += [plugin.name for plugin in finding.found("loss").values() if not plugin.is_class]
            strangers = sorted(set(strangers) - set(allowed))
        if strangers:
            yield f"train.loss.terms: {', '.join(strangers)} need task segmentation; allowed here: {', '.join(allowed)}"
        if self.calibrate.bias:
            yield (
                "calibrate.bias = True: is for task segmentation, since offsets change the answers for patches whose "
                "figures are those of the network as trained; write false"
            )
        if cell_px is not None and not cell_px == self.index.stride_px == self.infer.stride_px:
            yield f"index.cell_px = {cell_px}: index.stride_px and infer.stride_px must be {cell_px} too"
        if self.sample.scheme == "cells" and cell_px is None:
            yield "sample.scheme = cells: needs index.cell_px; write balanced"
        if train.hard_negatives.epochs:
            yield (
                f"train.hard_negatives.epochs = {train.hard_negatives.epochs}: is for task segmentation; "
                "train.loss.ohem mines a classifier's"
            )

    def _faults_of_segmenter(self) -> Iterator[str]:
        train = self.train
        if self.sample.scheme == "cells":
            yield "sample.scheme = cells: is for task patch_classification; write balanced"
        if train.encoder is None and train.model not in finding.found("network"):
            yield "train.encoder: missing; name a timm network for task segmentation"
        of_classifiers = {
            "train.loss.ohem": train.loss.ohem,
            "train.freeze": train.freeze,
            "train.head_units": train.head_units,
            "train.dropout": train.dropout,
            "train.positive_augmentation": train.positive_augmentation,
            "index.cell_px": self.index.cell_px,
        }
        for key, value in of_classifiers.items():
            if value:
                off = {bool: "false", float: "0.0"}.get(type(value), "null")
                yield f"{key} = {value}: is for task patch_classification; write {off}"

    def _faults_of_plugins(self) -> Iterator[str]:
        """Yield settings that are for the networks of timm and smp."""
        train, networks = self.train, finding.found("network")
        network, encoder = networks.get(train.model), finding.found("encoder").get(train.encoder or "")
        if network is not None:
            task = network.options.get("task", "patch_classification")
            if task != self.task:
                yield f"train.model = {train.model!r}: the plug-in ({network.place}) is for task {task}"
            for key in ("encoder", "head_units", "dropout", "freeze"):
                if getattr(train, key):
                    yield f"train.{key} = {getattr(train, key)!r}: a plug-in, train.model, has none; leave it out"
            if self.grade.target != "none" and self.embed.encoder == "model":
                yield (
                    f"embed.encoder = model: train.model = {train.model!r} is a plug-in, whose features are not known; "
                    "name a timm network"
                )
        for plugin in filter(None, (network, encoder)):
            if train.weights in {"imagenet", "package"}:
                yield (
                    f"train.weights = {train.weights!r}: there are none of the plug-in {plugin.name} ({plugin.place}); "
                    "write none, or a .safetensors file"
                )

    def _isup_fault(self) -> str | None:
        if self.grade.target != "isup" or self.family == "panda":
            return None
        return f"grade.target = isup: family {self.family} has no ISUP grades; write tumor or none"

    def _tissue_fault(self) -> str | None:
        told = "tissue" in self.classes or self.cohort.tells_tissue()
        if self.index.tissue.method != "annotation" or told:
            return None
        return "index.tissue.method = annotation: needs cohort.tissue_values or a class tissue; write density"

    def _faults_of_slides(self) -> Iterator[str | None]:
        """Yield what does not fit the family where whole slides' labels are learned."""
        yield self._isup_fault()
        yield self._tissue_fault()
        if self.grade.target not in ("isup", "tumor") and self.family in ("camelyon", "panda", "rgb_mask", "pannuke"):
            yield f"grade.target = {self.grade.target!r}: family {self.family} has no such column; use family slides"

    def _faults_of_results(self) -> Iterator[str | None]:
        objective, target = self.tune.objective, self.grade.target
        patch_auc = "auc_macro" if self.many_labels else "patch_auc"
        allowed = ("accuracy", patch_auc) if self.task == "patch_classification" else ("mdice", "miou")
        if objective is not None and objective not in allowed:
            yield f"tune.objective = {objective!r}: allowed for task {self.task}: {', '.join(allowed)}"
        missing = {"train", "val", "test"} - set(self.infer.splits)
        if target != "none" and missing:
            yield (
                f"infer.splits = {self.infer.splits}: grade.target = {target} needs maps of the slides that "
                f"it learns from; add {', '.join(sorted(missing))}"
            )
        yield self._isup_fault()
        if self.calibrate.objective == "froc" and not self.quantify.froc:
            yield "calibrate.objective = froc: needs quantify.froc = true"

    def _faults_of_training(self) -> Iterator[str]:
        train, crop_px = self.train, self.train.crop_px
        if crop_px is not None and self.task == "patch_classification":
            yield (
                f"train.crop_px = {crop_px}: is for task segmentation, since a label is of the whole patch; write null"
            )
        if crop_px is not None and crop_px > self.index.patch_px:
            yield f"train.crop_px = {crop_px}: must not exceed index.patch_px = {self.index.patch_px}"
        if crop_px is not None and train.input_px is not None:
            yield (
                f"train.input_px = {train.input_px}: must be null where train.crop_px is set, since crops and whole "
                "patches are shown at their own size"
            )
        if train.final == "train+val" and train.hard_negatives.epochs:
            yield (
                "train.final = train+val: a last fit makes no second pass; write train, or "
                f"train.hard_negatives.epochs: 0 (found {train.hard_negatives.epochs})"
            )
        if train.final == "train+val" and self.grade.target != "none":
            yield (
                f"train.final = train+val: grade.target = {self.grade.target} chooses its epochs on maps of the "
                "validation slides, which the model would have seen; write train, or grade.target: none"
            )

    def _faults_of_stages(self) -> Iterator[str | None]:
        """Yield what the stages would refuse too, hours later."""
        index, train, embed = self.index, self.train, self.embed
        if self.extract.backend == "files" and self.extract.codec not in IMAGE_CODECS:
            yield no_image_files(self.extract.codec, self.extract.backend)
        yield self._tissue_fault()
        yield source_fault(train.weights)
        if train.weights == "package":
            key = "train.model" if train.encoder is None else "train.encoder"
            yield package_fault(train.encoder or train.model, key)
        if self.grade.target != "none" and embed.weights == "package" and embed.encoder != "model":
            yield package_fault(embed.encoder, "embed.encoder", "embed")
        if index.level == 0:  # elsewhere only a slide says how many level-0 px a window has
            if index.cell_px is None:
                yield map_fault(self.infer.map_downsample, index.patch_px)
            else:
                yield cell_fault(self.infer.map_downsample, index.cell_px, index.cell_px)
