"""The chain of a log: every line has a keyed hash of itself and of the line before, so that a change is found.

A line ends with ``"prev"``, the ``mac`` of the line before, and ``"mac"``, the HMAC-SHA256 (first 96 bits, hex) of all
bytes before it. The key is in log.key, which only its owner can read. Lines of an earlier version of curate have no
``mac``: the chain starts at line ``since``, and the digest of the bytes before it is kept with the key. After a line
with ``repaired``, which ``curate campaign repair`` wrote in place of one that is gone, ``prev`` is not compared.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple

from pydantic import ValidationError

from annotations.campaign.folder import write_atomic
from schemas.base import Document
from schemas.errors import CurateError

Event = dict[str, Any]
Damage = Literal["damaged", "edited", "missing", "reordered", "duplicate"]

KEY = "log.key"
NO_KEY = f"the key of its chain, {KEY}, is missing: nobody can tell whether lines were edited"
MAC = 24
"""Hex digits of a mac."""
TAIL = len(b',"mac":""}\n') + MAC


class LogKey(Document):
    """log.key: the secret of a log's chain."""

    key: str
    """32 bytes, hex."""
    since: int
    """``seq`` of the first line with a mac."""
    prefix: str
    """SHA-256 of the bytes before it."""
    last: int = 0
    """Lines of the log at the last start or stop of the page: fewer are too few."""

    @classmethod
    def read(cls, log: Path) -> LogKey | None:
        """The key of a log; None without one. Raises CurateError for an invalid file."""
        path = log.with_name(KEY)
        try:
            return cls.model_validate_json(path.read_bytes())
        except FileNotFoundError:
            return None
        except (ValidationError, OSError) as error:
            raise CurateError(f"{path}: not a key: {error}", hint="restore the file that curate wrote") from error

    @classmethod
    def of(cls, log: Path, lines: int) -> LogKey:
        """The key of a log of so many lines; a new one, which is written, if it has none."""
        if found := cls.read(log):
            return found
        content = log.read_bytes() if log.exists() else b""
        return cls.new(since=lines + 1, prefix=hashlib.sha256(content).hexdigest()).write(log)

    @classmethod
    def new(cls, *, since: int, prefix: str) -> LogKey:
        """A new random key."""
        return cls(key=secrets.token_hex(32), since=since, prefix=prefix)

    def write(self, log: Path, **changes: Any) -> LogKey:
        """Write the key next to its log, with changes; return it."""
        changed = self.model_copy(update=changes)
        write_atomic(log.with_name(KEY), changed.model_dump_json().encode(), mode=0o600)
        return changed

    def sealed(self, event: Event, prev: str) -> bytes:
        """The line of an event, which gets its ``prev`` and ``mac``."""
        event["prev"] = prev
        body = json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode()[:-1]
        event["mac"] = self.mac(body)
        return b'%b,"mac":"%b"}\n' % (body, event["mac"].encode())

    def mac(self, body: bytes) -> str:
        """The mac of the bytes of a line before its own."""
        return hmac.digest(bytes.fromhex(self.key), body, "sha256").hex()[:MAC]


def decode(line: bytes) -> Event | None:
    """The event of a line; None if it is not one."""
    try:
        event = json.loads(line)
    except (ValueError, RecursionError):
        return None
    valid = isinstance(event, dict) and isinstance(event.get("at"), str) and isinstance(event.get("event"), str)
    return event if valid and type(event.get("seq")) is int and event["seq"] > 0 else None


class Line(NamedTuple):
    """A line of a log."""

    number: int
    raw: bytes
    event: Event | None
    """None if it is not an event, or has another mac than its bytes."""
    damage: Damage | None
    """Of the line alone: damaged or edited."""
    about: str
    """The damage as a text."""


def read_chain(path: Path, key: LogKey | None) -> Iterator[Line]:
    """The complete lines of a log, each checked for itself (not against its neighbours)."""
    with path.open("rb") as file:
        for number, raw in enumerate(file, start=1):
            if not raw.endswith(b"\n"):
                return
            event = decode(raw)
            if event is None:
                yield Line(number, raw, None, "damaged", "not an event")
            elif key is None or event["seq"] < key.since or key.mac(raw[:-TAIL]) == event.get("mac"):
                yield Line(number, raw, event, None, "")
            else:
                yield Line(number, raw, None, "edited", "its mac does not match: it was edited")


def follows(line: Line, before: Event | None, key: LogKey | None) -> str:
    """Why an event is not the one that follows the event before it; empty if it is."""
    assert line.event is not None
    expected = before["seq"] + 1 if before else 1
    if line.event["seq"] != expected:
        return f"its seq is {line.event['seq']}, expected {expected}"
    if key is None or expected <= key.since or before is None or "repaired" in before:
        return ""
    return "" if line.event["prev"] == before["mac"] else "it does not continue the line before it"
