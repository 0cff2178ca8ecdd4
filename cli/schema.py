"""``curate schema``: the JSON Schemas of files and of what commands print."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from cli.options import JsonOption
from cli.output import put, put_json, put_table


def schema(
    name: Annotated[
        list[str] | None,
        typer.Argument(help="A file, or a command with the option that changes its output.", metavar="[NAME]"),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Print a JSON Schema (draft 2020-12): of a file that curate reads or writes, or of a command's --json.

    Without a name, list the names. A TOML file has the keys of its schema.

    \b
    Example:
      curate schema curate.toml > curate.schema.json
      curate schema campaign status
      curate schema ingest --explain
    """
    from schemas.outputs import SchemaLine
    from schemas.published import FILES, OUTPUTS, json_schema, meaning

    if name:
        put(json.dumps(json_schema(" ".join(name)), indent=2, ensure_ascii=False))
        return
    lines = [SchemaLine(name=one, meaning=meaning(one)) for one in (*FILES, *OUTPUTS)]
    put_json(lines) if as_json else put_table(("name", "meaning"), [(one.name, one.meaning) for one in lines])
