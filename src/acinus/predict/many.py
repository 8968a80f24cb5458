"""Many slides, one after the other: a folder for each, kept where it is finished, an error where it cannot be."""

import hashlib
import json
import re
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from acinus.cohorts.inventory import fingerprint
from acinus.errors import AcinusError
from acinus.files import read_json, write_json
from acinus.learning.device import pick
from acinus.plugins import finding
from acinus.predict import study
from acinus.predict.model import Model, open_model
from acinus.predict.one import ASAP, OVERLAY, PROBABILITY, REGIONS, predict_slide
from acinus.predict.opening import STEPS, Order
from acinus.project.checkout import project_above
from acinus.records import is_safe_id
from acinus.slides.pixels import LEAVE_OUT, REMEDY
from acinus.slides.slide import MPP_RANGE

RESULT, ERROR = "result.json", "error.json"
OUTPUTS = (RESULT, ERROR, PROBABILITY, OVERLAY, REGIONS, ASAP, *study.STUDY_OUTPUTS)
"""Every file of a slide's folder that a prediction may have written."""
Echo = Callable[[str], None]
AnyModel = Model | study.StudyModel
FILE_REMEDY = "replace the file, or leave the slide out"
"""What helps with a slide that cannot be read, where there is no recipe that could exclude it."""

FORESEEN = (AcinusError, OSError, MemoryError, torch.OutOfMemoryError)
"""What may go wrong with one slide and leave the others as they are; all else is a fault of ours."""


@dataclass(frozen=True)
class Outcome:
    """What became of one slide. state: done, kept (finished by an earlier run) or failed; text says it in a line."""

    slide: Path
    folder: Path
    state: str
    text: str


def run(
    slides: Sequence[Path],
    model: Path,
    out: Path,
    device: str = "cpu",
    mpp: float | None = None,
    overwrite: bool = False,
    echo: Echo = print,
    embed_cache: Path | None = None,
) -> list[Outcome]:
    """Predict every slide into a folder below `out` and return what became of each, in order.

    model: models/<recipe>. mpp: um per level-0 px of all the slides, instead of their own tags. A slide whose result
    is there, of the same file, model and mpp, is kept unless `overwrite`. One that cannot be predicted costs a line
    and error.json; the others go on. Plug-ins are those of the project in which this is called. Models of whole slides'
    labels also leave predictions.csv in `out`, a row per slide; embed_cache: a folder that keeps their features.

    Raises:
        AcinusError: before the first slide: no such model or device, an implausible mpp, an `out` that holds others'
            files in the place of a slide's folder; at any: an `out` that cannot be written.
    """
    if mpp is not None and not MPP_RANGE[0] <= mpp <= MPP_RANGE[1]:
        raise AcinusError(f"--mpp {mpp:g}: expected um per level-0 px, {MPP_RANGE[0]:g} to {MPP_RANGE[1]:g}")
    try:
        pick(device)
    except AcinusError as error:
        raise AcinusError(str(error).replace("compute.device = ", "--device ")) from error
    finding.use(project_above())
    opened = _opened(model, embed_cache)
    folders = _folders(out, slides)
    outcomes: list[Outcome] = []
    with _progress(len(folders)) as show:
        for number, (path, folder) in enumerate(folders.items()):
            show(number, path.name)
            outcome = _one(Order(path, folder, mpp, device, partial(show, number, path.name)), opened, overwrite)
            echo("".join(char if char.isprintable() else "?" for char in outcome.text))
            outcomes.append(outcome)
    if isinstance(opened, study.StudyModel):
        told = [(one.slide.name, _read(_mark(one.folder))) for one in outcomes]
        study.write_table(out / study.TABLE, told, opened.card.classes)
    return outcomes


def _opened(model: Path, embed_cache: Path | None) -> AnyModel:
    folder = study.study_folder(model)
    if folder is not None:
        return study.open_study(folder, embed_cache)
    if embed_cache is not None:
        raise AcinusError(
            f"--embed-cache {embed_cache}: only models of whole slides' labels embed slides; leave it out"
        )
    return open_model(model)


def _mark(folder: Path) -> Path:
    """Return the file that says how a slide's prediction ended."""
    return folder / (RESULT if (folder / RESULT).is_file() else ERROR)


def _one(order: Order, model: AnyModel, overwrite: bool) -> Outcome:
    """Predict one slide, or keep what is there, or write why it cannot be done."""
    path, folder, key = order.path, order.folder, _key(order, model)
    if not overwrite and _finished(folder, key, model.outputs):
        return Outcome(path, folder, "kept", f"{path.name}: finished before, kept; --force does it again")
    _clear(folder)
    head = {"format": 1, "path": _utf8(str(path)), "file": _utf8(path.name), "key": key}
    try:
        if isinstance(model, study.StudyModel):
            result, in_words = study.predict_study(order, model), study.in_words
        else:
            result, in_words = predict_slide(order, model), _in_words
    except FORESEEN as error:
        reason = _utf8(" ".join(_reason(error, order).split()))
        _clear(folder)
        write_json(folder / ERROR, head | {"slide": folder.name, "reason": reason})
        return Outcome(path, folder, "failed", f"{path.name}: failed: {reason}")
    write_json(folder / RESULT, head | result)
    return Outcome(path, folder, "done", f"{path.name}: {in_words(result)}")


