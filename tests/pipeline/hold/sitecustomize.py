"""Loaded by every Python that has this folder on its path: notes what is loaded, holds a process in its middle.

LOADED_AT is a folder where each command of acinus leaves the names of the modules of ours that it came to load:
<command>.txt, a name a line.

HOLD_AT is a pattern of finished files (they appear by a rename) and HOLD_AFTER how many of them may
appear; the process that would add another waits until it is killed. So a stage is met in its middle on
any machine, however fast or busy.
"""

import atexit
import os
import sys
import time
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

PATTERN, AFTER = os.environ.get("HOLD_AT", ""), int(os.environ.get("HOLD_AFTER", "0"))
LOADED_AT = os.environ.get("LOADED_AT", "")
_replace = os.replace


def _hold(source: Any, target: Any, **options: Any) -> None:
    path = Path(target)
    if fnmatch(path.as_posix(), PATTERN):
        while sum(fnmatch(one.as_posix(), PATTERN) for one in path.parent.iterdir()) >= AFTER:
            time.sleep(0.05)
    _replace(source, target, **options)


def _note() -> None:
    if len(sys.argv) > 1 and Path(sys.argv[0]).name == "acinus":
        folder = Path(LOADED_AT)
        folder.mkdir(exist_ok=True)
        with (folder / f"{sys.argv[1]}.txt").open("a") as notes:
            notes.writelines(f"{name}\n" for name in list(sys.modules) if name.startswith("acinus"))


if LOADED_AT:
    atexit.register(_note)
if PATTERN:
    os.replace = _hold
