"""The likelihood of votes: Davidson's model, averaged over the posterior of each gap, and its derivatives.

A vote of annotator a on responses l (left) and r (right) of prompt p has the advantage and the tie parameter

    d = discrimination[a] (θ[l] − θ[r]) + left_bias[a] [sides known],    t = tie[a] + prompt_tie[p],

and the outcome probabilities left : right : tie = exp(d/2) : exp(−d/2) : exp(t) (Davidson, "On extending the
Bradley-Terry model to accommodate ties in paired comparison experiments", 1970; exp(t) is his ν), concave in (d, t) as
logarithms. The posterior of the gap θ[l] − θ[r] is normal, and expectations over it are Gauss-Hermite sums. Gradient
and negative second derivative of the expected log-likelihood in θ are the likelihood sites.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from curate.rankers.base import Bool, Float, Index
from curate.votes.arrays import LEFT, RIGHT, VoteArrays

DISCRIMINATION, BIAS, TIE = range(3)
"""Columns of an annotator's parameters."""
LEAST_TIE = -40.0
"""The tie parameter at which the probability of a tie is 0 in double precision."""
MAX_DEVIATION = 2.0
"""Limit of the standard deviation of an advantage, logits. The curvature of a vote is about this wide: quadrature nodes
farther apart would lie on separate curves, and Newton's method would not converge."""
BLOCK_PROMPTS, BLOCK_VOTES = 256, 8192
"""Prompts and votes that are processed together: their arrays fit into the processor's cache."""


class Block(NamedTuple):
    """B prompts with N responses each."""

    cells: slice  # of their (B, N, N) matrices in a flat array
    prompts: Index  # (B,)
    responses: Index  # (B, N) response numbers
    model: Index  # (B, N) model of each response; M where it is unknown

    def of(self, cells: Float) -> Float:
        """(B, N, N) view of a flat array of cells."""
        return cells[self.cells].reshape(*self.responses.shape, self.responses.shape[1])

    @property
    def model_pair(self) -> tuple[Index, Index]:
        """Index of an (M + 1, M + 1) matrix that gives (B, N, N)."""
        return self.model[:, :, None], self.model[:, None, :]

    def model_sums(self, matrix: Float, models: int) -> Float:
        """(M + 1, M + 1) sums of the entries of (B, N, N) for each pair of models."""
        place = self.model_pair[0] * (models + 1) + self.model_pair[1]
        return sums(place, matrix, (models + 1) ** 2).reshape(models + 1, models + 1)


@dataclass(frozen=True)
class VoteData:
    """V votes on R responses to P prompts as index arrays, and the layout of the prompts' matrices in flat arrays."""

    left: Index  # (V,) response number
    right: Index  # (V,)
    side: Float  # (V,) 1 for left, −1 for right, 0 for a tie or both_bad
    weight: Float  # (V,) the pairs of a K-wise ranking count as K − 1 votes together
    sides_known: Bool  # (V,)
    annotator: Index  # (V,) 0 … A − 1; A for all anonymous votes
    prompt: Index  # (V,)
    cell: tuple[Index, Index, Index]  # (V,) cells of (left, left), (right, right) and (left, right)
    response_prompt: Index  # (R,)
    response_model: Index  # (R,) 0 … M − 1; M where the model is unknown
    blocks: tuple[Block, ...]
    prompts: int
    models: int
    annotators: int  # A + 1

    @property
    def cells(self) -> int:
        return self.blocks[-1].cells.stop if self.blocks else 0

    @cached_property
    def diagonal(self) -> Index:
        """(R,) cell of each response's variance."""
        found = np.empty(len(self.response_prompt), dtype=np.int64)
        for block in self.blocks:
            cells = np.arange(block.cells.start, block.cells.stop).reshape(*block.responses.shape, -1)
            found[block.responses] = np.einsum("bii->bi", cells)
        return found

    def gap_variance(self, covariance: Float) -> Float:
        """(V,) variance of θ[left] − θ[right]. covariance: flat."""
        left, right, pair = self.cell
        return np.asarray(np.maximum(covariance[left] + covariance[right] - 2 * covariance[pair], 0.0))

    def product(self, cells: Float, vector: Float) -> Float:
        """(R,) each prompt's matrix times its part of the vector."""
        found = np.empty(len(vector))
        for block in self.blocks:
            found[block.responses] = times(block.of(cells), vector[block.responses])
        return found

    def log_determinant(self, cells: Float) -> float:
        """The sum of the log-determinants of all matrices."""
        return float(sum(np.linalg.slogdet(block.of(cells))[1].sum() for block in self.blocks))


