"""The tables that pass between stages: columns, dtypes, units and checks. Parquet, sorted, no timestamps."""

import re
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from acinus.errors import TableError
from acinus.files import atomic_path

LONGEST_ID = 200
LOG_COLUMNS = ("epoch", "train_loss", "train_acc", "val_loss", "val_acc")
"""The columns of a training log."""

LABEL_KINDS = ("asap_xml", "mask", "class_mask", "outlines", "fold", "none", "unknown")
NORMAL, TUMOR, IGNORE = 0, 1, -1
"""Patch labels: class index, or IGNORE where the truth is not known."""


@dataclass(frozen=True)
class Table:
    """The contract of one table: a name, the sort key (unique), a pyarrow schema, nullable columns."""

    name: str
    key: tuple[str, ...]
    schema: pa.Schema = field(default_factory=lambda: pa.schema([]))
    nullable: frozenset[str] = frozenset()

    def of(self, **columns: pa.DataType | tuple[pa.DataType, None]) -> "Table":
        """Return the contract with its columns; one of type (x, None) may be null."""
        kinds = {name: kind[0] if isinstance(kind, tuple) else kind for name, kind in columns.items()}
        nullable = frozenset(name for name, kind in columns.items() if isinstance(kind, tuple))
        return replace(self, schema=pa.schema(list(kinds.items())), nullable=nullable)


_S, _F, _I, _B = pa.string(), pa.float64(), pa.int64(), pa.bool_()
_LF, _LI = pa.list_(_F), pa.list_(_I)

MANIFEST = Table("manifest", ("slide_id",)).of(
    slide_id=_S,  # unique, safe as a file name
    image=_S,  # path relative to the cohort root, '/' separated; <array>.npy#<row> is one tile of an array
    label_source=(_S, None),  # path relative to the cohort root
    label_kind=_S,  # LABEL_KINDS; none: known normal, nothing to draw
    exhaustive=_B,  # False: outside the outlines the label is ignore, not normal
    split=_S,  # train | val | test
    patient=_S,
    provider=_S,
    slide_label=(_S, None),  # normal | tumor | null where unknown
    mpp_x=(_F, None),  # um per level-0 pixel
    mpp_y=(_F, None),
    mpp_source=(_S, None),  # table | tag | override
    width=(_I, None),  # level-0 pixels, or null for a slide that does not open
    height=(_I, None),
    isup=(_I, None),  # ISUP grade group 0..5 of the slide
    gleason=(_S, None),  # as the cohort writes it (3+4, negative, 0+0)
    tissue_type=(_S, None),  # organ or site
    split_rule=_S,  # what decided the split: splits.csv | name | drawn | official-1 | random ...
    derived=_B,  # True: made at ingest: image, rasters/<slide_id>.tif, and a mask, <slide_id>_mask.tif
    findings=_S,  # ';' separated, sorted: what looks wrong though the slide can be used, else ""
    status=_S,  # ok | bad | excluded
    reason=_S,  # why not ok, else ""
    fingerprint=_S,  # of the image file (header and sampled blocks)
    label_fingerprint=(_S, None),  # of the label file, so that an edited annotation reruns the index; null without one
)

_PATCH: dict[str, pa.DataType] = {
    "slide_id": _S,
    "x0": _I,  # level-0 px of the patch's top-left corner
    "y0": _I,
    "downsample": _F,  # level-0 px per working px
    "patch_px": _I,  # edge at the working resolution
    "tissue_fraction": _F,
    "tumour_fraction": _F,  # exact area share of the positive classes, [0, 1]; of the cell where index.cell_px is set
    "class_fractions": _LF,  # area share of every class, in class order; what is missing to 1 is to be ignored
    "label": _I,  # class index (1 tumour, 0 normal); of a segmentation 1 foreground, 0 not; -1 ignore
    "split": _S,
}
INDEX = Table("index", ("slide_id", "y0", "x0")).of(**_PATCH)
SAMPLE = Table("sample", ("slide_id", "y0", "x0")).of(**_PATCH)
FRACTIONS = ("class_fractions",)
"""What INDEX and SAMPLE can be read without by those who only ask which patches there are: of a million rows it takes
half of 600 MB as Python's numbers, and nine tenths of the time."""

