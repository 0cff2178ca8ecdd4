"""The forms in which a request may ask for scores, its limits, and the form of each answer.

``/score`` is ours; ``/get_reward`` is what OpenRLHF's rollout sends (openrlhf/utils/agent.py); ``/compute_score`` is
the arguments of verl's custom reward function. Errors are ``Refusal``: an HTTP status, what was wrong and what to do.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, StrictStr, ValidationError

from curate.reward.batching import Ask, Scored
from schemas.errors import CurateError


class Refusal(CurateError):
    """A request that is answered with an error."""

    def __init__(self, status: int, message: str, *, hint: str = "", retry_after: int | None = None) -> None:
        super().__init__(message, hint=hint)
        self.status = status
        self.retry_after = retry_after
        """Seconds after which the same request may succeed."""


@dataclass(frozen=True)
class ServeConfig:
    """What the server allows, and how it waits."""

    media: Path | None = None
    """The folder below which videos and images may be read; None: nowhere."""
    window_ms: float = 20.0
    """How long a response of /get_reward or /compute_score waits for others to the same prompt."""
    batch: int = 16
    """Passes in one call of the scorer, at most."""
    queue: int = 1024
    """Responses that may wait; more are answered with 429."""
    max_responses: int = 16
    """Responses in one pass, at most."""
    max_items: int = 256
    """Items, queries or solutions in one request, at most."""
    max_bytes: int = 4 << 20
    """Of a request's body."""
    timeout: float = 60.0
    """Seconds a request may wait for its scores."""
    stop: tuple[str, ...] = ()
    """End-of-text markers that /get_reward removes from the end of responses: OpenRLHF sends them along."""


@dataclass(frozen=True)
class Asked:
    """What a request asks, and how its answer is written."""

    asks: tuple[Ask, ...]
    answer: Callable[[Sequence[Scored]], dict[str, Any]]


class Shown(BaseModel):
    """What is answered to. It is verl's extra_info too, as far as we read it: the prompt must be in it, as text."""

    prompt: StrictStr
    video: StrictStr | None = None
    images: list[StrictStr] = []


class ScoreItem(Shown):
    """One prompt with its responses, scored together as they stand."""

    model_config = ConfigDict(extra="forbid")
    responses: list[StrictStr]


class ScoreItems(BaseModel):
    """Several of them."""

    model_config = ConfigDict(extra="forbid")
    items: list[ScoreItem]


class RewardQueries(BaseModel):
    """OpenRLHF: each query is its prompt with a response behind it. Labels are not looked at."""

    query: list[StrictStr]
    prompts: list[StrictStr]


class VerlSample(BaseModel):
    """The arguments of verl's compute_score, of one sample. The ground truth is not looked at."""

    solution_str: StrictStr
    extra_info: Shown


class VerlSamples(BaseModel):
    """The arguments of verl's compute_score under its batch reward manager."""

    solution_strs: list[StrictStr]
    extra_infos: list[Shown]


def score_form(body: bytes, config: ServeConfig) -> Asked:
    """``{prompt, responses, video?, images?}`` → ``{scores}``; ``{items: [...]}`` → ``{items: [{scores}, ...]}``."""
    document = _document(body)
    if "items" not in document:
        item = _form(ScoreItem, document)
        return Asked((_whole(item, config),), lambda scored: {"scores": scored[0].scores})
    items = _form(ScoreItems, document).items
    _count(len(items), "items", config)
    asks = tuple(_whole(item, config, where=f"items.{i}: ") for i, item in enumerate(items))
    return Asked(asks, lambda scored: {"items": [{"scores": one.scores} for one in scored]})


def reward_form(body: bytes, config: ServeConfig) -> Asked:
    """``{query: [...], prompts: [...], labels?}`` → ``{rewards, scores, extra_logs}``, a number for each query."""
    form = _form(RewardQueries, _document(body))
    _count(len(form.query), "query", config)
    if len(form.prompts) != len(form.query):
        raise Refusal(422, f"{len(form.query)} queries but {len(form.prompts)} prompts", hint="send a prompt a query")
    responses = []
    for i, (query, prompt) in enumerate(zip(form.query, form.prompts, strict=True)):
        if not query.startswith(prompt):
            hint = "a query is its prompt with the response behind it, letter for letter"
            raise Refusal(422, f"query.{i}: does not begin with its prompt", hint=hint)
        responses.append(without_stop(query.removeprefix(prompt), config.stop))
    shown = [Shown(prompt=prompt) for prompt in form.prompts]
    asks, rows = _regrouped(shown, responses, config)

    def answer(scored: Sequence[Scored]) -> dict[str, Any]:
        rewards = [scored[ask].scores[i] for ask, i in rows]
        sizes = [scored[ask].group_size for ask, _ in rows]
        return {"rewards": rewards, "scores": rewards, "extra_logs": {"group_size": sizes}}

    return Asked(asks, answer)


