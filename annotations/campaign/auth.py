"""The members of a campaign (people.jsonl) and their secret links, of which only digests are stored."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from annotations.campaign.folder import PEOPLE, PEOPLE_LOCK, locked, read_lines, write_atomic
from schemas.base import Document
from schemas.campaign import Role
from schemas.errors import UsageError
from schemas.management import Action, Invite, Revoke

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,39}")
TOKEN_BYTES = 24
"""Random bytes in a link. 192 bits cannot be guessed, so that a plain digest is a safe way to store them."""


class Visitor(NamedTuple):
    """The owner of a secret link."""

    name: str
    role: Role


class Member(Document):
    """One line of people.jsonl."""

    name: str
    role: Role
    token_sha256: str
    invited: str
    """ISO 8601, UTC."""
    revoked: str | None = None
    """ISO 8601, UTC; None while the link is valid."""

    @property
    def active(self) -> bool:
        """Whether the link is valid."""
        return self.revoked is None


def digest_of(token: str) -> str:
    """SHA-256 of a token, hex."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def read_members(folder: Path) -> tuple[Member, ...]:
    """Everyone who was ever invited, in the order of first invitation. Raises CurateError for an invalid file."""
    path = folder / PEOPLE
    return tuple(read_lines(path, Member)) if path.exists() else ()


def write_members(folder: Path, members: Iterable[Member]) -> None:
    """Replace people.jsonl. Only its owner may read the file."""
    content = "".join(member.model_dump_json() + "\n" for member in members).encode()
    write_atomic(folder / PEOPLE, content, mode=0o600)


def with_invited(
    members: Sequence[Member], names: Sequence[str], role: Role, now: datetime
) -> tuple[tuple[Member, ...], dict[str, str]]:
    """The members including newly invited ones, and the tokens by name (they are stored nowhere else).

    A member whose link was revoked gets a new link and keeps the progress. Raises UsageError for an invalid name and
    for a member whose link is valid.
    """
    everyone = {member.name: member for member in members}
    tokens: dict[str, str] = {}
    for name in names:
        if not NAME.fullmatch(name):
            hint = "letters, digits, dot, dash and underscore, at most 40"
            raise UsageError(f"{name!r} is not a valid annotator name", hint=hint)
        before = everyone.get(name)
        if name in tokens or (before and before.active):
            raise UsageError(f"{name} is already invited", hint=f"revoke the link first: revoke --name {name}")
        if before and before.role != role:
            raise UsageError(f"{name} was invited as {before.role}", hint="choose another name")
        tokens[name] = secrets.token_urlsafe(TOKEN_BYTES)
        everyone[name] = Member(
            name=name, role=role, token_sha256=digest_of(tokens[name]), invited=now.isoformat(timespec="seconds")
        )
    return tuple(everyone.values()), tokens


def with_revoked(members: Sequence[Member], names: Sequence[str], now: datetime) -> tuple[Member, ...]:
    """The members after revoking the links of ``names``. Raises UsageError for a name without a valid link."""
    active = {member.name for member in members if member.active}
    for name in names:
        if name not in active:
            hint = f"valid links: {', '.join(sorted(active)) or 'none'}"
            raise UsageError(f"{name} has no valid link", hint=hint)
    when = now.isoformat(timespec="seconds")
    return tuple(member.model_copy(update={"revoked": when}) if member.name in names else member for member in members)


def change_members(folder: Path, action: Action, now: datetime) -> dict[str, str]:
    """Change people.jsonl for an action that invites or revokes; return the tokens of new links by name.

    Raises UsageError as ``with_invited`` and ``with_revoked``, and CurateError while another process changes the file.
    """
    if not isinstance(action, Invite | Revoke):
        return {}
    with locked(folder / PEOPLE_LOCK, wait=5.0):
        members = read_members(folder)
        tokens: dict[str, str] = {}
        if isinstance(action, Invite):
            members, tokens = with_invited(members, action.names, action.role, now)
        else:
            members = with_revoked(members, action.names, now)
        write_members(folder, members)
    return tokens


class Authenticator:
    """Looks up members in people.jsonl, which other processes may change while the campaign is open. Thread-safe."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._path = folder, str(folder / PEOPLE)
        self._version: tuple[int, int, int] | None = None
        self.members: tuple[Member, ...] = ()
        """Everyone who was ever invited."""
        self._by_digest: dict[str, Visitor] = {}
        self._annotators: dict[str, Member] = {}
        self._names: dict[bool | None, list[str]] = {True: [], False: [], None: []}
        """Whether the link is valid -> the annotators; None: all."""

    def refresh(self) -> None:
        """Read the file again if it changed. Raises CurateError for an invalid file."""
        try:
            stat = os.stat(self._path)  # noqa: PTH116 (called on every request)
        except FileNotFoundError:
            return
        version = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
        if version == self._version:
            return
        self.members = read_members(self._folder)
        self._by_digest = {
            member.token_sha256: Visitor(member.name, member.role) for member in self.members if member.active
        }
        self._annotators = {member.name: member for member in self.members if member.role == "annotator"}
        for active in (True, False):  # asked for twice on every request
            self._names[active] = [name for name, member in self._annotators.items() if member.active == active]
        self._names[None] = list(self._annotators)
        self._version = version

    def visitor(self, token: str) -> Visitor | None:
        """The owner of a token; None for an unknown or revoked one."""
        return self._by_digest.get(digest_of(token))

    def is_annotator(self, name: str, *, active: bool = False) -> bool:
        """Whether the name was ever invited as an annotator; active: and its link is valid."""
        member = self._annotators.get(name)
        return member is not None and (member.active or not active)

    def annotators(self, *, active: bool | None) -> list[str]:
        """The annotators whose links are valid (active) or revoked (not active); None: both."""
        return self._names[active]
