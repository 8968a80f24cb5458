"""One process with MLflow for all stages that `acinus dvc` starts: loading MLflow takes longer than many a stage.

It makes the calls of `server.Server` for them: a line of JSON each, over a socket in a folder of this user's. Gone
is as good as a server that is gone: a warning, and a local record.
"""

import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

from acinus.errors import AcinusError
from acinus.parallel import exit_with_process
from acinus.tracking.server import Server, ServerError

ADDRESS = "ACINUS_RECORDER"
"""The environment variable that tells a stage where the process listens."""


def connect(uri: str, root: Path) -> Any:
    """Return the server for a stage: by way of the process that listens, or by MLflow here.

    Raises:
        ServerError, OSError: MLflow cannot be reached.
    """
    address = os.environ.get(ADDRESS)
    if address:
        with suppress(OSError):  # it has ended
            return _Remote(address, uri, root)
    return Server(uri, root)


class _Remote:
    """The calls of Server, made by the process that listens."""

    def __init__(self, address: str, uri: str, root: Path) -> None:
        self._address, self._server = address, [uri, str(root)]
        self._call("connected")

    def __getattr__(self, name: str) -> Callable[..., Any]:
        return partial(self._call, name)

    def _call(self, name: str, *arguments: Any) -> Any:
        with socket.socket(socket.AF_UNIX) as channel:
            channel.connect(self._address)
            with channel.makefile("rw", encoding="utf-8") as stream:
                print(json.dumps([*self._server, name, arguments]), file=stream, flush=True)
                line = stream.readline()
        if not line:
            raise ConnectionError("the process that records has ended")
        answer = json.loads(line)
        if "error" in answer:
            raise ServerError(answer["error"])
        return answer["value"]


@contextmanager
def beside() -> Iterator[None]:
    """Let a process make the calls to MLflow of all stages that start in the block; it loads MLflow for the first.

    Where one does so already, for a command above this one, it stays that one.
    """
    if ADDRESS in os.environ:
        yield
        return
    with tempfile.TemporaryDirectory(prefix="acinus-") as folder:
        address = str(Path(folder) / "recorder")
        with socket.socket(socket.AF_UNIX) as listening:  # open in that process alone: refused once it is gone
            try:
                listening.bind(address)
            except OSError:  # a TMPDIR of more letters than a socket's name may have: stages load MLflow themselves
                yield
                return
            listening.listen()
            code = f"from acinus.tracking import recorder; recorder.serve({listening.fileno()}, {os.getpid()})"
            process = subprocess.Popen(  # out of reach of Ctrl-C: stages have yet to say how they ended
                [sys.executable, "-c", code], pass_fds=[listening.fileno()], start_new_session=True
            )
        os.environ[ADDRESS] = address
        try:
            yield
        finally:
            del os.environ[ADDRESS]
            process.terminate()
            process.wait()


def serve(descriptor: int, above: int) -> None:
    """Answer calls at a listening socket, one at a time, until the process `above` has ended."""
    exit_with_process(above)
    servers: dict[tuple[str, str], Server] = {}
    with socket.socket(fileno=descriptor) as listening:
        while True:
            channel, _ = listening.accept()
            with suppress(OSError, ValueError), channel, channel.makefile("rw", encoding="utf-8") as stream:
                uri, root, name, arguments = json.loads(stream.readline())  # none from a stage that was killed
                print(json.dumps(_answer(servers, uri, root, name, arguments)), file=stream, flush=True)


def _answer(
    servers: dict[tuple[str, str], Server], uri: str, root: str, name: str, arguments: list[Any]
) -> dict[str, Any]:
    try:
        if (uri, root) not in servers:
            servers[uri, root] = Server(uri, Path(root))
        return {"value": getattr(servers[uri, root], name)(*arguments)}
    except (ServerError, OSError, AcinusError) as error:
        return {"error": str(error)}
