"""``curate ingest`` and ``curate rejects``: read votes, and show the rows that were rejected."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.options import JsonOption, StoreOption, engine_config, mapping_changes, settings, store_path
from cli.output import listed, plural, progress_bar, put, put_frame, put_json, put_table, say
from schemas.choices import OnError, Repeats, Sides
from schemas.errors import UsageError

if TYPE_CHECKING:
    from schemas.config import IngestConfig
    from schemas.reports import FileReport, FileReview, IngestReport


MapOption = Annotated[
    list[str] | None,
    typer.Option("--map", help="Read FIELD from COLUMN; an empty COLUMN disables the field.", metavar="FIELD=COLUMN"),
]
OutcomeOption = Annotated[
    list[str] | None,
    typer.Option("--outcome", help="Read VALUE as left, right, tie or both_bad.", metavar="VALUE=OUTCOME"),
]
SidesOption = Annotated[
    Sides | None,
    typer.Option("--sides", help="Whether the first response was shown left. auto: if the columns are named so."),
]
MappingOption = Annotated[
    Path | None, typer.Option("--mapping", help="A TOML file with a mapping, or like curate.toml.", metavar="FILE")
]
PromptsOption = Annotated[
    str | None, typer.Option("--prompts", help="File of prompts; votes on others are rejected.", metavar="FILE")
]
ResponsesOption = Annotated[
    str | None, typer.Option("--responses", help="File of responses: their models and texts.", metavar="FILE")
]
FormatOption = Annotated[
    str | None,
    typer.Option(
        "--format", help="The platform that wrote the files (see --formats). Default: detected.", metavar="NAME"
    ),
]
ProlificOption = Annotated[
    str | None,
    typer.Option("--prolific", help="Prolific's export, joined to the votes by participant id.", metavar="FILE"),
]
PseudonymOption = Annotated[
    str | None,
    typer.Option(
        "--pseudonym-key",
        help="A secret, or its file: all annotators get pseudonyms under it. Also: CURATE_PSEUDONYM_KEY.",
        metavar="FILE_OR_TEXT",
    ),
]
RepeatsOption = Annotated[
    Repeats | None,
    typer.Option("--repeats", help="Of an annotator's votes on one pair keep the last, all, or reject the later."),
]
OnErrorOption = Annotated[
    OnError | None, typer.Option("--on-error", help="At a damaged file, stop or reject the damaged records.")
]
MaxRejectsOption = Annotated[
    float | None,
    typer.Option("--max-rejects", help="Refuse a file of which more than this share is rejected for one reason."),
]
TimeFormatOption = Annotated[
    str | None,
    typer.Option("--time-format", help='How times are written, for example "%d/%m/%Y %H:%M".', metavar="FORMAT"),
]
FilesAtOnceOption = Annotated[
    int | None,
    typer.Option(
        "--workers", min=1, help="Files that are read at the same time. Default: [engine] workers, else 1.", metavar="N"
    ),
]
ExplainOption = Annotated[
    bool,
    typer.Option("--explain", help="Review the files: rows, columns, what is missing; print a mapping as TOML."),
]


def ingest(
    paths: Annotated[
        list[str] | None, typer.Argument(help="Files, globs, folders, URLs, or - for stdin.", metavar="PATH...")
    ] = None,
    store: StoreOption = None,
    columns: MapOption = None,
    outcomes: OutcomeOption = None,
    sides: SidesOption = None,
    mapping: MappingOption = None,
    prompts: PromptsOption = None,
    responses: ResponsesOption = None,
    file_format: FormatOption = None,
    formats: Annotated[bool, typer.Option("--formats", help="List the supported platforms.")] = False,
    prolific: ProlificOption = None,
    pseudonym_key: PseudonymOption = None,
    repeats: RepeatsOption = None,
    on_error: OnErrorOption = None,
    max_rejects: MaxRejectsOption = None,
    time_format: TimeFormatOption = None,
    explain: ExplainOption = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Report what would change; change nothing.")] = False,
    workers: FilesAtOnceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Read votes into the store: CSV, TSV, JSON, JSONL (also .gz) and Parquet.

    Exports of annotation platforms are detected by their content; --formats lists them. Every row becomes a vote, a
    control answer, a duplicate or a reject with a reason. Reading a file again changes nothing. Annotators of platforms
    get pseudonyms under --pseudonym-key, or else under a key in a file beside the store.

    \b
    Example:
      curate ingest votes/*.csv --prompts prompts.csv --map annotator_id=user --outcome 1=left
      curate ingest label-studio.json toloka.tsv --pseudonym-key keys/people.key
      curate ingest votes.csv --explain > curate.toml
      zcat votes.jsonl.gz | curate ingest -
    """
    if formats:
        print_formats(as_json=as_json)
        return
    if not (paths or prompts or responses):
        raise UsageError("no files to read", hint="name files, globs or folders: curate ingest PATH...")
    from annotations.readers import guard

    if not all(path.endswith((".csv", ".tsv")) for path in paths or []):
        guard.start()  # it imports the readers while this process imports the job
    from schemas.mapping import Mapping

    given = mapping_changes(Mapping(), columns, outcomes)
    given |= {"sides": sides, "time_format": time_format, "format": file_format}
    config = _config(mapping, given, {"max_rejects": max_rejects, "repeats": repeats, "on_error": on_error})
    if explain:
        from pipelines import explain as review

        for document in review(paths or [], config):
            put_json(document) if as_json else print_review(document)
        return
    engine = engine_config(None, workers)
    report = _ingest(
        paths or [],
        store_path(store),
        config=config,
        prompts=prompts,
        responses=responses,
        prolific=prolific,
        pseudonym_key=pseudonym_key,
        dry_run=dry_run,
        workers=(engine.workers if engine else None) or 1,
    )
    put_json(report) if as_json else print_ingest(report)


