"""`python -m benchmarks`: measure, print the table, write reports/benchmarks.json and reports/benchmarks.md."""

import argparse
import contextlib
import sys
import tempfile
from pathlib import Path

from pydantic import TypeAdapter

from acinus.files import read_json, write_json, write_text
from benchmarks.bench import Report, check_joins, facts, joined, measure, prepare
from benchmarks.cases import NAMES, Scale
from benchmarks.measure import ROOT


def main() -> int:
    """Run; 1 where a case failed. A missed target is a result, no failure."""
    options = _options()
    defaults = Scale()
    scale = Scale(
        slide_px=options.slide_px,
        large_px=options.large_px,
        network_px=min(defaults.network_px, options.slide_px),
        raster_px=tuple(options.raster_px),
    )
    with contextlib.ExitStack() as stack:
        work = options.work or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="acinus-bench-")))
        print(f"building slides in {work}", flush=True)
        files = prepare(work, scale, options.shared if options.shared.is_dir() else None)
        known = options.reports / "benchmarks.json"
        before = TypeAdapter(Report).validate_python(read_json(known)) if options.only and known.is_file() else None
        if before is not None:
            try:
                check_joins(before, facts(files, scale, options.repeats))  # before minutes of work, not after
            except ValueError as error:
                sys.exit(f"error: {known}: {error}")
        report = measure(files, scale, work, options.repeats, options.only, lambda text: print(text, flush=True))
    if before is not None:
        report = joined(before, report, options.only)
    write_json(known, report.as_json())
    write_text(options.reports / "benchmarks.md", report.as_markdown())
    print(report.as_markdown())
    return 1 if report.failures else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    scale = Scale()
    parser.add_argument("--work", type=Path, help="keep slides here and use those that are there (default: temporary)")
    parser.add_argument("--repeats", type=int, default=3, help="runs of every case (default: %(default)s)")
    parser.add_argument(
        "--only", action="append", default=[], choices=NAMES, help="a group of cases; others stay as reported before"
    )
    parser.add_argument("--slide-px", type=int, default=scale.slide_px, help="edge of the slide (%(default)s)")
    parser.add_argument("--large-px", type=int, default=scale.large_px, help="edge of the large slide (%(default)s)")
    parser.add_argument("--raster-px", type=int, nargs=2, default=scale.raster_px, metavar=("WIDTH", "HEIGHT"))
    parser.add_argument("--shared", type=Path, default=ROOT.parent / "shared" / "data", help="folder of real slides")
    parser.add_argument("--reports", type=Path, default=ROOT / "reports", help="where the results go")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
