"""DVC in this process, with what costs time at every stage done once."""

from collections.abc import Sequence

from acinus.project import lock_text
from acinus.tracking import recorder


def run(arguments: Sequence[str]) -> int:
    """Run a command of DVC's and return its exit status."""
    from dvc.cli import main

    lock_text.install()
    with recorder.beside():
        return int(main(list(arguments)))
