"""A tiny Qwen3-VL with random weights, and its pretraining: for demos and tests without downloads.

Whether a response is correct depends on what the video shows together with what the response says; neither is
correlated with the ranks alone, and a model that knows neither makes no progress for many steps. A pretrained backbone
knows both. ``pretrain`` replaces that: on separate videos with known answers, the backbone learns to predict the
correct answer after the prompt, and after each response both the correct answer and the one that the response gives.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor
from transformers import (
    PreTrainedTokenizerFast,
    Qwen2VLImageProcessorPil,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
)

from curate.reward.data import Example, read_examples
from curate.reward.layout import Batch
from curate.reward.loader import Loader
from curate.reward.model import RewardModel
from curate.reward.train import learning_rate_scale, steps_of_epoch
from schemas.errors import CurateError

SPECIAL = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|image_pad|>",
    "<|video_pad|>",
)
PATCHES = {"patch_size": 8, "merge_size": 2, "temporal_patch_size": 2}
"""Pixels per patch, patches per token, frames per patch."""
FRAMES = 8
"""Frames of the largest video at full size; with more frames, each is smaller."""
CHAT = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n"
    "{% if message.content is string %}{{ message.content }}{% else %}{% for part in message.content %}"
    "{% if part.type == 'image' %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% elif part.type == 'video' %}<|vision_start|><|video_pad|><|vision_end|>"
    "{% else %}{{ part.text }}{% endif %}{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
"""A chat template in the format of Qwen's models."""


def build_backbone(
    out: Path,
    texts: Iterable[str],
    *,
    seed: int = 0,
    vocabulary: int = 512,
    width: int = 96,
    layers: int = 4,
    side: int = 48,
) -> Path:
    """Write a Qwen3-VL with random weights into ``out``, in the format of ``from_pretrained``; return ``out``.

    texts: training data of its byte-level BPE tokenizer. side: larger frames and images are resized to side × side
    pixels; a token covers 16 × 16 pixels of two frames. Equal arguments give equal bytes.
    """
    out.mkdir(parents=True, exist_ok=True)
    tokenizer = train_tokenizer(texts, vocabulary)
    tokenizer.save_pretrained(out)
    frames = {**PATCHES, "image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    image = Qwen2VLImageProcessorPil(**frames, size={"shortest_edge": 16 * 16, "longest_edge": side * side})
    image.save_pretrained(out)
    video_size = {"shortest_edge": 2 * 16 * 16, "longest_edge": FRAMES * side * side}
    processor = {
        "processor_class": "Qwen3VLProcessor",
        "image_processor": image.to_dict(),
        "video_processor": {"video_processor_type": "Qwen3VLVideoProcessor", **frames, "size": video_size},
    }
    (out / "processor_config.json").write_text(json.dumps(processor, indent=2) + "\n", encoding="utf-8")
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(seed)
        Qwen3VLForConditionalGeneration(_config(tokenizer, width, layers)).save_pretrained(out)
    return out


def train_tokenizer(texts: Iterable[str], vocabulary: int) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer with Qwen's special tokens and chat template format."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary, special_tokens=list(SPECIAL), initial_alphabet=alphabet, show_progress=False
    )
    bpe.train_from_iterator(texts, trainer)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=bpe, eos_token="<|im_end|>", pad_token="<|endoftext|>")
    tokenizer.chat_template = CHAT
    return tokenizer


