"""Greedy planning: the votes with the highest expected gain, one after another (see curate.planning.information)."""

from __future__ import annotations

import heapq
from collections.abc import Sequence

import numpy as np

from curate.array_types import Float, Index
from curate.planning.information import (
    Plan,
    PosteriorBatch,
    difference_variance,
    differences,
    laplacian,
    misorder_probability,
    root_of,
    vote_information,
    with_precision,
    with_vote,
)
from curate.rankers.hierarchical import HierarchicalFit
from curate.votes.arrays import VoteArrays
from schemas.choices import Focus

CERTAIN = 1e-3
"""A pair whose probability of a wrong order is below this is not asked."""
DRAWS = 400
"""Monte Carlo draws per prompt for the probability of being the best response."""


def posteriors_of(
    votes: VoteArrays,
    fit: HierarchicalFit,
    *,
    max_per_pair: int = 3,
    annotators: int = 0,
    per_sitting: int = 1,
    overdispersion: float = 1.0,
) -> tuple[PosteriorBatch, ...]:
    """The posterior of the fit, one batch for each of ``votes.graphs``.

    max_per_pair: maximum votes per pair. annotators: the number of annotators, none of whom gets a pair twice (0:
    unlimited). per_sitting: consecutive votes on a prompt that one annotator casts. overdispersion: factor by which
    votes carry less information than the fit assumes.
    """
    found, error = [], fit.prior.error_variance
    for graphs, covariance in zip(votes.graphs, fit.covariance, strict=True):
        mean = fit.strength[graphs.slots]
        difference, variance = differences(mean), difference_variance(covariance)
        room = np.full(difference.shape, max_per_pair, dtype=np.int64)
        if annotators:
            room = np.minimum(room, annotators - _annotators_per_pair(votes, graphs.prompts, len(mean[0])))
        uncertain = misorder_probability(difference, variance, variance) >= CERTAIN
        room = np.triu(np.where(uncertain, np.maximum(room, 0), 0), 1)
        information = vote_information(difference, variance + 2 * error, fit.annotators) / overdispersion
        information *= ~np.eye(len(mean[0]), dtype=np.bool_)
        batch = PosteriorBatch(
            graphs.prompts, graphs.slots, mean, covariance, information, room, overdispersion * error, per_sitting
        )
        found.append(batch)
    return tuple(found)


def plan_votes(
    posteriors: Sequence[PosteriorBatch], votes: int, *, focus: Focus = "order", min_per_prompt: int = 0
) -> Plan:
    """A greedy plan: each vote has the highest expected gain given those before it. Shorter if no pair has room left.

    focus: "order" weighs all pairs of a prompt equally, "best" by the product of their probabilities to be the best.
    min_per_prompt: votes that every prompt with open pairs gets before the others are assigned by gain.
    """
    state = [
        [before_sitting(own, posterior.error_variance) for own in posterior.covariance] for posterior in posteriors
    ]
    room = [posterior.room.copy() for posterior in posteriors]
    value = [laplacian(_variance_value(posterior, focus)) for posterior in posteriors]
    asked = [np.zeros(len(posterior.prompts), dtype=np.int64) for posterior in posteriors]

    def best_vote(batch: int, row: int) -> tuple[bool, float, int, int, int]:
        """The queue entry of the prompt's best vote."""
        gain = _gains(state[batch][row], posteriors[batch].information[row], value[batch][row])
        gain = np.where(room[batch][row] > 0, gain, 0.0)
        cell = int(gain.argmax())
        return bool(asked[batch][row] >= min_per_prompt), -float(gain.flat[cell]), batch, row, cell

    queue = [best_vote(b, row) for b, posterior in enumerate(posteriors) for row in range(len(posterior.prompts))]
    queue = [entry for entry in queue if entry[1] < 0]
    heapq.heapify(queue)
    picks: list[tuple[int, int, int, int]] = []
    while queue and len(picks) < votes:
        _, _, batch, row, cell = queue[0]
        posterior, n = posteriors[batch], posteriors[batch].slots.shape[1]
        i, j = divmod(cell, n)
        picks.append((batch, row, i, j))
        asked[batch][row] += 1
        room[batch][row][i, j] -= 1
        after = with_vote(state[batch][row], posterior.information[row, i, j], i - n, j - n)
        if posterior.error_variance and asked[batch][row] % posterior.per_sitting == 0:
            after = before_sitting(after[:n, :n], posterior.error_variance)
        state[batch][row] = after
        entry = best_vote(batch, row)
        if entry[1] < 0:
            heapq.heapreplace(queue, entry)
        else:
            heapq.heappop(queue)
    return _plan(np.array(picks, dtype=np.int64).reshape(-1, 4))


