"""The reward model: a backbone of transformers, a value head at the end of each response, N scores in one pass."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, AutoModelForImageTextToText, PreTrainedModel
from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING

from curate.reward.batch import Batch, collate
from curate.reward.head import Comparison, ValueHead, score
from curate.reward.layout import TREE, restarted
from curate.reward.sequence import Encoder, Form, load_processor, read_backbone_config
from schemas.training import Layout, LoraSettings


@dataclass(frozen=True)
class Shape:
    """What a reward model is, apart from its weights."""

    layout: Layout
    head: int = 1024
    """Hidden units of the value head."""
    frames: int = 8
    """Frames of a video."""
    max_length: int = 8192
    """Tokens of an example at most."""
    form: Form = "curate"


class RewardModel(nn.Module):
    """N scores for N responses to one prompt. ``curate.reward.scoring.Scorer`` scores examples with it."""

    def __init__(self, backbone: PreTrainedModel, encoder: Encoder, shape: Shape) -> None:
        """backbone: with its language-model head, which is never run: only the states below it are computed."""
        super().__init__()
        self.backbone = backbone
        self.encoder = encoder
        self.shape = shape
        width = int(backbone.config.get_text_config().hidden_size)
        self.head = ValueHead(width, shape.head)
        self.comparison = Comparison(width) if shape.layout == "set" else None
        self.takes = set(inspect.signature(_body(backbone).forward).parameters)
        if shape.layout in ("tree", "set"):
            set_tree_attention(backbone)

    @property
    def device(self) -> torch.device:
        return next(self.head.parameters()).device

    def forward(self, batch: Batch) -> Tensor:
        """(B, N) scores, float32, higher is better, −∞ where there is no response."""
        states = self.states(batch)[batch.row, batch.end]
        with torch.autocast(states.device.type, enabled=False):
            return score(states.float(), batch.present, self.head, self.comparison)

    def states(self, batch: Batch) -> Tensor:
        """(R, L, H) the last hidden states of the backbone."""
        options: dict[str, Any] = dict(batch.visual)
        if batch.visual and "mm_token_type_ids" in self.takes:
            options["mm_token_type_ids"] = batch.types
        if batch.tree is not None:
            options["tree"] = batch.tree
        states: Tensor = _body(self.backbone)(
            input_ids=batch.input_ids,
            attention_mask=batch.attention_mask,
            position_ids=self.positions(batch),
            use_cache=False,
            **options,
        ).last_hidden_state
        return states

    def positions(self, batch: Batch) -> Tensor:
        """(R, L) position ids, or (3, R, L) in time, height and width where the backbone has such."""
        body = _body(self.backbone)
        positions = (batch.attention_mask.cumsum(dim=1) - 1).clamp_min(0)
        index = getattr(body, "get_rope_index", None)
        if index is not None and batch.visual:
            given = {"input_ids": batch.input_ids, "attention_mask": batch.attention_mask}
            given |= {"mm_token_type_ids": batch.types, **batch.visual}
            wanted = inspect.signature(index).parameters
            positions, _ = index(**{name: value for name, value in given.items() if name in wanted})
        return restarted(positions, batch.offsets) if batch.tree is not None else positions

    def freeze_vision(self) -> None:
        """Leave everything but the language model and the heads as it is."""
        language = set(map(id, decoder_of(self.backbone).parameters()))
        for weights in self.backbone.parameters():
            weights.requires_grad_(id(weights) in language)

    def collate(self, sequences: Sequence[Any]) -> Batch:
        """The batch of the encoded examples, on this model's device."""
        pad = self.encoder.tokenizer.pad_token_id
        pad = self.encoder.tokenizer.eos_token_id if pad is None else pad
        return collate(sequences, self.shape.layout, pad).to(self.device)

    @classmethod
    def from_backbone(
        cls,
        path: str | Path,
        shape: Shape,
        *,
        lora: LoraSettings | None = None,
        dtype: torch.dtype = torch.float32,
        seed: int = 0,
    ) -> RewardModel:
        """A model to train: the backbone at a path or hub id, a new head. Equal seeds give equal weights."""
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            encoder = make_encoder(path, shape)
            backbone = load_backbone(path, encoder, dtype)
            model = cls(backbone, encoder, shape)
            if lora is not None:
                model.backbone = adapted(backbone, lora, str(path))
        return model


def make_encoder(path: str | Path, shape: Shape) -> Encoder:
    """The encoder of a backbone for a model of that shape."""
    return Encoder(
        load_processor(path),
        max_length=shape.max_length,
        separated=shape.layout == "causal",
        form=shape.form,
        window=sliding_window(path) if shape.layout in ("tree", "set") else None,
    )


def sliding_window(path: str | Path) -> int | None:
    """How many tokens back some layers of a backbone see; None where all see everything."""
    config = read_backbone_config(path).get_text_config()
    window: int | None = getattr(config, "sliding_window", None)
    kinds = getattr(config, "layer_types", None)
    return window if kinds is None or "sliding_attention" in kinds else None


def load_backbone(path: str | Path, encoder: Encoder, dtype: torch.dtype) -> PreTrainedModel:
    """The backbone at a path or hub id, with a row of embeddings for every token of the encoder.

    A row that is new is the mean of the others, so that loading twice gives the same model.
    """
    config = read_backbone_config(path)
    auto = AutoModelForImageTextToText if type(config) in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING else AutoModelForCausalLM
    backbone: PreTrainedModel = auto.from_pretrained(path, dtype=dtype, attn_implementation="sdpa")
    table = backbone.get_input_embeddings()
    size = table.weight.shape[0]
    if len(encoder.tokenizer) > size:
        mean = table.weight.detach().float().mean(dim=0)
        backbone.resize_token_embeddings(len(encoder.tokenizer), mean_resizing=False)
        with torch.no_grad():
            backbone.get_input_embeddings().weight[size:] = mean.to(dtype)
    return backbone


def set_tree_attention(backbone: PreTrainedModel) -> None:
    """Have the language model, and nothing else, attend by the tree."""
    config = backbone.config
    nested = config.get_text_config() is not config
    backbone.set_attn_implementation({"text_config": TREE} if nested else TREE)


def adapted(backbone: PreTrainedModel, lora: LoraSettings, path: str) -> PreTrainedModel:
    """The backbone with adapters on the linear layers of its language model; all else is frozen."""
    from peft import LoraConfig, get_peft_model

    prefix, decoder = next(
        (name, module) for name, module in backbone.named_modules() if module is decoder_of(backbone)
    )
    leaves = sorted({name.rpartition(".")[2] for name, part in decoder.named_modules() if isinstance(part, nn.Linear)})
    config = LoraConfig(
        r=lora.r,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=rf"{prefix.replace('.', '[.]')}[.].*[.]({'|'.join(leaves)})",
        base_model_name_or_path=path,
    )
    wrapped: PreTrainedModel = get_peft_model(backbone, config)
    return wrapped


def decoder_of(backbone: PreTrainedModel) -> nn.Module:
    """The language model without its head."""
    decoder: nn.Module = backbone.get_decoder()
    return decoder


def _body(backbone: PreTrainedModel) -> nn.Module:
    """The model below the language-model head, which nobody needs here."""
    plain = backbone.get_base_model() if hasattr(backbone, "peft_config") else backbone
    body: nn.Module = plain.base_model
    return body
