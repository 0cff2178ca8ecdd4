"""``curate annotators``: who votes with care, who may be a spammer, and what to do about each."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.options import JsonOption, StoreOption, pairs, settings
from cli.output import plural, put_frame, put_json, put_table, say

if TYPE_CHECKING:
    from schemas.annotators import AnnotatorRow, AnnotatorsReport, GoldReport


def annotators(
    store: StoreOption = None,
    gold: Annotated[
        Path | None, typer.Option("--gold", help="Votes whose outcome is the truth of their pair.", metavar="FILE")
    ] = None,
    columns: Annotated[
        list[str] | None,
        typer.Option("--map", help="Read FIELD of the gold from COLUMN, as in curate ingest.", metavar="FIELD=COLUMN"),
    ] = None,
    outcomes: Annotated[
        list[str] | None,
        typer.Option("--outcome", help="What a VALUE of the gold means, as in curate ingest.", metavar="VALUE=OUTCOME"),
    ] = None,
    as_json: JsonOption = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV on stdout, with every column.")] = False,
) -> None:
    """Show how each annotator votes, worst first, and what to do: drop, retrain, watch or pay.

    p_spammer is the chance that they see less than a quarter of what the mean annotator sees (discrimination 1);
    agreement is with the majority of the others. Nobody is judged by fewer than 20 votes, but by known answers (5 or
    more, --gold and control questions) where their accuracy is surely too low.

    \b
    Example:
      curate annotators --gold gold.csv --csv > annotators.csv
    """
    from pipelines.annotator_report import annotators as job
    from pipelines.settings import updated

    base = settings()
    mapping = base.ingest.mapping
    changes = {
        "columns": {**mapping.columns, **pairs(columns, "--map")},
        "outcomes": {**mapping.outcomes, **pairs(outcomes, "--outcome")},
    }
    report = job(store or base.store, gold=gold, mapping=updated(mapping, changes, where="curate annotators"))
    if as_json:
        put_json(report)
    else:
        print_annotators(report, as_csv=as_csv)


def print_annotators(report: AnnotatorsReport, *, as_csv: bool = False) -> None:
    """The report as a table, with its totals in words."""
    if as_csv:
        put_csv(report)
    else:
        rows = [_cells(row) for row in report.annotators]
        known = [name for name in rows[0] if any(row[name] is not None for row in rows)] if rows else ["annotator_id"]
        put_table(known, [[row[name] for name in known] for row in rows])
    named = plural(len(report.annotators), "annotator")
    say(f"{named}, {plural(report.votes, 'vote')} ({report.anonymous:,} anonymous)")
    say(_agreed(report))
    if report.gold:
        say(_of_gold(report.gold))
    if report.annotators:
        say(_recommended(report))
    for warning in report.warnings:
        say(f"note: {warning}")


def put_csv(report: AnnotatorsReport) -> None:
    """Every column of every row."""
    import polars as pl

    from schemas.annotators import AnnotatorRow

    rows = [row.model_dump() for row in report.annotators]
    frame = pl.DataFrame(rows, schema=list(AnnotatorRow.model_fields), infer_schema_length=None)
    put_frame(frame, as_json=False, as_csv=True)


def _cells(row: AnnotatorRow) -> dict[str, str | float | None]:
    """Header and cell of what the table shows of an annotator; None where nothing is known."""
    return {
        "annotator_id": row.annotator_id,
        "do": row.recommendation,
        "votes": row.votes,
        "p_spammer": round(row.p_spammer, 4),  # nobody compares 1e-20 with 1e-21
        "agreement": None if row.agreement is None else f"{row.agreement:.2f} of {row.compared}",
        "discrimination": _with_error(row.discrimination, row.discrimination_se),
        "left_bias": _with_error(row.left_bias, row.left_bias_se),
        "ties": _rounded(row.tie_share),
        "seconds": row.median_seconds,
        "fast": _rounded(row.fast_share),
        "gold": None if row.gold_accuracy is None else f"{row.gold_accuracy:.2f} of {row.gold_votes}",
        "why": row.reason,
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 2)


def _with_error(value: float | None, error: float | None) -> str | None:
    return None if value is None or error is None else f"{value:.2f} ± {error:.2f}"


def _agreed(report: AnnotatorsReport) -> str:
    """How far people agree, and on how much that rests."""
    if not report.judged_twice:
        return "no pair was judged by two people: how far they agree is not known"
    basis = f"{plural(report.judged_twice, 'pair')} that {plural(report.judges, 'annotator')} judged twice or more"
    if report.alpha is None:
        return f"Krippendorff's alpha is not defined: all outcomes on {basis} are the same"
    return f"Krippendorff's alpha {report.alpha:.3f} (1 perfect, 0 chance), on {basis}"


def _of_gold(gold: GoldReport) -> str:
    met = "" if gold.accuracy is None else f": {gold.accuracy:.1%} right ({gold.chance:.1%} by chance)"
    controls = f" and {plural(gold.controls, 'answer')} to control questions" if gold.controls else ""
    return f"{plural(gold.votes - gold.controls, 'vote')} on {plural(gold.pairs, 'gold pair')}{controls}{met}"


def _recommended(report: AnnotatorsReport) -> str:
    """How many of each, and what dropping would cost."""
    from typing import get_args

    from schemas.annotators import Recommendation

    done = [row.recommendation for row in report.annotators]
    counts = [f"{kind} {done.count(kind):,}" for kind in get_args(Recommendation) if kind in done]
    return f"recommended: {', '.join(counts)}; dropping leaves out {report.dropped_share:.1%} of the votes"
