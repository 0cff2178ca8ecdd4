"""The training loop: steps of examples, passes of like length, one backward a pass, a checkpoint now and then."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs, DistributedType, InitProcessGroupKwargs
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from curate.reward import checkpoint
from curate.reward.batch import chunks, shares_pass
from curate.reward.examples import Example
from curate.reward.loading import Loader
from curate.reward.loss import LOSSES
from curate.reward.model import RewardModel
from curate.reward.schedule import rate, share, shuffled, steps_of_epoch
from curate.reward.sequence import Encoded
from curate.shards.atomic import publishing
from schemas.errors import CurateError
from schemas.training import Targets, TrainConfig

METRICS = "metrics.jsonl"
STATE = "training_state.json"
CHECKPOINTS = "checkpoints"
WHOLE = (DistributedType.NO, DistributedType.MULTI_CPU, DistributedType.MULTI_GPU)
"""Ways of training in which every process holds the whole model."""


@dataclass(frozen=True)
class Look:
    """What a training hands out as it goes."""

    step: int
    steps: int
    figures: dict[str, Any]


def make_accelerator(config: TrainConfig) -> Accelerator:
    """The processes that torchrun started, or this one alone, and the precision of the config."""
    # Where the vision tower is trained too, a step of texts alone does not use it.
    unused = DistributedDataParallelKwargs(find_unused_parameters=not config.lora)
    # The others wait while the first process reads all media, or judges: that takes as long as it takes.
    patient = InitProcessGroupKwargs(timeout=timedelta(days=7))
    precision = "bf16" if config.precision == "bfloat16" else "no"
    try:
        accelerator = Accelerator(mixed_precision=precision, kwargs_handlers=[unused, patient])
    except ValueError as error:  # accelerate gives a process one precision for good
        raise CurateError(f"{precision}: {error}", hint="train in a process of its own") from error
    if accelerator.distributed_type not in WHOLE:  # looks and checkpoints, by the first process alone, would never end
        kind = accelerator.distributed_type.value
        raise CurateError(f"{kind}: weights spread over processes are not trained here", hint="start it with torchrun")
    return accelerator


def fit(
    model: RewardModel,
    loader: Loader,
    examples: Sequence[Example],
    config: TrainConfig,
    out: Path,
    *,
    accelerator: Accelerator,
    evaluate: Callable[[RewardModel], dict[str, Any]] | None = None,
    resume: bool = False,
    tell: Callable[[Look], None] = lambda _look: None,
) -> RewardModel:
    """Train the model on the examples, all of which can train (``Loader.check``); returns it.

    out: gets metrics.jsonl (a line a step and an evaluation) and checkpoints/step-000040, … Each is whole or not there.
    evaluate: figures of the model on held-out examples. resume: go on from the newest checkpoint: on a CPU the result
    is that of a training that was never stopped, to the bit. Every process calls this alike; the first one writes.
    """
    epochs = [
        steps_of_epoch(len(examples), config.batch, seed=config.seed, epoch=epoch) for epoch in range(config.epochs)
    ]
    steps = sum(map(len, epochs))
    if config.activation_checkpointing:
        model.backbone.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    optimizer = make_optimizer(model, config)
    origin = {"config": config.model_dump(mode="json"), "examples": _digest(examples)}
    begin = _restore(model, optimizer, out, origin) if resume else 0
    wrapped, optimizer = accelerator.prepare(model, optimizer)
    log = _Log(out / METRICS, begin, accelerator.is_main_process)
    first = 0
    for epoch, planned in enumerate(epochs):
        todo = planned[max(0, begin - first) :]
        groups = [share(step, accelerator.process_index, accelerator.num_processes) for step in todo]
        encoded = loader.stream([[_shown(examples[i], config, epoch) for i, _ in group] for group in groups])
        for number, (positions, group) in enumerate(
            zip(todo, groups, strict=True), start=first + len(planned) - len(todo)
        ):
            torch.manual_seed(config.seed * 1_000_003 + number * accelerator.num_processes + accelerator.process_index)
            factor = rate(number, steps, warmup=config.warmup, schedule=config.schedule)
            for settings in optimizer.param_groups:
                settings["lr"] = settings["peak"] * factor
            shown = [(_shown(examples[i], config, epoch), weight / len(positions)) for i, weight in group]
            wrapped.train()
            loss = _passes(wrapped, next(encoded), shown, config, accelerator)
            norm = accelerator.clip_grad_norm_(wrapped.parameters(), config.clip)
            optimizer.step()
            optimizer.zero_grad()
            done = number + 1
            figures = {"epoch": epoch, "loss": _total(loss, accelerator), "rate": factor, "norm": float(norm)}
            log.write({"step": done, **figures})
            ends = done == first + len(planned)
            if evaluate and (done % config.evaluate_every == 0 if config.evaluate_every else ends):
                seen = evaluate(accelerator.unwrap_model(wrapped)) if accelerator.is_main_process else {}
                log.write({"step": done, **seen})
                figures |= seen
                accelerator.wait_for_everyone()
            if done % config.checkpoint_every == 0 if config.checkpoint_every else ends:
                _store(wrapped, optimizer, out, done, config.keep, origin, accelerator)
            tell(Look(done, steps, figures))
        first += len(planned)
    return accelerator.unwrap_model(wrapped)  # type: ignore[no-any-return]


def _passes(
    model: Any,
    encoded: Sequence[Encoded],
    shown: Sequence[tuple[Example, float]],
    config: TrainConfig,
    accelerator: Accelerator,
) -> Tensor:
    """Forward and backward over the examples of this process; their loss, weighted.

    The gradient is that of the mean over all examples of the step, on however many passes and processes they fall.
    """
    lengths = [len(sequence.input_ids) for sequence in encoded]
    parts = chunks(lengths, config.pass_tokens, alone=[not shares_pass(sequence) for sequence in encoded])
    total = torch.zeros((), device=accelerator.device)
    for number, part in enumerate(parts):
        with _synchronised(model, accelerator, number == len(parts) - 1):
            batch = accelerator.unwrap_model(model).collate([encoded[i] for i in part])
            with accelerator.autocast():
                scores = model(batch)
            ranks, soft = labels([shown[i][0] for i in part], config.targets, scores.device)
            losses = LOSSES[config.loss](scores, ranks, batch.present, soft)
            weight = torch.tensor([shown[i][1] for i in part], device=scores.device)
            loss = (losses * weight).sum()
            # Gradients of processes are averaged, and this one has only its own part of the sum.
            accelerator.backward(loss * accelerator.num_processes)
            total += loss.detach()
    return total


def labels(examples: Sequence[Example], targets: Targets, device: torch.device) -> tuple[Tensor, Tensor | None]:
    """(B, N) ranks, 0 where there is no response, and (B, N) P(i is the best) where it is aimed at."""
    ranks = pad_sequence([torch.tensor(example.ranks) for example in examples], batch_first=True).to(device)
    if targets == "labels":
        return ranks, None
    soft = [torch.tensor(example.best_probabilities) for example in examples]
    return ranks, pad_sequence(soft, batch_first=True).to(device)


def make_optimizer(model: RewardModel, config: TrainConfig) -> torch.optim.AdamW:
    """AdamW over what is trained: the backbone's part at one rate, the heads' at another; vectors do not decay."""
    groups: dict[tuple[float, float], list[Tensor]] = {}
    for name, weights in model.named_parameters():
        if weights.requires_grad:
            peak = config.learning_rate if name.startswith("backbone.") else config.head_learning_rate
            decay = config.weight_decay if weights.ndim > 1 else 0.0
            groups.setdefault((peak, decay), []).append(weights)
    return torch.optim.AdamW(
        [
            {"params": weights, "lr": peak, "peak": peak, "weight_decay": decay}
            for (peak, decay), weights in groups.items()
        ]
    )


def _shown(example: Example, config: TrainConfig, epoch: int) -> Example:
    """As it is shown in this epoch: where order counts, in another order each time."""
    return shuffled(example, seed=config.seed, epoch=epoch) if config.layout == "causal" else example


def _synchronised(model: Any, accelerator: Accelerator, last: bool) -> Any:
    """Gradients of processes meet once a step, at its last pass."""
    return accelerator.accumulate(model) if last else accelerator.no_sync(model)


def _total(loss: Tensor, accelerator: Accelerator) -> float:
    return float(accelerator.reduce(loss, reduction="sum"))


def _digest(examples: Sequence[Example]) -> str:
    """Of which examples there are, and in which order."""
    return hashlib.sha256(json.dumps([example.item_id for example in examples]).encode()).hexdigest()[:16]


def _store(
    wrapped: Any, optimizer: Any, out: Path, done: int, keep: int, origin: dict[str, Any], accelerator: Accelerator
) -> None:
    """A checkpoint that is whole or not there; older ones than ``keep`` go. origin: what it must be resumed with."""
    state = accelerator.get_state_dict(wrapped)
    if accelerator.is_main_process:
        folder = out / CHECKPOINTS / f"step-{done:06d}"
        shutil.rmtree(folder, ignore_errors=True)
        with publishing(folder) as fresh:
            checkpoint.save(accelerator.unwrap_model(wrapped), fresh, state)
            torch.save(optimizer.state_dict(), fresh / "optimizer.pt")
            (fresh / STATE).write_text(json.dumps({"step": done, **origin}, indent=2) + "\n", encoding="utf-8")
        for old in _checkpoints(out)[:-keep]:
            shutil.rmtree(old)
    accelerator.wait_for_everyone()


def _restore(model: RewardModel, optimizer: torch.optim.Optimizer, out: Path, origin: dict[str, Any]) -> int:
    """Take up the newest checkpoint; the steps that are done, 0 where there is none yet."""
    found = _checkpoints(out)
    if not found:
        return 0
    newest = found[-1]
    state = json.loads((newest / STATE).read_text(encoding="utf-8"))
    changed = [key for key, value in origin["config"].items() if state["config"].get(key) != value]
    if not changed and state["examples"] != origin["examples"]:
        raise CurateError(
            f"{newest}: was made with other examples", hint="their data changed: begin anew in another --out"
        )
    if changed:
        raise CurateError(
            f"{newest}: was made with another {', '.join(changed)}",
            hint="resume with the config that the training began with, or begin anew in another --out",
        )
    checkpoint.load_weights(model, newest)
    optimizer.load_state_dict(torch.load(newest / "optimizer.pt", map_location="cpu", weights_only=True))
    return int(state["step"])


def newest_step(out: Path) -> int:
    """The steps done at the newest checkpoint; 0 where there is none."""
    found = _checkpoints(out)
    return int(json.loads((found[-1] / STATE).read_text(encoding="utf-8"))["step"]) if found else 0


def _checkpoints(out: Path) -> list[Path]:
    """The whole ones, oldest first."""
    return sorted(path.parent for path in (out / CHECKPOINTS).glob(f"step-*/{STATE}"))


class _Log:
    """metrics.jsonl: lines of steps that are done again after a crash are replaced."""

    def __init__(self, path: Path, begin: int, writes: bool) -> None:
        self.path, self.writes = path, writes
        if writes:
            path.parent.mkdir(parents=True, exist_ok=True)
            kept = [line for line in _lines(path) if json.loads(line)["step"] <= begin] if begin else []
            fresh = path.with_name(f".{path.name}.partial")
            fresh.write_text("".join(kept), encoding="utf-8")
            fresh.replace(path)

    def write(self, figures: dict[str, Any]) -> None:
        if self.writes:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(figures) + "\n")


def _lines(path: Path) -> Iterator[str]:
    """The whole lines: a crash may have cut the last one."""
    if path.exists():
        with path.open(encoding="utf-8") as file:
            yield from (line for line in file if line.endswith("\n"))
