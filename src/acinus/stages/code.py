"""code: the package -> code/<stage>.json, on every `dvc repro`; what stages depend on in place of source files."""

from pathlib import Path

from acinus.code import STAGES, facts_text, package
from acinus.files import write_text
from acinus.project.pin import check_pin


def run(root: Path) -> None:
    """Write what the code of every stage is, a file only where it is no longer what it says.

    It runs each time that anything else may run: neither parameters nor MLflow are touched, and nothing heavy loads.

    Raises:
        AcinusError: the project was made with another version.
    """
    check_pin(root)
    folder = root / "code"
    texts = {f"{stage}.json": facts_text(package().facts(f"{STAGES}.{stage}")) for stage in package().stages()}
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
