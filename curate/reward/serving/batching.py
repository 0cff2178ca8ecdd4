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
from schemas.errors import CurateError

log = logging.getLogger(__name__)
GROUP_HINT = (
    "all responses to a prompt must arrive in time: check the group size (--group-size, group_size), --timeout, and "
    "that different groups with one prompt have their own group_id"
)


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
    group_size: int | None = None
    """Responses in the pass, equal ones included, of this request and others; None: those that arrive in a window."""
    group_id: str = ""
    """Separates groups with the same prompt."""
    is_blind: bool = False
    """Whether its prompt named media that it does not have."""

    @property
    def key(self) -> tuple[str, str, Path | None, tuple[Path, ...]]:
        """What the requests of a pass have in common."""
        return self.group_id, self.prompt, self.video, self.images


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


class GroupError(CurateError):
    """A group of responses that is not complete, or would have too many."""


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

    Requests that are not whole wait for others with the same prompt and media: with a group size, until the group is
    complete, at most ``patience`` seconds after its first response; else ``window`` seconds. A pass has at most
    ``max_responses`` responses; at most ``queue`` responses wait, not counting those that an open group waits for.
    When a batch fails, its passes are scored one by one; when a pass fails, its requests are scored one by one, unless
    they are a group: an error reaches only the request that caused it.
    """

    def __init__(
        self, scorer: Scorer, *, batch: int, queue: int, window: float, max_responses: int, patience: float = 60.0
    ) -> None:
        self.batch, self.queue, self.window, self.max_responses = batch, queue, window, max_responses
        self.patience = patience
        self.waiting = 0
        """Responses that wait for the scorer."""
        self._scorer = scorer
        self._open: dict[tuple[object, ...], Pass] = {}
        self._ready: asyncio.Queue[Pass] = asyncio.Queue()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="scorer")
        self._worker: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start the worker."""
        self._worker = asyncio.get_running_loop().create_task(self._work())

    async def close(self) -> None:
        """Answer all waiting requests, then stop. Incomplete groups are refused."""
        for group in list(self._open.values()):
            self._close_group(group) if group.requests[0].group_size is None else self._refuse_group(group)
        await self._ready.join()
        if self._worker is not None:
            self._worker.cancel()
        self._thread.shutdown()

    async def score(self, requests: Sequence[ScoreRequest]) -> list[ScoreResult]:
        """The results of the parts of one HTTP request, in order.

        All parts are accepted or none: raises QueueFullError where there is no room, and GroupError where one does not
        fit into its group. Raises the scorer's error for one of them, or GroupError where its group stayed incomplete.
        When the caller is cancelled, parts that have not started are dropped.
        """
        for request in requests:
            self._check_group(request)
        new = sum(len(request.responses) for request in requests if request.key not in self._open)
        if new and self.waiting + new > self.queue:
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
        limit = request.group_size or self.max_responses
        group = self._open.get(request.key)
        if group is not None and group.size + len(request.responses) > limit:
            self._close_group(group)
            group = None
        if group is None:
            group = self._open[request.key] = Pass()
            if request.group_size is None:
                loop.call_later(self.window, self._close_group, group)
            else:
                loop.call_later(self.patience, self._refuse_group, group)
        group.requests.append(request)
        group.results.append(result)
        if group.size >= limit:
            self._close_group(group)
        return result

    def _check_group(self, request: ScoreRequest) -> None:
        """Raise GroupError where a request does not fit into the open group that it belongs to."""
        size, group = request.group_size, self._open.get(request.key)
        if size is None or group is None:
            return
        named = group.requests[0].group_size
        if named != size:
            raise GroupError(f"group_size {size}, but {named} by an earlier response of the group", hint=GROUP_HINT)
        if group.size + len(request.responses) > size:
            message = f"{group.size} of {size} responses arrived, and {len(request.responses)} more are too many"
            raise GroupError(message, hint=GROUP_HINT)

    def _close_group(self, group: Pass) -> None:
        """Queue an open group for scoring; does nothing where it was closed before."""
        if self._take(group):
            self._ready.put_nowait(group)

    def _refuse_group(self, group: Pass) -> None:
        """Answer an incomplete group with GroupError; does nothing where it was closed before."""
        if not self._take(group):
            return
        self.waiting -= group.size
        for request, result in zip(group.requests, group.results, strict=True):
            if not result.done():
                message = f"{group.size} of {request.group_size} responses arrived within {self.patience:g} seconds"
                result.set_exception(GroupError(message, hint=GROUP_HINT))

    def _take(self, group: Pass) -> bool:
        """Remove an open group; whether it was open."""
        key = group.requests[0].key
        if self._open.get(key) is not group:
            return False
        del self._open[key]
        return True

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
            is_group = passes[0].requests[0].group_size is not None  # its responses have no scores without the others
            parts = passes if len(passes) > 1 or is_group else passes[0].split()
            if len(parts) > 1:
                return [outcome for part in parts for outcome in self._outcomes([part])]
            log.warning("%r was not scored", examples[0].item_id, exc_info=error)
            return [(result, error) for result in parts[0].results]
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
