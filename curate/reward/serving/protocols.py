"""The protocols of the server: one section each, from the request's body to the answer's body.

``/score`` is curate's own; ``/get_reward`` is what OpenRLHF's rollout sends (openrlhf/utils/agent.py);
``/compute_score`` has the arguments of verl's custom reward function. The last two may carry ``group_id`` and
``group_size``, one value or one per response. A new protocol is a parser in ``PROTOCOLS``. Errors are ``RequestError``:
an HTTP status, a message and a hint.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, AliasChoices, BaseModel, ConfigDict, Field, StrictInt, StrictStr, ValidationError

from curate.clients.prompts import ChatTemplate, PlainPrompt, plain_messages, unexpanded
from curate.media.frames import MediaError
from curate.media.locate import inside
from curate.reward.serving.batching import ScoreRequest, ScoreResult
from schemas.errors import CurateError
from schemas.messages import described


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
    group_size: int | None = None
    """Responses to one prompt that belong together, where requests do not say so; equal ones count."""
    allow_blind: bool = False
    """Score a prompt that refers to media without carrying them; the answer says so."""


@dataclass(frozen=True)
class Rules:
    """What a request is read by: the server's settings, and what its model requires."""

    config: ServeConfig
    compares: bool = False
    """Whether a score depends on the other responses of its pass."""
    plain_prompt: Callable[[str], PlainPrompt] = ChatTemplate().plain
    """The question of a prompt as it was sent. Raises CurateError."""


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
Size = Annotated[StrictInt, Field(ge=1)]


class Part(BaseModel):
    """A part of a message; only texts are read."""

    model_config = ConfigDict(extra="allow")
    type: StrictStr = "text"
    text: Text = ""


class Message(BaseModel):
    """A message of a conversation."""

    role: StrictStr
    content: Text | list[Part] | None = None


Messages = Annotated[list[Message], Field(min_length=1)]


class PromptFields(BaseModel):
    """A prompt and its media; also the part of verl's extra_info that is read."""

    prompt: Annotated[Text | Messages, Field(validation_alias=AliasChoices("prompt", "question"))]
    """The text, or messages whose contents are texts or parts."""
    video: StrictStr | None = None
    images: list[StrictStr] | None = None


class GroupFields(BaseModel):
    """Which responses belong together: for all responses of a request, or for each one."""

    group_id: StrictInt | Text | list[StrictInt | Text | None] | None = None
    group_size: Size | list[Size | None] | None = None


# curate's own protocol.


class ScoreItem(PromptFields):
    """One prompt with its responses, scored together as sent."""

    model_config = ConfigDict(extra="forbid")
    responses: Texts


class ScoreItems(BaseModel):
    """Several prompts."""

    model_config = ConfigDict(extra="forbid")
    items: Annotated[list[ScoreItem], Field(min_length=1)]


def parse_score(body: bytes, rules: Rules) -> Parsed:
    """``{prompt, responses, video?, images?}`` → ``{scores}``; ``{items: [...]}`` → ``{items: [{scores}, ...]}``."""
    document = _json_object(body)
    if "items" not in document:
        item = _validated(ScoreItem, document)
        request = _request(item, item.responses, rules)
        return Parsed((request,), lambda results: {"scores": results[0].scores, **_blind(request)})
    items = _validated(ScoreItems, document).items
    _check_count(len(items), "items", rules.config)
    requests = tuple(_request(item, item.responses, rules, where=f"items.{i}: ") for i, item in enumerate(items))

    def answer(results: Sequence[ScoreResult]) -> dict[str, Any]:
        rows = zip(requests, results, strict=True)
        return {"items": [{"scores": result.scores, **_blind(request)} for request, result in rows]}

    return Parsed(requests, answer)


# OpenRLHF.


class RewardQueries(GroupFields):
    """Each query is its prompt followed by a response. Labels are ignored."""

    query: Texts
    prompts: Texts


