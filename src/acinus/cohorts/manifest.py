"""The rows of a cohort as one checked manifest, or one line that says why there is none; what its findings mean."""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from acinus import params, records
from acinus.cohorts.adapter import some
from acinus.errors import AcinusError
from acinus.params.base import SPLITS

FINDINGS = {
    "background_contradicts": "px of an array are both background and a nucleus, or neither, or background has several "
    "instances: are the channels in another order?",
    "blank_mask": "the mask has no value but that of the background: nothing is drawn",
    "blank_slide": "more than 99 % of the slide is near white: there is hardly any tissue",
    "cancer_without_isup": "ISUP 0, but the mask has pixels of a positive class",
    "doubtful": "stands in a list of cohort.doubtful",
    "gleason_isup_mismatch": "the Gleason score gives another ISUP grade than the one stated",
    "isup_without_cancer": "ISUP above 0, but the mask has no pixel of a positive class",
    "mask_missing": "there is no mask; the slide serves grading only",
    "near_colours": "more of the mask's px than cohort.max_near_fraction have no class's own colour but one near to it",
    "no_region": "cohort.annotations.classes names a region, but no outline of the slide is one: all of it is judged; "
    "draw one around what was annotated, or tolerate it where the whole slide was",
    "no_tumor_outlined": "the annotation file outlines no tumour (empty, points only or cut-outs only), and nothing "
    "else says what the slide is: it has no label",
    "nothing_outlined": "the annotation file has no outline that counts (empty, points only, or objects of other "
    "kinds): the slide has no label",
    "one_class_mask": "every px of the mask is of one class",
    "tumor_cut_away": "cut-outs or ignored regions take more of the outlined tumour than they leave",
}
"""Name, as validate.tolerate may give it -> what it means; docs/cohorts.md has them all. One list for every family,
and one gate, validate's."""
SHOWN = 3
"""So many slides that cannot be used are told in the line that refuses a cohort."""


def build_manifest(rows: Sequence[dict[str, Any]], settings: params.Cohort) -> pd.DataFrame:
    """Return records.MANIFEST of the rows.

    Raises:
        AcinusError: no slides; an id twice; more bad ones, among those not excluded, than
            settings.max_bad_fraction; none that can be used.
    """
    if not rows:
        raise AcinusError(
            f"{settings.root}: no slides below this folder; set cohort.root to the folder that holds them"
        )
    images: dict[str, str] = {}
    for row in rows:
        image = images.setdefault(row["slide_id"], row["image"])
        if image != row["image"]:
            raise AcinusError(
                f"two slides with the id {row['slide_id']}: {image} and {row['image']}; rename one or move it away"
            )
    wanted = [row for row in rows if row["status"] != "excluded"]
    bad = [row for row in wanted if row["status"] == "bad"]
    if len(bad) > settings.max_bad_fraction * len(wanted):
        reasons = " | ".join(row["reason"] for row in bad[:SHOWN])
        raise AcinusError(
            f"{settings.root}: {len(bad)} of {len(wanted)} slides cannot be used, more than cohort.max_bad_fraction = "
            f"{settings.max_bad_fraction:g}: {reasons}{' | ...' if len(bad) > SHOWN else ''}"
        )
    if len(bad) == len(wanted):
        raise AcinusError(
            f"{settings.root}: none of {len(rows)} slides can be used ({len(rows) - len(wanted)} excluded, "
            f"{len(bad)} bad); correct cohort.exclude or the files"
        )
    return records.frame(records.MANIFEST, list(rows))


def unlabelled_lines(manifest: pd.DataFrame) -> list[str]:
    """Return for each split with slides that have no annotation one line: how many, and what that takes them out of."""
    usable = manifest[manifest["status"] == "ok"]
    lines = []
    for split in SPLITS:
        slides = usable[usable["split"] == split]
        bare = slides[slides["label_kind"] == "unknown"]
        if bare.empty:
            continue
        stated = int(bare["slide_label"].notna().sum())
        out_of = (
            "they are in no Dice, burden error or patch figure" if split == "test" else "they give no labelled patch"
        )
        names = some(bare["slide_id"].tolist())
        line = f"{split}: {len(bare)} of {len(slides)} slides have no annotation ({names}): {out_of}"
        if stated < len(bare):
            line += f"; of {len(bare) - stated} nothing says tumour or normal: they are in no slide figure either"
        lines.append(line)
    return lines