def _config(mapping_file: Path | None, mapping: dict[str, Any], changes: dict[str, Any]) -> IngestConfig:
    """Return the settings with a mapping file in place of theirs, changed by the options.

    mapping: changes of the mapping of every file. changes: those of other keys; None leaves a key as it is.
    """
    from pipelines.settings import ingest_config, updated

    base = settings().ingest
    if mapping_file:
        given = ingest_config(mapping_file)
        base = base.model_copy(update={"mapping": given.mapping, "files": given.files})
    mapping = {name: value for name, value in mapping.items() if value}
    of_options = ({"match": "*", **mapping},) if mapping else ()  # they take precedence over those of curate.toml
    files = (*of_options, *(own.model_dump(exclude_unset=True) for own in base.files))
    return updated(base, {"files": files, **changes}, where="curate ingest")


def _ingest(*sources: Any, **options: Any) -> IngestReport:
    """Run the job with a progress bar; print the review of a refused file."""
    from pipelines import ingest as job
    from pipelines.ingestion import RefusedFile

    with progress_bar() as progress:
        try:
            return job(*sources, progress=progress, **options)
        except RefusedFile as error:
            print_review(error.review, mapping_on=say)
            raise


def print_formats(*, as_json: bool) -> None:
    """Print the supported platforms as a table."""
    from annotations.platforms.registry import all_platforms
    from schemas.outputs import PlatformLine

    fields = PlatformLine.model_fields
    rows = [PlatformLine(**{field: getattr(platform, field) for field in fields}) for platform in all_platforms()]
    if as_json:
        put_json(rows)
    else:
        put_table(("format", "files", "sides"), [(row.name, row.description, row.sides) for row in rows])
        say("other tables of votes are read by the names of their columns, or by --map; see docs/platforms.md")


MOST_FIELDS = 20
"""Fields shown of a sample row; all columns are listed with their values."""


def print_review(review: FileReview, *, mapping_on: Callable[[str], None] = put) -> None:
    """Print the review of one file on stderr, and its mapping as TOML on stdout (or with ``mapping_on``)."""
    say(f"{review.path} ({review.format}{', ' + review.platform if review.platform else ''})")
    say(f"the first {plural(len(review.sample), 'row')} of the {review.rows:,} looked at:")
    for row in review.sample:
        shown = [f"{name}={_short(value, 30)}" for name, value in list(row.items())[:MOST_FIELDS]]
        more = f", and {len(row) - MOST_FIELDS:,} more fields" if len(row) > MOST_FIELDS else ""
        say("  " + ", ".join(shown) + more)
    say("columns:")
    for column in review.columns:
        values = ", ".join(f"{_short(value, 30)} ({count:,})" for value, count in column.values)
        say(f"  {column.name}: {plural(column.distinct, 'value')}, {column.empty:,} empty: {values}")
    say("read as:")
    for field, source in review.detected.items():
        say(f"  {field} ← {source}")
    for problem in review.problems:
        say(f"missing: {problem}")
    mapping_on(review.mapping)


