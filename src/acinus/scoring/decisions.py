"""What an answer for a slide says: a class, or a number."""

import numpy as np

CLASSED: frozenset[str] = frozenset({"binary", "classes", "ordinal"})
"""Kinds of target whose answer is one of a few classes, with a probability each."""

HALF = 0.5
"""The threshold of the second of two classes where nothing says another one."""


def decide(kind: str, answer: np.ndarray, threshold: float = HALF) -> float:
    """Return what an answer says: a class index (binary by the threshold, ordinal the median, classes the likeliest, of
    equals the first), or the number itself. answer: probabilities of the classes, or one number.
    """
    if kind not in CLASSED:
        return float(answer[0])
    if kind == "binary":
        return float(answer[1] >= threshold)
    if kind == "ordinal":
        return float((np.cumsum(answer[::-1])[::-1][1:] > HALF).sum())
    return float(answer.argmax())
