"""Image-text-to-text models of few layers, of the families that transformers has, with their processors.

A config has the library's values for the family, which are those of its published models, except for widths, layers
and the vocabulary. Processors are written as the files of a published model and read by ``load_processor``.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForImageTextToText, PreTrainedTokenizerFast

from curate.reward.scratch import CHAT, PATCHES, train_tokenizer

TEXTS = ["What colour is the shape that moves?", "The red circle moves left."] * 5
TEXT: dict[str, Any] = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "max_position_embeddings": 4096,
    "bos_token_id": 0,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
TOWER: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "image_size": 56,
    "patch_size": 14,
}
QWEN_TOWER: dict[str, Any] = {
    "depth": 2,
    "hidden_size": 32,
    "embed_dim": 32,
    "intermediate_size": 48,
    "num_heads": 2,
    "out_hidden_size": 64,
    "patch_size": 8,
    "deepstack_visual_indexes": [0],
    "fullatt_block_indexes": [1],
    "num_position_embeddings": 64,
}
QWEN_ROPE = {"rope_type": "default", "rope_theta": 10_000.0, "mrope_section": [4, 2, 2]}
EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32}
QWEN_IDS = {
    "image_token_id": "<|image_pad|>",
    "video_token_id": "<|video_pad|>",
    "vision_start_token_id": "<|vision_start|>",
    "vision_end_token_id": "<|vision_end|>",
}
SQUARE = {"height": 56, "width": 56}
PIXELS = {"shortest_edge": 16 * 16, "longest_edge": 48 * 48}
QWEN_VIDEO = {**PATCHES, "size": {"shortest_edge": 512, "longest_edge": 8 * 48 * 48}}
CLIP = {"do_resize": True, "size": {"shortest_edge": 56}, "crop_size": SQUARE}


@dataclass(frozen=True)
class Vision:
    """How a family differs from the others."""

    image: str
    """Placeholder of an image in its chat template."""
    video: str = ""
    """Placeholder of a video; empty: it reads none."""
    text: dict[str, Any] = field(default_factory=dict)
    tower: dict[str, Any] = field(default_factory=dict)
    more: dict[str, Any] = field(default_factory=dict)
    """Of the config of the whole model."""
    ids: dict[str, str] = field(default_factory=dict)
    """Key of the config -> token, whose number it holds."""
    tokens: dict[str, str] = field(default_factory=dict)
    """Attribute of the tokenizer -> special token."""
    extra: tuple[str, ...] = ()
    """Special tokens without an attribute."""
    images: dict[str, Any] = field(default_factory=dict)
    """preprocessor_config.json."""
    videos: dict[str, Any] = field(default_factory=dict)
    """video_preprocessor_config.json."""
    processor: dict[str, Any] = field(default_factory=dict)
    """processor_config.json."""


def qwen(kind: str, video: str, text: dict[str, Any], tower: dict[str, Any]) -> Vision:
    """A family of Qwen-VL."""
    return Vision(
        image="<|vision_start|><|image_pad|><|vision_end|>",
        video="<|vision_start|><|video_pad|><|vision_end|>",
        text={"rope_parameters": QWEN_ROPE, **text},
        tower={**QWEN_TOWER, **tower},
        ids=QWEN_IDS,
        tokens={"image_token": "<|image_pad|>", "video_token": "<|video_pad|>"},
        images={"image_processor_type": "Qwen2VLImageProcessor", **PATCHES, "size": PIXELS},
        videos={"video_processor_type": video, **QWEN_VIDEO},
        processor={"processor_class": f"{kind}Processor"},
    )


INTERLEAVED = {"rope_parameters": {**QWEN_ROPE, "mrope_interleaved": True}}
SMOL_TOKENS = ("<fake_token_around_image>", "<end_of_utterance>", "<global-img>", "<row_1_col_1>")
SMOL: dict[str, Any] = {
    "image": "<image>",
    "ids": {"image_token_id": "<image>"},
    "extra": ("<image>", "<video>", *SMOL_TOKENS),
    "text": {"model_type": "llama"},
    "tower": {"patch_size": 14},
    "more": {"scale_factor": 2},
    "processor": {"image_seq_len": 4},
}
SMOL_IMAGES = {"size": {"longest_edge": 56}, "max_image_size": {"longest_edge": 56}, "do_image_splitting": False}
SIGLIP = {"model_type": "siglip_vision_model"}
ANYRES = {"image_grid_pinpoints": [[56, 56], [112, 56], [56, 112]]}
MOLMO_TOKENS = ("<im_col>", "<im_start>", "<low_res_im_start>", "<frame_start>", "<im_end>", "<frame_end>", "<im_low>")
PIXTRAL: dict[str, Any] = {
    "image": "[IMG]",
    "ids": {"image_token_index": "[IMG]"},
    "extra": ("[IMG]", "[IMG_BREAK]", "[IMG_END]"),
    "tower": {"model_type": "pixtral", "image_size": 64, "patch_size": 16},
    "text": {"model_type": "mistral"},
    "images": {
        "image_processor_type": "PixtralImageProcessor",
        "size": {"longest_edge": 64},
        "patch_size": {"height": 16, "width": 16},
    },
}
PIXTRAL_TOKENS = {"image_token": "[IMG]", "image_break_token": "[IMG_BREAK]", "image_end_token": "[IMG_END]"}
VISION: dict[str, Vision] = {
    "qwen2_vl": qwen("Qwen2VL", "Qwen2VLVideoProcessor", {}, {"hidden_size": 64, "mlp_ratio": 2}),
    "qwen2_5_vl": qwen("Qwen2_5_VL", "Qwen2VLVideoProcessor", {}, {"window_size": 32}),
    "qwen3_vl": qwen("Qwen3VL", "Qwen3VLVideoProcessor", INTERLEAVED, {}),
    "qwen3_vl_moe": qwen("Qwen3VL", "Qwen3VLVideoProcessor", {**INTERLEAVED, **EXPERTS}, {}),
    "qwen3_5": qwen(
        "Qwen3VL",
        "Qwen3VLVideoProcessor",
        {
            "rope_parameters": {**QWEN_ROPE, "mrope_interleaved": True, "partial_rotary_factor": 1.0},
            "layer_types": ["linear_attention", "full_attention"],
            "linear_num_value_heads": 4,
            "linear_num_key_heads": 2,
            "linear_key_head_dim": 16,
            "linear_value_head_dim": 16,
        },
        {},
    ),
    "molmo2": Vision(
        image="<|image|>",
        video="<|video|>",
        text={"additional_vocab_size": 16},
        tower={"image_size": [56, 56]},
        more={
            "adapter_config": {
                **{key: TOWER[key] for key in ("hidden_size", "intermediate_size", "head_dim")},
                "num_attention_heads": 2,
                "num_key_value_heads": 2,
                "text_hidden_size": 64,
                "vision_feature_layer": [1, 0],
            }
        },
        ids={
            "image_patch_id": "<im_patch>",
            "image_start_token_id": "<im_start>",
            "low_res_image_start_token_id": "<low_res_im_start>",
            "image_end_token_id": "<im_end>",
            "frame_start_token_id": "<frame_start>",
            "frame_end_token_id": "<frame_end>",
        },
        extra=("<|image|>", "<|video|>", "<im_patch>", *MOLMO_TOKENS),
        images={
            "image_processor_type": "Molmo2ImageProcessor",
            "size": SQUARE,
            "overlap_margins": [1, 1],
            "max_crops": 2,
        },
        videos={
            "video_processor_type": "Molmo2VideoProcessor",
            "size": SQUARE,
            **dict.fromkeys(("do_resize", "do_rescale", "do_normalize", "do_convert_rgb"), True),
        },
    ),
    "smolvlm": Vision(
        **SMOL,
        video="<video>",
        images={"image_processor_type": "SmolVLMImageProcessor", **SMOL_IMAGES},
        videos={
            "video_processor_type": "SmolVLMVideoProcessor",
            "size": {"longest_edge": 56},
            "max_image_size": {"longest_edge": 56},
        },
    ),
    "idefics3": Vision(**SMOL, images={"image_processor_type": "Idefics3ImageProcessor", **SMOL_IMAGES}),
    "gemma3": Vision(
        image="<start_of_image>",
        more={"mm_tokens_per_image": 4},
        ids={
            "boi_token_index": "<start_of_image>",
            "eoi_token_index": "<end_of_image>",
            "image_token_index": "<image_soft_token>",
        },
        tokens={
            "boi_token": "<start_of_image>",
            "eoi_token": "<end_of_image>",
            "image_token": "<image_soft_token>",
        },
        tower=SIGLIP,
        images={"image_processor_type": "Gemma3ImageProcessor", "size": SQUARE},
        processor={"image_seq_length": 4},
    ),
    "llava": Vision(
        image="<image>",
        ids={"image_token_index": "<image>"},
        extra=("<image>",),
        text={"model_type": "llama"},
        tower={"model_type": "clip_vision_model"},
        images={"image_processor_type": "CLIPImageProcessor", **CLIP},
        processor={"patch_size": 14, "vision_feature_select_strategy": "default", "num_additional_image_tokens": 1},
    ),
    "llava_next": Vision(
        image="<image>",
        ids={"image_token_index": "<image>"},
        extra=("<image>",),
        text={"model_type": "llama"},
        tower={"model_type": "clip_vision_model"},
        more=ANYRES,
        images={"image_processor_type": "LlavaNextImageProcessor", **CLIP, **ANYRES},
        processor={"patch_size": 14, "vision_feature_select_strategy": "default", "num_additional_image_tokens": 1},
    ),
    "llava_onevision": Vision(
        image="<image>",
        video="<video>",
        ids={"image_token_index": "<image>", "video_token_index": "<video>"},
        extra=("<image>", "<video>"),
        text={"model_type": "qwen2"},
        tower={**SIGLIP, "vision_use_head": False},
        more=ANYRES,
        images={"image_processor_type": "LlavaOnevisionImageProcessor", "size": SQUARE, **ANYRES},
        videos={"video_processor_type": "LlavaOnevisionVideoProcessor", "size": SQUARE},
        processor={"num_image_tokens": 16, "vision_feature_select_strategy": "full"},
    ),
    "internvl": Vision(
        image="<IMG_CONTEXT>",
        video="<video>",
        ids={"image_token_id": "<IMG_CONTEXT>"},
        tokens={
            "start_image_token": "<img>",
            "end_image_token": "</img>",
            "context_image_token": "<IMG_CONTEXT>",
            "video_token": "<video>",
        },
        text={"model_type": "qwen2"},
        tower={"model_type": "internvl_vision", "image_size": [56, 56], "patch_size": [14, 14]},
        more={"image_seq_length": 4},
        images={"image_processor_type": "GotOcr2ImageProcessor", "size": SQUARE, "crop_to_patches": False},
        videos={"video_processor_type": "InternVLVideoProcessor", "size": SQUARE},
        processor={"image_seq_length": 4},
    ),
    "mistral3": Vision(
        **PIXTRAL,
        tokens=PIXTRAL_TOKENS,
        processor={"processor_class": "PixtralProcessor", "patch_size": 16, "spatial_merge_size": 2},
    ),
    "pixtral": Vision(
        **PIXTRAL,
        more={"vision_feature_layer": -1, "vision_feature_select_strategy": "full"},
        processor={"processor_class": "PixtralProcessor", "patch_size": 16},
    ),
}
MODEL_TYPES = {"pixtral": "llava"}
"""Family -> model type, where they differ."""


def build_vision(
    family: str,
    folder: Path,
    *,
    text: dict[str, Any] | None = None,
    tower: dict[str, Any] | None = None,
    more: dict[str, Any] | None = None,
    device: str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> Path:
    """Write the model with random weights and its processor into ``folder``.

    text, tower, more: keys of the config of the language model, of the vision tower and of the whole, over the
    small ones.
    """
    vision = VISION[family]
    tokenizer = _tokenizer(vision)
    words = {**TEXT, "vocab_size": len(tokenizer), **vision.text}
    words["vocab_size"] -= words.get("additional_vocab_size", 0)
    config = AutoConfig.for_model(
        MODEL_TYPES.get(family, family),
        text_config={**words, **(text or {})},
        vision_config={**TOWER, **vision.tower, **(tower or {})},
        **{**vision.more, **(more or {})},
        **{key: tokenizer.convert_tokens_to_ids(token) for key, token in vision.ids.items()},
    )
    with torch.random.fork_rng(), torch.device(device):
        torch.manual_seed(0)
        model = AutoModelForImageTextToText.from_config(config, dtype=dtype)
        for weights in model.parameters():
            if not weights.any():  # Gemma 3's projection starts at zero
                torch.nn.init.normal_(weights, std=0.02)
            if weights.ndim > 1 and not text:
                weights.data.mul_(3)  # so that tokens, and pixels, differ
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    settings = {"preprocessor": vision.images, "video_preprocessor": vision.videos, "processor": vision.processor}
    for name, content in settings.items():
        if content:
            (folder / f"{name}_config.json").write_text(json.dumps(content), encoding="utf-8")
    return folder


def _tokenizer(vision: Vision) -> PreTrainedTokenizerFast:
    base = train_tokenizer(TEXTS, 300)
    base.add_special_tokens({"additional_special_tokens": [*vision.tokens.values(), *vision.extra]})
    chat = CHAT.replace("<|vision_start|><|image_pad|><|vision_end|>", vision.image)
    return PreTrainedTokenizerFast(
        tokenizer_object=base.backend_tokenizer,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        chat_template=chat.replace("<|vision_start|><|video_pad|><|vision_end|>", vision.video),
        extra_special_tokens=vision.tokens,
    )
