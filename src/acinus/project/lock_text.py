"""dvc.lock written faster: DVC reads and writes it whole after every stage, in pure Python, to keep comments.

A lock has none. Here it is read by libyaml, and of its text only the stages that ran are written anew, by DVC.
"""

import re
from collections.abc import Callable
from typing import Any, TextIO

STAGE = re.compile(r"^(?=  \S)", re.MULTILINE)


class LockText(dict[str, Any]):
    """What a lock file holds, and its text."""

    def __init__(self, values: dict[str, Any], text: str) -> None:
        super().__init__(values)
        self._text, self._before = text, dict(values.get("stages", {}))

    def text(self, dumps: Callable[[dict[str, Any]], str]) -> str:
        """Return the file's text with the stages that are others now; `dumps` writes YAML as DVC does."""
        head, *parts = STAGE.split(self._text)
        stages: dict[str, Any] = self.get("stages", {})
        if list(self) != ["schema", "stages"] or list(stages)[: len(parts)] != list(self._before):
            return dumps(dict(self))  # no lock as we know it
        written = dict(zip(self._before, parts, strict=False))
        for name, entry in stages.items():
            if entry is not self._before.get(name):
                written[name] = STAGE.split(dumps({"stages": {name: entry}}))[1]
        return head + "".join(written.values())


def install() -> None:
    """Let the DVC of this process write lock files so; another DVC than the known one stays as it is."""
    from dvc.utils.serialize import _yaml

    try:
        parse, parse_for_update, dump = _yaml.parse_yaml, _yaml.parse_yaml_for_update, _yaml._dump
    except AttributeError:
        return

    def read(text: str, path: str) -> Any:
        return LockText(parse(text, path), text) if str(path).endswith(".lock") else parse_for_update(text, path)

    def write(data: Any, stream: TextIO) -> None:
        if isinstance(data, LockText):
            stream.write(data.text(_yaml.dumps_yaml))
        else:
            dump(data, stream)

    _yaml.parse_yaml_for_update, _yaml._dump = read, write
