"""``curate report``: everything that is known of a run on one HTML page."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.options import JsonOption, RunOption, StoreOption, settings
from cli.output import plural, progress_bar, put_json, say

if TYPE_CHECKING:
    from schemas.reports import PageReport


def report(
    out: Annotated[Path, typer.Option("--out", help="The HTML file to write.", metavar="FILE")] = Path("report.html"),
    store: StoreOption = None,
    run: RunOption = "",
    prompts: Annotated[
        str, typer.Option("--prompts", help="Show these prompts one by one, in this order.", metavar="ID,ID,…")
    ] = "",
    show: Annotated[
        int,
        typer.Option(
            "--show",
            min=0,
            help="Without --prompts: how many, the doubtful, the certain and some by chance.",
            metavar="N",
        ),
    ] = 12,
    seed: Annotated[int, typer.Option("--seed", help="Of those by chance.", metavar="N")] = 0,
    media: Annotated[
        Path | None,
        typer.Option("--media", help="Show frames too: the folder that video paths start from.", metavar="DIR"),
    ] = None,
    gold: Annotated[
        Path | None,
        typer.Option("--gold", help="Votes whose outcome is the truth, as in curate annotators.", metavar="FILE"),
    ] = None,
    validation: Annotated[
        Path | None, typer.Option("--validation", help="What curate validate --json wrote.", metavar="FILE")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Write one self-contained HTML page on a denoise run: it opens in any browser, offline.

    The funnel, the models with intervals, who beat whom, the annotators, position bias, contradictions, calibration,
    and single prompts with their preference graphs. A figure that nobody computed says which command does.

    \b
    Example:
      curate report --out report.html --media videos
      curate validate --json > validation.json; curate report --validation validation.json --prompts p0001,p0002
    """
    from pipelines.reporting import report as job

    base = settings()
    asked = tuple(prompt.strip() for prompt in prompts.split(",") if prompt.strip())
    with progress_bar() as progress:
        done = job(
            store or base.store,
            out,
            run=run,
            prompts=asked,
            show=show,
            seed=seed,
            media=media,
            gold=gold,
            mapping=base.ingest.mapping,
            validation=validation,
            progress=progress,
        )
    put_json(done) if as_json else print_report(done)


def print_report(done: PageReport) -> None:
    """The report on the report, in words."""
    say(f"{done.out}: run {done.run}, {done.bytes / 1e6:.2f} MB")
    for prompt, reason in done.shown:
        say(f"  shows {prompt}: {reason}")
    if done.pictures:
        say(f"  {plural(done.pictures, 'prompt')} with frames")
    for video, why in done.no_picture.items():
        say(f"  note: no frames of {video}: {why}")
    for what in done.missing:
        say(f"  note: {what}")
