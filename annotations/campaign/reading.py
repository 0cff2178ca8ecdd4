"""The votes of a log that stand: what can no longer be taken back, each with its line."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from annotations.campaign.log import Event
from annotations.campaign.state import seconds_of

ENDS = ("vote", "skip", "undo")
"""After one of these an annotator's vote before it can no longer be taken back."""
GRACE = 60.0
"""Seconds that a vote is left alone beyond its time: an undo of the last moment may be on its way to the log."""


class Standing(NamedTuple):
    """A vote that stands."""

    line: int
    event: Event


@dataclass
class Reading:
    """Reads events in their order; what is known at the end is of use to a report."""

    now: float
    """Seconds since 1970: a vote older than the campaign's undo_minutes stands."""
    undo_minutes: float = 0.0
    undone: int = 0
    pending: int = 0
    """Votes that could still be taken back; a later reading has them."""
    campaign_id: str = ""
    last: dict[str, Standing] = field(default_factory=dict)

    def votes(self, events: Iterable[tuple[int, Event]]) -> Iterator[Standing]:
        """The votes that stand, in the order in which they came to. events: (line, event)."""
        for line, event in events:
            kind = event["event"]
            if kind == "begin":
                self.campaign_id = event["campaign_id"]
                self.undo_minutes = event["undo_minutes"]
            elif kind == "close":
                yield from self.last.values()
                self.last.clear()
            elif kind in ENDS:
                before = self.last.pop(event["annotator"], None)
                if kind == "undo":
                    self.undone += 1
                elif before is not None:
                    yield before
                if kind == "vote":
                    self.last[event["annotator"]] = Standing(line, event)
        for vote in self.last.values():
            if seconds_of(vote.event["at"]) + 60 * self.undo_minutes + GRACE < self.now:
                yield vote
            else:
                self.pending += 1
