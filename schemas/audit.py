"""What an audit reports: how few votes the labels of a run rest on."""

from __future__ import annotations

from typing import Literal

from schemas.base import Document


class NamedVote(Document):
    """A vote, by where it was read."""

    file: str
    line: int
    annotator_id: str | None
    left: str
    right: str
    outcome: str


class FragileLabel(Document):
    """A label, and the smallest sets found whose removal changes it."""

    prompt_id: str
    item_id: str
    """Of the item in a release; empty for the best response of a prompt."""
    best: str
    rival: str | None
    """The response that is best without these votes."""
    units: int | None
    """Number of votes; 0 where the strengths do not support the label with all votes; None: no set changes it."""
    votes: tuple[NamedVote, ...]
    annotators: int | None
    """Number of annotators whose votes on the prompt change it when left out."""
    annotator_ids: tuple[str, ...]


class FragileTop(Document):
    """The smallest set found without which another model leads the leaderboard."""

    model: str
    rival: str
    unit: Literal["votes", "annotators"]
    units: int
    votes: int
    """Votes in the set."""


class AuditReport(Document):
    """How few votes, or annotators, the labels of a run rest on."""

    store: str
    run: str
    release: str
    """Whose benchmark labels these are; empty for the best response of each prompt."""
    votes: int
    labels: int
    by_votes: dict[str, int]
    """Number of votes that change a label -> labels; "none" where no set does."""
    by_annotators: dict[str, int]
    top: tuple[FragileTop, ...]
    fragile: tuple[FragileLabel, ...]
    """The labels that the fewest votes change, those first."""
