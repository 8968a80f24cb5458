"""Reading params.yaml and recipes/<name>.yaml, with errors a person can act on.

Unknown keys, wrong types and impossible values are refused before any work starts, in one line
that names the file, the key, the value and what is allowed.
"""

import hashlib
import json
import re
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from acinus.errors import RecipeError
from acinus.params.base import Section
from acinus.params.cohorts import RECIPES
from acinus.params.embedding import Embed
from acinus.params.plugged import recipe_of
from acinus.params.project import RESERVED, Project
from acinus.params.recipe import Cohort, Recipe
from acinus.params.strict_yaml import read_mapping
from acinus.params.tuning import check_space
from acinus.paths import home
from acinus.plugins import finding

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*\Z")

Model = TypeVar("Model", bound=Section)


def load_yaml(path: Path, model: type[Model]) -> Model:
    """Read one YAML file into `model`.

    Raises:
        RecipeError: missing file, bad YAML, or every wrong key in one line: file, key, value, what is allowed.
    """
    return _checked(str(path), read_mapping(path), model)


def _checked(where: str, data: dict[str, Any], model: type[Model]) -> Model:
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise RecipeError(f"{where}: " + "; ".join(_explain(fault, data, model) for fault in error.errors())) from error


def _explain(error: Any, data: dict[str, Any], model: type[Section]) -> str:
    """Return `key = value: what is allowed` for one pydantic error."""
    keys = _place(error["loc"], data)
    where = ".".join(str(part) for part in keys)
    if error["type"] == "extra_forbidden":
        moved = where.startswith("grade.") and where.removeprefix("grade.") in Embed.model_fields
        hint = f"; {keys[-1]} is a key of section embed now" if moved else ""
        return f"{where} = {error['input']!r}: unknown key{hint}; allowed here: {', '.join(_keys(model, keys[:-1]))}"
    if error["type"] == "missing":
        return f"{where}: missing; give it a value"
    message = str(error["msg"]).removeprefix("Value error, ")
    if error["loc"][-1:] == ("[key]",):
        return f"{'.'.join(str(part) for part in keys[:-1])}: key {error['input']!r}: {message}"
    if isinstance(error["input"], dict):  # a rule over a whole section: the section's text helps nobody
        return f"{where}: {message}" if where else message
    return f"{where} = {error['input']!r}: {message}"


def _place(loc: tuple[Any, ...], data: Any) -> list[Any]:
    """Return the keys of the file that an error speaks of, without pydantic's own words for unions and keys."""
    keys = []
    for part in loc:
        if isinstance(data, dict) and (part in data or part == loc[-1] != "[key]"):  # else a missing one
            keys.append(part)
            data = data.get(part)
        elif isinstance(data, list) and isinstance(part, int):
            keys.append(part)
            data = data[part]
    return keys


def _keys(model: type[BaseModel], loc: list[Any]) -> list[str]:
    """Return the keys that the section at `loc` allows."""
    for part in loc:
        for name, field in model.model_fields.items():
            if part == (field.alias or name) and isinstance(field.annotation, type):
                model = field.annotation
    return sorted(field.alias or name for name, field in model.model_fields.items())


def load_project(root: Path) -> Project:
    """Read params.yaml of the project at `root`, whose plug-ins are then in use."""
    finding.use(root)
    return load_yaml(root / "params.yaml", Project)


def load_recipe(root: Path, name: str) -> Recipe:
    """Read recipes/<name>.yaml of the project at `root`, whose plug-ins are then in use.

    A name that is no plain word is refused.
    """
    if name in RESERVED:
        raise RecipeError(f"recipe {name!r}: {', '.join(RESERVED)} are folders of the project; name it otherwise")
    if not NAME.match(name):
        raise RecipeError(f"recipe {name!r}: a recipe's name has letters, digits, _ and - only")
    path = root / "recipes" / f"{name}.yaml"
    finding.use(root)
    return check_recipe(str(path), read_mapping(path))


def check_recipe(where: str, data: dict[str, Any]) -> Recipe:
    """Return the content of a recipe's file as its family's model; `where` begins the line that refuses it."""
    family = data.get("family")
    model = recipe_of(family) if isinstance(family, str) else None
    if model is None:
        stated = "family: missing" if family is None else f"family = {family!r}"
        raise RecipeError(f"{where}: {stated}; {finding.known('cohort_family', RECIPES)}")
    recipe: Recipe = _checked(where, data, model)
    try:
        check_space(recipe)
    except RecipeError as error:
        raise RecipeError(f"{where}: {error}") from error
    return recipe


def cohort_root(root: Path, name: str, cohort: Cohort) -> Path:
    """Return the folder of recipe `name`'s cohort; a relative one is meant from the project at `root`.

    A copy that DVC works in has what git and DVC know only: a cohort outside both is the project's own.
    """
    try:
        place = Path(cohort.root).expanduser()
        return root / place if is_drawn(cohort) or (root / place).exists() else home(root) / place
    except RuntimeError as error:
        where = f"recipes/{name}.yaml: cohort.root = {cohort.root!r}"
        raise RecipeError(f"{where}: no such user's home ({error}); write ~/ or the whole path") from error


def is_drawn(cohort: Cohort) -> bool:
    """Return whether a cohort is one of the drawn ones (a DVC output under data/demo)."""
    return PurePosixPath(cohort.root).parts[:2] == ("data", "demo")


def section_hash(*sections: Section | str | int | list[str] | None) -> str:
    """Return the SHA-256 of parameter values: what a result depends on, and nothing else."""
    values = [part.model_dump(mode="json", by_alias=True) if isinstance(part, Section) else part for part in sections]
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
