"""A sweep: the same recipe under a few settings, as DVC experiments that MLflow compares, ending in one table."""

import subprocess
import sys
from collections.abc import Callable, Iterator, MutableMapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
from pydantic import Field

from acinus.errors import AcinusError
from acinus.files import atomic_path, read_json, write_text
from acinus.params import Section, check_recipe, load_recipe, load_yaml
from acinus.params.strict_yaml import read_mapping, rewritten
from acinus.paths import Paths

Variant = Annotated[str, Field(pattern=r"^[A-Za-z0-9]+([._-][A-Za-z0-9]+)*$")]  # part of a git reference


class Sweep(Section):
    """sweeps/<name>.yaml: variant -> what it changes in the recipe (dotted key -> value)."""

    recipe: str
    metrics: Annotated[list[str], Field(min_length=1)]
    variants: Annotated[dict[Variant, dict[str, Any]], Field(min_length=1)]


def load_sweep(root: Path, name: str) -> Sweep:
    """Read a sweep.

    Raises:
        AcinusError: no such sweep, or a wrong key in it; names the file and what there is.
    """
    path = root / "sweeps" / f"{name}.yaml"
    known = sorted(file.stem for file in (root / "sweeps").glob("*.yaml"))
    if name not in known:
        raise AcinusError(f"sweep {name!r}: there is no sweeps/{name}.yaml; known: {', '.join(known) or 'none'}")
    return load_yaml(path, Sweep)


def check_listed(recipes: Sequence[str], name: str, recipe: str) -> None:
    """Refuse a sweep over a recipe that the pipeline does not run.

    Raises:
        AcinusError: names the recipe and where to list it.
    """
    if recipe not in recipes:
        raise AcinusError(f"sweep {name}: recipe {recipe!r} is not in the run list; add it to recipes in params.yaml")


def run(root: Path, name: str, recipe: str | None) -> str:
    """Run every variant up to its report and return the table as text; reports/sweeps/<name>.csv keeps it.

    recipe: another recipe than the sweep's own, which then is part of the names. Each variant is a DVC
    experiment (`dvc exp show`) and a pipeline run in MLflow; an older experiment of its name on the same
    commit is replaced. The recipe, dvc.lock and the outputs are put back as they were, whatever happens.

    Raises:
        AcinusError: a variant that the recipe refuses (before any run), a variant whose run fails, or an
            unknown metric.
    """
    sweep = load_sweep(root, name)
    chosen = recipe or sweep.recipe
    title = name if chosen == sweep.recipe else f"{name}-{chosen}"
    load_recipe(root, chosen)
    texts = {variant: _changed(root, name, chosen, variant, changes) for variant, changes in sweep.variants.items()}
    older = _experiments(root)
    rows = []
    with _put_back(root, chosen) as put_back:
        for variant, text in texts.items():
            print(f"sweep {title}: {variant} {sweep.variants[variant] or '(the recipe as it is)'}", flush=True)
            if text is not None:
                write_text(root / "recipes" / f"{chosen}.yaml", text)
            if f"{title}-{variant}" in older:
                _dvc(root, "exp", "remove", "--quiet", f"{title}-{variant}")
            _dvc(root, "exp", "run", "--name", f"{title}-{variant}", f"report@{chosen}")
            rows.append({"variant": variant, **_metrics(Paths(root, chosen).reports / "metrics.json", sweep.metrics)})
            put_back()
    table = pd.DataFrame(rows)
    table[sweep.metrics] = table[sweep.metrics].astype("float64")
    with atomic_path(root / "reports" / "sweeps" / f"{title}.csv") as part:
        table.to_csv(part, index=False, float_format="%.6g", lineterminator="\n")
    return table.to_string(index=False, float_format=lambda value: f"{value:.4f}", na_rep="-")


def _changed(root: Path, name: str, recipe: str, variant: str, changes: dict[str, Any]) -> str | None:
    """Return the recipe's text with a variant's values, or None where it changes nothing; comments stay.

    The file is written here rather than by `dvc exp run -S`: its grammar knows no quoted keys, adds no key
    that the recipe leaves to its default and merges a mapping with what stood there.
    """
    path = root / "recipes" / f"{recipe}.yaml"

    def change(document: MutableMapping[str, Any]) -> None:
        for key, value in changes.items():
            *parents, last = key.split(".")
            section = document
            for parent in parents:
                section = section.setdefault(parent, {})
                if not isinstance(section, MutableMapping):
                    raise AcinusError(f"sweeps/{name}.yaml: variants.{variant}.{key}: {parent} is no section of {path}")
            section[last] = value

    document = read_mapping(path)
    change(document)
    check_recipe(f"sweeps/{name}.yaml: variants.{variant}: {path.name}", document)
    return None if document == read_mapping(path) else rewritten(path, change)


def _metrics(path: Path, names: list[str]) -> dict[str, float | None]:
    """Return the asked metrics of a report; one that the report does not know is refused."""
    known = read_json(path)
    strangers = [name for name in names if name not in known]
    if strangers:
        raise AcinusError(
            f"{path}: has no {', '.join(strangers)}; metrics of a sweep may be {', '.join(sorted(known))}"
        )
    return {name: known[name] for name in names}


@contextmanager
def _put_back(root: Path, recipe: str) -> Iterator[Callable[[], None]]:
    """Give a function that puts recipe and both locks back; the block ends with it and with their outputs."""
    files = (f"recipes/{recipe}.yaml", "dvc.lock", "code/dvc.lock")
    before = {path: _content(path) for path in (root / name for name in files)}

    def put_back() -> None:
        for path, content in before.items():
            if content is None:
                path.unlink(missing_ok=True)
            elif _content(path) != content:
                with atomic_path(path) as part:
                    part.write_bytes(content)

    try:
        yield put_back
    finally:
        put_back()
        # with its target only: without one DVC deletes the outputs of every stage that is not in dvc.lock
        if _code(root, "checkout", "--quiet", "--force", "--allow-missing", "--with-deps", f"report@{recipe}"):
            print("sweep: the outputs could not be put back (DVC says why above); `dvc repro` makes them", flush=True)


def _content(path: Path) -> bytes | None:
    return path.read_bytes() if path.exists() else None


def _experiments(root: Path) -> set[str]:
    """Return the names of the experiments on the current commit."""
    command = [sys.executable, "-m", "dvc", "exp", "list", "--name-only"]
    done = subprocess.run(command, cwd=root, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise AcinusError(f"dvc exp list ended with {done.returncode}; its own message is above")
    return set(done.stdout.split())


def _dvc(root: Path, *arguments: str) -> None:
    if code := _code(root, *arguments):
        raise AcinusError(f"dvc {' '.join(arguments)} ended with {code}; its own message is above")


def _code(root: Path, *arguments: str) -> int:
    """Run DVC to its end and return its exit status.

    Ctrl-C reaches DVC too. It is waited for rather than killed (as subprocess.run does after 0.25 s): an
    interrupted experiment has put git's HEAD aside and must bring it back.
    """
    with subprocess.Popen([sys.executable, "-m", "dvc", *arguments], cwd=root) as process:
        try:
            return process.wait()
        except KeyboardInterrupt:
            process.wait()
            raise
