"""Votes for tests: literal ones and Hypothesis strategies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from hypothesis import strategies as st

from curate.votes.arrays import VoteArrays

OUTCOMES = {"left": 0, "right": 1, "tie": 2, "both_bad": 3}

Row = tuple[str, str, str, str] | tuple[str, str, str, str, float]


def votes_from(rows: Sequence[Row], *, silent: Sequence[tuple[str, str]] = ()) -> VoteArrays:
    """Votes from (prompt, left, right, outcome[, weight]) rows; silent lists (prompt, response) without a vote.

    Prompts and responses are numbered in the order of their names.
    """
    keys = sorted({(r[0], r[1]) for r in rows} | {(r[0], r[2]) for r in rows} | set(silent))
    prompts = tuple(sorted({prompt for prompt, _ in keys}))
    number = {key: i for i, key in enumerate(keys)}
    return VoteArrays(
        left=np.array([number[r[0], r[1]] for r in rows], dtype=np.int32),
        right=np.array([number[r[0], r[2]] for r in rows], dtype=np.int32),
        outcome=np.array([OUTCOMES[r[3]] for r in rows], dtype=np.int8),
        weight=np.array([r[4] if len(r) == 5 else 1.0 for r in rows], dtype=np.float64),
        sides_known=np.ones(len(rows), dtype=np.bool_),
        annotator=np.full(len(rows), -1, dtype=np.int32),
        group=np.full(len(rows), -1, dtype=np.int32),
        response_prompt=np.array([prompts.index(prompt) for prompt, _ in keys], dtype=np.int32),
        response_model=np.full(len(keys), -1, dtype=np.int32),
        prompts=prompts,
        responses=tuple(response for _, response in keys),
    )


def votes_from_wins(*wins: Sequence[Sequence[float]]) -> VoteArrays:
    """One prompt for each square matrix; entry i, j is the weight of one vote that prefers response i to j."""
    rows: list[Row] = []
    silent = []
    for p, matrix in enumerate(wins):
        n = len(matrix)
        silent += [(f"p{p:03}", f"r{i:03}") for i in range(n)]
        for i in range(n):
            for j in range(n):
                if matrix[i][j]:
                    rows.append((f"p{p:03}", f"r{i:03}", f"r{j:03}", "left", float(matrix[i][j])))
    return votes_from(rows, silent=silent)


def random_wins(size: int, votes_per_pair: float, seed: int) -> list[list[float]]:
    """A noisy prompt: votes between responses of random strength, a sixth of them ties."""
    rng = np.random.default_rng(seed)
    strength = rng.normal(0, 1, size)
    wins = np.zeros((size, size))
    for i in range(size):
        for j in range(i):
            for _ in range(rng.poisson(votes_per_pair)):
                won = rng.choice([0.5, rng.random() < 1 / (1 + np.exp(strength[j] - strength[i]))], p=[1 / 6, 5 / 6])
                wins[i, j] += won
                wins[j, i] += 1 - won
    matrix: list[list[float]] = wins.tolist()
    return matrix


def reversed_votes(votes: VoteArrays) -> VoteArrays:
    """Return every vote for the other side."""
    return replace(votes, outcome=np.array([1, 0, 2, 3], dtype=np.int8)[votes.outcome])


def relabelled(votes: VoteArrays, seed: int) -> tuple[VoteArrays, np.ndarray]:
    """The same votes with responses renumbered within their prompts, and (R,) the new number of each."""
    rng = np.random.default_rng(seed)
    new = np.concatenate(
        [a + rng.permutation(b - a) for a, b in zip(votes.offsets[:-1], votes.offsets[1:], strict=True)] or [[]]
    ).astype(np.int64)
    return replace(votes, left=new[votes.left].astype(np.int32), right=new[votes.right].astype(np.int32)), new


def wins_matrices(max_size: int = 6, weights: st.SearchStrategy[float] | None = None) -> st.SearchStrategy:
    """Square matrices of vote weights with an empty diagonal; most are 0, so that graphs may be disconnected."""
    entry = st.one_of(st.just(0.0), st.sampled_from([0.5, 1.0, 1.5, 2.0, 3.0]) if weights is None else weights)

    def matrix(n: int) -> st.SearchStrategy:
        cells = st.lists(entry, min_size=n * n, max_size=n * n)
        return cells.map(lambda flat: [[0.0 if i == j else flat[i * n + j] for j in range(n)] for i in range(n)])

    return st.integers(1, max_size).flatmap(matrix)


def prompt_sets(max_prompts: int = 3, max_size: int = 6) -> st.SearchStrategy[VoteArrays]:
    """Votes on one to a few prompts of different sizes."""
    return st.lists(wins_matrices(max_size), min_size=1, max_size=max_prompts).map(lambda w: votes_from_wins(*w))
