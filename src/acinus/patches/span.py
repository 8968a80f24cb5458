"""A patch that lies in its slide's file already: where, instead of a second copy of its bytes."""

import os
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from acinus.errors import AcinusError

_END = b"\xff\xd9"


@dataclass(frozen=True)
class Span:
    """A JPEG: `head`, then `count` bytes of a slide's file from `offset` on, which end with its end marker."""

    head: bytes
    path: Path
    offset: int
    count: int


class SpanFiles:
    """Reads spans, of one file at a time (a context manager that closes it), and tells when a file is not what it was.

    Meant for spans in the order of their slides: another slide's file is opened anew.
    """

    def __init__(self) -> None:
        self._stamps: dict[Path, tuple[int, int]] = {}
        self._open: tuple[Path, BinaryIO] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def note(self, key: str, path: Path) -> None:
        """Remember a file as it is now, where it was not noted before; asked for before it is read.

        Raises:
            AcinusError: it is not there any more; names file and patch.
        """
        if path not in self._stamps:
            try:
                self._stamps[path] = _stamp(path.stat())
            except OSError as error:
                raise _changed(key, path) from error

    def read(self, key: str, span: Span) -> bytes:
        """Return the bytes of a span.

        Raises:
            AcinusError: the file is not the one that was noted; names file and patch.
        """
        try:
            file = self._file_of(span.path).fileno()
            same = _stamp(os.fstat(file)) == self._stamps[span.path]
            data = os.pread(file, span.count, span.offset)
        except OSError as error:
            raise _changed(key, span.path) from error
        if not same or len(data) < span.count or not data.endswith(_END):
            raise _changed(key, span.path)
        return span.head + data

    def _file_of(self, path: Path) -> BinaryIO:
        if self._open is None or self._open[0] != path:
            self._close()
            self._open = path, path.open("rb", buffering=0)
        return self._open[1]

    def _close(self) -> None:
        if self._open is not None:
            self._open[1].close()
            self._open = None


def _stamp(status: os.stat_result) -> tuple[int, int]:
    return status.st_size, status.st_mtime_ns


def _changed(key: str, path: Path) -> AcinusError:
    return AcinusError(f"patch {key}: {path.name}: the slide changed while it was read; run extract again (dvc repro)")
