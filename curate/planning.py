"""Which votes to ask next: those that are expected to settle most of the order, and what they are expected to gain.

Strengths have the normal posterior of the joint model. A vote on (i, j) is foreseen before its outcome, as that of an
annotator drawn by how much each has voted: on average it takes J (Σe)(Σe)ᵀ off the covariance Σ, where e = eᵢ − eⱼ and
J is what the outcome says of the mean gap (``vote_information``). The means will move: seen from now, the later mean of
a gap is normal around the present one, with the variance that the gap loses. Each chance of a wrong order is foreseen
over all that the votes may say (``misorder``).

What votes teach of models and annotators is not foreseen, so that gains come out a little low.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.ndimage import map_coordinates
from scipy.special import ndtr, owens_t

from curate.agreement import best_of, top1
from curate.rankers.joint import JointFit
from curate.rankers.joint_annotators import DISCRIMINATION, TIE, Annotators
from curate.rankers.joint_votes import davidson
from curate.votes import VoteArrays
from schemas.plan import Focus

Float = npt.NDArray[np.float64]
Int = npt.NDArray[np.int64]

CERTAIN = 1e-3
"""A pair whose chance of a wrong order is below this is not asked."""
CLASSES = 8
"""Annotators are foreseen as so many kinds, by discrimination."""
NODES = np.linspace(-5.0, 5.0, 101)
"""Quadrature nodes, standard deviations of a gap around its mean."""
GRID = np.linspace(0.0, np.log1p(60.0), 61)
"""Gaps and deviations at which the information of a vote is computed, log(1 + logits); linear between them."""
DRAWS = 400
"""Draws of each prompt's strengths that say who may be its best."""
SCORED = 20_000
"""Draws over all prompts by which top-1 and best-of-4 are foreseen: ± 0.004, much less between two plans."""
CELLS = 1_000_000
"""Pairs of draws that are held in memory at a time, 8 bytes each a few times over."""


@dataclass(frozen=True)
class Beliefs:
    """What is known of B prompts with N responses each, and what one more vote on any pair would tell."""

    prompts: Int
    """(B,) which prompts."""
    slots: Int
    """(B, N) the numbers of their responses."""
    mean: Float
    """(B, N) posterior mean of strength, logits."""
    covariance: Float
    """(B, N, N) posterior covariance."""
    information: Float
    """(B, N, N) precision that one vote adds to the gap of i and j, 1 / logits²; 0 on the diagonal."""
    room: Int
    """(B, N, N) votes that may still be asked on i and j; filled above the diagonal only."""

    def of_prompts(self, keep: npt.NDArray[np.bool_]) -> Beliefs:
        """The same of the chosen prompts only. keep: (P,)."""
        rows = keep[self.prompts]
        return Beliefs(*(getattr(self, field.name)[rows] for field in fields(self)))


@dataclass(frozen=True)
class Plan:
    """V votes to ask, the most telling first: its first votes are the plan for a smaller budget."""

    batch: Int
    """(V,) which Beliefs."""
    row: Int
    """(V,) which of its prompts."""
    pair: Int
    """(V, 2) which of the prompt's responses, the smaller number first."""

    def first(self, votes: int) -> Plan:
        """The first of its votes."""
        return Plan(self.batch[:votes], self.row[:votes], self.pair[:votes])


class Foreseen(NamedTuple):
    """Expected accuracy of the order by posterior means, mean over prompts; NaN where all have too few responses."""

    tau: float
    """Kendall's tau to the true order."""
    top1: float
    """Share of prompts whose first is truly best."""
    best_of_4: float
    """Share of random fours whose first is truly their best."""


