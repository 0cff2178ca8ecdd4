"""One example as one token sequence, built segment by segment, so that every position in it is known."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from transformers.video_utils import VideoMetadata

from curate.clients.prompts import ChatTemplate, PlainPrompt
from curate.reward.backbones import TOKEN_TYPES
from curate.reward.data import Example
from schemas.errors import CurateError
from schemas.reward import Template

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from curate.media.frames import Frames

SEPARATOR = "<|resp_sep|>"
"""Separates responses in the causal layout; the official code's token."""
_QUESTION, _ANSWER = "\u2402question\u2403", "\u2402answer\u2403"
"""Placeholders of the question and the responses while the chat template is rendered; no template contains them."""


@dataclass(frozen=True)
class Encoded:
    """One example as L tokens with N responses."""

    item_id: str
    input_ids: Tensor
    """(L,) the prompt, then each response and its end token."""
    token_types: Tensor
    """(L,) 0 for text, 1 for image and 2 for video tokens; all 0 for a text backbone."""
    starts: tuple[int, ...]
    """(N,) position of the first token of each response."""
    ends: tuple[int, ...]
    """(N,) position of the last token of each response: the token whose hidden state is scored."""
    visual: Mapping[str, Tensor] = field(default_factory=dict)
    """The processor's output for video and images, by the backbone's argument names."""

    @property
    def prompt_length(self) -> int:
        return self.starts[0]


@dataclass(frozen=True)
class MediaPrefix:
    """The sequence before the question: the beginning of the chat with the video and images of an example."""

    ids: list[int]
    token_types: list[int]
    """Of each token, as in Encoded."""
    visual: Mapping[str, npt.NDArray[Any]]
    """The processor's output, as arrays, which processes exchange without copies."""
    after: str
    """What the chat template puts after the question."""
    end: str
    """What it puts after the responses, where these are in the assistant's turn of the template."""

    @property
    def nbytes(self) -> int:
        return sum(value.nbytes for value in self.visual.values())


class TooLongError(CurateError):
    """The example does not fit. It is refused, because a truncated response is not the one that was ranked."""


