"""``curate plan``: the votes to collect next."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.options import CriterionOption, JsonOption, PromptOption, StoreOption, settings
from cli.output import plural, progress_bar, put_json, put_table, say
from schemas.choices import Focus, TaskFormat

if TYPE_CHECKING:
    from schemas.plan import PlanReport


def plan(
    votes: Annotated[int, typer.Option("--votes", min=1, help="Number of votes to collect.", metavar="N")],
    out: Annotated[Path, typer.Option("--out", help="The task file to write.", metavar="FILE")],
    store: StoreOption = None,
    file_format: Annotated[
        TaskFormat | None,
        typer.Option("--format", help="A table to fill in, or a platform's input. Default: by the file's name."),
    ] = None,
    focus: Annotated[
        Focus, typer.Option("--focus", help="Goal: the whole order of each prompt, or its best response.")
    ] = "order",
    prompts: PromptOption = None,
    criterion: CriterionOption = None,
    max_per_pair: Annotated[
        int, typer.Option("--max-per-pair", min=1, help="Maximum votes per pair.", metavar="N")
    ] = 3,
    min_per_prompt: Annotated[
        int, typer.Option("--min-per-prompt", min=0, help="Minimum votes per prompt.", metavar="N")
    ] = 0,
    annotators: Annotated[
        int | None,
        typer.Option("--annotators", min=1, help="Number of annotators. Default: those of the store.", metavar="N"),
    ] = None,
    per_sitting: Annotated[
        int, typer.Option("--per-sitting", min=1, help="Pairs of a prompt that one annotator judges.", metavar="N")
    ] = 1,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of sides and order of the tasks.", metavar="N")] = 0,
    as_json: JsonOption = False,
) -> None:
    """Choose the most informative votes, write them as tasks, and predict the accuracy after them.

    One row per vote: show the two texts, fill in outcome (left, right, tie, both_bad) and annotator_id, and read the
    file with curate ingest. For Label Studio, Toloka, MTurk, Prodigy, Argilla and Potato, the file is what they import,
    and curate ingest reads their export. The store is not changed.

    \b
    Example:
      curate plan --votes 5000 --out tasks.csv
      curate plan --votes 5000 --format label-studio --out tasks.json
    """
    from pipelines.planning import plan as job

    base = settings()
    with progress_bar() as progress:
        report = job(
            store or base.store,
            out,
            votes=votes,
            file_format=file_format,
            focus=focus,
            prompts=prompts or (),
            criterion=criterion or base.denoise.criterion,
            max_per_pair=max_per_pair,
            min_per_prompt=min_per_prompt,
            annotators=annotators,
            per_sitting=per_sitting,
            texts=base.denoise.text_comparison,
            seed=seed,
            progress=progress,
        )
    put_json(report) if as_json else print_plan(report)


def print_plan(report: PlanReport) -> None:
    """Print the predicted accuracy as a table on stdout, and a summary on stderr."""
    header = ("votes", "tau", "random", "top-1", "random", "best-of-4", "random")
    rows = [
        (ours.votes, *map(_figure, (ours.tau, other.tau, ours.top1, other.top1, ours.best_of_4, other.best_of_4)))
        for ours, other in zip(report.planned, report.random, strict=True)
    ]
    put_table(header, rows)
    say("predicted accuracy after so many votes of the plan, and after as many votes on random pairs")
    tasks = f"{plural(report.votes, 'vote')} on {plural(report.pairs, 'pair')} of {plural(report.prompts, 'prompt')}"
    say(f"{report.out}: {tasks}" + ("" if report.written else " (unchanged)"))
    for warning in report.warnings:
        say(f"note: {warning}")
    if report.labelling_config:
        say(f"{report.labelling_config}: the labelling config for the project")
    file = report.out if report.format in ("csv", "jsonl") else "EXPORT"
    say(f"next, once filled in: curate ingest {file} --store {report.store}")


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"