SCORES = Table("patch_scores", ("slide_id", "y0", "x0")).of(
    slide_id=_S,
    x0=_I,
    y0=_I,
    label=_I,
    probs=_F,  # P(tumor): that of all positive classes together
    preds=_I,  # class index
    colour_probs=_F,  # the same of the colour-only baseline
)
"""Scores of the test patches of a patch classifier; empty for a segmentation."""

QUANTITIES = Table("quantities", ("slide_id",)).of(
    slide_id=_S,
    tumour_px=_I,  # map pixels inside tissue
    tissue_px=_I,
    true_tumour_px=(_I, None),  # null where the truth is unknown
    map_downsample=_F,  # level-0 px per map px
    burden_pred=(_F, None),  # percent of tissue; null without tissue
    burden_true=(_F, None),  # percent of true_tissue_px
    true_tissue_px=(_I, None),  # null as true_tumour_px
    burden_source=(_S, None),  # whose tissue that is: annotation | tissue mask
    outside_px=(_I, None),  # annotated tumour (positive classes) outside tissue
    outside_mm2=(_F, None),
    tumour_mm2=(_F, None),  # null without mpp
    tissue_mm2=(_F, None),
    mpp_source=(_S, None),
    class_px=_LI,  # predicted px of every class inside tissue
    confusion=(_LI, None),  # classes x classes, row by row, true x predicted, over px of known truth; null without any
    confusion_ceiling=(_LI, None),  # the same of a model that is right wherever a window looked
    confusion_majority=(_LI, None),  # the same of a baseline that says the commonest training class in all tissue
    confusion_colour=(_LI, None),  # the same of the colour-only baseline
    intersection_px=(_I, None),  # predicted and true tumour (positive classes), for Dice
    pred_px=(_I, None),  # predicted tumour where the truth is known
    true_px=(_I, None),
    score_max=(_F, None),  # slide scores, reductions of the map over tissue
    score_p99=(_F, None),
    num_regions=_I,  # of positive classes, after clean-up (rows of REGIONS)
    num_lesions=(
        _I,
        None,
    ),  # targets of the lesion-level figure; null where it is not asked for or the truth is unknown
    num_itc=(_I, None),  # isolated tumour cells: neither targets nor false positives; null as num_lesions
    pq_counts=(_LF, None),  # per class: sum of IoU, TP, FP, FN of instances, flat; null where no instances are known
)

REGIONS = Table("regions", ("slide_id", "region")).of(
    slide_id=_S,
    region=_I,  # from 1, by the place of its first px (row by row)
    class_index=_I,  # the predicted class of all its px
    area_px=_I,  # map px
    area_mm2=(_F, None),  # null without mpp
    centroid_x0=_F,  # level-0 px, of px centres
    centroid_y0=_F,
    x0=_F,  # bounding box in level-0 px
    y0=_F,
    x1=_F,
    y1=_F,
    prob_max=_F,
    prob_mean=_F,
    peak_x0=_F,  # centre of the px of highest probability, the first one of equals
    peak_y0=_F,
    lesion=(
        _I,
        None,
    ),  # the lesion (from 1) under the peak; 0 none, -1 isolated tumour cells; null: not asked, not known
)
"""Predicted regions of every mapped slide after clean-up; each is also one detection of the lesion-level figure."""

CLASS_SCORES = Table("class_scores", ("slide_id", "y0", "x0", "px")).of(
    slide_id=_S,
    x0=_I,  # of the patch
    y0=_I,
    px=_I,  # row * patch_px + column of a px of the patch, or -1: the patch as a whole
    label=_I,  # true class
    probs=_LF,  # of every class, as the network gives them (temperature 1)
)
"""Probabilities of all classes on known patches (or px drawn from them): what calibration is measured on."""

