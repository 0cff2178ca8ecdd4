"""One file of an ingest, from its bytes to clean rows: format, layout, participants, privacy, rules."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime

import polars as pl

from annotations.platforms.base import PARTICIPANT, Participants, Platform
from annotations.platforms.registry import read_rows
from annotations.readers.columns import (
    PLATFORM_COLUMNS,
    REJECT_COLUMNS,
    Layout,
    LayoutError,
    Problem,
    detect_layout,
    detect_platform_layout,
    find_sources,
    rows_to_confirm,
)
from annotations.readers.derived import UnknownColumn, find, melted
from annotations.readers.files import VoteFile, with_rows
from annotations.readers.formats import BrokenRecord, Chunk, guarded_chunks
from annotations.readers.guard import ReaderCrash, guarded
from annotations.readers.privacy import ADDRESS, StoreKey, count_addresses, drop_personal_data, encode_meta
from annotations.readers.rules import CleanRows, apply_rules
from annotations.readers.times import find_time_format, parse_times
from schemas.config import IngestConfig
from schemas.errors import CurateError
from schemas.mapping import Mapping
from schemas.votes import VOTE_FIELDS

CONTENT = ("first", "second", "prompt_id", "question", "video", "text_a", "text_b", "responses", "rankings", "voted_at")
"""Fields that stay unchanged: what was judged, and its ids."""


@dataclass
class FileReader:
    """Reads one file and counts what it finds. The counts are complete once ``read`` is exhausted."""

    file: VoteFile
    platform: Platform | None
    """None for a plain table of votes."""
    key: StoreKey | None
    """The key of pseudonyms; None if ids are stored unchanged."""
    pseudonymize_all: bool = False
    """Every annotator gets a pseudonym, whatever the platform."""
    participants: Participants | None = None
    one_prompt: bool = False
    """Without a column that names the prompt, all votes are on one prompt."""
    kept: list[Chunk] | None = None
    """If a list is given, the rows as read are added to it."""
    layout: Layout | None = None
    """None until a record could be read."""
    columns: dict[str, None] = field(default_factory=dict)
    """The columns of the file, in order."""
    dropped: Counter[str] = field(default_factory=Counter)
    """Kind of personal data -> values that were not kept."""
    skipped: Counter[str] = field(default_factory=Counter)
    """Kind -> records that are not judgments."""
    people: set[str] = field(default_factory=set)
    """The pseudonyms that were given."""
    meta_columns: dict[str, None] = field(default_factory=dict)
    """Columns that went into the votes' meta."""
    addressed: int = 0
    """Annotator ids of a plain table that contain an address and were stored unchanged."""
    unreadable: Counter[str] = field(default_factory=Counter)
    """Optional field -> values that could not be read and are stored as NULL."""
    time_format: str = ""
    """The format of times, given or found."""
    ambiguous_times: tuple[str, ...] = ()
    """Formats that fit all times and give different ones."""
    sample: pl.DataFrame | None = None
    """The first rows, as the layout was detected from them."""

    def __post_init__(self) -> None:
        if self.platform is None and len(self.file.objects) == 1:
            self.file = with_rows(self.file, needed=False)

    def read(self, config: IngestConfig, now: datetime) -> Iterator[CleanRows]:
        """Yield the clean rows and the rejects, chunk by chunk. ``now``: naive UTC.

        Raises CurateError for a file that cannot be read without guessing, and for a damaged one unless
        ``config.on_error`` is "reject".
        """
        mapping = self.file.mapping
        for chunk in self._chunks(now):
            damage = next((record for record in chunk.broken if record.damage), None)
            if damage and config.on_error == "stop":
                encoding = 'set its encoding in the mapping, such as encoding = "cp1252"'
                repair = encoding if damage.reason == "bad-encoding" else "repair the file"
                raise CurateError(
                    f"{self.file}:{self._file_line(damage.line)}: {damage.message}",
                    hint=f"the store is unchanged; {repair}, or read its intact rows with --on-error reject",
                )
            if self.layout is not None:
                self._check_late_columns(chunk, mapping)
                if not chunk.frame.width:  # records without a key
                    nothing = pl.Series([None] * len(chunk.line), dtype=pl.String)
                    chunk = replace(chunk, frame=pl.DataFrame(dict.fromkeys(self.columns, nothing)))
            elif chunk.frame.width or len(chunk.line):
                self.sample = chunk.frame
                if self.file.rows_are_proposed:
                    self._refuse_proposed_rows(chunk.frame, mapping)
                self.layout = self._detect_layout(chunk.frame, mapping)
                self._find_time_format(now)
            self.columns |= dict.fromkeys(chunk.frame.columns)
            self.skipped.update(chunk.skipped)
            if self.kept is not None:
                self.kept.append(chunk)
            clean = self._located(self._clean(chunk, self.layout or Layout(), now))
            self.unreadable.update(clean.unreadable)
            yield clean

    def _chunks(self, now: datetime) -> Iterator[Chunk]:
        """Yield the rows of the file, one per judgment."""
        melt = self.file.mapping.melt
        for chunk in self._guarded_chunks(now):
            if melt is None or not chunk.frame.width:
                yield chunk
                continue
            present = chunk.frame.columns
            if taken := {melt.into, "outcome"}.intersection(present):
                raise CurateError(
                    f"{self.file}: melt writes the columns {melt.into} and outcome, but the file has {min(taken)!r}",
                    hint="rename that column in the file",
                )
            try:
                columns = tuple(find(name, present) for name in melt.columns)
            except UnknownColumn as error:
                raise CurateError(f"{self.file}: melt: {error}", hint="list the columns that hold outcomes") from error
            melt = melt.model_copy(update={"columns": columns})
            frame, line, empty = melted(chunk.frame, chunk.line, melt, "outcome")
            # A record that cannot be read has the number of its first judgment.
            broken = tuple(r._replace(line=(r.line - 1) * len(columns) + 1) for r in chunk.broken)
            skipped = {**chunk.skipped, "cells without an outcome": empty}
            yield replace(chunk, frame=frame, line=line, broken=broken, skipped=skipped)

    def _file_line(self, judgment: int) -> int:
        """Return the line of a judgment, which is its number unless the file is melted."""
        melt = self.file.mapping.melt
        return (judgment - 1) // len(melt.columns) + 1 if melt else judgment

    def _located(self, clean: CleanRows) -> CleanRows:
        """Return the rows of a melted file with rejects that name their line and column in the file."""
        melt = self.file.mapping.melt
        if melt is None or clean.rejects.is_empty():
            return clean
        judgment, names = pl.col("line") - 1, pl.Series(melt.columns)
        column = pl.lit(names).gather(judgment % len(names))
        of_cell = (pl.col("column_name") == "outcome").fill_null(False)
        message = pl.col("message").str.replace("column 'outcome'", pl.format("column '{}'", column), literal=True)
        rejects = clean.rejects.with_columns(
            pl.format("line {}: {}", judgment // len(names) + 1, message).alias("message"),
            pl.when(of_cell).then(column).otherwise("column_name").alias("column_name"),
        )
        return replace(clean, rejects=rejects)

    def _guarded_chunks(self, now: datetime) -> Iterator[Chunk]:
        """Yield what the format or platform reads, in a child process; if that dies, a broken record is the last."""
        if self.file.trusted and self.platform:  # also one that is not registered
            yield from self.platform.read(self.file, now)
            return
        line = 1
        try:
            for chunk in (
                guarded(read_rows, self.file, self.platform.name, now) if self.platform else guarded_chunks(self.file)
            ):
                line = 1 + max([line - 1, *chunk.line.tail(1), *(record.line for record in chunk.broken)])
                yield chunk
        except ReaderCrash as crash:
            empty = pl.Series("line", [], pl.Int64)
            message = str(crash).removeprefix(f"{self.file}: ")
            yield Chunk(pl.DataFrame(), empty, (BrokenRecord(line, "parser-crash", message, "", damage=True),))

    def _detect_layout(self, sample: pl.DataFrame, mapping: Mapping) -> Layout:
        if self.platform:
            layout = detect_platform_layout(str(self.file), sample, mapping)
        else:
            layout = detect_layout(str(self.file), sample, mapping, one_prompt=self.one_prompt)
        if self.platform or self.participants:
            layout = replace(layout, columns={**layout.columns, **{name: name for name in REJECT_COLUMNS}})
        return layout

    def _refuse_proposed_rows(self, sample: pl.DataFrame, mapping: Mapping) -> None:
        """Raise LayoutError that names the proposed rows, and what else is missing."""
        problems: tuple[Problem, ...] = ()
        sources = find_sources(sample.columns, VOTE_FIELDS, mapping.columns)[0]
        try:
            self._detect_layout(sample, mapping)
        except LayoutError as error:
            problems, sources = error.problems, error.sources
        raise LayoutError(str(self.file), sample.columns, (rows_to_confirm(mapping.rows), *problems), sources)

    def _find_time_format(self, now: datetime) -> None:
        """Find how times are written; only a file with unusual times is read twice."""
        self.time_format = self.file.mapping.time_format
        layout, sample = self.layout, self.sample
        if self.time_format or layout is None or sample is None or "voted_at" not in layout.columns:
            return
        column = layout.columns["voted_at"]
        texts = layout.apply(sample)[column].str.strip_chars()
        if not (parse_times(texts)[0].is_null() & (texts != "")).any():
            return
        parts = (layout.apply(chunk.frame) for chunk in self._chunks(now) if chunk.frame.width)
        self.time_format, ambiguous = find_time_format(part[column] for part in parts if column in part.columns)
        self.ambiguous_times = tuple(ambiguous)

    def _check_late_columns(self, chunk: Chunk, mapping: Mapping) -> None:
        """Raise CurateError if a new key of a JSONL file would have changed how the earlier rows were read."""
        late = [name for name in chunk.frame.columns if name not in self.columns]
        found = find_sources(late, VOTE_FIELDS, {})[0] if late else {}
        for name, column in found.items():
            if name not in mapping.columns:
                raise CurateError(
                    f"{self.file}:{self._file_line(chunk.line[0])}: the key {column!r} first appears here, too late to "
                    f"be the field {name}",
                    hint=f"ignore it with --map {name}=, or add the key to the first records",
                )

    def _clean(self, chunk: Chunk, layout: Layout, now: datetime) -> CleanRows:
        """Return the chunk after participants, privacy and rules."""
        chunk = replace(chunk, frame=layout.apply(chunk.frame)) if chunk.frame.width else chunk
        annotator = layout.columns.get("annotator_id")
        if self.platform:
            chunk = _mark_unanswered(chunk, layout)
        if self.participants:
            chunk = self.participants.join(chunk, annotator, keep_rejects=self.platform is not None)
        if self.key is None:
            if not self.platform and annotator in chunk.frame.columns:
                self.addressed += int(chunk.frame[annotator].drop_nulls().unique().str.contains(ADDRESS).sum())
            return apply_rules(chunk, layout, now, time_format=self.time_format)
        chunk = self._pseudonymize(chunk, layout, annotator, self.key)
        return apply_rules(chunk, layout, now, meta=self._meta(chunk.frame, layout), time_format=self.time_format)

    def _pseudonymize(self, chunk: Chunk, layout: Layout, annotator: str | None, key: StoreKey) -> Chunk:
        """Return the chunk with pseudonyms for annotators and without other personal data."""
        frame = chunk.frame
        content = {layout.columns[name] for name in CONTENT if name in layout.columns}
        if annotator in frame.columns:
            content.add(annotator)
            people = frame[annotator]
            named = people.is_not_null()
            if not self.pseudonymize_all and self.platform and not self.platform.personal_ids:
                named &= people.str.contains(ADDRESS)
            if named.any():
                pseudonyms = key.pseudonyms().of_all(people.filter(named))
                self.dropped += count_addresses(people)
                self.people.update(pseudonyms.drop_nulls())
                frame = frame.with_columns(people.clone().scatter(named.arg_true(), pseudonyms).alias(annotator))
        frame, dropped = drop_personal_data(frame, content)
        self.dropped += dropped
        # The text of an unreadable record may contain a name, so only its line is stored.
        broken = tuple(record._replace(text="") for record in chunk.broken)
        return replace(chunk, frame=frame, broken=broken)

    def _meta(self, frame: pl.DataFrame, layout: Layout) -> pl.Series | None:
        """Return (n,) the columns that no field uses as JSON; of a plain table only those of participants."""
        used = {*layout.columns.values(), *PLATFORM_COLUMNS, *(derived.column for derived in layout.derived)}
        names = [name for name in frame.columns if name not in used and (self.platform or name == PARTICIPANT)]
        if not names:
            return None
        self.meta_columns |= dict.fromkeys(names)
        meta, dropped = encode_meta(frame.select(names))
        self.dropped += dropped
        return meta


def _mark_unanswered(chunk: Chunk, layout: Layout) -> Chunk:
    """Return the chunk of a platform with the reject reason "no-answer" in each row with an empty outcome."""
    frame, column = chunk.frame, layout.columns.get("outcome")
    if layout.kind != "pair" or column not in frame.columns:
        return chunk
    for name in REJECT_COLUMNS:
        if name not in frame.columns:
            frame = frame.with_columns(pl.lit(None, pl.String).alias(name))
    unanswered = (pl.col(column).str.strip_chars().fill_null("") == "") & pl.col("reject").is_null()
    values = {"reject": "no-answer", "reject_text": "no outcome was chosen"}
    marked = (
        pl.when(unanswered).then(pl.lit(text)).otherwise(pl.col(name)).alias(name) for name, text in values.items()
    )
    return replace(chunk, frame=frame.with_columns(marked))
