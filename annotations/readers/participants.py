"""What a panel's export says of participants, joined to their votes by participant id."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import polars as pl

from annotations.readers.chunks import Chunk

COLUMN = "prolific.export"
"""The column that a vote's meta keeps it under."""


@dataclass(frozen=True)
class Participants:
    """The participants of one or more exports."""

    path: str
    facts: Mapping[str, str]
    """Participant id -> what is known of them, as JSON text."""
    refused: Mapping[str, str]
    """Participant id -> why their work does not count, in words."""
    met: set[str] = field(default_factory=set)
    """Those of them who voted, as far as votes were read."""
    strangers: set[str] = field(default_factory=set)
    """Annotators who are none of them."""

    def joined(self, chunk: Chunk, who: str | None, *, told: bool) -> Chunk:
        """The chunk with what is known of each row's annotator (column ``who``) in COLUMN.

        The rows of those whose work does not count get a reject's reason. told: the chunk's own columns of reasons are
        a reader's, and stand; else a table may call anything so.
        """
        frame = chunk.frame
        if who not in frame.columns:
            return chunk
        people = frame[who].str.strip_chars()
        seen = set(people.drop_nulls().unique())
        self.met.update(seen & self.facts.keys())
        self.strangers.update(seen - self.facts.keys())
        facts = people.replace_strict(dict(self.facts), default=None, return_dtype=pl.String).alias(COLUMN)
        why = people.replace_strict(dict(self.refused), default=None, return_dtype=pl.String)
        reason = pl.select(pl.when(why.is_not_null()).then(pl.lit("refused-work"))).to_series()
        for name, added in (("reject", reason), ("reject_text", why)):
            added = added.alias(name)
            frame = frame.with_columns(frame[name].fill_null(added) if told and name in frame.columns else added)
        return replace(chunk, frame=frame.with_columns(facts))


def merged(found: list[Participants]) -> Participants | None:
    """All of them as one; None where there are none."""
    if not found:
        return None
    facts = {person: text for each in found for person, text in each.facts.items()}
    refused = {person: why for each in found for person, why in each.refused.items()}
    return Participants(", ".join(each.path for each in found), facts, refused)