TRIALS = Table("trials", ("trial",)).of(
    trial=_I,  # counted from 0 over finished trials; 0 is the recipe's own values
    state=_S,  # complete | pruned
    value=(_F, None),  # objective at the best epoch; of a pruned trial at its last; null if it has none
    epochs=_I,
    settings=_S,  # JSON: dotted key below train -> value
    best=_B,
)

GRADES = Table("grades", ("slide_id",)).of(
    slide_id=_S,
    split=_S,
    target=_S,  # isup | tumor
    true=(_I, None),  # ISUP grade group, or 1 tumour, 0 normal; null where unknown
    mil=_I,  # of the mean of all seeds' probabilities
    mil_probs=_LF,
    mil_by_seed=_LI,  # each seed's own answer
    mil_spread=_F,  # standard deviation of the seeds' expected grades
    confidence=_F,  # mean probability of `mil`
    rule=(_I, None),  # of the transparent rule; null where the segmentation has no classes to follow it
    rule_tumor=(_I, None),  # 1 tumour, 0 normal by predicted burden, whatever the target; null without tissue
    num_patches=_I,
)

PREDICTIONS = Table("predictions", ("repeat", "slide_id")).of(
    slide_id=_S,
    repeat=_I,  # from 1: the drawing of the folds (cohort.folds.repeats)
    patient=_S,
    site=(_S, None),
    split=_S,  # train | val | test
    fold=(_I, None),  # from 1: the fold whose models never saw it; null without folds, in the test split, without label
    kind=_S,  # binary | classes | ordinal | regression | survival
    model=_S,  # out-of-fold | ensemble (of all folds) | held-out (without folds, val and test) | fitted (train)
    label=(_S, None),  # as the table has it; null where unknown: predicted only
    true=(_F, None),  # class index, value, or time
    event=(_I, None),  # of survival: 1 seen, 0 not
    predicted=_F,  # class index, value, or risk (the higher, the sooner)
    probs=_LF,  # of every class; empty for regression and survival
    spread=_F,  # standard deviation over seeds of the probability of the answer, of the value or the risk
    num_patches=_I,
    mean_pooling=_LF,  # baselines: probs, or the one value or risk; mean of the features and a linear model
    size_only=_LF,  # the number of tissue patches alone
    colour_only=_LF,  # mean and deviation of red, green and blue over the tissue
    majority=_LF,  # shares of the classes, the mean, or no risk (0), of the slides learned from
)
"""What is predicted of whole slides of task slide_labels, and what simpler models say; empty for other tasks."""

ATTENTION = Table("attention", ("slide_id", "y0", "x0")).of(
    slide_id=_S,
    x0=_I,  # level-0 px of the patch's top-left corner
    y0=_I,
    downsample=_F,
    patch_px=_I,
    prob=(_F, None),  # mean positive probability of the map under the patch; null where there is no map
    chosen=_S,  # top | random | all
    attention=_F,  # mean over the seeds; over a slide's patches they sum to 1
)

_PANDAS: dict[pa.DataType, str] = {_S: "string", _F: "float64", _I: "Int64", _B: "boolean"}
"""Types that refuse what plain ones convert: 1.5 to 1, a missing value or the text "False" to True."""


def frame(table: Table, rows: list[dict[str, Any]]) -> pd.DataFrame:
    """Return `rows` as a checked, sorted frame of `table` (an empty list gives an empty, valid table)."""
    return check(table, pd.DataFrame(rows, columns=table.schema.names))


