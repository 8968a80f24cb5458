"""Which version of acinus a project was made with: the line `acinus==...` of its requirements.txt, if it has one."""

import re
from pathlib import Path

from acinus.code import installed
from acinus.errors import AcinusError

PIN = "requirements.txt"
_LINE = re.compile(r"^acinus(?P<extras>\[[^]]*])?==(?P<version>[^\s;#]+)", re.MULTILINE)


def pin_line(extras: str = "") -> str:
    """Return the line that pins the version which runs; extras: as `[weights]`."""
    return f"acinus{extras}=={installed('acinus')}"


def pinned(root: Path) -> str | None:
    """Return the version that the project at `root` was made with, or None where it pins none, as Acinus's own."""
    match = _LINE.search(_text(root))
    return match["version"] if match else None


def pin_anew(root: Path) -> str | None:
    """Return the text of requirements.txt with the version that runs in place of the pinned one, or None without."""
    text = _text(root)
    match = _LINE.search(text)
    return text[: match.start()] + pin_line(match["extras"] or "") + text[match.end() :] if match else None


def check_pin(root: Path) -> None:
    """Refuse to run a project with another version than it was made with.

    Raises:
        AcinusError: both versions, and the two ways on.
    """
    wanted, running = pinned(root), installed("acinus")
    if wanted not in (None, running):
        raise AcinusError(
            f"{root / PIN}: this project was made with acinus {wanted}, but {running} runs; install that one "
            f"(pip install -r {PIN}), or look what {running} would run again (acinus upgrade --check) and take it "
            "(acinus upgrade)"
        )


def _text(root: Path) -> str:
    path = root / PIN
    try:
        return path.read_text(encoding="utf-8") if path.is_file() else ""
    except (OSError, UnicodeDecodeError) as error:
        raise AcinusError(f"{path}: cannot be read ({error}); make it a readable UTF-8 file") from error
