"""Our own campaigns: the log that the voting page writes, also while the page runs.

Shape: docs/campaign.md, one event per line. A vote is read once it can no longer be undone; the others are left for the
next reading. An incomplete last line is ignored. Answers to known questions and attention checks are control questions.
Sides are those of the event. Annotator ids are the campaign's own.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from annotations.campaign.log import Event, FinalVote, FinalVotes, seconds_of
from annotations.platforms.base import Head, Platform, Row, chunk_of
from annotations.readers.files import VoteFile
from annotations.readers.formats import BrokenRecord, Chunk

ROWS = 100_000
"""Rows per chunk."""
NUMBER = int | float
NEEDED: dict[str, dict[str, Any]] = {
    "begin": {"campaign_id": str, "undo_minutes": NUMBER},
    "vote": dict.fromkeys(("at", "annotator", "prompt_id", "left", "right", "outcome"), str)
    | {"seq": int, "seconds": NUMBER, "watched": NUMBER},
    "skip": {"annotator": str},
    "undo": {"annotator": str},
}
"""Kind of event -> the keys that are read, and their types."""


def _recognizes(head: Head) -> bool:
    return head.format == "jsonl" and head.has("seq", "at", "event", "campaign_id")


def _read(file: VoteFile, now: datetime) -> Iterator[Chunk]:
    """Yield the votes that are final at the time ``now`` (naive UTC)."""
    reading = FinalVotes(now.replace(tzinfo=UTC).timestamp())
    broken: list[BrokenRecord] = []
    rows: list[FinalVote] = []
    for vote in reading.votes(_events(file, broken)):
        rows.append(vote)
        if len(rows) == ROWS:
            yield _chunk(rows, reading, broken)
            rows, broken[:] = [], []
    others = {"undone votes": reading.undone, "votes that can still be undone": reading.pending}
    skipped = {kind: count for kind, count in others.items() if count}
    yield replace(_chunk(rows, reading, broken), skipped=skipped)


def _events(file: VoteFile, broken: list[BrokenRecord]) -> Iterator[tuple[int, Event]]:
    rest, line = b"", 0
    for block in file.blocks():
        *whole, rest = (rest + block).split(b"\n")
        for text in whole:
            line += 1
            event = _event(text)
            if event is None:
                message = "not an event of a campaign log"
                broken.append(BrokenRecord(line, "broken-record", message, text.decode("utf-8", "replace"), True))
            else:
                yield line, event


def _event(text: bytes) -> Event | None:
    """Return the event of a line; None if it is not an event or lacks a key that is read."""
    try:
        event = json.loads(text)
        needed = NEEDED.get(event["event"], {})
        sound = all(isinstance(event[name], kind) for name, kind in needed.items())
        if "at" in needed:
            seconds_of(event["at"])
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return None
    return event if sound else None


def _chunk(votes: list[FinalVote], reading: FinalVotes, broken: list[BrokenRecord]) -> Chunk:
    votes = sorted(votes, key=lambda vote: vote.line)
    rows = [_row(vote.event, reading.campaign_id) for vote in votes]
    return chunk_of(rows, [vote.line for vote in votes], broken)


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


PLATFORM = Platform(
    name="campaign",
    description="the log of a campaign of ours, also while its page runs",
    detected_by="events with seq, at, event and campaign_id",
    sides="known",
    dropped="undone votes; skips, leases and all other events",
    recognizes=_recognizes,
    read=_read,
    personal_ids=False,
)