def _short(value: object, length: int) -> str:
    text = "" if value is None else str(value).replace("\n", "⏎")
    return text if len(text) <= length else text[: length - 1] + "…"


def print_ingest(report: IngestReport) -> None:
    """Print the report as text."""
    for file in report.files:
        say(f"{file.path} ({file.format}{', ' + file.platform if file.platform else ''})")
        if file.detected:
            say("  read as  " + ", ".join(f"{field} ← {column}" for field, column in file.detected.items()))
            say("  sides    " + ("known (left and right)" if "left" in file.detected else "unknown"))
        if file.meta:
            say("  meta     " + ", ".join(file.meta))
        if file.unused:
            say("  unused   " + ", ".join(file.unused))
        if file.unreadable:
            say("  NULL     " + listed(file.unreadable) + " (cannot be read)")
        if file.skipped:
            say("  skipped  " + listed(file.skipped))
        say(f"  {_rows(file)}")
    if len(report.files) > 1:
        say(f"in all: {_rows(report)}")
    if report.reasons:
        say(f"rejected: {listed(report.reasons)}   (see: curate rejects --store {report.store})")
    if report.superseded:
        say(f"replaced: {plural(report.superseded, 'earlier vote')} by later ones of the same annotators")
    if report.recovered:
        say(f"recovered: {plural(report.recovered, 'row')} that an earlier ingest had rejected")
    if report.updated:
        say(f"updated: {plural(report.updated, 'prompt or response', 'prompts and responses')}")
    if report.dropped:
        say(f"dropped: {listed(report.dropped)}")
    if report.pseudonyms:
        own = f"the key in {report.pseudonym_key} (keep it secret)"
        key = "the given key" if report.pseudonym_key == "given" else own
        say(f"annotators: {plural(report.pseudonyms, 'pseudonym')} under {key}")
    for warning in report.warnings:
        say(f"note: {warning}")
    if report.dry_run:
        say(f"dry run: {report.store} is unchanged")
    elif not report.batch:
        say(f"nothing new: {report.store} is unchanged")
    else:
        new = f"{plural(report.prompts, 'new prompt')}, {plural(report.responses, 'new response')}"
        who = f"{plural(report.annotators, 'annotator')}, {plural(report.anonymous, 'anonymous vote')}"
        say(f"stored: {plural(report.pairs, 'pairwise vote')} ({new}; {who}) in {report.store}, batch {report.batch}")


def _rows(counts: FileReport | IngestReport) -> str:
    parts = [plural(counts.votes, "vote"), plural(counts.duplicates, "duplicate"), plural(counts.rejects, "reject")]
    if counts.controls:
        parts.insert(1, plural(counts.controls, "control answer"))
    return f"{plural(counts.rows, 'row')} = {' + '.join(parts)}"


def rejects(
    store: StoreOption = None,
    reason: Annotated[
        str, typer.Option("--reason", help="Only this reason, for example bad-time.", metavar="CODE")
    ] = "",
    as_json: JsonOption = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV on stdout, with the original rows.")] = False,
) -> None:
    """Show the rejected rows: file, line, column, value, reason.

    Correct the mapping and ingest the file again: rows that become votes are removed from the rejects. Corrected rows
    of a file are new votes; the rejects of the file before stay.

    \b
    Example:
      curate rejects --csv > rejects.csv
    """
    import curate
    from schemas.votes import REJECT_REASONS

    if reason and reason not in REJECT_REASONS:
        raise UsageError(f"--reason {reason}: unknown reason", hint=f"expected {', '.join(REJECT_REASONS)}")
    with curate.open(store_path(store)) as opened:
        frame = opened.rejects()
    if reason:
        frame = frame.filter(frame["reason"] == reason)
    put_frame(frame, as_json=as_json, as_csv=as_csv, columns=["file", "line", "column", "value", "reason", "message"])
    if frame.is_empty():
        say("no rejects")
