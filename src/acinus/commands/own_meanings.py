"""Which column of a table says whether slides are normal or tumour, and what its texts mean.

A wrong label is worse than none: a text has a meaning only where all of it is one of the texts below.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from acinus.cohorts.slides_table import Joined, SlidesTable

MOST_VALUES = 12
"""A column with more different texts says something else than the kind of a slide."""
FEW_NUMBERS = 3
"""A column of more different numbers measures something (an age, a score)."""
_NUMBER = re.compile(r"[-+]?\d+([.,]\d+)?")
_PATIENT = re.compile(
    r"(patient(en)?|pat|case|fall(?= ?(id|n))|subject|donor|participant|proband|animal|mouse)"
    r"( ?(id|no|nr|num|number|nummer|code|key|name|pseudonym))?|mrn|medical record (no|number)"
)
_KIND = r"(tumou?r|cancer|carcinoma|malignan(t|cy))"
_ASKS = re.compile(rf"((is|has) ?)?{_KIND}( ?(present|status))?")
_ELSEWHERE = re.compile(
    r"histor|famil|anamn|prior|previous|relative|adjacent|margin|clinic|referr|suspic|predict|model"
)
"""In titles of what is not the slide itself, or is no finding."""
_NOUN = r"(tumou?r|cancer|(adeno)?carcinoma|sarcoma|melanoma|lymphoma|malignancy)"
_TUMOR = re.compile(
    rf"((primary|invasive|metastatic|ductal|lobular|squamous cell) )*{_NOUN}( tissue)?"
    r"(,? (nos|not otherwise specified))?|malignant( tumou?r| tissue)?|metasta(sis|ses|tic)"
)
_ANY = r"(tumou?r|cancer|malignancy)"
_NORMAL = re.compile(
    rf"(solid tissue )?normal|(normal|benign|healthy)( tissue)?|no {_ANY}|{_ANY} (free|absent)|free of {_ANY}"
    rf"|non ?(tumou?r|cancer(ous)?|malignant)|negative for {_ANY}|no evidence of {_ANY}"
)
_UNKNOWN = re.compile(r"unknown|unclear|n/?a|nan|null|itc|\?+")
_SWITCH = dict.fromkeys(("1", "1.0", "yes", "y", "true", "pos", "positive", "present", "macro", "micro"), "tumor")
_SWITCH |= dict.fromkeys(("0", "0.0", "no", "n", "false", "neg", "negative", "absent"), "normal")
"""Texts that mean something only below a title that asks for tumour."""


@dataclass(frozen=True)
class LabelColumn:
    """A column that may say what slides are. counts: text -> slides. values: text -> meaning, {} where it is left open.

    why: why that is, "" where no text has a meaning.
    """

    name: str
    counts: Mapping[str, int]
    values: Mapping[str, str]
    why: str = ""

    @property
    def told(self) -> str:
        """The column, its texts and what they mean, for a person."""
        texts = (
            f"{text!r} {count}" + (f" = {self.values[text]}" if text in self.values else "")
            for text, count in self.counts.items()
        )
        return f"{self.name} ({', '.join(texts)}{f'; {self.why}' if self.why else ''})"


def label_columns(table: SlidesTable | None, joined: Joined) -> list[LabelColumn]:
    """Return the columns that may say what slides are, those first of which all is understood."""
    columns = []
    for name in table.label_columns if table else ():
        counts = Counter(text for entry in joined.by_slide.values() if (text := entry.labels.get(name)))
        if is_label(name, counts):
            columns.append(_column(name, dict(sorted(counts.items()))))
    said = [
        {meaning for one in columns if (meaning := one.values.get(entry.labels.get(one.name, "")))} - {"unknown"}
        for entry in joined.by_slide.values()
    ]
    if any(len(kinds) > 1 for kinds in said):
        why = "another column says otherwise of a slide"
        columns = [replace(one, values={}, why=why) if one.values else one for one in columns]
    return sorted(columns, key=lambda one: not one.values)


def is_label(name: str, counts: Mapping[str, int]) -> bool:
    """Return whether a column may say what slides are, by its title and its texts (text -> slides)."""
    measured = len(counts) > FEW_NUMBERS and all(_NUMBER.fullmatch(text) for text in counts)
    return 0 < len(counts) <= MOST_VALUES and not measured and not is_patient(name)


def is_patient(title: str) -> bool:
    """Return whether a column of this title says whose slide it is."""
    return _PATIENT.fullmatch(_plain(title)) is not None


def _column(name: str, counts: Mapping[str, int]) -> LabelColumn:
    """Return a column with its meanings, where each of its texts has one, and both normal and tumour are said."""
    meanings = _meanings(name, counts)
    unclear = [repr(text) for text in counts if text not in meanings]
    kinds = set(meanings.values()) - {"unknown"}
    if not unclear and len(kinds) > 1:
        return LabelColumn(name, counts, meanings)
    why = f"not understood: {', '.join(unclear)}" if unclear else f"all it says is {' and '.join(kinds) or 'unknown'}"
    return LabelColumn(name, counts, {}, why if meanings else "")


def _meanings(name: str, texts: Iterable[str]) -> dict[str, str]:
    """Return text -> normal, tumor or unknown, of those of which nothing else can be meant."""
    title = _plain(name)
    if _ELSEWHERE.search(title):
        return {}
    asks = _ASKS.fullmatch(title) is not None
    meanings = {}
    for text in texts:
        plain = _plain(text)
        kinds = {"unknown": _UNKNOWN, "normal": _NORMAL, "tumor": _TUMOR}
        meaning = next((kind for kind, pattern in kinds.items() if pattern.fullmatch(plain)), None)
        if meaning := (_SWITCH.get(plain) if asks else None) or meaning:
            meanings[text] = meaning
    return meanings


def _plain(text: str) -> str:
    """Return a text as it is compared: in one case, blanks, dashes, dots and underscores one blank."""
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", text)  # isTumor
    return re.sub(r"[\s_-]+|\.(?!\d)", " ", spaced.casefold()).strip()
