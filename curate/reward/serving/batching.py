"""Combines waiting requests into passes: one pass per prompt, several passes per call of the scorer."""

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

from curate.reward.data import Example

log = logging.getLogger(__name__)


class Scorer(Protocol):
    """``curate.reward.scoring.Scorer``, or any object with this method."""

    def score_examples(self, examples: Sequence[Example]) -> list[list[float]]:
        """N scores of each example, higher is better."""
        ...


@dataclass(frozen=True)
class ScoreRequest:
    """One prompt with responses to score: all or a part of one HTTP request."""

    prompt: str
    responses: tuple[str, ...]
    video: Path | None = None
    images: tuple[Path, ...] = ()
    whole: bool = True
    """Scored in a separate pass, as sent. False: in one pass with other requests' responses to the same prompt."""


@dataclass(frozen=True)
class ScoreResult:
    """The answer to a ScoreRequest."""

    scores: tuple[float, ...]
    """(N,) of the request's responses, in their order; higher is better."""
    group_size: int
    """Distinct responses in the pass."""


Outcome = tuple["asyncio.Future[ScoreResult]", ScoreResult | Exception]


class QueueFullError(Exception):
    """The queue has no room for the request."""


@dataclass
class Pass:
    """One forward pass: one whole request, or the requests with one prompt that arrived within a window."""

    requests: list[ScoreRequest] = field(default_factory=list)
    results: list[asyncio.Future[ScoreResult]] = field(default_factory=list)

    @property
    def size(self) -> int:
        """Responses in the pass, duplicates included."""
        return sum(len(request.responses) for request in self.requests)

    @property
    def is_awaited(self) -> bool:
        """Whether a result is still awaited."""
        return not all(result.done() for result in self.results)

    def responses(self) -> tuple[str, ...]:
        """Those of a whole request as sent; else distinct and sorted, so that the order of arrival does not matter."""
        if self.requests[0].whole:
            return self.requests[0].responses
        return tuple(sorted({response for request in self.requests for response in request.responses}))

    def example(self) -> Example:
        """The input of the scorer."""
        request, responses = self.requests[0], self.responses()
        item_id = content_id(request.prompt, responses)
        return Example(item_id, request.prompt, responses, video=request.video, images=request.images)

    def split(self) -> list[Pass]:
        """A pass for each request alone."""
        return [Pass([request], [result]) for request, result in zip(self.requests, self.results, strict=True)]

    def outcomes(self, scores: Sequence[float]) -> list[Outcome]:
        """The result of each request. scores: of ``responses()``."""
        responses = self.responses()
        if self.requests[0].whole:
            return [(self.results[0], ScoreResult(tuple(scores), len(set(responses))))]
        score = dict(zip(responses, scores, strict=True))
        return [
            (result, ScoreResult(tuple(score[response] for response in request.responses), len(score)))
            for request, result in zip(self.requests, self.results, strict=True)
        ]


class Batcher:
    """Scores requests in one worker thread. Belongs to one event loop, between ``start`` and ``close``.

    Requests that are not whole wait ``window`` seconds for others with the same prompt and media. A group has at most
    ``max_responses`` responses; at most ``queue`` responses wait. When a batch fails, its passes are scored one by one;
    when a pass fails, its requests are scored one by one: an error reaches only the request that caused it.
    """

    def __init__(self, scorer: Scorer, *, batch: int, queue: int, window: float, max_responses: int) -> None:
        self.batch, self.queue, self.window, self.max_responses = batch, queue, window, max_responses
        self.waiting = 0
        """Responses that wait for the scorer."""
        self._scorer = scorer
        self._open: dict[tuple[str, Path | None, tuple[Path, ...]], Pass] = {}
        self._ready: asyncio.Queue[Pass] = asyncio.Queue()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="scorer")
        self._worker: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start the worker."""
        self._worker = asyncio.get_running_loop().create_task(self._work())

    async def close(self) -> None:
        """Answer all waiting requests, then stop."""
        for key, group in list(self._open.items()):
            self._close_group(key, group)
        await self._ready.join()
        if self._worker is not None:
            self._worker.cancel()
        self._thread.shutdown()

    async def score(self, requests: Sequence[ScoreRequest]) -> list[ScoreResult]:
        """The results of the parts of one HTTP request, in order.

        All parts are accepted or none: raises QueueFullError where there is no room. Raises the scorer's error for one
        of them. When the caller is cancelled, parts that have not started are dropped.
        """
        if self.waiting + sum(len(request.responses) for request in requests) > self.queue:
            raise QueueFullError
        results = [self._add(request) for request in requests]
        try:
            return await asyncio.gather(*results)
        finally:
            for result in results:
                result.cancel()  # no effect on finished ones

    def _add(self, request: ScoreRequest) -> asyncio.Future[ScoreResult]:
        loop = asyncio.get_running_loop()
        result: asyncio.Future[ScoreResult] = loop.create_future()
        self.waiting += len(request.responses)
        if request.whole:
            self._ready.put_nowait(Pass([request], [result]))
            return result
        key = (request.prompt, request.video, request.images)
        group = self._open.get(key)
        if group is not None and group.size + len(request.responses) > self.max_responses:
            self._close_group(key, group)
            group = None
        if group is None:
            group = self._open[key] = Pass()
            loop.call_later(self.window, self._close_group, key, group)
        group.requests.append(request)
        group.results.append(result)
        if group.size >= self.max_responses:
            self._close_group(key, group)
        return result

    def _close_group(self, key: tuple[str, Path | None, tuple[Path, ...]], group: Pass) -> None:
        """Queue an open group for scoring; does nothing where it was closed before."""
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
            awaited = [group for group in taken if group.is_awaited]
            outcomes = await loop.run_in_executor(self._thread, self._outcomes, awaited) if awaited else []
            for result, outcome in outcomes:
                if result.done():  # its request was cancelled
                    continue
                result.set_exception(outcome) if isinstance(outcome, Exception) else result.set_result(outcome)
            for _ in taken:
                self._ready.task_done()

    def _outcomes(self, passes: list[Pass]) -> list[Outcome]:
        """The result of each request, or the scorer's error for it alone. Runs in the worker thread."""
        examples = [group.example() for group in passes]
        try:
            rows = checked_scores(self._scorer, examples)
        except Exception as error:  # any error is answered to the request that caused it
            parts = passes if len(passes) > 1 else passes[0].split()
            if len(parts) > 1:
                return [outcome for part in parts for outcome in self._outcomes([part])]
            log.warning("%r was not scored", examples[0].item_id, exc_info=error)
            return [(parts[0].results[0], error)]
        return [outcome for group, row in zip(passes, rows, strict=True) for outcome in group.outcomes(row)]


def content_id(prompt: str, responses: Sequence[str]) -> str:
    """An item id derived from the content, so that a scorer which draws orders by item id draws equal ones.

    >>> content_id("p", ["a"])
    'request-947c063b45'
    """
    return f"request-{hashlib.sha256(repr((prompt, tuple(responses))).encode()).hexdigest()[:10]}"


def checked_scores(scorer: Scorer, examples: Sequence[Example]) -> list[list[float]]:
    """The N scores of each example. Raises ValueError unless the scorer returns one finite score per response."""
    rows = scorer.score_examples(examples)
    if [len(row) for row in rows] != [len(example.responses) for example in examples]:
        raise ValueError("the scorer did not return one score for each response")
    if not all(math.isfinite(score) for row in rows for score in row):
        raise ValueError("the scorer returned a score that is not finite")
    return rows