def _reason(error: BaseException, order: Order) -> str:
    """Return why a slide could not be predicted, with what helps."""
    name, file = order.name, order.path.name
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return f"slide {name}: {file} needs more memory than there is; free some, or give another --device"
    if isinstance(error, OSError):
        return f"slide {name}: {file} cannot be read or worked on ({error.strerror or error}); check its file and disk"
    return str(error).replace(REMEDY, FILE_REMEDY).replace(LEAVE_OUT, "leave the slide out")


def _key(order: Order, model: AnyModel) -> str:
    """Return a digest of what a result depends on: the slide's file, the model with its operating point, mpp."""
    try:
        mark = fingerprint(order.path, order.path.stat().st_size) if order.path.exists() else None
    except OSError:  # what is wrong with the file is told where it is opened
        mark = None
    return hashlib.sha256(json.dumps([1, mark, model.digest, order.mpp]).encode()).hexdigest()


def _folders(out: Path, slides: Sequence[Path]) -> dict[Path, Path]:
    """Return slide -> folder below `out`, each slide once, in order.

    A folder has the slide's safe name, with a digest of its path where that is another's. One with anything in it
    that no prediction wrote is another's (the data beside a .mrxs file, say).
    """
    folders: dict[Path, Path] = {}
    taken: set[str] = set()
    for path in dict.fromkeys(path.absolute() for path in slides):  # a link keeps its own name
        safe = re.sub(r"[^A-Za-z0-9_-]+", "_", path.stem)[:100].strip("_-") or "slide"
        names = (safe, f"{safe}-{hashlib.blake2b(_utf8(str(path)).encode(), digest_size=4).hexdigest()}")
        free = (name for name in names if name.casefold() not in taken and is_safe_id(name) and _ours(out / name, path))
        try:
            name = next(free, None)
        except OSError as error:
            raise AcinusError(
                f"{out}: cannot be looked into ({error.strerror}); give another folder by --out"
            ) from error
        if name is None:
            raise AcinusError(f"{out / names[-1]}: holds other files; give another folder by --out")
        folders[path] = out / name
        taken.add(name.casefold())
    return folders


def _ours(folder: Path, path: Path) -> bool:
    """Return whether the folder is free, or holds what a prediction of this very slide wrote."""
    if folder.is_symlink() or not folder.exists():
        return not folder.is_symlink()
    if not folder.is_dir():
        return False
    names = [path.name for path in folder.iterdir()]
    if not all(name in OUTPUTS or (name.startswith(".") and name.endswith(".part")) for name in names):
        return False
    marks = [folder / name for name in (RESULT, ERROR) if (folder / name).is_file()]
    return all(_read(mark).get("path", _utf8(str(path))) == _utf8(str(path)) for mark in marks)


def _utf8(text: str) -> str:
    """Return a name or path as text that any file can hold, also where it is no UTF-8."""
    return text.encode("utf-8", "backslashreplace").decode()


def _finished(folder: Path, key: str, outputs: Sequence[str]) -> bool:
    """Return whether the result is there, whole, and of this key."""
    whole = all((folder / name).is_file() for name in (RESULT, *outputs))
    return whole and _read(folder / RESULT).get("key") == key


def _read(path: Path) -> dict[str, Any]:
    """Return a JSON object that an earlier run wrote; {} where it is damaged."""
    try:
        value = read_json(path)
    except AcinusError:
        return {}
    return value if isinstance(value, dict) else {}


def _clear(folder: Path) -> None:
    """Make the slide's folder and remove what an earlier prediction left there, the mark of a finished one first."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name in OUTPUTS:
            (folder / name).unlink(missing_ok=True)
        for left in folder.glob(".*.part"):  # of a run that was killed
            shutil.rmtree(left, ignore_errors=True)
    except OSError as error:
        raise AcinusError(f"{folder}: cannot write here ({error.strerror}); give another folder by --out") from error


def _in_words(result: Mapping[str, Any]) -> str:
    """Return a slide's result in a line."""
    burden, count, grade = result["burden_percent"], result["regions"]["count"], result["grade"]
    area = "" if result["tumour_mm2"] is None else f" ({result['tumour_mm2']:.3g} mm2)"
    what = " or ".join(result["model"]["positive"])
    parts = ["no tissue" if burden is None else f"{burden:.3g} % of tissue is {what}{area}"]
    parts.append(f"{count} region{'' if count == 1 else 's'}")
    parts += [f"{grade['name']} ({grade['confidence']:.2f})"] if grade else []
    return ", ".join(parts) + "".join(f"; warning: {text}" for text in result["warnings"])


@contextmanager
def _progress(count: int) -> Iterator[Callable[..., None]]:
    """Show a bar on a terminal; give what is told a slide's number and file as it begins, and then each step."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    shown = sys.stderr.isatty()
    with Progress(*columns, console=Console(stderr=True), disable=not shown, transient=True) as bar:
        task = bar.add_task("", total=count * len(STEPS))

        def show(number: int, file: str, step: str = STEPS[0]) -> None:
            plain = re.sub(r"[^\w ().-]", "_", file)  # nothing that the terminal or the bar's markup would act on
            done = number * len(STEPS) + STEPS.index(step)
            bar.update(task, completed=done, description=f"{plain} ({number + 1} of {count}): {step}")

        yield show
