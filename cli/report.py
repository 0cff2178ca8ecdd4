"""``curate report``: one HTML page on a denoise run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.options import CriterionOption, JsonOption, RunOption, StoreOption, criterion_of, settings
from cli.output import plural, progress_bar, put_json, say

if TYPE_CHECKING:
    from schemas.reports import PageReport


def report(
    out: Annotated[Path, typer.Option("--out", help="The HTML file to write.", metavar="FILE")] = Path("report.html"),
    store: StoreOption = None,
    run: RunOption = "",
    criterion: CriterionOption = None,
    prompts: Annotated[
        list[str] | None,
        typer.Option("--prompt", help="A prompt that is readable without scripts; may be repeated.", metavar="ID"),
    ] = None,
    show: Annotated[
        int,
        typer.Option(
            "--show",
            min=0,
            help="Without --prompt: number of prompts, by disagreement, expected tau and at random.",
            metavar="N",
        ),
    ] = 12,
    seed: Annotated[int, typer.Option("--seed", help="Seed of the random prompts.", metavar="N")] = 0,
    media: Annotated[
        Path | None,
        typer.Option("--media", help="Show the videos; the folder that their paths are relative to.", metavar="DIR"),
    ] = None,
    title: Annotated[str, typer.Option("--title", help="Title of the page.", metavar="TEXT")] = "",
    gold: Annotated[
        Path | None,
        typer.Option("--gold", help="Votes with known outcomes, as in curate annotators.", metavar="FILE"),
    ] = None,
    validation: Annotated[
        Path | None, typer.Option("--validation-report", help="Output of curate validate --json.", metavar="FILE")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Write one self-contained HTML page on a denoise run; it works offline.

    Leaderboard with intervals, search over all prompts, each prompt with its video, ranked answers, votes and items,
    two models against each other, annotators, position bias, calibration, fragility, funnel. Without scripts it shows
    the leaderboard, the figures and some prompts. For a figure that was not computed the page names the command.

    \b
    Example:
      curate report --out report.html --media videos
      curate validate --json > validation.json; curate report --validation-report validation.json --prompt p0001
    """
    from pipelines.reporting import report as job

    base = settings()
    requested = tuple(prompt.strip() for given in prompts or () for prompt in given.split(",") if prompt.strip())
    with progress_bar() as progress:
        done = job(
            store or base.store,
            out,
            run=run,
            criterion=criterion_of(criterion, run),
            prompts=requested,
            show=show,
            seed=seed,
            media=media,
            title=title,
            gold=gold,
            mapping=base.ingest.mapping_of(str(gold or "")),
            validation=validation,
            progress=progress,
        )
    put_json(done) if as_json else print_report(done)


def print_report(done: PageReport) -> None:
    """Print what the page shows."""
    say(f"{done.out}: run {done.run}, {done.bytes / 1e6:.2f} MB")
    pictures = f", frames of {plural(done.pictures, 'video')}" if done.pictures else ""
    say(f"  {plural(done.listed, 'prompt')}{pictures}")
    for video, why in done.picture_errors.items():
        say(f"  note: no frames of {video}: {why}")
    for what in done.not_computed:
        say(f"  note: {what}")
