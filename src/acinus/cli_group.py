"""How the command line lists its commands, and how it ends where one fails."""

import logging
import os
import signal
import sys
from collections.abc import Sequence
from typing import Any

import click

from acinus.errors import AcinusError
from acinus.project import checkout

INTERRUPTED = 128 + signal.SIGINT
"""The exit status of a command that Ctrl-C stopped, as shells have it."""

GROUPS: dict[str, tuple[str, ...]] = {
    "Start": ("init", "look", "demo", "setup"),
    "Run: the stages that dvc repro runs in turn, and more": (
        *("watch", "inventory", "ingest", "index", "sample", "validate", "extract", "tune", "train"),
        *("calibrate", "infer", "quantify", "embed", "grade", "report", "summary", "stop", "sweep"),
    ),
    "Look": ("show", "results"),
    "Models": ("predict", "compare", "encoders"),
    "Maintain": ("upgrade", "verify", "reproduce", "dvc", "code"),
}
"""What `acinus --help` lists, heading -> commands in their order."""


class CommandGroup(click.Group):
    """Print an expected failure as one line and exit 1, Ctrl-C as one and exit 130; a traceback is for our faults."""

    def main(self, args: Sequence[str] | None = None, *more: Any, **options: Any) -> Any:
        if args is None:  # typed in a shell, not called from Python
            try:
                checkout.run_own_code()
            except AcinusError as error:
                sys.exit(f"error: {error}")
        logging.getLogger("tifffile").addHandler(logging.NullHandler())  # what is wrong with a file, we say ourselves
        return super().main(args, *more, **options)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except AcinusError as error:
            click.echo(f"error: {' '.join(str(error).splitlines())}", err=True)  # a file's name may hold a line break
            ctx.exit(1)
        except KeyboardInterrupt:
            click.echo("stopped; the same command goes on from what is finished", err=True)
            ctx.exit(INTERRUPTED)
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            ctx.exit(1)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        listed = {name for names in GROUPS.values() for name in names}
        further = tuple(name for name in self.commands if name not in listed)
        longest = max(map(len, self.commands))
        for heading, names in (GROUPS | {"Further": further}).items():
            rows = [
                (name.ljust(longest), self.commands[name].get_short_help_str(formatter.width - 6 - longest))
                for name in names
                if name in self.commands and not self.commands[name].hidden
            ]
            if rows:
                with formatter.section(heading):
                    formatter.write_dl(rows)
