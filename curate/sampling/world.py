"""The responses from which items are drawn, as arrays: ranks, models, texts and the posterior of the strengths."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import polars as pl

from curate.array_types import Bool, Float, Index
from curate.uncertainty.posterior import (
    Posterior,
    best_probabilities,
    best_probability,
    best_probability_bounds,
)

ROUNDING = 1e-9
"""Probabilities that differ by less are equal."""


@dataclass(frozen=True)
class World:
    """The columns of the R ranked rows as arrays."""

    prompts: list[str]
    """(P,) ids."""
    bounds: Index
    """(P + 1,) rows of prompt p are ``bounds[p] … bounds[p + 1] − 1``."""
    prompt: Index
    """(R,)"""
    rank: Index
    """(R,) 1 = best, ties share a rank."""
    model: Index
    """(R,) 0, 1, …; a response of an unknown model counts as its own model."""
    text: Index
    """(R,) equal for responses of one prompt with equal texts."""
    usable: Bool
    """(R,) whether a response may be drawn: one of those of a prompt with equal texts."""
    posterior: Posterior
    """Of the strengths."""

    @classmethod
    def of(cls, ranked: pl.DataFrame, usable: Bool) -> World:
        starts = np.flatnonzero((ranked["prompt_id"] != ranked["prompt_id"].shift()).fill_null(True).to_numpy())
        own_model = pl.concat_str("prompt_id", "response_id", separator="\0")
        length = ranked["covariance"].list.len().to_numpy().astype(np.int64)
        models = ranked.select(pl.coalesce("model", own_model).rank("dense")).to_series()
        return cls(
            prompts=ranked["prompt_id"].gather(starts).to_list(),
            bounds=np.append(starts, len(ranked)),
            prompt=np.searchsorted(starts, np.arange(len(ranked)), side="right") - 1,
            rank=ranked["rank"].to_numpy().astype(np.int64),
            model=models.to_numpy().astype(np.int64) - 1,
            text=ranked["text"].to_numpy().astype(np.int64),
            usable=usable,
            posterior=Posterior(
                strength=ranked["strength"].to_numpy(),
                covariance=ranked["covariance"].explode().to_numpy().astype(np.float64),
                first=np.cumsum(length) - length,
                place=ranked["place"].to_numpy().astype(np.int64),
            ),
        )

    def rows(self, prompt: int) -> Index:
        """Return the usable rows of a prompt."""
        rows = np.arange(self.bounds[prompt], self.bounds[prompt + 1])
        return rows[self.usable[rows]]

    def margin(self, sets: Index) -> Float:
        """Return (S,) the margin of (S, K) sets, logits; NaN if the best rank is shared."""
        rank, strength = self.rank[sets], self.posterior.strength[sets]
        is_best = rank == rank.min(axis=1, keepdims=True)
        best, other = (np.where(which, strength, -np.inf).max(axis=1) for which in (is_best, ~is_best))
        return np.where(is_best.sum(axis=1) == 1, best - other, np.nan)

    def reaches(self, sets: Index, min_confidence: float, *, largest: bool = True) -> Bool:
        """Return (S,) whether the labelled best of (S, K) sets is the best with at least this probability.

        largest: and no other response of the set is more probably the best, which may happen below 1/2. False if the
        best rank is shared. Integrals are computed only where simple bounds do not decide.
        """
        rank = self.rank[sets]
        found: Bool = (rank == rank.min(axis=1, keepdims=True)).sum(axis=1) == 1
        alone = np.flatnonzero(found)
        best = rank[alone].argmin(axis=1)
        mean, covariance = self.posterior.of(sets[alone])
        low, high = best_probability_bounds(mean, covariance, best)
        enough = max(min_confidence, 0.5) if largest else min_confidence
        found[alone] = low >= enough
        unclear = np.flatnonzero((low < enough) & (high >= min_confidence))
        best, mean, covariance = best[unclear], mean[unclear], covariance[unclear]
        confidence = best_probability(mean, covariance, best)
        good = confidence >= min_confidence
        close = np.flatnonzero(good & (confidence < 0.5)) if largest else unclear[:0]
        every = best_probabilities(mean[close], covariance[close])
        good[close] = every[np.arange(len(close)), best[close]] >= every.max(axis=1, initial=0.0) - ROUNDING
        found[alone[unclear]] = good
        return found

    def best_probabilities(self, sets: list[Index]) -> Float:
        """Return the probability of each response of each set to be the strongest of its set, concatenated.

        Equal texts have an equal share of the probability that theirs is the strongest.
        """
        distinct, shares = list[Index](), list[Index]()
        for rows in sets:
            _, first, same = np.unique(self.text[rows], return_index=True, return_inverse=True)
            order = np.argsort(first)  # the texts in the order shown
            distinct.append(rows[first[order]])
            shares.append(np.argsort(order)[same])
        ends = np.cumsum([len(rows) for rows in distinct])
        found = np.empty(ends[-1] if sets else 0)
        for at, same in by_size(distinct):
            size = same.shape[1]
            places = ends[at][:, None] - size + np.arange(size)
            found[places] = best_probabilities(*self.posterior.of(same))
        starts = ends - [len(rows) for rows in distinct]
        parts = [found[start + share] / np.bincount(share)[share] for start, share in zip(starts, shares, strict=True)]
        return np.concatenate([np.empty(0), *parts])


def by_size(sets: list[Index]) -> Iterator[tuple[Index, Index]]:
    """Yield, for each size, the positions of the sets of that size and the sets as (S, K)."""
    sizes = np.array([len(rows) for rows in sets])
    for size in np.unique(sizes):
        at = np.flatnonzero(sizes == size)
        yield at, np.stack([sets[i] for i in at])


def one_of_equals(ranked: pl.DataFrame, name: str, seed: int) -> Bool:
    """Return (R,) which rows may be drawn: one at random of each group of equal texts."""
    usable = np.ones(len(ranked), dtype=np.bool_)
    repeated = ranked.with_row_index("row").filter(pl.struct("prompt_id", "text").is_duplicated())
    groups = repeated.group_by("prompt_id", "text", maintain_order=True).agg("row", "response_id")
    for prompt, _, rows, responses in groups.iter_rows():
        taken = generator(seed, name, prompt, "equal texts", *responses).integers(len(rows))
        usable[[row for i, row in enumerate(rows) if i != taken]] = False
    return usable


def generator(seed: int, *names: str) -> np.random.Generator:
    """Return the generator of a seed and these names; it does not depend on what else is drawn."""
    digest = hashlib.sha256(json.dumps([seed, *names]).encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:16], "big"))
