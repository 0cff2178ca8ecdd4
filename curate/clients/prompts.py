"""Prompts as trainers send them, and the plain questions within: messages, chat templates, placeholders of media."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from schemas.errors import CurateError

Text = str | Sequence[Mapping[str, Any]]
"""A text, or the messages of a conversation."""

_QUESTION = "\u2402question\u2403"
"""Placeholder of the question while a chat template is rendered; no template contains it."""
_MEDIA = ("image", "video", "audio", "vision", "img")
_CONTROL = re.compile(
    r"<[|｜](?!endoftext)[a-zA-Z][\w▁]*[|｜]>|</?(?:start|end)_of_(?:turn|image)>|\[/?INST\]|<</?SYS>>|<IMG_CONTEXT>"
    r"|<image_soft_token>|<(?:global-img|row_\d+_col_\d+)>|<fake_token_around_image>"
)
"""Tokens of chat templates and of expanded media, whichever model they belong to."""
_FRAMES = r"(?:(?:<\d+(?:\.\d+)? seconds>)?<\|vision_start\|>(?:<\|(?:image|video)_pad\|>)+<\|vision_end\|>)"
_LEADING_MEDIA = re.compile(
    rf"(?:{_FRAMES}|\n*<start_of_image>(?:(?:<image_soft_token>)+<end_of_image>)?\n*|<\|(?:image|video)\|>"
    r"|<img>(?:<IMG_CONTEXT>)+</img>|<(?:image|video)>\s*)+"
)
"""Placeholders of images and videos before a question, expanded to one token per patch or not."""
_REPEATED = re.compile(r"(<[|]?(?:image|video|IMG)\w*[|]?>)\1+")
REMEDY = (
    "send plain prompts: OpenRLHF without --data.apply_chat_template, or by curate.clients.openrlhf, which removes the "
    "policy's template; or messages, whose texts are taken literally"
)


@dataclass(frozen=True)
class PlainPrompt:
    """A question without chat template and without placeholders of media."""

    text: str
    names_media: bool = False
    """Whether there were placeholders of images or videos."""


class ChatTemplate:
    """What a model's chat template puts around a question, to be removed.

    Parameters
    ----------
    tokenizer
        A tokenizer or processor of transformers; None: no template is known.
    system : str
        A system message that the prompts begin with; it is removed, too.
    """

    def __init__(self, tokenizer: Any = None, *, system: str = "") -> None:
        inner = getattr(tokenizer, "tokenizer", tokenizer)
        has_template = any(getattr(one, "chat_template", None) for one in (tokenizer, inner))
        self.around = _around(tokenizer, system) if has_template else []
        """(before, after) of a question, the longest first; the last is no template."""
        self.around.append(("", ""))
        written = "".join(before + after for before, after in self.around)
        special = [*getattr(inner, "all_special_tokens", ()), *getattr(inner, "additional_special_tokens", ())]
        self.control = frozenset(
            token for token in special if token in written or any(word in token.lower() for word in _MEDIA)
        )

    def plain(self, prompt: str) -> PlainPrompt:
        """The question of a prompt that is plain or in this template, with placeholders of media before the question.

        Raises CurateError that names other control tokens: with them, the prompt would be scored in a form that no
        model was trained with.
        """
        tokens: Iterable[str] = ()
        for before, after in self.around:
            if len(prompt) < len(before) + len(after) or not prompt.startswith(before) or not prompt.endswith(after):
                continue
            question, names_media = without_media(prompt[len(before) : len(prompt) - len(after)])
            tokens = control_tokens(question, self.control)
            if not tokens:
                return PlainPrompt(question, names_media)
        raise CurateError(
            f"the prompt has control tokens that are not exactly the model's own chat template around a question: "
            f"{' '.join(tokens)}",
            hint=REMEDY,
        )


def control_tokens(text: str, own: Iterable[str] = ()) -> list[str]:
    """The control tokens in a text, each once. own: tokens of the model in use.

    >>> control_tokens("<|im_start|>user\\nWhy?<|im_end|><|im_end|>")
    ['<|im_start|>', '<|im_end|>']
    """
    return list(dict.fromkeys([*_CONTROL.findall(text), *(token for token in own if token in text)]))


def without_media(question: str) -> tuple[str, bool]:
    """The question without the placeholders of media before it, and whether there were any.

    >>> without_media("<|vision_start|><|image_pad|><|image_pad|><|vision_end|>Why?"), without_media("Is <b> bold?")
    (('Why?', True), ('Is <b> bold?', False))
    """
    found = _LEADING_MEDIA.match(question)
    return (question[found.end() :], True) if found else (question, False)


def unexpanded(text: str) -> str:
    """The text with one token for each image, where a processor repeated it for every patch.

    >>> unexpanded("<|image_pad|><|image_pad|><|image_pad|>Why?")
    '<|image_pad|>Why?'
    """
    return _REPEATED.sub(r"\1", text)


def plain_messages(messages: Sequence[Mapping[str, Any]]) -> PlainPrompt:
    """The question of a conversation: of its only message, or of several messages with their roles, a paragraph each.

    Messages are not in a chat template yet: control tokens in them are text.

    >>> plain_messages([{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "Why?"}]}])
    PlainPrompt(text='Why?', names_media=True)
    >>> plain_messages([{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Why?"}]).text
    'system: Be brief.\\n\\nuser: Why?'
    """
    texts, names_media = [], False
    for message in messages:
        content = message.get("content")
        if content is None or isinstance(content, str):
            text, named = without_media(content or "")
        else:
            text, named = _content(message), any(part.get("type", "").startswith(_MEDIA) for part in content)
        texts.append(text if len(messages) == 1 else f"{message['role']}: {text}")
        names_media = names_media or named
    return PlainPrompt("\n\n".join(texts), names_media)


def completion_text(completion: Text) -> str:
    """The text of a completion: its assistant messages, a line each; tool messages are excluded."""
    if isinstance(completion, str):
        return completion
    texts = [_content(message) for message in completion if message["role"] == "assistant"]
    return "\n".join(text for text in texts if text)


def _content(message: Mapping[str, Any]) -> str:
    """The text of a message; of a message in parts, its text parts."""
    content = message.get("content") or ""
    if isinstance(content, str):
        return content
    return "".join(part["text"] for part in content if part.get("type", "text") == "text")


def _around(tokenizer: Any, system: str) -> list[tuple[str, str]]:
    """What the chat template puts before and after a question, with and without the beginning of an answer."""
    render: Callable[..., str] = tokenizer.apply_chat_template
    found = []
    for generation in (True, False):
        for in_parts in (True,) if hasattr(tokenizer, "tokenizer") else (False, True):
            messages = [("system", system)] if system else []
            chat = [_message(role, text, in_parts) for role, text in [*messages, ("user", _QUESTION)]]
            before, question, after = render(chat, tokenize=False, add_generation_prompt=generation).partition(
                _QUESTION
            )
            if question:
                break
        if question and (before + after).strip():
            found.append((before, after))
    return found


def _message(role: str, text: str, in_parts: bool) -> dict[str, Any]:
    return {"role": role, "content": [{"type": "text", "text": text}] if in_parts else text}
