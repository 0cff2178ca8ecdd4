"""Molmo2: adapters of its released code, which fuses projections that transformers keeps apart; rows of new tokens.

The released code (allenai, and arXiv 2604.10966 with it) has one layer ``att_proj`` for queries, keys and values and
one layer ``ff_proj`` for the two projections of the MLP. Adapters are stored under its names, so that the official code
reads them, as ``save_pretrained`` of transformers stores the weights; they are split when they are loaded. Both
directions copy numbers and compute none.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model, set_peft_model_state_dict
from peft.utils import CONFIG_NAME, SAFETENSORS_WEIGHTS_NAME
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import PreTrainedModel

from schemas.errors import CurateError

MODEL_TYPE = "molmo2"
FUSED = {"att_proj": ("q_proj", "k_proj", "v_proj"), "ff_proj": ("up_proj", "gate_proj")}
"""Released layer -> layers of transformers, in the order of its rows."""
RENAMED = {"attn_out": "o_proj", "ff_out": "down_proj"}
TARGETS = tuple(sorted((*FUSED, *RENAMED)))
BLOCKS, LAYERS = "model.transformer.blocks.", "model.language_model.layers."
KEY = re.compile(r"(?P<layer>.+)[.](?P<module>\w+)[.]lora_(?P<half>[AB])[.]weight")


@dataclass(frozen=True)
class Adapter:
    """An adapter as its files have it."""

    config: dict[str, Any]
    """``adapter_config.json``."""
    state: dict[str, Tensor]
    """``adapter_model.safetensors``: lora_A (r, inputs) and lora_B (outputs, r) of each layer."""

    @classmethod
    def read(cls, folder: Path) -> Adapter:
        config = json.loads((folder / CONFIG_NAME).read_text(encoding="utf-8"))
        return cls(config, load_file(folder / SAFETENSORS_WEIGHTS_NAME))

    def write(self, folder: Path) -> None:
        save_file(self.state, folder / SAFETENSORS_WEIGHTS_NAME)
        (folder / CONFIG_NAME).write_text(json.dumps(self.config, indent=2) + "\n", encoding="utf-8")


def with_adapter(backbone: PreTrainedModel, folder: Path) -> PeftModel:
    """The backbone, of any family, with the adapter of a folder."""
    if backbone.config.model_type != MODEL_TYPE:
        return PeftModel.from_pretrained(backbone, folder)
    adapter = adapter_of(backbone, folder)
    known = {field.name for field in fields(LoraConfig)}
    config = LoraConfig(**{name: value for name, value in adapter.config.items() if name in known})
    wrapped = get_peft_model(backbone, config)
    set_peft_model_state_dict(wrapped, adapter.state)
    return wrapped


def adapter_of(backbone: PreTrainedModel, folder: Path) -> Adapter:
    """The adapter of a folder, for the layers of the backbone, of any family."""
    adapter = Adapter.read(folder)
    targets = adapter.config.get("target_modules") or ()
    if backbone.config.model_type != MODEL_TYPE or isinstance(targets, str) or not set(targets) & set(TARGETS):
        return adapter
    plain = backbone.get_base_model() if isinstance(backbone, PeftModel) else backbone
    return split(adapter, lambda name: int(plain.get_submodule(name).out_features))


def fuse_saved(backbone: PreTrainedModel, folder: Path) -> None:
    """Rewrite the adapter of a folder, if it is one of Molmo2, for the released layers."""
    if backbone.config.model_type == MODEL_TYPE and isinstance(backbone, PeftModel):
        fuse(Adapter.read(folder)).write(folder)


def split(adapter: Adapter, rows: Callable[[str], int]) -> Adapter:
    """The adapter for transformers' layers, of the same effect.

    Layers that were fused share lora_A and get their rows of lora_B; where ``fuse`` stacked ranks, each gets its own.
    rows: the number of outputs of a layer by name. Raises CurateError where the ranks differ in another way.
    """
    given = adapter.config.get("rank_pattern") or {}
    stacked = {name for name, parts in FUSED.items() if given.get(name) == len(parts) * adapter.config["r"]}
    if given.keys() != stacked:
        raise CurateError(
            f"adapter of Molmo2: rank_pattern {given} is not supported", hint="merge it into its backbone"
        )
    state = {}
    for key, (layer, module, half) in _parsed(adapter.state):
        inside = layer.replace(BLOCKS, LAYERS)
        parts = FUSED.get(module, (RENAMED.get(module, module),))
        value, ranks = adapter.state[key], [slice(None)] * len(parts)
        if module in stacked:
            rank = adapter.config["r"]
            ranks = [slice(i * rank, (i + 1) * rank) for i in range(len(parts))]
        sizes = [rows(f"{inside.removeprefix('base_model.model.')}.{part}") for part in parts] if half == "B" else []
        blocks = value.split(sizes) if half == "B" else [value] * len(parts)  # type: ignore[no-untyped-call]
        for part, block, rank in zip(parts, blocks, ranks, strict=True):
            kept = block[:, rank] if half == "B" else block[rank]
            state[f"{inside}.{part}.lora_{half}.weight"] = kept.clone(memory_format=torch.contiguous_format)
    names = [part for name in adapter.config["target_modules"] for part in FUSED.get(name, (RENAMED.get(name, name),))]
    # Not a list: the vision tower has layers of these names as well.
    targets = rf"{LAYERS.replace('.', '[.]')}.*[.]({'|'.join(sorted(names))})"
    return Adapter({**adapter.config, "target_modules": targets, "rank_pattern": {}, "alpha_pattern": {}}, state)


def fuse(adapter: Adapter) -> Adapter:
    """The adapter for the released layers, of the same effect.

    Where the layers to fuse have equal lora_A, as ``split`` makes them, it is kept; otherwise their ranks are stacked:
    lora_A one above the other, lora_B block-diagonal, with rank and alpha in rank_pattern and alpha_pattern.
    """
    found: dict[str, dict[tuple[str, str], Tensor]] = {}
    for key, (layer, module, half) in _parsed(adapter.state):
        found.setdefault(layer, {})[module, half] = adapter.state[key]
    state = {}
    config = {**adapter.config, "target_modules": list(TARGETS), "rank_pattern": {}, "alpha_pattern": {}}
    for name, parts in FUSED.items():
        layers = {layer: halves for layer, halves in found.items() if (parts[0], "A") in halves}
        shared = all(
            torch.equal(halves[parts[0], "A"], halves[part, "A"]) for halves in layers.values() for part in parts
        )
        for layer, halves in layers.items():
            prefix = f"{layer.replace(LAYERS, BLOCKS)}.{name}"
            a, b = ([halves[part, half] for part in parts] for half in "AB")
            state[f"{prefix}.lora_A.weight"] = a[0] if shared else torch.cat(a)
            state[f"{prefix}.lora_B.weight"] = torch.cat(b) if shared else torch.block_diag(*b)  # type: ignore[no-untyped-call]
        if not shared:
            config["rank_pattern"][name] = len(parts) * adapter.config["r"]
            config["alpha_pattern"][name] = len(parts) * adapter.config["lora_alpha"]
    for layer, halves in found.items():
        for name, part in RENAMED.items():
            for half in "AB":
                if (part, half) in halves:
                    state[f"{layer.replace(LAYERS, BLOCKS)}.{name}.lora_{half}.weight"] = halves[part, half]
    return Adapter(config, state)


def _parsed(names: Sequence[str] | Mapping[str, Tensor]) -> list[tuple[str, tuple[str, str, str]]]:
    """(key, (layer, module, A or B)) of each key. Raises CurateError for keys of other kinds of adapters."""
    found = []
    for key in names:
        match = KEY.fullmatch(key)
        if match is None:
            raise CurateError(f"adapter of Molmo2: unexpected weights {key}", hint="only LoRA of linear layers is read")
        found.append((key, (match["layer"], match["module"], match["half"])))
    return found


def add_tokens(backbone: PreTrainedModel, tokens: int) -> None:
    """Extend the embedding to ``tokens`` rows; new ones are zero, as in the official code.

    The library's own method would change the size of the vocabulary in the config as well, and the saved model could
    not be loaded. No scores depend on the language-model head, which has no rows for additional tokens.
    """
    old = backbone.get_input_embeddings().weight
    new = nn.Embedding(tokens, old.shape[1], dtype=old.dtype, device=old.device)
    with torch.no_grad():
        new.weight.zero_()
        new.weight[: len(old)] = old
    backbone.set_input_embeddings(new)
    config = backbone.config.get_text_config()
    config.additional_vocab_size = tokens - config.vocab_size