def check(table: Table, data: pd.DataFrame) -> pd.DataFrame:
    """Return `data` with the table's columns, dtypes and order, or refuse it.

    Raises:
        TableError: missing or unknown columns, a value of another type, a null where none may be, a key twice.
    """
    names = table.schema.names
    if set(data.columns) != set(names):
        missing, extra = sorted(set(names) - set(data.columns)), sorted(set(data.columns) - set(names))
        raise TableError(f"table {table.name}: missing columns {missing}, unknown columns {extra}")
    columns: dict[str, Any] = {}
    for column in table.schema:
        where = f"table {table.name}: column {column.name}"
        values = _typed(data[column.name], column.type, where)
        if column.name not in table.nullable:
            if values.isna().any():
                row = int(values.isna().to_numpy().argmax())
                raise TableError(f"{where} is empty in row {row}, where a value is needed")
            values = values.astype({"Int64": "int64", "boolean": "bool"}.get(values.dtype.name, values.dtype))
        columns[column.name] = values
    key = list(table.key)
    result = pd.DataFrame(columns, columns=names).sort_values(key, kind="stable", ignore_index=True)
    for twice in result.loc[result.duplicated(key), key].itertuples(index=False, name=None):
        raise TableError(f"table {table.name}: {', '.join(key)} = {list(twice)} stands twice; keys must be unique")
    return result


def _typed(values: Any, kind: pa.DataType, where: str) -> Any:
    """Return a column in the pandas type of `kind`, lists as tuples of plain numbers; nulls stay."""
    if not pa.types.is_list(kind):
        try:
            return values.astype(_PANDAS[kind])
        except (TypeError, ValueError, OverflowError) as error:
            raise TableError(f"{where} is not {kind}: {error}") from error
    whole = pa.types.is_integer(kind.value_type)
    lists: list[tuple[Any, ...] | None] = []
    for row, (value, is_null) in enumerate(zip(values, values.isna(), strict=True)):
        numbers = None if is_null else _numbers(value, whole)
        if numbers is None and not is_null:
            kinds, shown = "whole numbers" if whole else "numbers", " ".join(repr(value).split())[:80]
            raise TableError(f"{where} is no list of {kinds} in row {row}: {shown}")
        lists.append(numbers)
    return pd.Series(lists, index=values.index, dtype=object)


def _numbers(value: Any, whole: bool) -> tuple[Any, ...] | None:
    """Return one list of a table as plain numbers, all whole or all floats; None where it is something else."""
    try:
        numbers = np.asarray(value)
    except ValueError:  # lists of different lengths
        return None
    if numbers.ndim != 1 or (numbers.size and numbers.dtype.kind not in ("iu" if whole else "iuf")):
        return None
    sound = not numbers.size or (numbers.max() <= np.iinfo(np.int64).max if whole else not np.isnan(numbers).any())
    return tuple(numbers.astype(np.int64 if whole else np.float64).tolist()) if sound else None


def write(table: Table, data: pd.DataFrame, path: Path) -> pd.DataFrame:
    """Check `data`, write it whole as Parquet (same rows -> same bytes) and return it as written."""
    checked = check(table, data)
    arrow = pa.Table.from_pandas(checked, schema=table.schema, preserve_index=False).replace_schema_metadata(None)
    with atomic_path(path) as part:
        pq.write_table(arrow, part, compression="zstd")
    return checked


def read(table: Table, path: Path, without: Collection[str] = ()) -> pd.DataFrame:
    """Read a table and check it against its contract; columns `without` which one can do are left in the file."""
    try:
        wanted = [name for name in pq.read_schema(path).names if name not in without]
        data = pq.read_table(path, columns=wanted).to_pandas()
    except FileNotFoundError as error:
        raise TableError(f"{path}: not found; run the stage that writes it (dvc repro)") from error
    except pa.ArrowInvalid as error:
        raise TableError(f"{path}: not a Parquet table ({error}); delete it and run its stage again") from error
    schema = pa.schema([column for column in table.schema if column.name not in without])
    return check(replace(table, schema=schema), data)


def rows(data: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the rows of a table as dicts, every null as None."""
    dicts = data.to_dict("records")
    return [{str(k): v if isinstance(v, tuple) or pd.notna(v) else None for k, v in row.items()} for row in dicts]


def is_safe_id(slide_id: str) -> bool:
    """Return whether a slide id may be used as a file name: no separators, no leading dot, plain ASCII."""
    plain = re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", slide_id)
    return plain is not None and len(slide_id) <= LONGEST_ID and ".." not in slide_id
