"""The comparison design: how the compared pairs were chosen: completely, at random, or by strength.

Two questions, answered prompt by prompt and pooled over all prompts:

* Are pairs compared equally often? The relative standard deviation of their counts, and their dispersion against
  Poisson's (Fisher's index).
* Are strong responses compared more often than weak ones? The correlation within prompts of the rank of a response's
  count with its Bradley-Terry strength. A vote adds one to the counts of both its responses and moves their strengths
  in opposite directions, so that it creates no correlation by itself; the shrinkage of rarely compared responses
  towards 0 makes them neither strong nor weak, as strengths have mean 0 in a prompt (their ranks would not do).

The test of the second: without an association, responses are exchangeable within their prompts, which gives the
correlation mean 0 and a known variance (Hoeffding, "A combinatorial central limit theorem", 1951). Where models answer
several prompts, strengths and counts may both depend on the model: then models are exchangeable, in all prompts at
once. The larger of the two variances is used.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from curate.array_types import Float, Index
from curate.rankers.base import average_ranks
from curate.rankers.bradley_terry import mode_of
from curate.votes.arrays import VoteArrays

RIDGE = 0.1
"""Of the strengths, 1 / logits²."""
LEVEL = 0.01
"""Significance level of the test: the share of random designs classified as adaptive."""
COMPLETE_SPREAD = 0.5
"""Largest relative standard deviation of the counts of pairs in a complete design."""
NEGLIGIBLE_SPREAD = 0.1
"""Relative standard deviation of the counts of responses below which a design is never adaptive."""


@dataclass(frozen=True)
class Design:
    """The classification of the design, and the statistics behind it. Standard deviations are within prompts."""

    design: Literal["complete", "random", "adaptive"]
    """complete: every pair about equally often; random: unevenly, but not by strength; adaptive: by strength."""
    votes_per_pair: float
    """Mean over all pairs of responses to one prompt."""
    coverage: float
    """Share of these pairs with a vote."""
    pair_spread: float
    """Relative standard deviation of votes per pair."""
    dispersion: float
    """Variance over mean of votes per pair: 1 for independent random pairs, 0 where all pairs have the same number;
    above 1 votes concentrate on some pairs. NaN where no prompt has two pairs."""
    dispersion_p: float
    """p-value of a dispersion this high under independent random pairs; NaN where there is none."""
    response_spread: float
    """Relative standard deviation of comparisons per response."""
    association: float
    """Correlation of the rank of a response's comparisons with its strength, −1 … 1: above 0, strong responses are
    compared more often."""
    association_p: float
    """p-value of the association (two-sided)."""

    @property
    def summary(self) -> str:
        """The consequence for the rankers, in a sentence."""
        if self.design == "adaptive":
            return SUMMARIES["adaptive, strong" if self.association > 0 else "adaptive, weak"]
        return SUMMARIES[self.design]


SUMMARIES = {
    "complete": "Every pair was compared about equally often: win rate, Borda and Bradley-Terry are equivalent.",
    "random": "Pairs were compared unevenly, but not by strength: rankers that account for the opponents "
    "(Bradley-Terry, rate-pagerank) are more accurate than win rates, and pagerank depends on the counts.",
    "adaptive, strong": "Strong responses were compared more often, with each other: win rate and Borda underrate "
    "them, pagerank overrates them; Bradley-Terry and rate-pagerank do neither.",
    "adaptive, weak": "Weak responses were compared more often: pagerank overrates them, and may order worse than "
    "random; use Bradley-Terry or rate-pagerank.",
}
"""Design -> the consequence for the rankers."""


def design_of(votes: VoteArrays) -> Design:
    """Return the comparison design of the votes. Votes count one each, whatever their weight."""
    from scipy.special import chdtrc, ndtr

    pairs, responses = _counts(votes)
    size = np.diff(votes.offsets)
    of_prompt = np.repeat(np.arange(len(size)), size * (size - 1) // 2)  # (pairs,) the prompt of each
    pair_deviation, pair_mean = _centred(pairs, of_prompt, len(size))
    response_deviation, response_mean = _centred(responses, votes.response_prompt, len(size))
    voted = pair_mean > 0
    squares = float((pair_deviation[voted] ** 2 / pair_mean[voted]).sum())
    freedom = int(voted.sum()) - len(np.unique(of_prompt[voted]))
    association, z = _association(votes, responses)
    found = {
        "votes_per_pair": float(pairs.mean()) if len(pairs) else 0.0,
        "coverage": float((pairs > 0).mean()) if len(pairs) else 0.0,
        "pair_spread": _relative(pair_deviation, pair_mean),
        "dispersion": squares / freedom if freedom else float("nan"),
        "dispersion_p": float(chdtrc(freedom, squares)) if freedom else float("nan"),
        "response_spread": _relative(response_deviation, response_mean),
        "association": association,
        "association_p": float(2 * ndtr(-abs(z))),
    }
    if found["association_p"] < LEVEL and found["response_spread"] > NEGLIGIBLE_SPREAD:
        return Design(design="adaptive", **found)
    return Design(design="complete" if found["pair_spread"] <= COMPLETE_SPREAD else "random", **found)


def _counts(votes: VoteArrays) -> tuple[Float, Float]:
    """Votes on each pair of responses to one prompt, prompt by prompt, and (R,) comparisons of each response."""
    size = np.diff(votes.offsets)
    pairs_before = np.r_[0, np.cumsum(size * (size - 1) // 2)]
    low, high = np.minimum(votes.left, votes.right).astype(np.int64), np.maximum(votes.left, votes.right)
    prompt = votes.response_prompt[low]
    i, j = low - votes.offsets[prompt], high - votes.offsets[prompt]
    pair = pairs_before[prompt] + j * (j - 1) // 2 + i  # (0, 1), (0, 2), (1, 2), (0, 3), …
    pairs = np.bincount(pair, minlength=int(pairs_before[-1])).astype(np.float64)
    responses = np.bincount(np.r_[votes.left, votes.right], minlength=len(votes.responses)).astype(np.float64)
    return pairs, responses


def _centred(values: Float, prompt: npt.NDArray[np.integer[Any]], prompts: int) -> tuple[Float, Float]:
    """Values less the mean of their prompt, and that mean, both of values' shape."""
    number = np.bincount(prompt, minlength=prompts)
    mean: Float = (np.bincount(prompt, values, prompts) / np.maximum(number, 1))[prompt]
    return values - mean, mean


