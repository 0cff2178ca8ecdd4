"""``curate validate``: scores of every method on held-out votes, and the reliability of its orders."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from cli.options import CriterionOption, EngineOption, JsonOption, StoreOption, WorkersOption, engine_config, settings
from cli.output import plural, progress_bar, put, put_json, put_table, say
from schemas.choices import HoldOut

if TYPE_CHECKING:
    from schemas.validation import MethodScore, Reliability, ValidationReport


def validate(
    store: StoreOption = None,
    folds: Annotated[int, typer.Option("--folds", min=2, help="Parts, each held out once.")] = 5,
    by: Annotated[
        HoldOut, typer.Option("--hold-out", help="Hold out single votes, whole pairs of a prompt, or whole annotators.")
    ] = "vote",
    splits: Annotated[
        int, typer.Option("--splits", min=0, help="Random halvings of the votes for reliability; 0: none.")
    ] = 10,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the folds and splits.")] = 0,
    criterion: CriterionOption = None,
    engine: EngineOption = None,
    workers: WorkersOption = None,
    as_json: JsonOption = False,
) -> None:
    """Hold out votes, fit every method to the rest, and compare how well each predicts the held-out votes.

    Lower log-loss is better (0.693: no information). A second table gives the agreement of the orders of two halves of
    the votes, for each method that is fast. The store is only read.

    \b
    Example:
      curate validate --hold-out annotator --folds 10
    """
    from pipelines.settings import updated
    from pipelines.validation import validate as job

    base = settings()
    config = updated(base.denoise, {"criterion": criterion}, where="curate validate")
    with progress_bar() as progress:
        report = job(
            store or base.store,
            config=config,
            folds=folds,
            by=by,
            splits=splits,
            seed=seed,
            engine=engine_config(engine, workers),
            progress=progress,
        )
    put_json(report) if as_json else print_validation(report)


def print_validation(report: ValidationReport) -> None:
    """Print the report as a table on stdout, and a summary on stderr."""
    header = ("method", "log-loss", "±", "difference", "±", "accuracy", "±", "ECE")
    rows = [
        (
            score.method,
            score.log_loss,
            score.log_loss_se,
            score.log_loss_difference,
            score.log_loss_difference_se,
            score.accuracy,
            score.accuracy_se,
            score.calibration_error,
        )
        for score in report.methods
    ]
    put_table(header, [tuple(map(_figure, row)) for row in rows])
    excluded = f"excluded: {plural(report.ties, 'tie')}, {plural(report.not_ranked, 'vote')} on responses not ranked"
    say(f"{plural(report.scored, 'decisive vote')} held out by {report.by} in {report.folds} folds; {excluded}")
    say(f"± is a standard error over {plural(report.clusters, report.clustered_by)}")
    best, others = report.methods[0].method, report.methods[1:]
    close = [score.method for score in others if not score.significant]
    say(f"best by held-out log-loss: {best}" + (f" (no significant difference: {', '.join(close)})" if close else ""))
    for line in calibration_lines(report.methods[0]):
        say(line)
    if report.overdispersion:
        say(report.overdispersion.summary)
    if report.reliability:
        print_reliability(report.reliability)


def calibration_lines(score: MethodScore) -> list[str]:
    """Return the lines of a table: predicted probabilities of held-out votes against observed frequencies."""
    if not score.levels:
        return []
    rows = [
        f"{level.probability:8.1%}  {level.observed:8.1%}  "
        + ("" if level.observed_se is None else f"{level.observed_se:6.1%}")
        + f"  {level.votes:,}"
        for level in score.levels
    ]
    return [f"calibration of {score.method} on held-out votes:", "predicted  observed       ±  votes", *rows]


def print_reliability(found: Reliability) -> None:
    """Print the agreement of halves as a table on stdout, and how to read it on stderr."""
    if not found.methods:
        say("no reliability: there is no prompt that both halves of its votes rank")
        return
    header = ("method", "tau", "±", "rho", "±", "rho of all", "±", "tau to BT", "±")
    put("")
    put_table(header, [tuple(map(_figure, score.model_dump().values())) for score in found.methods])
    shared = "no annotator is in both" if found.by == "annotator" else "annotators are in both"
    say(f"orders of two halves of the votes ({shared}), {plural(found.splits, 'split')}; rho of all by Spearman-Brown")
    say(f"± is a standard error over {plural(found.prompts, 'prompt')}")
    say("agreement of halves is no accuracy: it is inflated for methods that pool prompts, and so is their rho of all;")
    say("to compare methods, use tau to BT, the agreement with Bradley-Terry of the other half")


def _figure(value: str | float | None) -> str:
    """Four decimals, so that figures align."""
    return value if isinstance(value, str) else "" if value is None else f"{value:.4f}"
