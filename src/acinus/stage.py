"""What a stage gets: its parameters, paths, seeds, workers, and a log of what it did."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from acinus import seeds
from acinus.parallel import map_over
from acinus.params import Project, Recipe, cohort_root
from acinus.paths import Paths


class ChildLog(Protocol):
    """A run below a stage's own: one trial of a search."""

    def log_metrics(self, metrics: Mapping[str, float | int | None], step: int = 0) -> None:
        """Record figures; None is an undefined figure."""

    def end(self, state: str) -> None:
        """Say how it ended: complete, pruned or fail."""


class Log(Protocol):
    """Where a stage's figures and pictures are remembered (MLflow, or a local record when it is down)."""

    run_id: str | None
    parent_id: str | None  # the pipeline's run

    def log_metrics(self, metrics: Mapping[str, float | int | None], step: int = 0) -> None:
        """Record figures; None is an undefined figure."""

    def log_artifact(self, path: Path, folder: str | None = None) -> None:
        """Record a small file or a folder of pictures."""

    def share_metrics(self, metrics: Mapping[str, float | int | None]) -> None:
        """Record final figures where pipelines are compared."""

    def share_params(self, params: Mapping[str, str]) -> None:
        """Record what was settled on the way, here and where pipelines are compared."""

    def child(self, name: str, params: Mapping[str, str]) -> AbstractContextManager[ChildLog]:
        """Open a run below this one; without `end` it is complete, or failed where the block raises."""

    def log_model(self, folder: Path) -> None:
        """Record a trained model as one that can be served (and register it, as params.yaml says)."""


@dataclass(frozen=True)
class ProjectStage:
    """What a stage over the whole project gets: `demo` and `summary`."""

    name: str
    root: Path
    project: Project
    log: Log

    @property
    def decode_threads(self) -> int:
        """How many threads of a process decode tiles ahead (compute.decode_threads); no result depends on it."""
        return self.project.compute.decode_threads

    @property
    def memory_mib(self) -> int:
        """MiB of decoded tiles that a process holds at most (compute.memory_mib); no result depends on it."""
        return self.project.compute.memory_mib

    def say(self, text: str) -> None:
        """Print one line of progress for a person."""
        print(f"{self.name}: {text}", flush=True)

    @property
    def shared(self) -> tuple[Path, ...]:
        """The folders that every worker must see, the project's first."""
        return (self.root,)

    def map(self, function: Callable[[Any], Any], jobs: Sequence[Any], alone: bool = False) -> Iterator[Any]:
        """Yield `function(job)` in the order of the jobs, spread as params.yaml's `compute` says.

        alone: without a cluster, in this process.
        """
        compute = self.project.compute
        workers = 1 if alone else compute.workers
        return map_over(function, jobs, compute.scheduler, workers, self.shared, self.say)


@dataclass(frozen=True)
class Stage(ProjectStage):
    """What a stage of one recipe gets.

    Stages read parameters as `stage.recipe.<section>` and `stage.project.<key>`, nowhere else: a test
    holds those against the `params` that dvc.yaml tracks.
    """

    recipe_name: str
    recipe: Recipe
    paths: Paths
    when_recorded: list[Callable[[], None]] = field(default_factory=list)
    """What is left to do once the stage's record is closed; nothing of it where the stage or its record fails."""

    def recorded(self) -> None:
        """Do what was left to do."""
        while self.when_recorded:
            self.when_recorded.pop(0)()

    @property
    def cohort_root(self) -> Path:
        """The cohort's folder; a relative one is meant from the project."""
        return cohort_root(self.root, self.recipe_name, self.recipe.cohort)

    @property
    def shared(self) -> tuple[Path, ...]:
        """The folders that every worker must see, the project's first."""
        return (self.root, self.cohort_root)

    def seed(self, *names: str | int) -> int:
        """Return the seed of this stage (and of `names`), derived from params.yaml's `seed`."""
        return seeds.derive(self.project.seed, self.name, *names)