def _config(tokenizer: PreTrainedTokenizerFast, width: int, layers: int) -> Qwen3VLConfig:
    heads = width // 32
    return Qwen3VLConfig(
        text_config={
            "vocab_size": len(tokenizer),
            "hidden_size": width,
            "intermediate_size": 3 * width,
            "num_hidden_layers": layers,
            "num_attention_heads": heads,
            "num_key_value_heads": max(1, heads // 2),
            "head_dim": 32,
            "max_position_embeddings": 4096,
            "rope_scaling": {"rope_type": "default", "mrope_section": [8, 4, 4], "mrope_interleaved": True},
            "rope_theta": 10_000.0,
            "tie_word_embeddings": True,
            "initializer_range": width**-0.5,
            "pad_token_id": tokenizer.pad_token_id,
            "eos_token_id": tokenizer.eos_token_id,
        },
        vision_config={
            "depth": 2,
            "hidden_size": 64,
            "intermediate_size": 128,
            "num_heads": 2,
            "out_hidden_size": width,
            "patch_size": 8,
            "spatial_merge_size": 2,
            "temporal_patch_size": 2,
            "num_position_embeddings": 64,
            "deepstack_visual_indexes": [0],
            "initializer_range": 64**-0.5,
        },
        tie_word_embeddings=True,
        image_token_id=tokenizer.convert_tokens_to_ids("<|image_pad|>"),
        video_token_id=tokenizer.convert_tokens_to_ids("<|video_pad|>"),
        vision_start_token_id=tokenizer.convert_tokens_to_ids("<|vision_start|>"),
        vision_end_token_id=tokenizer.convert_tokens_to_ids("<|vision_end|>"),
    )


@dataclass(frozen=True)
class PretrainingExample:
    """A question on a video, responses to it, and their answers as single words."""

    example: Example
    answer: str
    """The correct answer."""
    response_answers: tuple[str, ...]
    """(N,) the answer that each response gives."""


def read_pretraining(path: Path, *, media: Path | None = None) -> list[PretrainingExample]:
    """Read a JSONL file with video, prompt, responses, answer and response_answers (``right`` and ``said`` before 0.2).

    media: folder that the paths of videos start from; default: the folder of the file. Raises CurateError naming the
    first invalid line.
    """
    found = []
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()] if path.exists() else []
    for number, (example, line) in enumerate(zip(read_examples(path, media=media), lines, strict=True), start=1):
        row = json.loads(line)
        answer, given = row.get("answer", row.get("right")), row.get("response_answers", row.get("said"))
        words = [answer, *given] if isinstance(given, list) else [None]
        if len(words) != 1 + len(example.responses) or not all(isinstance(word, str) and word for word in words):
            raise CurateError(
                f"{path}:{number}: answer is {answer!r} and response_answers is {given!r}; expected a word, and a word"
                " per response",
                hint="curate simulate --video --pretraining-videos N writes such a file",
            )
        found.append(PretrainingExample(example, answer, tuple(given)))
    return found


def pretrain(
    model: RewardModel,
    loader: Loader,
    data: Sequence[PretrainingExample],
    *,
    epochs: int,
    batch: int = 16,
    learning_rate: float = 1e-3,
    seed: int = 0,
    on_step: Callable[[int, int, float], None] = lambda _step, _steps, _loss: None,
) -> None:
    """Train all weights of the backbone with ``pretraining_loss``. Equal arguments give equal weights.

    on_step: called with the number of finished steps, the number of all steps, and the loss.
    """
    plan = [step for epoch in range(epochs) for step in steps_of_epoch(len(data), batch, seed=seed, epoch=epoch)]
    tokens = answer_tokens(model, sorted({word for item in data for word in (item.answer, *item.response_answers)}))
    optimizer = torch.optim.AdamW(model.backbone.parameters(), lr=learning_rate)
    model.train()
    for number, encoded in enumerate(loader.stream([[data[i].example for i in step] for step in plan])):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate * learning_rate_scale(number, len(plan), warmup=0.05, schedule="cosine")
        loss = pretraining_loss(model, model.collate(encoded), [data[i] for i in plan[number]], tokens)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.backbone.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        on_step(number + 1, len(plan), float(loss.detach()))


def answer_tokens(model: RewardModel, words: Sequence[str]) -> dict[str, int]:
    """The first token of each word. Raises CurateError where two words have the same."""
    tokens = {word: model.encoder.tokenizer.encode(f" {word}", add_special_tokens=False)[0] for word in words}
    if len(set(tokens.values())) < len(tokens):
        raise CurateError(
            f"pretraining: some of {', '.join(words)} start with the same token", hint="use other answers"
        )
    return tokens


def pretraining_loss(
    model: RewardModel, batch: Batch, data: Sequence[PretrainingExample], tokens: dict[str, int]
) -> Tensor:
    """Mean cross-entropy of the next token: after the prompt and after every response toward the correct answer, and
    after every response toward the answer that it gives."""
    states = model.states(batch)
    first = batch.row[:, 0]
    prompt_end = (batch.offsets[first] == -1).sum(dim=1) - 1

    def loss(at: Tensor, words: list[str]) -> Tensor:
        targets = torch.tensor([tokens[word] for word in words], device=at.device)
        return torch.nn.functional.cross_entropy(model.backbone.lm_head(at).float(), targets)

    responses = states[batch.row, batch.end][batch.present]
    asked = loss(states[first, prompt_end], [item.answer for item in data])
    correct = loss(responses, [item.answer for item in data for _ in item.response_answers])
    given = loss(responses, [word for item in data for word in item.response_answers])
    return (asked + correct + given) / 3