class Encoder:
    """Converts examples to token sequences for one backbone."""

    def __init__(
        self,
        processor: Any,
        *,
        max_length: int = 8192,
        separated: bool = False,
        template: Template = "curate",
        window: int | None = None,
    ):
        """processor: of transformers; a tokenizer for a text backbone. separated: put SEPARATOR between responses
        (layout causal); it is added to the tokenizer where missing. window: most tokens of prompt plus one response."""
        self.processor = processor
        self.made_by: Callable[[], Encoder] | None = None
        """Makes an equal encoder in another process, where the processor is loaded instead of pickled."""
        self.tokenizer = getattr(processor, "tokenizer", processor)
        self.reads_media = self.tokenizer is not processor
        self.max_length = max_length
        self.template = template
        self.window = window
        if self.tokenizer.eos_token_id is None:
            raise CurateError("the backbone's tokenizer has no eos token", hint="set one and save it with the backbone")
        self.separator: list[int] = []
        if separated:
            added = {"additional_special_tokens": [SEPARATOR]}
            self.tokenizer.add_special_tokens(added, replace_extra_special_tokens=False)
            self.separator = [self.tokenizer.convert_tokens_to_ids(SEPARATOR)]

    def __reduce__(self) -> tuple[Any, ...]:
        return (self.made_by, ()) if self.made_by else super().__reduce__()  # type: ignore[return-value]

    @property
    def pad(self) -> int:
        """The padding token."""
        pad, end = self.tokenizer.pad_token_id, self.tokenizer.eos_token_id
        return int(end if pad is None else pad)

    @cached_property
    def plain_prompt(self) -> Callable[[str], PlainPrompt]:
        """Gives the question of a prompt that a trainer sends: plain, or in this backbone's own chat template.

        It raises CurateError for other control tokens, which would be encoded as text within the chat template.
        """
        return ChatTemplate(self.processor).plain

    def encode_media(
        self, example: Example, *, video: Frames | None = None, images: Sequence[npt.NDArray[np.uint8]] = ()
    ) -> MediaPrefix:
        """The sequence up to the question, which examples with the same media share. Raises CurateError where the
        backbone cannot read them. video and images: the contents of the example's files."""
        if (example.video is not None) != (video is not None) or len(example.images) != len(images):
            raise ValueError(f"{example.item_id}: its video and images must be given, and no others")
        has_media = video is not None or len(images) > 0
        if has_media and not self.reads_media:
            why = f"{example.item_id}: has a video or images, but the backbone reads text only"
            raise CurateError(why, hint="choose a vision-language backbone")
        if video is not None and getattr(self.processor, "video_processor", None) is None:
            why = f"{example.item_id}: has a video, but the backbone's processor reads images and no videos"
            because = getattr(self.processor, "without_video", "")
            raise CurateError(why + f" ({because})" * bool(because), hint="choose a backbone for video")
        before, after, end = self._chat(len(images), video is not None)
        if not has_media and not (self.reads_media and before):
            ids = self._tokens(before)
            return MediaPrefix(ids, [0] * len(ids), {}, after, end)
        inputs: dict[str, Any] = {"images": list(images)} if images else {}
        if video is not None:
            inputs |= {"videos": [video.images], "video_metadata": [_metadata(video)], "do_sample_frames": False}
        out = dict(self.processor(text=[before], add_special_tokens=False, return_tensors="pt", **inputs))
        ids = out.pop("input_ids")[0].tolist()
        out.pop("attention_mask", None)
        types = [out.pop(name)[0].tolist() for name in TOKEN_TYPES if name in out] or [[0] * len(ids)]
        visual = {name: value.numpy() for name, value in out.items() if isinstance(value, Tensor)}
        if has_media and not any(name.startswith("pixel_values") for name in visual):
            why = f"{example.item_id}: the backbone's processor returned no pixels for its media"
            raise CurateError(why, hint="its chat template may lack them: try curate doctor on the backbone")
        return MediaPrefix(ids, types[0], visual, after, end)

    def encode(self, example: Example, prefix: MediaPrefix) -> Encoded:
        """The sequence of the example. prefix: its ``encode_media``. Raises TooLongError where it does not fit."""
        ids, starts, ends = list(prefix.ids), [], []
        if self.template != "official-readme":
            ids += [*self._plain(example.prompt), *self._tokens(prefix.after)]
        for number in range(len(example.responses)):
            ids += self.separator if number else []
            starts.append(len(ids))
            ids += self._response(example, number, prefix)
            ends.append(len(ids) - 1)
        self._check_length(example.item_id, len(ids), starts, ends)
        return Encoded(
            item_id=example.item_id,
            input_ids=torch.tensor(ids),
            token_types=torch.tensor(prefix.token_types + [0] * (len(ids) - len(prefix.ids))),
            starts=tuple(starts),
            ends=tuple(ends),
            visual={name: torch.from_numpy(value) for name, value in prefix.visual.items()},
        )

    def _response(self, example: Example, number: int, prefix: MediaPrefix) -> list[int]:
        """The tokens of a response: its text and eos; with the official templates, with blank lines around separators.

        The official training has the responses in the assistant's turn, the code of its README in the user's, after the
        question. A response is scored at the token before the next separator, the last one at the end of the sequence.
        """
        text = example.responses[number]
        if self.template == "curate":
            return [*self._plain(text), self.tokenizer.eos_token_id]
        in_answer, is_last = self.template == "official-train", number == len(example.responses) - 1
        before = "\n\n" if number else "" if in_answer else f"{example.prompt}\n\n"
        tokens = self._plain(before + text + ("" if is_last else "\n\n"))
        return tokens + self._tokens(prefix.end if in_answer else prefix.after) if is_last else tokens

    def _check_length(self, item_id: str, length: int, starts: Sequence[int], ends: Sequence[int]) -> None:
        """Raise TooLongError where the sequence exceeds max_length, or prompt and one response exceed the window."""
        if length > self.max_length:
            hint = "raise max_length, lower frames, or skip the example with --allow-skips"
            raise TooLongError(f"{item_id}: {length:,} tokens, more than max_length {self.max_length:,}", hint=hint)
        longest = starts[0] + max(end + 1 - start for start, end in zip(starts, ends, strict=True))
        if self.window is not None and longest > self.window:
            raise TooLongError(
                f"{item_id}: prompt and response have {longest:,} tokens, more than the backbone's sliding window of "
                f"{self.window:,}; beyond it, tree and set would attend to too much",
                hint="use the layout causal or single, or skip the example with --allow-skips",
            )

    def _plain(self, text: str) -> list[int]:
        """Tokens of text from people or models: control tokens in it are encoded as plain text."""
        ids: list[int] = self.tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]
        return ids

    def _tokens(self, text: str) -> list[int]:
        """Tokens of text from the chat template, control tokens included."""
        ids: list[int] = self.tokenizer(text, add_special_tokens=False)["input_ids"] if text else []
        return ids

    def _chat(self, images: int, video: bool) -> tuple[str, str, str]:
        """What the chat template puts before the question, after it, and after the responses if these are an answer."""
        in_answer = self.template == "official-train"
        if not self.tokenizer.chat_template:
            if in_answer:
                raise CurateError("the backbone has no chat template", hint="use the template curate")
            return "", "\n\n", ""
        media = [{"type": "image"}] * images + [{"type": "video"}] * video
        chat = [self._message("user", _QUESTION, media)]
        if in_answer:
            chat.append(self._message("assistant", _ANSWER, []))
        text = self.processor.apply_chat_template(chat, add_generation_prompt=self.template == "curate", tokenize=False)
        before, _, after = text.partition(_QUESTION)
        after, _, end = after.partition(_ANSWER)
        return before, after, end

    def _message(self, role: str, text: str, media: list[dict[str, str]]) -> dict[str, Any]:
        """A message in the form that the chat template reads."""
        return {"role": role, "content": [*media, {"type": "text", "text": text}] if self.reads_media else text}


def _metadata(video: Frames) -> VideoMetadata:
    """Frame numbers at a thousand frames per second, because the library computes times from frame numbers."""
    milliseconds = [round(1000 * float(time)) for time in video.times]
    return VideoMetadata(
        total_num_frames=max(1, round(1000 * video.duration)),
        fps=1000.0,
        frames_indices=milliseconds,
        duration=video.duration,
        height=video.images.shape[1],
        width=video.images.shape[2],
    )
