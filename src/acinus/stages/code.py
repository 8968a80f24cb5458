"""code: package and plug-ins -> code/<stage>.json, on every `dvc repro`; what stages depend on in place of sources."""

from pathlib import Path

from acinus.code import facts_text, package
from acinus.files import write_text
from acinus.plugin_code import stage_facts
from acinus.plugins import finding
from acinus.project.pin import check_pin


def run(root: Path) -> None:
    """Write what the code of every stage is, a file only where it is no longer what it says.

    It runs each time that anything else may run: neither parameters nor MLflow are touched, and nothing heavy loads.

    Raises:
        AcinusError: the project was made with another version, or a plug-in of it cannot be used.
    """
    check_pin(root)
    finding.use(root)
    _refuse_clashes()
    folder = root / "code"
    texts = {f"{stage}.json": facts_text(stage_facts(stage)) for stage in package().stages()}
    for path in folder.glob("*.json"):
        if path.name not in texts:
            path.unlink()  # of a stage that is no more
    changed = []
    for name, text in texts.items():
        path = folder / name
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            write_text(path, text)
            changed.append(name)
    stages = ", ".join(Path(name).stem for name in changed)
    print(f"code: {f'other code or libraries of {stages}' if stages else 'as it was'}", flush=True)


def _refuse_clashes() -> None:
    """Refuse a plug-in with a name that Acinus has itself, before any stage runs; timm's and smp's tell train."""
    kinds = {plugin.kind for plugin in finding.everything()}
    if kinds & {"loss", "cohort_family"}:
        from acinus.params import check_plugins

        check_plugins()
    if "annotation_reader" in kinds:
        from acinus.annotations.reading import plugged_readers

        plugged_readers()
    if "metric" in kinds:
        from acinus.metrics.registry import use_plugins

        use_plugins()
