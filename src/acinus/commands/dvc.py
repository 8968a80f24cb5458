"""DVC in this process, with what costs time at every stage done once."""

import os
from collections.abc import Sequence

from acinus.parallel import exit_with_process
from acinus.project import lock_text
from acinus.tracking import recorder

ABOVE = "ACINUS_ABOVE"
"""The environment variable that names a process with which DVC is to end."""


def run(arguments: Sequence[str]) -> int:
    """Run a command of DVC's and return its exit status."""
    from dvc.cli import main

    if above := os.environ.pop(ABOVE, None):
        exit_with_process(int(above))
    lock_text.install()
    with recorder.beside():
        return int(main(list(arguments)))
