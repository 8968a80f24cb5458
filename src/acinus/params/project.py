"""params.yaml: the run list and what is global."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from acinus.params.base import Count, Name, Section

RESERVED = ("demo", "raw", "summary")  # folders of data/ and reports/ that are no recipe's
Family = Literal["camelyon", "panda", "rgb_mask", "pannuke"]


class Compute(Section):
    """Where the work runs. `scheduler` local = processes here; tcp://host:port = a Dask cluster.

    threads: of torch. decode_threads: of one process that decode tiles ahead. memory_mib: decoded tiles that one
    process holds at most; beyond it a tile is decoded again. loader_workers: processes that read training's patches
    (0: a thread beside the steps). channels_last, compile: how torch lays out and runs
    a network in training and for maps; another choice gives other last bits.
    """

    scheduler: Annotated[str, Field(pattern=r"^(local|(tcp|tls)://.+:\d+)$")] = "local"
    workers: Count = 2
    threads: Count = 2
    device: Annotated[str, Field(pattern=r"^(cpu|auto|cuda(:\d+)?|mps)$")] = "cpu"
    decode_threads: Count = 2
    memory_mib: Annotated[int, Field(ge=16)] = 256
    loader_workers: Annotated[int, Field(ge=0)] = 0
    channels_last: bool = True
    compile_: bool = Field(default=False, alias="compile")


class Tracking(Section):
    """Where MLflow remembers. `required: true` makes a server that is down an error.

    register: name in the model registry under which each trained model becomes a version; a recipe's name is
    put in for {recipe}.
    """

    uri: str = "sqlite:///mlflow.db"
    required: bool = False
    register_: Annotated[str, Field(min_length=1)] | None = Field(default=None, alias="register")


class CamelyonDemo(Section):
    """How large the drawn CAMELYON cohort is: slide edge in px, um per px, slides of each kind."""

    size_px: Annotated[int, Field(ge=768, le=16384)] = 4096
    mpp: Annotated[float, Field(ge=0.25, le=1.0)] = 0.5
    training_tumor: Annotated[int, Field(ge=1, le=500)] = 6
    training_normal: Annotated[int, Field(ge=0, le=500)] = 4
    test_tumor: Annotated[int, Field(ge=0, le=500)] = 4
    test_normal: Annotated[int, Field(ge=0, le=500)] = 2


class PandaDemo(Section):
    """The drawn PANDA cohort: slides (both providers, every ISUP grade alike) and their size in level-0 px."""

    slides: Annotated[int, Field(ge=12, le=1200)] = 36
    width_px: Annotated[int, Field(ge=512, le=8192)] = 2050
    height_px: Annotated[int, Field(ge=512, le=8192)] = 1630


class RgbMaskDemo(Section):
    """The drawn rasters with colour-coded masks: how many of each split, and their size in px."""

    train: Annotated[int, Field(ge=1, le=500)] = 8
    val: Annotated[int, Field(ge=1, le=500)] = 2
    test: Annotated[int, Field(ge=1, le=500)] = 4
    width_px: Annotated[int, Field(ge=512, le=16384)] = 1901
    height_px: Annotated[int, Field(ge=512, le=16384)] = 1607


class PannukeDemo(Section):
    """The drawn PanNuke cohort: tiles of 256 px in each of its three folds."""

    tiles_per_fold: Annotated[int, Field(ge=4, le=3000)] = 36


class Demo(Section):
    """The demonstration cohorts to draw; an empty list draws none."""

    families: list[Family] = ["camelyon", "panda", "rgb_mask", "pannuke"]
    camelyon: CamelyonDemo = CamelyonDemo()
    panda: PandaDemo = PandaDemo()
    rgb_mask: RgbMaskDemo = RgbMaskDemo()
    pannuke: PannukeDemo = PannukeDemo()


class Project(Section):
    """params.yaml as a whole."""

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
