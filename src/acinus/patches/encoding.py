"""Patches to bytes, by threads where there are any, with a look at what the encoding cost."""

import hashlib
import math
from collections.abc import Generator, Iterable
from itertools import groupby

import numpy as np

from acinus.errors import AcinusError
from acinus.patches.codec import JPEG_CODECS, PatchDataError, decode, encode
from acinus.patches.facts import SAMPLED, Tally
from acinus.patches.span import Span
from acinus.patches.store import StoreFormat
from acinus.threads import mapped_ahead

Patch = tuple[str, str, np.ndarray | bytes | Span]
"""(key, class name, pixels, or what is encoded already: bytes, or where they lie)."""


def encoded(patches: Iterable[Patch], form: StoreFormat, threads: int, tally: Tally) -> Generator[Patch, None, None]:
    """Yield (key, class name, bytes) of every patch in the order given; what is encoded passes as it is.

    Every SAMPLED-th encoded patch of a codec that loses something is decoded again; `tally` takes its loss.

    Raises:
        AcinusError: a patch of another size than the store's, or of another kind than the codec's.
    """

    def one(patch: Patch) -> tuple[str, str, bytes, list[float | None]]:
        key, label, image = patch
        assert isinstance(image, np.ndarray)
        data = encoded_patch(key, image, form)
        measured = form.codec in JPEG_CODECS and is_sampled(key)
        return key, label, data, [psnr_db(image, decode(data, form.codec))] if measured else []

    for ready, run in groupby(patches, key=lambda patch: not isinstance(patch[2], np.ndarray)):
        if ready:
            yield from run
            continue
        for key, label, data, losses in mapped_ahead(one, run, threads):
            for loss in losses:
                tally.add_loss(loss)
            yield key, label, data


def encoded_patch(key: str, image: np.ndarray, form: StoreFormat) -> bytes:
    """Return the bytes of one patch. AcinusError: another size than the store's, or another kind than the codec's."""
    edge = form.patch_px
    if image.shape[:2] != (edge, edge):
        raise AcinusError(f"patch {key} has shape {image.shape}, expected ({edge}, {edge}, ...); check patch_px")
    try:
        return encode(image, form.codec, form.quality)
    except PatchDataError as error:
        raise PatchDataError(f"patch {key}: {error}") from error


def is_sampled(key: str) -> bool:
    """Return whether an encoded patch is one of those that are decoded again: the same ones in every run."""
    return hashlib.blake2b(key.encode(), digest_size=64).digest()[0] % SAMPLED == 0


def psnr_db(image: np.ndarray, back: np.ndarray) -> float | None:
    """Return the peak signal-to-noise ratio of uint8 images in dB, 10 log10(255² / mean squared error); None: equal."""
    difference = image.astype(np.int32) - back
    squares = int(np.square(difference, out=difference).sum(dtype=np.int64))
    return 10 * math.log10(255**2 * image.size / squares) if squares else None
