"""Speed of one pass over N responses, compared with N passes; of a training step, compared with the official loop.

    python -m benchmarks.reward [--quick] [--video] [--layers 8] [--repeats 3] [--threads 1]

A language model of SmolLM2-135M's shape with random weights, on an accelerator where there is one. Methods are timed in
turn; the least time counts. On one CPU thread, seconds are those of the processor, which other programs do not
lengthen. FLOPs are those of torch's counter, extended by the attention kernels of CPUs; causal attention without a mask
counts half. Training steps are timed by ``benchmarks.reward_step`` in separate processes. Exits with 1 when a goal is
missed.
"""

from __future__ import annotations

import argparse
import math
import subprocess
import sys
from collections.abc import Callable, Sequence
from copy import deepcopy
from typing import Any

import torch
from accelerate.utils import send_to_device
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count
from transformers import DynamicCache

from benchmarks.reward_step import DEVICE, PAD, make_example, random_backbone, timed
from curate.reward.layout import Batch, collate
from curate.reward.model import ModelConfig, RewardModel
from curate.reward.sequence import Encoded

PROMPT, RESPONSE = 1000, 100
VIDEO = (4, 2000, 60)
"""N, and tokens of the prompt and of a response, as of a question on a video."""
BEHIND = 1.15
"""Goal: most that the speedup in FLOPs may be of the speedup in time, of tree over N passes, on one CPU thread."""
SPEEDUP = {4: 3.0, 16: 5.5}
"""Goals: least speedup of causal over N passes, by N."""
SLOWDOWN = 1.15
"""Goal: most time of tree relative to causal."""
Pass = Callable[[], Tensor]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Times the layouts of the reward model and a step of its training.")
    parser.add_argument("--quick", action="store_true", help="two layers, two repeats, N of 2 and 4")
    parser.add_argument("--video", action="store_true", help="only one pass over the shape of a question on a video")
    parser.add_argument("--layers", type=int, default=8)
    parser.add_argument("--width", type=int, default=576, help="576: SmolLM2-135M; 960: SmolLM2-360M")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, help="threads on a CPU")
    options = parser.parse_args(arguments)
    if options.threads:
        torch.set_num_threads(options.threads)
    if options.quick:
        options.layers, options.repeats = 2, 2
    where = torch.cuda.get_device_name() if DEVICE.type == "cuda" else f"CPU, {torch.get_num_threads()} threads"
    shape = f"{options.layers} layers of width {options.width}"
    print(f"{where}; torch {torch.__version__}; {shape}; least of {options.repeats}\n")
    goals = inference(options) | ({} if options.video else training(options))
    for goal, met in goals.items():
        print(f"{'PASS' if met else 'FAIL'}  {goal}")
    return 0 if all(goals.values()) else 1


@torch.inference_mode()
def inference(options: argparse.Namespace) -> dict[str, bool]:
    """Print a table for each N; return the goals and whether they are met."""
    backbone = random_backbone(options.layers, options.width, options.seed)
    # Tree attention is a setting of the backbone, so each layout has a copy.
    plain, tree = (make_model(deepcopy(backbone), layout, options.seed) for layout in ("causal", "tree"))
    goals = {}
    shapes = [(responses, PROMPT, RESPONSE) for responses in ((2, 4) if options.quick else (2, 4, 8, 16))]
    shapes = [] if options.video else shapes
    for responses, prompt, length in [*shapes, VIDEO]:
        generator = torch.Generator().manual_seed(options.seed)
        example = make_example(prompt, [length] * responses, generator)
        work = competitors(plain, tree, example)
        counted = {name: count_flops(run) for name, run in work.items()}  # this also warms up
        seconds = dict.fromkeys(work, math.inf)
        for _ in range(options.repeats):
            for name, run in work.items():
                seconds[name] = min(seconds[name], timed(run))
        title = f"N = {responses}, {prompt:,} + {responses} × {length} tokens"
        flops = {name: count for name, (_, count) in counted.items()}
        print_passes(title, seconds, flops)
        passes = min(seconds[name] for name in work if name.startswith("N passes"))
        if DEVICE.type == "cpu" and torch.get_num_threads() == 1:
            behind = flops["N passes one by one"] / flops["tree"] / (seconds["N passes one by one"] / seconds["tree"])
            goals[f"{title}: FLOPs save at most {BEHIND:g} times as much as time ({behind:.2f})"] = behind <= BEHIND
        if responses in SPEEDUP and prompt == PROMPT:
            times, goal = passes / seconds["causal"], SPEEDUP[responses]
            goals[f"N = {responses}: causal at least {goal:g} times as fast as N passes ({times:.2f})"] = times >= goal
        longer = seconds["tree"] / seconds["causal"]
        goals[f"{title}: tree at most {SLOWDOWN:g} times as long as causal ({longer:.2f})"] = longer <= SLOWDOWN
        tree_scores = counted["tree"][0]
        alone = [scores for name, (scores, _) in counted.items() if name != "causal"]
        difference = max(float((scores - tree_scores).abs().max() / tree_scores.std()) for scores in alone)
        limit = 0.1 if DEVICE.type == "cuda" else 1e-3
        goals[f"{title}: equal scores except causal (differences {difference:.0e} deviations)"] = difference <= limit
    return goals


