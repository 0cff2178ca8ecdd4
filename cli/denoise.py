"""``curate denoise`` and ``curate rankings``: votes to rankings, and the rankings themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from cli.options import (
    ControlOption,
    CriterionOption,
    EngineOption,
    JsonOption,
    PromptOption,
    RunOption,
    StoreOption,
    WorkersOption,
    criterion_of,
    engine_config,
    names,
    numbers,
    settings,
    store_path,
)
from cli.output import listed, plural, progress_bar, put_frame, put_json, say
from cli.validate import calibration_lines
from schemas.choices import BothBad, CopiedVotes, Disconnected, Effort, EqualTexts
from schemas.rankers import AUTO, ranker_names

if TYPE_CHECKING:
    from schemas.denoise import AutoReport, DenoiseReport, EqualTextsReport


RANKERS = "|".join((AUTO, *ranker_names()))


RankerOption = Annotated[
    str | None,
    typer.Option("--ranker", help="The ranker whose order becomes the ranking.", metavar=RANKERS),
]
CompareOption = Annotated[
    bool | None, typer.Option("--compare", help="Run all other rankers too, and store their scores.")
]
WeightsOption = Annotated[
    list[str] | None,
    typer.Option("--weight", help="A member of the ensemble, and its weight in it.", metavar="RANKER=NUMBER"),
]
MaxSpammerOption = Annotated[
    float | None,
    typer.Option("--max-spammer", help="Exclude annotators who are spammers with a higher probability.", metavar="P"),
]
MinVotesOption = Annotated[
    int | None, typer.Option("--min-votes", help="Do not rank prompts with fewer votes.", metavar="N")
]
DisconnectedOption = Annotated[
    Disconnected | None,
    typer.Option("--disconnected", help="Rank a prompt that votes do not connect by components, or skip it."),
]
EffortOption = Annotated[
    Effort | None,
    typer.Option("--effort", help="Limits of work, as counts: a tenth of the configured ones, these, or ten times."),
]
KeepChoiceOption = Annotated[
    bool, typer.Option("--keep-choice", help="Auto: reuse the choice of the last such run; hold no votes out.")
]
EqualTextsOption = Annotated[
    EqualTexts | None,
    typer.Option("--equal-texts", help="Rank responses of a prompt with equal texts as one, or each on its own."),
]
CopiedVotesOption = Annotated[
    CopiedVotes | None,
    typer.Option("--copied-votes", help="Exclude the copies of votes in rings of accounts, or keep them."),
]
ByBucketOption = Annotated[
    bool | None,
    typer.Option(
        "--by-bucket/--at-once",
        help="Keep the votes on one bucket of prompts in memory, or all. Default: above 20 million, by bucket.",
    ),
]


def denoise(
    store: StoreOption = None,
    ranker: RankerOption = None,
    compare: CompareOption = None,
    weights: WeightsOption = None,
    prompts: PromptOption = None,
    criterion: CriterionOption = None,
    control: ControlOption = None,
    max_spammer: MaxSpammerOption = None,
    min_votes: MinVotesOption = None,
    disconnected: DisconnectedOption = None,
    effort: EffortOption = None,
    keep_choice: KeepChoiceOption = False,
    both_bad: Annotated[BothBad | None, typer.Option("--both-bad", help="Count both_bad as a tie, or drop it.")] = None,
    equal_texts: EqualTextsOption = None,
    copied_votes: CopiedVotesOption = None,
    by_bucket: ByBucketOption = None,
    engine: EngineOption = None,
    workers: WorkersOption = None,
    as_json: JsonOption = False,
) -> None:
    """Rank the responses to each prompt from its votes, with intervals.

    With --ranker auto, the default, all rankers are compared on held-out votes, and the best one (or a weighted sum of
    several) makes the ranking. Only the rankers that this needs are run on all votes; --compare runs the others too.
    A run with the same votes, config and code is found in the store and not repeated. --control ranks responses as if
    they were alike in style: a run of its own, from which items can be drawn (export --run).

    \b
    Example:
      curate denoise
      curate denoise --ranker bradley-terry --compare
      curate denoise --ranker ensemble --weight bradley-terry=2 --weight pagerank=1
      curate denoise --control length,markdown
      curate denoise --store arena --by-bucket --workers 8
    """
    from pipelines import denoise as job
    from pipelines.settings import updated

    changes = {
        "ranker": ranker or ("ensemble" if weights else None),
        "compare": compare,
        "weights": numbers(weights, "--weight"),
        "prompts": tuple(prompts) if prompts else None,
        "criterion": criterion,
        "control": names(control) if control is not None else None,
        "max_spammer": max_spammer,
        "min_votes": min_votes,
        "disconnected": disconnected,
        "effort": effort,
        "both_bad": both_bad,
        "equal_texts": equal_texts,
        "copied_votes": copied_votes,
    }
    base = settings()
    config = updated(base.denoise, changes, where="curate denoise")
    with progress_bar() as progress:
        report = job(
            store or base.store,
            config=config,
            keep_choice=keep_choice,
            by_bucket=by_bucket,
            engine=engine_config(engine, workers),
            progress=progress,
        )
    put_json(report) if as_json else print_denoise(report)


def print_denoise(report: DenoiseReport) -> None:
    """Print the report as text on stderr."""
    reused = " (found in the store: nothing was computed)" if report.reused else ""
    chosen = "" if report.ranker == report.method else f", chosen by {report.ranker}"
    say(f"run {report.run}: {report.method}{report.by_criterion}{chosen}{reused}")
    if report.auto is not None:
        _print_auto(report.auto, report.votes, report.method)
    if report.weights:
        say("  weights  " + ", ".join(f"{name} {weight:.2f}" for name, weight in report.weights.items()))
    if report.spammers:
        say(f"  {plural(report.excluded_votes, 'vote')} of {plural(report.spammers, 'likely spammer')} excluded")
    if report.rings:
        _print_rings(report)
    if report.equal_texts is not None:
        _print_equal_texts(report.equal_texts)
    design = report.design
    if report.votes:
        association = f"association of counts and strength {design.association:+.2f}"
        say(f"  comparison design: {design.design}, {design.coverage:.0%} of the pairs have a vote; {association}")
    if design.design == "adaptive":
        say(f"  note: {design.summary}")
    say(f"  {plural(report.prompts, 'prompt')}: {listed(report.status)}")
    say(f"  {plural(report.responses, 'response')} ranked from {plural(report.votes, 'vote')}")
    ranked = sum(report.status.get(name, 0) for name in ("ranked", "disconnected"))
    if report.disagreement is not None:
        triads = plural(report.cyclic_triads, "cyclic triad")
        say(f"  disagreement {report.disagreement:.1%} of the vote weight; {triads}")
    if report.proven_optimal is not None and report.votes:
        gap = f"optimality gap {report.optimality_gap:g}"
        say(f"  feedback arc set proven optimal for {report.proven_optimal:,} of {plural(ranked, 'prompt')} ({gap})")
    if report.unproven:
        largest = ", ".join(f"{prompt} {gap:g}" for prompt, gap in list(report.unproven.items())[:5])
        say(f"  largest optimality gaps: {largest}")
    if report.strengths and report.strengths.shape != "normal":
        say(f"  {report.strengths.summary}")
    if report.perception and report.perception.status not in ("absent", "negligible"):
        say(f"  {report.perception.summary}")
    for effect in report.effects:
        per = " per doubling" if effect.covariate in ("length", "markdown") else " per unit"
        interval = f"[{effect.low:+.2f}, {effect.high:+.2f}]"
        say(f"  effect of {effect.covariate}, removed: {effect.effect:+.2f} {interval} logits{per}")
    if report.overdispersion is not None:
        say(f"  {report.overdispersion.summary}")
    if report.expected_tau is not None:
        say(f"  expected Kendall tau to the true order {report.expected_tau:.3f}, by the hierarchical ranker")
    members = set(report.weights)
    for pair, tau in report.agreement.items():
        if tau is not None and members.issuperset(pair.split(" ~ ")):
            say(f"  Kendall tau {pair}: {tau:.3f}")
    for name, count in report.not_converged.items():
        say(f"  note: {name} did not converge on {plural(count, 'prompt')}")
    for warning in report.warnings:
        say(f"  note: {warning}")
    if ranked:
        say("next: curate rankings, or curate export train --out DIR")


def _print_rings(report: DenoiseReport) -> None:
    """Print the rings of accounts on stderr."""
    rings, accounts = plural(len(report.rings), "ring"), plural(sum(map(len, report.rings)), "account")
    say(f"  {plural(report.copied_votes, 'copied vote')} excluded: {accounts} in {rings} give equal answers more often")
    say("  than independent judgments can (--copied-votes keep counts them all):")
    for ring in report.rings[:5]:
        say(f"    {', '.join(ring[:8])}{f' and {len(ring) - 8} more' if len(ring) > 8 else ''}")


def _print_equal_texts(found: EqualTextsReport) -> None:
    """Print the numbers of equal and nearly identical texts on stderr."""
    if found.groups:
        how = "share strength and rank" if found.handling == "merge" else "are ranked separately (equal_texts = keep)"
        where = f"{plural(found.groups, 'group')} of equal texts on {plural(found.prompts, 'prompt')}"
        say(f"  {where}: {plural(found.responses, 'response')} {how}")
    if found.excluded_votes:
        say(f"  {plural(found.excluded_votes, 'vote')} between equal texts excluded")
    if found.near_groups:
        groups, prompts = plural(found.near_groups, "group"), plural(found.near_prompts, "prompt")
        say(f"  {groups} of texts with the same words on {prompts}: curate status --equal-texts lists them")


def _print_auto(auto: AutoReport, votes: int, method: str) -> None:
    """Print the scores on held-out votes as tables on stderr. votes: those that the run used; method: its ranker."""
    where = f"{plural(auto.votes, 'held-out vote')} on {plural(auto.prompts, 'prompt')}"
    say(f"  {where}, {auto.folds} folds by {auto.by}" + (f", in run {auto.chosen_run}:" if auto.kept else ":"))
    if auto.kept:
        say(f"    chosen with {plural(auto.chosen_on, 'vote')}; now {votes:,}")
    say(f"    {'method':<27}log-loss  accuracy  weight in stack")
    for score in auto.methods:
        weight = f"{auto.weights[score.method]:.2f}" if score.method in auto.weights else ""
        say(f"    {score.method:<27}{score.log_loss:8.4f}  {score.accuracy:8.4f}  {weight}".rstrip())
    for line in calibration_lines(next((score for score in auto.methods if score.method == method), auto.methods[0])):
        say(f"    {line}")


def rankings(
    prompt: Annotated[str | None, typer.Argument(help="One prompt; all when absent.", metavar="[PROMPT]")] = None,
    store: StoreOption = None,
    run: RunOption = "",
    criterion: CriterionOption = None,
    as_json: JsonOption = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV on stdout.")] = False,
) -> None:
    """Show the rankings: 1 is best; ranks are counted within each connected component of a prompt.

    best_rank and worst_rank are the ends of a rank's 90% interval. --csv and --json have the ranks of every ranker that
    the run used.

    \b
    Example:
      curate rankings --csv > rankings.csv
    """
    import curate
    from schemas.errors import MissingError

    path, by = store_path(store), criterion_of(criterion, run)
    with curate.open(path) as opened:
        run_id = opened.denoise_run(run, criterion=by)
        frame, newer = opened.rankings(run_id), opened.newer_votes(run_id)
    if newer:
        say(f"note: {plural(newer, 'vote')} came after run {run_id}: curate denoise includes them")
    if prompt is not None:
        frame = frame.filter(frame["prompt_id"] == prompt)
        if frame.is_empty():
            raise MissingError(f"{path}: no ranking of prompt {prompt!r}", hint="curate rankings lists what is ranked")
    columns = ["prompt_id", "component", "rank", "best_rank", "worst_rank", "response_id", "model", "score"]
    put_frame(frame, as_json=as_json, as_csv=as_csv, columns=columns)
