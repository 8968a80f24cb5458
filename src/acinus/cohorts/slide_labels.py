"""Columns of slides.csv that say what whole slides are: the one that counts, and all of them, carried to the report."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from acinus import params
from acinus.cohorts.slides_table import Entry, Joined, SlidesTable
from acinus.files import write_json
from acinus.paths import SLIDE_LABELS


def as_written(label: params.SlideLabel | None, table: SlidesTable | None) -> params.SlideLabel | None:
    """Return cohort.label with its column as the table has it, whose case does not matter."""
    names = {name.casefold(): name for name in table.label_columns} if table else {}
    if label is None or label.column.casefold() not in names:
        return label
    return label.model_copy(update={"column": names[label.column.casefold()]})


def faults(table: SlidesTable, label: params.SlideLabel, joined: Joined) -> Iterable[str]:
    """Yield what is wrong with the column of labels."""
    if label.column not in table.label_columns:
        yield (
            f"{table.name}: no column {label.column!r} of labels among {', '.join(table.label_columns) or 'none'}; "
            "correct cohort.label.column"
        )
        return
    texts = Counter(entry.labels.get(label.column, "") for entry in joined.by_slide.values())
    for text, count in sorted(texts.items()):
        if text and text not in label.values:
            yield (
                f"{table.name}: {label.column} is {text!r} for {count} slide{'s' if count > 1 else ''}, which "
                "cohort.label.values does not name; say there what it means: normal, tumor or unknown"
            )


def meaning(entry: Entry, label: params.SlideLabel | None) -> str | None:
    """Return normal, tumor or None (not known), as cohort.label has it of a slide's row."""
    means = label.values.get(entry.labels.get(label.column, "")) if label else None
    return None if means == "unknown" else means


def carry(
    slides: Mapping[str, str],
    found: tuple[SlidesTable | None, Joined],
    label: params.SlideLabel | None,
    rasters: Path,
    say: Callable[[str], None] | None,
) -> None:
    """Write what the columns say of each slide (id -> path), and say which are used no further.

    say: None where stage grade learns one of them (task slide_labels).
    """
    table, joined = found
    if table is None or not table.label_columns:
        return
    rows = {
        slide_id: dict(joined.by_slide[path].labels) for slide_id, path in slides.items() if path in joined.by_slide
    }
    write_json(rasters / SLIDE_LABELS, rows)
    unused = [name for name in table.label_columns if label is None or name != label.column]
    if unused and say is not None:
        say(
            f"{table.name}: labels that nothing is learned from: {', '.join(unused)}; they stand in the report's "
            "per_slide.csv; cohort.label may name one column that tells normal slides from tumour"
        )
