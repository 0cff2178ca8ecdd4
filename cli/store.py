"""``curate store``: the files in which a store keeps its votes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.options import JsonOption, StoreOption, store_path
from cli.output import plural, put_json, say

if TYPE_CHECKING:
    from schemas.reports import StoreReport

app = typer.Typer(
    name="store",
    help="Convert a store between one file and partitions; compact partitions.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@app.command()
def convert(
    source: Annotated[Path, typer.Argument(help="The store to copy.", metavar="SOURCE")],
    target: Annotated[
        Path, typer.Argument(help="The new store: a folder if its name has no extension, else one file.")
    ],
    votes_url: Annotated[
        str,
        typer.Option(help="Keep the votes of a partitioned TARGET there (extra remote).", metavar="s3://BUCKET/FOLDER"),
    ] = "",
    as_json: JsonOption = False,
) -> None:
    """Copy a store to a partitioned store or to one DuckDB file, with all votes, runs and rankings.

    A partitioned store is a folder: a DuckDB file without the votes, and the votes as Parquet files in 64 buckets of
    prompts. It is for more than about 20 million votes; every command reads and writes both kinds.

    \b
    Example:
      curate store convert curate.duckdb arena
      curate store convert arena arena.duckdb
      curate store convert arena arena-s3 --votes-url s3://bucket/arena
    """
    from pipelines.stores import convert as job

    _show(job(source, target, votes_url=votes_url), as_json=as_json)


@app.command()
def compact(store: StoreOption = None, as_json: JsonOption = False) -> None:
    """Merge the files of votes of a partitioned store: one per bucket, without superseded votes.

    Each ingest adds up to 64 files; many small ones make reading slower.

    \b
    Example:
      curate store compact --store arena
    """
    from pipelines.stores import compact as job

    _show(job(store_path(store)), as_json=as_json)


def _show(report: StoreReport, *, as_json: bool) -> None:
    if as_json:
        put_json(report)
        return
    at = f" at {report.votes_url}" if report.votes_url else ""
    where = f"{plural(report.files, 'Parquet file')}{at}, " if report.partitioned else ""
    say(f"{report.store}: {plural(report.votes, 'vote')}, {where}{report.bytes / 1e6:.1f} MB")
    if report.rewritten:
        say(f"  {plural(report.rewritten, 'bucket')} rewritten")
