"""``curate leaderboard``: the models over all prompts."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.options import ControlOption, CriterionOption, JsonOption, StoreOption, names, settings
from cli.output import put_frame, say


def leaderboard(
    store: StoreOption = None,
    by: Annotated[
        str | None,
        typer.Option("--by", help="One leaderboard per value of this column, such as category.", metavar="COLUMN"),
    ] = None,
    criterion: CriterionOption = None,
    control: ControlOption = None,
    effects: Annotated[bool, typer.Option("--effects", help="Print the effects of position and --control.")] = False,
    as_json: JsonOption = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV on stdout.")] = False,
) -> None:
    """Rank the models over all prompts, with confidence intervals.

    Strength is in logits (log odds of winning against the mean model). Class 1 holds the models that do not differ
    significantly from the best, class 2 the next ones likewise. Intervals are at 90% and allow for the dependence of
    votes on one video and by one annotator. --by takes a column of the prompts, a field of the votes' meta, or
    criterion.
    --control compares models as if their responses were equally long (log odds per doubling), or alike in other
    properties, and shows the uncontrolled ranks and strengths as well. --effects prints what these properties do.

    \b
    Example:
      curate leaderboard
      curate leaderboard --by category --csv > leaderboard.csv
      curate leaderboard --control length,markdown
    """
    import curate

    base = settings()
    default = "" if by == "criterion" else base.denoise.criterion
    chosen, controlled = criterion or default, base.denoise.control if control is None else names(control)
    with curate.open(store or base.store) as opened:
        if effects:
            put_frame(opened.effects(criterion=chosen, control=controlled), as_json=as_json, as_csv=as_csv)
            return
        frame = opened.leaderboard(by=by, criterion=chosen, control=controlled)
    further = [name for name in frame.columns if name.endswith("_uncontrolled")]
    further += ["acceptable"] if frame["acceptable"].is_not_null().any() else []
    apart = frame["component"].max() not in (0, None)
    columns = [*([by] if by else []), *(["component"] if apart else []), *COLUMNS, *further]
    put_frame(frame, as_json=as_json, as_csv=as_csv, columns=columns)
    if not as_json and not as_csv:
        say("strength in logits; low and high: 90% interval; best and worst rank: 95% interval of all models at once")
        say("models of one class do not differ significantly from its first")
        if apart:
            say("no votes connect models of different components: compare ranks and strengths only within one")


COLUMNS = [
    "rank",
    "best_rank",
    "worst_rank",
    "model",
    "class",
    "strength",
    "low",
    "high",
    "win_rate",
    "votes",
    "prompts",
]
