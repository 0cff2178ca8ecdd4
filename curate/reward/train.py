"""The training loop: steps of examples, forward and backward passes of similar length, checkpoints.

Order of examples, learning rate, permutations and dropout are functions of the seed and the step number only.
"""

from __future__ import annotations

import hashlib
import json
import math
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils.rnn import pad_sequence

from curate.reward import checkpoint
from curate.reward.data import Example
from curate.reward.layout import passes_of
from curate.reward.loader import Loader
from curate.reward.loss import LOSSES
from curate.reward.model import RewardModel
from curate.reward.processes import Processes, load_optimizer_state, whole
from curate.reward.sequence import Encoded
from schemas.reward import Schedule, Targets, TrainConfig

METRICS = "metrics.jsonl"


@dataclass(frozen=True)
class StepReport:
    """Metrics of one step, for progress displays."""

    step: int
    """1 for the first."""
    steps: int
    metrics: dict[str, Any]


def fit(
    model: RewardModel,
    loader: Loader,
    examples: Sequence[Example],
    config: TrainConfig,
    out: Path,
    *,
    processes: Processes,
    evaluate: Callable[[RewardModel], dict[str, Any]] | None = None,
    resume: bool = False,
    on_step: Callable[[StepReport], None] = lambda _report: None,
) -> RewardModel:
    """Train the model on the examples, all of which can train (``Loader.check``), and return it.

    Every process calls this with equal arguments; the first one writes ``metrics.jsonl`` (a line per step and per
    evaluation) and ``checkpoints/step-000040``, … into ``out``. evaluate: metrics of the model on held-out examples;
    every process calls it. resume: continue from the newest checkpoint, with any number of processes; on a CPU the
    result equals that of an uninterrupted training bit for bit.
    """
    config = config.on(processes.device.type)
    plan = [steps_of_epoch(len(examples), config.batch, seed=config.seed, epoch=e) for e in range(config.epochs)]
    steps = sum(map(len, plan))
    if config.activation_checkpointing:
        model.backbone.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    ids = json.dumps([example.item_id for example in examples]).encode()
    inputs = {"config": config.model_dump(mode="json"), "examples": hashlib.sha256(ids).hexdigest()[:16]}
    done, state = checkpoint.resume_training(model, out, inputs) if resume else (0, None)
    wrapped = processes.distribute(model, config)
    optimizer = make_optimizer(model, config)
    if state is not None:
        load_optimizer_state(optimizer, state)
    log = _open_log(out / METRICS, done) if processes.first else lambda _row: None

    for step in _read_steps(plan, done, loader, examples, config, processes):
        torch.manual_seed(config.seed * 1_000_003 + step.number * processes.count + processes.rank)
        scale = learning_rate_scale(step.number, steps, warmup=config.warmup, schedule=config.schedule)
        for group in optimizer.param_groups:
            group["lr"] = group["peak"] * scale
        wrapped.train()
        loss = processes.sum(_forward_backward(wrapped, model, step, config, processes))
        norm = whole(torch.nn.utils.clip_grad_norm_(model.parameters(), config.clip))
        optimizer.step()
        optimizer.zero_grad()

        done = step.number + 1
        metrics = {"epoch": step.epoch, "loss": float(loss), "rate": scale, "norm": float(norm)}
        log({"step": done, **metrics})
        if evaluate and step.is_due(config.evaluate_every):
            with computing(config, processes):
                held_out = evaluate(model)
            log({"step": done, **held_out})
            metrics |= held_out
        if step.is_due(config.checkpoint_every):
            checkpoint.save_training(model, optimizer, out, done, inputs, keep=config.keep, processes=processes)
        on_step(StepReport(done, steps, metrics))
    return model


def _forward_backward(
    wrapped: nn.Module, model: RewardModel, step: Step, config: TrainConfig, processes: Processes
) -> Tensor:
    """Compute the gradient of the step on this process; return this process's part of the loss.

    The gradient is that of the mean loss over all examples of the step, on any number of passes and processes.
    """
    own = passes_of(step.encoded, config.pass_tokens)
    passes = processes.repeated(own)
    total = torch.zeros((), device=processes.device)
    for number, part in enumerate(passes):
        last = number == len(passes) - 1  # replicas exchange gradients once per step
        with wrapped.no_sync() if isinstance(wrapped, DistributedDataParallel) and not last else nullcontext():
            batch = model.collate([step.encoded[i] for i in part])
            with computing(config, processes):
                scores = wrapped(batch)
            ranks, soft = label_tensors([step.examples[i] for i in part], config.targets, scores.device)
            losses = LOSSES[config.loss](scores, ranks, batch.present, soft)
            loss = (losses * (step.weight if number < len(own) else 0.0)).sum()
            # Gradients are averaged over processes, but this loss is one process's part of a sum.
            (loss * processes.count).backward()  # type: ignore[no-untyped-call]
            total += loss.detach()
    return total


