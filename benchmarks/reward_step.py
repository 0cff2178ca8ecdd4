"""Seconds and peak memory of a training step of the reward model, ours or the official loop's, one per process.

    python -m benchmarks.reward_step {official,causal,tree} [--layers 8] [--repeats 3]

All have equal weights, examples, adapters and settings of AdamW. The official loop (arXiv 2604.10966) evaluates the
whole model with its language-model head and returns the states of all layers; ours evaluates the model below the head
and returns the last one. Prints the least seconds per step, and the most MB beyond the loaded model. With few layers
the unused logits weigh more than in a whole model: SmolLM2-135M has 30.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable, Iterable
from itertools import accumulate
from pathlib import Path

import torch
from accelerate.utils import send_to_device
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, LlamaConfig, PreTrainedModel

from curate.reward.layout import collate
from curate.reward.loss import top1
from curate.reward.model import ModelConfig, RewardModel, ValueHead, with_lora
from curate.reward.quiet import quiet
from curate.reward.sequence import Encoded
from curate.reward.train import make_optimizer
from schemas.reward import PRESETS, TrainConfig

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
DTYPE = torch.bfloat16 if DEVICE.type == "cuda" else torch.float32
VOCABULARY, PAD = 49_152, 0
EXAMPLES, RESPONSES, PROMPT, RESPONSE = 4, 4, (200, 400), (40, 120)
"""A step: examples, responses per example, and least and most tokens of prompts and of responses."""
CONFIG = TrainConfig(**PRESETS["paper"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("loop", choices=("official", "causal", "tree"))
    parser.add_argument("--layers", type=int, default=8)
    parser.add_argument("--width", type=int, default=576)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    generator = torch.Generator().manual_seed(options.seed)
    examples = [random_example(generator) for _ in range(EXAMPLES)]
    ranks = torch.stack([torch.randperm(RESPONSES, generator=generator) + 1 for _ in examples]).to(DEVICE)
    with quiet(), warnings.catch_warnings(action="ignore"):  # about random weights
        backbone = with_lora(random_backbone(options.layers, options.width, options.seed), CONFIG.lora, "")
    step = (official if options.loop == "official" else ours)(backbone, options.loop, examples, ranks)
    loaded, _ = memory()
    seconds = min(timed(step) for _ in range(options.repeats))
    _, most = memory()
    print(seconds, most - loaded)


def random_backbone(layers: int, width: int, seed: int) -> PreTrainedModel:
    """A language model of the shape of SmolLM2-135M (width 576) or 360M (960), with random weights."""
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=width,
        intermediate_size=8 * width // 3,
        num_hidden_layers=layers,
        num_attention_heads=width // 64,
        num_key_value_heads=width // 192,
        max_position_embeddings=8192,
        tie_word_embeddings=True,
    )
    torch.manual_seed(seed)
    return AutoModelForCausalLM.from_config(config, dtype=DTYPE, attn_implementation="sdpa").to(DEVICE)


def make_example(prompt: int, responses: Iterable[int], generator: torch.Generator) -> Encoded:
    """A prompt and responses of random tokens with these lengths."""
    bounds = list(accumulate(responses, initial=prompt))
    ids = torch.randint(1, VOCABULARY, (bounds[-1],), generator=generator)
    starts, ends = tuple(bounds[:-1]), tuple(end - 1 for end in bounds[1:])
    return Encoded("", ids, torch.zeros_like(ids), starts, ends)


def random_example(generator: torch.Generator) -> Encoded:
    lengths = torch.randint(*RESPONSE, (RESPONSES,), generator=generator).tolist()
    return make_example(int(torch.randint(*PROMPT, (), generator=generator)), lengths, generator)


def ours(backbone: PreTrainedModel, layout: str, examples: list[Encoded], ranks: Tensor) -> Callable[[], None]:
    """A step of curate.reward.train."""
    model = RewardModel(backbone, None, ModelConfig(layout)).to(DEVICE).train()
    optimizer = make_optimizer(model, CONFIG)

    def step() -> None:
        batch = send_to_device(collate(examples, layout, PAD), DEVICE)
        top1(model(batch), ranks, batch.present).mean().backward()
        update(model, optimizer)

    return step


class Official(nn.Module):
    """(B, N) scores as in the official code: the whole model is evaluated and all its states are returned."""

    def __init__(self, backbone: PreTrainedModel) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = ValueHead(backbone.config.hidden_size).to(DTYPE)

    def forward(self, ids: Tensor, attention: Tensor, row: Tensor, end: Tensor) -> Tensor:
        out = self.backbone(input_ids=ids, attention_mask=attention, output_hidden_states=True, use_cache=False)
        return self.head(out.hidden_states[-1][row, end]).float()


def official(backbone: PreTrainedModel, _: str, examples: list[Encoded], ranks: Tensor) -> Callable[[], None]:
    """A step of the official loop, on the sequences of the layout causal."""
    model = Official(backbone).to(DEVICE).train()
    optimizer = torch.optim.AdamW(
        [weights for weights in model.parameters() if weights.requires_grad],
        lr=CONFIG.learning_rate,
        weight_decay=CONFIG.weight_decay,
    )

    def step() -> None:
        batch = send_to_device(collate(examples, "causal", PAD), DEVICE)
        scores = model(batch.input_ids, batch.attention_mask, batch.row, batch.end)
        top1(scores, ranks, batch.present).mean().backward()
        update(model, optimizer)

    return step


def update(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    nn.utils.clip_grad_norm_(model.parameters(), CONFIG.clip)
    optimizer.step()
    optimizer.zero_grad()


def timed(work: Callable[[], object]) -> float:
    """Seconds that work takes, on any device; of the processor, on one thread."""
    clock = time.process_time if DEVICE.type == "cpu" and torch.get_num_threads() == 1 else time.perf_counter
    begin = clock()
    work()
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()
    return clock() - begin


def memory() -> tuple[float, float]:
    """MB now, and the peak so far: of the accelerator, or of this process (on Linux)."""
    if DEVICE.type == "cuda":
        return torch.cuda.memory_allocated() / 1e6, torch.cuda.max_memory_allocated() / 1e6
    # Not ru_maxrss, which starts at the value of the parent process.
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    now, most = (int(status[name].removesuffix("kB")) * 1024 / 1e6 for name in ("VmRSS", "VmHWM"))
    return now, most


if __name__ == "__main__":
    main()
