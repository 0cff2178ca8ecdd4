"""docs/cli.md, generated from the commands' own help: ``python -m cli.reference > docs/cli.md``."""

from __future__ import annotations

import os
import sys

WIDTH = "100"


def reference() -> str:
    """Return the reference as Markdown: the ``--help`` of every command."""
    os.environ["COLUMNS"] = os.environ["TERMINAL_WIDTH"] = WIDTH
    from typer.testing import CliRunner

    from cli.main import app

    runner = CliRunner()
    parts = [
        "# Command line reference",
        "Generated from `--help` by `make docs`. Exit codes: 0 done, 1 a handled error (its hint on stderr), 2 wrong",
        "usage, 3 a refresh without changes. Data goes to stdout, messages and progress to stderr;",
        "`--json` gives every command's report.\n",
        _block("curate", runner.invoke(app, ["--help"], prog_name="curate").output),
    ]
    for name in names():
        parts.append(f"\n## curate {name}\n")
        parts.append(_block(f"curate {name}", runner.invoke(app, [*name.split(), "--help"], prog_name="curate").output))
    return "\n".join(parts) + "\n"


def names() -> list[str]:
    """Return all commands with their groups: ingest, media check, …"""
    from cli.main import COMMANDS, GROUPS

    below = [
        f"{group.info.name} {command.name or command.callback.__name__}"
        for group in GROUPS
        for command in group.registered_commands
        if command.callback
    ]
    return [command.__name__ for command in COMMANDS] + below


def _block(command: str, text: str) -> str:
    lines = [line.rstrip() for line in text.strip().splitlines()]
    return "\n".join(["```", f"$ {command} --help", *lines, "```"])


if __name__ == "__main__":
    sys.stdout.write(reference())
