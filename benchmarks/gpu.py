"""The reward model on a GPU: N responses in one pass, a training step, and the doctor, on the backbones of the paper.

    bash benchmarks/gpu.sh                                          # one H100 or H200, at most ten minutes
    python -m benchmarks.gpu --small --device cpu --prompt 64 --tokens 256 --responses 2 4

Qwen3-VL-4B and Molmo2-4B with random weights: the shapes are those of their published configs, and nothing is
downloaded. Inference compares one pass (causal, tree) with N passes and with a prefix cache, on tokens of text after
``--prompt`` others. A training step has one example of ``--tokens`` tokens with four responses, LoRA of rank 128 and
activation checkpointing. MFU counts what a step must compute (the frozen weights have no gradients; recomputation does
not count), over the peak of the device in bfloat16. ``--small`` takes layers of the width of the tests.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import send_to_device
from torch import Tensor
from transformers import DynamicCache

from benchmarks.reward_step import make_example
from cli.doctor import print_doctor
from curate.reward.backbones import body_of, decoder_of
from curate.reward.doctor import diagnose, with_attention
from curate.reward.layout import Batch, collate
from curate.reward.loss import top1
from curate.reward.model import ModelConfig, RewardModel
from curate.reward.quiet import quiet
from curate.reward.train import make_optimizer
from schemas.reward import PRESETS, TrainConfig
from tests.vision_families import build_vision

QWEN3_4B: dict[str, Any] = {
    "vocab_size": 151_936,
    "hidden_size": 2560,
    "intermediate_size": 9728,
    "num_hidden_layers": 36,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "max_position_embeddings": 262_144,
}
"""The language model of both."""
ROPE = {"rope_type": "default", "rope_theta": 5_000_000.0}
SHAPES: dict[str, dict[str, dict[str, Any]]] = {
    "qwen3_vl": {
        "text": {
            **QWEN3_4B,
            "tie_word_embeddings": True,
            "rope_parameters": {**ROPE, "mrope_section": [24, 20, 20], "mrope_interleaved": True},
        },
        "tower": {
            "depth": 24,
            "hidden_size": 1024,
            "intermediate_size": 4096,
            "num_heads": 16,
            "out_hidden_size": 2560,
            "num_position_embeddings": 2304,
            "deepstack_visual_indexes": [5, 11, 17],
        },
        "more": {"tie_word_embeddings": True},
    },
    "molmo2": {
        "text": {**QWEN3_4B, "additional_vocab_size": 128, "rope_parameters": ROPE},
        "tower": {
            "hidden_size": 1152,
            "intermediate_size": 4304,
            "num_hidden_layers": 25,
            "num_attention_heads": 16,
            "num_key_value_heads": 16,
            "head_dim": 72,
        },
        "more": {"adapter_config": {"text_hidden_size": 2560, "intermediate_size": 9728}},
    },
}
FEWER: dict[str, dict[str, dict[str, Any]]] = {
    "qwen3_vl": {"tower": {"depth": 2, "deepstack_visual_indexes": [0]}, "more": {}},
    "molmo2": {
        "tower": {"num_hidden_layers": 2},
        "more": {"adapter_config": {**SHAPES["molmo2"]["more"]["adapter_config"], "vision_feature_layer": [1, 0]}},
    },
}
"""Of a vision tower with two layers, where there are few in the language model."""
RESPONSE = 100
PEAK = {"H100": 989e12, "H200": 989e12, "A100": 312e12}
"""FLOP/s in bfloat16 without sparsity, by a part of the device's name (the vendor's data sheets, SXM)."""
CONFIG = TrainConfig(**{**PRESETS["paper"], "activation_checkpointing": True, "precision": "bfloat16"})


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", choices=sorted(SHAPES), default=sorted(SHAPES, reverse=True))
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--layers", type=int, default=36)
    parser.add_argument("--small", action="store_true", help="two narrow layers")
    parser.add_argument("--prompt", type=int, default=4000)
    parser.add_argument("--responses", type=int, nargs="+", default=[2, 4, 8, 16])
    parser.add_argument("--tokens", type=int, nargs="+", default=[8192, 24_576])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--minutes", type=float, default=9.0, help="no part is started after them")
    options = parser.parse_args(arguments)
    options.end = time.monotonic() + 60 * options.minutes
    name = torch.cuda.get_device_name() if options.device == "cuda" else "CPU"
    print(f"{name}; torch {torch.__version__}; least of {options.repeats}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        for family in options.models:
            run(family, Path(folder) / family, options)
    return 0


def run(family: str, folder: Path, options: argparse.Namespace) -> None:
    """All parts on one model."""
    dtype = torch.bfloat16 if options.device == "cuda" else torch.float32
    with quiet():
        build_vision(family, folder, **shape(family, options), device=options.device, dtype=dtype)
        model = RewardModel.from_backbone(
            folder, ModelConfig("single", max_length=sys.maxsize), lora=CONFIG.lora or None, dtype=dtype
        )
    model = model.to(options.device)
    print(f"\n{family}: {sum(each.numel() for each in model.parameters()) / 1e9:.2f} billion parameters", flush=True)
    torch.nn.init.normal_(model.head[2].weight)  # type: ignore[arg-type]
    print(f"{'N':>4}{'method':>24}{'seconds':>10}{'times as fast':>15}{'difference':>12}")
    for responses in options.responses:
        if time.monotonic() < options.end:
            inference(model, responses, options)
    print(f"{'tokens':>8}{'layout':>10}{'seconds':>10}{'GiB':>8}{'MFU':>7}")
    for tokens in options.tokens:
        for layout in ("causal", "tree"):
            if time.monotonic() < options.end:
                with quiet():
                    training(model, tokens, layout, options)
    del model
    if options.device == "cuda":
        torch.cuda.empty_cache()
    if time.monotonic() < options.end:
        with quiet():
            report = diagnose(str(folder), planned(options.tokens[0]))
        print_doctor(report.model_copy(update={"backbone": family}))
    else:
        print(f"out of time after {options.minutes:g} minutes: parts are missing")


def planned(tokens: int) -> TrainConfig:
    """The training that the doctor examines: a tree, in passes of so many tokens."""
    return TrainConfig(**{**CONFIG.model_dump(), "layout": "tree", "template": "curate", "pass_tokens": tokens})


def shape(family: str, options: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """The arguments of ``build_vision``: the published shape, with as many layers as the options say."""
    if options.small:
        return {}
    whole, layers = SHAPES[family], options.layers
    text = {**whole["text"], "num_hidden_layers": layers}
    if layers >= 25:
        return {**whole, "text": text}
    fewer = FEWER[family]
    return {"text": text, "tower": {**whole["tower"], **fewer["tower"]}, "more": {**whole["more"], **fewer["more"]}}


@torch.inference_mode()
def inference(model: RewardModel, responses: int, options: argparse.Namespace) -> None:
    """Print the time of each method, its ratio to N passes, and how far its scores are from theirs."""
    model.eval()
    example = make_example(options.prompt, [RESPONSE] * responses, torch.Generator().manual_seed(0))
    example.input_ids.remainder_(250).add_(10)  # no placeholders of media
    batches = [collate([example], layout, 0) for layout in ("causal", "tree", "single")]
    causal, tree, single = send_to_device(batches, model.device)
    one = single._replace(row=torch.zeros_like(single.row[:, :1]), present=single.present[:, :1])

    def passes() -> Tensor:
        parts = [one._replace(end=single.end[:, i : i + 1]).only(i) for i in range(responses)]
        return torch.cat([model(part) for part in parts], dim=1)

    methods: dict[str, tuple[str, Callable[[], Tensor]]] = {
        "N passes": ("single", passes),
        "prefix cache": ("single", lambda: by_cache(model, single, options.prompt)),
        "one pass, tree": ("tree", lambda: model(tree)),
        "one pass, causal": ("causal", lambda: model(causal)),
    }
    base, expected = 0.0, torch.empty(0)
    for name, (layout, method) in methods.items():
        with with_attention(model, layout):  # type: ignore[arg-type]
            scores = method()  # also warms up
            second = min(timed(method, options.device) for _ in range(options.repeats))
        if name == "N passes":
            base, expected = second, scores
        apart = "" if layout == "causal" else f"{float((scores - expected).abs().max() / expected.std()):.0e}"
        print(f"{responses:>4}{name:>24}{second:>10.4f}{base / second:>15.2f}{apart:>12}", flush=True)


def by_cache(model: RewardModel, rows: Batch, prompt: int) -> Tensor:
    """(1, N) scores: the prompt once, then the responses in a batch after copies of its keys and values."""
    body, config = body_of(model.backbone), model.backbone.config.get_text_config()
    cache = DynamicCache(config=config)
    places = torch.arange(rows.input_ids.shape[1], device=model.device)[None]
    options = {"past_key_values": cache, "use_cache": True}
    body(input_ids=rows.input_ids[:1, :prompt], position_ids=places[:, :prompt], **options)
    cache.batch_repeat_interleave(len(rows.input_ids))
    after = places[:, prompt:].expand(len(rows.input_ids), -1)
    out = body(input_ids=rows.input_ids[:, prompt:], position_ids=after, **options)
    scores: Tensor = model.head(out.last_hidden_state[:, -1].float())[None]
    return scores


def training(model: RewardModel, tokens: int, layout: Any, options: argparse.Namespace) -> None:
    """Print seconds, memory and MFU of a step on one example with four responses."""
    example = make_example(tokens - 4 * RESPONSE // 2, [RESPONSE // 2] * 4, torch.Generator().manual_seed(0))
    example.input_ids.remainder_(250).add_(10)
    batch = send_to_device(collate([example], layout, 0), model.device)
    ranks = torch.tensor([[1, 2, 3, 4]], device=model.device)
    optimizer = make_optimizer(model, CONFIG)
    model.backbone.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    model.train()

    def step() -> None:
        top1(model(batch), ranks, batch.present).mean().backward()
        optimizer.step()
        optimizer.zero_grad()

    if options.device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    try:
        with with_attention(model, layout):
            step()
            seconds = min(timed(step, options.device) for _ in range(options.repeats))
    except torch.cuda.OutOfMemoryError:
        print(f"{tokens:>8,}{layout:>10}  out of memory", flush=True)
        return
    finally:
        model.backbone.gradient_checkpointing_disable()
        optimizer.zero_grad()
    cuda = options.device == "cuda"
    memory = f"{torch.cuda.max_memory_allocated() / 2**30:.1f}" if cuda else "–"
    peak = next((flops for part, flops in PEAK.items() if cuda and part in torch.cuda.get_device_name()), None)
    share = f"{flops_of_step(model, tokens) / seconds / peak:.0%}" if peak else "–"
    print(f"{tokens:>8,}{layout:>10}{seconds:>10.3f}{memory:>8}{share:>7}", flush=True)


def flops_of_step(model: RewardModel, tokens: int) -> float:
    """FLOPs that a step on ``tokens`` tokens must compute: forward, and the gradients of its inputs.

    Two per weight and token in each direction, for the layers of the language model; causal attention, 2 · L² · heads ·
    width per layer forward and twice that backward. Gradients of the adapters, 1 to 2% of it, do not count.
    """
    config = model.backbone.config.get_text_config()
    weights = sum(
        each.numel()
        for name, each in decoder_of(plain(model)).named_parameters()
        if "layers." in name and "lora" not in name
    )
    attention = 2 * tokens**2 * config.num_attention_heads * config.head_dim * config.num_hidden_layers
    return 4.0 * weights * tokens + 3.0 * attention


def plain(model: RewardModel) -> Any:
    """The backbone without the wrapper of its adapters."""
    return model.backbone.get_base_model() if hasattr(model.backbone, "peft_config") else model.backbone


def timed(work: Callable[[], object], device: str) -> float:
    """Seconds that work takes."""
    if device == "cuda":
        torch.cuda.synchronize()
    start = time.perf_counter()
    work()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


if __name__ == "__main__":
    sys.exit(main())
