"""Every command. A stage is a command; its libraries load only when it runs."""

from pathlib import Path, PurePosixPath

import click

from acinus.cli_group import CommandGroup
from acinus.project import checkout
from acinus.project.startup import without_collection

RECIPE_STAGES = {
    "watch": "check the files of a cohort outside DVC for changes",
    "inventory": "fingerprint the cohort's files without hashing them whole",
    "ingest": "find slides, labels, splits and mpp; open each slide once",
    "index": "find tissue, and every candidate patch with its label",
    "sample": "draw a balanced, seeded sample of patches",
    "validate": "check the tables with Great Expectations",
    "extract": "write the patch store",
    "tune": "search training settings with Optuna, as the recipe says",
    "train": "train the patch model; score validation and test patches",
    "calibrate": "choose temperature, threshold, clean-up on validation slides",
    "infer": "write whole-slide probability maps",
    "quantify": "turn maps into masks, regions, burden and areas",
    "embed": "turn patches into features by an encoder, slide by slide",
    "grade": "learn labels of whole slides from features, and predict",
    "report": "write metrics, tables, pictures and the recipe's page",
}
"""Stages of a recipe in the way of the data; the same names as in dvc.yaml."""

RECIPE = click.option("--recipe", required=True, help="Name of a file in recipes/, without .yaml.")


@click.group(cls=CommandGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="acinus")
def main() -> None:
    """From a folder of whole-slide images to results that can be defended. For research, not for diagnosis."""


@main.command("code", short_help="Write a digest of each stage's code, code/<stage>.json.")
def _code() -> None:
    """Write a digest of each stage's code, code/<stage>.json. Comments and docstrings do not change it."""
    from acinus.stages import code

    code.run(checkout.project_root())


@main.command("demo")
@click.option("--family", help="One of demo.families in params.yaml.")
@click.option("--recipe", help="Instead of --family: the family of this recipe.")
def _demo(family: str | None, recipe: str | None) -> None:
    """Draw the demonstration cohort of a family."""
    from acinus import execution
    from acinus.params import is_drawn, load_recipe
    from acinus.stages import demo

    if (family is None) == (recipe is None):
        raise click.UsageError("give one of --family and --recipe")
    chosen = family
    if recipe is not None:
        whole = load_recipe(execution.project_root(), recipe)
        chosen = PurePosixPath(whole.cohort.root).parts[2] if is_drawn(whole.cohort) else whole.family
    execution.run_project_stage("demo", lambda stage: demo.run(stage, str(chosen)))


def _recipe_command(name: str, text: str) -> click.Command:
    @click.command(name, help=text[0].upper() + text[1:] + ".")
    @RECIPE
    def command(recipe: str) -> None:
        with without_collection():
            from acinus import execution

        execution.run_recipe_stage(name, recipe)

    return command


@click.command("tune", short_help="Search training settings with Optuna, as the recipe says.")
@RECIPE
@click.option("--join", is_flag=True, help="Work on trials of a study that another process runs; write no results.")
def _tune(recipe: str, join: bool) -> None:
    """Search training settings with Optuna, as the recipe's section tune says."""
    from acinus import execution

    if join:
        from acinus.stages import tune

        execution.join_recipe_stage("tune", recipe, tune.join)
    else:
        execution.run_recipe_stage("tune", recipe)


@click.command("embed", short_help="Turn patches into features by an encoder, slide by slide.")
@RECIPE
@click.option(
    "--import",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    help="Instead: take over the .h5 files that TRIDENT, CLAM or STAMP made of these slides.",
)
def _embed(recipe: str, folder: Path | None) -> None:
    """Turn patches into features by an encoder, slide by slide; what was embedded before is taken over."""
    if folder is None:
        from acinus import execution

        execution.run_recipe_stage("embed", recipe)
    else:
        from acinus.commands import import_features

        click.echo(import_features.run(checkout.project_root(), recipe, folder, click.echo))


OWN_OPTIONS = {"tune": _tune, "embed": _embed}
for _name, _text in RECIPE_STAGES.items():
    main.add_command(OWN_OPTIONS.get(_name) or _recipe_command(_name, _text))