def make_model(backbone: Any, layout: Any, seed: int) -> RewardModel:
    """A model whose head is not zero, so that scores differ. It gets sequences and needs no encoder."""
    torch.manual_seed(seed)
    model = RewardModel(backbone, None, ModelConfig(layout))  # type: ignore[arg-type]
    torch.nn.init.normal_(model.head[2].weight)
    return model.to(DEVICE).eval()


def competitors(plain: RewardModel, tree: RewardModel, example: Encoded) -> dict[str, Pass]:
    """Methods to compute the (1, N) scores of the example, by name."""
    batches = [collate([example], layout, PAD) for layout in ("causal", "tree", "single")]
    causal, branched, rows = send_to_device(batches, DEVICE)
    one = torch.zeros(1, 1, dtype=torch.long, device=DEVICE)
    alone = [
        rows.only(i)._replace(row=one, end=rows.end[:, i : i + 1], present=one == 0) for i in range(len(example.ends))
    ]
    return {
        "causal": lambda: plain(causal),
        "tree": lambda: tree(branched),
        "tree, dense mask": lambda: by_dense_mask(plain, branched),
        "N passes in one batch": lambda: plain(rows),
        "N passes one by one": lambda: torch.cat([plain(batch) for batch in alone], dim=1),
        "prefix cache": lambda: by_cache(plain, rows),
    }


def by_dense_mask(model: RewardModel, batch: Batch) -> Tensor:
    """The tree as a dense (1, 1, L, L) mask."""
    owner = (batch.offsets == 0).cumsum(dim=1)  # 0: the prompt
    allowed = (owner[:, None, :] == 0) | (owner[:, None, :] == owner[:, :, None])
    out = model.backbone.model(
        input_ids=batch.input_ids,
        attention_mask=allowed.tril()[:, None],
        position_ids=model.positions(batch),
        use_cache=False,
    )
    return model.head(out.last_hidden_state[batch.row, batch.end].float())


def by_cache(model: RewardModel, rows: Batch) -> Tensor:
    """The prompt once, then N responses in a batch after copies of its keys and values."""
    cache, prompt = DynamicCache(config=model.backbone.config), int((rows.offsets[0] == -1).sum())
    model.backbone.model(input_ids=rows.input_ids[:1, :prompt], past_key_values=cache, use_cache=True)
    cache.batch_repeat_interleave(len(rows.input_ids))
    out = model.backbone.model(input_ids=rows.input_ids[:, prompt:], past_key_values=cache, use_cache=True)
    return model.head(out.last_hidden_state[:, -1].float())[None]


def count_flops(run: Pass) -> tuple[Tensor, int]:
    """The result of run, and its FLOPs."""
    with FlopCounterMode(display=False, custom_mapping=ATTENTION) as counter:
        scores = run()
    return scores, counter.get_total_flops()


def _attention(causal: int) -> Callable[..., int]:
    """FLOPs of an attention kernel. causal: position of its argument is_causal."""

    def count(*arguments: Any, out_shape: Any = None, **options: Any) -> int:  # noqa: ARG001
        half = arguments[causal] if causal < len(arguments) else options.get("is_causal", False)
        return sdpa_flop_count(*arguments[:3]) // (2 if half else 1)

    return count


ATTENTION = {
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention(4),
    torch.ops.aten._scaled_dot_product_flash_attention: _attention(4),
    torch.ops.aten._scaled_dot_product_efficient_attention: _attention(6),
    torch.ops.aten._scaled_dot_product_cudnn_attention: _attention(6),
}


def print_passes(title: str, seconds: dict[str, float], flops: dict[str, int]) -> None:
    passes = [name for name in seconds if name.startswith("N passes")]
    slow, many = min(seconds[name] for name in passes), min(flops[name] for name in passes)
    print(f"{title:<34}{'seconds':>9}{'GFLOP':>9}{'times as fast as N passes':>27}{'in FLOPs':>10}")
    for name, second in seconds.items():
        better = " (the better)" if name in passes and second == slow else ""
        ratios = f"{slow / second:>27.2f}{many / flops[name]:>10.2f}"
        print(f"{name + better:<34}{second:>9.3f}{flops[name] / 1e9:>9,.0f}{ratios}")
    print()


def training(options: argparse.Namespace) -> dict[str, bool]:
    """Print seconds and memory of a step by loop; return the goals and whether they are met."""
    seconds = dict.fromkeys(("official", "causal", "tree"), math.inf)
    memory = dict.fromkeys(seconds, 0.0)
    for _ in range(options.repeats):  # in turn
        for loop in seconds:
            settings = [f"--{name}={getattr(options, name)}" for name in ("layers", "width", "seed")]
            command = [sys.executable, "-m", "benchmarks.reward_step", loop, "--repeats=2", *settings]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            second, peak = map(float, done.stdout.split())
            seconds[loop], memory[loop] = min(seconds[loop], second), max(memory[loop], peak)
    print(f"{'a step of training':<34}{'seconds':>9}{'MB':>9}{'times as fast as official':>27}{'as small':>10}")
    goals = {}
    for loop in seconds:
        fast, small = seconds["official"] / seconds[loop], memory["official"] / memory[loop]
        print(f"{loop:<34}{seconds[loop]:>9.3f}{memory[loop]:>9,.0f}{fast:>27.2f}{small:>10.2f}")
        if loop != "official":
            goals[f"a step of {loop} faster than the official loop's ({fast:.2f} times)"] = fast > 1
            goals[f"a step of {loop} smaller than the official loop's ({small:.2f} times)"] = small > 1
    print()
    return goals


if __name__ == "__main__":
    sys.exit(main())
