"""sample: index -> sample.parquet and statistics.csv."""

from acinus import records
from acinus.files import write_text
from acinus.patches.index_file import rows_at
from acinus.patches.sample import drawn_rows, statistics, statistics_text
from acinus.stage import Stage


def run(stage: Stage) -> None:
    """Keep a balanced, seeded part of the candidates; the slide's split is never touched."""
    index = records.read(records.INDEX, stage.paths.index, without=records.FRACTIONS)
    drawn = rows_at(stage.paths.index, drawn_rows(index, stage.recipe.sample, stage.seed()))
    drawn = records.write(records.SAMPLE, drawn, stage.paths.sample)
    table = statistics(index, drawn)
    write_text(stage.paths.statistics, table.to_csv(index=False, lineterminator="\n"))
    print(statistics_text(table), flush=True)
    counts: dict[str, int] = {}
    for split, rows in drawn.groupby("split", sort=True):
        normal, tumor = int((rows["label"] == records.NORMAL).sum()), int((rows["label"] == records.TUMOR).sum())
        counts |= {f"n_normal.{split}": normal, f"n_tumor.{split}": tumor}
        stage.say(f"{split}: {normal} normal and {tumor} tumour patches of {rows['slide_id'].nunique()} slides")
    stage.log.log_metrics(counts)
