"""The job ``ingest``: vote files into the store, every row a vote, a duplicate or a named reject."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from annotations.chunks import Chunk, read_chunks
from annotations.cleaning import clean
from annotations.detect import Layout, detect, find_columns
from annotations.files import VoteFile, find_files
from annotations.subjects import read_prompts, read_responses
from curate.store import Store
from curate.store.ingestion import (
    accept,
    doubtful_repeats,
    file_counts,
    next_batch,
    record_batch,
    reject_reasons,
    remapped_rows,
    vote_facts,
)
from curate.store.staging import close_staging, open_staging, stage_file, stage_rows
from curate.store.subjects import Told, give_prompts, give_responses
from curate.store.verdicts import judge
from pipelines.progress import Progress, silent
from schemas.config import IngestConfig, Mapping
from schemas.errors import CurateError
from schemas.reports import FileReport, IngestReport
from schemas.votes import VOTE_FIELDS


@dataclass(frozen=True)
class Reading:
    """How one file was read."""

    file: VoteFile
    layout: Layout | None
    """None where not one record could be read."""
    columns: tuple[str, ...]


def ingest(
    paths: Iterable[str | Path] | str | Path,
    store: str | Path = "curate.duckdb",
    *,
    config: IngestConfig = IngestConfig(),
    prompts: str | Path | None = None,
    responses: str | Path | None = None,
    dry_run: bool = False,
    now: datetime | None = None,
    progress: Progress = silent,
) -> IngestReport:
    """Read votes from files, globs and directories into the store, in one transaction.

    prompts, responses: files of what was judged; once prompts are given, a vote on any other is rejected.
    dry_run: report what would happen and change nothing. now: naive UTC; votes dated later are rejected.
    Raises CurateError for a file that cannot be read without guessing, or that is damaged (see config.on_error);
    the store is then as it was.
    """
    files = find_files([paths] if isinstance(paths, str | Path) else paths)
    now = now or datetime.now(UTC).replace(tzinfo=None)
    missing = not Path(store).exists()
    with Store.in_memory() if dry_run and missing else Store.open(store, create=True) as opened:
        try:
            with opened.transaction(keep=not dry_run):
                given = _give(opened, prompts, responses, config.mapping)
                open_staging(opened)
                readings = [_read(opened, n, file, config, now, progress) for n, file in enumerate(files, start=1)]
                progress("settling", 0, 0)
                judge(opened, repeats=config.repeats)
                report = _settle(opened, str(store), readings, config, given)
                close_staging(opened)
        except BaseException:
            if missing:
                opened.discard()
            raise
        return report.model_copy(update={"dry_run": True, "batch": ""}) if dry_run else report


def _give(store: Store, prompts: str | Path | None, responses: str | Path | None, mapping: Mapping) -> Told:
    """What the files of prompts and responses told."""
    told = Told()
    if prompts:
        told += give_prompts(store, read_prompts(str(prompts), mapping.prompt_columns))
    if responses:
        told += give_responses(store, read_responses(str(responses), mapping.response_columns))
    return told


def _read(
    store: Store, file_no: int, file: VoteFile, config: IngestConfig, now: datetime, progress: Progress
) -> Reading:
    """Stage one file, chunk by chunk."""
    layout: Layout | None = None
    columns: dict[str, None] = {}
    rows = 0
    # While the store takes in one chunk the next is read: both let go of the interpreter.
    with ThreadPoolExecutor(max_workers=1) as pool:
        staging: Future[None] | None = None
        for chunk in read_chunks(file):
            _stop_at_damage(file, chunk, config)
            if layout is None and chunk.frame.width:
                layout = detect(str(file.path), chunk.frame, config.mapping)
            elif layout is not None:
                _no_late_fields(file, chunk, columns, config.mapping)
            columns |= dict.fromkeys(chunk.frame.columns)
            cleaned = clean(chunk, layout or NO_LAYOUT, now)
            if staging:
                staging.result()
            staging = pool.submit(stage_rows, store, file_no, cleaned.rows, cleaned.pairs, cleaned.rejects)
            rows += chunk.frame.height
            progress(file.path.name, rows, 0)
        if staging:
            staging.result()
    stage_file(store, file_no, str(file.path), file.sha256, layout.columns if layout else {})
    return Reading(file, layout, tuple(columns))


NO_LAYOUT = Layout("pair", {}, {}, sides_known=False)
"""For a chunk without a readable record: there is nothing to lay out."""


def _stop_at_damage(file: VoteFile, chunk: Chunk, config: IngestConfig) -> None:
    damage = next((broken for broken in chunk.broken if broken.damage), None)
    if damage and config.on_error == "stop":
        raise CurateError(
            f"{file.path}:{damage.line}: {damage.message}",
            hint="the store is as it was; mend the file, or take what is whole of it with --on-error reject",
        )


def _no_late_fields(file: VoteFile, chunk: Chunk, columns: dict[str, None], mapping: Mapping) -> None:
    """A key that first appears deep in a JSONL file would have changed how the rows above it were read."""
    late = [name for name in chunk.frame.columns if name not in columns]
    found = find_columns(str(file.path), late, VOTE_FIELDS, {}) if late else {}
    unknown = {field: name for field, name in found.items() if field not in mapping.columns}
    if unknown:
        field, name = next(iter(unknown.items()))
        raise CurateError(
            f"{file.path}:{chunk.line[0]}: the key {name!r} appears only from here on, too late to be read as {field}",
            hint=f"leave it out with --map {field}= or give the key in the first records",
        )


def _settle(store: Store, path: str, readings: list[Reading], config: IngestConfig, given: Told) -> IngestReport:
    """Write the judged batch and say what it brought."""
    remapped = remapped_rows(store)
    if remapped:
        raise CurateError(
            f"{path}: {remapped} rows of a file that is in the store would now read as other votes",
            hint="use the mapping of the first ingest, or start a new store with the right one",
        )
    counts, reasons, facts = file_counts(store), reject_reasons(store), vote_facts(store)
    doubtful = doubtful_repeats(store)
    batch_id = _batch_id(store, readings, config)
    taken = accept(store, batch_id)
    files = tuple(_file_report(reading, counts[n]) for n, reading in enumerate(readings, start=1))
    total = {key: sum(count[key] for count in counts.values()) for key in ("rows", "votes", "duplicates", "rejects")}
    told = taken.told + given
    brought = (
        taken.pairs,
        taken.superseded,
        taken.mended,
        taken.new_rejects,
        told.prompts,
        told.responses,
        told.updated,
    )
    changed = any(brought)
    report = IngestReport(
        store=path,
        batch=batch_id if changed else "",
        dry_run=False,
        files=files,
        pairs=taken.pairs,
        reasons=reasons,
        superseded=taken.superseded,
        mended=taken.mended,
        prompts=told.prompts,
        responses=told.responses,
        updated=told.updated,
        warnings=tuple(_warnings(told, readings, total, doubtful)),
        **total,
        **facts,
    )
    if changed:
        settled = {"pairs": taken.pairs, "reasons": reasons, "mended": taken.mended, "superseded": taken.superseded}
        record_batch(store, batch_id, config.model_dump(mode="json"), {**total, **settled})
    return report


def _batch_id(store: Store, readings: list[Reading], config: IngestConfig) -> str:
    document = [next_batch(store), [reading.file.sha256 for reading in readings], config.model_dump(mode="json")]
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()[:12]


def _file_report(reading: Reading, counts: dict[str, int]) -> FileReport:
    layout = reading.layout
    used = set(layout.columns.values()) if layout else set()
    return FileReport(
        path=str(reading.file.path),
        sha256=reading.file.sha256,
        format=reading.file.format + (".gz" if reading.file.gzipped else ""),
        detected=layout.described() if layout else {},
        unused=tuple(name for name in reading.columns if name not in used),
        **counts,
    )


def _warnings(told: Told, readings: list[Reading], total: dict[str, int], doubtful: tuple[int, int]) -> list[str]:
    warnings = []
    repeats, anonymous = doubtful
    if repeats:
        warnings.append(
            f"{repeats} rows repeat an annotator's vote on the same responses; if another column tells them apart "
            "(a turn, a criterion), make it part of the prompt's id, or keep them with --repeats all"
        )
    if anonymous:
        warnings.append(
            f"{anonymous} anonymous rows equal rows of another file and count as the same votes; if they are other "
            "people's, say who voted or give the votes ids"
        )
    if total["rows"] == 0:
        warnings.append("no rows: the files hold nothing but a header")
    if told.conflicts:
        warnings.append(f"{told.conflicts} prompts or responses have more than one text, model or video; one was taken")
    if any(reading.layout and "annotator_id" not in reading.layout.columns for reading in readings):
        warnings.append("no column says who voted: annotators cannot be told apart")
    return warnings