def parse_get_reward(body: bytes, rules: Rules) -> Parsed:
    """``{query: [...], prompts: [...], labels?}`` → ``{rewards, scores, extra_logs}``, a number per query."""
    form = _validated(RewardQueries, _json_object(body))
    _check_count(len(form.query), "query", rules.config)
    if len(form.prompts) != len(form.query):
        message = f"{len(form.query)} queries but {len(form.prompts)} prompts"
        raise RequestError(422, message, hint="send one prompt per query")
    responses = []
    for i, (query, prompt) in enumerate(zip(form.query, form.prompts, strict=True)):
        responses.append(remove_stop(_after_prompt(query, prompt, i), rules.config.stop))
    prompts = [PromptFields(prompt=prompt) for prompt in form.prompts]
    requests, places = _group(prompts, responses, form, rules)

    def answer(results: Sequence[ScoreResult]) -> dict[str, Any]:
        rewards = [results[request].scores[i] for request, i in places]
        logs = {"group_size": [results[request].group_size for request, _ in places]}
        if any(request.is_blind for request in requests):
            logs["blind"] = [int(requests[request].is_blind) for request, _ in places]
        return {"rewards": rewards, "scores": rewards, "extra_logs": logs}

    return Parsed(requests, answer)


def _after_prompt(query: str, prompt: str, number: int) -> str:
    """The response in a query: what follows its prompt, whose images the policy's processor may have expanded."""
    for text, start in ((query, prompt), (unexpanded(query), unexpanded(prompt))):
        if text.startswith(start):
            return text.removeprefix(start)
    raise RequestError(
        422,
        f"query.{number}: does not start with its prompt",
        hint="a query is exactly its prompt followed by the response; OpenRLHF cuts long prompts from the left and "
        "sends them whole: leave out long prompts, or allow more tokens",
    )


def remove_stop(text: str, stop: Sequence[str]) -> str:
    """
    >>> remove_stop("52<|im_end|><pad><pad>", ["<pad>", "<|im_end|>"])
    '52'
    """
    while end := next((marker for marker in stop if marker and text.endswith(marker)), ""):
        text = text.removesuffix(end)
    return text


# verl.


class VerlSample(GroupFields):
    """The arguments of verl's compute_score for one sample. The ground truth is ignored."""

    solution_str: Text
    extra_info: PromptFields


class VerlSamples(GroupFields):
    """The arguments of verl's compute_score with its batch reward manager."""

    solution_strs: Texts
    extra_infos: list[PromptFields]


def parse_compute_score(body: bytes, rules: Rules) -> Parsed:
    """``{solution_str, extra_info: {prompt}, ...}`` → ``{score}``; the plural names, with lists → ``{scores}``."""
    document = _json_object(body)
    if "solution_strs" not in document:
        sample = _validated(VerlSample, document)
        [request], _ = _group([sample.extra_info], [sample.solution_str], sample, rules)
        return Parsed((request,), lambda results: {"score": results[0].scores[0], **_blind(request)})
    samples = _validated(VerlSamples, document)
    _check_count(len(samples.solution_strs), "solution_strs", rules.config)
    if len(samples.extra_infos) != len(samples.solution_strs):
        message = f"{len(samples.solution_strs)} solution_strs but {len(samples.extra_infos)} extra_infos"
        raise RequestError(422, message, hint="send one extra_info per solution")
    requests, places = _group(samples.extra_infos, samples.solution_strs, samples, rules)

    def answer(results: Sequence[ScoreResult]) -> dict[str, Any]:
        blind = [requests[request].is_blind for request, _ in places]
        scores = [results[request].scores[i] for request, i in places]
        return {"scores": scores, "blind": blind} if any(blind) else {"scores": scores}

    return Parsed(requests, answer)


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
        names = ", ".join(model.model_fields)
        raise RequestError(422, described(error), hint=f"the fields are {names}") from error


def _check_count(count: int, what: str, config: ServeConfig) -> None:
    if count > config.max_items:
        message = f"{what}: {count}, at most {config.max_items} in one request"
        raise RequestError(413, message, hint="send several requests")


