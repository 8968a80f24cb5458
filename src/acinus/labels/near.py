"""Texts that are nearly the same: what a slip of the pen makes of a class's name."""

from collections.abc import Mapping

RARE = 4
"""A text is taken for a slip of another one that is so many times as common."""
LONGEST = 100
"""Characters of a class's name: a longer text is a note."""


def near_duplicates(one: str, other: str) -> bool:
    """Return whether two different texts are alike but for case and spaces, or are one number, or a slip apart.

    A slip: a letter more, less, another one, or two neighbours swapped. Names that differ in a digit, or of fewer than
    four letters, are two names: grade 1 and grade 2, MSI and MSS, I and II.
    """
    first, second = _plain(one), _plain(other)
    if first == second:
        return True
    if min(len(first), len(second)) < 4:
        return False
    same = [a == b for a, b in zip(first, second, strict=False)]
    start = same.index(False) if False in same else len(same)
    left, right = first[start:], second[start:]
    differing = left[:1] + right[:1]
    if any(letter.isdigit() for letter in differing):
        return False
    swapped = left[:2] == right[:2][::-1] and left[2:] == right[2:]
    return left[1:] == right[1:] or left[1:] == right or left == right[1:] or swapped


def slips(counts: Mapping[str, int]) -> dict[str, str]:
    """Return text -> the commoner text that is probably meant. counts: text -> how often it is there.

    Two texts that differ by case or spaces, or are one number, or of which one is rare and a slip of the pen away.
    """
    meant: dict[str, str] = {}
    for text in sorted(counts, key=lambda one: (counts[one], one)):
        for other in sorted(counts, key=lambda one: (-counts[one], one)):
            if other == text or other in meant or counts[other] < counts[text] or not near_duplicates(text, other):
                continue
            if _plain(text) == _plain(other) or counts[text] * RARE <= counts[other]:
                meant[text] = other
                break
    return meant


def _plain(text: str) -> str:
    """Return a text without what makes no difference: case, spaces, how a number is written (1, 1.0, 01)."""
    try:
        return f"{float(text):.17g}"
    except ValueError:
        return " ".join(text.casefold().split())
