"""One example as one token sequence, built segment by segment, so that every position in it is known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor
from transformers import AutoConfig, AutoProcessor, AutoTokenizer
from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING
from transformers.utils import is_torchvision_available
from transformers.video_utils import VideoMetadata

from curate.reward.examples import Example
from schemas.errors import CurateError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from curate.media.frames import Frames

SEPARATOR = "<|resp_sep|>"
"""Stands between responses in the causal layout; the official code's token."""
Form = Literal["curate", "official"]
"""How a sequence is put together: ours, or as the code of arXiv 2604.10966 does it."""
_QUESTION = "\u2402question\u2403"
"""Stands for the question while the chat template is rendered; no template writes it."""


@dataclass(frozen=True)
class Encoded:
    """One example as L tokens with N responses."""

    item_id: str
    input_ids: Tensor
    """(L,) the prompt, then each response and its end."""
    types: Tensor
    """(L,) 0 for text, 1 for image and 2 for video tokens; all 0 for a backbone of text."""
    starts: tuple[int, ...]
    """(N,) where each response begins."""
    ends: tuple[int, ...]
    """(N,) where each response ends: the token whose hidden state is scored."""
    visual: Mapping[str, Tensor] = field(default_factory=dict)
    """What the processor made of video and images, by the names that the backbone takes."""

    @property
    def prompt_length(self) -> int:
        return self.starts[0]


@dataclass(frozen=True)
class Shown:
    """What stands before the question: the beginning of the chat, with the video and images of an example."""

    ids: list[int]
    types: list[int]
    """Of each token, as in Encoded."""
    visual: Mapping[str, Tensor]
    after: str
    """What the chat template puts after the question."""

    @property
    def nbytes(self) -> int:
        return sum(value.nbytes for value in self.visual.values())


class TooLongError(CurateError):
    """The example does not fit: it is refused whole, since a response that is cut is not the one that was judged."""


