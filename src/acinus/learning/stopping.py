"""A clean end of a training: asked for by `acinus stop` or SIGTERM, heard after the step that is under way."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from acinus.errors import AcinusError
from acinus.files import try_lock, write_text

BY_COMMAND, BY_SIGNAL = "acinus stop", "SIGTERM"

Asked = Callable[[], str | None]
"""Whether an end was asked for, and by what."""


def ask(root: Path, recipe: str) -> str:
    """Ask a recipe's running training to end; return a line for a person. AcinusError: none runs on this project."""
    if not _runs(root / ".acinus" / "locks" / f"train@{recipe}"):
        raise AcinusError(f"recipe {recipe}: no training is running in {root}; nothing to stop")
    write_text(_place(root, recipe), "")
    return f"{recipe}: asked to stop; the training ends after its step, and keeps the best so far"


@contextmanager
def listening(root: Path, recipe: str) -> Iterator[Asked]:
    """Give a function that says what asked this recipe's training to end; within the block SIGTERM is such a request.

    A request that an earlier training left unheard is dropped. Outside the main thread signals are not heard.
    """
    place, heard = _place(root, recipe), threading.Event()
    place.unlink(missing_ok=True)

    def take(number: int, frame: FrameType | None) -> None:
        heard.set()

    def asked() -> str | None:
        return BY_SIGNAL if heard.is_set() else BY_COMMAND if place.exists() else None

    main = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGTERM, take) if main else None
    try:
        yield asked
    finally:
        if main:
            signal.signal(signal.SIGTERM, before or signal.SIG_DFL)
        place.unlink(missing_ok=True)


def _place(root: Path, recipe: str) -> Path:
    return root / ".acinus" / "stop" / recipe


def _runs(lock: Path) -> bool:
    """Return whether a process holds a stage's lock (`execution`)."""
    if not lock.exists():
        return False
    held = try_lock(lock)
    if held is not None:
        held.release()
    return held is None
