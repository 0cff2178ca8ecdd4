"""Who may come in: people.jsonl, names and roles with the digests of their secret links, never the links themselves."""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path

from pydantic import ValidationError

from annotations.campaign.folder import PEOPLE, appear
from schemas.base import Document
from schemas.campaign import Role
from schemas.errors import CurateError, UsageError

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,39}")
TOKEN_BYTES = 24
"""Of randomness in a link: 192 bits cannot be guessed, so that a plain digest keeps them."""


class Guest(Document):
    """One line of people.jsonl."""

    name: str
    role: Role
    token_sha256: str
    invited: str
    """ISO 8601, UTC."""
    revoked: str | None = None
    """When, ISO 8601 UTC; None while the link works."""


def digest_of(token: str) -> str:
    """SHA-256 of a token, hex."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def read_people(folder: Path) -> tuple[Guest, ...]:
    """Everyone who was ever invited, in the order of their first invitation. Raises CurateError."""
    path = folder / PEOPLE
    if not path.exists():
        return ()
    found = []
    for number, line in enumerate(path.read_bytes().splitlines(), start=1):
        try:
            found.append(Guest.from_stored(line))
        except ValidationError as error:
            raise CurateError(f"{path}:{number}: not a person: {error.errors()[0]['msg']}", hint="mend it") from error
    return tuple(found)


def write_people(folder: Path, people: Iterable[Guest]) -> None:
    """Put everyone in place of who was there. Only the owner may read the file."""
    appear(folder / PEOPLE, "".join(guest.model_dump_json() + "\n" for guest in people).encode(), mode=0o600)


def with_invited(
    people: Sequence[Guest], names: Sequence[str], role: Role, now: datetime
) -> tuple[tuple[Guest, ...], dict[str, str]]:
    """Everyone, with these invited too; and name -> token, which is nowhere else.

    Who was revoked gets a new link, and goes on where they were. Raises UsageError for a name that cannot be one, and
    for one whose link works.
    """
    everyone = {guest.name: guest for guest in people}
    tokens: dict[str, str] = {}
    for name in names:
        if not NAME.fullmatch(name):
            hint = "letters, digits, dot, dash and underscore, 40 at most"
            raise UsageError(f"{name!r} cannot be an annotator's name", hint=hint)
        before = everyone.get(name)
        if name in tokens or (before and before.revoked is None):
            raise UsageError(f"{name} is invited already", hint=f"revoke the link first: revoke --name {name}")
        if before and before.role != role:
            raise UsageError(f"{name} was invited as {before.role}", hint="give another name")
        tokens[name] = secrets.token_urlsafe(TOKEN_BYTES)
        everyone[name] = Guest(
            name=name, role=role, token_sha256=digest_of(tokens[name]), invited=now.isoformat(timespec="seconds")
        )
    return tuple(everyone.values()), tokens


def with_revoked(people: Sequence[Guest], names: Sequence[str], now: datetime) -> tuple[Guest, ...]:
    """Everyone, the links of these no longer working. Raises UsageError for who has none that works."""
    working = {guest.name for guest in people if guest.revoked is None}
    for name in names:
        if name not in working:
            hint = f"links that work: {', '.join(sorted(working)) or 'none'}"
            raise UsageError(f"{name} has no link that works", hint=hint)
    when = now.isoformat(timespec="seconds")
    return tuple(guest.model_copy(update={"revoked": when}) if guest.name in names else guest for guest in people)
