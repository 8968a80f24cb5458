"""Loaded by every Python that has this folder on its path: holds a process before it finishes one file too many.

HOLD_AT is a pattern of finished files (they appear by a rename) and HOLD_AFTER how many of them may
appear; the process that would add another waits until it is killed. So a stage is met in its middle on
any machine, however fast or busy.
"""

import os
import time
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

PATTERN, AFTER = os.environ.get("HOLD_AT", ""), int(os.environ.get("HOLD_AFTER", "0"))
_replace = os.replace


def _hold(source: Any, target: Any, **options: Any) -> None:
    path = Path(target)
    if fnmatch(path.as_posix(), PATTERN):
        while sum(fnmatch(one.as_posix(), PATTERN) for one in path.parent.iterdir()) >= AFTER:
            time.sleep(0.05)
    _replace(source, target, **options)


if PATTERN:
    os.replace = _hold
