"""params.yaml: the run list and what is global.

The text below a field is its meaning for people: docs/recipes.md is written from it.
"""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from acinus.params.base import Count, Name, Section

RESERVED = ("demo", "raw", "summary")  # folders of data/ and reports/ that are no recipe's
Family = Literal["slides", "camelyon", "panda", "rgb_mask", "pannuke", "mil"]


class Compute(Section):
    """Where the work runs. See [More machines](machines.md)."""

    scheduler: Annotated[str, Field(pattern=r"^(local|(tcp|tls)://.+:\d+)$")] = "local"
    """`local`: processes on this machine. `tcp://host:port`: the workers of a Dask cluster."""
    workers: Count = 2
    """With `local`: number of processes, each working on one slide."""
    threads: Count = 2
    """Threads of torch. Results are bit-identical only for the same number."""
    device: Annotated[str, Field(pattern=r"^(cpu|auto|cuda(:\d+)?|mps)$")] = "cpu"
    """What the network runs on: `cpu`, `cuda` (or `cuda:1` ...), `mps`, or `auto`."""
    decode_threads: Count = 2
    """Threads per process that decode tiles in advance; no result depends on it."""
    memory_mib: Annotated[int, Field(ge=16)] = 256
    """Most MiB of decoded tiles that one process keeps; tiles beyond it are decoded again."""
    loader_workers: Annotated[int, Field(ge=0)] = 0
    """Processes that read training patches; 0: a thread of the training process. A GPU needs some."""
    channels_last: bool = True
    """Memory layout of images in torch; false is often slower, and changes the last bits of results."""
    compile_: bool = Field(default=False, alias="compile")
    """Whether torch compiles the network: needs a compiler, pays off in long runs, changes the last bits of results."""


class Tracking(Section):
    """Where MLflow keeps its record of runs."""

    uri: str = "sqlite:///mlflow.db"
    """A database file of the project, or an MLflow server: `http://host:5000`."""
    required: bool = False
    """Whether a server that is down is an error; false: a warning."""
    register_: Annotated[str, Field(min_length=1)] | None = Field(default=None, alias="register")
    """A name in MLflow's model registry, under which each trained model becomes a version; `{recipe}` stands for the
    recipe's name. null: none."""


class SlidesDemo(Section):
    """How many slides of mixed formats are drawn, and how large."""

    slides: Annotated[int, Field(ge=5, le=500)] = 10
    """Slides, annotated in the formats of three tools."""
    width_px: Annotated[int, Field(ge=512, le=16384)] = 2048
    """Width of a slide, in level-0 px."""
    height_px: Annotated[int, Field(ge=512, le=16384)] = 1536
    """Height of a slide, in level-0 px."""


class CamelyonDemo(Section):
    """How large the drawn CAMELYON cohort is."""

    size_px: Annotated[int, Field(ge=768, le=16384)] = 4096
    """Edge of a slide, in px."""
    mpp: Annotated[float, Field(ge=0.25, le=1.0)] = 0.5
    """µm per px."""
    training_tumor: Annotated[int, Field(ge=1, le=500)] = 6
    """Tumour slides for training and validation."""
    training_normal: Annotated[int, Field(ge=0, le=500)] = 4
    """Normal slides for training and validation."""
    test_tumor: Annotated[int, Field(ge=0, le=500)] = 4
    """Tumour slides for the test split."""
    test_normal: Annotated[int, Field(ge=0, le=500)] = 2
    """Normal slides for the test split."""


class PandaDemo(Section):
    """How large the drawn PANDA cohort is."""

    slides: Annotated[int, Field(ge=12, le=1200)] = 36
    """Slides, of both providers and every ISUP grade alike."""
    width_px: Annotated[int, Field(ge=512, le=8192)] = 2050
    """Width of a slide, in level-0 px."""
    height_px: Annotated[int, Field(ge=512, le=8192)] = 1630
    """Height of a slide, in level-0 px."""


class RgbMaskDemo(Section):
    """How many rasters with colour-coded masks are drawn, and how large."""

    train: Annotated[int, Field(ge=1, le=500)] = 8
    """Rasters for training."""
    val: Annotated[int, Field(ge=1, le=500)] = 2
    """Rasters for validation."""
    test: Annotated[int, Field(ge=1, le=500)] = 4
    """Rasters for the test split."""
    width_px: Annotated[int, Field(ge=512, le=16384)] = 1901
    """Width of a raster, in px."""
    height_px: Annotated[int, Field(ge=512, le=16384)] = 1607
    """Height of a raster, in px."""


class PannukeDemo(Section):
    """How large the drawn PanNuke cohort is."""

    tiles_per_fold: Annotated[int, Field(ge=4, le=3000)] = 36
    """Tiles of 256 px in each of the three folds."""


class MilDemo(Section):
    """How many slides with nothing but a label are drawn, and how large."""

    slides: Annotated[int, Field(ge=12, le=500)] = 42
    """Slides; every fifth patient has two, and the last two patients have no label."""
    width_px: Annotated[int, Field(ge=384, le=8192)] = 1152
    """Width of a slide, in level-0 px; slides are 0.8 to 1.15 times as large."""
    height_px: Annotated[int, Field(ge=384, le=8192)] = 864
    """Height of a slide, in level-0 px."""


class Demo(Section):
    """The demonstration cohorts to draw."""

    families: list[Family] = ["slides", "camelyon", "panda", "rgb_mask", "pannuke", "mil"]
    """The families drawn; an empty list draws none."""
    slides: SlidesDemo = SlidesDemo()
    camelyon: CamelyonDemo = CamelyonDemo()
    panda: PandaDemo = PandaDemo()
    rgb_mask: RgbMaskDemo = RgbMaskDemo()
    pannuke: PannukeDemo = PannukeDemo()
    mil: MilDemo = MilDemo()


class Project(Section):
    """What runs, and from which seed. One experiment is one file in `recipes/`."""

    recipes: list[Name]
    """The run list: every stage runs for each of these recipes."""
    raw_cohorts: list[Name] = []
    """Recipes of the run list with slides of your own; every `dvc repro` checks their files for changes."""
    seed: Annotated[int, Field(ge=0)]
    """What all randomness is derived from."""
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
