"""What a recipe asks of this machine, looked at before a stage begins rather than after hours of work.

Each stage looks at what it or a later one needs: a finished training needs its first weights no more, and a report
made on another machine no OpenVINO. No library of networks is imported to say that all is well: a name is looked for
in the library's source, and only where it is not found is the library asked.
"""

import re
from importlib.util import find_spec
from pathlib import Path

from acinus.errors import AcinusError, RecipeError
from acinus.params import Choices, Project, Recipe
from acinus.params.faults import no_openvino, running_fault, training_fault, weights_file_fault

WAY = (
    *("watch", "inventory", "ingest", "index", "sample", "validate", "extract", "tune", "train"),
    *("calibrate", "infer", "quantify", "grade", "report"),
)
"""The stages of a recipe in the way of the data."""


def check(root: Path, project: Project, name: str, recipe: Recipe, stage: str | None = None) -> None:
    """Refuse what the recipe `name` asks for and this machine has not, as far as `stage` or a later one needs it.

    stage: None for all of the recipe.

    Raises:
        RecipeError: the recipe's file, key, value and remedy.
    """
    step = 0 if stage is None else WAY.index(stage)
    try:
        if step <= WAY.index("train"):
            _check_training(root, project, recipe)
        if step <= WAY.index("infer"):
            _check_running(project, recipe)
        if step <= WAY.index("grade") and recipe.grade.target != "none" and recipe.grade.encoder != "model":
            check_network(recipe.grade.encoder, "grade.encoder")
    except AcinusError as error:
        raise RecipeError(f"recipes/{name}.yaml: {error}") from error


def check_network(name: str, key: str) -> None:
    """Refuse the name of a network that timm does not know; `key` is where the recipe says it.

    Raises:
        AcinusError: unknown name, with the close ones.
    """
    word = re.escape(name.partition(".")[0]).encode()  # what follows the dot is which of its weights
    written = re.compile(rb"@register_model\s+def " + word + rb"\(|['\"]" + word + rb"['\"]\s*:")  # or an old name
    if not _is_written(written, _sources("timm", "models", likely=name)):
        from acinus.learning.weights import check_name  # seconds, before a refusal

        check_name(name, key)


def check_architecture(name: str) -> None:
    """Refuse the name of a segmentation network that smp does not know.

    Raises:
        AcinusError: unknown name, with the known ones.
    """
    written = re.compile(rb"import .*\b" + re.escape(name).encode() + rb"\b", re.IGNORECASE)
    if name != name.lower() or not _is_written(written, _sources("segmentation_models_pytorch", "__init__.py")):
        from acinus.learning import segmenters

        segmenters.check_architecture(name)


def _check_training(root: Path, project: Project, recipe: Recipe) -> None:
    train = recipe.train
    for weights in _values(recipe, "weights"):
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


def _check_running(project: Project, recipe: Recipe) -> None:
    infer, compute = recipe.infer, project.compute
    _refuse(running_fault(infer.precision, infer.engine, compute.compile_, compute.device))
    if infer.engine == "openvino" and find_spec("openvino") is None:
        _refuse(no_openvino("No module named 'openvino'"))


def _values(recipe: Recipe, key: str) -> list[str]:
    """Return the value of a key of `train`, and those that a search may give it."""
    space = recipe.tune.space.get(key) if recipe.tune.trials else None
    others = space.choices if isinstance(space, Choices) else []
    return [str(one) for one in dict.fromkeys([getattr(recipe.train, key), *others])]


def _refuse(fault: str | None) -> None:
    if fault is not None:
        raise RecipeError(fault)


def _sources(package: str, below: str, likely: str = "") -> list[Path]:
    """Return the source files of an installed package, those first whose name is part of `likely`.

    `find_spec` of a package imports nothing.
    """
    spec = find_spec(package)
    places = [Path(one) / below for one in (spec.submodule_search_locations or [])] if spec else []
    files = [file for one in places for file in (sorted(one.rglob("*.py")) if one.is_dir() else [one])]
    return sorted(files, key=lambda file: file.stem not in likely)


def _is_written(pattern: re.Pattern[bytes], files: list[Path]) -> bool:
    return any(pattern.search(file.read_bytes()) for file in files)
