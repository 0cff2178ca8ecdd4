"""``curate validate``: which method foretells best what annotators say, and how reliable its orders are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from cli.options import JsonOption, StoreOption, settings
from cli.output import plural, progress_bar, put, put_json, put_table, say
from schemas.validation import HoldOut

if TYPE_CHECKING:
    from schemas.validation import Reliability, ValidationReport


def validate(
    store: StoreOption = None,
    folds: Annotated[int, typer.Option("--folds", min=2, help="Parts to hold out, one after another.")] = 5,
    by: Annotated[
        HoldOut, typer.Option("--by", help="Hold out single votes, whole pairs of a prompt, or whole annotators.")
    ] = "vote",
    splits: Annotated[
        int, typer.Option("--splits", min=0, help="Random halvings of the votes for reliability; 0: none.")
    ] = 10,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the draw of the folds and halves.")] = 0,
    as_json: JsonOption = False,
) -> None:
    """Hold out votes, fit every method on the rest, and say which one foretells them best.

    Lower log-loss is better (0.693 knows nothing). A second table says how alike two halves of the votes order the
    responses, by each method that is quick. Nothing is written to the store.

    \b
    Example:
      curate validate --by annotator --folds 10
    """
    from pipelines.validation import validate as job

    base = settings()
    with progress_bar() as progress:
        report = job(
            store or base.store, config=base.denoise, folds=folds, by=by, splits=splits, seed=seed, progress=progress
        )
    put_json(report) if as_json else tell_validate(report)


def tell_validate(report: ValidationReport) -> None:
    """The report as a table, and what it says in words."""
    header = ("method", "log-loss", "±", "behind", "±", "accuracy", "±", "ECE")
    put_table(header, [tuple(map(_figure, row)) for row in _rows(report)])
    left_out = f"{plural(report.ties, 'tie')} and {report.not_ranked:,} on responses not ranked without them left out"
    say(f"{plural(report.scored, 'decisive vote')} held out by {report.by} in {report.folds} folds; {left_out}")
    say(f"± is a standard error over {plural(report.clusters, report.clustered_by)}")
    best, others = report.methods[0].method, report.methods[1:]
    close = [score.method for score in others if not score.told_apart]
    say(f"these votes speak for {best}" + (f"; not told apart from it: {', '.join(close)}" if close else ""))
    if report.reliability:
        tell_reliability(report.reliability)


def tell_reliability(found: Reliability) -> None:
    """The agreement of halves as a table, and how to read it."""
    if not found.methods:
        say("no reliability: there is no prompt that both halves of its votes rank")
        return
    header = ("method", "tau", "±", "rho", "±", "rho of all", "±", "tau to BT", "±")
    put("")
    put_table(header, [tuple(map(_figure, score.model_dump().values())) for score in found.methods])
    shared = "no annotator is in both" if found.by == "annotator" else "annotators are in both"
    say(f"orders of two halves of the votes ({shared}), {plural(found.splits, 'split')}; rho of all by Spearman-Brown")
    say(f"± is a standard error over {plural(found.prompts, 'prompt')}")
    say("halves that agree are reliable, not right: a method that pools prompts agrees with itself the more, and its")
    say("rho of all is too high; to compare methods read tau to BT, which is with Bradley-Terry of the other half")


def _rows(report: ValidationReport) -> list[tuple[str | float | None, ...]]:
    """A row for each method, best first, in the order of the table's header."""
    return [
        (
            score.method,
            score.log_loss,
            score.log_loss_se,
            score.behind,
            score.behind_se,
            score.accuracy,
            score.accuracy_se,
            score.calibration_error,
        )
        for score in report.methods
    ]


def _figure(value: str | float | None) -> str:
    """Four decimals, so that figures stand below each other."""
    return value if isinstance(value, str) else "" if value is None else f"{value:.4f}"
