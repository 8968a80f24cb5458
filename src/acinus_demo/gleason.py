"""Gleason score and ISUP grade from the area that each growth pattern takes."""

import dataclasses
from collections.abc import Mapping

PATTERNS = (3, 4, 5)
SECONDARY_SHARE = 0.05  # a second pattern is named from this share of the cancer on

ISUP = {
    (3, 3): 1,
    (3, 4): 2,
    (4, 3): 3,
    (4, 4): 4,
    (3, 5): 4,
    (5, 3): 4,
    (4, 5): 5,
    (5, 4): 5,
    (5, 5): 5,
}


@dataclasses.dataclass(frozen=True)
class Grade:
    """A slide's grade: primary and secondary pattern (0, 0 without cancer) and the ISUP group 0..5."""

    primary: int
    secondary: int
    isup: int

    @property
    def score(self) -> str:
        """The score as a report writes it, "3+4"; "0+0" without cancer."""
        return f"{self.primary}+{self.secondary}"


def grade(area: Mapping[int, int]) -> Grade:
    """Return the grade that the `area` of each pattern (3, 4, 5; any unit) amounts to.

    Primary is the pattern with the largest area, secondary the next one if it takes at least
    `SECONDARY_SHARE` of the cancer, else the primary again; ties go to the higher pattern.
    """
    total = sum(area.get(pattern, 0) for pattern in PATTERNS)
    if total == 0:
        return Grade(0, 0, 0)
    order = sorted(PATTERNS, key=lambda pattern: (area.get(pattern, 0), pattern), reverse=True)
    primary, secondary = order[0], order[1]
    if area.get(secondary, 0) < SECONDARY_SHARE * total:
        secondary = primary
    return Grade(primary, secondary, ISUP[primary, secondary])