def _blind(request: ScoreRequest) -> dict[str, bool]:
    """What an answer says about a prompt whose media are missing."""
    return {"blind": True} if request.is_blind else {}


def _group(
    prompts: Sequence[PromptFields], responses: Sequence[str], form: GroupFields, rules: Rules
) -> tuple[tuple[ScoreRequest, ...], list[tuple[int, int]]]:
    """The requests of each group; and for each response its request and its position in it.

    A group has one group_id, prompt and media. More responses than its size are several groups, in their order.
    """
    ids = _of_each("group_id", form.group_id, len(responses))
    sizes = _of_each("group_size", form.group_size, len(responses))
    groups: dict[str, list[int]] = {}
    for i, prompt in enumerate(prompts):
        groups.setdefault(repr((ids[i], prompt)), []).append(i)
    requests: list[ScoreRequest] = []
    places = [(0, 0)] * len(prompts)
    for members in groups.values():
        first = members[0]
        size = _group_size({sizes[i] for i in members}, len(members), rules)
        step = size or len(members)
        for start in range(0, len(members), step):
            part = members[start : start + step]
            request = _request(prompts[first], [responses[i] for i in part], rules)
            for position, i in enumerate(part):
                places[i] = (len(requests), position)
            group_id = "" if ids[first] is None else repr(ids[first])
            requests.append(replace(request, whole=False, group_id=group_id, group_size=size))
    return tuple(requests), places


def _of_each(name: str, value: Any, count: int) -> list[Any]:
    """The value of each response."""
    if not isinstance(value, list):
        return [value] * count
    if len(value) != count:
        raise RequestError(422, f"{name}: {len(value)} values for {count} responses", hint="send one, or one for each")
    return value


def _group_size(named: set[int | None], count: int, rules: Rules) -> int | None:
    """The size of the group that ``count`` responses of a request belong to; None where a score needs no group."""
    if len(named) > 1:
        raise RequestError(422, f"group_size: {named} within one group", hint="send one size for a group")
    size = named.pop() or rules.config.group_size
    if not rules.compares:
        return None
    if size is None and count == 1:
        raise RequestError(
            422,
            "one response without its group, but this model compares the responses to a prompt with each other",
            hint="send group_size (and group_id), or all responses to the prompt in one request, or start the server "
            "with --group-size N: OpenRLHF's n_samples_per_prompt, verl's rollout.n",
        )
    size = size or count
    if size > rules.config.max_responses:
        message = f"group_size {size}, at most {rules.config.max_responses} responses are scored in one pass"
        raise RequestError(413, message, hint="start the server with a larger --max-responses")
    return size


def _request(prompt: PromptFields, responses: Sequence[str], rules: Rules, *, where: str = "") -> ScoreRequest:
    """The request with its plain prompt and its media resolved. where: prefix of error messages."""
    config = rules.config
    if len(responses) > config.max_responses:
        message = f"{where}{len(responses)} responses to one prompt, at most {config.max_responses}"
        raise RequestError(413, message, hint="send fewer, or start the server with a larger --max-responses")
    sent = prompt.prompt
    try:
        plain = rules.plain_prompt(sent) if isinstance(sent, str) else plain_messages([m.model_dump() for m in sent])
    except CurateError as error:
        raise RequestError(422, f"{where}{error}", hint=error.hint) from error
    video = media_path(prompt.video, config.media) if prompt.video is not None else None
    images = tuple(media_path(image, config.media) for image in prompt.images or ())
    is_blind = plain.names_media and video is None and not images
    if is_blind and not config.allow_blind:
        raise RequestError(
            422,
            f"{where}the prompt refers to an image or a video, but the request has none",
            hint="send video or images, paths in the server's media folder (OpenRLHF's own client cannot: use "
            "curate.clients.openrlhf), or start the server with --allow-blind",
        )
    return ScoreRequest(plain.text, tuple(responses), video=video, images=images, is_blind=is_blind)
