"""Backbones of transformers: everything that depends on the model family is decided here.

``curate.reward.doctor`` tests a backbone by running it.
"""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    AutoProcessor,
    AutoTokenizer,
    PreTrainedModel,
)
from transformers.image_utils import SizeDict
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING, MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING
from transformers.models.qwen3_vl.processing_qwen3_vl import Qwen3VLProcessor
from transformers.pytorch_utils import Conv1D
from transformers.utils import is_torchvision_available

from curate.reward import molmo2
from curate.reward.torch_processors import load_torch_processor
from schemas.errors import CurateError
from schemas.reward import LoraSettings

if TYPE_CHECKING:
    from curate.reward.layout import Batch

CONCATENATED = {"pixel_values", "pixel_values_videos", "image_grid_thw", "video_grid_thw", "second_per_grid_ts"}
"""Visual inputs that a batch concatenates over its examples (the Qwen-VL family)."""
TOKEN_TYPES = ("mm_token_type_ids", "token_type_ids")
"""Names, by family, of the input that tells text (0), image (1) and video tokens (2) apart."""
SEPARATING = {"full_attention", "sliding_attention", "chunked_attention", "moe", "mlp"}
"""Kinds of layers in which a token depends on others by its attention alone. Recurrent layers, linear attention and
convolutions pass on what stands before a response, whichever attention is selected."""
WINDOWS = {"sliding_attention": "sliding_window", "chunked_attention": "attention_chunk_size"}
"""Kinds of layers that attend to a number of tokens only -> the name of that number in a config."""


class LoraError(CurateError):
    """LoRA cannot adapt the backbone."""


def read_backbone_config(path: str | Path) -> Any:
    """The config of the backbone at a path or hub id. Raises CurateError where there is none."""
    try:
        return AutoConfig.from_pretrained(path)
    except (OSError, ValueError) as error:
        hint = "give a folder or a hub id; this machine must reach the hub, or have the model in its cache"
        raise CurateError(f"{path}: cannot read a backbone there", hint=hint) from error


def load_processor(path: str | Path) -> Any:
    """The processor of a vision-language backbone, or the tokenizer of a text backbone. Raises CurateError."""
    config = read_backbone_config(path)
    if type(config) not in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING:
        return AutoTokenizer.from_pretrained(path)
    try:
        if is_torchvision_available():
            return AutoProcessor.from_pretrained(path)
        return load_torch_processor(path, config.model_type)
    except OSError as error:
        hint = "save the backbone's processor there with its weights"
        raise CurateError(f"{path}: has no processor of images", hint=hint) from error
    except ImportError as error:
        why = f"{path}: the processor of {config.model_type} cannot be loaded: {' '.join(str(error).split())}"
        hint = "install the package that it names; torchvision in the release and build that match your torch"
        raise CurateError(why, hint=hint) from error


def limit_video_tokens(processor: Any, tokens: int) -> None:
    """Make a processor of Qwen3-VL scale videos down to so many vision tokens. Raises CurateError for others."""
    if not isinstance(processor, Qwen3VLProcessor):
        why = f"video_tokens is supported for Qwen3-VL only, not for {type(processor).__name__}"
        raise CurateError(why, hint="lower frames or fps instead")
    video: Any = processor.video_processor
    pixels = tokens * video.temporal_patch_size * (video.patch_size * video.merge_size) ** 2
    least, most = (min(int(video.size[edge]), pixels) for edge in ("shortest_edge", "longest_edge"))
    video.size = SizeDict(shortest_edge=least, longest_edge=most)


def load_backbone(path: str | Path, tokens: int, dtype: torch.dtype) -> PreTrainedModel:
    """The backbone at a path or hub id, with an embedding row for each of ``tokens`` tokens.

    A new row is the mean of the existing ones (zero in Molmo2), so that loading twice gives the same model.
    """
    config = read_backbone_config(path)
    auto = AutoModelForImageTextToText if type(config) in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING else AutoModelForCausalLM
    attention = "sdpa" if _has_sdpa(config) else None  # None: the backbone's own
    try:
        backbone: PreTrainedModel = auto.from_pretrained(path, dtype=dtype, attn_implementation=attention)
    except (OSError, ValueError, ImportError) as error:
        why = " ".join(str(error).split())
        raise CurateError(f"{path}: {config.model_type} cannot be loaded: {why}", hint="choose another one") from error
    old = backbone.get_input_embeddings().weight.detach()
    if tokens > len(old) and config.model_type == molmo2.MODEL_TYPE:
        molmo2.add_tokens(backbone, tokens)
    elif tokens > len(old):
        mean = old.float().mean(dim=0).to(dtype)
        backbone.resize_token_embeddings(tokens, mean_resizing=False)
        backbone.get_input_embeddings().weight.data[len(old) :] = mean
    return backbone


