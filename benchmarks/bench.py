"""One run of the benchmarks: build what is missing, measure group by group, judge."""

import dataclasses
import os
import platform
from collections.abc import Callable, Collection
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from benchmarks.cases import RESNET, TINY, Files, Scale, groups
from benchmarks.measure import Result, in_turn
from benchmarks.rasters import draw, draw_mask
from benchmarks.slides import build, load
from benchmarks.table import markdown
from benchmarks.targets import Verdict, judged

NOWHERE = Files(*5 * (Path(),))
"""For the names of the cases alone."""
LIBRARIES = ("openslide-bin", "simplejpeg", "turbojpeg", "pillow", "lmdb", "torch", "pyvips-binary")


@dataclass(frozen=True)
class Report:
    """What a run found. failures: case -> why it has no result."""

    facts: dict[str, str]
    results: tuple[Result, ...]
    verdicts: tuple[Verdict, ...]
    failures: dict[str, str]

    def as_json(self) -> dict[str, Any]:
        """Return all of it as plain values, every single run with it."""
        return dataclasses.asdict(self)

    def as_markdown(self) -> str:
        """Return its tables."""
        failed = {f"failed: {name}": why for name, why in self.failures.items()}
        return markdown({**self.facts, **failed}, self.verdicts, self.results)


def prepare(work: Path, scale: Scale, shared: Path | None) -> Files:
    """Build the slides and rasters that are not in the folder `work` yet."""
    work.mkdir(parents=True, exist_ok=True)
    edges = (scale.slide_px, scale.large_px, scale.network_px)
    slides = [work / f"slide_{edge}.tif" for edge in edges]
    for path, edge in zip(slides, edges, strict=True):
        if not path.with_suffix(".json").is_file():  # written last
            build(path, edge, shared)
    raster, mask = (work / "{}_{}_{}.png".format(name, *scale.raster_px) for name in ("raster", "mask"))
    if not raster.is_file():
        draw(raster, scale.raster_px)
    if not mask.is_file():
        draw_mask(mask, scale.raster_px)
    return Files(slides[0], slides[1], slides[2], raster, mask)


def measure(
    files: Files, scale: Scale, work: Path, repeats: int, only: Collection[str], say: Callable[[str], None]
) -> Report:
    """Measure the groups (those named in `only`, if any) and judge; a case that fails is named and left out."""
    results: list[Result] = []
    failures: dict[str, str] = {}
    for group in groups(files, scale):
        if only and group.name not in only:
            continue
        say(f"{group.name}: {len(group.cases)} cases")
        found, failed = in_turn(group.cases, min(repeats, group.repeats), work)
        results += found
        failures |= failed
        for name, why in failed.items():
            say(f"{name}: failed: {why}")
    verdicts = judged({one.name: one for one in results})
    return Report(facts(files, scale, repeats), tuple(results), tuple(verdicts), failures)


def check_joins(before: Report, now: dict[str, str]) -> None:
    """Refuse a report whose facts are not those of a measurement that is to be put into it.

    Raises:
        ValueError: names the facts that differ, and what to do.
    """
    known = {name: before.facts.get(name, "none") for name in now}
    apart = [f"{name} ({known[name]}; now: {text})" for name, text in now.items() if known[name] != text]
    if apart:
        raise ValueError(f"the report before is of other {', '.join(apart)}: leave --only out, or name other --reports")


def joined(before: Report, now: Report, names: Collection[str]) -> Report:
    """Return the report of groups `names`, run just now, with an older one's other groups.

    Nothing is compared across groups, so each ratio is still of one run.

    Raises:
        ValueError: the older report is of other slides, libraries, repeats or another machine.
    """
    check_joins(before, now.facts)
    again = {case.name for group in groups(NOWHERE, Scale()) if group.name in names for case in group.cases}
    kept = {one.name: one for one in before.results if one.name not in again} | {one.name: one for one in now.results}
    order = [case.name for group in groups(NOWHERE, Scale()) for case in group.cases]
    results = tuple(kept[name] for name in order if name in kept)
    failures = {name: why for name, why in before.failures.items() if name not in again} | now.failures
    return Report(now.facts, results, tuple(judged(kept)), failures)


def facts(files: Files, scale: Scale, repeats: int) -> dict[str, str]:
    """Return what a report's figures rest on, in words: only figures of equal facts stand in one report."""
    slide = load(files.slide)
    edges = f"{scale.slide_px:,}, {scale.large_px:,} and (ResNet-18) {scale.network_px:,} px"
    return {
        "machine": f"{_processor()}, {os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}",
        "libraries": ", ".join(f"{name} {_version(name)}" for name in LIBRARIES),
        "slides": f"{edges}; 512-px JPEG tiles 4:2:0, {len(slide.tissue)} of the first one's in tissue",
        "texture": slide.texture,
        "each case": f"in a fresh process, {repeats} times in turn, medians; one process, one thread that decodes and "
        "numerical libraries at one thread unless said; CPU time beyond imports",
        "scripts": f"given {scale.reference} neighbouring patches from the middle of the tissue, ours all of it",
        "inference": f"batches of 16; {RESNET} sees {scale.bare} windows bare, {TINY} (tiny) {10 * scale.bare}",
    }


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:  # an optional one
        return "absent"


def _processor() -> str:
    """Return the name of the processor where the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
