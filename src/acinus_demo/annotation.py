"""Write outlines as the ASAP XML that CAMELYON ships beside its slides."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from xml.sax.saxutils import quoteattr

from acinus.files import write_text
from acinus_demo.outline import Ring

GROUP_COLOURS = {"_0": "#00ff00", "_1": "#ffff00", "_2": "#ff0000", "Exclusion": "#ff0000"}


@dataclasses.dataclass(frozen=True)
class Outline:
    """One annotated ring (level-0 pixels) and the ASAP group that says what it means."""

    group: str
    ring: Ring


def asap_text(outlines: Sequence[Outline]) -> str:
    """Return the outlines as an ASAP annotation document, polygons in the given order."""
    lines = ['<?xml version="1.0"?>', "<ASAP_Annotations>", "\t<Annotations>"]
    for number, outline in enumerate(outlines):
        group = quoteattr(outline.group)
        lines.append(f'\t\t<Annotation Name="Annotation {number}" Type="Polygon" PartOfGroup={group} Color="#F4FA58">')
        lines.append("\t\t\t<Coordinates>")
        for order, (x0, y0) in enumerate(outline.ring):
            lines.append(f'\t\t\t\t<Coordinate Order="{order}" X="{x0:.1f}" Y="{y0:.1f}" />')
        lines += ["\t\t\t</Coordinates>", "\t\t</Annotation>"]
    lines += ["\t</Annotations>", "\t<AnnotationGroups>"]
    for group in sorted({outline.group for outline in outlines}):
        colour = GROUP_COLOURS.get(group, "#64fe2e")
        lines.append(f'\t\t<Group Name={quoteattr(group)} PartOfGroup="None" Color="{colour}">')
        lines += ["\t\t\t<Attributes />", "\t\t</Group>"]
    lines += ["\t</AnnotationGroups>", "</ASAP_Annotations>"]
    return "\n".join(lines) + "\n"


def write_asap(path: Path, outlines: Sequence[Outline]) -> None:
    """Write the outlines to `path` as ASAP XML, whole or not at all."""
    write_text(path, asap_text(outlines))