def beliefs_of(votes: VoteArrays, fit: JointFit, *, most: int = 3, people: int = 0) -> tuple[Beliefs, ...]:
    """What the fit says, one for each batch of ``votes.graphs``.

    most: votes that may be asked on a pair. people: annotators there will be; nobody is asked twice about a pair
    (0: there is no end of them).
    """
    found = []
    for graphs, covariance in zip(votes.graphs, fit.covariance, strict=True):
        mean = fit.strength[graphs.slots]
        gap, variance = _gaps(mean), _gap_variance(covariance)
        room = np.full(gap.shape, most, dtype=np.int64)
        if people:
            room = np.minimum(room, people - _judges(votes, graphs.prompts, len(mean[0])))
        doubtful = misorder(gap, variance, variance) >= CERTAIN
        room = np.triu(np.where(doubtful, np.maximum(room, 0), 0), 1)
        information = vote_information(gap, variance, fit.annotators) * ~np.eye(len(mean[0]), dtype=np.bool_)
        found.append(Beliefs(graphs.prompts, graphs.slots, mean, covariance, information, room))
    return tuple(found)


def misorder(gap: Float, variance: Float, left: Float) -> Float:
    """P(a pair is ordered wrongly by the mean of its gap, once only ``left`` of the gap's variance is left).

    gap, variance: of the posterior now. The later mean is N(gap, variance − left), the gap itself N(gap, variance), and
    their correlation ρ = √(1 − left / variance): they differ in sign with chance 2 T(|gap| / √variance, √(1 − ρ²) / ρ),
    where T is the function of Owen ("Tables for computing bivariate normal probabilities", 1956, equation 3.1). Nothing
    learned: Φ(−|gap| / √variance). At gap 0: arccos(ρ) / π.
    """
    variance = np.maximum(variance, 1e-300)
    share = np.clip(left / variance, 0.0, 1.0)
    z = np.abs(gap) / np.sqrt(variance)
    slope = np.sqrt(share / np.maximum(1 - share, 1e-300))
    chance: Float = np.where(share > 1 - 1e-12, ndtr(-z), 2 * owens_t(z, slope))
    return chance


def vote_information(gap: Float, variance: Float, annotators: Annotators) -> Float:
    """Precision that a vote on a pair adds to its gap N(gap, variance), 1 / logits²; any shape.

    The outcome o has the chance pₒ(m), m the mean gap; by Stein's identity the later mean of the gap has the variance
    v² J, J = Σ p′ₒ² / pₒ, averaged over annotators: the gap keeps v − v² J, as if J / (1 − v J) were added to 1 / v.
    """
    at = [np.log1p(np.minimum(x, 60.0)) / GRID[1] for x in (np.abs(gap), np.sqrt(variance))]
    part = map_coordinates(_learned(annotators), at, order=1, mode="nearest")  # v J: share of the variance taken off
    added: Float = part / (1 - part) / np.maximum(variance, 1e-300)
    return np.where(variance > 0, added, 0.0)


def plan_votes(beliefs: Sequence[Beliefs], votes: int, *, focus: Focus = "order", least: int = 0) -> Plan:
    """The votes to ask, one after another the one that gains most, given those before it; fewer where no more may be.

    focus: "order" counts all pairs of a prompt alike, "best" by the product of their chances to be its best. least:
    votes that every prompt gets, where it has open pairs, before the rest is shared out by gain.
    """
    state = [belief.covariance.copy() for belief in beliefs]
    room = [belief.room.copy() for belief in beliefs]
    stakes = [_laplacian(_stakes(belief, focus)) for belief in beliefs]
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
        state[batch][row] = _with_vote(state[batch][row], beliefs[batch].information[row, i, j], i, j)
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


