"""The protocols of the server: one section each, from the request's body to the answer's body.

``/score`` is curate's own; ``/get_reward`` is what OpenRLHF's rollout sends (openrlhf/utils/agent.py);
``/compute_score`` has the arguments of verl's custom reward function. A new protocol is a parser in ``PROTOCOLS``.
Errors are ``RequestError``: an HTTP status, a message and a hint.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StrictStr, ValidationError

from curate.media.frames import MediaError
from curate.media.locate import inside
from curate.reward.serving.batching import ScoreRequest, ScoreResult
from schemas.errors import CurateError


class RequestError(CurateError):
    """A request that is answered with an error."""

    def __init__(self, status: int, message: str, *, hint: str = "", retry_after: int | None = None) -> None:
        super().__init__(message, hint=hint)
        self.status = status
        self.retry_after = retry_after
        """Seconds after which the same request may succeed."""


@dataclass(frozen=True)
class ServeConfig:
    """Limits and timing of the server."""

    media: Path | None = None
    """The folder from which videos and images are read; None: no media are read."""
    window_ms: float = 20.0
    """How long a response of /get_reward or /compute_score waits for others to the same prompt."""
    batch: int = 16
    """Most passes in one call of the scorer."""
    queue: int = 1024
    """Most responses that wait; more are answered with 429."""
    max_responses: int = 16
    """Most responses in one pass."""
    max_items: int = 256
    """Most items, queries or solutions in one request."""
    max_bytes: int = 4 << 20
    """Largest body of a request."""
    timeout: float = 60.0
    """Seconds that a request may wait for its scores."""
    stop: tuple[str, ...] = ()
    """End-of-text markers that /get_reward removes from the end of responses, because OpenRLHF sends them."""


@dataclass(frozen=True)
class Parsed:
    """A parsed request."""

    requests: tuple[ScoreRequest, ...]
    answer: Callable[[Sequence[ScoreResult]], dict[str, Any]]
    """The answer's body, from the results of the requests."""


def _encodable(text: str) -> str:
    text.encode()  # half of a surrogate pair is an error: no tokenizer accepts it
    return text


Text = Annotated[StrictStr, AfterValidator(_encodable)]
Texts = Annotated[list[Text], Field(min_length=1)]


class PromptFields(BaseModel):
    """A prompt and its media; also the part of verl's extra_info that is read."""

    prompt: Text
    video: StrictStr | None = None
    images: list[StrictStr] = []


# curate's own protocol.


class ScoreItem(PromptFields):
    """One prompt with its responses, scored together as sent."""

    model_config = ConfigDict(extra="forbid")
    responses: Texts


class ScoreItems(BaseModel):
    """Several prompts."""

    model_config = ConfigDict(extra="forbid")
    items: Annotated[list[ScoreItem], Field(min_length=1)]


def parse_score(body: bytes, config: ServeConfig) -> Parsed:
    """``{prompt, responses, video?, images?}`` → ``{scores}``; ``{items: [...]}`` → ``{items: [{scores}, ...]}``."""
    document = _json_object(body)
    if "items" not in document:
        item = _validated(ScoreItem, document)
        request = _request(item, item.responses, config, whole=True)
        return Parsed((request,), lambda results: {"scores": results[0].scores})
    items = _validated(ScoreItems, document).items
    _check_count(len(items), "items", config)
    requests = tuple(
        _request(item, item.responses, config, whole=True, where=f"items.{i}: ") for i, item in enumerate(items)
    )
    return Parsed(requests, lambda results: {"items": [{"scores": result.scores} for result in results]})


# OpenRLHF.


class RewardQueries(BaseModel):
    """Each query is its prompt followed by a response. Labels are ignored."""

    query: Texts
    prompts: Texts


def parse_get_reward(body: bytes, config: ServeConfig) -> Parsed:
    """``{query: [...], prompts: [...], labels?}`` → ``{rewards, scores, extra_logs}``, a number per query."""
    form = _validated(RewardQueries, _json_object(body))
    _check_count(len(form.query), "query", config)
    if len(form.prompts) != len(form.query):
        message = f"{len(form.query)} queries but {len(form.prompts)} prompts"
        raise RequestError(422, message, hint="send one prompt per query")
    responses = []
    for i, (query, prompt) in enumerate(zip(form.query, form.prompts, strict=True)):
        if not query.startswith(prompt):
            hint = "a query is exactly its prompt followed by the response"
            raise RequestError(422, f"query.{i}: does not start with its prompt", hint=hint)
        responses.append(remove_stop(query.removeprefix(prompt), config.stop))
    requests, places = _group([PromptFields(prompt=prompt) for prompt in form.prompts], responses, config)

    def answer(results: Sequence[ScoreResult]) -> dict[str, Any]:
        rewards = [results[request].scores[i] for request, i in places]
        sizes = [results[request].group_size for request, _ in places]
        return {"rewards": rewards, "scores": rewards, "extra_logs": {"group_size": sizes}}

    return Parsed(requests, answer)


