"""The records of a campaign's state: items, leases, and what each annotator did."""

from __future__ import annotations

from array import array
from collections import Counter, OrderedDict
from dataclasses import dataclass, field
from typing import NamedTuple

from annotations.campaign.folder import Place
from schemas.campaign import QualityStatus, QuestionKind

SKIPPED = "-"
"""The vote id of a skipped question; real ids are longer."""


@dataclass(slots=True)
class Item:
    """A pair to vote on, or a control question."""

    number: int
    task_id: str
    kind: QuestionKind
    prompt_id: str
    first: str
    second: str
    answer: str | None
    video: str
    video_seconds: float | None
    group: str
    """Items of one group are asked together: the video, or the prompt without a video."""
    place: Place
    quota: int = 0
    votes: int = 0
    held: int = 0
    """Open leases."""
    seen: int = 0
    """Bit n is set if annotator n voted on the item or skipped it."""
    lean: int = 0
    """Times that the first response was shown left minus times that it was shown right (votes and leases)."""

    retired: bool = False
    """Not asked any more."""
    criterion: str = ""

    @property
    def pair(self) -> tuple[str, ...]:
        """Equal for the items that ask about one pair by several criteria."""
        return (self.kind, self.prompt_id, self.first, self.second) if self.criterion else (self.task_id,)

    @property
    def unmet(self) -> int:
        """Votes that are missing."""
        return 0 if self.retired else max(0, self.quota - self.votes)

    @property
    def room(self) -> int:
        """Leases that may still be granted."""
        return 0 if self.retired else self.quota - self.votes - self.held


class Lease(NamedTuple):
    """A question that an annotator holds."""

    question: str
    sheet: str
    item: int
    first_left: bool
    at: float
    """When the question was sent, seconds since 1970."""
    until: float
    """Seconds since 1970."""


@dataclass(slots=True)
class PastLease:
    """A question that an annotator held: answered, skipped or expired."""

    item: int
    first_left: bool
    at: float
    """When the question was sent, seconds since 1970."""
    vote: str | None
    """The vote id; None if the lease expired without an answer."""


class LastVote(NamedTuple):
    """The last vote of an annotator, which can be undone."""

    question: str
    vote: str
    item: int
    first_left: bool
    at: float
    watched: float
    left: int | None
    """1 for left, 0 for right, None if not decisive."""
    correct: int | None
    """1 if it equals the known answer, 0 if not, None without a known answer."""


class Tally(NamedTuple):
    """Counts of an annotator at a time."""

    votes: int = 0
    gold: int = 0
    gold_correct: int = 0
    decisive: int = 0
    left: int = 0


@dataclass(slots=True)
class Annotator:
    """What one annotator did."""

    number: int
    name: str
    status: QualityStatus = "ok"
    reasons: tuple[str, ...] = ()
    warned_at: tuple[int, int] = (0, 0)
    """Votes and control answers at the time of the warning."""
    judged_from: Tally = field(default_factory=Tally)
    """The counts at the last pardon: only later votes are compared with the thresholds."""
    votes: int = 0
    skips: int = 0
    undone: int = 0
    gold: int = 0
    gold_correct: int = 0
    decisive: int = 0
    left: int = 0
    watched: float = 0.0
    """Sum over votes."""
    asked: Counter[str] = field(default_factory=Counter)
    """Pairs handed out, by kind."""
    sheets: int = 0
    group: str = ""
    """The group of the last sheet."""
    last: LastVote | None = None
    last_at: str | None = None
    leases: list[Lease] = field(default_factory=list)
    begun: str = ""
    """The sheet whose time runs: sheets that are handed out ahead get their full time when they begin."""
    past: OrderedDict[str, PastLease] = field(default_factory=OrderedDict)
    sent: OrderedDict[str, None] = field(default_factory=OrderedDict)
    """Ids of the most recent votes, undone or not."""
    due: dict[str, tuple[int, float]] = field(default_factory=dict)
    """Progress of the control question schedule; see annotations.campaign.assignment."""
    items: array[int] = field(default_factory=lambda: array("i"))
    """The item of each vote, in order."""
    outcomes: array[int] = field(default_factory=lambda: array("b"))
    """The outcome of each vote: 0 first, 1 second, 2 tie, 3 both bad."""
    seconds: array[float] = field(default_factory=lambda: array("d"))
    """The time of each vote; see annotations.campaign.timing."""
    claimed: array[float] = field(default_factory=lambda: array("d"))
    """The time of each vote as the page says."""
    busy: float = 0.0
    """The end of the last vote, seconds since 1970."""
    videos: OrderedDict[str, tuple[float, float]] = field(default_factory=OrderedDict)
    """Group -> when it was first sent, seconds since 1970, and the share of its video that votes account for."""
    too_fast: int = 0
    """Questions with a vote that was refused because it was faster than the video allows."""
    refused: str = ""
    """The last of these questions."""