@main.command("stop", short_help="End a running training early; keep the best epoch.")
@RECIPE
def _stop(recipe: str) -> None:
    """End a recipe's running training after the current step; the best epoch so far becomes the model.

    SIGTERM to the process of `acinus train` does the same.
    """
    from acinus.learning import stopping

    click.echo(stopping.ask(checkout.project_root(), recipe))


@main.command("summary")
def _summary() -> None:
    """Write one page and one metrics file over all recipes."""
    from acinus import execution
    from acinus.stages import summary

    execution.run_project_stage("summary", summary.run)


@main.command("results")
@click.option("--markdown", is_flag=True, help="Print the README's table, from reports/metrics.json.")
def _results(markdown: bool) -> None:
    """Print the table of results and where the pages are."""
    from acinus.commands import results

    if markdown:
        click.echo(results.markdown(checkout.project_root()))
    else:
        results.show(checkout.project_root())


@main.command("predict", short_help="Map, measure and grade slides with a trained model.")
@click.argument("slides", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--model", required=True, type=click.Path(path_type=Path), help="A trained model: models/<recipe>.")
@click.option(
    "--out", required=True, type=click.Path(file_okay=False, path_type=Path), help="The folder for the results."
)
@click.option("--device", default="cpu", show_default=True, help="cpu, cuda, mps or auto.")
@click.option(
    "--mpp", type=float, help="um per level-0 px of all these slides, overriding their tags; noted in each result."
)
@click.option(
    "--force",
    is_flag=True,
    help="Process finished slides again; else they are skipped while file, model and --mpp are the same.",
)
@click.option(
    "--embed-cache",
    type=click.Path(file_okay=False, path_type=Path),
    help="A folder that keeps features of slides, for models of whole slides' labels.",
)
def _predict(
    slides: tuple[Path, ...],
    model: Path,
    out: Path,
    device: str,
    mpp: float | None,
    force: bool,
    embed_cache: Path | None,
) -> None:
    """Map, measure and grade slides with a trained model; needs no recipe, no DVC and no MLflow.

    Of a recipe of task slide_labels the model is models/<recipe>.mil.

    Exits with 1 if a slide failed; the others are processed all the same.
    """
    from acinus import predict

    outcomes = predict.run(slides, model, out, device, mpp, force, click.echo, embed_cache)
    if any(outcome.state == "failed" for outcome in outcomes):
        raise click.exceptions.Exit(1)


@main.command("compare", short_help="Compare two runs on the same test slides.")
@click.argument("run_a")
@click.argument("run_b")
@click.option("--metric", help="One metric only, by its name in the table.")
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    help="Default: reports/compare/<a>-<b>.",
)
def _compare(run_a: str, run_b: str, metric: str | None, out: Path | None) -> None:
    """Compare two runs on the same test slides: difference, interval, p value, a dot per slide.

    A run is an MLflow run id, a recipe with a report, a report's folder or a per_slide.csv.
    """
    from acinus.commands import compare

    click.echo(compare.run(checkout.project_root(), run_a, run_b, out, metric))


@main.command("show", short_help="Write a picture of a slide with its annotation over it.")
@RECIPE
@click.option("--slide", help="A slide_id of the manifest; default: one that has tumour.")
@click.option(
    "--out", type=click.Path(dir_okay=False), help="The PNG to write; default: reports/<recipe>/show/<slide>.png."
)
def _show(recipe: str, slide: str | None, out: str | None) -> None:
    """Write a picture of a slide with its annotation over it, to check by eye that they line up."""
    from acinus.commands import show

    click.echo(show.run(checkout.project_root(), recipe, slide, out))


@main.command("look", short_help="Say what a folder of slides holds and what goes together.")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "--out",
    default="acinus-look",
    show_default=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="The folder to write: look.txt and a contact sheet.",
)
def _look(folder: Path, out: Path) -> None:
    """Say what a folder of slides holds, and what of it belongs together; needs no project.

    Slides, annotation files of any tool with their classes, tables, and every file that is not used with the reason;
    one picture of all slides with their annotations.
    """
    from acinus.commands import look

    click.echo(look.run(folder, out))