def verl_form(body: bytes, config: ServeConfig) -> Asked:
    """``{solution_str, extra_info: {prompt}, ...}`` → ``{score}``; the plural names, with lists → ``{scores}``."""
    document = _document(body)
    if "solution_strs" not in document:
        one = _form(VerlSample, document)
        asks, _ = _regrouped([one.extra_info], [one.solution_str], config)
        return Asked(asks, lambda scored: {"score": scored[0].scores[0]})
    many = _form(VerlSamples, document)
    _count(len(many.solution_strs), "solution_strs", config)
    if len(many.extra_infos) != len(many.solution_strs):
        message = f"{len(many.solution_strs)} solution_strs but {len(many.extra_infos)} extra_infos"
        raise Refusal(422, message, hint="send as many of one as of the other")
    asks, rows = _regrouped(many.extra_infos, many.solution_strs, config)
    return Asked(asks, lambda scored: {"scores": [scored[ask].scores[i] for ask, i in rows]})


def without_stop(text: str, stop: Sequence[str]) -> str:
    """
    >>> without_stop("52<|im_end|><pad><pad>", ["<pad>", "<|im_end|>"])
    '52'
    """
    while end := next((marker for marker in stop if marker and text.endswith(marker)), ""):
        text = text.removesuffix(end)
    return text


def media_path(text: str, root: Path | None) -> Path:
    """The file below ``root``. Raises Refusal for whatever would lead out of it, symbolic links included."""
    if root is None:
        raise Refusal(422, f"{text}: this server reads no media", hint="start it with --media DIR")
    path = Path(text)
    if path.is_absolute() or ".." in path.parts or "\0" in text or not path.parts:
        raise Refusal(422, f"{text!r}: not a path below the media folder", hint="send it relative, without ..")
    found = (root / path).resolve()
    if not found.is_relative_to(root.resolve()):
        raise Refusal(422, f"{text}: not a path below the media folder", hint="a link leads out of it")
    if not found.is_file():
        raise Refusal(422, f"{text}: there is no such file below the media folder", hint="check the path")
    return found


Form = TypeVar("Form", bound=BaseModel)


def _document(body: bytes) -> dict[str, Any]:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Refusal(400, "the body is not JSON", hint=str(error)) from error
    if not isinstance(document, dict):
        raise Refusal(422, f"the body is a JSON {type(document).__name__}, not an object", hint="send {...}")
    return document


def _form(form: type[Form], document: dict[str, Any]) -> Form:
    try:
        return form.model_validate(document)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        named = ", ".join(form.model_fields)
        raise Refusal(422, f"{where}: {first['msg']}", hint=f"the fields are {named}") from error


def _count(count: int, what: str, config: ServeConfig) -> None:
    if not count:
        raise Refusal(422, f"{what}: empty", hint="send at least one")
    if count > config.max_items:
        raise Refusal(413, f"{what}: {count}, at most {config.max_items} in one request", hint="send several requests")


def _whole(item: ScoreItem, config: ServeConfig, *, where: str = "") -> Ask:
    return _ask(item, item.responses, config, whole=True, where=where)


def _regrouped(
    shown: Sequence[Shown], responses: Sequence[str], config: ServeConfig
) -> tuple[tuple[Ask, ...], list[tuple[int, int]]]:
    """An ask for each distinct prompt and media; and of each response the ask and the position in it."""
    groups: dict[tuple[str, str | None, tuple[str, ...]], list[int]] = {}
    for i, one in enumerate(shown):
        groups.setdefault((one.prompt, one.video, tuple(one.images)), []).append(i)
    asks: list[Ask] = []
    rows = [(0, 0)] * len(shown)
    for members in groups.values():
        for position, i in enumerate(members):
            rows[i] = (len(asks), position)
        asks.append(_ask(shown[members[0]], [responses[i] for i in members], config, whole=False))
    return tuple(asks), rows


def _ask(shown: Shown, responses: Sequence[str], config: ServeConfig, *, whole: bool, where: str = "") -> Ask:
    if not responses:
        raise Refusal(422, f"{where}responses: empty", hint="send at least one")
    if len(responses) > config.max_responses:
        message = f"{where}{len(responses)} responses to one prompt, at most {config.max_responses}"
        raise Refusal(413, message, hint="send fewer, or start the server with a larger --max-responses")
    for text in (shown.prompt, *responses):
        try:
            text.encode()
        except UnicodeEncodeError as error:  # half of a surrogate pair: no tokenizer takes it
            raise Refusal(422, f"{where}a text is not Unicode", hint=str(error)) from error
    video = media_path(shown.video, config.media) if shown.video is not None else None
    images = tuple(media_path(image, config.media) for image in shown.images)
    return Ask(shown.prompt, tuple(responses), video=video, images=images, whole=whole)
