"""The charts of each section of the page, with their tables and legends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from curate.array_types import Float
from curate.evaluation.leaderboard import Leaderboard
from curate.report.charts import axis, histogram, interval, reliability_diagram
from curate.report.figures import Disagreement, Sides
from curate.report.svg import signed, ticks
from curate.uncertainty.intervals import LEVEL
from schemas.denoise import DenoiseReport
from schemas.validation import CalibrationBin, MethodScore, ValidationReport

MAX_MODELS = 60
"""Largest number of models in the table of win rates, best first."""
COLOURS = 11
"""Number of colours of win rates, with 50% in the middle: classes d0 … d10 of the style sheet."""


def leaderboard_panel(models: Leaderboard) -> dict[str, Any]:
    """Return the rows of the leaderboard with their charts, as variables of the template."""
    rows = models.frame.to_dicts()
    domain = _domain([row["low"] for row in rows] + [row["high"] for row in rows])
    before = None
    for row in rows:
        row["strength_chart"] = interval(row["strength"], row["low"], row["high"], domain=domain, mark=0.0)
        row["first_of_class"] = before not in (None, (row["component"], row["class"]))
        before = (row["component"], row["class"])
    return {
        "model_rows": rows,
        "controlled": " and ".join(models.effects["covariate"][1:]),
        "effects": models.effects.to_dicts(),
        "acceptable": models.frame["acceptable"].null_count() < len(rows),
        "model_clusters": " and by ".join(models.clustered_by),
        "components": models.frame["component"].n_unique(),
        "strength_axis": axis([(value, signed(value, 1)) for value in ticks(*domain, 5)], domain=domain),
    }


def win_rates(models: Leaderboard) -> Float:
    """(M, M) share of vote weight that the row won against the column; NaN without votes. The best MAX_MODELS."""
    wins = models.wins[:MAX_MODELS, :MAX_MODELS]
    counts = wins + wins.T
    np.fill_diagonal(counts, 0)
    return np.where(counts > 0, wins / np.maximum(counts, 1e-300), np.nan)


def matrix_panel(models: Leaderboard) -> dict[str, Any]:
    """Return the table of win rates, a (colour, text, title) per cell, and on how many votes it rests."""
    names = models.frame["model"].to_list()[:MAX_MODELS]
    wins = models.wins[:MAX_MODELS, :MAX_MODELS]
    counts, rates = wins + wins.T, win_rates(models)

    def cell(i: int, j: int) -> tuple[int | None, str, str]:
        rate = rates[i, j]
        if np.isnan(rate):
            return None, "", ""
        title = f"{names[i]} over {names[j]}: {rate:.1%} of {counts[i, j]:,g}"
        return min(int(rate * COLOURS), COLOURS - 1), f"{100 * rate:.0f}", title

    return {
        "matrix": [{"name": name, "cells": [cell(i, j) for j in range(len(names))]} for i, name in enumerate(names)],
        "hidden_models": len(models.frame) - len(names),
        "compared": _compared(counts[np.triu_indices(len(names), 1)]),
    }


def _compared(counts: Float) -> str:
    """Return a sentence on the vote weights of the pairs of models. counts: one per pair."""
    some = counts[counts > 0]
    if not some.size:
        return ""
    low, middle, high = (f"{value:,.0f}" for value in (some.min(), np.median(some), some.max()))
    found = f"A pair of models has {low} " + ("votes." if low == high else f"to {high} votes, median {middle}.")
    if some.size < counts.size:
        found += f" {counts.size - some.size:,} of {counts.size:,} pairs have none."
    if some.max() > 3 * some.min() or some.size < counts.size:
        found += " Such win rates are hard to compare: models that met weak opponents won more."
    return found


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


@dataclass(frozen=True)
class Calibration:
    """The reliability diagram of a method."""

    method: str
    bins: tuple[CalibrationBin, ...]
    errors: float
    """Half the length of a 90% interval, in standard errors."""


def calibration_of(
    run: DenoiseReport | None,
    validation: ValidationReport | None,
    *,
    methods: Sequence[MethodScore] = (),
    wanted: str = "",
) -> Calibration | None:
    """Return the calibration of the run's method on the votes of the validation, else on those that the run held out.

    methods, wanted: the scores and the method, without a run and a validation.
    """
    from scipy.special import ndtri, stdtrit

    source = validation or (run.auto if run else None)
    methods = source.methods if source else methods
    wanted = run.method if run else wanted
    shown = next((m for m in methods if m.method == wanted and m.calibration), None)
    shown = shown or next((m for m in methods if m.calibration), None)
    upper = (1 + LEVEL) / 2
    errors = float(stdtrit(validation.clusters - 1, upper) if validation and validation.clusters > 1 else ndtri(upper))
    return Calibration(shown.method, shown.calibration, errors) if shown else None


def calibration_panel(run: DenoiseReport | None, validation: ValidationReport | None) -> dict[str, Any]:
    """Return the scores on held-out votes: of the validation if given, else of the run's own selection."""
    auto = run.auto if run else None
    source = validation or auto
    methods = source.methods if source else ()
    shown = calibration_of(run, validation)
    by = (validation or auto).by if validation or auto else ""  # type: ignore[union-attr]
    clusters = validation.clustered_by if validation else "annotator" if by == "annotator" else "prompt"
    return {
        "methods": methods,
        "scored": validation.scored if validation else auto.votes if auto else 0,
        "held_out_by": by,
        "folds": source.folds if source else 0,
        "held_out_by_run": not validation,
        "clustered_by": clusters,
        "bins": shown.bins if shown else (),
        "diagram_method": shown.method if shown else "",
        "diagram": reliability_diagram(shown.bins, errors=shown.errors, label=f"Reliability diagram of {shown.method}")
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
