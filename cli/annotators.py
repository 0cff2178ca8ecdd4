"""``curate annotators``: quality of each annotator, and what to do about it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.options import (
    CriterionOption,
    EngineOption,
    JsonOption,
    StoreOption,
    WorkersOption,
    engine_config,
    mapping_changes,
    settings,
)
from cli.output import plural, progress_bar, put_frame, put_json, put_table, say

if TYPE_CHECKING:
    from schemas.annotators import AnnotatorRow, AnnotatorsReport, GoldReport


def annotators(
    store: StoreOption = None,
    gold: Annotated[
        Path | None, typer.Option("--gold", help="A file of votes: pairs with known outcomes.", metavar="FILE")
    ] = None,
    columns: Annotated[
        list[str] | None,
        typer.Option("--map", help="Read FIELD of the gold from COLUMN, as in curate ingest.", metavar="FIELD=COLUMN"),
    ] = None,
    outcomes: Annotated[
        list[str] | None,
        typer.Option("--outcome", help="Meaning of a VALUE in the gold, as in curate ingest.", metavar="VALUE=OUTCOME"),
    ] = None,
    criterion: CriterionOption = None,
    engine: EngineOption = None,
    workers: WorkersOption = None,
    as_json: JsonOption = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV on stdout, with every column.")] = False,
) -> None:
    """Show the quality of each annotator, worst first, and a recommendation: drop, retrain, watch or pay.

    p_spammer is the probability of a discrimination below a quarter of the mean (1); agreement is with the majority of
    the others. Annotators with fewer than 20 votes are judged only by known answers (--gold and control questions, 5 or
    more), if their accuracy is significantly too low.

    \b
    Example:
      curate annotators --gold gold.csv --csv > annotators.csv
    """
    from pipelines.annotator_report import annotators as job
    from pipelines.settings import updated

    base = settings()
    mapping = base.ingest.mapping_of(str(gold or ""))
    changes = mapping_changes(mapping, columns, outcomes)
    mapping = updated(mapping, changes, where="curate annotators")
    with progress_bar() as progress:
        report = job(
            store or base.store,
            gold=gold,
            mapping=mapping,
            criterion=criterion or base.denoise.criterion,
            engine=engine_config(engine, workers),
            progress=progress,
        )
    if as_json:
        put_json(report)
    else:
        print_annotators(report, as_csv=as_csv)


def print_annotators(report: AnnotatorsReport, *, as_csv: bool = False) -> None:
    """Print the annotators as a table on stdout, and a summary on stderr."""
    if as_csv:
        print_csv(report)
    else:
        rows = [_cells(row) for row in report.annotators]
        known = [name for name in rows[0] if any(row[name] is not None for row in rows)] if rows else ["annotator_id"]
        put_table(known, [[row[name] for name in known] for row in rows])
    named = plural(len(report.annotators), "annotator")
    say(f"{named}, {plural(report.votes, 'vote')} ({report.anonymous:,} anonymous)")
    say(_agreement(report))
    if report.gold:
        say(_gold_accuracy(report.gold))
    if report.annotators:
        say(_recommendations(report))
    for warning in report.warnings:
        say(f"note: {warning}")


def print_csv(report: AnnotatorsReport) -> None:
    """Print all columns as CSV."""
    import polars as pl

    from schemas.annotators import AnnotatorRow

    rows = [row.model_dump() for row in report.annotators]
    frame = pl.DataFrame(rows, schema=list(AnnotatorRow.model_fields), infer_schema_length=None)
    put_frame(frame, as_json=False, as_csv=True)


def _cells(row: AnnotatorRow) -> dict[str, str | float | None]:
    """Header and cell of each column of the table; None without data."""
    return {
        "annotator_id": row.annotator_id,
        "do": row.recommendation,
        "votes": row.votes,
        "p_spammer": round(row.p_spammer, 4),  # smaller probabilities are all 0 in practice
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


def _agreement(report: AnnotatorsReport) -> str:
    """A sentence on alpha and the data that it is computed from."""
    if not report.judged_twice:
        return "agreement unknown: no pair was judged by two annotators"
    basis = f"{plural(report.judged_twice, 'pair')} with two or more of {plural(report.judges, 'judge')}"
    if report.alpha is None:
        return f"Krippendorff's alpha is undefined: all outcomes on {basis} are equal"
    return f"Krippendorff's alpha {report.alpha:.3f} (1 perfect, 0 chance level), on {basis}"


def _gold_accuracy(gold: GoldReport) -> str:
    accuracy = "" if gold.accuracy is None else f": {gold.accuracy:.1%} right (chance level {gold.chance_level:.1%})"
    controls = f" and {plural(gold.controls, 'answer')} to control questions" if gold.controls else ""
    return f"{plural(gold.votes - gold.controls, 'vote')} on {plural(gold.pairs, 'gold pair')}{controls}{accuracy}"


def _recommendations(report: AnnotatorsReport) -> str:
    """The counts of each recommendation, and the share of votes that dropping excludes."""
    from typing import get_args

    from schemas.annotators import Recommendation

    done = [row.recommendation for row in report.annotators]
    counts = [f"{kind} {done.count(kind):,}" for kind in get_args(Recommendation) if kind in done]
    advice = "\nnext: curate denoise --max-spammer 0.9 ranks without likely spammers" if "drop" in done else ""
    return f"recommended: {', '.join(counts)}; dropping excludes {report.dropped_share:.1%} of the votes{advice}"
