"""params.yaml and recipes/<name>.yaml as frozen, strict models: one class per section.

Unknown keys, wrong types and impossible values are refused before any work starts, in one line
that names the file, the key, the value and what is allowed.
"""

import hashlib
import json
import re
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from acinus.errors import RecipeError
from acinus.strict_yaml import read_mapping

Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
Positive = Annotated[float, Field(gt=0.0)]
Mpp = Annotated[float, Field(ge=0.05, le=20.0)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")]
Split = Literal["train", "val", "test"]
RESERVED = ("demo", "raw", "summary")  # folders of data/ and reports/ that are no recipe's
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*\Z")


class Section(BaseModel):
    """A part of a file: nothing unknown, nothing converted, nothing changed later."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class AtResolution(Section):
    """A working resolution: exactly one of `level` (of the slide's pyramid) and `mpp` (um per px)."""

    level: Annotated[int, Field(ge=0, le=15)] | None = None
    mpp: Mpp | None = None

    @model_validator(mode="after")
    def _one_of(self) -> Self:
        if (self.level is None) == (self.mpp is None):
            raise ValueError("give exactly one of level and mpp")
        return self


# ------------------------------------------------------------------ recipes/<name>.yaml


class Cohort(Section):
    """Where the slides are and how their labels are read (stages inventory, ingest and all that open labels)."""

    root: str
    labels: Literal["asap_xml", "mask"] = "asap_xml"
    positive_groups: list[str] = ["_0", "_1", "Tumor", "metastases"]
    subtracted_groups: list[str] = ["_2", "Exclusion", "normal"]
    none_group: Literal["refuse", "tumor", "subtract", "ignore"] = "refuse"
    mask_values: dict[int, Literal["normal", "tumor", "ignore"]] = {0: "normal", 255: "tumor"}
    not_exhaustive: list[str] = []
    exclude: dict[str, str] = {}
    mpp: Mpp | None = None
    split_by: Literal["patient", "slide"] = "patient"
    val_fraction: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.2
    max_bad_fraction: Fraction = 0.1
    probe_tiles: Annotated[int, Field(ge=1)] = 16


class Tissue(Section):
    """Otsu on saturation at a downsample (128 = level 7 of a CAMELYON slide)."""

    downsample: Annotated[float, Field(ge=1.0)] = 128.0
    min_saturation: Fraction = 0.04
    min_area_um2: Annotated[float, Field(ge=0.0)] = 0.0
    min_area_px: Annotated[int, Field(ge=0)] = 16


class Index(AtResolution):
    """The patch grid and the rule that turns a tumour fraction into a label."""

    patch_px: Annotated[int, Field(ge=8, le=4096)]
    stride_px: Annotated[int, Field(ge=1)]
    tissue: Tissue = Tissue()
    min_tissue_fraction: Fraction = 0.25
    tumor_min_fraction: Annotated[float, Field(gt=0.0, le=1.0)] = 0.5
    normal_max_fraction: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.normal_max_fraction >= self.tumor_min_fraction:
            raise ValueError("normal_max_fraction must be below tumor_min_fraction")
        return self


class Sample(Section):
    """Which of the candidate patches are kept: a balance of classes and a cap per slide, per split."""

    normal_per_tumor: Positive = 1.0
    max_tumor_per_slide: Annotated[int, Field(ge=1)] | None = None
    max_normal_per_slide: Annotated[int, Field(ge=1)] | None = None
    balance: list[Split] = ["train", "val"]


class Validate(Section):
    """What the Great Expectations suites hold the tables against."""

    balance_tolerance: Positive = 0.25
    rows_shown: Annotated[int, Field(ge=1, le=100)] = 5


class Extract(Section):
    """How the patch store is written."""

    backend: Literal["lmdb", "hdf5", "files"] = "lmdb"
    codec: Literal["jpeg", "png", "raw"] = "jpeg"
    jpeg_quality: Annotated[int, Field(ge=1, le=100)] = 90
    max_shards: Annotated[int, Field(ge=1)] = 256


class Loss(Section):
    """Binary or multi-class loss of the patch classifier (domain: class weights, focal, OHEM)."""

    name: Literal["cross_entropy", "focal"] = "cross_entropy"
    class_weights: bool = True
    focal_gamma: Annotated[float, Field(ge=0.0)] = 2.0
    ohem: bool = False
    ohem_ratio: Positive = 3.0
    ohem_min_negatives: Annotated[int, Field(ge=1)] = 64


class Train(Section):
    """The patch model and how it learns."""

    model: str = "resnet50"
    weights: str = "imagenet"
    weights_sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    input_px: Annotated[int, Field(ge=32)] | None = None
    batch_size: Annotated[int, Field(ge=1)] = 32
    max_epochs: Annotated[int, Field(ge=1)] = 50
    lr: Positive = 1e-3
    weight_decay: Annotated[float, Field(ge=0.0)] = 0.0
    plateau_factor: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.5
    plateau_patience: Annotated[int, Field(ge=0)] = 3
    stop_patience: Annotated[int, Field(ge=0)] = 2
    checkpoint_every: Annotated[int, Field(ge=1)] = 5
    positive_augmentation: bool = True
    aug_factor: Annotated[int, Field(ge=0)] = 1
    train_augmentation: bool = False
    loss: Loss = Loss()
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "32-true"


class Infer(Section):
    """Which slides get a probability map, and how finely windows overlap."""

    splits: Annotated[list[Split], Field(min_length=1)] = ["test"]
    stride_px: Annotated[int, Field(ge=1)]
    map_downsample: Annotated[float, Field(ge=1.0)]
    batch_size: Annotated[int, Field(ge=1)] = 64
    min_tissue_fraction: Fraction = 0.0


class Quantify(Section):
    """How a probability map becomes a mask and an amount."""

    threshold: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.5


class Report(Section):
    """How the figures are reduced and shown."""

    slide_score: Literal["max", "p99"] = "p99"
    bootstrap: Annotated[int, Field(ge=0)] = 1000
    picture_px: Annotated[int, Field(ge=128, le=8192)] = 900


class Recipe(Section):
    """One experiment on one page."""

    family: Literal["camelyon"]
    task: Literal["patch_classification"]
    classes: list[str] = ["normal", "tumor"]
    cohort: Cohort
    index: Index
    sample: Sample
    validate_: Validate = Field(alias="validate")
    extract: Extract
    train: Train
    infer: Infer
    quantify: Quantify
    report: Report

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.infer.stride_px > self.index.patch_px:
            raise ValueError("infer.stride_px must not exceed index.patch_px: windows would leave gaps")
        if self.classes != ["normal", "tumor"]:
            raise ValueError("classes must be [normal, tumor] for task patch_classification")
        return self


# ------------------------------------------------------------------ params.yaml


class Compute(Section):
    """Where the work runs. `scheduler` local = processes here; tcp://host:port = a Dask cluster."""

    scheduler: Annotated[str, Field(pattern=r"^(local|(tcp|tls)://.+:\d+)$")] = "local"
    workers: Annotated[int, Field(ge=1)] = 2
    threads: Annotated[int, Field(ge=1)] = 2
    device: Annotated[str, Field(pattern=r"^(cpu|auto|cuda(:\d+)?|mps)$")] = "cpu"


class Tracking(Section):
    """Where MLflow remembers. `required: true` makes a server that is down an error."""

    uri: str = "sqlite:///mlflow.db"
    required: bool = False


class CamelyonDemo(Section):
    """How large the drawn CAMELYON cohort is: slide edge in px, um per px, slides of each kind."""

    size_px: Annotated[int, Field(ge=768, le=16384)] = 4096
    mpp: Annotated[float, Field(ge=0.25, le=1.0)] = 0.5
    training_tumor: Annotated[int, Field(ge=1, le=500)] = 6
    training_normal: Annotated[int, Field(ge=0, le=500)] = 4
    test_tumor: Annotated[int, Field(ge=0, le=500)] = 4
    test_normal: Annotated[int, Field(ge=0, le=500)] = 2


class Demo(Section):
    """The demonstration cohorts to draw; an empty list draws none."""

    families: list[Literal["camelyon"]] = ["camelyon"]
    camelyon: CamelyonDemo = CamelyonDemo()


class Project(Section):
    """params.yaml: the run list and what is global."""

    recipes: list[Name]
    raw_cohorts: list[Name] = []
    seed: Annotated[int, Field(ge=0)]
    compute: Compute
    tracking: Tracking
    demo: Demo

    @model_validator(mode="after")
    def _lists(self) -> Self:
        for key, names in (("recipes", self.recipes), ("raw_cohorts", self.raw_cohorts)):
            if len(set(names)) != len(names):
                raise ValueError(f"{key} names a recipe twice")
            if set(names) & set(RESERVED):
                raise ValueError(f"{key} may not name a recipe {', '.join(RESERVED)}: folders of the project")
        strangers = sorted(set(self.raw_cohorts) - set(self.recipes))
        if strangers:
            raise ValueError(f"raw_cohorts names {', '.join(strangers)}, which recipes does not list")
        return self


# ------------------------------------------------------------------ reading

Model = TypeVar("Model", bound=Section)


def load_yaml(path: Path, model: type[Model]) -> Model:
    """Read one YAML file into `model`.

    Raises:
        RecipeError: missing file, bad YAML, or every wrong key in one line: file, key, value, what is allowed.
    """
    data = read_mapping(path)
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise RecipeError(f"{path}: " + "; ".join(_explain(one, model) for one in error.errors())) from error


def _explain(error: Any, model: type[Section]) -> str:
    """Return `key = value: what is allowed` for one pydantic error."""
    where = ".".join(str(part) for part in error["loc"]) or "file"
    if error["type"] == "extra_forbidden":
        return f"{where} = {error['input']!r}: unknown key; allowed here: {', '.join(_keys(model, error['loc'][:-1]))}"
    if error["type"] == "missing":
        return f"{where}: missing; give it a value"
    message = str(error["msg"]).removeprefix("Value error, ")
    if isinstance(error["input"], dict):  # a rule over a whole section: the section's text helps nobody
        return f"{where}: {message}"
    return f"{where} = {error['input']!r}: {message}"


def _keys(model: type[BaseModel], loc: tuple[Any, ...]) -> list[str]:
    """Return the keys that the section at `loc` allows."""
    for part in loc:
        for name, field in model.model_fields.items():
            if part == (field.alias or name) and isinstance(field.annotation, type):
                model = field.annotation
    return sorted(field.alias or name for name, field in model.model_fields.items())


def load_project(root: Path) -> Project:
    """Read params.yaml of the project at `root`."""
    return load_yaml(root / "params.yaml", Project)


def load_recipe(root: Path, name: str) -> Recipe:
    """Read recipes/<name>.yaml of the project at `root`; a name that is no plain word is refused."""
    if name in RESERVED:
        raise RecipeError(f"recipe {name!r}: {', '.join(RESERVED)} are folders of the project; name it otherwise")
    if not NAME.match(name):
        raise RecipeError(f"recipe {name!r}: a recipe's name has letters, digits, _ and - only")
    return load_yaml(root / "recipes" / f"{name}.yaml", Recipe)


def is_drawn(cohort: Cohort) -> bool:
    """Return whether a cohort is one of the drawn ones (a DVC output under data/demo)."""
    return PurePosixPath(cohort.root).parts[:2] == ("data", "demo")


def section_hash(*sections: Section | str | int | list[str] | None) -> str:
    """Return the SHA-256 of parameter values: what a result depends on, and nothing else."""
    values = [one.model_dump(mode="json", by_alias=True) if isinstance(one, Section) else one for one in sections]
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
