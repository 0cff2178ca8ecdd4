"""The job ``plot``: a picture of a ranking result or of a store."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import polars as pl

from curate.api import RankResult
from curate.evaluation.leaderboard import leaderboard
from curate.report.panels import calibration_of
from curate.shards.atomic import publish_file
from curate.store import Store
from curate.store.games import store_leaderboard
from pipelines.annotator_report import annotators
from pipelines.reporting import read_validation, stored_report
from schemas.choices import PlotKind
from schemas.errors import CurateError, MissingError, UsageError
from schemas.outputs import PlotReport

if TYPE_CHECKING:
    from curate.plots import Plot


def plot(
    kind: PlotKind,
    source: RankResult | str | Path = "curate.duckdb",
    *,
    prompt: str = "",
    run: str = "",
    criterion: str = "",
    control: Sequence[str] = (),
    validation: str | Path | None = None,
) -> Plot:
    """Return a picture as a matplotlib figure, which notebooks show.

    Parameters
    ----------
    kind
        ``leaderboard`` (strengths of models), ``pairs`` (votes between models), ``calibration`` (stated and observed
        probabilities of held-out votes), ``annotators`` (their discrimination), ``prompt`` (one prompt's ranking).
    source
        What ``curate.rank`` returned, or a store.
    prompt
        Id of the prompt, for ``prompt``.
    run
        Of a store: a denoise run, by its id or a prefix; the latest if empty.
    criterion, control
        Of a store: as in ``Store.leaderboard``.
    validation
        Of a store: a file of ``curate validate --json`` for ``calibration``, else what the run held out.

    Returns
    -------
    Plot
        A ``matplotlib.figure.Figure``; ``encoded("svg")`` and ``encoded("png")`` are its files, the same bytes each
        time.

    Raises
    ------
    CurateError
        Where there is nothing to draw: no held-out votes, all votes anonymous, an unknown prompt.

    Examples
    --------
    >>> import curate
    >>> votes = {"left": ["a", "b", "a"], "right": ["b", "c", "c"], "winner": ["left", "left", "left"]}
    >>> figure = curate.plot("leaderboard", curate.rank(votes, ranker="bradley-terry"))
    >>> figure.encoded("png")[:4]
    b'\\x89PNG'
    """
    from curate.plots import drawn

    if kind not in get_args(PlotKind):
        raise UsageError(f"unknown plot {kind!r}", hint=f"expected one of {', '.join(get_args(PlotKind))}")
    if (kind == "prompt") != bool(prompt):
        what = "takes no prompt" if prompt else "needs the id of a prompt"
        raise UsageError(f"plot {kind} {what}", hint='curate plot prompt ID; in Python plot("prompt", prompt=ID)')
    if isinstance(source, RankResult):
        return drawn(kind, _of_result(kind, source, prompt))
    found: Any
    if kind == "annotators":
        rows = annotators(source, criterion=criterion).annotators
        found = _some(pl.DataFrame([row.model_dump() for row in rows], infer_schema_length=None))
    elif kind == "calibration" and validation:
        found = _known(calibration_of(None, read_validation(Path(validation))))
    else:
        with Store.open(source, read_only=True) as store:
            if kind in ("leaderboard", "pairs"):
                found = store_leaderboard(store, criterion=criterion, control=control)
            else:
                ranked = store.run(store.denoise_run(run, criterion=criterion))
                assert ranked is not None
                criterion = ranked["config"].get("criterion", "")
                if kind == "prompt":
                    found = _one(store.rankings(ranked["run_id"]), prompt)
                else:
                    found = _known(calibration_of(stored_report(ranked["report"]), None))
    figure = drawn(kind, found)
    if criterion:
        figure.axes[0].set_title(f"{figure.axes[0].get_title()}: {criterion}")
    return figure


def save(figure: Plot, kind: PlotKind, out: Path) -> PlotReport:
    """Write a picture as SVG or PNG, by the name of the file."""
    if out.suffix not in (".svg", ".png"):
        raise UsageError(f"{out}: expected a file *.svg or *.png", hint=f"--out {kind}.svg")
    content = figure.encoded("png" if out.suffix == ".png" else "svg")
    publish_file(out, content)
    return PlotReport(out=str(out), plot=kind, bytes=len(content))


def _of_result(kind: PlotKind, result: RankResult, prompt: str) -> Any:
    if kind in ("leaderboard", "pairs"):
        return leaderboard(result.votes)
    if kind == "prompt":
        return _one(result.rankings, prompt)
    if kind == "annotators":
        return _some(result.annotators())
    choice = result.choice
    return _known(calibration_of(None, None, methods=choice.methods if choice else (), wanted=result.method))


def _one(rankings: pl.DataFrame, prompt: str) -> pl.DataFrame:
    rows = rankings.filter(pl.col("prompt_id") == prompt)
    if rows.is_empty():
        raise MissingError(f"no ranking of prompt {prompt!r}", hint="curate rankings lists what is ranked")
    return rows


def _some(people: pl.DataFrame) -> pl.DataFrame:
    if people.is_empty():
        raise CurateError("all votes are anonymous", hint="--map annotator_id=COLUMN names the column of annotators")
    return people


def _known(found: Any) -> Any:
    if found is None:
        raise MissingError(
            "no votes were held out",
            hint="curate denoise --ranker auto, or curate validate --json and --validation-report FILE",
        )
    return found
