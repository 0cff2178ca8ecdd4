"""Which votes to ask next: one after another, those that are expected to settle most (curate.planning.information)."""

from __future__ import annotations

import heapq
from collections.abc import Sequence

import numpy as np

from curate.planning.information import (
    Beliefs,
    Float,
    Int,
    Plan,
    gap_variance,
    gaps,
    laplacian,
    misorder,
    root_of,
    vote_information,
    with_precision,
    with_vote,
)
from curate.rankers.hierarchical import HierarchicalFit
from curate.votes.arrays import VoteArrays
from schemas.plan import Focus

CERTAIN = 1e-3
"""A pair whose chance of a wrong order is below this is not asked."""
DRAWS = 400
"""Draws of each prompt's strengths that say who may be its best."""


def beliefs_of(votes: VoteArrays, fit: HierarchicalFit, *, most: int = 3, people: int = 0) -> tuple[Beliefs, ...]:
    """What the fit says, one for each batch of ``votes.graphs``.

    most: votes that may be asked on a pair. people: annotators there will be; nobody is asked twice about a pair
    (0: there is no end of them).
    """
    found = []
    for graphs, covariance in zip(votes.graphs, fit.covariance, strict=True):
        mean = fit.strength[graphs.slots]
        gap, variance = gaps(mean), gap_variance(covariance)
        room = np.full(gap.shape, most, dtype=np.int64)
        if people:
            room = np.minimum(room, people - _judges(votes, graphs.prompts, len(mean[0])))
        doubtful = misorder(gap, variance, variance) >= CERTAIN
        room = np.triu(np.where(doubtful, np.maximum(room, 0), 0), 1)
        information = vote_information(gap, variance, fit.annotators) * ~np.eye(len(mean[0]), dtype=np.bool_)
        found.append(Beliefs(graphs.prompts, graphs.slots, mean, covariance, information, room))
    return tuple(found)


def plan_votes(beliefs: Sequence[Beliefs], votes: int, *, focus: Focus = "order", least: int = 0) -> Plan:
    """The votes to ask, one after another the one that gains most, given those before it; fewer where no more may be.

    focus: "order" counts all pairs of a prompt alike, "best" by the product of their chances to be its best. least:
    votes that every prompt gets, where it has open pairs, before the rest is shared out by gain.
    """
    state = [belief.covariance.copy() for belief in beliefs]
    room = [belief.room.copy() for belief in beliefs]
    stakes = [laplacian(_stakes(belief, focus)) for belief in beliefs]
    asked = [np.zeros(len(belief.prompts), dtype=np.int64) for belief in beliefs]

    def offer(batch: int, row: int) -> tuple[bool, float, int, int, int]:
        """The prompt's best vote, in the order in which offers are taken."""
        cov = state[batch][row]
        gain = _gains(cov, beliefs[batch].information[row], stakes[batch][row])
        gain = np.where(room[batch][row] > 0, gain, 0.0)
        cell = int(gain.argmax())
        return bool(asked[batch][row] >= least), -float(gain.flat[cell]), batch, row, cell

    heap = [offer(b, row) for b, belief in enumerate(beliefs) for row in range(len(belief.prompts))]
    heap = [entry for entry in heap if entry[1] < 0]
    heapq.heapify(heap)
    picks: list[tuple[int, int, int, int]] = []
    while heap and len(picks) < votes:
        _, _, batch, row, cell = heap[0]
        i, j = divmod(cell, beliefs[batch].slots.shape[1])
        picks.append((batch, row, i, j))
        asked[batch][row] += 1
        room[batch][row][i, j] -= 1
        state[batch][row] = with_vote(state[batch][row], beliefs[batch].information[row, i, j], i, j)
        entry = offer(batch, row)
        if entry[1] < 0:
            heapq.heapreplace(heap, entry)
        else:
            heapq.heappop(heap)
    return _plan(np.array(picks, dtype=np.int64).reshape(-1, 4))


def random_votes(beliefs: Sequence[Beliefs], votes: int, rng: np.random.Generator) -> Plan:
    """As many votes on pairs drawn at random, for comparison: every pair as likely, none again before all have one."""
    pairs = []
    for b, belief in enumerate(beliefs):
        i, j = np.triu_indices(belief.slots.shape[1], 1)
        row, pair = np.divmod(np.arange(len(belief.prompts) * len(i)), max(len(i), 1))
        pairs.append(np.stack([np.full(len(row), b), row, i[pair], j[pair]], axis=1))
    every = np.concatenate(pairs)
    rounds = [rng.permutation(len(every)) for _ in range(votes // max(1, len(every)) + 1)]
    return _plan(every[np.concatenate(rounds)[:votes]])


def _stakes(belief: Beliefs, focus: Focus) -> Float:
    """(B, N, N) how much tau gains for each unit of variance that the gap of i and j loses, logits⁻².

    The mean over the stretch that one vote on every pair would cover: a single vote seldom turns an order round, and
    judged by itself would be worth nothing, however near it brought the turn.
    """
    n = belief.mean.shape[1]
    gap, now = gaps(belief.mean), gap_variance(belief.covariance)
    later = gap_variance(with_precision(belief.covariance, belief.information))
    gain = misorder(gap, now, now) - misorder(gap, now, later)
    lost = now - later
    mean: Float = np.where(lost > 1e-9 * now, gain / np.where(lost > 0, lost, 1.0), 0.0)
    stakes: Float = np.maximum(mean, 0.0) * 4 / max(1, n * (n - 1))  # a pair put right is 2 of n (n − 1) / 2 in tau
    if focus == "order":
        return stakes
    best = _best_chance(belief)
    contended: Float = stakes * best[:, :, None] * best[:, None, :]
    return contended


def _gains(covariance: Float, information: Float, weight: Float) -> Float:
    """(N, N) expected gain of one vote on i and j. weight: (N, N) Laplacian L of the stakes.

    The vote takes Jₑ (Σe)(Σe)ᵀ off the covariance Σ, Jₑ = w / (1 + w eᵀΣe); summed over pairs with their stakes, that
    is Jₑ eᵀ(ΣLΣ)e.
    """
    spread = gap_variance(covariance @ weight @ covariance)
    gains: Float = spread * information / (1 + information * gap_variance(covariance))
    return gains


def _best_chance(belief: Beliefs) -> Float:
    """(B, N) P(the response is its prompt's best), by draws."""
    count, n = belief.mean.shape
    root, chance = root_of(belief.covariance), np.zeros((count, n))
    for normal in np.random.default_rng(0).standard_normal((DRAWS, n)):
        chance[np.arange(count), (belief.mean + root @ normal).argmax(axis=1)] += 1 / DRAWS
    return chance


def _judges(votes: VoteArrays, prompts: Int, n: int) -> Int:
    """(B, N, N) how many named annotators have judged i and j, for prompts of N responses."""
    place = np.full(len(votes.prompts), -1)
    place[prompts] = np.arange(len(prompts))
    prompt = votes.response_prompt[votes.left]
    mine = (place[prompt] >= 0) & (votes.annotator >= 0)
    first = votes.offsets[prompt[mine]]
    i, j = votes.left[mine] - first, votes.right[mine] - first
    cell = (place[prompt[mine]] * n + np.minimum(i, j)) * n + np.maximum(i, j)
    judged = np.unique(np.stack([cell, votes.annotator[mine].astype(np.int64)]), axis=1)[0]
    return np.bincount(judged, minlength=len(prompts) * n * n).reshape(len(prompts), n, n)


def _plan(picks: Int) -> Plan:
    return Plan(picks[:, 0], picks[:, 1], picks[:, 2:])
