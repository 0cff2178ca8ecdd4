"""Who may come in now: people.jsonl as it is at this moment, which may change while a campaign is open."""

from __future__ import annotations

import os
from pathlib import Path

from annotations.campaign.folder import PEOPLE
from annotations.campaign.people import Guest, digest_of, read_people
from annotations.campaign.service import Visitor


class Guests:
    """Looks at the file's state before each answer, and reads it where that is another. Any thread may ask."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._path = folder, str(folder / PEOPLE)
        self._seen: tuple[int, int, int] | None = None
        self.all: tuple[Guest, ...] = ()
        """Everyone who was ever invited."""
        self._by_digest: dict[str, Visitor] = {}
        self._annotators: dict[str, Guest] = {}

    def refresh(self) -> bool:
        """Read the file again where it changed; whether it did. Raises CurateError where it cannot be read."""
        try:
            state = os.stat(self._path)  # noqa: PTH116 (at every request)
        except FileNotFoundError:
            return False
        seen = (state.st_mtime_ns, state.st_size, state.st_ino)
        if seen == self._seen:
            return False
        self.all = read_people(self._folder)
        self._by_digest = {guest.token_sha256: Visitor(guest.name, guest.role) for guest in self.all if _works(guest)}
        self._annotators = {guest.name: guest for guest in self.all if guest.role == "annotator"}
        self._seen = seen
        return True

    def visitor(self, token: str) -> Visitor | None:
        """Whose secret link this is; None where it is nobody's, or revoked."""
        return self._by_digest.get(digest_of(token))

    def is_annotator(self, name: str) -> bool:
        """Whether they were ever invited to vote."""
        return name in self._annotators

    def may_vote(self, name: str) -> bool:
        """Whether they are an annotator whose link works."""
        return name in self._annotators and _works(self._annotators[name])

    def voters(self) -> list[str]:
        """The annotators whose links work."""
        return [name for name, guest in self._annotators.items() if _works(guest)]

    def revoked(self) -> list[str]:
        """The annotators whose links no longer work."""
        return [name for name, guest in self._annotators.items() if not _works(guest)]


def _works(guest: Guest) -> bool:
    return guest.revoked is None