def vote_data(votes: VoteArrays) -> VoteData:
    """The index arrays of the votes."""
    offsets, size, models = votes.offsets.astype(np.int64), np.diff(votes.offsets), len(votes.models)
    model = np.where(votes.response_model < 0, models, votes.response_model).astype(np.int64)
    first_cell, blocks, stop = np.zeros(len(votes.prompts), dtype=np.int64), list[Block](), 0
    for n in np.unique(size[size > 0]).tolist():
        of_size = np.flatnonzero(size == n)
        for prompts in np.split(of_size, range(BLOCK_PROMPTS, len(of_size), BLOCK_PROMPTS)):
            start, stop = stop, stop + n * n * len(prompts)
            first_cell[prompts] = start + n * n * np.arange(len(prompts))
            responses = offsets[prompts, None] + np.arange(n)
            blocks.append(Block(slice(start, stop), prompts, responses, model[responses]))
    left, right = votes.left.astype(np.int64), votes.right.astype(np.int64)
    prompt = votes.response_prompt[left].astype(np.int64)
    i, j, n_of, cell = left - offsets[prompt], right - offsets[prompt], size[prompt], first_cell[prompt]
    side = np.zeros(4)
    side[LEFT], side[RIGHT] = 1.0, -1.0
    return VoteData(
        left=left,
        right=right,
        side=side[votes.outcome],
        weight=votes.weight * votes.group_share,
        sides_known=votes.sides_known,
        annotator=np.where(votes.annotator < 0, len(votes.annotators), votes.annotator).astype(np.int64),
        prompt=prompt,
        cell=(cell + i * n_of + i, cell + j * n_of + j, cell + i * n_of + j),
        response_prompt=votes.response_prompt.astype(np.int64),
        response_model=model,
        blocks=tuple(blocks),
        prompts=len(votes.prompts),
        models=models,
        annotators=len(votes.annotators) + 1,
    )


def log_probability(d: Float, t: Float, side: Float | float) -> Float:
    """The log-probability of an outcome; arguments broadcast. side: 1 left, −1 right, 0 tie."""
    half = np.abs(d) / 2
    total = half + np.log1p(np.exp(-2 * half) + np.exp(t - half))
    return np.asarray(np.where(np.equal(side, 0), t, np.multiply(side, d) / 2) - total)


class Derivatives(NamedTuple):
    """First and second derivatives of the log-probability in the advantage d and the tie parameter t."""

    d: Float
    t: Float
    dd: Float
    dt: Float
    tt: Float


def derivatives(d: Float, nu: Float, side: Float) -> Derivatives:
    """The derivatives at advantage d and ν = exp(t)."""
    small = np.exp(-np.abs(d) / 2)  # all three weights over exp(|d|/2) do not overflow
    square = small * small
    larger = 1 / (1 + square + nu * small)
    tie = nu * small * larger
    half_lean = np.copysign((1 - square) * larger / 2, d)  # (P(left) − P(right)) / 2
    decisive = 1 - tie
    return Derivatives(
        d=side / 2 - half_lean,
        t=(side == 0) - tie,
        dd=half_lean * half_lean - decisive / 4,
        dt=half_lean * tie,
        tt=-tie * decisive,
    )


def quadrature(nodes: int) -> tuple[Float, Float]:
    """(nodes,) points and (nodes,) weights of the expectation over a standard normal."""
    points, weights = np.polynomial.hermite_e.hermegauss(nodes)
    return points, weights / weights.sum()


class Sites(NamedTuple):
    """The votes' expected log-likelihood in the strengths to second order: gᵀ(θ − θ₀) − (θ − θ₀)ᵀ J (θ − θ₀) / 2."""

    gradient: Float  # (R,) g at θ₀
    information: Float  # J, flat


class ParameterDerivatives(NamedTuple):
    """Derivatives of the votes' expected log-likelihood in the parameters of annotators and prompts."""

    gradient: Float  # (A + 1, 3)
    hessian: Float  # (A + 1, 3, 3)
    prompt_gradient: Float  # (P,) in prompt_tie
    prompt_hessian: Float  # (P,) second derivative


