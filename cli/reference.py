"""docs/cli.md, generated from the commands' own help: ``python -m cli.reference > docs/cli.md``."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from io import StringIO
from typing import Any

WIDTH = "100"


def reference() -> str:
    """Return the reference as Markdown: the ``--help`` of every command."""
    os.environ["COLUMNS"] = os.environ["TERMINAL_WIDTH"] = WIDTH
    from schemas.errors import EXIT_CODES

    parts = [
        "# Command line reference",
        "Generated from `--help` by `make docs`. Data goes to stdout, messages and progress to stderr. With `--json`",
        "every command prints JSON that `curate schema COMMAND` describes ([names](data.md#json-schemas)),",
        "and an error as `error`, `hint` and `exit_code`.\n",
        "| exit code | meaning |\n|---|---|",
        *(f"| {code} | {meaning} |" for code, meaning in EXIT_CODES.items()),
        "",
        _help(),
    ]
    for name in commands():
        parts.append(f"\n## curate {name}\n")
        parts.append(_help(*name.split()))
    return "\n".join(parts) + "\n"


def commands() -> dict[str, Callable[..., Any]]:
    """Return all commands by name, with their groups: ingest, media check, …"""
    from cli.main import COMMANDS, GROUPS

    below = {
        f"{group.info.name} {command.name or command.callback.__name__}": command.callback
        for group in GROUPS
        for command in group.registered_commands
        if command.callback
    }
    return {command.__name__: command for command in COMMANDS} | below


def _help(*names: str) -> str:
    from cli.main import run

    with redirect_stdout(StringIO()) as printed:
        run([*names, "--help"])
    lines = [line.rstrip() for line in printed.getvalue().strip().splitlines()]
    return "\n".join(["```", f"$ {' '.join(('curate', *names))} --help", *lines, "```"])


if __name__ == "__main__":
    sys.stdout.write(reference())
