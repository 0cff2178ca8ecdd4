"""Waiting asks to batches: asks that share a prompt meet in one pass, passes meet in one call of the scorer."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from curate.reward.examples import Example

log = logging.getLogger(__name__)


class Scorer(Protocol):
    """What is served: ``curate.reward``'s model, or anything that scores as it does."""

    def score_examples(self, examples: Sequence[Example]) -> list[list[float]]:
        """N scores for each example, higher is better; one pass an example, batched inside."""
        ...


@dataclass(frozen=True)
class Ask:
    """One prompt with the responses to it that one request wants scored."""

    prompt: str
    responses: tuple[str, ...]
    video: Path | None = None
    images: tuple[Path, ...] = ()
    whole: bool = True
    """Scored as it stands, by itself. False: in one pass with other requests' responses to the same prompt."""


@dataclass(frozen=True)
class Scored:
    """The answer to an ask."""

    scores: tuple[float, ...]
    """(N,) of the ask's responses, in their order; higher is better."""
    group_size: int
    """How many distinct responses were in the pass."""


class Full(Exception):
    """The queue has no room for this request now."""


@dataclass
class Pass:
    """What becomes one pass: one whole ask, or the asks that met in a window."""

    asks: list[Ask] = field(default_factory=list)
    answers: list[asyncio.Future[Scored]] = field(default_factory=list)

    @property
    def size(self) -> int:
        """Responses in it, equal ones counted each."""
        return sum(len(ask.responses) for ask in self.asks)

    @property
    def wanted(self) -> bool:
        """Somebody still waits for it."""
        return not all(answer.done() for answer in self.answers)

    def responses(self) -> tuple[str, ...]:
        """A whole ask's as they were sent; else distinct and sorted: what came first by chance must not matter."""
        if self.asks[0].whole:
            return self.asks[0].responses
        return tuple(sorted({response for ask in self.asks for response in ask.responses}))

    def example(self) -> Example:
        """What the scorer is shown."""
        ask, responses = self.asks[0], self.responses()
        item = item_name(ask.prompt, responses)
        return Example(item, ask.prompt, responses, video=ask.video, images=ask.images)

    def parts(self) -> list[Pass]:
        """A pass for each ask alone."""
        return [Pass([ask], [answer]) for ask, answer in zip(self.asks, self.answers, strict=True)]

    def outcomes(self, row: Sequence[float]) -> list[Outcome]:
        """Each ask's share of the scores of ``responses()``."""
        responses = self.responses()
        if self.asks[0].whole:
            return [(self.answers[0], Scored(tuple(row), len(set(responses))))]
        score = dict(zip(responses, row, strict=True))
        shares = [tuple(score[response] for response in ask.responses) for ask in self.asks]
        return [(answer, Scored(own, len(score))) for answer, own in zip(self.answers, shares, strict=True)]


Outcome = tuple[asyncio.Future[Scored], Scored | Exception]


