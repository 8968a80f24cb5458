"""What a measured task is: a function that prepares and returns the work; only the work is on the clock."""

from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Done:
    """What the work did. units: patches (windows, slides) to divide by. notes: further numbers, by name."""

    units: int
    notes: dict[str, float] = field(default_factory=dict)


Work = Callable[[], Done]
