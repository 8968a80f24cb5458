"""The rows of a cohort as one checked manifest, or one line that says why there is none."""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from acinus import params, records
from acinus.errors import AcinusError

_SHOWN = 3


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
    _refuse_twins(rows)
    wanted = [row for row in rows if row["status"] != "excluded"]
    bad = [row for row in wanted if row["status"] == "bad"]
    if len(bad) > settings.max_bad_fraction * len(wanted):
        reasons = " | ".join(row["reason"] for row in bad[:_SHOWN])
        raise AcinusError(
            f"{settings.root}: {len(bad)} of {len(wanted)} slides cannot be used, more than cohort.max_bad_fraction = "
            f"{settings.max_bad_fraction:g}: {reasons}{' | ...' if len(bad) > _SHOWN else ''}"
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
    for split in ("train", "val", "test"):
        own = usable[usable["split"] == split]
        bare = own[own["label_kind"] == "unknown"]
        if bare.empty:
            continue
        stated = int(bare["slide_label"].notna().sum())
        out_of = (
            "they are in no Dice, burden error or patch figure" if split == "test" else "they give no labelled patch"
        )
        line = f"{split}: {len(bare)} of {len(own)} slides have no annotation: {out_of}"
        if stated < len(bare):
            line += f"; of {len(bare) - stated} nothing says tumour or normal: they are in no slide figure either"
        lines.append(line)
    return lines


def _refuse_twins(rows: Sequence[dict[str, Any]]) -> None:
    first: dict[str, str] = {}
    for row in rows:
        other = first.setdefault(row["slide_id"], row["image"])
        if other != row["image"]:
            raise AcinusError(
                f"two slides with the id {row['slide_id']}: {other} and {row['image']}; rename one or move it away"
            )