class Batcher:
    """Scores asks in one worker thread. Belongs to one event loop, between ``start`` and ``close``.

    Asks that are not whole wait ``window`` seconds for others with the same prompt and media; a group never exceeds
    ``max_responses``, and the asks of one request to a prompt stay together. At most ``queue`` responses wait.
    A pass that fails in a batch is tried alone, and a group that fails is tried ask by ask: an error reaches only
    whom it concerns.
    """

    def __init__(self, scorer: Scorer, *, batch: int, queue: int, window: float, max_responses: int) -> None:
        self.batch, self.queue, self.window, self.max_responses = batch, queue, window, max_responses
        self.waiting = 0
        """Responses that are not yet in the scorer's hands."""
        self._scorer = scorer
        self._open: dict[tuple[str, Path | None, tuple[Path, ...]], Pass] = {}
        self._ready: asyncio.Queue[Pass] = asyncio.Queue()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="scorer")
        self._worker: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to score."""
        self._worker = asyncio.get_running_loop().create_task(self._work())

    async def close(self) -> None:
        """Answer all that waits, then stop."""
        for key, group in list(self._open.items()):
            self._shut(key, group)
        await self._ready.join()
        if self._worker is not None:
            self._worker.cancel()
        self._thread.shutdown()

    async def score(self, asks: Sequence[Ask]) -> list[Scored]:
        """The answers to one request's asks, in order. All are admitted or none: raises Full where there is no room.

        Raises what the scorer raised on one of them. When the caller is cancelled, what has not begun is dropped.
        """
        if self.waiting + sum(len(ask.responses) for ask in asks) > self.queue:
            raise Full
        answers = [self._admit(ask) for ask in asks]
        try:
            return await asyncio.gather(*answers)
        finally:
            for answer in answers:
                answer.cancel()  # no effect on those that are done

    def _admit(self, ask: Ask) -> asyncio.Future[Scored]:
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Scored] = loop.create_future()
        self.waiting += len(ask.responses)
        if ask.whole:
            self._ready.put_nowait(Pass([ask], [answer]))
            return answer
        key = (ask.prompt, ask.video, ask.images)
        group = self._open.get(key)
        if group is not None and group.size + len(ask.responses) > self.max_responses:
            self._shut(key, group)
            group = None
        if group is None:
            group = self._open[key] = Pass()
            loop.call_later(self.window, self._shut, key, group)
        group.asks.append(ask)
        group.answers.append(answer)
        if group.size >= self.max_responses:
            self._shut(key, group)
        return answer

    def _shut(self, key: tuple[str, Path | None, tuple[Path, ...]], group: Pass) -> None:
        """The group takes no more, and may be scored; nothing happens where it was shut before."""
        if self._open.get(key) is group:
            del self._open[key]
            self._ready.put_nowait(group)

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            taken = [await self._ready.get()]
            while len(taken) < self.batch and not self._ready.empty():
                taken.append(self._ready.get_nowait())
            self.waiting -= sum(group.size for group in taken)
            wanted = [group for group in taken if group.wanted]
            outcomes = await loop.run_in_executor(self._thread, self._outcomes, wanted) if wanted else []
            for answer, outcome in outcomes:
                if answer.done():  # its request has given up
                    continue
                answer.set_exception(outcome) if isinstance(outcome, Exception) else answer.set_result(outcome)
            for _ in taken:
                self._ready.task_done()

    def _outcomes(self, passes: list[Pass]) -> list[Outcome]:
        """In the worker thread: the scores of each ask, or what the scorer raised on it alone."""
        examples = [group.example() for group in passes]
        try:
            rows = _checked(self._scorer.score_examples(examples), examples)
        except Exception as error:  # whatever it is, it is answered to those whom it concerns and to nobody else
            parts = passes if len(passes) > 1 else passes[0].parts()
            if len(parts) > 1:
                return [outcome for part in parts for outcome in self._outcomes([part])]
            log.warning("%s was not scored", examples[0].item_id, exc_info=error)
            return [(parts[0].answers[0], error)]
        return [outcome for group, row in zip(passes, rows, strict=True) for outcome in group.outcomes(row)]


def item_name(prompt: str, responses: Sequence[str]) -> str:
    """A name by content: where a scorer draws by the item's name, equal questions must draw equally.

    >>> item_name("p", ["a"])
    'asked-947c063b45'
    """
    return f"asked-{hashlib.sha256(repr((prompt, tuple(responses))).encode()).hexdigest()[:10]}"


def _checked(rows: list[list[float]], examples: Sequence[Example]) -> list[list[float]]:
    """The rows. Raises ValueError where they are not one finite score for each response."""
    if [len(row) for row in rows] != [len(example.responses) for example in examples]:
        raise ValueError("the scorer did not return one score for each response")
    if not all(math.isfinite(score) for row in rows for score in row):
        raise ValueError("the scorer returned a score that is no number")
    return rows
