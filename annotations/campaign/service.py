"""A campaign that is open: the one writer of its log, which the page and the command line speak to."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple, Protocol

from schemas.campaign import Ballot, CampaignStatus, Desk, Refusal, Role


class Visitor(NamedTuple):
    """Who a link belongs to."""

    name: str
    role: Role


class Service(Protocol):
    """What a page needs of an open campaign. Every method may be called from any thread."""

    def visitor(self, token: str) -> Visitor | None:
        """Whose secret link this is; None where it is nobody's, or revoked. Asked at every request: it never waits."""
        ...

    def desk(self, annotator: str) -> Desk:
        """What they hold; a new sheet where they hold nothing and something is left to ask."""
        ...

    def vote(self, annotator: str, ballot: Ballot) -> Desk | Refusal:
        """Take an answer. Once this returns a Desk, the vote is flushed to the disk."""
        ...

    def undo(self, annotator: str) -> Desk | Refusal:
        """Take back their last vote; its question is open again."""
        ...

    def skip(self, annotator: str, question_id: str, reason: str) -> Desk | Refusal:
        """Give a question back; it goes to someone else."""
        ...

    def status(self) -> CampaignStatus: ...

    def media(self, name: str) -> Path | None:
        """The file of that name below the campaign's own media/, None where there is none; whatever the name says."""
        ...
