"""``curate annotators``: who votes with care, and who may be a spammer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from cli.options import JsonOption, StoreOption, store_path
from cli.output import plural, put_frame, put_json, say

if TYPE_CHECKING:
    from schemas.annotators import AnnotatorsReport


def annotators(
    store: StoreOption = None,
    as_json: JsonOption = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV on stdout.")] = False,
) -> None:
    """Show how each annotator votes, worst first: likely spammers, then those who disagree with the others.

    p_spammer is the chance that they see less than a quarter of what the mean annotator sees (discrimination 1);
    agreement is with the majority of the others, over the votes counted in compared.

    \b
    Example:
      curate annotators --csv > annotators.csv
    """
    from pipelines.annotators import annotators as job

    report = job(store_path(store))
    if as_json:
        put_json(report)
    else:
        tell_annotators(report, as_csv=as_csv)


def tell_annotators(report: AnnotatorsReport, *, as_csv: bool = False) -> None:
    """The report as a table, with its totals in words."""
    import polars as pl

    from schemas.annotators import AnnotatorRow

    rows = [row.model_dump() for row in report.annotators]
    frame = pl.DataFrame(rows, schema=list(AnnotatorRow.model_fields), infer_schema_length=None)
    if rows and not as_csv:
        frame = frame.with_columns(pl.col("p_spammer").round(4))  # nobody compares 1e-20 with 1e-21
    put_frame(frame, as_json=False, as_csv=as_csv)
    named = plural(len(report.annotators), "annotator")
    say(f"{named}, {plural(report.votes, 'vote')} ({report.anonymous:,} anonymous)")
    if report.alpha is None:
        say("Krippendorff's alpha is not defined: no two people judged one pair, or all outcomes are the same")
    else:
        say(f"Krippendorff's alpha {report.alpha:.3f} (1 perfect, 0 chance)")
    for warning in report.warnings:
        say(f"note: {warning}")
