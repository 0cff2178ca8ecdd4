"""Our own campaigns: the log that the voting page writes, which may be open meanwhile.

Shape: docs/campaign.md; one event a line. Read are the votes that can no longer be taken back; the others are left for
the next reading, and a last line that is not whole is not there yet. Answers to known questions, and checks of
attention, are control questions. What was shown left is what the event says. Names are the campaign's own.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from annotations.campaign.log import Event, FinalVote, FinalVotes, seconds_of
from annotations.platforms.base import Platform, Row, chunk_of
from annotations.platforms.sniffing import Head
from annotations.readers.chunks import Broken, Chunk
from annotations.readers.files import VoteFile

ROWS = 100_000
"""Rows of a chunk."""
NUMBER = int | float
NEEDED: dict[str, dict[str, Any]] = {
    "begin": {"campaign_id": str, "undo_minutes": NUMBER},
    "vote": dict.fromkeys(("at", "annotator", "prompt_id", "left", "right", "outcome"), str)
    | {"seq": int, "seconds": NUMBER, "watched": NUMBER},
    "skip": {"annotator": str},
    "undo": {"annotator": str},
}
"""What is read of each kind of event."""


def _recognises(head: Head) -> bool:
    return head.format == "jsonl" and head.has("seq", "at", "event", "campaign_id")


def read_log(file: VoteFile, now: datetime) -> Iterator[Chunk]:
    """The votes that stand at the time ``now``, naive UTC."""
    reading = FinalVotes(now.replace(tzinfo=UTC).timestamp())
    broken: list[Broken] = []
    rows: list[FinalVote] = []
    for vote in reading.votes(_events(file, broken)):
        rows.append(vote)
        if len(rows) == ROWS:
            yield _chunk(rows, reading, broken)
            rows, broken[:] = [], []
    beside = {"votes that were taken back": reading.undone, "votes that may still be taken back": reading.pending}
    skipped = {what: count for what, count in beside.items() if count}
    yield replace(_chunk(rows, reading, broken), skipped=skipped)


def _events(file: VoteFile, broken: list[Broken]) -> Iterator[tuple[int, Event]]:
    rest, line = b"", 0
    for block in file.blocks():
        *whole, rest = (rest + block).split(b"\n")
        for text in whole:
            line += 1
            event = _event(text)
            if event is None:
                message = "not an event of a campaign's log"
                broken.append(Broken(line, "broken-record", message, text.decode("utf-8", "replace"), True))
            else:
                yield line, event


def _event(text: bytes) -> Event | None:
    """The event of a line; None where it is none, or lacks what is read of its kind."""
    try:
        event = json.loads(text)
        needed = NEEDED.get(event["event"], {})
        sound = all(isinstance(event[name], kind) for name, kind in needed.items())
        if "at" in needed:
            seconds_of(event["at"])
    except (ValueError, KeyError, TypeError, OverflowError):
        return None
    return event if sound else None


def _chunk(votes: list[FinalVote], reading: FinalVotes, broken: list[Broken]) -> Chunk:
    votes = sorted(votes, key=lambda vote: vote.line)
    rows = [_row(vote.event, reading.campaign_id) for vote in votes]
    return chunk_of(rows, [vote.line for vote in votes], tuple(broken))


def _row(event: Event, campaign: str) -> Row:
    row: dict[str, Any] = {
        "vote_id": f"{campaign}-{event['seq']:07d}",
        "prompt_id": event["prompt_id"],
        "left": event["left"],
        "right": event["right"],
        "outcome": event["outcome"],
        "annotator_id": event["annotator"],
        "voted_at": event["at"],
        "seconds": event["seconds"],
        "control": event.get("control"),
        "watched": event["watched"],
        "campaign": campaign,
    }
    return row | {name: event[name] for name in ("reason", "confidence", "late") if name in event}


def _read(file: VoteFile) -> Iterator[Chunk]:
    return read_log(file, datetime.now(UTC).replace(tzinfo=None))


PLATFORM = Platform(
    name="campaign",
    about="the log of a campaign of ours, also while its page runs",
    told_by="events with seq, at, event and campaign_id",
    sides="shown",
    dropped="votes that were taken back; skips, leases and what else happened",
    recognises=_recognises,
    read=_read,
    read_at=read_log,
    people=False,
)
