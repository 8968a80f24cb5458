"""Which checkout's code runs: that of the project in which a command is given, not that of the environment.

An environment's `acinus` is one checkout's code. `dvc exp run --temp` and `--queue`, `git worktree` and any second
clone have code of their own, which is what commit, dvc.lock and MLflow will name.
"""

import os
import sys
from pathlib import Path

from acinus.errors import AcinusError

AGAIN = "ACINUS_CHECKOUT"
"""Set for the command that is started again: the project whose code it must be."""


def project_root(start: Path | None = None) -> Path:
    """Return the nearest folder upwards that holds params.yaml.

    Raises:
        AcinusError: there is none.
    """
    here = (start or Path.cwd()).resolve()
    root = _root_above(here)
    if root is None:
        raise AcinusError(f"{here}: no params.yaml here or above; change into the project's folder")
    return root


def project_above() -> Path | None:
    """Return the project in which a command is given, or None outside one."""
    return _root_above(Path.cwd().resolve())


def own_package(start: Path) -> Path | None:
    """Return src/acinus of the project that `start` lies in; None outside a project, or where it has no code."""
    root = _root_above(start)
    package = root / "src" / "acinus" if root else None
    return package if package and (package / "__init__.py").is_file() else None


def _root_above(start: Path) -> Path | None:
    return next((folder for folder in (start, *start.parents) if (folder / "params.yaml").is_file()), None)


def run_own_code() -> None:
    """Start this command again with the project's own code, where another's was loaded; return where it was not.

    The process stays the same (its id, its place below DVC); other processes that it starts run that code too.

    Raises:
        AcinusError: the other code is loaded even then.
    """
    loaded, package = Path(__file__).resolve().parents[1], own_package(Path.cwd().resolve())
    if package is None or package.resolve() == loaded:
        return
    if os.environ.get(AGAIN) == str(package):
        raise AcinusError(
            f"the code of {loaded} runs, though this project has its own in {package}; start Python without -I and -E, "
            "or install the project into an environment of its own (make install)"
        )
    print(
        f"acinus: running the code of this project, {package}, not the installed {loaded}", file=sys.stderr, flush=True
    )
    path = os.pathsep.join(filter(None, (str(package.parent), os.environ.get("PYTHONPATH"))))
    environment = {**os.environ, "PYTHONPATH": path, AGAIN: str(package)}
    os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], environment)  # noqa: S606
