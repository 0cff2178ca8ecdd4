"""Votes that depend on each other, or on more than the strengths: worlds that no ranker models."""

from __future__ import annotations

import numpy as np

from curate.array_types import Float, Index, Int8, Int32
from curate.votes.arrays import LEFT, RIGHT

TASTE_SHARES, CORRELATION = (0.6, 0.4), 0.3
"""Two taste groups: shares of the annotators; correlation of the strengths of both."""
SHIFT_VOTES, FATIGUE, SHIFT_BIAS = 60, 1.5, 1.0
"""Drift: votes of a shift; the fall of the log discrimination within one; standard deviation of the side bias at its
end, logits."""
CARELESS_PROMPTS, CARELESS_SHARE, CARELESS_BIAS = 0.2, 0.6, 4.0
"""Careless majority: share of the prompts; share of their annotators who choose one side throughout; its advantage,
logits."""
RING, COPIED = 0.1, 0.8
"""Copied votes: share of the annotators in the ring; share of their votes that copy one of its most active member's."""


def correlated(strength: Float) -> Float:
    """Return (2, R) strengths by two tastes, from independent ones."""
    return np.stack([strength[0], CORRELATION * strength[0] + np.sqrt(1 - CORRELATION**2) * strength[1]])


def drift(rng: np.random.Generator, annotator: Int32) -> tuple[Float, Float]:
    """Return (V,) factors of discrimination and (V,) added side biases. annotator: (V,) in the order of the votes."""
    order = np.argsort(annotator, kind="stable")
    first = np.searchsorted(annotator[order], annotator[order])
    number = np.empty(len(annotator), dtype=np.int64)  # of the vote among those of its annotator
    number[order] = np.arange(len(annotator)) - first
    shift, place = np.divmod(number, SHIFT_VOTES)
    _, of_shift = np.unique(annotator * (int(shift.max(initial=0)) + 1) + shift, return_inverse=True)
    bias = rng.normal(0.0, SHIFT_BIAS, int(of_shift.max(initial=-1)) + 1)[of_shift]
    return np.exp(-FATIGUE * place / SHIFT_VOTES), bias * place / SHIFT_VOTES


def careless(rng: np.random.Generator, prompt: Index, annotator: Int32, prompts: int, annotators: int) -> Float:
    """Return (V,) 1 where the annotator chooses left whatever the responses are, −1 right, 0 elsewhere."""
    bad = rng.random(prompts) < CARELESS_PROMPTS
    side = np.where(rng.random((prompts, annotators)) < 0.5, 1.0, -1.0)
    of_pair = (rng.random((prompts, annotators)) < CARELESS_SHARE) & bad[:, None]
    return np.where(of_pair, side, 0.0)[prompt, annotator]


def copied(
    rng: np.random.Generator, annotator: Int32, tickets: Index, left: Int32, right: Int32, outcome: Int8
) -> tuple[Int32, Int32, Int8]:
    """Return the votes after most of those of a ring of accounts are replaced by copies of its most active member's.

    The ring is a random share of the annotators. A copy is on the same two responses, in random order, and prefers the
    same one; no account votes twice on a pair.
    """
    left, right, outcome = left.copy(), right.copy(), outcome.copy()
    ring = rng.permutation(len(tickets))[: max(2, round(RING * len(tickets)))]
    leader = ring[np.argmax(tickets[ring])]
    source = np.flatnonzero(annotator == leader)
    pair = np.minimum(left, right).astype(np.int64) * (int(max(left.max(), right.max())) + 1) + np.maximum(left, right)
    for account in ring[ring != leader]:
        own = np.flatnonzero(annotator == account)
        fresh = source[~np.isin(pair[source], pair[own])]
        count = min(int(COPIED * len(own)), len(fresh))
        places, copies = rng.choice(own, count, replace=False), rng.choice(fresh, count, replace=False)
        turned = rng.random(count) < 0.5
        left[places], right[places] = (
            np.where(turned, right[copies], left[copies]),
            np.where(turned, left[copies], right[copies]),
        )
        swapped = np.where(outcome[copies] == LEFT, RIGHT, np.where(outcome[copies] == RIGHT, LEFT, outcome[copies]))
        outcome[places] = np.where(turned, swapped, outcome[copies])
    return left, right, outcome
