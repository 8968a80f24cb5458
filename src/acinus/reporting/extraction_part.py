"""Which way the patches took into their store, as figures of a report."""

from collections.abc import Mapping
from typing import Any

from acinus.errors import AcinusError
from acinus.reporting.choices import is_number
from acinus.reporting.figure_parts import Metrics

NAMES = (
    "patches_tile",
    "patches_cut",
    "patches_encoded",
    "patches_stored",
    "patches_openslide",
    "source_tiles",
    "second_jpeg_sampled",
    "second_jpeg_psnr_db",
    "second_jpeg_psnr_db_min",
)


def extraction_values(extraction: Mapping[str, Any]) -> Metrics:
    """Return the figures of extraction.json, of all splits; none where there is no such file's content.

    patches_tile and patches_cut keep their slide's own JPEG bytes (a whole tile, a part of one cut without loss),
    patches_encoded were decoded and encoded, patches_stored decoded and kept exactly; patches_openslide of the latter
    two went through OpenSlide. source_tiles: distinct JPEG tiles under the patches. second_jpeg_psnr_db,
    second_jpeg_psnr_db_min: what encoding cost second_jpeg_sampled patches, mean and least, dB.

    Raises:
        AcinusError: a figure that is missing or no number.
    """
    if not extraction:
        return {}
    values: Metrics = {}
    for name in NAMES:
        value = extraction.get(name, "nothing")
        if value is not None and not is_number(value):
            raise AcinusError(f"extraction.json: {name}: {value!r} found, expected a number or null; run extract again")
        values[name] = value
    return values
