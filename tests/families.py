"""Language models of few layers, of the families that transformers has, and what ``curate doctor`` says of them.

python -m tests.families          # the table of docs/reward.md
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM

from curate.reward.doctor import diagnose
from curate.reward.quiet import quiet
from curate.reward.scratch import train_tokenizer
from schemas.errors import CurateError
from schemas.reward import DoctorReport, TrainConfig
from tests.vision_families import VISION, build_vision

SMALL: dict[str, Any] = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "max_position_embeddings": 512,
    "bos_token_id": 0,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
EXPERTS: dict[str, Any] = {
    "num_experts": 4,
    "num_local_experts": 4,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 32,
    "decoder_sparse_step": 1,
}
LINEAR: dict[str, Any] = {
    "linear_num_value_heads": 4,
    "linear_num_key_heads": 2,
    "linear_key_head_dim": 16,
    "linear_value_head_dim": 16,
    "layer_types": ["linear_attention", "full_attention"],
}
GPT: dict[str, Any] = {"n_embd": 64, "n_layer": 2, "n_head": 4, "n_positions": 512}
MAMBA: dict[str, Any] = {"mamba_n_heads": 8, "mamba_d_state": 8, "mamba_d_head": 16, "mamba_n_groups": 1}
FAMILIES: dict[str, dict[str, Any]] = {
    "llama": {},
    "mistral": {},
    "qwen2": {},
    "qwen3": {},
    "qwen3_moe": EXPERTS,
    "mixtral": EXPERTS,
    "llama4_text": {**EXPERTS, "interleave_moe_layer_step": 1},
    "gemma": {},
    "gemma2": {},
    "gemma3_text": {},
    "phi3": {},
    "olmo2": {},
    "gpt2": GPT,
    "gpt_neox": {},
    "gpt_oss": EXPERTS,
    "bloom": {"n_layer": 2, "n_head": 4},
    "mpt": {"d_model": 64, "n_layers": 2, "n_heads": 4, "max_seq_len": 512},
    "opt": {"ffn_dim": 96, "word_embed_proj_dim": 64},
    "granite": {},
    "smollm3": {},
    "cohere2": {},
    "glm4": {},
    "starcoder2": {},
    "stablelm": {},
    "qwen3_5_text": LINEAR,
    "qwen3_next": {**EXPERTS, **LINEAR, "shared_expert_intermediate_size": 32},
    "lfm2": {"layer_types": ["conv", "full_attention"], "block_ff_dim": 96},
    "mamba2": {"state_size": 8, "num_heads": 8, "head_dim": 16, "expand": 2, "n_groups": 2},
    "falcon_h1": {**MAMBA, "mamba_d_ssm": 64, "mamba_n_heads": 4},
    "bamba": {**MAMBA, "attn_layer_indices": [1]},
    "recurrent_gemma": {
        "lru_width": 64,
        "block_types": ["recurrent", "attention"],
        "attention_window_size": 64,
    },
}


def build(family: str, out: Path) -> Path:
    """A model of the family with random weights, and its tokenizer."""
    if family in VISION:
        return build_vision(family, out / family)
    tokenizer = train_tokenizer(["What colour is the shape that moves?", "The red circle moves left."] * 5, 300)
    config = AutoConfig.for_model(family, **{**SMALL, "vocab_size": len(tokenizer), **FAMILIES[family]})
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(config)
        for weights in model.parameters():
            if weights.ndim > 1:
                weights.data.mul_(3)  # so that tokens differ
    model.save_pretrained(out / family)
    tokenizer.save_pretrained(out / family)
    return out / family


def examined(path: Path, **config: Any) -> DoctorReport:
    with quiet():
        return diagnose(str(path), TrainConfig.model_validate({"head": 16, "frames": 4, **config}))


def main() -> None:
    print(
        "| family | text | image | video | `causal`, `single` | `tree`, `set` | LoRA |\n|---|---|---|---|---|---|---|"
    )
    with tempfile.TemporaryDirectory() as folder:
        for family in sys.argv[1:] or (*FAMILIES, *VISION):
            with quiet():
                path = build(family, Path(folder))
            try:
                print(f"| {family} | {row(examined(path))} |", flush=True)
            except CurateError as error:
                print(f"| {family} | {str(error).partition(f'{family}: ')[2]} | | | | | |", flush=True)


def row(report: DoctorReport) -> str:
    """The cells of a family: what trains by modality, then what the layouts and adapters do."""
    cells = []
    for found in report.modalities:
        unread = found.status == "refused" and ("reads" in found.reason and "cannot be loaded" not in found.reason)
        why = "" if unread else found.reason or found.status
        cells.append("trains" if found.trains and found.status == "works" else why)
    cells.append(report.layouts["causal"] or report.layouts["single"] or "work")
    cells.append(report.layouts["tree"].removeprefix("CurateError: ").partition("; hint")[0] or "work")
    refusal = "with dropout = 0" if "lora_dropout" in report.lora_refusal else "no: `--full`"
    return " | ".join([*cells, "yes" if report.lora else refusal])


if __name__ == "__main__":
    sys.exit(main())