def attention_window(path: str | Path) -> int | None:
    """The number of tokens that some layers attend to at most; None where all layers attend to all tokens."""
    config = read_backbone_config(path).get_text_config()
    kinds = getattr(config, "layer_types", None) or WINDOWS
    sizes = [getattr(config, field, None) for kind, field in WINDOWS.items() if kind in kinds]
    return min(filter(None, sizes), default=None)


def tree_refusal(config: Any) -> str:
    """Why the layouts tree and set do not work with this config; empty where it has no reason (doctor finds others)."""
    mixing = sorted(set(getattr(config.get_text_config(), "layer_types", None) or ()) - SEPARATING)
    if mixing:
        return f"layers of the kind {', '.join(mixing)} pass on earlier responses to later ones"
    return "" if _has_sdpa(config) else "its attention cannot be exchanged"


def _has_sdpa(config: Any) -> bool:
    """Whether the attention of the model can be selected by name."""
    models = (MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING, MODEL_FOR_CAUSAL_LM_MAPPING)
    model = next((mapping[type(config)] for mapping in models if type(config) in mapping), None)
    return bool(getattr(model, "_supports_sdpa", False))


def with_lora(backbone: PreTrainedModel, lora: LoraSettings, path: str) -> PreTrainedModel:
    """The backbone with adapters on the linear layers of its language model; all other weights are frozen."""
    from peft import LoraConfig, get_peft_model

    decoder = decoder_of(backbone)
    prefix = next(name for name, module in backbone.named_modules() if module is decoder)
    linear = [name for name, part in decoder.named_modules() if type(part) in (nn.Linear, Conv1D)]
    if not linear:
        raise LoraError(f"{path}: has no linear layers to adapt", hint="train all weights: --full")
    layers = "|".join(sorted({name.rpartition(".")[2] for name in linear}))
    config = LoraConfig(
        r=lora.r,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=rf"{prefix.replace('.', '[.]')}[.].*[.]({layers})",
        base_model_name_or_path=path,
    )
    try:
        return get_peft_model(backbone, config)
    except ValueError as error:
        hint = "try dropout = 0 in [lora], or --full"
        raise LoraError(f"{path}: LoRA cannot adapt it: {error}", hint=hint) from error


def decoder_of(backbone: PreTrainedModel) -> nn.Module:
    """The language model without its language-model head and without the vision tower."""
    decoder: nn.Module = backbone.get_decoder()
    if decoder is backbone or decoder is backbone.get_output_embeddings():  # the library guesses by names
        decoder = next(module for name, module in backbone.named_children() if name == "model")
    return decoder


def body_of(backbone: PreTrainedModel) -> nn.Module:
    """The model below the language-model head."""
    plain = backbone.get_base_model() if hasattr(backbone, "peft_config") else backbone
    body: nn.Module = plain.base_model
    return body if body is not plain else decoder_of(plain)


def visual_options(backbone: PreTrainedModel, batch: Batch) -> dict[str, Any]:
    """The arguments of the backbone that carry video and images."""
    nested = backbone.config.get_text_config() is not backbone.config  # GPT-2 has token types, too, of another meaning
    accepted = inspect.signature(body_of(backbone).forward).parameters
    return {**batch.visual, **{name: batch.token_types for name in TOKEN_TYPES if nested and name in accepted}}


def position_ids(backbone: PreTrainedModel, batch: Batch) -> Tensor:
    """(R, L) position ids, or (3, R, L) in time, height and width where the backbone has such."""
    rope_index = getattr(body_of(backbone), "get_rope_index", None)
    if rope_index is None or not batch.visual:
        return (batch.attention_mask.cumsum(dim=1) - 1).clamp_min(0)
    given = {"input_ids": batch.input_ids, "attention_mask": batch.attention_mask, **batch.visual}
    given["mm_token_type_ids"] = batch.token_types
    parameters = inspect.signature(rope_index).parameters
    positions: Tensor
    positions, _ = rope_index(**{name: value for name, value in given.items() if name in parameters})
    return positions
