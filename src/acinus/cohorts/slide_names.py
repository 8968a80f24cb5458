"""What a person's text for a slide means: its path, its file name or its stem; and ids that are safe as file names."""

import difflib
import hashlib
import re
import unicodedata
from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath

from acinus.records import LONGEST_ID, is_safe_id
from acinus.slides.formats import FORMATS

SUFFIXES = tuple(sorted(FORMATS, key=len, reverse=True))
"""Of files that are slides, read or not; those of two parts first."""
_UUID = re.compile(r"\.[0-9a-f]{6,8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\Z", re.IGNORECASE)
_BARCODE = re.compile(r"TCGA-[A-Z0-9]{2}-[A-Z0-9]{4}(?=-|\Z)", re.IGNORECASE)
_SPELLED = str.maketrans({"ß": "ss", "ẞ": "SS", "æ": "ae", "Æ": "AE", "ø": "o", "Ø": "O", "ł": "l", "Ł": "L"})
_ALIKE = 0.8
"""How alike two names must be (difflib's ratio) for one to be offered for the other."""
_MOST_COMPARED = 2000
"""Slides up to which every name is compared with all of them: that takes time in proportion to both."""


def stem_of(path: str, suffixes: Iterable[str] = SUFFIXES) -> str:
    """Return a file's name without a known suffix, in any case: dots within it stay (TCGA-83-5908-01Z.381c8f82-...)."""
    name = PurePosixPath(path).name
    found = next((suffix for suffix in suffixes if name.lower().endswith(suffix)), "")
    return name[: len(name) - len(found)] or name


def safe_id(stem: str) -> str:
    """Return the slide id of a file's stem: the stem itself where it is safe as a file name.

    The rule: letters lose their marks (ü is u, ß is ss), every run of other characters than letters, digits, `_`, `-`
    and `.` is one `_`, several dots are one, what is no letter or digit goes from both ends, and at most LONGEST_ID
    characters stay. Where nothing stays: `slide_` and 8 digits that depend on the name alone.
    """
    if is_safe_id(stem):
        return stem
    plain = unicodedata.normalize("NFKD", stem.translate(_SPELLED)).encode("ascii", "ignore").decode()
    joined = re.sub(r"\.{2,}", ".", re.sub(r"[^A-Za-z0-9_.-]+", "_", plain))
    trimmed = re.sub(r"^[^A-Za-z0-9]+|[^A-Za-z0-9]+\Z", "", joined)[:LONGEST_ID]
    return trimmed or f"slide_{hashlib.blake2b(stem.encode(), digest_size=4).hexdigest()}"


def patient_of(stem: str) -> str | None:
    """Return the patient that a TCGA barcode names (TCGA-83-5908), or None for any other name."""
    barcode = _BARCODE.match(stem)
    return None if barcode is None else barcode[0].upper()


class SlideNames:
    """Finds the slides (paths below the root) that a text means; upper and lower case are one."""

    def __init__(self, paths: Iterable[str]) -> None:
        self._names: dict[str, list[str]] = {}
        self._stems: dict[str, list[str]] = {}
        self._barcodes: dict[str, list[str]] = {}
        self._short: dict[str, list[str]] = {}
        for path in sorted(paths):
            stem = _key(stem_of(path))
            self._names.setdefault(_key(PurePosixPath(path).name), []).append(path)
            self._stems.setdefault(stem, []).append(path)
            self._barcodes.setdefault(_UUID.sub("", stem), []).append(path)
            self._short.setdefault(stem.lstrip("0"), []).append(path)

    def find(self, text: str) -> list[str]:
        """Return the slides that a text means: one if all is well, none, or several between which it does not tell.

        The text is a path (its end, or all of it and more), a file name, a stem, or a stem of which only one of the
        two has the UUID behind its last dot. The first of these that fits counts.
        """
        asked = _key(text.replace("\\", "/").removeprefix("./"))
        name = asked.rpartition("/")[2]
        stem = stem_of(name)
        bare = _UUID.sub("", stem)
        # of two UUIDs that differ neither may stand for the other
        barcodes = [path for path in self._barcodes.get(bare, []) if bare == stem or not _has_uuid(path)]
        for paths in (self._names.get(name, []), self._stems.get(stem, []), barcodes):
            alike = {path: _folders_alike(asked, _key(path)) for path in paths}
            best = max(alike.values(), default=0)
            if best > 0:
                return [path for path in paths if alike[path] == best]
        return []

    def near(self, text: str) -> str:
        """Return what to say of a text that means no slide: the slide that it may be meant for, or nothing."""
        stem = stem_of(_key(text.replace("\\", "/"))).removesuffix(".0")
        short = self._short.get(stem.lstrip("0"), [])
        if len(short) == 1:
            return f" ({short[0]} has other zeros in front: make the column text in the spreadsheet)"
        if len(self._stems) > _MOST_COMPARED:
            return ""
        alike = difflib.get_close_matches(stem, self._stems, n=1, cutoff=_ALIKE)
        return f" (is {self._stems[alike[0]][0]} meant?)" if alike else ""


def named(ids: Mapping[str, str]) -> list[str]:
    """Return a line for each slide (id -> path) whose id is not its file's stem."""
    return [f"{path} is slide {slide_id}" for slide_id, path in sorted(ids.items()) if slide_id != stem_of(path)]


def _key(text: str) -> str:
    """Return a text as it is compared: in one case, and with accents stored in one way (macOS takes them apart)."""
    return unicodedata.normalize("NFC", text).casefold()


def _has_uuid(path: str) -> bool:
    return _UUID.search(stem_of(path)) is not None


def _folders_alike(asked: str, path: str) -> int:
    """Return how well a text's folders are those of a path: 0 not at all, else the larger the better.

    One's folders must end the other's: /data/x/a.svs, x/a.svs and y/x/a.svs are alike.
    """
    (*above, _), (*there, _) = asked.split("/"), path.split("/")
    common = min(len(above), len(there))
    if above[len(above) - common :] != there[len(there) - common :]:
        return 0
    return 1 + 2 * common + (above == there)
