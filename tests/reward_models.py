"""Shared by the tests of the reward model: examples with and without a clip, tiny models, tiny trainings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from curate.media.frames import Frames
from curate.reward.data import Example
from curate.reward.loader import Loader
from curate.reward.model import ModelConfig, RewardModel
from curate.reward.processes import start_processes
from curate.reward.quiet import quiet
from curate.reward.sequence import Encoded, Encoder
from curate.reward.train import fit
from schemas.reward import Layout, LoraSettings, TrainConfig

torch.set_num_threads(1)  # models this small do not profit from threads

TEXTS = ("What colour is the shape that moves?", "The red circle moves left.", "blue", "I cannot say.", "0.5 seconds")
WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


def frames(seed: int = 0, count: int = 4, size: int = 32) -> Frames:
    """A clip of noise."""
    images: NDArray[np.uint8] = np.random.default_rng(seed).integers(0, 256, (count, size, size, 3), dtype=np.uint8)
    return Frames(images=images, times=np.arange(count) / 2, duration=count / 2)


def example(name: str, *responses: str, prompt: str = "What colour moves?", **more: object) -> Example:
    """An example whose first response is the best, the second the second best, and so on."""
    return Example(name, prompt, responses, tuple(range(1, len(responses) + 1)), **more)  # type: ignore[arg-type]


def encoded(encoder: Encoder, item: Example, clip: Frames | None = None) -> Encoded:
    """The sequence of an example, with its clip."""
    return encoder.encode(item, encoder.encode_media(item, video=clip))


def spelling(count: int, seed: int) -> list[Example]:
    """A task that a model learns in a few steps: which of four words spells the number."""
    rng = np.random.default_rng(seed)
    found = []
    for i in range(count):
        answer = int(rng.integers(10))
        others = rng.choice([n for n in range(10) if n != answer], 3, replace=False).tolist()
        order = rng.permutation(4).tolist()
        numbers = [[answer, *others][k] for k in order]
        ranks = tuple(1 if k == 0 else 2 for k in order)
        found.append(Example(f"e{i}", f"Spell {answer}.", tuple(WORDS[n] for n in numbers), ranks))
    return found


def uneven(count: int) -> list[Example]:
    """Examples of 2 to 4 responses with very different lengths."""
    found = []
    for i, example in enumerate(spelling(count, 0)):
        keep = 2 + i % 3
        longer = (f"{example.responses[0]} " * (1 + 3 * (i % 5)), *example.responses[1:keep])
        found.append(replace(example, responses=longer, ranks=(1, *range(2, keep + 1))))
    return found


def model(backbone: object, layout: Layout, *, seed: int = 0, lora: LoraSettings | None = None) -> RewardModel:
    """An untrained model whose head is not zero, so that its scores differ."""
    made = RewardModel.from_backbone(backbone, ModelConfig(layout, head=16, frames=4), seed=seed, lora=lora)  # type: ignore[arg-type]
    torch.manual_seed(seed)
    torch.nn.init.normal_(made.head[2].weight)  # type: ignore[arg-type]
    if made.comparison is not None:
        torch.nn.init.normal_(made.comparison.up.weight, std=0.1)
    return made.eval()


SMALL = LoraSettings(r=4, alpha=8.0, dropout=0.0)


def tiny(**changes: Any) -> TrainConfig:
    """The config of a training that takes seconds."""
    base: dict[str, Any] = {
        "lora": SMALL,
        "head": 16,
        "frames": 4,
        "epochs": 1,
        "batch": 8,
        "learning_rate": 3e-3,
        "head_learning_rate": 3e-3,
    }
    return TrainConfig.model_validate({**base, **changes})


def untrained(backbone: Path, config: TrainConfig) -> RewardModel:
    """The model with which a training of the config starts."""
    with quiet():
        return RewardModel.from_backbone(
            backbone,
            ModelConfig.of(config),
            lora=config.lora or None,
            seed=config.seed,
        )


def fitted(
    start: RewardModel | Path, out: Path, examples: Sequence[Example], config: TrainConfig, **options: Any
) -> RewardModel:
    """The model after ``fit``. start: a model, or the backbone of a new one."""
    own = untrained(start, config) if isinstance(start, Path) else start
    with quiet(), Loader(own.encoder, frames=config.frames) as loader:
        return fit(
            own, loader, examples, config, out, processes=start_processes(sharded=config.sharding == "fsdp"), **options
        )