def computing(config: TrainConfig, processes: Processes) -> torch.autocast:
    """The context of forward passes in the precision of the config."""
    return torch.autocast(processes.device.type, torch.bfloat16, enabled=config.precision == "bfloat16")


@dataclass(frozen=True)
class Step:
    """The part of one step that one process computes."""

    number: int
    """0 for the first."""
    epoch: int
    ends_epoch: bool
    examples: list[Example]
    encoded: list[Encoded]
    weight: float
    """Of each example in the loss of the step."""

    def is_due(self, every: int) -> bool:
        """Whether something that happens every so many steps (0: at the end of each epoch) happens after this one."""
        return (self.number + 1) % every == 0 if every else self.ends_epoch


def _read_steps(
    plan: Sequence[Sequence[list[int]]],
    done: int,
    loader: Loader,
    examples: Sequence[Example],
    config: TrainConfig,
    processes: Processes,
) -> Iterator[Step]:
    """The steps of one process, without the first ``done``. plan: epochs, their steps, the positions of examples.

    A process without examples gets the first one with weight 0, because every process takes part in every step.
    """
    first = 0
    for epoch, planned in enumerate(plan):
        todo = list(enumerate(planned, start=first))[max(0, done - first) :]
        first += len(planned)
        shares = [step[processes.rank :: processes.count] for _, step in todo]
        groups = [[examples[i] for i in own or step[:1]] for own, (_, step) in zip(shares, todo, strict=True)]
        if config.layout == "causal":  # scores depend on the order of responses
            groups = [[shuffled(example, seed=config.seed, epoch=epoch) for example in group] for group in groups]
        for (number, step), own, group, encoded in zip(todo, shares, groups, loader.stream(groups), strict=True):
            yield Step(number, epoch, number == first - 1, group, encoded, 1 / len(step) if own else 0.0)


def label_tensors(examples: Sequence[Example], targets: Targets, device: torch.device) -> tuple[Tensor, Tensor | None]:
    """(B, N) ranks, 0 where there is no response, and (B, N) P(i is the best), None unless it is the target."""
    ranks = pad_sequence([torch.tensor(example.ranks) for example in examples], batch_first=True).to(device)
    if targets == "labels":
        return ranks, None
    soft = [torch.tensor(example.best_probabilities) for example in examples]
    return ranks, pad_sequence(soft, batch_first=True).to(device)


def make_optimizer(model: RewardModel, config: TrainConfig) -> torch.optim.AdamW:
    """AdamW over the trainable weights: one peak rate for the backbone, one for the heads; no decay of vectors."""
    groups: dict[tuple[float, float], list[Tensor]] = {}
    for name, weights in model.named_parameters():
        if weights.requires_grad:
            peak = config.learning_rate if name.startswith("backbone.") else config.head_learning_rate
            decay = config.weight_decay if weights.ndim > 1 else 0.0
            groups.setdefault((peak, decay), []).append(weights)
    settings = [{"lr": peak, "peak": peak, "weight_decay": decay} for peak, decay in groups]
    return torch.optim.AdamW([{"params": own, **each} for own, each in zip(groups.values(), settings, strict=True)])


def steps_of_epoch(examples: int, batch: int, *, seed: int, epoch: int) -> list[list[int]]:
    """The steps of an epoch, each a list of positions: every example once, shuffled; the last step may be smaller."""
    order = np.random.default_rng([seed, epoch]).permutation(examples).tolist()
    return [order[i : i + batch] for i in range(0, examples, batch)]


def learning_rate_scale(step: int, steps: int, *, warmup: float, schedule: Schedule) -> float:
    """Factor of the peak learning rate at step 0 … steps − 1: up to 1 over the first ``warmup`` share, then down."""
    rising = math.ceil(warmup * steps)
    if step < rising:
        return (step + 1) / (rising + 1)
    done = (step - rising) / max(1, steps - rising)
    if schedule == "cosine":
        return 0.5 * (1 + math.cos(math.pi * done))
    return 1.0 - done if schedule == "linear" else 1.0


def shuffled(example: Example, *, seed: int, epoch: int) -> Example:
    """The example with its responses in an order that depends on its id, the seed and the epoch."""
    rng = np.random.default_rng([seed, epoch, zlib.crc32(example.item_id.encode())])
    return example.permuted(rng.permutation(len(example.responses)).tolist())


def _open_log(path: Path, done: int) -> Callable[[dict[str, Any]], None]:
    """Append to metrics.jsonl. Lines of steps after ``done``, which a resumed training repeats, are removed first."""
    path.parent.mkdir(parents=True, exist_ok=True)
    old = path.read_text(encoding="utf-8").splitlines(keepends=True) if done and path.exists() else []
    complete = [line for line in old if line.endswith("\n")]  # a crash may have truncated the last one
    fresh = path.with_name(f".{path.name}.partial")
    fresh.write_text("".join(line for line in complete if json.loads(line)["step"] <= done), encoding="utf-8")
    fresh.replace(path)

    def append(row: dict[str, Any]) -> None:
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")

    return append
