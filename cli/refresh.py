"""``curate refresh``: from new vote files to the next release."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.options import EngineOption, JsonOption, WorkersOption, engine_config, settings
from cli.output import plural, progress_bar, put, put_json, say
from schemas.errors import NOTHING_NEW

if TYPE_CHECKING:
    from schemas.base import Document
    from schemas.refresh import RefreshReport


def refresh(
    recipe: Annotated[str, typer.Argument(help="A TOML file, or the name of a built-in recipe.", metavar="RECIPE")],
    folder: Annotated[
        Path, typer.Option("--dir", help="The folder that its paths are relative to.", metavar="DIR")
    ] = Path(),
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the steps; change nothing.")] = False,
    engine: EngineOption = None,
    workers: WorkersOption = None,
    as_json: JsonOption = False,
) -> None:
    """Ingest new votes from the watched files, rank, and make the next release; exit code 3 without a new release.

    The watched files are those of the recipe's step [ingest]: paths, globs or folders. The ranking method stays as
    chosen by the first run. A page on the changes is written to refreshes/, and the recipe's report is updated. It is
    safe to run again, to kill and to run by cron: a second refresh in the same folder stops with an error.

    \b
    Example:
      curate refresh mr2bench-video --dir build
      curate refresh recipe.toml --dir build --dry-run
    """
    from cli.status import printers
    from pipelines import load_recipe
    from pipelines.recipe import with_settings
    from pipelines.refreshing import refresh as job

    loaded = with_settings(load_recipe(recipe), settings())
    printer = printers()

    def done(step: str, report: Document) -> None:
        if not as_json:
            say(f"\n── {step} ──")
            printer[step](report)

    with progress_bar() as progress:
        where = engine_config(engine, workers)
        report = job(loaded, folder, dry_run=dry_run, engine=where, progress=progress, done=done)
    put_json(report) if as_json else print_refresh(report)
    if not report.released and not (dry_run and report.plan.steps):
        raise typer.Exit(NOTHING_NEW)


def print_refresh(report: RefreshReport) -> None:
    """Print the report on stderr, the folder of the current release on stdout."""
    if report.dry_run:
        plan = report.plan
        say(f"{plural(len(plan.new_files), 'new file')}, {plan.known_files:,} known")
        recovered = f", {plural(plan.recovered, 'recovered row')}" if plan.recovered else ""
        counts = f"{plural(plan.votes, 'new vote')}, {plan.duplicates:,} duplicates, {plan.rejects:,} rejected rows"
        say(f"  {counts}{recovered}")
        for step in plan.steps or ("nothing to do",):
            put(step)
    elif report.released:
        say(f"\nchanges: {report.summary}")
        if report.report:
            say(f"report: {report.report}")
        put(report.release)
    else:
        say("no new release")
        put(report.release)
