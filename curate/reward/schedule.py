"""Which examples a step trains on, in which order, and at which rate: functions of the seed and the step alone.

Nothing here has a state, so that a training that goes on after a crash, or on other processes, does what it would have.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence

import numpy as np

from curate.reward.examples import Example
from schemas.training import Schedule


def steps_of_epoch(examples: int, batch: int, *, seed: int, epoch: int) -> list[list[int]]:
    """The steps of an epoch, each a list of positions: every example once, shuffled; the last step may be smaller."""
    order = np.random.default_rng([seed, epoch]).permutation(examples).tolist()
    return [order[i : i + batch] for i in range(0, examples, batch)]


def share(step: Sequence[int], rank: int, processes: int) -> list[tuple[int, float]]:
    """(position, weight) of the examples of one process. One that would have none gets the first, with weight 0, since
    every process must take part in every step."""
    own = [(position, 1.0) for position in step[rank::processes]]
    return own or [(step[0], 0.0)]


def rate(step: int, steps: int, *, warmup: float, schedule: Schedule) -> float:
    """What the learning rate is multiplied by at a step, 0 … steps − 1: it rises over the first ``warmup`` of the steps
    to 1, and falls to just above 0 at the last."""
    rising = math.ceil(warmup * steps)
    if step < rising:
        return (step + 1) / (rising + 1)
    done = (step - rising) / max(1, steps - rising)
    if schedule == "cosine":
        return 0.5 * (1 + math.cos(math.pi * done))
    return 1.0 - done if schedule == "linear" else 1.0


def shuffled(example: Example, *, seed: int, epoch: int) -> Example:
    """The example with its responses in an order that depends on it, the seed and the epoch."""
    rng = np.random.default_rng([seed, epoch, zlib.crc32(example.item_id.encode())])
    return example.permuted(rng.permutation(len(example.responses)).tolist())