def _relative(deviation: Float, mean: Float) -> float:
    """Root-mean-square deviation over root-mean-square mean; 0 where nothing was counted."""
    whole = float((mean**2).sum())
    return float(np.sqrt((deviation**2).sum() / whole)) if whole > 0 else 0.0


def _association(votes: VoteArrays, count: Float) -> tuple[float, float]:
    """The correlation of ranked counts with strengths within prompts, and its distance from 0 in standard deviations.

    count: (R,) comparisons of each response.
    """
    prompts, prompt, model = len(votes.prompts), votes.response_prompt, votes.response_model
    strength = np.zeros(len(count))
    for graphs in votes.graphs:
        strength[graphs.slots] = mode_of(graphs, RIDGE).strength
    strength = _centred(strength, prompt, prompts)[0]
    rank = _centred(-average_ranks(count, prompt), prompt, prompts)[0]  # the higher, the more often compared
    together, size = float(rank @ strength), np.diff(votes.offsets)
    of_ranks, of_strengths = np.bincount(prompt, rank**2, prompts), np.bincount(prompt, strength**2, prompts)
    within = float((of_ranks * of_strengths / np.maximum(size - 1, 1)).sum())
    variance = max(within, _variance_between_models(rank, strength, prompt, model))
    if not variance > 0:
        return 0.0, 0.0
    return together / float(np.sqrt(of_ranks.sum() * of_strengths.sum())), together / float(np.sqrt(variance))


def _variance_between_models(
    rank: Float,
    strength: Float,
    prompt: npt.NDArray[np.integer[Any]],
    model: npt.NDArray[np.integer[Any]],
) -> float:
    """Variance of Σ rank · strength when models keep their counts and exchange their strengths, in all prompts at once.

    Of models that answer several prompts; 0 for fewer than two. All four are (R,).
    """
    several = np.isin(model, _in_several(prompt, model))
    known, number = np.unique(model[several], return_inverse=True)
    models = len(known)
    if models < 2:
        return 0.0
    rows = int(prompt.max()) + 1
    cell = prompt[several] * models + number
    counted = np.bincount(cell, rank[several], rows * models).reshape(rows, models)
    judged = np.bincount(cell, strength[several], rows * models).reshape(rows, models)
    product = counted.T @ judged  # (M, M) Σ over prompts, of each model's counts with each one's strengths
    product = product - product.mean(axis=0) - product.mean(axis=1, keepdims=True) + product.mean()
    return float((product**2).sum() / (models - 1))


def _in_several(prompt: npt.NDArray[np.integer[Any]], model: npt.NDArray[np.integer[Any]]) -> Index:
    """The models with responses to two or more prompts."""
    pairs = np.unique(np.stack([model, prompt]), axis=1)
    models, prompts = np.unique(pairs[0][pairs[0] >= 0], return_counts=True)
    several: Index = models[prompts > 1].astype(np.int64)
    return several
