"""Background planning of new batches while a campaign runs."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from threading import Thread
from typing import NamedTuple

from annotations.campaign.state import State
from schemas.campaign import CampaignConfig
from schemas.errors import CurateError

RETRY = 30.0
"""Seconds until the next attempt after a failure, or after an empty batch."""


class BatchRequest(NamedTuple):
    """The batch to plan."""

    number: int
    """The batch becomes tasks/NNNN.jsonl."""
    votes: int
    """Votes to ask for, at most."""
    least: int
    """A batch of fewer votes is not written."""
    unavailable: frozenset[str]
    """Task ids to leave out: pairs that lack votes already, or that too few annotators are left to judge."""
    retired: frozenset[str]
    """Prompts to leave out."""
    config: CampaignConfig
    """The present settings."""


SMALLEST = 0.25
"""Least size of a batch, as a share of ``batch``; smaller ones are written once no other question can be answered."""

PlanBatch = Callable[[BatchRequest], int]
"""Writes a batch and returns its votes; 0 if there are fewer than the least to ask. Called in a thread."""


class Refill:
    """Plans the next batch in a thread when few questions are open, at most one at a time.

    take: called in the same thread to add the new batches on the disk to the campaign; returns whether there were any.
    """

    def __init__(self, plan: PlanBatch, take: Callable[[], bool]) -> None:
        self.problem = ""
        """Why the last attempt gave no batch; empty after a success."""
        self._plan, self._take = plan, take
        self._thread: Thread | None = None
        self._next = 0.0
        self._too_small = False
        """The last attempt gave a batch below the least size."""

    def check(self, state: State, annotators: Collection[str], *, joining: int = 0) -> None:
        """Start planning if less than half a batch is open and more votes are wanted. The caller locks the state.

        A batch below SMALLEST is planned only when nobody can answer another question.

        annotators: those with valid links. joining: people of a crowd who may still come.
        """
        config = state.config
        wanted = config.votes - state.planned
        least = max(1, round(SMALLEST * config.batch))
        if state.closed or state.paused or wanted <= 0 or 2 * state.unmet >= config.batch:
            return
        if self._thread is not None and self._thread.is_alive():
            return
        if wanted < least or self._too_small:
            if _answerable(state, annotators):
                return
            least = 1
        if time.monotonic() < self._next and not self._too_small:
            return
        votes = wanted if wanted < config.batch + least else config.batch
        out = _unavailable(state, annotators, joining), frozenset(state.retired)
        request = BatchRequest(state.batches + 1, votes, least, *out, config)
        self._too_small = False
        self._thread = Thread(target=self._run, args=(request,), name="campaign-batch", daemon=True)
        self._thread.start()

    def wait(self, seconds: float) -> None:
        """Wait for the current attempt, at most that long."""
        if self._thread is not None:
            self._thread.join(seconds)

    def _run(self, request: BatchRequest) -> None:
        self._next = time.monotonic() + RETRY
        try:
            if self._take() or (self._plan(request) and self._take()):
                self.problem, self._next = "", 0.0
            else:
                self._too_small = request.least > 1
                self.problem = "" if self._too_small else "the planner finds no more pairs to ask at present"
        except CurateError as error:
            self.problem = f"no new batch, next attempt in {RETRY:.0f} seconds: {error}"
        except Exception as error:  # voting must go on, and managers must see the error
            self.problem = f"no new batch, next attempt in {RETRY:.0f} seconds: {type(error).__name__}: {error}"


def _answerable(state: State, annotators: Collection[str]) -> bool:
    """Whether a question is held, or open for one of the annotators."""
    able, new = _able(state, annotators)
    numbers = (number for group in state.open.values() for number in group)
    return state.held > 0 or any(new or able & ~state.items[number].seen for number in numbers)


def _able(state: State, annotators: Collection[str]) -> tuple[int, int]:
    """The bits of those who may vote, and the number of those who have not begun."""
    known = [state.annotators[name] for name in annotators if name in state.annotators]
    return sum(1 << one.number for one in known if one.status != "stopped"), len(annotators) - len(known)


def _unavailable(state: State, annotators: Collection[str], joining: int) -> frozenset[str]:
    """Ids of pairs that lack votes, or for which fewer annotators than ``votes_per_pair`` are left."""
    (able, new), required = _able(state, annotators), state.config.votes_per_pair - joining
    return frozenset(
        item.task_id
        for item in state.items
        if item.kind == "vote" and (item.votes < item.quota or new + (able & ~item.seen).bit_count() < required)
    )
