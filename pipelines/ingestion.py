"""The job ``ingest``: vote files into the store, every row a vote, a duplicate or a named reject."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable
from collections.abc import Mapping as Counts
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from annotations.platforms.base import Platform
from annotations.platforms.registry import PROLIFIC, platform_of
from annotations.readers.chunks import Chunk
from annotations.readers.columns import Layout, find_columns
from annotations.readers.files import VoteFile, find_files
from annotations.readers.intake import Intake
from annotations.readers.participants import merged
from annotations.readers.rules import BESIDE
from annotations.readers.subjects import read_prompts, read_responses
from curate.store import Store
from curate.store.classification import judge
from curate.store.controls import judge_controls
from curate.store.ingestion import (
    accept,
    doubtful_repeats,
    file_counts,
    next_batch,
    pseudonym_keys,
    record_batch,
    reject_reasons,
    remapped_rows,
    vote_facts,
)
from curate.store.staging import close_staging, open_staging, stage_controls, stage_file, stage_rows
from curate.store.subjects import Told, give_prompts, give_responses
from pipelines.progress import Progress, silent
from pipelines.pseudonyms import KeyRing, given_key
from schemas.config import IngestConfig, Mapping
from schemas.errors import CurateError
from schemas.reports import FileReport, IngestReport
from schemas.votes import VOTE_FIELDS


@dataclass(frozen=True)
class Reading:
    """How one file was read."""

    intake: Intake
    layout: Layout | None
    """None where not one record could be read."""
    columns: tuple[str, ...]

    @property
    def file(self) -> VoteFile:
        return self.intake.file


def ingest(
    paths: Iterable[str | Path] | str | Path,
    store: str | Path = "curate.duckdb",
    *,
    config: IngestConfig = IngestConfig(),
    prompts: str | Path | None = None,
    responses: str | Path | None = None,
    prolific: str | Path | None = None,
    pseudonym_key: str | None = None,
    dry_run: bool = False,
    now: datetime | None = None,
    progress: Progress = silent,
) -> IngestReport:
    """Read votes from files, globs and directories into the store, in one transaction.

    Exports of platforms are told by their content (annotations.platforms); their people get pseudonyms.

    prompts, responses: files of what is judged, which a campaign may ask about before there is any vote (no paths);
    once prompts are given, a vote on any other is rejected.
    prolific: an export of Prolific, joined to the votes by participant id (one among ``paths`` is recognised as well).
    pseudonym_key: a file that holds a secret, or the secret (default: CURATE_PSEUDONYM_KEY): every annotator's id
    becomes a pseudonym under it. Without one, platforms' people get pseudonyms under the store's own key, which is kept
    beside it.
    dry_run: report what would happen and change nothing. now: naive UTC; votes dated later are rejected.
    Raises CurateError for a file that cannot be read without guessing, or that is damaged (see config.on_error);
    the store is then as it was.
    """
    files = find_files([paths] if isinstance(paths, str | Path) else paths)
    sources = [(file, platform_of(file, config.format)) for file in files]
    if prolific:
        sources += [(file, platform_of(file, PROLIFIC)) for file in find_files([prolific])]
    key = given_key(pseudonym_key)
    now = now or datetime.now(UTC).replace(tzinfo=None)
    missing = not Path(store).exists()
    keys: KeyRing | None = None
    with Store.in_memory() if dry_run and missing else Store.open(store, create=True) as opened:
        try:
            with opened.transaction(keep=not dry_run):
                given = _give(opened, prompts, responses, config.mapping)
                open_staging(opened)
                keys = KeyRing(Path(store), key, lasting=not dry_run, known=frozenset(pseudonym_keys(opened)))
                intakes = _intakes(sources, keys)
                readings = [
                    _read(opened, n, intake, config, now, progress) for n, intake in enumerate(intakes, start=1)
                ]
                progress("settling", 0, 0)
                judge(opened, repeats=config.repeats)
                judge_controls(opened)
                report = _settle(opened, str(store), readings, config, given, keys)
                close_staging(opened)
        except BaseException:
            if keys:
                keys.take_back()
            if missing:
                opened.discard()
            raise
        return report.model_copy(update={"dry_run": True, "batch": ""}) if dry_run else report


def _intakes(sources: list[tuple[VoteFile, Platform | None]], keys: KeyRing) -> list[Intake]:
    """The files, in order, with whom they are joined to and how their people are named."""
    panels = {file: platform.joins(file) for file, platform in sources if platform and platform.joins}
    participants = merged(list(panels.values()))
    private = participants is not None or keys.given is not None
    return [
        Intake(
            file,
            platform,
            keys if platform or private else None,
            everybody=private,
            participants=None if file in panels else participants,
            skipped=Counter({"participants": len(panels[file].facts)} if file in panels else {}),
        )
        for file, platform in sources
    ]


def _give(store: Store, prompts: str | Path | None, responses: str | Path | None, mapping: Mapping) -> Told:
    """What the files of prompts and responses told."""
    told = Told()
    if prompts:
        told += give_prompts(store, read_prompts(str(prompts), mapping.prompt_columns))
    if responses:
        told += give_responses(store, read_responses(str(responses), mapping.response_columns))
    return told


def _read(
    store: Store, file_no: int, intake: Intake, config: IngestConfig, now: datetime, progress: Progress
) -> Reading:
    """Stage one file, chunk by chunk."""
    file = intake.file
    layout: Layout | None = None
    columns: dict[str, None] = {}
    rows = 0
    # While the store takes in one chunk the next is read: both let go of the interpreter.
    with ThreadPoolExecutor(max_workers=1) as pool:
        staging: Future[None] | None = None
        for chunk in intake.chunks(now):
            _stop_at_damage(file, chunk, config)
            if layout is None and chunk.frame.width:
                layout = intake.layout(chunk.frame, config.mapping)
            elif layout is not None:
                _no_late_fields(file, chunk, columns, config.mapping)
            columns |= dict.fromkeys(chunk.frame.columns)
            cleaned = intake.clean(chunk, layout or NO_LAYOUT, now)
            if staging:
                staging.result()
            if cleaned.controls.height:
                stage_controls(store, file_no, cleaned.controls)
            staging = pool.submit(stage_rows, store, file_no, cleaned.rows, cleaned.pairs, cleaned.rejects)
            rows += chunk.frame.height
            progress(file.path.name, rows, 0)
        if staging:
            staging.result()
    stage_file(store, file_no, str(file.path), file.sha256, layout.columns if layout else {})
    return Reading(intake, layout, tuple(columns))


COUNTS = ("rows", "votes", "controls", "duplicates", "rejects")
"""What is counted of a file; rows is the sum of the others."""
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


def _settle(
    store: Store, path: str, readings: list[Reading], config: IngestConfig, given: Told, keys: KeyRing
) -> IngestReport:
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
    total = {key: sum(count[key] for count in counts.values()) for key in COUNTS}
    told = taken.told + given
    brought = (
        taken.pairs,
        taken.superseded,
        taken.mended,
        taken.new_rejects,
        taken.controls,
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
        dropped=_added(reading.intake.dropped for reading in readings),
        pseudonyms=len({person for reading in readings for person in reading.intake.people}),
        pseudonym_key="" if keys.used is None else "given" if keys.given else str(keys.own),
        warnings=tuple(_warnings(told, readings, total, doubtful)),
        **total,
        **facts,
    )
    if changed:
        how = config.model_dump(mode="json") | ({"pseudonyms": keys.used.fingerprint} if keys.used else {})
        settled = {"pairs": taken.pairs, "reasons": reasons, "mended": taken.mended, "superseded": taken.superseded}
        record_batch(store, batch_id, how, {**total, **settled})
    return report


def _batch_id(store: Store, readings: list[Reading], config: IngestConfig) -> str:
    document = [next_batch(store), [reading.file.sha256 for reading in readings], config.model_dump(mode="json")]
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()[:12]


def _file_report(reading: Reading, counts: dict[str, int]) -> FileReport:
    layout, intake = reading.layout, reading.intake
    used = {*intake.kept, *BESIDE, *(layout.columns.values() if layout else ())}
    return FileReport(
        path=str(reading.file.path),
        sha256=reading.file.sha256,
        format=reading.file.format + (".gz" if reading.file.gzipped else ""),
        platform=intake.platform.name if intake.platform else "",
        detected={name: column for name, column in layout.described().items() if name not in BESIDE} if layout else {},
        unused=tuple(name for name in reading.columns if name not in used),
        meta=tuple(intake.kept),
        skipped=dict(sorted(intake.skipped.items())),
        dropped=dict(sorted(intake.dropped.items())),
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
    if total["rows"] == 0 and readings and not any(reading.intake.skipped for reading in readings):
        warnings.append("no rows: the files hold nothing but a header")
    if told.conflicts:
        warnings.append(f"{told.conflicts} prompts or responses have more than one text, model or video; one was taken")
    if any(reading.layout and "annotator_id" not in reading.layout.columns for reading in readings):
        warnings.append("no column says who voted: annotators cannot be told apart")
    return [*warnings, *_of_people(readings)]


def _of_people(readings: list[Reading]) -> list[str]:
    """What is to be said of the people behind the votes."""
    warnings = []
    if addressed := sum(reading.intake.addressed for reading in readings):
        warnings.append(
            f"{addressed} annotator ids hold an e-mail or IP address and were kept as they are; --pseudonym-key gives "
            "people pseudonyms"
        )
    joined = next((reading.intake.participants for reading in readings if reading.intake.participants), None)
    if joined and (absent := len(joined.facts) - len(joined.met)):
        warnings.append(f"{joined.path}: {absent} of its {len(joined.facts)} participants have no vote here")
    if joined and joined.strangers:
        warnings.append(f"{joined.path}: {len(joined.strangers)} annotators are none of its participants")
    return warnings


def _added(counts: Iterable[Counts[str, int]]) -> dict[str, int]:
    """The sum of counts by kind."""
    total: Counter[str] = Counter()
    for count in counts:
        total.update(count)
    return dict(sorted(total.items()))
