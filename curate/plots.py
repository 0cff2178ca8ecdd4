"""Pictures of results as matplotlib figures: leaderboard, calibration, pairs of models, annotators, one prompt."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import polars as pl
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from curate.evaluation.leaderboard import Leaderboard
from curate.report.panels import MAX_MODELS, Calibration, win_rates
from curate.uncertainty.intervals import LEVEL

BLUE, RED, GREY = "#1d5fa8", "#b3261e", "#767676"
MAX_ROWS = 60
"""Rows of a picture at most: the first ones."""
LIKELY_SPAMMER = 0.9
STYLE = {"svg.hashsalt": "curate", "svg.fonttype": "none", "font.family": "DejaVu Sans", "font.size": 9.0}
"""Equal data give equal bytes; texts of an SVG stay texts."""


class Plot(Figure):
    """A matplotlib figure that notebooks show without pyplot."""

    def encoded(self, form: Literal["svg", "png"]) -> bytes:
        """Return the picture as a file; equal figures give equal bytes."""
        file = io.BytesIO()
        metadata = {"Date": None, "Creator": None} if form == "svg" else {"Software": None}
        with rc_context(STYLE):
            self.savefig(file, format=form, dpi=144, metadata=metadata)
        return file.getvalue()

    def _repr_svg_(self) -> str:
        return self.encoded("svg").decode()


def leaderboard_plot(models: Leaderboard) -> Plot:
    """Return strengths with 90% intervals, best first; classes of models that do not differ are apart."""
    frame = models.frame.head(MAX_ROWS)
    labels = [f"{row['model']}  {row['rank']}" for row in frame.to_dicts()]
    figure, axes = _figure(len(labels))
    _intervals(axes, labels, frame["strength"], frame["low"], frame["high"])
    groups = frame.select("component", "class").rows()
    for row in range(1, len(groups)):
        if groups[row] != groups[row - 1]:
            axes.axhline(row - 0.5, color=GREY, linewidth=0.6, linestyle=":")
    axes.axvline(0, color=GREY, linewidth=0.8)
    axes.set(xlabel="strength, log odds against the mean model, with 90% interval", title="Leaderboard")
    return figure


def pairs_plot(models: Leaderboard) -> Plot:
    """Return the shares of votes that the row won against the column, percent; empty where no vote compares them."""
    names = models.frame["model"].to_list()[:MAX_MODELS]
    rates = win_rates(models)
    with rc_context(STYLE):
        side = 1.8 + 0.42 * len(names)
        figure = Plot(figsize=(side + 0.8, side), layout="constrained")
        axes = figure.subplots()
        axes.imshow(rates, cmap="RdBu", vmin=0, vmax=1)
        axes.set_xticks(range(len(names)), names, rotation=60, ha="right", rotation_mode="anchor")
        axes.set_yticks(range(len(names)), names)
        for (row, column), rate in np.ndenumerate(rates):
            if np.isfinite(rate):
                colour = "white" if abs(rate - 0.5) > 0.3 else "black"
                axes.text(column, row, f"{100 * rate:.0f}", ha="center", va="center", color=colour)
        axes.set(title="Votes for the row against the column, %")
    return figure


def calibration_plot(found: Calibration) -> Plot:
    """Return observed against stated probabilities of held-out votes, with 90% intervals; calibrated: the diagonal."""
    bins = found.bins
    with rc_context(STYLE):
        figure = Plot(figsize=(4.6, 4.4), layout="constrained")
        axes = figure.subplots()
        axes.plot([0.5, 1], [0.5, 1], color=GREY, linewidth=0.8)
        error = [found.errors * (one.observed_se or 0.0) for one in bins]
        at, observed = [one.probability for one in bins], [one.observed for one in bins]
        axes.errorbar(at, observed, yerr=error, fmt="o", color=BLUE, markersize=4.5, elinewidth=1.3)
        axes.set(xlabel="stated probability of the likelier response", ylabel="observed share of votes")
        axes.set_title(f"Calibration of {found.method}, {sum(one.votes for one in bins):,} held-out votes")
    return figure


def annotators_plot(people: pl.DataFrame) -> Plot:
    """Return the discrimination of annotators, the most likely spammers first and in red.

    people: annotator_id, discrimination, discrimination_se, p_spammer, votes.
    """
    frame = people.sort("p_spammer", "annotator_id", descending=[True, False]).head(MAX_ROWS)
    labels = [f"{row['annotator_id']}  {row['votes']:.0f} votes" for row in frame.to_dicts()]
    spammers = (frame["p_spammer"] >= LIKELY_SPAMMER).to_list()
    half = _half(frame["discrimination_se"])
    figure, axes = _figure(len(labels))
    _intervals(axes, labels, frame["discrimination"], frame["discrimination"] - half, frame["discrimination"] + half)
    _colour(axes, spammers, frame["discrimination"])
    axes.axvline(1, color=GREY, linewidth=0.8)
    hidden = f" (the first {MAX_ROWS} of {len(people):,})" if len(people) > MAX_ROWS else ""
    axes.set(xlabel="discrimination: 1 mean annotator, 0 votes at random; 90% interval", title=f"Annotators{hidden}")
    return figure


def prompt_plot(rows: pl.DataFrame) -> Plot:
    """Return the strengths of the responses of one prompt, best first, with their ranks and 90% intervals of both.

    rows: prompt_id, response_id, model, component, rank, best_rank, worst_rank, strength, strength_se.
    """
    frame = rows.sort("component", "rank", "response_id").head(MAX_ROWS)
    labels = [
        f"{row['model'] or row['response_id']}  {row['rank']} ({row['best_rank']}–{row['worst_rank']})"
        for row in frame.to_dicts()
    ]
    half = _half(frame["strength_se"])
    figure, axes = _figure(len(labels))
    _intervals(axes, labels, frame["strength"], frame["strength"] - half, frame["strength"] + half)
    components = frame["component"].to_list()
    for row in range(1, len(components)):
        if components[row] != components[row - 1]:
            axes.axhline(row - 0.5, color=GREY, linewidth=1.0)
    title = f"{rows['prompt_id'][0]}: rank and its 90% interval"
    axes.set(xlabel="strength, logits, with 90% interval", title=title)
    return figure


def _figure(rows: int) -> tuple[Plot, Axes]:
    with rc_context(STYLE):
        figure = Plot(figsize=(6.4, 1.2 + 0.24 * rows), layout="constrained")
        return figure, figure.subplots()


def _intervals(axes: Axes, labels: Sequence[str], value: pl.Series, low: pl.Series, high: pl.Series) -> None:
    """Draw a dot with whiskers per row, the first on top."""
    rows = np.arange(len(labels))
    axes.hlines(rows, low.to_numpy(), high.to_numpy(), color=BLUE, linewidth=1.3)
    axes.plot(value.to_numpy(), rows, "o", color=BLUE, markersize=4.5)
    axes.set_yticks(rows, labels)
    axes.set_ylim(len(labels) - 0.5, -0.5)
    axes.spines[["top", "right"]].set_visible(False)


def _colour(axes: Axes, chosen: Sequence[bool], value: pl.Series) -> None:
    rows = np.flatnonzero(chosen)
    axes.plot(value.to_numpy()[rows], rows, "o", color=RED, markersize=4.5)


def _half(error: pl.Series) -> pl.Series:
    """Half the length of a 90% interval."""
    from scipy.special import ndtri

    return error * float(ndtri((1 + LEVEL) / 2))


def drawn(kind: str, data: Any) -> Plot:
    """Return the picture of a kind. data: what its function takes."""
    functions: dict[str, Any] = {
        "leaderboard": leaderboard_plot,
        "pairs": pairs_plot,
        "calibration": calibration_plot,
        "annotators": annotators_plot,
        "prompt": prompt_plot,
    }
    found: Plot = functions[kind](data)
    return found
