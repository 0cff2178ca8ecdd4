"""A tiny Qwen3-VL made on the spot, to be trained from nothing: for demos and tests, where no weights can be had."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    PreTrainedTokenizerFast,
    Qwen2VLImageProcessorPil,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
)

SPECIAL = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|image_pad|>",
    "<|video_pad|>",
)
FRAMES = 8
"""Frames for which the largest size of a video is meant; of more, each is smaller."""
CHAT = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n"
    "{% if message.content is string %}{{ message.content }}{% else %}{% for part in message.content %}"
    "{% if part.type == 'image' %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% elif part.type == 'video' %}<|vision_start|><|video_pad|><|vision_end|>"
    "{% else %}{{ part.text }}{% endif %}{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
"""A chat template of the form that Qwen's models have."""


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
    """Write a Qwen3-VL with random weights into ``out``, as ``from_pretrained`` reads it; returns ``out``.

    texts: what its byte-level BPE tokenizer is trained on. side: frames and images larger than side × side pixels are
    made as small; a token stands for 16 × 16 of them, of two frames. Equal arguments give equal bytes.
    """
    out.mkdir(parents=True, exist_ok=True)
    tokenizer = train_tokenizer(texts, vocabulary)
    tokenizer.save_pretrained(out)
    image = Qwen2VLImageProcessorPil(
        patch_size=8,
        merge_size=2,
        temporal_patch_size=2,
        size={"shortest_edge": 16 * 16, "longest_edge": side * side},
        image_mean=[0.5] * 3,
        image_std=[0.5] * 3,
    )
    image.save_pretrained(out)
    processor = {
        "processor_class": "Qwen3VLProcessor",
        "image_processor": image.to_dict(),
        "video_processor": {
            "video_processor_type": "Qwen3VLVideoProcessor",
            "patch_size": 8,
            "merge_size": 2,
            "temporal_patch_size": 2,
            "size": {"shortest_edge": 2 * 16 * 16, "longest_edge": FRAMES * side * side},
            "image_mean": [0.5] * 3,
            "image_std": [0.5] * 3,
        },
    }
    (out / "processor_config.json").write_text(json.dumps(processor, indent=2) + "\n", encoding="utf-8")
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(seed)
        Qwen3VLForConditionalGeneration(_config(tokenizer, width, layers)).save_pretrained(out)
    return out


def train_tokenizer(texts: Iterable[str], vocabulary: int) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer with Qwen's special tokens and a chat template of their form."""
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
        **{
            f"{name}_token_id": tokenizer.convert_tokens_to_ids(f"<|{token}|>")
            for name, token in (
                ("image", "image_pad"),
                ("video", "video_pad"),
                ("vision_start", "vision_start"),
                ("vision_end", "vision_end"),
            )
        },
    )
