"""`acinus init`: a project of one's own, without source code: settings, recipe, pipeline, git and DVC."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

from acinus.cohorts.inventory import check_folder, fingerprints, inventory
from acinus.commands.draft import Draft, like_draft, looked_at, own_draft
from acinus.commands.own_recipe import Task
from acinus.errors import AcinusError, RecipeError
from acinus.files import atomic_path
from acinus.params import RECIPES, RESERVED, SLIDE_LABELS, Project
from acinus.params.embedding import UNUSED
from acinus.params.strict_yaml import read_mapping
from acinus.paths import Paths
from acinus.project.pin import PIN, pin_line
from acinus.templates.commented import commented
from acinus.templates.reading import FILES, template, tracked

Repository = Literal["own", "outer", "none"]
"""The git repository of a project: of its own, one around it, or none, since there is no git."""
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*\Z")
OWN = "slides"
"""--like of this says what is done without it: the recipe is made from what lies in the folder."""
SHOWN = 10
"""So many lines say what was not understood of the slides."""
SETTINGS: dict[str, Any] = {
    "seed": 20261121,
    "compute": {"scheduler": "local", "workers": 2, "threads": 2, "device": "auto"},
    "tracking": {"uri": "sqlite:///mlflow.db", "required": False},
    "demo": {"families": []},
}
"""params.yaml of a new project, but for the names of its recipes."""


def run(folder: Path, slides: Path, task: Task | None, like: str | None) -> str:
    """Make a project for the slides in a new folder, whole or not at all; return what was made and what comes next.

    like: a published recipe, a family, or the path of a recipe's file. task: what the recipe must do.

    Raises:
        AcinusError: a folder that is not empty, a name that no recipe can have, no slides where they should be, a
            recipe or task that is not there.
    """
    folder, slides = folder.absolute(), slides.expanduser().resolve()
    _check_places(folder, slides)
    name = folder.name
    published = like_draft(like, task) if like and like != OWN else None
    with atomic_path(folder) as part:
        part.mkdir()
        files = fingerprints(inventory(slides, Paths(part, name).inventory_memory))
        draft = published or own_draft(slides, files, task, SETTINGS["seed"])
        draft.document["cohort"]["root"] = str(slides)
        draft, count = looked_at(draft, slides, files, SETTINGS["seed"])
        repository = _begin(part, folder.parent)
        _write(part, name, draft, repository)
        committed = _commit(part, repository)
    title, file = draft.recipe.title, f"recipes/{name}.yaml"
    return "\n".join(
        [
            f"{folder}: a project for {count} in {slides}",
            f"  {file}: {title} ({draft.origin}); every key says what it does",
            *(f"  {_setting(draft.document, key)}: {text}" for key, text in draft.notes.items()),
            *(f"  not understood: {fault}" for fault in draft.faults[:SHOWN]),
            *([f"  and {more} more, which acinus look lists"] if (more := len(draft.faults) - SHOWN) > 0 else []),
            f"  {committed}",
            *(f"first: {line}" for line in draft.todo),
            f"next: cd {shlex.quote(os.path.relpath(folder))} && dvc repro{f' index@{name}' if draft.stops else ''}",
        ]
    )


def _check_places(folder: Path, slides: Path) -> None:
    name = folder.name
    if not NAME.match(name) or name in RESERVED:
        other = re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-")
        raise AcinusError(
            f"{name!r}: a project's name has letters, digits, _ and - only, and is none of "
            f"{', '.join(RESERVED)}; choose another{f', say {other}' if other and other not in RESERVED else ''}"
        )
    file = next((one for one in (folder, *folder.parents) if one.is_file()), None)
    if file is not None:
        raise AcinusError(f"{file}: is a file; name a new folder for the project")
    if folder.exists() and any(folder.iterdir()):
        raise AcinusError(f"{folder}: is there and not empty; name a new folder, or move away what is in it")
    check_folder(slides, " with --slides")
    if folder.resolve().is_relative_to(slides):
        raise AcinusError(
            f"{folder}: lies in the folder of the slides, {slides}, so that its own files would count as theirs; make "
            "the project elsewhere"
        )


def _completed(document: Mapping[str, Any], values: Mapping[str, Any], keys: Iterable[str]) -> dict[str, Any]:
    """Return a document in which every one of the dotted keys stands, with its value in `values` where it did not.

    DVC looks for the keys of its stages in the file and knows no defaults.
    """
    result = dict(document)
    for key in keys:
        first, _, rest = key.partition(".")
        inner = values.get(first)
        if rest and isinstance(inner, Mapping):
            result[first] = _completed(result.get(first, {}), inner, [rest])
        else:
            result.setdefault(first, inner)
    return result


def _write(root: Path, name: str, draft: Draft, repository: Repository) -> None:
    """Write the files of a project."""
    recipe = draft.recipe
    values = recipe.model_dump(mode="json", by_alias=True)
    if recipe.task == SLIDE_LABELS:  # whose sections of patches say nothing
        values |= {name: dict.fromkeys(values[name]) for name in UNUSED}
    document = _completed(draft.document, values, tracked(recipe=True))
    compute = SETTINGS["compute"]
    if recipe.task == SLIDE_LABELS:  # its models are small and learn side by side: threads would only wait for another
        compute = compute | {"threads": 1}
    settings = Project.model_validate({"recipes": [name], "raw_cohorts": [name], **SETTINGS, "compute": compute})
    dumped = settings.model_dump(mode="json", by_alias=True) | {"demo": SETTINGS["demo"]}
    head = f"Recipe {name}, {draft.origin} by acinus init. Every key is on the page Recipes of Acinus's documentation."
    needed = {
        "weights": "package" in (recipe.train.weights, recipe.embed.weights),
        "zarr": ".zarr," in (draft.table or "").lower(),
    }
    extras = ",".join(extra for extra, is_needed in needed.items() if is_needed)
    texts = {path: template(file) for path, file in FILES.items()} | {
        "params.yaml": commented(dumped, Project, "What is global. One experiment is one file in recipes/.", {}),
        f"recipes/{name}.yaml": commented(document, RECIPES[recipe.family], head, draft.notes),
        "README.md": template("readme.md").format(name=name, title=recipe.title, slides=recipe.cohort.root),
        PIN: f"# The version of Acinus that this project was made with; acinus upgrade takes another.\n"
        f"{pin_line(f'[{extras}]' if extras else '')}\n",
    }
    if draft.table:
        texts["slides.csv"] = draft.table
    if repository == "none":
        texts[".dvc/config"] = texts[".dvc/config"].replace("[core]\n", "[core]\n    no_scm = true\n")
    for path, text in texts.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text, encoding="utf-8")
    written = read_mapping(root / "recipes" / f"{name}.yaml")
    if written != document:
        raise RecipeError(f"{draft.origin}: its values cannot be written as they are; simplify names and texts in it")


def _begin(root: Path, parent: Path) -> Repository:
    """Make the folder a git repository, where it lies in none, and a project of DVC; return whose repository it is."""
    repository: Repository = "own"
    if shutil.which("git") is None:
        repository = "none"
    elif not _git(parent, "rev-parse", "--is-inside-work-tree"):
        repository = "outer"
    options = {"own": [], "outer": ["--subdir"], "none": ["--no-scm"]}[repository]
    fault = _git(root, "init", "--quiet") if repository == "own" else ""
    fault = fault or _call(root, sys.executable, "-m", "dvc", "init", "--quiet", *options)
    if fault:
        raise AcinusError(f"{root.name}: git or DVC cannot begin here ({fault[-300:]}); mend that and run again")
    return repository


def _commit(root: Path, repository: Repository) -> str:
    """Commit the project where the repository is its own; return what a person is to know of it."""
    if repository == "none":
        return "git is not installed: no commit will tell which settings made a result"
    if repository == "outer":
        return "it is part of the git repository that it lies in: commit it there"
    fault = _git(root, "add", "--all") or _git(root, "commit", "--quiet", "--message", f"A project of {pin_line()}")
    if "identity" in fault or "user.email" in fault:
        return "not committed, since git does not know you: set git config user.name and user.email, then git commit"
    return f"not committed: git says {fault[:100]!r}; commit it yourself" if fault else "committed in git"


def _git(folder: Path, *words: str) -> str:
    return _call(folder, "git", *words)


def _call(folder: Path, *command: str) -> str:
    """Run a command to its end; return what it says where it fails, else nothing."""
    outer = ("GIT_DIR", "GIT_INDEX", "GIT_WORK")  # of a git hook around this
    environment = {name: value for name, value in os.environ.items() if not name.startswith(outer)}
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, env=environment, check=False)
    said = " ".join((done.stderr or done.stdout).split())
    return "" if not done.returncode else said or f"{command[0]} ended with {done.returncode}"


def _setting(document: Mapping[str, Any], key: str) -> str:
    """Return a dotted key with its value, where that is short."""
    value = _value(document, key)
    return key if isinstance(value, Mapping) else f"{key} = {'null' if value is None else value}"


def _value(document: Mapping[str, Any], place: str) -> Any:
    """Return the value of a dotted key; a class of a person's may have dots in its name."""
    for key, value in document.items():
        if place == str(key):
            return value
        if isinstance(value, Mapping) and place.startswith(f"{key}."):
            return _value(value, place.removeprefix(f"{key}."))
    raise KeyError(place)