def foresee(beliefs: Sequence[Beliefs], plan: Plan, *, seed: int = 0) -> Foreseen:
    """Expected accuracy once the plan's votes are in, over all that they may say. tau is exact for the foreseen
    covariances, the others by draws that are the same for every plan."""
    rng = np.random.default_rng(seed)
    draws = max(4, SCORED // max(1, sum(len(belief.prompts) for belief in beliefs)))
    tau, first, four = [], [], []
    for b, belief in enumerate(beliefs):
        n = belief.mean.shape[1]
        later = _after(belief, plan, b)
        wrong = misorder(_gaps(belief.mean), _gap_variance(belief.covariance), _gap_variance(later))
        i, j = np.triu_indices(n, 1)
        if len(i):
            tau.append(1 - 2 * wrong[:, i, j].mean(axis=1))
        moves, rests = _root(belief.covariance - later), _root(later)
        at_once = max(1, CELLS // (belief.mean.size * n))
        for start in range(0, draws, at_once):
            shape = (min(at_once, draws - start), *belief.mean.shape)
            mean = belief.mean + _times(moves, rng.standard_normal(shape))
            truth = mean + _times(rests, rng.standard_normal(shape))
            offsets = np.arange(shape[0] * shape[1] + 1) * n
            first.append(top1(mean.ravel(), truth.ravel(), offsets))
            four.append(best_of(mean.ravel(), truth.ravel(), offsets))
    return Foreseen(*(_mean(values) for values in (tau, first, four)))


def _stakes(belief: Beliefs, focus: Focus) -> Float:
    """(B, N, N) how much tau gains for each unit of variance that the gap of i and j loses, logits⁻².

    The mean over the stretch that one vote on every pair would cover: a single vote seldom turns an order round, and
    judged by itself would be worth nothing, however near it brought the turn.
    """
    n = belief.mean.shape[1]
    gap, now = _gaps(belief.mean), _gap_variance(belief.covariance)
    later = _gap_variance(_with_precision(belief.covariance, belief.information))
    gain = misorder(gap, now, now) - misorder(gap, now, later)
    lost = now - later
    mean: Float = np.where(lost > 1e-9 * now, gain / np.where(lost > 0, lost, 1.0), 0.0)
    stakes: Float = np.maximum(mean, 0.0) * 4 / max(1, n * (n - 1))  # a pair put right is 2 of n (n − 1) / 2 in tau
    if focus == "order":
        return stakes
    best = _best_chance(belief)
    contended: Float = stakes * best[:, :, None] * best[:, None, :]
    return contended


def _gains(covariance: Float, information: Float, laplacian: Float) -> Float:
    """(N, N) expected gain of one vote on i and j. laplacian: of the stakes.

    The vote takes Jₑ (Σe)(Σe)ᵀ off the covariance Σ, Jₑ = w / (1 + w eᵀΣe); summed over pairs with their stakes, that
    is Jₑ eᵀ(ΣLΣ)e.
    """
    spread = _gap_variance(covariance @ laplacian @ covariance)
    gains: Float = spread * information / (1 + information * _gap_variance(covariance))
    return gains


def _with_vote(covariance: Float, information: float, i: int, j: int) -> Float:
    """(N, N) the covariance after a vote on i and j (Sherman and Morrison, 1950)."""
    column = covariance[:, i] - covariance[:, j]
    after: Float = covariance - np.outer(column, column) * (information / (1 + information * (column[i] - column[j])))
    return after


def _with_precision(covariance: Float, added: Float) -> Float:
    """(B, N, N) the covariance once precision ``added`` (B, N, N) is on the gaps: (Σ⁻¹ + L)⁻¹, Σ not inverted."""
    after = np.linalg.solve(np.eye(covariance.shape[1]) + covariance @ _laplacian(added), covariance)
    symmetric: Float = (after + after.swapaxes(1, 2)) / 2
    return symmetric


def _after(belief: Beliefs, plan: Plan, batch: int) -> Float:
    """(B, N, N) the covariance once the plan's votes on this batch are in."""
    mine = plan.batch == batch
    asked = np.zeros_like(belief.information)
    np.add.at(asked, (plan.row[mine], plan.pair[mine, 0], plan.pair[mine, 1]), 1.0)
    return _with_precision(belief.covariance, (asked + asked.swapaxes(1, 2)) * belief.information)


def _best_chance(belief: Beliefs) -> Float:
    """(B, N) P(the response is its prompt's best), by draws."""
    count, n = belief.mean.shape
    root, chance = _root(belief.covariance), np.zeros((count, n))
    for normal in np.random.default_rng(0).standard_normal((DRAWS, n)):
        chance[np.arange(count), (belief.mean + root @ normal).argmax(axis=1)] += 1 / DRAWS
    return chance


def _learned(annotators: Annotators) -> Float:
    """(len(GRID), len(GRID)) share v J of a gap's variance that a vote takes off on average, by mean and deviation."""
    mean, deviation = np.expm1(GRID)[:, None, None], np.maximum(np.expm1(GRID), 1e-3)[None, :, None]
    weight = np.exp(-(NODES**2) / 2)
    weight /= weight.sum()
    taken = np.zeros((len(GRID), len(GRID)))
    for share, rate, tie in zip(*_kinds(annotators), strict=True):
        d = rate * (mean + deviation * NODES)
        for side in (1.0, -1.0, 0.0):
            chance = np.exp(davidson(d, np.full_like(d, tie), np.full_like(d, side)))
            # √v p′ₒ = E[pₒ z], z the gap's standard score (Stein's identity)
            taken += share * (chance @ (weight * NODES)) ** 2 / np.maximum(chance @ weight, 1e-300)
    return taken


def _kinds(annotators: Annotators) -> tuple[Float, Float, Float]:
    """(≤ CLASSES,) share of votes, mean discrimination and mean tie parameter of annotators of like discrimination."""
    rate, tie = annotators.value[:, DISCRIMINATION], annotators.value[:, TIE]
    order = np.argsort(rate, kind="stable")
    votes = annotators.votes[order]
    middle = (np.cumsum(votes) - votes / 2) / votes.sum()
    kind = np.minimum((middle * CLASSES).astype(np.int64), CLASSES - 1)
    total = np.bincount(kind, votes, CLASSES)
    used = total > 0
    rates, ties = (np.bincount(kind, votes * x[order], CLASSES)[used] / total[used] for x in (rate, tie))
    return total[used] / total.sum(), rates, ties


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


def _gaps(mean: Float) -> Float:
    """(B, N, N) mean of i − mean of j."""
    return mean[:, :, None] - mean[:, None, :]


def _gap_variance(covariance: Float) -> Float:
    """(…, N, N) variance of i − j; of any symmetric matrix A: (eᵢ − eⱼ)ᵀ A (eᵢ − eⱼ), never below 0."""
    own = np.diagonal(covariance, axis1=-2, axis2=-1)
    variance: Float = np.maximum(own[..., :, None] + own[..., None, :] - 2 * covariance, 0.0)
    return variance


def _laplacian(weights: Float) -> Float:
    """(B, N, N) Σ weights · (eᵢ − eⱼ)(eᵢ − eⱼ)ᵀ over pairs. weights: (B, N, N) symmetric, 0 on the diagonal."""
    laplacian: Float = np.eye(weights.shape[-1]) * weights.sum(axis=-1)[..., None] - weights
    return laplacian


def _root(matrix: Float) -> Float:
    """(B, N, N) symmetric square roots; what is below 0 by rounding counts as 0."""
    value, vector = np.linalg.eigh(matrix)
    root: Float = (vector * np.sqrt(np.maximum(value, 0.0))[:, None, :]) @ vector.swapaxes(1, 2)
    return root


def _times(matrix: Float, vector: Float) -> Float:
    """(…, B, N) products of (B, N, N) and (…, B, N)."""
    return (matrix @ vector[..., None])[..., 0]


def _plan(picks: Int) -> Plan:
    return Plan(picks[:, 0], picks[:, 1], picks[:, 2:])


def _mean(values: list[Float]) -> float:
    """Mean of what is not NaN; NaN where there is nothing."""
    known = np.concatenate(values) if values else np.zeros(0)
    known = known[~np.isnan(known)]
    return float(known.mean()) if len(known) else float("nan")
