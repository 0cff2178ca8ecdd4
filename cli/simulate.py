"""``curate simulate`` and ``curate compare``: a world whose truth is known, and how close a ranking came to it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.options import JsonOption, RunOption, StoreOption, settings, store_path
from cli.output import plural, put_json, put_table, say
from schemas.config import Design, Link, Tails

if TYPE_CHECKING:
    from schemas.reports import ComparisonReport, SimulateReport


def simulate(
    out: Annotated[Path, typer.Option("--out", help="The folder to make.", metavar="DIR")],
    prompts: Annotated[int | None, typer.Option("--prompts", help="Prompts.", metavar="N")] = None,
    models: Annotated[int | None, typer.Option("--models", help="Models; each answers all.", metavar="N")] = None,
    annotators: Annotated[int | None, typer.Option("--annotators", help="Annotators.", metavar="N")] = None,
    votes_per_pair: Annotated[
        float | None, typer.Option("--votes-per-pair", help="Expected votes on each pair.", metavar="X")
    ] = None,
    design: Annotated[
        Design | None, typer.Option("--design", help="Votes on all pairs alike, or more on promising responses.")
    ] = None,
    tails: Annotated[Tails | None, typer.Option("--tails", help="How strengths are spread.")] = None,
    link: Annotated[
        Link | None, typer.Option("--link", help="Votes see how wide a gap in strength is, or only its sign.")
    ] = None,
    error: Annotated[
        float | None,
        typer.Option("--error", help="With a fixed error: share of votes for the worse.", metavar="P"),
    ] = None,
    spammers: Annotated[
        float | None, typer.Option("--spammers", help="Share who vote without looking.", metavar="P")
    ] = None,
    ties: Annotated[float | None, typer.Option("--ties", help="Share of ties between equals.", metavar="P")] = None,
    left_bias: Annotated[
        float | None, typer.Option("--left-bias", help="Mean advantage of the left side, logits.", metavar="X")
    ] = None,
    prompts_per_video: Annotated[
        int | None, typer.Option("--prompts-per-video", help="Prompts that share a video.", metavar="N")
    ] = None,
    video: Annotated[
        bool | None, typer.Option("--video/--no-video", help="Also videos to see, and what is said of them.")
    ] = None,
    shapes: Annotated[
        int | None, typer.Option("--shapes", help="Shapes in a video: 1 is easy to see, 4 is hard.", metavar="N")
    ] = None,
    lessons: Annotated[
        int | None, typer.Option("--lessons", help="Videos with the answers told, to learn to see.", metavar="N")
    ] = None,
    seed: Annotated[int | None, typer.Option("--seed", help="Seed.", metavar="N")] = None,
    as_json: JsonOption = False,
) -> None:
    """Write a world of votes to try things on and to plan campaigns with, the truth beside it.

    \b
    Example:
      curate simulate --out world --prompts 100 --votes-per-pair 2 --spammers 0.3
      curate simulate --out cinema --prompts 400 --prompts-per-video 2 --models 8 --video
    """
    from pipelines import simulate as job
    from pipelines.settings import updated

    changes = {
        "prompts": prompts,
        "models": models,
        "annotators": annotators,
        "votes_per_pair": votes_per_pair,
        "design": design,
        "tails": tails,
        "link": link,
        "error": error,
        "spammers": spammers,
        "ties": ties,
        "left_bias": left_bias,
        "prompts_per_video": prompts_per_video,
        "shapes": shapes,
        "video": video,
        "lessons": lessons,
        "seed": seed,
    }
    report = job(out, config=updated(settings().simulate, changes, where="curate simulate"))
    put_json(report) if as_json else print_simulate(report)


def print_simulate(report: SimulateReport) -> None:
    """The report in words."""
    say(f"{report.out}: {', '.join(report.files)}")
    who = f"{plural(report.annotators, 'annotator')} ({plural(report.spammers, 'spammer')})"
    say(f"  {plural(report.votes, 'vote')} ({report.ties:.1%} ties) of {who}")
    say(f"  on {plural(report.responses, 'response')} to {plural(report.prompts, 'prompt')}")


def compare(
    truth: Annotated[Path, typer.Argument(help="CSV with prompt_id, response_id, strength.", metavar="TRUTH")],
    store: StoreOption = None,
    run: RunOption = "",
    as_json: JsonOption = False,
) -> None:
    """Say how close a run's rankings came to a known truth: Kendall tau, top-1, best-of-4.

    \b
    Example:
      curate compare world/truth.csv
    """
    from pipelines import compare as job

    report = job(store_path(store), truth, run=run)
    put_json(report) if as_json else print_compare(report)


def print_compare(report: ComparisonReport) -> None:
    """The report as a table."""
    names = sorted(report.kendall_tau, key=lambda name: (name != "final", -report.kendall_tau[name]))
    rows = [(name, report.kendall_tau[name], report.top1[name], report.best_of_4[name]) for name in names]
    put_table(("ranker", "Kendall tau", "top-1", "best-of-4"), rows)
    missing = f"; {plural(report.missing, 'prompt')} of the truth not ranked in full" if report.missing else ""
    say(f"means over {plural(report.prompts, 'prompt')}, against the truth{missing}")