@dataclass(frozen=True)
class Likelihood:
    """The votes, with the current parameters of annotators and prompts."""

    data: VoteData
    value: Float  # (A + 1, 3) parameters of the annotators
    prompt_tie: Float  # (P,)
    nodes: int

    def sites(self, strength: Float, covariance: Float) -> Sites:
        """The likelihood sites at strengths (R,), in expectation over gaps with this flat covariance."""
        data = self.data
        slope, curvature = np.empty(len(data.left)), np.empty(len(data.left))
        for chunk, _, found, shares in self._at_nodes(strength, covariance):
            rate = self.value[data.annotator[chunk], DISCRIMINATION]
            slope[chunk] = data.weight[chunk] * rate * (shares @ found.d)
            curvature[chunk] = data.weight[chunk] * rate * rate * (shares @ found.dd)
        gradient = sums(data.left, slope, len(strength)) - sums(data.right, slope, len(strength))
        information = sums(data.cell[2], curvature, data.cells)
        for block in data.blocks:  # Σ over votes of −curvature (e_l − e_r)(e_l − e_r)ᵀ
            matrix = block.of(information)
            matrix += matrix.swapaxes(1, 2).copy()
            np.einsum("bii->bi", matrix)[:] = -matrix.sum(axis=2)
        return Sites(gradient, information)

    def parameter_derivatives(self, strength: Float, covariance: Float) -> ParameterDerivatives:
        """The derivatives in the annotators' and prompts' parameters, in expectation over the gaps."""
        data = self.data
        rows = np.empty((9, len(data.left)))  # derivatives in a, b, t, aa, ab, at, bb, bt, tt
        for chunk, gap, found, shares in self._at_nodes(strength, covariance):
            by_gap = found.dd * gap
            each = (found.d * gap, found.d, found.t, by_gap * gap, by_gap, found.dt * gap, found.dd, found.dt, found.tt)
            for row, of_vote in zip(rows, each, strict=True):
                row[chunk] = data.weight[chunk] * (shares @ of_vote)
        rows[[1, 4, 6, 7]] *= data.sides_known
        of_annotator = np.stack([sums(data.annotator, row, data.annotators) for row in rows], axis=1)
        return ParameterDerivatives(
            gradient=of_annotator[:, :3],
            hessian=of_annotator[:, [3, 4, 5, 4, 6, 7, 5, 7, 8]].reshape(-1, 3, 3),
            prompt_gradient=sums(data.prompt, rows[2], data.prompts),
            prompt_hessian=sums(data.prompt, rows[8], data.prompts),
        )

    def step_size(self, step: Float) -> float:
        """The part of a Newton step (R,) in the strengths by which the log-likelihood provably increases.

        The third derivative of a vote's log-probability is at most its second. So log(1 + r) / r of a step is safe, r
        being the largest change of an advantage (Sun and Tran-Dinh, "Generalized self-concordant functions", 2019), and
        all of it for r ≤ 1.5 (Bach, "Self-concordant analysis for logistic regression", 2010, proposition 1).
        """
        data = self.data
        change = self.value[data.annotator, DISCRIMINATION] * np.abs(step[data.left] - step[data.right])
        largest = float(change.max(initial=0.0))
        return 1.0 if largest <= 1.5 else float(np.log1p(largest) / largest)

    def _at_nodes(self, strength: Float, covariance: Float) -> Iterator[tuple[slice, Float, Derivatives, Float]]:
        """For each chunk of votes: its slice, (nodes, v) gaps, (nodes, v) derivatives, and (nodes,) weights."""
        data, (points, shares) = self.data, quadrature(self.nodes)
        nu, prompt_nu = np.exp(self.value[:, TIE]), np.exp(self.prompt_tie)
        deviation = np.sqrt(data.gap_variance(covariance))
        for start in range(0, len(data.left), BLOCK_VOTES):
            chunk = slice(start, start + BLOCK_VOTES)
            rate, bias, _ = self.value[data.annotator[chunk]].T
            limited = np.minimum(deviation[chunk], MAX_DEVIATION / np.maximum(rate, 1e-12))
            gap = strength[data.left[chunk]] - strength[data.right[chunk]] + points[:, None] * limited
            d = rate * gap + bias * data.sides_known[chunk]
            of_vote = nu[data.annotator[chunk]] * prompt_nu[data.prompt[chunk]]
            yield chunk, gap, derivatives(d, of_vote, data.side[chunk]), shares


def sums(place: npt.NDArray[np.integer[Any]], weight: Float, length: int) -> Float:
    """(length,) sums of the weights at each place; both of any shape."""
    return np.bincount(place.ravel(), weight.ravel(), length).astype(np.float64, copy=False)


def times(matrix: Float, vector: Float) -> Float:
    """(B, N) products of (B, N, N) and (B, N)."""
    return np.asarray((matrix @ vector[:, :, None])[:, :, 0])
