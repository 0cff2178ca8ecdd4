"""Which charts stand where: the columns of the leaderboard, the maps, the column of ranks, the reliability diagram."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from markupsafe import Markup

from curate.report.calibration import reliability_diagram
from curate.report.heatmap import heatmap, legend
from curate.report.intervals import axis, interval
from curate.report.models import Models
from curate.report.prompts import ShownResponse
from curate.report.sides import Sides
from curate.report.svg import signed, ticks
from curate.uncertainty.intervals import LEVEL
from schemas.reports import DenoiseReport
from schemas.validation import ValidationReport

HEAT = 60
"""Models that a map shows at most, the best first: a map of more has cells that nobody can read."""

Float = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Leaderboard:
    """The drawn columns of the leaderboard, a chart for each model."""

    by_strength: bool = False
    strength_axis: Markup | None = None
    rank_axis: Markup | None = None
    strengths: tuple[Markup, ...] = ()
    ranks: tuple[Markup, ...] = ()


def leaderboard(models: Models) -> Leaderboard:
    """Empty columns where no prompt is ranked in full: then there are no strengths."""
    known = [row.strength for row in models.rows if row.strength]
    if not known:
        return Leaderboard()
    domain = _domain([e.low for e in known] + [e.high for e in known])
    places = (1.0, float(max(len(models.rows), 2)))
    strengths = tuple(
        interval(row.strength.value, row.strength.low, row.strength.high, domain=domain, mark=0.0)
        if row.strength
        else Markup()
        for row in models.rows
    )
    ranks = tuple(
        interval(row.rank, row.best_rank, row.worst_rank, domain=places)
        if row.best_rank is not None and row.worst_rank is not None
        else Markup()
        for row in models.rows
    )
    marks = [(value, signed(value, 1)) for value in ticks(*domain, 4)]
    return Leaderboard(
        True, axis(marks, domain=domain), axis(_places(len(models.rows)), domain=places), strengths, ranks
    )


def maps(models: Models) -> dict[str, Any]:
    """Both heatmaps with their legends and tables, by the names that the templates know."""
    names = [row.model for row in models.rows[:HEAT]]
    rates, counts = models.win_rate[:HEAT, :HEAT], models.comparisons[:HEAT, :HEAT]
    most = float(np.nan_to_num(counts).max(initial=0))

    def win(i: int, j: int) -> str:
        return f"{names[i]} over {names[j]}: {rates[i, j]:.1%} of {counts[i, j]:,g}"

    def met(i: int, j: int) -> str:
        return f"{names[i]} and {names[j]}: {counts[i, j]:,g}"

    what = f"{len(names)} models against each other"
    return {
        "heat_names": names,
        "left_models": len(models.rows) - len(names),
        "win_legend": legend("diverging", "0% won", "50%", "100% won", label="Colours of win rates, 0 to 100 percent"),
        "count_legend": legend("sequential", "0", "", f"{most:,g}", label=f"Colours of comparisons, 0 to {most:g}"),
        "win_heatmap": heatmap(
            names, rates, scale="diverging", cell=lambda v: f"{100 * v:.0f}", title=win, label=f"Win rates of {what}"
        ),
        "count_heatmap": heatmap(
            names, counts, scale="sequential", cell=_compact, title=met, label=f"Comparisons of {what}"
        ),
        "win_table": _table(rates, lambda v: f"{100 * v:.1f}"),
        "count_table": _table(counts, lambda v: f"{v:,g}"),
    }


def rank_column(responses: Sequence[ShownResponse]) -> tuple[Markup | None, tuple[Markup, ...]]:
    """The axis and a chart for each response of a prompt: its rank with its interval; None where none is ranked."""
    ranked = [response for response in responses if response.rank is not None]
    if not ranked:
        return None, ()
    last = max(max(response.worst_rank or 1 for response in ranked), 2)
    domain = (1.0, float(last))
    charts = tuple(
        Markup() if r.rank is None else interval(r.rank, r.best_rank or r.rank, r.worst_rank or r.rank, domain=domain)
        for r in responses
    )
    return axis(_places(last), domain=domain), charts


def side_part(sides: Sides) -> dict[str, Any]:
    """The share of left on a scale around one half, and in words what its interval says."""
    share = sides.share
    if share is None:
        return {}
    reach = max(0.1, abs(share.low - 0.5), abs(share.high - 0.5)) * 1.1
    domain = (max(0.5 - reach, 0.0), min(0.5 + reach, 1.0))
    if not share.known:
        words = "One person's votes do not say how others vote."
    elif share.low > 0.5:
        words = "People lean to the left: show each pair both ways round, or let a model of annotators account for it."
    elif share.high < 0.5:
        words = "People lean to the right: show each pair both ways round, or let a model of annotators account for it."
    else:
        words = "That does not tell it from one half."
    return {
        "side_words": words,
        "side_axis": axis([(value, f"{value:.0%}") for value in ticks(*domain, 2)], domain=domain),
        "side_interval": interval(share.value, share.low, share.high, domain=domain, mark=0.5),
    }


def calibration_part(run: DenoiseReport | None, validation: ValidationReport | None) -> dict[str, Any]:
    """The held-out votes by method: of the validation where one was given, else of the run's own choice of a method."""
    from scipy.special import ndtri, stdtrit

    auto = run.auto if run else None
    source = validation or auto
    methods = source.methods if source else ()
    wanted = run.method if run else ""
    shown = next((m for m in methods if m.method == wanted and m.calibration), None)
    shown = shown or next((m for m in methods if m.calibration), None)
    upper = (1 + LEVEL) / 2
    errors = float(stdtrit(validation.clusters - 1, upper) if validation and validation.clusters > 1 else ndtri(upper))
    by = (validation or auto).by if validation or auto else ""  # type: ignore[union-attr]
    clusters = validation.clustered_by if validation else "annotator" if by == "annotator" else "prompt"
    bins = shown.calibration if shown else ()
    return {
        "methods": methods,
        "scored": validation.scored if validation else auto.votes if auto else 0,
        "held_by": by,
        "folds": source.folds if source else 0,
        "held_words": "" if validation else "The run chose its method by them.",
        "clustered_by": clusters,
        "bins": bins,
        "diagram_method": shown.method if shown else "",
        "diagram": reliability_diagram(bins, errors=errors, label=f"Reliability diagram of {shown.method}")
        if shown
        else None,
        "reliability": validation.reliability if validation else None,
    }


def _domain(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(*values, 0.0), max(*values, 0.0)
    return (low, high) if high > low else (low - 1, high + 1)


def _places(last: int) -> list[tuple[float, str]]:
    """Ranks to mark: the first, the last, and round ones that are not too near to either."""
    inner = [int(v) for v in ticks(1, last, 5) if v == int(v) and last / 10 < v - 1 and v < last - last / 10]
    return [(float(v), str(v)) for v in dict.fromkeys([1, *inner, last])]


def _compact(value: float) -> str:
    """At most four characters."""
    if value >= 9999.5:
        return f"{value / 1000:.0f}k"
    return f"{value:.0f}" if value >= 100 or value == int(value) else f"{value:.3g}"


def _table(values: Float, text: Any) -> list[list[str]]:
    return [["" if np.isnan(value) else text(value) for value in row] for row in values]
