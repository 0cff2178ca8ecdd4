"""The processes of one training, which torchrun starts, each with a device of its own; or this process alone."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.nn.parallel import DistributedDataParallel
from transformers.modeling_layers import GradientCheckpointingLayer

from schemas.reward import TrainConfig

T = TypeVar("T")

ENVIRONMENT = {"RANK": 0, "WORLD_SIZE": 1, "LOCAL_RANK": 0}
"""Variables that torchrun sets, and their values without it."""
PATIENCE = timedelta(days=1)
"""A process waits so long for another one, which may check slower media, or write a checkpoint."""


@dataclass(frozen=True)
class Processes:
    """What a process knows of all processes of a training."""

    rank: int = 0
    count: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    """Of this process."""
    sharded: bool = False
    """Whether weights are sharded: then all processes take part in every pass, and must have equally many."""

    @property
    def first(self) -> bool:
        """Whether this is the process that writes files."""
        return self.rank == 0

    def wait(self) -> None:
        """Wait until every process has called this."""
        if self.count > 1:
            dist.barrier()

    def share(self, items: Sequence[T]) -> list[T]:
        """Every ``count``-th item, from ``rank``. With sharded weights all shares have one length, by repetition."""
        stop = -(-len(items) // self.count) * self.count if self.sharded else len(items)
        return [items[i % len(items)] for i in range(self.rank, stop, self.count)]

    def merge(self, results: Sequence[T], total: int) -> list[T]:
        """The results of all processes for their shares of ``total`` items, in the order of the items, in each one."""
        if self.count == 1:
            return list(results)
        parts: list[Any] = [None] * self.count
        dist.all_gather_object(parts, list(results))
        return [parts[i % self.count][i // self.count] for i in range(total)]

    def sum(self, value: Tensor) -> Tensor:
        """The sum over all processes."""
        if self.count > 1:
            dist.all_reduce(value)
        return value

    def repeated(self, passes: list[T]) -> list[T]:
        """With sharded weights: the passes, the last one repeated until every process has equally many."""
        if not self.sharded:
            return passes
        most = torch.tensor(len(passes), device=self.device)
        dist.all_reduce(most, dist.ReduceOp.MAX)
        return passes + passes[-1:] * (int(most) - len(passes))

    def distribute(self, model: nn.Module, config: TrainConfig) -> nn.Module:
        """The module to call in training: the model, its replica among several processes, or it sharded in place."""
        if self.sharded:
            self._shard(model, bfloat16=config.precision == "bfloat16")
        elif self.count > 1:
            # Where the vision tower is trained too, a step of texts alone does not use it.
            return DistributedDataParallel(model, find_unused_parameters=not config.lora)
        return model

    def _shard(self, model: nn.Module, *, bfloat16: bool) -> None:
        """Shard all weights, in place (FSDP2): each layer is gathered for its own computation and then freed again.

        bfloat16: gather the layers in it; gradients are summed, and weights updated, in their own precision.
        """
        mesh = init_device_mesh(self.device.type, (self.count,))
        policy = MixedPrecisionPolicy(torch.bfloat16, torch.float32) if bfloat16 else MixedPrecisionPolicy()
        for layer in [part for part in model.modules() if isinstance(part, GradientCheckpointingLayer)]:
            if any(weights.requires_grad for weights in layer.parameters()):
                fully_shard(layer, mesh=mesh, mp_policy=policy)
        # The rest as one unit, frozen layers too: a pass without media would not gather those of a vision tower.
        fully_shard(model, mesh=mesh)


ALONE = Processes()


def start_processes(*, sharded: bool = False) -> Processes:
    """The processes of the environment that torchrun sets (``WORLD_SIZE``, …). sharded: shard weights over them."""
    rank, count, local = (int(os.environ.get(name, default)) for name, default in ENVIRONMENT.items())
    device = torch.device("cpu")
    if torch.accelerator.is_available():
        torch.accelerator.set_device_index(local)
        device = torch.device(torch.accelerator.current_accelerator().type, local)  # type: ignore[union-attr]
    if count > 1 and not dist.is_initialized():
        dist.init_process_group(timeout=PATIENCE)
    return Processes(rank, count, device, sharded=sharded and count > 1)


# Tensors that are sharded, as whole ones.


def whole(value: Tensor) -> Tensor:
    """The whole tensor, of which each process may hold a part; every process calls this."""
    return value.full_tensor() if isinstance(value, DTensor) else value


def whole_state(model: nn.Module, processes: Processes) -> dict[str, Tensor] | None:
    """The state of a sharded model with whole tensors in the memory of the CPU; None where weights are not sharded.

    Every process calls this; the first one gets it, the others an empty one. Weights with two names are one tensor.
    """
    if not processes.sharded:
        return None
    keep = processes.first
    found: dict[str, Tensor] = {}
    seen: dict[int, Tensor] = {}
    for name, weights in model.state_dict(keep_vars=True).items():
        if id(weights) not in seen:
            gathered = whole(weights.detach())
            seen[id(weights)] = gathered.cpu() if keep else weights
        if keep:
            found[name] = seen[id(weights)]
    return found


def whole_optimizer_state(optimizer: torch.optim.Optimizer, *, keep: bool) -> dict[str, Any]:
    """The state of an optimizer with whole tensors; keep: whether this process needs it."""
    state = optimizer.state_dict()
    found: dict[int, dict[str, Tensor]] = {}
    for number, values in state["state"].items():
        for name, value in values.items():
            gathered = whole(value)
            if keep:
                found.setdefault(number, {})[name] = gathered.cpu() if isinstance(value, DTensor) else gathered
    return {**state, "state": found}


def load_optimizer_state(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Load a whole state into an optimizer, whose weights may be sharded."""
    weights = [each for group in optimizer.param_groups for each in group["params"]]
    for number, values in state["state"].items():
        own = weights[number]
        if isinstance(own, DTensor):
            for name in [name for name, value in values.items() if value.ndim]:  # the step is a number
                whole_value = values[name].to(own.device)
                values[name] = distribute_tensor(whole_value, own.device_mesh, own.placements, src_data_rank=None)
    optimizer.load_state_dict(state)
