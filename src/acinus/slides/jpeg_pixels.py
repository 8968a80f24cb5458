"""A slide's own JPEG bytes as pixels, by OpenSlide's measure of what is whole."""

from functools import partial

import numpy as np
import simplejpeg

_END = b"\xff\xd9"
_STRAYS = "before marker 0xd9"
"""In libjpeg's warning of stray bytes before an end marker."""


def pixels_of(data: bytes | memoryview) -> np.ndarray:
    """Return uint8 (height, width, 3) of a JPEG with an end marker; zeros may follow it.

    What libjpeg only warns of is damage, filled up with grey, and OpenSlide 4.0.1 refuses it; but for stray
    bytes behind the last row of px, which it does not look at (tried with written files).

    Raises:
        ValueError: what OpenSlide does not decode.
    """
    decoded = partial(simplejpeg.decode_jpeg, data, "RGB", fastdct=False, fastupsample=False)
    try:
        return np.asarray(decoded(strict=True))
    except ValueError as error:
        # an end marker in the middle may draw the same warning where restart markers are or more scans follow
        if _STRAYS not in str(error) or bytes(data).count(_END) != 1:
            raise
    return np.asarray(decoded(strict=False))
