"""The charts of each section of the page, with their tables and legends."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from markupsafe import Markup

from curate.evaluation.leaderboard import Leaderboard
from curate.report.charts import axis, heatmap, histogram, interval, legend, reliability_diagram
from curate.report.figures import Disagreement, Sides
from curate.report.prompts import ShownResponse
from curate.report.svg import signed, ticks
from curate.uncertainty.intervals import LEVEL
from schemas.reports import DenoiseReport
from schemas.validation import ValidationReport

MAX_MODELS = 60
"""Largest number of models in a heatmap, best first."""

Float = npt.NDArray[np.float64]


def leaderboard_panel(models: Leaderboard) -> dict[str, Any]:
    """Return the rows of the leaderboard with their charts, as variables of the template."""
    rows = models.frame.to_dicts()
    domain = _domain([row["low"] for row in rows] + [row["high"] for row in rows])
    ranks_domain = (1.0, float(max(len(rows), 2)))
    for row in rows:
        row["strength_chart"] = interval(row["strength"], row["low"], row["high"], domain=domain, mark=0.0)
        row["rank_chart"] = interval(row["rank"], row["best_rank"], row["worst_rank"], domain=ranks_domain)
    return {
        "model_rows": rows,
        "controlled": " and ".join(models.effects["covariate"][1:]),
        "effects": models.effects.to_dicts(),
        "model_clusters": " and by ".join(models.clustered_by),
        "components": models.frame["component"].n_unique(),
        "strength_axis": axis([(value, signed(value, 1)) for value in ticks(*domain, 4)], domain=domain),
        "rank_axis": axis(_rank_marks(len(rows)), domain=ranks_domain),
    }


def heatmap_panel(models: Leaderboard) -> dict[str, Any]:
    """Return both heatmaps with their legends and tables, as variables of the template."""
    names = models.frame["model"].to_list()[:MAX_MODELS]
    wins = models.wins[:MAX_MODELS, :MAX_MODELS]
    counts = wins + wins.T
    rates = np.where(counts > 0, wins / np.where(counts > 0, counts, 1), np.nan)
    np.fill_diagonal(counts, np.nan)
    most = float(np.nan_to_num(counts).max(initial=0))

    def win(i: int, j: int) -> str:
        return f"{names[i]} over {names[j]}: {rates[i, j]:.1%} of {counts[i, j]:,g}"

    def compared(i: int, j: int) -> str:
        return f"{names[i]} and {names[j]}: {counts[i, j]:,g}"

    what = f"{len(names)} models against each other"
    return {
        "heat_names": names,
        "hidden_models": len(models.frame) - len(names),
        "win_legend": legend("diverging", "0% won", "50%", "100% won", label="Colours of win rates, 0 to 100 percent"),
        "count_legend": legend("sequential", "0", "", f"{most:,g}", label=f"Colours of comparisons, 0 to {most:g}"),
        "win_heatmap": heatmap(
            names, rates, scale="diverging", cell=lambda v: f"{100 * v:.0f}", title=win, label=f"Win rates of {what}"
        ),
        "count_heatmap": heatmap(
            names, counts, scale="sequential", cell=_compact, title=compared, label=f"Comparisons of {what}"
        ),
        "win_table": _table(rates, lambda v: f"{100 * v:.1f}"),
        "count_table": _table(counts, lambda v: f"{v:,g}"),
    }


def rank_column(responses: Sequence[ShownResponse]) -> tuple[Markup | None, tuple[Markup, ...]]:
    """Return the axis and an interval chart of the rank of each response; None without ranked responses."""
    ranked = [response for response in responses if response.rank is not None]
    if not ranked:
        return None, ()
    last = max(max(response.worst_rank or 1 for response in ranked), 2)
    domain = (1.0, float(last))
    charts = tuple(
        Markup() if r.rank is None else interval(r.rank, r.best_rank or r.rank, r.worst_rank or r.rank, domain=domain)
        for r in responses
    )
    return axis(_rank_marks(last), domain=domain), charts


def sides_panel(sides: Sides) -> dict[str, Any]:
    """Return the chart of the share of left and the conclusion from its interval."""
    share = sides.share
    if share is None:
        return {}
    reach = max(0.1, abs(share.low - 0.5), abs(share.high - 0.5)) * 1.1
    domain = (max(0.5 - reach, 0.0), min(0.5 + reach, 1.0))
    if not share.known:
        conclusion = "Votes of one annotator do not show how others vote."
    elif sides.significant and share.value > 0.5:
        conclusion = (
            "Annotators prefer the left side. Show each pair in both orders, or use a ranker that models side bias."
        )
    elif sides.significant:
        conclusion = (
            "Annotators prefer the right side. Show each pair in both orders, or use a ranker that models side bias."
        )
    else:
        conclusion = "The share does not differ significantly from one half."
    return {
        "side_conclusion": conclusion,
        "side_axis": axis([(value, f"{value:.0%}") for value in ticks(*domain, 2)], domain=domain),
        "side_interval": interval(share.value, share.low, share.high, domain=domain, mark=0.5),
    }


def calibration_panel(run: DenoiseReport | None, validation: ValidationReport | None) -> dict[str, Any]:
    """Return the scores on held-out votes: of the validation if given, else of the run's own selection."""
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
        "held_out_by": by,
        "folds": source.folds if source else 0,
        "held_out_by_run": not validation,
        "clustered_by": clusters,
        "bins": bins,
        "diagram_method": shown.method if shown else "",
        "diagram": reliability_diagram(bins, errors=errors, label=f"Reliability diagram of {shown.method}")
        if shown
        else None,
        "reliability": validation.reliability if validation else None,
        "overdispersion": (run.overdispersion if run else None) or (validation.overdispersion if validation else None),
    }


def disagreement_panel(disagreement: Disagreement) -> dict[str, Any]:
    """Return the histogram of the disagreement of prompts."""
    label = f"Histogram of disagreement over {len(disagreement.shares)} prompts"
    axis_label = "share of the vote weight that disagrees with the order"
    return {"disagreement_chart": histogram(disagreement.shares, axis=axis_label, label=label)}


def _domain(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(*values, 0.0), max(*values, 0.0)
    return (low, high) if high > low else (low - 1, high + 1)


def _rank_marks(last: int) -> list[tuple[float, str]]:
    """Ranks with tick marks: the first, the last, and round ones at some distance from both."""
    inner = [int(v) for v in ticks(1, last, 5) if v == int(v) and last / 10 < v - 1 and v < last - last / 10]
    return [(float(v), str(v)) for v in dict.fromkeys([1, *inner, last])]


def _compact(value: float) -> str:
    """A number of at most four characters."""
    if value >= 9999.5:
        return f"{value / 1000:.0f}k"
    return f"{value:.0f}" if value >= 100 or value == int(value) else f"{value:.3g}"


def _table(values: Float, text: Any) -> list[list[str]]:
    return [["" if np.isnan(value) else text(value) for value in row] for row in values]
