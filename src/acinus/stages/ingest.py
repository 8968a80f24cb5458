"""ingest: inventory -> manifest.parquet, and rasters/ where slides have to be made of giant images."""

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from acinus import records
from acinus.cohorts import camelyon, panda, pannuke, rgb_mask, slides
from acinus.cohorts.adapter import COMMON_TABLES, Order, some, unread_tables
from acinus.cohorts.inventory import fingerprints, own_table, read_inventory
from acinus.cohorts.manifest import FINDINGS, SHOWN, build_manifest, unlabelled_lines
from acinus.cohorts.matching import OUTLINE_SUFFIXES
from acinus.errors import AcinusError
from acinus.files import atomic_path, note_if_empty, read_json
from acinus.params import SLIDE_LABELS, PandaCohort, SlidesCohort
from acinus.plugins import finding, loading
from acinus.slides import formats
from acinus.stage import Stage

FAMILIES: dict[str, Any] = {
    "camelyon": camelyon,
    "panda": panda,
    "rgb_mask": rgb_mask,
    "pannuke": pannuke,
    "slides": slides,
}
"""What reads each family: `ingest`, an `adapter.Order` -> manifest rows; TABLES, the lower-case names of the tables
that it reads beside adapter.COMMON_TABLES."""


def run(stage: Stage) -> None:
    """Open every slide once; one that cannot be used is a row with the reason."""
    files = fingerprints(read_inventory(stage.paths.inventory))
    with atomic_path(stage.paths.rasters) as rasters:
        rasters.mkdir()
        order = Order(
            root=stage.cohort_root,
            rasters=rasters,
            cohort=stage.recipe.cohort,
            classes=tuple(stage.recipe.classes),
            positive=tuple(stage.recipe.positive),
            files=files,
            seed=stage.seed(),
            map=stage.map,
            say=stage.say,
            own_table=own_table(stage.root, stage.recipe.cohort),
            only_labels=stage.recipe.task == SLIDE_LABELS,
        )
        rows = _family(stage.recipe.family)[0](order)
        try:
            table = build_manifest(rows, stage.recipe.cohort)
        except AcinusError:
            _name_bad(stage, [row for row in rows if row["status"] == "bad"], SHOWN)
            raise
        note_if_empty(rasters, "The slides of this cohort are read where they are; nothing was made of them.")
    manifest = records.write(records.MANIFEST, table, stage.paths.manifest)
    _name_unread(stage, files, set(manifest["label_source"].dropna()))
    _name_bad(stage, records.rows(manifest[manifest["status"] != "ok"]))
    for row in records.rows(manifest[manifest["findings"] != ""]):
        stage.say(
            f"{row['slide_id']}: {', '.join(f'{name} ({FINDINGS[name]})' for name in row['findings'].split(';'))}"
        )
    for line in unlabelled_lines(manifest) if stage.recipe.task != SLIDE_LABELS else ():
        stage.say(line)
    counts = {f"n_slides.{status}": int((manifest["status"] == status).sum()) for status in ("ok", "bad", "excluded")}
    usable = manifest[manifest["status"] == "ok"]
    counts |= {f"n_slides.{split}": int((usable["split"] == split).sum()) for split in ("train", "val", "test")}
    stage.log.log_metrics(counts)
    stage.say(", ".join(f"{name.removeprefix('n_slides.')} {count}" for name, count in counts.items()))
    if stage.recipe.task == SLIDE_LABELS and stage.paths.slide_labels.is_file():
        stage.say(_labelled(set(usable["slide_id"]), read_json(stage.paths.slide_labels)))
        return
    annotated = int((~usable["label_kind"].isin(["none", "unknown"])).sum())
    stage.say(f"{annotated} of {len(usable)} have an annotation, {usable['slide_label'].notna().sum()} a slide label")


def _labelled(usable: Collection[str], labels: Mapping[str, Mapping[str, str]]) -> str:
    """Return how many of the usable slides each column of the table says something of."""
    counts = Counter(column for slide in usable for column, text in labels.get(slide, {}).items() if text.strip())
    told = ", ".join(f"{column} {count}" for column, count in counts.most_common(SHOWN))
    more = f" and {len(counts) - SHOWN} more columns" if len(counts) > SHOWN else ""
    return f"labels in the table, of {len(usable)} slides: {told or 'none'}{more}"


def _family(name: str) -> tuple[Callable[[Order[Any]], list[dict[str, Any]]], Collection[str]]:
    """Return what reads a family, Acinus's own or a plug-in's, and the tables that it reads itself."""
    if name in FAMILIES:
        return FAMILIES[name].ingest, FAMILIES[name].TABLES
    plugin = loading.named("cohort_family", name)
    if plugin is None:
        raise AcinusError(f"family {name!r}: {finding.known('cohort_family', FAMILIES)}")
    return plugin.function, plugin.options["tables"]


def _name_bad(stage: Stage, rows: Sequence[dict[str, Any]], told: int = 0) -> None:
    """Say why slides are not used, where they are more than have been told."""
    for row in rows if len(rows) > told else ():
        stage.say(f"{row['slide_id']} is {row['status']}: {row['reason']}")


def _name_unread(stage: Stage, files: Collection[str], labels: Collection[str]) -> None:
    """Say which tables, annotation files and slides no rule looks at: they would be missed in silence."""
    cohort, family = stage.recipe.cohort, stage.recipe.family
    if family != "slides":  # whose rows say so
        for path, form in formats.unread(files).items():
            stage.say(f"not read: {path} ({form.name}); {form.remedy}")
    by_name = {*COMMON_TABLES, *_family(family)[1]}
    listed = cohort.doubtful if isinstance(cohort, PandaCohort) else []
    if isinstance(cohort, SlidesCohort):
        listed = [cohort.table, cohort.table.lower()]
    unread = unread_tables([path for path in files if path not in labels], {*by_name, *listed})
    if unread:
        own = f"; that of the slides is cohort.table: {cohort.table}" if isinstance(cohort, SlidesCohort) else ""
        stage.say(f"not read: {some(unread)}; tables are read by their names: {', '.join(sorted(by_name))}{own}")
    passed_over = [path for path in sorted(files) if path.lower().endswith(OUTLINE_SUFFIXES) and path not in labels]
    if passed_over and family != "slides":  # which names each
        stage.say(
            f"not read: {len(passed_over)} files that may be annotations ({some(passed_over)}); family slides reads "
            f"those of any tool, {family} only its own"
        )
