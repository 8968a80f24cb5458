"""A project that was moved or copied: MLflow's database has its old place in every path of an artifact."""

import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from urllib.parse import unquote, urlsplit

ARTIFACTS = "mlartifacts"
"""Folder of the project in which every experiment of its own database keeps its artifacts."""

_PLACES = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)
"""Tables and columns of MLflow's database (3.x) that hold paths; it has no call that changes them."""


def follow(database: Path, home: Path) -> None:
    """Let the paths in the project's own database lead into `home`, the project's folder, where they lead elsewhere.

    Only those of <elsewhere>/mlartifacts/<experiment>, which this project gave its experiments. Without it a moved
    project would go on writing into its old folder, and find nothing of its older runs.
    """
    if not database.is_file():
        return
    here = (home / ARTIFACTS).as_uri()
    with closing(sqlite3.connect(database, timeout=60.0)) as connection:
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        if "experiments" not in tables:
            return
        rows = connection.execute(
            "SELECT name, artifact_location FROM experiments WHERE artifact_location LIKE 'file:%'"
        )
        old = sorted({place for name, location in rows if (place := _elsewhere(name, location, home))})
        if not old:
            return
        with connection:  # one transaction
            for place in old:
                for table, column in _PLACES:
                    if table in tables:
                        connection.execute(
                            f"UPDATE {table} SET {column} = ? || substr({column}, ?) WHERE substr({column}, 1, ?) = ?",  # noqa: S608
                            (here, len(place) + 1, len(place) + 1, f"{place}/"),
                        )
    print(f"acinus: the project was moved: MLflow's artifacts are now in {home / ARTIFACTS}", file=sys.stderr)


def _elsewhere(name: str, location: str, home: Path) -> str | None:
    """Return the URI of the folder of artifacts that an experiment's location lies in, where it is not `home`'s."""
    folder = Path(unquote(urlsplit(location).path))
    if folder.name != name or folder.parent.name != ARTIFACTS or folder.parent.parent.resolve() == home.resolve():
        return None
    return location.rpartition("/")[0]
