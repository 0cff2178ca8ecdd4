"""``curate leaderboard``: the models over all prompts."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.options import CriterionOption, JsonOption, StoreOption, settings
from cli.output import put_frame, say


def leaderboard(
    store: StoreOption = None,
    by: Annotated[
        str | None,
        typer.Option("--by", help="One leaderboard per value of this column, such as category.", metavar="COLUMN"),
    ] = None,
    criterion: CriterionOption = None,
    as_json: JsonOption = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV on stdout.")] = False,
) -> None:
    """Rank the models over all prompts, with confidence intervals.

    Strength is in logits (log odds of winning against the mean model). Two models share a letter under classes if and
    only if they do not differ significantly. Intervals are at 95% and allow for the dependence of votes on one prompt
    and by one annotator. --by takes a column of the prompts, a field of the votes' meta, or criterion.

    \b
    Example:
      curate leaderboard
      curate leaderboard --by category --csv > leaderboard.csv
    """
    import curate

    base = settings()
    default = "" if by == "criterion" else base.denoise.criterion
    with curate.open(store or base.store) as opened:
        frame = opened.leaderboard(by=by, criterion=criterion or default)
    columns = [by, *COLUMNS] if by else COLUMNS
    put_frame(frame, as_json=as_json, as_csv=as_csv, columns=columns)
    if not as_json and not as_csv:
        say("strength in logits; 95% intervals; models that share a letter do not differ significantly")


COLUMNS = [
    "rank",
    "best_rank",
    "worst_rank",
    "model",
    "classes",
    "strength",
    "low",
    "high",
    "win_rate",
    "votes",
    "prompts",
]
