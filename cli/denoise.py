"""``curate denoise`` and ``curate rankings``: votes to rankings, and the rankings themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from cli.options import JsonOption, RunOption, StoreOption, numbers, settings, store_path
from cli.output import listed, plural, progress_bar, put_frame, put_json, say
from schemas.config import BothBad, Disconnected, RankerName

if TYPE_CHECKING:
    from schemas.reports import DenoiseReport


def denoise(
    store: StoreOption = None,
    ranker: Annotated[RankerName | None, typer.Option("--ranker", help="Whose order becomes the ranking.")] = None,
    weights: Annotated[
        list[str] | None,
        typer.Option("--weight", help="A member of the ensemble and its weight.", metavar="RANKER=NUMBER"),
    ] = None,
    prompts: Annotated[
        list[str] | None, typer.Option("--prompts", help="Only this prompt (may be given again).", metavar="ID")
    ] = None,
    min_votes: Annotated[
        int | None, typer.Option("--min-votes", help="Do not rank prompts with fewer votes.", metavar="N")
    ] = None,
    disconnected: Annotated[
        Disconnected | None,
        typer.Option("--disconnected", help="Rank a prompt that votes do not connect by components, or skip it."),
    ] = None,
    both_bad: Annotated[BothBad | None, typer.Option("--both-bad", help="Count both_bad as a tie, or drop it.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Rank each prompt's responses from its votes, by every ranker and their ensemble.

    The same votes, config and code are recognised: the finished run is used again.

    \b
    Example:
      curate denoise --ranker ensemble --weight bradley-terry=2 --weight pagerank=1
    """
    from pipelines import denoise as job
    from pipelines.settings import updated

    base = settings()
    changes = {
        "ranker": ranker,
        "weights": numbers(weights, "--weight"),
        "prompts": tuple(prompts) if prompts else None,
        "min_votes": min_votes,
        "disconnected": disconnected,
        "both_bad": both_bad,
    }
    config = updated(base.denoise, changes, where="curate denoise")
    with progress_bar() as progress:
        report = job(store or base.store, config=config, progress=progress)
    put_json(report) if as_json else tell_denoise(report)


def tell_denoise(report: DenoiseReport) -> None:
    """The report in words."""
    again = " (done before: nothing was computed)" if report.reused else ""
    say(f"run {report.run}: {report.ranker}{again}")
    if report.weights:
        say("  weights  " + ", ".join(f"{name} {weight:.2f}" for name, weight in report.weights.items()))
    say(f"  {plural(report.prompts, 'prompt')}: {listed(report.status)}")
    say(f"  {plural(report.responses, 'response')} ranked from {plural(report.votes, 'vote')}")
    ranked = sum(report.status.get(name, 0) for name in ("ranked", "disconnected"))
    if report.contradicted is not None:
        triads = plural(report.cyclic_triads, "cyclic triad")
        say(f"  {report.contradicted:.1%} of the vote weight goes against the orders; {triads}")
        say(f"  feedback arc set proved optimal for {report.proved:,} of {ranked:,} prompts (gap {report.gap:g})")
    members = set(report.weights) or {report.ranker}
    for pair, tau in report.agreement.items():
        if tau is not None and members.issuperset(pair.split(" ~ ")):
            say(f"  Kendall tau {pair}: {tau:.3f}")
    for name, count in report.unsolved.items():
        say(f"  note: {name} stopped before its tolerance on {plural(count, 'prompt')}")
    for warning in report.warnings:
        say(f"  note: {warning}")
    if ranked:
        say("next: curate rankings, or curate export train --out DIR")


def rankings(
    prompt: Annotated[str | None, typer.Argument(help="One prompt; all when absent.", metavar="[PROMPT]")] = None,
    store: StoreOption = None,
    run: RunOption = "",
    as_json: JsonOption = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV on stdout.")] = False,
) -> None:
    """Show the rankings: 1 is best; ranks are counted within each connected component of a prompt.

    \b
    Example:
      curate rankings --csv > rankings.csv
    """
    import curate
    from schemas.errors import CurateError

    path = store_path(store)
    with curate.open(path) as opened:
        run_id = opened.denoise_run(run)
        frame, newer = opened.rankings(run_id), opened.newer_votes(run_id)
    if newer:
        say(f"note: {plural(newer, 'vote')} came after run {run_id}: curate denoise takes them in")
    if prompt is not None:
        frame = frame.filter(frame["prompt_id"] == prompt)
        if frame.is_empty():
            raise CurateError(f"{path}: no ranking of prompt {prompt!r}", hint="curate rankings lists what is ranked")
    columns = ["prompt_id", "component", "rank", "response_id", "model", "score"]
    columns += [name for name in frame.columns if name.startswith("rank_")]
    put_frame(frame, as_json=as_json, as_csv=as_csv, columns=columns)