@main.command("sweep", short_help="Run variants of a recipe as experiments; print their table.")
@click.argument("name")
@click.option("--recipe", help="A recipe other than the sweep's own.")
def _sweep(name: str, recipe: str | None) -> None:
    """Run the variants of sweeps/NAME.yaml as DVC experiments and print their table."""
    from acinus.commands import sweep
    from acinus.params import load_project

    root = checkout.project_root()
    sweep.check_listed(load_project(root).recipes, name, recipe or sweep.load_sweep(root, name).recipe)
    click.echo(sweep.run(root, name, recipe))


@main.command("init", short_help="Make a project for your slides, without source code.")
@click.argument("name", type=click.Path(path_type=Path))
@click.option("--slides", required=True, type=click.Path(path_type=Path), help="The folder of your slides.")
@click.option("--task", type=click.Choice(["patches", "segmentation", "slides"]), help="What is to be learned.")
@click.option("--like", help="A published recipe or family to start from, or the path of a recipe's .yaml file.")
def _init(name: Path, slides: Path, task: str | None, like: str | None) -> None:
    """Make a project for your slides: recipe, settings, pipeline; no source code.

    NAME is a new folder, and the name of its recipe. No questions are asked; no slide is copied or changed.
    """
    from acinus.commands import init

    click.echo(init.run(name, slides, task, like))  # type: ignore[arg-type]


@main.command("upgrade", short_help="Switch to this version of Acinus; list what it reruns.")
@click.option("--check", is_flag=True, help="Only list what would rerun; write nothing.")
def _upgrade(check: bool) -> None:
    """Switch a project to this version of Acinus, after listing what it reruns.

    dvc.yaml is rewritten and the version is pinned; recipes and settings stay.
    """
    from acinus.commands import upgrade

    click.echo(upgrade.run(checkout.project_root(), check))


@main.command("encoders", short_help="List the encoders known by name, with their licences.")
@click.argument("name", required=False)
def _encoders(name: str | None) -> None:
    """List the encoders known by name: input, resolution, features, licence; or say how to use one of them."""
    from acinus.commands import encoders

    click.echo(encoders.run(name))


@main.command("setup", short_help="Prepare for a plain `dvc repro`.")
def _setup() -> None:
    """Prepare for `dvc repro`: create MLflow's database, remove a lock that a killed DVC left behind."""
    from acinus import execution

    execution.prepare(execution.project_root())


@main.command(
    "dvc",
    short_help="Any DVC command, faster at every stage: acinus dvc repro.",
    context_settings={"ignore_unknown_options": True},
    add_help_option=False,
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def _dvc(arguments: tuple[str, ...]) -> None:
    """DVC with all its commands and options, faster at every stage: `acinus dvc repro`.

    One process loads MLflow for all stages, and dvc.lock, which comes out the same, is not written whole each time.
    """
    from acinus.commands import dvc

    raise click.exceptions.Exit(dvc.run(arguments))


@main.command("repro", short_help="Run what changed, recipes side by side (dvc repro).")
def _repro() -> None:
    """Run what changed, as `dvc repro` does; where there are processors for it, several recipes at the same time."""
    from acinus.commands import repro

    repro.run(checkout.project_root())


@main.command("reproduce", short_help="Rebuild everything in a clean clone; compare with dvc.lock.")
@click.option("--keep", is_flag=True, help="Keep the temporary clone for inspection.")
def _reproduce(keep: bool) -> None:
    """Rebuild all recipes of params.yaml in a clean clone; compare every output with the committed dvc.lock."""
    from acinus.commands import reproduce

    reproduce.run(checkout.project_root(), keep=keep)


@main.command("verify", short_help="Check a recipe's patch store against its checksums.")
@RECIPE
def _verify(recipe: str) -> None:
    """Check every shard of a recipe's patch store against its checksum."""
    from acinus.params import load_recipe
    from acinus.patches.store import open_mask_store, open_store
    from acinus.paths import Paths

    root = checkout.project_root()
    task, folder = load_recipe(root, recipe).task, Paths(root, recipe).patches
    stores = [open_store(folder)]
    if task == "segmentation":
        stores.append(open_mask_store(folder))
    for store in stores:
        store.verify()
    click.echo(f"{recipe}: {len(stores[0].keys())} patches, every shard as its checksum says")
