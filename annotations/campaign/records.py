"""What a campaign knows of single things: a question, who holds it, who held it, and what one annotator did."""

from __future__ import annotations

from array import array
from collections import Counter, OrderedDict
from dataclasses import dataclass, field
from typing import NamedTuple

from annotations.campaign.folder import Place
from schemas.campaign import Kind, Standing

SKIPPED = "-"
"""In place of the id of a vote, which is longer."""


@dataclass(slots=True)
class Item:
    """A pair that is asked, or a question whose answer is known."""

    number: int
    task_id: str
    kind: Kind
    prompt_id: str
    first: str
    second: str
    answer: str | None
    video: str
    video_seconds: float | None
    group: str
    """What is asked in one viewing: the video, or the prompt where there is none."""
    place: Place
    quota: int = 0
    votes: int = 0
    held: int = 0
    """By so many people now."""
    seen: int = 0
    """Bit n: person n voted on it, or skipped it."""
    lean: int = 0
    """How much more often the first stands left than the second, over votes and what is held."""

    @property
    def room(self) -> int:
        """Votes that may still be handed out."""
        return self.quota - self.votes - self.held


class Lease(NamedTuple):
    """A question that someone holds."""

    question: str
    sheet: str
    item: int
    first_left: bool
    until: float
    """Seconds since 1970."""


@dataclass(slots=True)
class Past:
    """A question that someone held: answered (then it has a vote), or given back when its time was over."""

    item: int
    first_left: bool
    vote: str | None


class Last(NamedTuple):
    """Someone's last vote, which they may take back."""

    question: str
    vote: str
    item: int
    first_left: bool
    at: float
    watched: float
    left: int | None
    """1 for the left side, 0 for the right, None for neither."""
    right: int | None
    """1 where it met the known answer, 0 where not, None where none is known."""


@dataclass(slots=True)
class Person:
    """What one annotator did."""

    number: int
    name: str
    standing: Standing = "ok"
    reasons: tuple[str, ...] = ()
    warned_at: tuple[int, int] = (0, 0)
    """Votes, and known answers, at their warning."""
    votes: int = 0
    skips: int = 0
    undone: int = 0
    gold: int = 0
    gold_right: int = 0
    decided: int = 0
    left: int = 0
    watched: float = 0.0
    """Sum over votes."""
    asked: Counter[str] = field(default_factory=Counter)
    """Questions that they were given, by kind."""
    sheets: int = 0
    group: str = ""
    """Of the last sheet."""
    last: Last | None = None
    last_at: str | None = None
    leases: list[Lease] = field(default_factory=list)
    past: OrderedDict[str, Past] = field(default_factory=OrderedDict)
    sent: OrderedDict[str, None] = field(default_factory=OrderedDict)
    """Ids of their last votes, taken back or not."""
    fast: int = 0
    """Votes in less time than the bar."""
    due: dict[str, tuple[int, float]] = field(default_factory=dict)
    """How far the schedule of known answers was worked out: see annotations.campaign.assigning."""
    items: array[int] = field(default_factory=lambda: array("i"))
    """Of each vote, in order."""
    outcomes: array[int] = field(default_factory=lambda: array("b"))
    """Of each vote: 0 the first, 1 the second, 2 tie, 3 both bad."""
    seconds: array[float] = field(default_factory=lambda: array("d"))
    """Of each vote."""
