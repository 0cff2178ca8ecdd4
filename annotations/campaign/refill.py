"""Fresh batches while a campaign runs: asked for in the background when little is open; trouble is told, not raised."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from threading import Thread
from typing import NamedTuple

from annotations.campaign.state import State
from schemas.errors import CurateError

RETRY = 30.0
"""Seconds until it is tried again after trouble, or after nothing was found to ask."""


class Need(NamedTuple):
    """What a batch is to hold."""

    number: int
    """Which batch: it becomes tasks/NNNN.jsonl."""
    votes: int
    """That it asks for, at most."""
    closed: frozenset[str]
    """Ids of pairs that are not to be asked now: they lack votes as it is, or too few people are left to judge them."""


More = Callable[[Need], int]
"""Makes a batch, and returns how many votes it asks for: 0 where there is nothing to ask. Called in a thread."""


class Refill:
    """Calls ``more`` when it is time, one call at once.

    take: called in the same thread to take in a batch that was made; says whether there was one.
    """

    def __init__(self, more: More, take: Callable[[], bool]) -> None:
        self.trouble = ""
        """Why the last try brought nothing; empty where it brought something."""
        self._more, self._take = more, take
        self._thread: Thread | None = None
        self._next = 0.0

    def look(self, state: State, people: Collection[str]) -> None:
        """Start a call where less than half a batch is open and more is wanted. The caller keeps others from state.

        people: the annotators whose links work.
        """
        config = state.config
        wanted = config.votes - state.planned
        busy = self._thread is not None and self._thread.is_alive()
        if state.closed or wanted <= 0 or busy or 2 * state.unmet >= config.batch or time.monotonic() < self._next:
            return
        need = Need(state.batches + 1, min(config.batch, wanted), _closed(state, people))
        self._thread = Thread(target=self._call, args=(need,), name="campaign-batch", daemon=True)
        self._thread.start()

    def wait(self, seconds: float) -> None:
        """Wait until the call that is being made has ended, but not longer than that."""
        if self._thread is not None:
            self._thread.join(seconds)

    def _call(self, need: Need) -> None:
        self._next = time.monotonic() + RETRY
        try:
            if self._take() or (self._more(need) and self._take()):
                self.trouble, self._next = "", 0.0
            else:
                self.trouble = "the planner finds nothing more to ask now"
        except CurateError as error:
            self.trouble = f"no fresh batch, tried again in {RETRY:.0f} seconds: {error}"
        except Exception as error:  # whatever goes wrong there must not stop votes, nor be kept from the manager
            self.trouble = f"no fresh batch, tried again in {RETRY:.0f} seconds: {type(error).__name__}: {error}"


def _closed(state: State, people: Collection[str]) -> frozenset[str]:
    """Ids of the pairs that lack votes, or that fewer of these people than a pair takes have not judged or skipped."""
    known = [state.people[name] for name in people if name in state.people]
    able = sum(1 << person.number for person in known if person.standing != "stopped")
    fresh, least = len(people) - len(known), state.config.votes_per_pair
    return frozenset(
        item.task_id
        for item in state.items
        if item.kind == "vote" and (item.votes < item.quota or fresh + (able & ~item.seen).bit_count() < least)
    )
