"""``curate plan``: which votes to ask next."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.options import JsonOption, StoreOption, store_path
from cli.output import plural, progress_bar, put_json, put_table, say
from schemas.plan import Focus, TaskFormat

if TYPE_CHECKING:
    from schemas.plan import PlanReport


def plan(
    votes: Annotated[int, typer.Option("--votes", min=1, help="Votes to ask.", metavar="N")],
    out: Annotated[Path, typer.Option("--out", help="The task file to write.", metavar="FILE")],
    store: StoreOption = None,
    file_format: Annotated[
        TaskFormat | None,
        typer.Option("--format", help="Of the file: a table to fill in, or a platform's input. Default: by its name."),
    ] = None,
    focus: Annotated[
        Focus, typer.Option("--focus", help="What to settle: the whole order of a prompt, or who is its best.")
    ] = "order",
    prompts: Annotated[
        list[str] | None, typer.Option("--prompts", help="Ask about this prompt only; may be repeated.", metavar="ID")
    ] = None,
    max_per_pair: Annotated[
        int, typer.Option("--max-per-pair", min=1, help="Votes on one pair, at most.", metavar="N")
    ] = 3,
    min_per_prompt: Annotated[
        int, typer.Option("--min-per-prompt", min=0, help="Votes on every prompt, at least.", metavar="N")
    ] = 0,
    annotators: Annotated[
        int | None,
        typer.Option("--annotators", min=1, help="People who will vote. Default: those of the store.", metavar="N"),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of sides and order of the tasks.", metavar="N")] = 0,
    as_json: JsonOption = False,
) -> None:
    """Choose the votes that are expected to settle most, write them as tasks, and foretell the accuracy they bring.

    One row a vote: show the two texts, fill in outcome (left, right, tie, both_bad) and annotator_id, and give the file
    to curate ingest. For Label Studio, Toloka, MTurk, Prodigy, Argilla and Potato it is what they import, and their
    export comes back through curate ingest as it is. The store is only read.

    \b
    Example:
      curate plan --votes 5000 --out tasks.csv
      curate plan --votes 5000 --format label-studio --out tasks.json
    """
    from pipelines.planning import plan as job

    with progress_bar() as progress:
        report = job(
            store_path(store),
            out,
            votes=votes,
            file_format=file_format,
            focus=focus,
            prompts=prompts or (),
            max_per_pair=max_per_pair,
            min_per_prompt=min_per_prompt,
            annotators=annotators,
            seed=seed,
            progress=progress,
        )
    put_json(report) if as_json else print_plan(report)


def print_plan(report: PlanReport) -> None:
    """The foretold accuracy as a table, and the plan in words."""
    header = ("votes", "tau", "at random", "top-1", "at random", "best-of-4", "at random")
    rows = [
        (ours.votes, *map(_figure, (ours.tau, other.tau, ours.top1, other.top1, ours.best_of_4, other.best_of_4)))
        for ours, other in zip(report.planned, report.random, strict=True)
    ]
    put_table(header, rows)
    say("expected accuracy with a plan of so many votes, and with as many on random pairs")
    on = f"{plural(report.pairs, 'pair')} of {plural(report.prompts, 'prompt')}"
    say(f"{report.out}: {plural(report.votes, 'vote')} to ask on {on}" + ("" if report.written else ", as it was"))
    for warning in report.warnings:
        say(f"note: {warning}")
    if report.beside:
        say(f"{report.beside}: the labelling config to set up the project with")
    file = report.out if report.format in ("csv", "jsonl") else "EXPORT"
    say(f"filled in, they are read by: curate ingest {file} --store {report.store}")


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"
