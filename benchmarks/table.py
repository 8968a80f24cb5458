"""The results as Markdown, for docs/speed.md and for a person."""

from collections.abc import Iterable, Mapping, Sequence

from benchmarks.measure import Result
from benchmarks.targets import Verdict

_MET = {True: "met", False: "missed", None: "-"}


def markdown(facts: Mapping[str, str], verdicts: Iterable[Verdict], results: Iterable[Result]) -> str:
    """Return the report: how it was measured, the targets, every case. facts: name -> text, told first."""
    judged = [(one.work, one.target, one.measured, _MET[one.met]) for one in verdicts]
    cases = [
        (
            one.name,
            f"{one.units:,}",
            f"{one.cpu_ms:.3f}",
            f"{one.wall_ms:.3f}",
            f"{1e3 / one.cpu_ms:,.1f}" if one.cpu_ms else "-",
            f"{one.rss_mb:.0f}",
            f"{one.own_mb:.0f}",
        )
        for one in results
    ]
    return "\n".join(
        [
            "# Benchmarks",
            "",
            *(f"- {name}: {text}" for name, text in facts.items()),
            "",
            *_table(("work", "target", "measured", ""), judged),
            "",
            "Medians per patch (window, slide, command); memory is the largest of the process tree, with and without",
            "what is mapped from files.",
            "",
            *_table(("case", "units", "CPU ms", "wall ms", "per CPU s", "MB", "own MB"), cases),
            "",
        ]
    )


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    return [_line(head), _line(["---"] * len(head)), *(_line(row) for row in rows)]


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"
