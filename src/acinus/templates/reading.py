"""The files of a new project and the published recipes, as they lie in this package."""

from pathlib import Path

import yaml

from acinus.errors import AcinusError

HERE = Path(__file__).resolve().parent

PIPELINE = {"dvc.yaml": "pipeline.yaml", "code/dvc.yaml": "code.yaml"}
"""What an upgrade writes anew: path in a project -> template."""

FILES = PIPELINE | {
    ".gitignore": "gitignore",
    ".dvcignore": "dvcignore",
    ".dvc/config": "dvcconfig",
    "data/raw/README.md": "raw.md",
    "data/demo/README.md": "demo.md",
}
"""What is the same in every project: path in it -> template."""


def template(name: str) -> str:
    """Return the text of a template."""
    return (HERE / name).read_text(encoding="utf-8")


def tracked(recipe: bool) -> list[str]:
    """Return the dotted keys of a recipe, or of params.yaml, that DVC looks for in the file itself, by the pipeline."""
    keys: set[str] = set()
    for stage in yaml.safe_load(template("pipeline.yaml"))["stages"].values():
        for entry in stage.get("params", ()):
            files = entry if isinstance(entry, dict) else {"params.yaml": [entry]}
            keys |= {key for file, names in files.items() for key in names if (file != "params.yaml") == recipe}
    return sorted(key for key in keys if "${" not in key)


def published() -> dict[str, Path]:
    """Return the published recipes, name -> file.

    Raises:
        AcinusError: the package was unpacked by a program that keeps no links.
    """
    folder = HERE / "recipes"
    if not folder.is_dir():
        raise AcinusError(f"{folder}: no folder of recipes; install acinus by pip, or clone it with git")
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}
