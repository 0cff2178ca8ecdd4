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
    unavailable: frozenset[str]
    """Task ids to leave out: pairs that lack votes already, or that too few annotators are left to judge."""
    retired: frozenset[str]
    """Prompts to leave out."""
    config: CampaignConfig
    """The present settings."""


PlanBatch = Callable[[BatchRequest], int]
"""Writes a batch and returns the votes that it asks for; 0 if there is nothing to ask. Called in a thread."""


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

    def check(self, state: State, annotators: Collection[str]) -> None:
        """Start planning if less than half a batch is open and more votes are wanted. The caller locks the state.

        annotators: those with valid links.
        """
        config = state.config
        wanted = config.votes - state.planned
        busy = self._thread is not None and self._thread.is_alive()
        if (
            state.closed
            or state.paused
            or wanted <= 0
            or busy
            or 2 * state.unmet >= config.batch
            or time.monotonic() < self._next
        ):
            return
        out = _unavailable(state, annotators), frozenset(state.retired)
        request = BatchRequest(state.batches + 1, min(config.batch, wanted), *out, config)
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
                self.problem = "the planner finds no more pairs to ask at present"
        except CurateError as error:
            self.problem = f"no new batch, next attempt in {RETRY:.0f} seconds: {error}"
        except Exception as error:  # voting must go on, and managers must see the error
            self.problem = f"no new batch, next attempt in {RETRY:.0f} seconds: {type(error).__name__}: {error}"


def _unavailable(state: State, annotators: Collection[str]) -> frozenset[str]:
    """Ids of pairs that lack votes, or for which fewer annotators than ``votes_per_pair`` are left."""
    known = [state.annotators[name] for name in annotators if name in state.annotators]
    able = sum(1 << annotator.number for annotator in known if annotator.status != "stopped")
    new, required = len(annotators) - len(known), state.config.votes_per_pair
    return frozenset(
        item.task_id
        for item in state.items
        if item.kind == "vote" and (item.votes < item.quota or new + (able & ~item.seen).bit_count() < required)
    )
