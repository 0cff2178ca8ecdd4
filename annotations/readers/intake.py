"""One file on its way to clean rows: read as its platform writes it, joined to participants, rid of personal data."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime

import polars as pl

from annotations.platforms.base import Platform
from annotations.platforms.layouts import layout_of
from annotations.readers.chunks import Chunk, read_chunks
from annotations.readers.columns import Layout, detect
from annotations.readers.files import VoteFile
from annotations.readers.meta import meta_of
from annotations.readers.participants import COLUMN, Participants
from annotations.readers.privacy import EMAIL, IP, Pseudonyms, addresses, found_in, scrubbed
from annotations.readers.rules import BESIDE, Clean, clean
from schemas.config import Mapping

CONTENT = ("first", "second", "prompt_id", "question", "video", "text_a", "text_b", "responses", "rankings", "voted_at")
"""Fields that are left as they are: what was judged, and its ids."""


@dataclass
class Intake:
    """How one file is read, and what was met on the way."""

    file: VoteFile
    platform: Platform | None
    """None for a table whose columns speak for themselves."""
    pseudonyms: Callable[[], Pseudonyms] | None
    """What gives people pseudonyms, once it is needed; None where ids are kept as they are."""
    everybody: bool = False
    """Every annotator gets a pseudonym, whatever the platform says of its ids."""
    participants: Participants | None = None
    dropped: Counter[str] = field(default_factory=Counter)
    """Personal data that was not kept: kind -> values."""
    skipped: Counter[str] = field(default_factory=Counter)
    """What the file holds beside judgments."""
    people: set[str] = field(default_factory=set)
    """The pseudonyms that were given."""
    kept: dict[str, None] = field(default_factory=dict)
    """Columns that went to the votes' meta."""
    addressed: int = 0
    """Annotators of a table whose ids, kept as they are, hold an address."""

    def chunks(self, now: datetime) -> Iterator[Chunk]:
        """The file's rows, as ``read_chunks`` gives them. now: naive UTC."""
        if self.platform and self.platform.read_at:
            return self.platform.read_at(self.file, now)
        return self.platform.read(self.file) if self.platform else read_chunks(self.file)

    def layout(self, sample: pl.DataFrame, mapping: Mapping) -> Layout:
        """How its rows are to be read. Raises CurateError as ``detect`` does."""
        where = str(self.file.path)
        found = layout_of(where, sample, mapping) if self.platform else detect(where, sample, mapping)
        if (self.platform or self.participants) and "reject" not in found.columns:
            found = replace(found, columns={**found.columns, "reject": "reject", "reject_text": "reject_text"})
        return found

    def clean(self, chunk: Chunk, layout: Layout, now: datetime) -> Clean:
        """The rules applied to a chunk, after what is to be done with people is done."""
        self.skipped.update(chunk.skipped)
        who = layout.columns.get("annotator_id")
        if self.platform:
            chunk = _unanswered(chunk, layout)
        if self.participants:
            chunk = self.participants.joined(chunk, who, told=self.platform is not None)
        if self.pseudonyms is None:
            if not self.platform and who in chunk.frame.columns:
                self.addressed += addresses(chunk.frame[who])
            return clean(chunk, layout, now)
        chunk = self._without_people(chunk, layout, who, self.pseudonyms)
        meta = self._meta(chunk.frame, layout)
        return clean(chunk, layout, now, meta=meta)

    def _without_people(
        self, chunk: Chunk, layout: Layout, who: str | None, pseudonyms: Callable[[], Pseudonyms]
    ) -> Chunk:
        """The chunk with pseudonyms for people, and without what else tells who they are."""
        frame = chunk.frame
        content = {layout.columns[name] for name in CONTENT if name in layout.columns}
        if who in frame.columns:
            people = frame[who]
            named = people.is_not_null()
            if not self.everybody and self.platform and not self.platform.people:
                named &= people.str.contains(f"{EMAIL}|{IP}")  # what a release calls its annotators is no secret
            if named.any():
                given = pseudonyms().mapped(people.filter(named))
                self.dropped += found_in(people)
                self.people.update(given.drop_nulls())
                frame = frame.with_columns(scattered(given, named, people).alias(who))
        frame, gone = scrubbed(frame, content | {who} if who else content)
        self.dropped += gone
        # A record that cannot be read may name anybody: its line is told, and not its text.
        broken = tuple(record._replace(text="") for record in chunk.broken)
        return replace(chunk, frame=frame, broken=broken)

    def _meta(self, frame: pl.DataFrame, layout: Layout) -> pl.Series | None:
        """What no field took; of a table only what was joined to it."""
        used = {*layout.columns.values(), *BESIDE}
        names = [name for name in frame.columns if name not in used and (self.platform or name == COLUMN)]
        if not names:
            return None
        self.kept |= dict.fromkeys(names)
        meta, gone = meta_of(frame.select(names))
        self.dropped += gone
        return meta


def scattered(values: pl.Series, at: pl.Series, others: pl.Series) -> pl.Series:
    """(n,) the values where ``at`` is true, in their order, and the others elsewhere."""
    spread = values.gather(pl.select(pl.when(at).then(at.cum_sum() - 1)).to_series().cast(pl.UInt32))
    return spread.zip_with(at, others)


def _unanswered(chunk: Chunk, layout: Layout) -> Chunk:
    """Rows of a platform without an answer say so: nothing was chosen, which is no tie and no unknown word."""
    frame, column = chunk.frame, layout.columns.get("outcome")
    if layout.kind != "pair" or column not in frame.columns:
        return chunk
    empty = pl.col(column).is_null() | (pl.col(column).str.strip_chars() == "")
    reasons = {"reject": "no-answer", "reject_text": "nothing was chosen"}
    own = "reject" in frame.columns
    free = empty & pl.col("reject").is_null() if own else empty
    filled = {
        name: pl.when(free).then(pl.lit(text)).otherwise(pl.col(name) if own else pl.lit(None, pl.String))
        for name, text in reasons.items()
    }
    return replace(chunk, frame=frame.with_columns(**filled))
