"""What the results are held against: one row per target, judged on CPU time unless it says otherwise."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from benchmarks.measure import Result

Results = Mapping[str, Result]


@dataclass(frozen=True)
class Verdict:
    """One judged target. met: None where it could not be measured."""

    work: str
    target: str
    measured: str
    met: bool | None


@dataclass(frozen=True)
class Target:
    """One target. needs: the results that `judge` looks at; it returns what was measured and whether that will do."""

    work: str
    target: str
    needs: tuple[str, ...]
    judge: Callable[[Results], tuple[str, bool | None]]


def judged(results: Results) -> list[Verdict]:
    """Return every target with what was measured; without one of its results it was not."""
    verdicts = []
    for target in TARGETS:
        missing = [name for name in target.needs if name not in results]
        measured, met = (f"not measured: no result of {missing[0]}", None) if missing else target.judge(results)
        verdicts.append(Verdict(target.work, target.target, measured, met))
    return verdicts


def times_cheaper(results: Results, ours: str, other: str) -> float:
    """Return how often our CPU time per unit goes into the other's."""
    return results[other].cpu_ms / results[ours].cpu_ms


def _beats(work: str, ours: str, other: str, least: float, wall: bool = False) -> Target:
    """At least so many times the speed of another."""

    def judge(results: Results) -> tuple[str, bool]:
        by_wall = results[other].wall_ms / results[ours].wall_ms
        ratio = by_wall if wall else times_cheaper(results, ours, other)
        return f"{ratio:.2f} x", ratio >= least

    return Target(work, f"at least {least:g} x {other}{' (wall)' if wall else ''}", (ours, other), judge)


def _nears(work: str, ours: str, limit: str, least: float) -> Target:
    """At least such a share of a limit's speed."""

    def judge(results: Results) -> tuple[str, bool]:
        share = times_cheaper(results, ours, limit)
        return f"{share:.0%}", share >= least

    return Target(work, f"at least {least:.0%} of {limit}", (ours, limit), judge)


def _costs(work: str, ours: str, bare: str, most: float) -> Target:
    """At most so many times the cost of another."""

    def judge(results: Results) -> tuple[str, bool]:
        ratio, wall = 1 / times_cheaper(results, ours, bare), results[ours].wall_ms / results[bare].wall_ms
        return f"{ratio:.2f} x (wall {wall:.2f} x)", ratio <= most

    return Target(work, f"at most {most:.2f} x {bare}", (ours, bare), judge)


def _lean(stage: str) -> Target:
    """Memory that hardly grows with nine times the area."""
    small, large = (f"memory: {stage}, {size} slide" for size in ("small", "large"))

    def judge(results: Results) -> tuple[str, bool]:
        before, after = results[small], results[large]
        growth = after.rss_mb / before.rss_mb - 1
        own = f"without mapped files {before.own_mb:.0f} -> {after.own_mb:.0f}"
        met = growth < 0.25 and after.rss_mb < 1500
        return f"{before.rss_mb:.0f} -> {after.rss_mb:.0f} MB, {growth:+.0%} ({own})", met

    target = "large slide against small: grows by less than 25 %, stays under 1,500 MB"
    return Target(f"peak memory: {stage}", target, (small, large), judge)


def _once(results: Results) -> tuple[str, bool]:
    runs = [one.notes for one in results["299-px windows: pixels alone"].runs]
    most = max(runs, key=lambda notes: notes["decoded"] / notes["tiles"])
    return f"{most['decoded']:.0f} decodes of {most['tiles']:.0f} tiles", most["decoded"] <= most["tiles"]


def _through(results: Results) -> tuple[str, bool]:
    speed = 1e3 / results["whole tiles"].cpu_ms
    return f"{speed:,.0f} patches/s", speed >= 5000


def _index(results: Results) -> tuple[str, bool]:
    seconds = results["index of the large slide"].cpu_ms / 1e3
    return f"{seconds:.2f} s", seconds < 1


def _raster_memory(results: Results) -> tuple[str, bool]:
    ours, other = (results[name].rss_mb for name in ("giant PNG to patches", "script: PNG load + copy"))
    return f"{ours:.0f} MB (the script {other:.0f} MB)", ours < 400