def random_votes(posteriors: Sequence[PosteriorBatch], votes: int, rng: np.random.Generator) -> Plan:
    """Votes on random pairs, as a baseline: uniform, and no pair is repeated before all have one."""
    pairs = []
    for b, posterior in enumerate(posteriors):
        i, j = np.triu_indices(posterior.slots.shape[1], 1)
        row, pair = np.divmod(np.arange(len(posterior.prompts) * len(i)), max(len(i), 1))
        pairs.append(np.stack([np.full(len(row), b), row, i[pair], j[pair]], axis=1))
    every = np.concatenate(pairs)
    rounds = [rng.permutation(len(every)) for _ in range(votes // max(1, len(every)) + 1)]
    return _plan(every[np.concatenate(rounds)[:votes]])


def _variance_value(posterior: PosteriorBatch, focus: Focus) -> Float:
    """(B, N, N) expected gain of tau per unit of variance that the difference of i and j loses, logits⁻².

    It is the mean slope over the reduction by one vote on every pair. The slope of a single vote would often be 0,
    because one vote rarely reverses an order, however close it comes.
    """
    n = posterior.mean.shape[1]
    difference, now = differences(posterior.mean), difference_variance(posterior.covariance)
    later = difference_variance(with_precision(posterior.covariance, laplacian(posterior.first_information)))
    gain = misorder_probability(difference, now, now) - misorder_probability(difference, now, later)
    lost = now - later
    mean: Float = np.where(lost > 1e-9 * now, gain / np.where(lost > 0, lost, 1.0), 0.0)
    value: Float = np.maximum(mean, 0.0) * 4 / max(1, n * (n - 1))  # a corrected pair adds 2 of n (n − 1) / 2 to tau
    if focus == "order":
        return value
    best = _best_probability(posterior)
    weighted: Float = value * best[:, :, None] * best[:, None, :]
    return weighted


def before_sitting(covariance: Float, error_variance: float) -> Float:
    """(2 N, 2 N) covariance of the strengths and of the strengths as the next annotator will perceive them.

    Without errors of perception both are the same, and it is the covariance (N, N) itself.
    """
    if not error_variance:
        return covariance
    both = np.tile(covariance, (2, 2))
    both[len(covariance) :, len(covariance) :] += error_variance * np.eye(len(covariance))
    return both


def _gains(covariance: Float, information: Float, weight: Float) -> Float:
    """(N, N) expected gain of one vote on i and j. weight: (N, N) Laplacian L of the value of variance.

    covariance: of ``before_sitting`` and the votes of the sitting. With the covariance Π of the perceived strengths and
    their covariance Γ with the strengths, the vote subtracts Jₑ (Γᵀe)(Γᵀe)ᵀ from the covariance of the strengths,
    with Jₑ = w / (1 + w eᵀΠe). The sum over pairs, weighted by their values, is Jₑ eᵀ(ΓLΓᵀ)e.
    """
    n = len(weight)
    perceived, both = covariance[-n:, -n:], covariance[-n:, :n]
    total = difference_variance(both @ weight @ both.T)
    gains: Float = total * information / (1 + information * difference_variance(perceived))
    return gains


def _best_probability(posterior: PosteriorBatch) -> Float:
    """(B, N) P(the response is its prompt's best), by Monte Carlo."""
    count, n = posterior.mean.shape
    root, probability = root_of(posterior.covariance), np.zeros((count, n))
    for normal in np.random.default_rng(0).standard_normal((DRAWS, n)):
        probability[np.arange(count), (posterior.mean + root @ normal).argmax(axis=1)] += 1 / DRAWS
    return probability


def _annotators_per_pair(votes: VoteArrays, prompts: Index, n: int) -> Index:
    """(B, N, N) number of named annotators who voted on i and j, for prompts of N responses."""
    place = np.full(len(votes.prompts), -1)
    place[prompts] = np.arange(len(prompts))
    prompt = votes.response_prompt[votes.left]
    mine = (place[prompt] >= 0) & (votes.annotator >= 0)
    first = votes.offsets[prompt[mine]]
    i, j = votes.left[mine] - first, votes.right[mine] - first
    cell = (place[prompt[mine]] * n + np.minimum(i, j)) * n + np.maximum(i, j)
    judged = np.unique(np.stack([cell, votes.annotator[mine].astype(np.int64)]), axis=1)[0]
    return np.bincount(judged, minlength=len(prompts) * n * n).reshape(len(prompts), n, n)


def pair_ids(votes: VoteArrays, posteriors: Sequence[PosteriorBatch], plan: Plan) -> list[tuple[str, str, str]]:
    """(prompt id, first response id, second response id) of every vote of the plan."""
    rows = []
    for batch, row, (i, j) in zip(plan.batch.tolist(), plan.row.tolist(), plan.pair.tolist(), strict=True):
        slots = posteriors[batch].slots[row]
        prompt = votes.prompts[posteriors[batch].prompts[row]]
        rows.append((prompt, votes.responses[slots[i]], votes.responses[slots[j]]))
    return rows


def _plan(picks: Index) -> Plan:
    return Plan(picks[:, 0], picks[:, 1], picks[:, 2:])
