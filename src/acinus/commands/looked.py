"""What `acinus look` saw of one slide and its annotation, and the lines that tell of them."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from acinus.annotations.outline import ClassCount
from acinus.commands.own_labels import number

SHOWN = 25
"""So many lines of each part are printed; look.txt has all."""
NO_CLASS = "(no class)"


@dataclass
class SlideLook:
    """What one slide and its annotation are. problem, annotation_problem: why it cannot be used, else ""."""

    slide_id: str
    path: str
    form: str
    facts: str = ""
    problem: str = ""
    no_mpp: str = ""
    annotation: str = ""
    tool: str = ""
    annotation_problem: str = ""
    classes: list[ClassCount] = field(default_factory=list)
    mm2_per_px: float | None = None
    notes: list[str] = field(default_factory=list)
    picture: np.ndarray | None = None


def slide_lines(looks: Sequence[SlideLook], of_series: Mapping[str, Sequence[str]], files: int) -> list[str]:
    """Return a line for each slide that can be used; a DICOM series (slide id -> its other files) is one."""
    usable = [one for one in looks if not one.problem]
    forms = Counter(one.form for one in usable)
    counts = ", ".join(f"{count} {form}" for form, count in forms.most_common())
    annotated = sum(bool(one.annotation and not one.annotation_problem) for one in usable)
    lines = [
        f"{len(usable)} of {len(looks)} can be used: {counts or 'none'}; {annotated} of them annotated; {files} files"
    ]
    more = {slide_id: f", {len(others) + 1} files of one series" for slide_id, others in of_series.items()}
    return lines + [f"{one.path}: {one.form}, {one.facts}{more.get(one.slide_id, '')}" for one in usable]


def annotation_lines(looks: Sequence[SlideLook]) -> list[str]:
    """Return a line for each annotation that can be used: its tool, its slide and its classes."""
    lines = []
    for one in looks:
        if one.tool and not one.annotation_problem:
            classes = one.classes[:SHOWN]  # a smoothed mask has thousands of colours
            what = ", ".join(f"{entry.class_name or NO_CLASS} {_amount(entry, one)}" for entry in classes)
            what += f" and {more} more" if (more := len(one.classes) - len(classes)) else ""
            lines.append(f"{one.annotation} ({one.tool}) -> {one.path}: {what or 'no outline'}")
    return lines


def _amount(entry: ClassCount, look: SlideLook) -> str:
    if look.tool == "mask":
        return f"({entry.area_px0:,.0f} mask px)"
    return f"{entry.outlines} ({_area(entry.area_px0, look.mm2_per_px)})"


def _area(px0: float, mm2_per_px: float | None) -> str:
    return f"{px0:,.0f} px" if mm2_per_px is None else f"{px0 * mm2_per_px:.3g} mm2"


def class_lines(looks: Sequence[SlideLook]) -> list[str]:
    """Return a line for each class over all files, the commonest first."""
    by_name: dict[str, list[tuple[ClassCount, SlideLook]]] = defaultdict(list)
    for look in looks:
        if look.tool != "mask":
            for entry in look.classes:
                by_name[entry.class_name or NO_CLASS].append((entry, look))
    lines = []
    for name, entries in sorted(by_name.items(), key=lambda item: -sum(entry.outlines for entry, _ in item[1])):
        known = [entry.area_px0 * look.mm2_per_px for entry, look in entries if look.mm2_per_px]
        area = (
            f", {sum(known):.3g} mm2"
            if len(known) == len(entries)
            else f", {sum(e.area_px0 for e, _ in entries):,.0f} px"
        )
        count = sum(entry.outlines for entry, _ in entries)
        lines.append(f"{name}: {number(count, 'outline')} in {number(len(entries), 'file')}{area}")
    return lines