class Encoder:
    """Turns examples into sequences for one backbone."""

    def __init__(
        self,
        processor: Any,
        *,
        max_length: int = 8192,
        separated: bool = False,
        form: Form = "curate",
        window: int | None = None,
    ):
        """processor: of the library, for text alone a tokenizer. separated: put SEPARATOR between responses (causal);
        the tokenizer gets the token where it does not know it. window: tokens that a prompt and one response may
        have."""
        self.processor = processor
        self.tokenizer = getattr(processor, "tokenizer", processor)
        self.reads_media = self.tokenizer is not processor
        self.max_length = max_length
        self.form = form
        self.window = window
        if self.tokenizer.eos_token_id is None:
            raise CurateError("the backbone's tokenizer has no eos token", hint="set one and save it with the backbone")
        self.separator: list[int] = []
        if separated:
            self.tokenizer.add_special_tokens(
                {"additional_special_tokens": [SEPARATOR]}, replace_extra_special_tokens=False
            )
            self.separator = [self.tokenizer.convert_tokens_to_ids(SEPARATOR)]

    def show(
        self,
        example: Example,
        *,
        video: Frames | None = None,
        images: Sequence[npt.NDArray[np.uint8]] = (),
    ) -> Shown:
        """The part of the sequence that holds the media, which examples with the same ones share.

        video and images: what the example's paths hold. Raises CurateError where the backbone cannot read them.
        """
        if (example.video is not None) != (video is not None) or len(example.images) != len(images):
            raise ValueError(f"{example.item_id}: its video and images must be given, and no others")
        if (video is not None or images) and not self.reads_media:
            raise CurateError(
                f"{example.item_id}: has a video or images, and the backbone reads text only",
                hint="choose a vision-language backbone",
            )
        before, after = self._template(len(images), video is not None, answer=self.form == "curate")
        return Shown(*self._media(before, video, images), after)

    def encode(
        self,
        example: Example,
        shown: Shown | None = None,
        *,
        video: Frames | None = None,
        images: Sequence[npt.NDArray[np.uint8]] = (),
    ) -> Encoded:
        """The sequence of the example. shown: what ``show`` made of its video and images, where that is done already.

        Raises CurateError where the backbone cannot read its media, TooLongError where it does not fit.
        """
        shown = shown or self.show(example, video=video, images=images)
        build = self._official if self.form == "official" else self._own
        segments, read = build(example, shown.after)
        starts, ends, position = [], [], len(shown.ids)
        for segment, last in zip(segments, read, strict=True):
            if last is not None:
                starts.append(position)
                ends.append(position + last)
            position += len(segment)
        ids = [*shown.ids, *(token for segment in segments for token in segment)]
        if len(ids) > self.max_length:
            raise TooLongError(
                f"{example.item_id}: {len(ids):,} tokens, more than max_length {self.max_length:,}",
                hint="raise max_length, lower frames, or leave the item out with --allow-skips",
            )
        alone = starts[0] + max(end + 1 - start for start, end in zip(starts, ends, strict=True))
        if self.window is not None and alone > self.window:
            raise TooLongError(
                f"{example.item_id}: the prompt and a response have {alone:,} tokens, more than the backbone's sliding "
                f"window of {self.window:,}, past which tree and set would see too much",
                hint="take the layout causal or single, or leave the item out with --allow-skips",
            )
        return Encoded(
            item_id=example.item_id,
            input_ids=torch.tensor(ids),
            types=torch.tensor(shown.types + [0] * (len(ids) - len(shown.types))),
            starts=tuple(starts),
            ends=tuple(ends),
            visual=shown.visual,
        )

    def _own(self, example: Example, after: str) -> tuple[list[list[int]], list[int | None]]:
        """Segments, and the place in each that is read: question, then every response, closed by the end of a turn."""
        question = [*self._plain(example.prompt), *self._with_control(after)]
        segments = [question]
        read: list[int | None] = [None]
        for number, response in enumerate(example.responses):
            if number and self.separator:
                segments.append(self.separator)
                read.append(None)
            tokens = [*self._plain(response), self.tokenizer.eos_token_id]
            segments.append(tokens)
            read.append(len(tokens) - 1)
        return segments, read

    def _official(self, example: Example, after: str) -> tuple[list[list[int]], list[int | None]]:
        """The official code's: all in the user's turn, each read at the token before the next separator, the last at
        the end of the sequence."""
        segments: list[list[int]] = []
        read: list[int | None] = []
        last = len(example.responses) - 1
        for number, response in enumerate(example.responses):
            head = f"{example.prompt}\n\n" if number == 0 else "\n\n"
            tokens = self._plain(f"{head}{response}" + ("\n\n" if number < last else ""))
            tokens += self._with_control(after) if number == last else []
            segments += [tokens, self.separator] if number < last else [tokens]
            read += [len(tokens) - 1, None] if number < last else [len(tokens) - 1]
        return segments, read

    def _plain(self, text: str) -> list[int]:
        """Tokens of what people or models wrote: control tokens in it are read as the text that they are."""
        ids: list[int] = self.tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]
        return ids

    def _with_control(self, text: str) -> list[int]:
        ids: list[int] = self.tokenizer(text, add_special_tokens=False)["input_ids"] if text else []
        return ids

    def _template(self, images: int, video: bool, *, answer: bool) -> tuple[str, str]:
        """What the chat template puts before and after the question. answer: open the assistant's turn."""
        if not self.tokenizer.chat_template:
            return "", "\n\n"
        if self.reads_media:
            media = [{"type": "image"}] * images + [{"type": "video"}] * video
            content: Any = [*media, {"type": "text", "text": _QUESTION}]
        else:
            content = _QUESTION
        text = self.processor.apply_chat_template(
            [{"role": "user", "content": content}], add_generation_prompt=answer, tokenize=False
        )
        before, _, after = text.partition(_QUESTION)
        return before, after

    def _media(
        self, before: str, video: Frames | None, images: Sequence[Any]
    ) -> tuple[list[int], list[int], dict[str, Tensor]]:
        """Tokens and types of what stands before the question, and what the processor made of video and images."""
        if video is None and not images:
            ids = self._with_control(before)
            return ids, [0] * len(ids), {}
        given: dict[str, Any] = {"images": list(images)} if images else {}
        if video is not None:
            given |= {
                "videos": [video.images],
                "video_metadata": [_metadata(video)],
                "do_sample_frames": False,
            }
        out = dict(self.processor(text=[before], add_special_tokens=False, return_tensors="pt", **given))
        ids = out.pop("input_ids")[0].tolist()
        out.pop("attention_mask", None)
        types = out.pop("mm_token_type_ids", torch.zeros(1, len(ids), dtype=torch.long))[0].tolist()
        return ids, types, {name: value for name, value in out.items() if isinstance(value, Tensor)}


def _metadata(video: Frames) -> VideoMetadata:
    """Frame numbers of a clip of a thousand frames a second: the library reckons times from numbers."""
    milliseconds = [round(1000 * float(time)) for time in video.times]
    return VideoMetadata(
        total_num_frames=max(1, round(1000 * video.duration)),
        fps=1000.0,
        frames_indices=milliseconds,
        duration=video.duration,
        height=video.images.shape[1],
        width=video.images.shape[2],
    )


def read_backbone_config(path: str | Path) -> Any:
    """The config of the backbone at a path or hub id. Raises CurateError where there is none."""
    try:
        return AutoConfig.from_pretrained(path)
    except (OSError, ValueError) as error:
        raise CurateError(f"{path}: no backbone can be read there", hint="give a folder or a hub id") from error


def load_processor(path: str | Path) -> Any:
    """The processor of a backbone, or its tokenizer where it reads text only. Raises CurateError for neither."""
    config = read_backbone_config(path)
    if type(config) not in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING:
        return AutoTokenizer.from_pretrained(path)
    if is_torchvision_available():
        return AutoProcessor.from_pretrained(path)
    if config.model_type == "qwen3_vl":
        from curate.reward.video_patches import PillowProcessor

        return PillowProcessor.load(path)
    raise CurateError(
        f"{path}: the processor of {config.model_type} needs torchvision, which is not installed",
        hint="install the torchvision that belongs to your torch, or use a Qwen3-VL backbone",
    )
