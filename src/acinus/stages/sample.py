"""sample: index -> sample.parquet and statistics.csv."""

from acinus import records
from acinus.files import write_text
from acinus.patches.index_file import rows_at
from acinus.patches.sample import drawn_rows, statistics, statistics_text
from acinus.stage import Stage


def run(stage: Stage) -> None:
    """Keep a balanced, seeded part of the candidates; the slide's split is never touched."""
    index = records.read(records.INDEX, stage.paths.index, without=records.FRACTIONS)
    classes = stage.recipe.classes if stage.recipe.many_labels else []
    drawn = rows_at(stage.paths.index, drawn_rows(index, stage.recipe.sample, stage.seed(), classes))
    drawn = records.write(records.SAMPLE, drawn, stage.paths.sample)
    table = statistics(index, drawn, classes)
    write_text(stage.paths.statistics, table.to_csv(index=False, lineterminator="\n"))
    print(statistics_text(table), flush=True)
    counts: dict[str, int] = {}
    for split, rows in drawn.groupby("split", sort=True):
        of_label = [int((rows["label"] == label).sum()) for label in range(max(2, len(classes)))]
        names = [f"patches.{name}" for name in classes] or ["normal", "tumor"]
        counts |= {f"n_{name}.{split}": number for name, number in zip(names, of_label, strict=True)}
        if classes:
            said = ", ".join(f"{number} {name}" for name, number in zip(classes, of_label, strict=True))
        else:
            said = f"{of_label[0]} normal and {of_label[1]} tumour"
        stage.say(f"{split}: {said} patches of {rows['slide_id'].nunique()} slides")
    stage.log.log_metrics(counts)
