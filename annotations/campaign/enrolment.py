"""Enrolment of a crowd: pseudonyms, the private list of platform ids, and admission to a campaign.

A participant's name is a keyed hash of the platform's id, so that the log, the votes and the exports never contain the
id. The id itself is only in participants.jsonl, which payment needs and which may be deleted after it. The secret link
of a participant is derived from the same key: whoever comes back with the same id continues, on any device.
"""

from __future__ import annotations

import base64
import errno
import hashlib
import hmac
import os
import secrets
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock
from typing import NamedTuple

from annotations.campaign import crowd
from annotations.campaign.auth import Member, digest_of, read_members, write_members
from annotations.campaign.folder import PEOPLE_LOCK, locked, read_lines
from annotations.campaign.session import CampaignSession
from schemas.base import Document
from schemas.crowd import CrowdConfig, CrowdPlatform

KEY, PARTICIPANTS = "crowd.key", "participants.jsonl"
PATIENCE = 5.0
"""Seconds to wait for another process that changes people.jsonl."""
CODE_LETTERS = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789"
"""Letters and digits that are not confused when someone copies a code."""


class Arrival(NamedTuple):
    """Someone who comes from the platform, by its ids."""

    person: str
    session: str = ""
    """The submission (Prolific) or the assignment (MTurk)."""
    study: str = ""
    """The study or the HIT."""


class PrivateLine(Document):
    """One line of participants.jsonl: the platform's ids behind a pseudonym."""

    participant: str
    platform: CrowdPlatform
    person: str
    session: str
    study: str
    at: str
    """ISO 8601, UTC."""


class Admission(NamedTuple):
    """An admitted participant."""

    name: str
    token: str
    """Of the secret link."""


class NotAdmitted(Exception):
    """Why someone cannot take part: the key of a text for that person (annotations/page/texts/plain)."""


def read_private(folder: Path) -> list[PrivateLine]:
    """The platform's ids of all participants, in the order of arrival. Raises CurateError for an invalid file."""
    path = folder / PARTICIPANTS
    return read_lines(path, PrivateLine) if path.exists() else []


def new_code() -> str:
    """A random code of 59 bits, such as 7KQF-29HM-XTRA."""
    letters = [secrets.choice(CODE_LETTERS) for _ in range(12)]
    return "-".join("".join(letters[begin : begin + 4]) for begin in (0, 4, 8))


def _truncate_incomplete(path: Path) -> None:
    """Remove an incomplete last line, which a killed process left."""
    content = path.read_bytes() if path.exists() else b""
    if not content.endswith(b"\n") and content:
        os.truncate(path, content.rfind(b"\n") + 1)


class Enrolment:
    """Admits people to an open campaign. Thread-safe."""

    def __init__(self, session: CampaignSession, config: CrowdConfig) -> None:
        self.session, self.config, self.folder = session, config, session.folder
        self._key = bytes.fromhex((self.folder / KEY).read_text(encoding="ascii"))
        self._lock = Lock()
        self._sessions: dict[str, set[str]] = {}
        _truncate_incomplete(self.folder / PARTICIPANTS)
        for line in read_private(self.folder):
            self._sessions.setdefault(line.participant, set()).add(line.session)

    def name_of(self, person: str) -> str:
        """The pseudonym of a platform's id."""
        digest = self._keyed(f"{self.config.platform}\0{person}")
        return "p" + base64.b32encode(digest)[:12].decode().lower()

    def token_of(self, name: str) -> str:
        """The token of a participant's secret link."""
        return self._keyed(f"token\0{name}").hex()[:48]

    def knows(self, person: str) -> bool:
        """Whether someone with this id takes part already."""
        return self.session.read(lambda state: self.name_of(person) in state.participants)

    def admit(self, arrival: Arrival) -> Admission:
        """Admit someone who arrives, or recognise them. Raises NotAdmitted, and OSError if the disk is full."""
        name = self.name_of(arrival.person)
        with self._lock:
            joined, over, done, paused, count = self.session.read(
                lambda state: (
                    name in state.participants,
                    name in state.participants and state.participants[name].result is not None,
                    state.closed or state.votes >= state.config.votes,
                    state.paused,
                    len(state.participants),
                )
            )
            known = arrival.session in self._sessions.get(name, ())
            if over and not known:
                raise NotAdmitted("taken-part")
            if not joined and paused:
                raise NotAdmitted("study-paused")
            if not joined and (done or 0 < self.config.places <= count):
                raise NotAdmitted("study-full")
            if not known:
                self._keep(name, arrival)
            self._invite(name)
            self.session.record(name, lambda state: crowd.join(state, name, self.config))
        return Admission(name, self.token_of(name))

    def _keep(self, name: str, arrival: Arrival) -> None:
        """Append the platform's ids to the private file."""
        line = PrivateLine(
            participant=name,
            platform=self.config.platform,
            **arrival._asdict(),
            at=datetime.now(UTC).isoformat(timespec="seconds"),
        )
        file = os.open(self.folder / PARTICIPANTS, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            content, size = line.model_dump_json().encode() + b"\n", os.fstat(file).st_size
            if os.write(file, content) < len(content):
                os.ftruncate(file, size)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(file)
        finally:
            os.close(file)
        self._sessions.setdefault(name, set()).add(arrival.session)

    def _invite(self, name: str) -> None:
        """Add the participant to people.jsonl. Raises NotAdmitted if their link was revoked."""
        if self.session.visitor(self.token_of(name)) is not None:
            return
        with locked(self.folder / PEOPLE_LOCK, wait=PATIENCE):
            members = read_members(self.folder)
            before = next((member for member in members if member.name == name), None)
            if before is None:
                now = datetime.now(UTC).isoformat(timespec="seconds")
                digest = digest_of(self.token_of(name))
                write_members(
                    self.folder, (*members, Member(name=name, role="annotator", token_sha256=digest, invited=now))
                )
            elif not before.active:
                raise NotAdmitted("ended-by-managers")

    def _keyed(self, text: str) -> bytes:
        return hmac.new(self._key, text.encode(), hashlib.sha256).digest()
