"""The job ``ingest``: vote files into the store; each row becomes a vote, control answer, duplicate or reject."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path, PurePath
from typing import Any

from annotations.file_reader import FileReader
from annotations.platforms.base import Platform, merge_participants
from annotations.platforms.registry import detect_platform, platform_named, read_participants
from annotations.read_ahead import Chunks, read_ahead
from annotations.readers.columns import PLATFORM_COLUMNS, LayoutError
from annotations.readers.files import VoteFile
from annotations.readers.guard import guarded
from annotations.readers.privacy import StoreKey, given_key
from annotations.readers.prompts import read_prompts, read_responses
from annotations.readers.sources import vote_files
from curate.annotators.sides import one_sided
from curate.store import Store
from curate.store.classification import classify_rows
from curate.store.insertion import (
    ReasonCount,
    doubtful_repeats,
    file_counts,
    ids_in_several_forms,
    insert_batch,
    new_votes_by_side,
    next_batch,
    pseudonym_keys,
    record_batch,
    recorded_counts,
    reject_reasons,
    rejects_of_file,
    remapped_rows,
    vote_facts,
)
from curate.store.prompts import PromptChanges, write_prompts, write_responses
from curate.store.staging import create_staging, drop_staging, stage_file, stage_rows
from pipelines.explanation import review_of
from pipelines.progress import Progress, silent
from schemas.config import IngestConfig
from schemas.denoise import WARNINGS
from schemas.errors import CurateError
from schemas.reports import FileReport, FileReview, IngestReport

STATED_REASONS = ("cancelled", "no-answer", "refused-work")
"""Reasons that the file states; they do not mean that it was misread."""
DAMAGE_REASONS = ("broken-record", "bad-encoding", "parser-crash", "too-deep", "too-large", "too-many-digits")
"""Reasons that ``on_error="reject"`` accepts."""
FEW = 2
"""Up to this many rejects never refuse a file that has other rows: a share of few rows says little."""
COUNTS = ("rows", "votes", "controls", "duplicates", "rejects")
"""The counts of a file; rows is the sum of the others."""


def ingest(
    paths: Any,
    store: str | Path = "curate.duckdb",
    *,
    config: IngestConfig = IngestConfig(),
    prompts: Any = None,
    responses: Any = None,
    prolific: Any = None,
    pseudonym_key: str | None = None,
    dry_run: bool = False,
    now: datetime | None = None,
    workers: int = 1,
    progress: Progress = silent,
) -> IngestReport:
    """Read votes into the store, in one transaction, and return the counts of every file.

    Parameters
    ----------
    paths
        A path, glob or folder, ``-`` (stdin), a URL, a DataFrame, an Arrow table, a Dataset, an iterable of dicts, or
        an iterable of such sources (``annotations.readers.sources.vote_files``). Exports of platforms
        (annotations.platforms) are detected by their content, and their annotators get pseudonyms.
    store
        The DuckDB file; created if missing.
    config
        Mapping of columns and outcomes, platform, repeated votes, damaged files.
    prompts, responses
        Prompts and responses, from the same kinds of sources; they may come before any vote (``paths=[]``). Once the
        store has a file of prompts, votes on other prompts are rejected; where a file of responses has some to a
        prompt, votes on others are.
    prolific
        An export of Prolific, joined to the votes by participant id. One among ``paths`` is detected as well.
    pseudonym_key
        A secret, or a file that holds it (default: the environment variable CURATE_PSEUDONYM_KEY). Every annotator
        gets a pseudonym under it. Without one, platforms' annotators get pseudonyms under the store's own key, which is
        kept in a file beside the store.
    dry_run
        Report what would change and change nothing.
    now
        Naive UTC; later votes are rejected.
    workers
        Files that are read at the same time. Their rows are stored in the order of the files, with the same result.

    Raises
    ------
    CurateError
        A file cannot be read without guessing, or is damaged (see ``config.on_error``). The store is then unchanged.

    Examples
    --------
    >>> from pipelines import ingest
    >>> report = ingest("votes/*.csv", "curate.duckdb")  # doctest: +SKIP
    >>> report.rows == report.votes + report.controls + report.duplicates + report.rejects  # doctest: +SKIP
    True
    """
    with (
        vote_files(paths, config) as files,
        vote_files([] if prolific is None else prolific, config) as exports,
    ):
        return _ingest_files(
            [(file, detect_platform(file, config.format_of(str(file)))) for file in files]
            + [(file, platform_named("prolific")) for file in exports],
            store,
            config=config,
            prompts=prompts,
            responses=responses,
            pseudonym_key=pseudonym_key,
            dry_run=dry_run,
            now=now,
            workers=workers,
            progress=progress,
        )


def _ingest_files(
    sources: Sequence[tuple[VoteFile, Platform | None]],
    store: str | Path,
    *,
    config: IngestConfig,
    prompts: Any,
    responses: Any,
    pseudonym_key: str | None,
    dry_run: bool,
    now: datetime | None,
    workers: int,
    progress: Progress,
) -> IngestReport:
    secret = given_key(pseudonym_key)
    missing = not Path(store).exists()
    key: StoreKey | None = None
    with Store.in_memory() if dry_run and missing else Store.open(store, create=True) as opened:
        try:
            with opened.transaction(keep=not dry_run):
                changes = write_prompt_files(opened, prompts, responses, config)
                key = StoreKey(Path(store), secret, lasting=not dry_run, known=frozenset(pseudonym_keys(opened)))
                readers = file_readers(sources, key)
                report = read_files(opened, readers, config, changes, key, now=now, workers=workers, progress=progress)
        except BaseException:
            if key:
                key.discard_new()
            if missing:
                opened.discard()
            raise
        changed = {"dry_run": True, "batch": ""} if dry_run else {}
        return report.model_copy(update={**changed, "store": str(store)})


def read_files(
    store: Store,
    readers: list[FileReader],
    config: IngestConfig,
    changes: PromptChanges,
    key: StoreKey | None = None,
    *,
    now: datetime | None = None,
    workers: int = 1,
    progress: Progress = silent,
) -> IngestReport:
    """Read files into an open store, in its transaction. changes: what the files of prompts and responses changed."""
    at = now or datetime.now(UTC).replace(tzinfo=None)
    create_staging(store)
    with read_ahead(readers, lambda reader: reader.read(config, at), workers=workers) as files:
        for file_no, (reader, chunks) in enumerate(zip(readers, files, strict=True), start=1):
            _stage(store, file_no, reader, chunks, config, progress)
    progress("classifying rows", 0, 0)
    classify_rows(store, repeats=config.repeats)
    report = _insert(store, readers, config, changes, key)
    drop_staging(store)
    return report


def write_prompt_files(store: Store, prompts: Any, responses: Any, config: IngestConfig) -> PromptChanges:
    """Write the files of prompts and responses, and return what changed."""
    changes = PromptChanges()
    if prompts is not None:
        changes += write_prompts(store, read_prompts(prompts, config))
    if responses is not None:
        changes += write_responses(store, read_responses(responses, config))
    return changes


def file_readers(sources: Sequence[tuple[VoteFile, Platform | None]], key: StoreKey | None) -> list[FileReader]:
    """Return a reader for each file, in order, with the participants and the key that apply to it.

    key: of pseudonyms; None to keep the ids of all annotators.
    """
    exports = {
        file: found
        for file, platform in sources
        if platform is not None and platform.read_participants is not None
        for found in guarded(read_participants, file, platform.name)
    }
    participants = merge_participants(list(exports.values()))
    pseudonymize_all = participants is not None or (key is not None and key.given is not None)
    return [
        FileReader(
            file,
            platform,
            key if platform or pseudonymize_all else None,
            pseudonymize_all=pseudonymize_all,
            participants=None if file in exports else participants,
            skipped=Counter({"participants": len(exports[file].facts)} if file in exports else {}),
        )
        for file, platform in sources
    ]


def _stage(
    store: Store, file_no: int, reader: FileReader, chunks: Chunks, config: IngestConfig, progress: Progress
) -> None:
    """Stage the clean rows and rejects of one file, chunk by chunk. Raises RefusedFile with the review of the file."""
    try:
        rows = _stage_chunks(store, file_no, chunks, PurePath(str(reader.file)).name, progress)
    except LayoutError as error:
        raise RefusedFile(str(error), hint=error.hint, review=review_of(reader, error)) from error
    _check_rejects(store, file_no, reader, config, rows)
    columns = reader.layout.columns if reader.layout else {}
    stage_file(store, file_no, str(reader.file), reader.file.sha256, columns)


class RefusedFile(CurateError):
    """A file that cannot be read without guessing, or of which too many rows would be rejected."""

    def __init__(self, message: str, *, hint: str, review: FileReview) -> None:
        super().__init__(message, hint=hint)
        self.review = review


def _stage_chunks(store: Store, file_no: int, chunks: Chunks, name: str, progress: Progress) -> int:
    """Stage the chunks of one file and return the number of rows. name: of the file, for the progress."""
    rows = 0
    # The store inserts one chunk while the next is read; both release the interpreter lock.
    with ThreadPoolExecutor(max_workers=1) as pool:
        staging: Future[None] | None = None
        for clean in chunks:
            if staging:
                staging.result()
            staging = pool.submit(
                stage_rows,
                store,
                file_no,
                rows=clean.rows,
                pairs=clean.pairs,
                controls=clean.controls,
                rejects=clean.rejects,
            )
            rows += clean.rows.height + clean.controls.height + clean.rejects.height
            progress(name, rows, 0)
        if staging:
            staging.result()
    return rows


def _check_rejects(store: Store, file_no: int, reader: FileReader, config: IngestConfig, rows: int) -> None:
    """Raise RefusedFile if no row of a file is usable, or too many were rejected for one reason: it was misread."""
    reasons = rejects_of_file(store, file_no)
    if config.on_error == "reject":
        reasons = [found for found in reasons if found.reason not in DAMAGE_REASONS]
    unusable = sum(found.count for found in reasons) == rows
    for found in reasons:
        allowed = rows if found.reason in STATED_REASONS else max(config.max_rejects * rows, FEW)
        if found.count > allowed or (unusable and config.max_rejects < 1):
            shown = " ".join(f"{value!r} ({count:,})" for value, count in found.values)
            column = f" in column {found.column!r}" if found.column else ""
            share = 1.0 if unusable else found.count / rows + 0.005
            raise RefusedFile(
                f"{reader.file}: {found.count:,} of {rows:,} rows would be rejected: {found.reason}{column}"
                + (f", most often {shown}" if shown else f" ({found.message})"),
                hint=f"{_fix(found)}; or accept them with --max-rejects {share:.2f}",
                review=review_of(reader),
            )


def _fix(found: ReasonCount) -> str:
    """Return the mapping that resolves a reason."""
    if found.reason == "unknown-outcome":
        return "state what the values mean: " + " ".join(f"--outcome {value}=OUTCOME" for value, _ in found.values)
    if found.column:
        return f"map the field to another column (it is {found.column!r} now)"
    return "look at the rows in the review: curate ingest FILE --explain"


def _insert(
    store: Store, readers: list[FileReader], config: IngestConfig, changes: PromptChanges, key: StoreKey | None
) -> IngestReport:
    """Insert the classified batch and return the report."""
    if remapped := remapped_rows(store):
        raise CurateError(
            f"{store.path}: {remapped} rows of a file that is already in the store would become other votes",
            hint="use the mapping of the first ingest, or start a new store with the right one",
        )
    counts, facts = file_counts(store), vote_facts(store)
    reasons = reject_reasons(store, files=counts)
    doubtful, sides = doubtful_repeats(store), one_sided(new_votes_by_side(store))
    recorded = recorded_counts(store, counts)  # before the insertion
    batch_id = _batch_id(store, readers, config)
    inserted = insert_batch(store, batch_id)
    changes += inserted.prompts
    total = {name: sum(count[name] for count in counts.values()) for name in COUNTS}
    stored = {
        "pairs": inserted.pairs,
        "reasons": reasons,
        "recovered": inserted.recovered,
        "superseded": inserted.superseded,
    }
    changed = inserted.changes + changes.prompts + changes.responses + changes.updated > 0
    report = IngestReport(
        store=str(store.path),
        batch=batch_id if changed else "",
        dry_run=False,
        files=tuple(_file_report(reader, counts[n]) for n, reader in enumerate(readers, start=1)),
        prompts=changes.prompts,
        responses=changes.responses,
        updated=changes.updated,
        dropped=dict(sorted(sum((reader.dropped for reader in readers), Counter()).items())),
        pseudonyms=len({person for reader in readers for person in reader.people}),
        pseudonym_key="" if key is None or key.used is None else "given" if key.given else str(key.path),
        warnings=(
            *_warnings(readers, total["rows"], changes.conflicts, doubtful, ids_in_several_forms(store)),
            *(WARNINGS[code].format(count=count) for code, count in sides.items()),
        ),
        **total,
        **stored,
        **facts,
    )
    if changed:
        fingerprint = {"pseudonyms": key.used.fingerprint} if key and key.used else {}
        once = {name: sum(count[name] for count in recorded.files.values()) for name in COUNTS}
        found = {**stored, **once, "reasons": recorded.reasons, "recovered_reasons": recorded.recovered}
        record_batch(store, batch_id, config.model_dump(mode="json") | fingerprint, found, recorded.files)
    return report


def _batch_id(store: Store, readers: list[FileReader], config: IngestConfig) -> str:
    document = [next_batch(store), [reader.file.sha256 for reader in readers], config.model_dump(mode="json")]
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()[:12]


def _file_report(reader: FileReader, counts: dict[str, int]) -> FileReport:
    layout = reader.layout
    used = {*reader.meta_columns, *PLATFORM_COLUMNS, *((*layout.columns.values(), *layout.read) if layout else ())}
    return FileReport(
        path=str(reader.file),
        sha256=reader.file.sha256,
        format=reader.file.format + (".gz" if reader.file.gzipped else ""),
        platform=reader.platform.name if reader.platform else "",
        detected=layout.described() if layout else {},
        unused=tuple(name for name in reader.columns if name not in used),
        meta=tuple(reader.meta_columns),
        skipped=dict(sorted(reader.skipped.items())),
        dropped=dict(sorted(reader.dropped.items())),
        unreadable=dict(sorted(reader.unreadable.items())),
        **counts,
    )


def _warnings(readers: list[FileReader], rows: int, conflicts: int, doubtful: tuple[int, int], forms: int) -> list[str]:
    """Return what the user should check, one sentence each."""
    repeats, anonymous = doubtful
    addressed = sum(reader.addressed for reader in readers)
    unreadable = sum((reader.unreadable for reader in readers), Counter())
    ambiguous = next((reader.ambiguous_times for reader in readers if reader.ambiguous_times), ())
    warnings = {
        f"{repeats} rows repeat an annotator's vote on the same responses; if another column distinguishes them "
        "(a turn, a criterion), make it part of the prompt's id, or keep them with --repeats all": repeats,
        f"{anonymous} anonymous rows equal rows of another file and count as duplicates; if other people cast them, "
        "add a column of annotators or vote ids": anonymous,
        "no rows: the files hold only a header": (
            rows == 0 and readers and not any(reader.skipped for reader in readers)
        ),
        f"{unreadable['voted_at']} times cannot be read and are stored as NULL; give their format with --time-format"
        + (f" (it could be {' or '.join(ambiguous)})" if ambiguous else ""): unreadable["voted_at"],
        f"{unreadable['seconds']} durations are not numbers of seconds and are stored as NULL": unreadable["seconds"],
        f"{conflicts} prompts or responses have more than one text, model or video; one was stored": conflicts,
        f"{forms} prompts or responses have several ids that look alike and are kept apart, because they differ in "
        "their Unicode form; write them alike (NFC)": forms,
        "no column of annotators: votes cannot be assigned to people": any(
            reader.layout and "annotator_id" not in reader.layout.columns for reader in readers
        ),
        f"{addressed} annotator ids contain an e-mail or IP address and are stored unchanged; --pseudonym-key replaces "
        "them by pseudonyms": addressed,
    }
    found = [text for text, applies in warnings.items() if applies]
    joined = next((reader.participants for reader in readers if reader.participants), None)
    if joined and (absent := len(joined.facts) - len(joined.found)):
        found.append(f"{joined.path}: {absent} of its {len(joined.facts)} participants have no vote here")
    if joined and joined.strangers:
        found.append(f"{joined.path}: {len(joined.strangers)} annotators are not among its participants")
    return found
