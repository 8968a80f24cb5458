"""The rule that a clinician can follow: ISUP from the area of each Gleason pattern, tumour from the burden."""

import re
from collections.abc import Mapping, Sequence

from acinus.cohorts.grade import isup_of
from acinus.scoring.burden import tumour_by_burden

SECONDARY_SHARE = 0.05
"""A second pattern is named from this share of the cancer on (ISUP 2014: less is reported apart from the score)."""

_PATTERN = re.compile(r"gleason[ _-]?([345])\Z", re.IGNORECASE)


def gleason_classes(classes: Sequence[str]) -> dict[int, int] | None:
    """Return pattern (3, 4, 5) -> class index by the names gleason3, gleason4, gleason5; None unless all are there."""
    patterns = {int(match[1]): index for index, name in enumerate(classes) if (match := _PATTERN.match(name))}
    return patterns if set(patterns) == {3, 4, 5} else None


def isup_by_area(area: Mapping[int, int], tissue: int, burden_percent: float) -> int:
    """Return the ISUP grade group, 0..5, of the area of each pattern (3, 4, 5) and of all tissue, in one unit.

    Less cancer than burden_percent of the tissue, or none, is grade 0. The primary pattern is the one of the largest
    area (of equal ones the higher), the secondary the highest other one that takes SECONDARY_SHARE of the cancer:
    in a biopsy the worst counts, not the second largest. Without one the primary stands twice.
    """
    cancer = sum(area.values())
    if cancer == 0 or cancer * 100 < burden_percent * tissue:
        return 0
    primary = max(area, key=lambda pattern: (area[pattern], pattern))
    others = [pattern for pattern in area if pattern != primary and area[pattern] >= SECONDARY_SHARE * cancer]
    return isup_of(f"{primary}+{max(others, default=primary)}")


def by_rule(
    target: str,
    classes: Sequence[str],
    class_px: Sequence[int] | None,
    burden_pred: float | None,
    burden_percent: float,
) -> int | None:
    """Return what the rule says of a slide's predicted areas; None where there is nothing to follow it.

    target isup: of class_px, px of every class inside tissue, where the classes name the Gleason patterns.
    target tumor: `scoring.burden.tumour_by_burden`.
    """
    if target == "tumor":
        return tumour_by_burden(burden_pred, burden_percent)
    patterns = gleason_classes(classes)
    if patterns is None or class_px is None:
        return None
    area = {pattern: int(class_px[index]) for pattern, index in patterns.items()}
    return isup_by_area(area, int(sum(class_px)), burden_percent)