def remove_stop(text: str, stop: Sequence[str]) -> str:
    """
    >>> remove_stop("52<|im_end|><pad><pad>", ["<pad>", "<|im_end|>"])
    '52'
    """
    while end := next((marker for marker in stop if marker and text.endswith(marker)), ""):
        text = text.removesuffix(end)
    return text


# verl.


class VerlSample(BaseModel):
    """The arguments of verl's compute_score for one sample. The ground truth is ignored."""

    solution_str: Text
    extra_info: PromptFields


class VerlSamples(BaseModel):
    """The arguments of verl's compute_score with its batch reward manager."""

    solution_strs: Texts
    extra_infos: list[PromptFields]


def parse_compute_score(body: bytes, config: ServeConfig) -> Parsed:
    """``{solution_str, extra_info: {prompt}, ...}`` → ``{score}``; the plural names, with lists → ``{scores}``."""
    document = _json_object(body)
    if "solution_strs" not in document:
        sample = _validated(VerlSample, document)
        requests, _ = _group([sample.extra_info], [sample.solution_str], config)
        return Parsed(requests, lambda results: {"score": results[0].scores[0]})
    samples = _validated(VerlSamples, document)
    _check_count(len(samples.solution_strs), "solution_strs", config)
    if len(samples.extra_infos) != len(samples.solution_strs):
        message = f"{len(samples.solution_strs)} solution_strs but {len(samples.extra_infos)} extra_infos"
        raise RequestError(422, message, hint="send one extra_info per solution")
    requests, places = _group(samples.extra_infos, samples.solution_strs, config)
    return Parsed(requests, lambda results: {"scores": [results[request].scores[i] for request, i in places]})


PROTOCOLS = {"/score": parse_score, "/get_reward": parse_get_reward, "/compute_score": parse_compute_score}
"""Route -> parser of its requests."""


# What the protocols share.

Model = TypeVar("Model", bound=BaseModel)


def media_path(text: str, root: Path | None) -> Path:
    """The file in ``root``. Raises RequestError for a path that leaves it, also through symbolic links."""
    if root is None:
        raise RequestError(422, f"{text}: this server reads no media", hint="start it with --media DIR")
    try:
        found = inside(root, text)
    except MediaError as error:
        raise RequestError(422, str(error), hint=error.hint) from error
    if not found.is_file():
        raise RequestError(422, f"{text}: no such file in the media folder", hint="check the path")
    return found


def _json_object(body: bytes) -> dict[str, Any]:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise RequestError(400, "the body is not JSON", hint=str(error)) from error
    if not isinstance(document, dict):
        raise RequestError(422, f"the body is a JSON {type(document).__name__}, not an object", hint="send {...}")
    return document


def _validated(model: type[Model], document: dict[str, Any]) -> Model:
    try:
        return model.model_validate(document)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        names = ", ".join(model.model_fields)
        raise RequestError(422, f"{where}: {first['msg']}", hint=f"the fields are {names}") from error


def _check_count(count: int, what: str, config: ServeConfig) -> None:
    if count > config.max_items:
        message = f"{what}: {count}, at most {config.max_items} in one request"
        raise RequestError(413, message, hint="send several requests")


def _group(
    prompts: Sequence[PromptFields], responses: Sequence[str], config: ServeConfig
) -> tuple[tuple[ScoreRequest, ...], list[tuple[int, int]]]:
    """A request for each distinct prompt and media; and for each response its request and its position in it."""
    groups: dict[tuple[str, str | None, tuple[str, ...]], list[int]] = {}
    for i, prompt in enumerate(prompts):
        groups.setdefault((prompt.prompt, prompt.video, tuple(prompt.images)), []).append(i)
    requests: list[ScoreRequest] = []
    places = [(0, 0)] * len(prompts)
    for members in groups.values():
        for position, i in enumerate(members):
            places[i] = (len(requests), position)
        requests.append(_request(prompts[members[0]], [responses[i] for i in members], config, whole=False))
    return tuple(requests), places


def _request(
    prompt: PromptFields, responses: Sequence[str], config: ServeConfig, *, whole: bool, where: str = ""
) -> ScoreRequest:
    """The request with its media resolved. where: prefix of error messages."""
    if len(responses) > config.max_responses:
        message = f"{where}{len(responses)} responses to one prompt, at most {config.max_responses}"
        raise RequestError(413, message, hint="send fewer, or start the server with a larger --max-responses")
    video = media_path(prompt.video, config.media) if prompt.video is not None else None
    images = tuple(media_path(image, config.media) for image in prompt.images)
    return ScoreRequest(prompt.prompt, tuple(responses), video=video, images=images, whole=whole)
