"""``curate refresh``: the recurring job, from new vote files to the next release."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.options import JsonOption
from cli.output import plural, progress_bar, put, put_json, say

if TYPE_CHECKING:
    from schemas.base import Document
    from schemas.refresh import RefreshReport

NOTHING_NEW = 3
"""Exit code of a refresh after which all is as it was."""


def refresh(
    recipe: Annotated[str, typer.Argument(help="A TOML file, or the name of a recipe of ours.", metavar="RECIPE")],
    folder: Annotated[Path, typer.Option("--dir", help="Where its relative paths begin.", metavar="DIR")] = Path(),
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done; change nothing.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Take in what is new in the watched files, rank anew, and make the next release; exit code 3 where nothing moved.

    The watched files are those of the recipe's step [ingest]: paths, globs or folders. The method that ranks stays as
    the first run chose it. A page on what moved is written to refreshes/, and the recipe's report anew. Safe to run
    again, to kill and to run by cron: a second one beside it is told who is at work.

    \b
    Example:
      curate refresh mr2bench-video --dir build
      curate refresh recipe.toml --dir build --dry-run
    """
    from cli.status import printers
    from pipelines import load_recipe
    from pipelines.refreshing import refresh as job

    loaded = load_recipe(recipe)
    printer = printers()

    def done(step: str, report: Document) -> None:
        if not as_json:
            say(f"\n── {step} ──")
            printer[step](report)

    with progress_bar() as progress:
        report = job(loaded, folder, dry_run=dry_run, progress=progress, done=done)
    put_json(report) if as_json else print_refresh(report)
    if not report.moved and not (dry_run and report.plan.steps):
        raise typer.Exit(NOTHING_NEW)


def print_refresh(report: RefreshReport) -> None:
    """The report in words; the release on stdout."""
    if report.dry_run:
        plan = report.plan
        say(f"{plural(len(plan.new_files), 'new file')}, {plan.known_files:,} known")
        say(f"  {plural(plan.votes, 'new vote')}, {plan.duplicates:,} duplicates, {plan.rejects:,} rejected rows")
        for step in plan.steps:
            put(step)
        if not plan.steps:
            put("nothing to do")
    elif report.moved:
        say(f"\nwhat moved: {report.summary}")
        if report.report:
            say(f"report: {report.report}")
        put(report.release)
    else:
        say("nothing moved")
        put(report.release)
