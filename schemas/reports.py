"""What jobs report when they are done: the JSON of ``--json``, field by field. See also denoise.py and audit.py."""

from __future__ import annotations

from typing import ClassVar, Literal

from schemas.base import Document
from schemas.manifest import Ceiling


class FileReport(Document):
    """One file of an ingest; rows = votes + controls + duplicates + rejects."""

    path: str
    sha256: str
    format: str
    platform: str
    """The platform that wrote it, by its name in ``curate ingest --formats``; empty for a plain table of votes."""
    detected: dict[str, str]
    """Field -> column."""
    unused: tuple[str, ...]
    """Columns that no field uses and that are not kept."""
    meta: tuple[str, ...]
    """Columns that are kept in the votes' meta."""
    skipped: dict[str, int]
    """Kind -> records that are not judgments; they do not count as rows."""
    dropped: dict[str, int]
    """Kind of personal data -> values that were not kept."""
    unreadable: dict[str, int] = {}
    """Optional field -> values that could not be read and are stored as NULL."""
    rows: int
    votes: int
    controls: int
    """Answers to control questions, which are not votes because their outcome is known."""
    duplicates: int
    rejects: int


class ColumnReview(Document):
    """One column of a reviewed file."""

    name: str
    distinct: int
    empty: int
    values: tuple[tuple[str, int], ...]
    """The most frequent values and their counts."""


class FileReview(Document):
    """How a vote file would be read: ``curate ingest FILE --explain``."""

    path: str
    format: str
    platform: str
    rows: int
    """Rows that were looked at: the first ones."""
    sample: tuple[dict[str, str | None], ...]
    columns: tuple[ColumnReview, ...]
    detected: dict[str, str]
    """Field -> source, as far as it is known."""
    problems: tuple[str, ...]
    """What is missing; empty if the file can be read."""
    mapping: str
    """TOML for curate.toml; ``?`` where only the user knows."""


class IngestReport(Document):
    """One ingest. Every row is exactly one of a vote, a control answer, a duplicate or a reject."""

    renamed: ClassVar[dict[str, str]] = {"mended": "recovered"}

    store: str
    batch: str
    """The id of the batch; empty in a dry run and if nothing in the store changed."""
    dry_run: bool
    files: tuple[FileReport, ...]
    rows: int
    votes: int
    controls: int
    duplicates: int
    rejects: int
    pairs: int
    """Pairwise votes stored; a K-wise ranking counts as its pairs."""
    reasons: dict[str, int]
    """Reason -> rejects."""
    superseded: int
    """Votes of earlier ingests that newer votes of the same annotators replaced; they become rejects."""
    recovered: int
    """Rows that earlier ingests rejected and that are votes or duplicates now."""
    prompts: int
    """Prompts new to the store."""
    responses: int
    """Responses new to the store."""
    updated: int
    """Stored prompts and responses whose question, video, model or text is new or changed."""
    annotators: int
    """Distinct annotators among the new votes."""
    anonymous: int
    """New votes without an annotator."""
    sides_known: int
    """New votes that state which response was shown left."""
    dropped: dict[str, int]
    """Kind of personal data -> values that were not kept."""
    pseudonyms: int
    """Annotators whose ids became pseudonyms."""
    pseudonym_key: str
    """The key of these pseudonyms: the file of the store's own key, or "given"; empty if there are none."""
    warnings: tuple[str, ...]


class ExportReport(Document):
    """One export."""

    renamed = {"left_out": "excluded"}

    out: str
    run: str
    kind: str
    """train | benchmark"""
    version: str
    """Digest of the exported files."""
    reused: bool
    """True if the folder already held exactly this export."""
    items: dict[str, int]
    """config (train; 4way, pairwise) -> items."""
    candidates: dict[str, int]
    """config -> sets of responses that were considered."""
    eligible: dict[str, int]
    """config -> candidates at or above min_confidence."""
    difficulty: dict[str, dict[str, int]]
    """config -> numbers of hard, medium and easy items."""
    confidence: dict[str, float | None]
    """config -> mean confidence of its items: the expected share of correct best labels; None without items."""
    ceiling: dict[str, Ceiling | None]
    """config -> score of a judge that knows the true order; None if no item has a best response."""
    floor: dict[str, float | None]
    """config -> expected score of a judge that guesses."""
    prompts: int
    """Prompts with an item."""
    criterion: str = ""
    """By which the responses were compared; empty if the votes have no criterion."""
    excluded: dict[str, int]
    """Reason -> number of prompts, responses or items excluded; a reason of one config of several names it."""
    files: int
    """Files listed in the manifest."""
    bytes: int
    """Their size, bytes."""

    newer_votes: int
    """Votes in the store that were ingested after the denoise run and are not in the export."""


class PageReport(Document):
    """One HTML report on a denoise run."""

    renamed: ClassVar[dict[str, str]] = {"no_picture": "picture_errors", "missing": "not_computed"}

    out: str
    run: str
    bytes: int
    listed: int
    """Prompts on the page; the first of the run, if it has too many responses for one page."""
    shown: tuple[tuple[str, str], ...]
    """(prompt, reason) of those that are readable without scripts, in the order of the page."""
    pictures: int
    """Videos with a picture."""
    picture_errors: dict[str, str]
    """Video -> why no frames of it are shown."""
    not_computed: tuple[str, ...]
    """What the page lacks, and the command that computes it."""


class SimulateReport(Document):
    """One simulated world."""

    out: str
    prompts: int
    responses: int
    annotators: int
    spammers: int
    votes: int
    ties: float
    """Share of ties among the votes."""
    files: tuple[str, ...]


class ComparisonReport(Document):
    """Agreement of a run's rankings with a known true order. Means over prompts."""

    prompts: int
    missing: int
    """Prompts of the truth that the run did not rank in full."""
    kendall_tau: dict[str, float]
    """ranker -> Kendall tau-b to the truth; "final" is the run's ranking."""
    top1: dict[str, float]
    """ranker -> share of prompts whose first response is truly the best (a shared first rank counts its share)."""
    best_of_4: dict[str, float]
    """ranker -> probability that its best of four random responses of a prompt is truly their best."""


class TextGroup(Document):
    """Responses of one prompt with equal or nearly identical texts."""

    prompt_id: str
    kind: Literal["equal", "near"]
    """near: texts that are not equal but have the same words; they are ranked separately."""
    response_ids: tuple[str, ...]
    texts: tuple[str, ...]
    """Of these responses."""


class StoreReport(Document):
    """The files of a store after ``curate store convert`` or ``compact``."""

    store: str
    partitioned: bool
    """Whether its votes are Parquet files."""
    votes_url: str | None
    """Where they are, if not in its folder."""
    votes: int
    files: int
    """Parquet files of votes; 0 if it is one DuckDB file."""
    bytes: int
    rewritten: int
    """Buckets that ``compact`` rewrote."""


class StatusReport(Document):
    """What a store holds."""

    store: str
    bytes: int
    schema_version: int
    prompts: int
    responses: int
    models: int
    annotators: int
    votes: int
    outcomes: dict[str, int]
    sides_known: int
    groups: int
    """K-wise rankings among the votes."""
    controls: int
    """Answers to control questions: they are no votes."""
    rejects: dict[str, int]
    batches: int
    runs: tuple[dict[str, str], ...]
    """Every run: id, step, what it did in a line; the latest last."""
    criteria: dict[str, int] = {}
    """Votes by criterion; empty if no vote has one."""
    equal_texts: tuple[TextGroup, ...] = ()
    """Only if they were asked for."""
    splits: dict[str, int]
