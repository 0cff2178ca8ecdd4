"""``curate validate``: which method foretells best what this store's annotators say."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from cli.options import JsonOption, StoreOption, settings
from cli.output import plural, progress_bar, put_json, put_table, say
from schemas.validation import HoldOut

if TYPE_CHECKING:
    from schemas.validation import ValidationReport


def validate(
    store: StoreOption = None,
    folds: Annotated[int, typer.Option("--folds", min=2, help="Parts to hold out, one after another.")] = 5,
    by: Annotated[
        HoldOut, typer.Option("--by", help="Hold out single votes, whole pairs of a prompt, or whole annotators.")
    ] = "vote",
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the draw of the folds.")] = 0,
    as_json: JsonOption = False,
) -> None:
    """Hold out votes, fit every method on the rest, and say which one foretells them best.

    Lower log-loss is better (0.693 knows nothing). Nothing is written to the store.

    \b
    Example:
      curate validate --by annotator --folds 10
    """
    from pipelines.validation import validate as job

    base = settings()
    with progress_bar() as progress:
        report = job(store or base.store, config=base.denoise, folds=folds, by=by, seed=seed, progress=progress)
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