def _raster_time(results: Results) -> tuple[str, bool]:
    ours, other = (results[name] for name in ("giant PNG to patches", "script: PNG load + copy"))
    mine, theirs = (one.cpu_ms * one.units / 1e3 for one in (ours, other))  # as a whole: it loses the edge strips
    return f"{mine:.1f} s, the script {theirs:.1f} s", mine <= theirs


def _help(results: Results) -> tuple[str, bool]:
    seconds = results["acinus --help"].wall_ms / 1e3
    return f"{seconds:.2f} s", seconds < 0.5


def _no_op(results: Results) -> tuple[str, bool | None]:
    result = results["dvc repro"]
    if not result.notes["clean"]:
        return "not measured: `dvc status` is not clean here", None
    return f"{result.wall_ms / 1e3:.1f} s", result.wall_ms < 5000


def _taken_over(results: Results) -> tuple[str, bool]:
    first, second = results["embed: EfficientNet-Lite0"], results["embed: a second recipe"]
    most = max(one.notes["embedded"] for one in second.runs)
    return f"{most:.0f} patches embedded, {second.cpu_ms / first.cpu_ms:.1%} of the first one's time", most == 0


_PATCHES = "extract 256 px, level 0, to LMDB, decoded and encoded once"
_CUT = "the same, cut losslessly (`source`)"
_WINDOWS = "299-px windows at stride 128"
_RANDOM = "random reads from the LMDB store, decoded"
_INFER = "inference, whole slide, 256 px"
_EMBED = "features of a whole slide, 224 px, batches of 64"
_PNG = "giant PNG to patches"

TARGETS = (
    _beats(_PATCHES, "extract: jpeg", "script: PNG in LMDB", 15),
    _beats(_PATCHES, "extract: jpeg", "script: PNG files", 15),
    _beats(_PATCHES, "extract: jpeg", "script: JPEG 4:4:4 in LMDB", 2.5),  # as ours are
    _beats(_PATCHES, "extract: jpeg", "script: JPEG 4:2:0 in LMDB", 2.5),
    _nears(_PATCHES, "extract: jpeg", "limit: decode once, encode once", 0.5),
    _nears(_CUT, "extract: source", "limit: lossless cut", 0.7),
    _nears(_CUT, "extract: source", "limit: lossless cut, a tile at a time", 0.7),
    _beats(_CUT, "extract: source", "script: JPEG 4:2:0 in LMDB", 5),
    Target(
        "whole tiles passed through (`source`, 512 px)",
        "at least 5,000 patches/s of CPU time",
        ("whole tiles",),
        _through,
    ),
    _beats("extract, several slides", "extract: 2 processes", "extract: 1 process on one core", 1.7, wall=True),
    _beats("extract, several slides", "extract: 2 processes", "extract: 1 process", 1.7, wall=True),  # on both cores
    Target(_WINDOWS, "each source tile decoded at most once", ("299-px windows: pixels alone",), _once),
    _beats(_WINDOWS, "299-px windows: jpeg", "script: 299-px windows, PNG in LMDB", 20),
    _nears(_RANDOM, "read: jpeg", "limit: JPEG decode", 0.8),
    _beats(_RANDOM, "read: raw", "limit: JPEG decode", 1.5),
    _costs(_INFER, "infer: ResNet-18", "bare ResNet-18", 1.10),
    _costs(_INFER, "infer: tiny network", "bare tiny network", 1.6),
    _costs(_EMBED, "embed: EfficientNet-Lite0", "bare EfficientNet-Lite0", 1.10),
    _costs(_EMBED, "embed: ViT-S", "bare ViT-S", 1.10),
    Target(
        "features for a second recipe, same encoder",
        "embeds nothing",
        ("embed: EfficientNet-Lite0", "embed: a second recipe"),
        _taken_over,
    ),
    _lean("extract"),
    _lean("infer"),
    _lean("quantify"),
    _lean("embed"),
    Target("index of the large slide", "under 1 s of CPU beyond imports", ("index of the large slide",), _index),
    Target(_PNG, "under 400 MB", (_PNG, "script: PNG load + copy"), _raster_memory),
    Target(_PNG, "no slower than load + copy", (_PNG, "script: PNG load + copy"), _raster_time),
    Target("acinus --help", "under 0.5 s (wall)", ("acinus --help",), _help),
    Target("dvc repro, nothing to do", "under 5 s (wall)", ("dvc repro",), _no_op),
)
