"""What tests read in a page: its tags, figures, visible text and scripts."""

import base64
import hashlib
import re
from html.parser import HTMLParser

HOSTILE = '<script>alert("1")</script>\'&'


class Reader(HTMLParser):
    """Collect the tags, the values of every <data>, the visible text and what stands in scripts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text, self.scripts = "", list[str]()
        self._in_script = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._in_script = tag == "script"
        if self._in_script:
            self.scripts.append("")

    def handle_endtag(self, tag: str) -> None:
        self._in_script = False

    def handle_data(self, data: str) -> None:
        if self._in_script:
            self.scripts[-1] += data
        else:
            self.text += data

    def values(self) -> list[str]:
        return [str(attributes["value"]) for tag, attributes in self.tags if tag == "data"]

    def links(self) -> list[str]:
        return [str(v) for _, attributes in self.tags for k, v in attributes.items() if k in ("href", "src")]

    def policy(self) -> dict[str, list[str]]:
        """The page's content security policy: directive -> sources."""
        found = [a for tag, a in self.tags if tag == "meta" and a.get("http-equiv") == "Content-Security-Policy"]
        assert len(found) == 1
        parts = [part.split() for part in str(found[0]["content"]).split(";")]
        return {part[0]: part[1:] for part in parts if part}


def assert_inert(html: str) -> None:
    """The page runs its own script at most, known by its hash, loads nothing and names no other address."""
    read = Reader(html)
    policy = read.policy()
    assert policy["default-src"] == ["'none'"]
    hashes = [base64.b64encode(hashlib.sha256(one.encode()).digest()).decode() for one in read.scripts]
    assert len(hashes) <= 1
    assert policy.get("script-src", []) == [f"'sha256-{one}'" for one in hashes]
    assert not [source for one in policy.values() for source in one if source == "*" or "unsafe-eval" in source]
    assert all(not attributes for tag, attributes in read.tags if tag == "script")
    assert {tag for tag, _ in read.tags}.isdisjoint({"link", "iframe", "object", "embed", "base"})
    assert not [name for _, attributes in read.tags for name in attributes if name.startswith("on")]
    assert not [link for link in read.links() if ":" in link or link.startswith("//")]
    assert not re.search(r"@import|url\(", html)
    assert all(attributes.get("alt") for tag, attributes in read.tags if tag == "img")
