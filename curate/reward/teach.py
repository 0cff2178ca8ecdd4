"""What a backbone from scratch is taught first: to say the best responses itself, as a real one has learnt to speak.

Whether a response is right shows only in the meeting of what is seen and what is said; neither alone says anything, and
a model that knows neither stands on a plateau for long. Saying the answer has a slope from the first step.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from curate.reward.batch import Batch
from curate.reward.examples import Example
from curate.reward.loading import Loader
from curate.reward.model import RewardModel, decoder_of
from curate.reward.schedule import rate, steps_of_epoch


def teach(
    model: RewardModel,
    loader: Loader,
    examples: Sequence[Example],
    *,
    epochs: int,
    batch: int = 16,
    learning_rate: float = 1e-3,
    seed: int = 0,
    tell: Callable[[int, int, float], None] = lambda _step, _steps, _loss: None,
) -> None:
    """Train all of the backbone to give the best response to each example: next-token cross-entropy."""
    best = [_best(example) for example in examples]
    planned = [step for epoch in range(epochs) for step in steps_of_epoch(len(best), batch, seed=seed, epoch=epoch)]
    optimizer = torch.optim.AdamW(model.backbone.parameters(), lr=learning_rate)
    model.train()
    for number, encoded in enumerate(loader.stream([[best[i] for i in step] for step in planned])):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate * rate(number, len(planned), warmup=0.05, schedule="cosine")
        loss = spoken(model, model.collate(encoded))
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.backbone.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        tell(number + 1, len(planned), float(loss.detach()))


def spoken(model: RewardModel, batch: Batch) -> Tensor:
    """Mean cross-entropy of the tokens of the responses, each foretold by the state before it, half way up.

    What the lower half of the layers knows of the answer is there for the upper half to compare with what is said.
    """
    said = batch.offsets[:, 1:] >= 0
    states = model.states(batch, layer=half(model))[:, :-1][said]
    norm = decoder_of(model.backbone).get_submodule("norm")
    logits = model.backbone.lm_head(norm(states))
    return torch.nn.functional.cross_entropy(logits.float(), batch.input_ids[:, 1:][said])


def half(model: RewardModel) -> int:
    """The layer that learns to speak."""
    layers: int = model.backbone.config.get_text_config().num_hidden_layers
    return (layers + 1) // 2


def _best(example: Example) -> Example:
    """The example with the first of its best responses alone."""
    return replace(example, responses=(example.responses[example.best[0]],), ranks=(1,), best_probabilities=())
