"""The job ``compare``: agreement of a denoise run with a known true order, ranker by ranker."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl

from curate.array_types import Float, Index
from curate.evaluation.agreement import best_of, kendall_tau, top1
from curate.store import Store
from schemas.errors import CurateError, MissingError
from schemas.reports import ComparisonReport

KEYS = ["prompt_id", "response_id"]
TRUTH_HINT = "a truth has the columns prompt_id, response_id, and strength (higher is better) or rank (1 = best)"


def compare(store_path: str | Path, truth_csv: str | Path, *, run: str = "", criterion: str = "") -> ComparisonReport:
    """Return Kendall's tau-b, top-1 and best-of-4 of each ranker of a denoise run, and of its ranking ("final").

    A prompt counts if one connected component of the run contains all its responses of the truth; responses that are
    not in the truth are ignored. A ranker that ranks all responses of a prompt equal has tau 0 there. A figure that is
    defined for no prompt (best-of-4 below four responses) is omitted.

    Parameters
    ----------
    store_path
        The DuckDB file.
    truth_csv
        Columns prompt_id, response_id, and strength (higher is better) or, where that is absent, rank (1 = best).
    run
        The run's id or a prefix of it; the latest when empty. Rankers other than the method are in it after
        ``curate denoise --compare``.
    criterion
        Of the run; needed if there are runs by several criteria and ``run`` is empty.

    Raises
    ------
    CurateError
        Where a file or a run is missing, the truth cannot be read, or the two have no prompt in common.
    """
    truth = _read_truth(Path(truth_csv))
    with Store.open(store_path, read_only=True) as store:
        ranking = store.rankings(run, criterion=criterion)
    both, rankers = _ranked_in_full(truth, ranking)
    if both.is_empty():
        common = truth["prompt_id"].unique().is_in(ranking["prompt_id"].unique().to_list()).sum()
        raise CurateError(
            f"{truth_csv}: none of its prompts is ranked in full in {store_path} ({common} are in the run at all)",
            hint="does the truth belong to these votes? Are the votes of a prompt connected (curate status)?",
        )

    size = both["prompt_id"].rle().struct.field("len").to_numpy()
    offsets = np.concatenate([[0], np.cumsum(size)]).astype(np.int64)
    best = both["truth"].cast(pl.Float64).to_numpy()
    scores = {name: -both[column].cast(pl.Float64).to_numpy() for name, column in rankers.items()}
    return ComparisonReport(
        prompts=len(size),
        missing=truth["prompt_id"].n_unique() - len(size),
        kendall_tau=_means({name: _tau(own, best, offsets) for name, own in scores.items()}),
        top1=_means({name: top1(own, best, offsets) for name, own in scores.items()}),
        best_of_4=_means({name: best_of(own, best, offsets, k=4) for name, own in scores.items()}),
    )


def _ranked_in_full(truth: pl.DataFrame, ranking: pl.DataFrame) -> tuple[pl.DataFrame, dict[str, str]]:
    """The truth's rows of the prompts that are ranked in full, prompt by prompt; ranker -> column of its rank."""
    own = [column for column in ranking.columns if column.startswith("rank_")]
    rankers = {"final": "rank"} | {column.removeprefix("rank_").replace("_", "-"): column for column in own}
    ranking = ranking.with_columns(components=pl.col("component").n_unique().over("prompt_id"))
    joined = truth.join(ranking.select(*KEYS, "components", *rankers.values()), on=KEYS, how="left")
    ranked = pl.all_horizontal(pl.col(*rankers.values()).is_not_null()) & (pl.col("components") == 1)
    return joined.filter(ranked.fill_null(False).all().over("prompt_id")).sort(KEYS), rankers


def _tau(scores: Float, truth: Float, offsets: Index) -> Float:
    """(P,) tau-b; NaN only where the truth ranks all equal, so that all rankers are scored on the same prompts."""
    tau = kendall_tau(scores, truth, offsets)
    has_order = ~np.isnan(kendall_tau(truth, truth, offsets))
    return np.where(has_order & np.isnan(tau), 0.0, tau)


def _means(figures: dict[str, Float]) -> dict[str, float]:
    return {name: float(np.nanmean(figure)) for name, figure in figures.items() if not np.isnan(figure).all()}


def _read_truth(path: Path) -> pl.DataFrame:
    """prompt_id, response_id, truth (dense rank within the prompt, 1 = worst)."""
    if not path.is_file():
        raise MissingError(f"{path}: no such file", hint="curate simulate writes a truth.csv")
    try:
        frame = pl.read_csv(path, infer_schema=False)
    except pl.exceptions.PolarsError as error:
        raise CurateError(f"{path}: cannot be read as CSV: {error}", hint=TRUTH_HINT) from error
    value = "strength" if "strength" in frame.columns else "rank"
    if missing := [name for name in (*KEYS, value) if name not in frame.columns]:
        raise CurateError(f"{path}: no column {', '.join(missing)}", hint=TRUTH_HINT)

    number = pl.col(value).str.strip_chars().cast(pl.Float64, strict=False)
    frame = frame.select(*KEYS, number=number).with_row_index()
    faults = {
        "the prompt and response occur twice": pl.struct(KEYS).is_duplicated(),
        "the prompt or response is empty": pl.any_horizontal(pl.col(KEYS).is_null()),
        f"{value} is not a number": pl.col("number").is_nan().fill_null(True),
    }
    for what, faulty in faults.items():
        if not (rows := frame.filter(faulty)).is_empty():
            where = f"row {rows['index'][0] + 1} after the header"
            raise CurateError(f"{path}: {where}: {what} ({len(rows)} such rows)", hint=TRUTH_HINT)
    sign = 1 if value == "strength" else -1
    return frame.select(*KEYS, truth=(sign * pl.col("number")).rank("dense").over("prompt_id"))
