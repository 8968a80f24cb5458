"""The end of an extraction: the masks' store, the lists of image and mask files, and last of all store.json."""

import csv
import io
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import get_args

import pandas as pd

from acinus.files import write_text
from acinus.params import Split
from acinus.patches.extract import StorePlan, Written
from acinus.patches.files_store import image_path
from acinus.patches.keys import patch_key
from acinus.patches.store import BACKENDS, MASKS, ShardInfo, StoreIndex

SPLITS: tuple[str, ...] = get_args(Split)
COLUMNS = ("image", "mask", "slide_id", "x0", "y0")


def finish_stores(plan: StorePlan, written: Iterable[Written], sample: pd.DataFrame) -> StoreIndex:
    """Finish the store over these shards, which are all of the sample's, and return what its store.json says.

    A segmentation's masks are finished first; with a backend of image files, train.csv, val.csv and
    test.csv list every image beside its mask, by paths relative to the store. What a former run of
    another kind left (masks, lists) is deleted. Called once, at the end.

    Raises:
        AcinusError: a shard that is not there, or a slide in two of them.
    """
    shards = list(written)
    images = plan.images()
    images.reopen()
    masks = [one.masks for one in shards if one.masks is not None]
    if plan.rules is not None:
        plan.masks().finish(masks)
    else:
        for folder in (plan.store / MASKS, plan.masks().ledger):
            if folder.is_dir():
                shutil.rmtree(folder)
    _remove_lists(plan.store)
    if plan.rules is not None and BACKENDS[plan.form.backend].image_files:
        for split in SPLITS:
            text = _list(plan, [one.images for one in shards], sample[sample["split"] == split])
            write_text(_list_file(plan.store, split), text)
    return images.finish(one.images for one in shards)


def _list(plan: StorePlan, shards: list[ShardInfo], rows: pd.DataFrame) -> str:
    """Return the CSV of one split, slide by slide and row by row."""
    shard_of = {slide: shard.name for shard in shards for slide in shard.slides}
    stores = (plan.store, plan.images().form), (plan.store / MASKS, plan.masks().form)
    stream = io.StringIO(newline="")
    table = csv.writer(stream, lineterminator="\n")
    table.writerow(COLUMNS)
    ordered = rows.sort_values(["slide_id", "y0", "x0"])[["slide_id", "x0", "y0", "label"]]
    for slide_id, x0, y0, label in ordered.itertuples(index=False, name=None):
        files = [
            image_path(form.place(folder, shard_of[slide_id]), plan.names[label], patch_key(slide_id, x0, y0))
            for folder, form in stores
        ]
        table.writerow([*(file.relative_to(plan.store).as_posix() for file in files), slide_id, x0, y0])
    return stream.getvalue()


def _list_file(store: Path, split: str) -> Path:
    return store / f"{split}.csv"


def _remove_lists(store: Path) -> None:
    """Delete the lists of a former run and what a killed one left of them."""
    for split in SPLITS:
        file = _list_file(store, split)
        file.unlink(missing_ok=True)
        for left in sorted(store.glob(f".{file.name}.*.part")):
            shutil.rmtree(left)
