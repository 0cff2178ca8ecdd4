"""``curate denoise`` and ``curate rankings``: votes to rankings, and the rankings themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from cli.options import JsonOption, RunOption, StoreOption, numbers, settings, store_path
from cli.output import listed, plural, progress_bar, put_frame, put_json, say
from schemas.config import BothBad, Disconnected, RankerChoice

if TYPE_CHECKING:
    from schemas.reports import AutoReport, DenoiseReport


def denoise(
    store: StoreOption = None,
    ranker: Annotated[
        RankerChoice | None,
        typer.Option("--ranker", help="Whose order becomes the ranking."),
    ] = None,
    weights: Annotated[
        list[str] | None,
        typer.Option("--weight", help="A member of the ensemble, and its weight in it.", metavar="RANKER=NUMBER"),
    ] = None,
    prompts: Annotated[
        list[str] | None, typer.Option("--prompts", help="Only this prompt (may be given again).", metavar="ID")
    ] = None,
    max_spammer: Annotated[
        float | None,
        typer.Option("--max-spammer", help="Leave out annotators likelier to be spammers than this.", metavar="P"),
    ] = None,
    min_votes: Annotated[
        int | None, typer.Option("--min-votes", help="Do not rank prompts with fewer votes.", metavar="N")
    ] = None,
    disconnected: Annotated[
        Disconnected | None,
        typer.Option("--disconnected", help="Rank a prompt that votes do not connect by components, or skip it."),
    ] = None,
    keep_choice: Annotated[
        bool, typer.Option("--keep-choice", help="Auto: keep the method of the last such run; hold nothing out anew.")
    ] = False,
    both_bad: Annotated[BothBad | None, typer.Option("--both-bad", help="Count both_bad as a tie, or drop it.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Rank each prompt's responses from its votes, by every ranker, and say how certain the order is.

    With --ranker auto, the default, votes are held out, every ranker is asked about them, and the one that they speak
    for (or a weighted sum of several) makes the ranking. The same votes, config and code are recognised: the finished
    run is used again.

    \b
    Example:
      curate denoise
      curate denoise --ranker ensemble --weight bradley-terry=2 --weight pagerank=1
    """
    from pipelines import denoise as job
    from pipelines.settings import updated

    base = settings()
    changes = {
        "ranker": ranker or ("ensemble" if weights else None),
        "weights": numbers(weights, "--weight"),
        "max_spammer": max_spammer,
        "prompts": tuple(prompts) if prompts else None,
        "min_votes": min_votes,
        "disconnected": disconnected,
        "both_bad": both_bad,
    }
    config = updated(base.denoise, changes, where="curate denoise")
    with progress_bar() as progress:
        report = job(store or base.store, config=config, keep_choice=keep_choice, progress=progress)
    put_json(report) if as_json else tell_denoise(report)


def tell_denoise(report: DenoiseReport) -> None:
    """The report in words."""
    again = " (done before: nothing was computed)" if report.reused else ""
    asked = "" if report.ranker == report.method else f", chosen by {report.ranker}"
    say(f"run {report.run}: {report.method}{asked}{again}")
    if report.auto is not None:
        _tell_auto(report.auto, report.votes)
    if report.weights:
        say("  weights  " + ", ".join(f"{name} {weight:.2f}" for name, weight in report.weights.items()))
    if report.spammers:
        who = plural(report.spammers, "likely spammer")
        say(f"  {plural(report.left_out, 'vote')} of {who} left out")
    design = report.design
    if report.votes:
        counts = f"counts and strength {design.association:+.2f}"
        say(f"  votes: {design.design}, {design.coverage:.0%} of the pairs; {counts}")
    if design.design == "adaptive":
        say(f"  note: {design.words}")
    say(f"  {plural(report.prompts, 'prompt')}: {listed(report.status)}")
    say(f"  {plural(report.responses, 'response')} ranked from {plural(report.votes, 'vote')}")
    ranked = sum(report.status.get(name, 0) for name in ("ranked", "disconnected"))
    if report.contradicted is not None:
        triads = plural(report.cyclic_triads, "cyclic triad")
        say(f"  {report.contradicted:.1%} of the vote weight goes against the orders; {triads}")
        say(f"  feedback arc set proved optimal for {report.proved:,} of {ranked:,} prompts (gap {report.gap:g})")
    if report.strengths and report.strengths.shape != "normal":
        say(f"  {report.strengths.words}")
    if report.expected_tau is not None:
        say(f"  expected Kendall tau to the truth {report.expected_tau:.3f}, by the joint model")
    members = set(report.weights)
    for pair, tau in report.agreement.items():
        if tau is not None and members.issuperset(pair.split(" ~ ")):
            say(f"  Kendall tau {pair}: {tau:.3f}")
    for name, count in report.unsolved.items():
        say(f"  note: {name} stopped before its tolerance on {plural(count, 'prompt')}")
    for warning in report.warnings:
        say(f"  note: {warning}")
    if ranked:
        say("next: curate rankings, or curate export train --out DIR")


def _tell_auto(auto: AutoReport, votes: int) -> None:
    """What the held-out votes said, as a table on stderr. votes: that the run used."""
    where = f"{plural(auto.votes, 'held-out vote')} on {plural(auto.prompts, 'prompt')}"
    say(f"  {where}, {auto.folds} folds by {auto.by}" + (f", in run {auto.chosen_run}:" if auto.kept else ":"))
    if auto.kept:
        say(f"    chosen when there were {plural(auto.chosen_on, 'vote')}; {votes:,} now")
    say(f"    {'method':<27}log-loss  accuracy  weight in stack")
    for score in auto.methods:
        weight = f"{auto.weights[score.method]:.2f}" if score.method in auto.weights else ""
        say(f"    {score.method:<27}{score.log_loss:8.4f}  {score.accuracy:8.4f}  {weight}".rstrip())


def rankings(
    prompt: Annotated[str | None, typer.Argument(help="One prompt; all when absent.", metavar="[PROMPT]")] = None,
    store: StoreOption = None,
    run: RunOption = "",
    as_json: JsonOption = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV on stdout.")] = False,
) -> None:
    """Show the rankings: 1 is best; ranks are counted within each connected component of a prompt.

    best_rank and worst_rank are the ends of a rank's 90% interval. --csv and --json have every ranker's ranks too.

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
    columns = ["prompt_id", "component", "rank", "best_rank", "worst_rank", "response_id", "model", "score"]
    put_frame(frame, as_json=as_json, as_csv=as_csv, columns=columns)
