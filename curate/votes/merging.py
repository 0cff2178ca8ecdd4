"""Responses with equal texts as one response, so that every ranker gives them one strength."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import compress

import numpy as np

from curate.array_types import Bool, Float, Index, Int32
from curate.votes.arrays import VoteArrays


@dataclass(frozen=True)
class Merged:
    """V votes on R responses, and the same votes on N distinct texts, in the same order of prompts."""

    given: VoteArrays
    """The votes on the responses."""
    votes: VoteArrays
    """The votes on the texts, without those between equal texts, which no order can explain. The id of a text is that
    of its first response, its model that of one of its responses, which are taken in turn."""
    text: Index
    """(R,) 0 … N − 1, the text of each response."""

    @cached_property
    def first(self) -> Index:
        """(N,) the first response of each text."""
        return np.unique(self.text, return_index=True)[1]

    @cached_property
    def copies(self) -> Index:
        """(N,) number of responses of each text."""
        return np.bincount(self.text, minlength=len(self.votes.responses))

    @property
    def between(self) -> Bool:
        """(V,) whether a vote is between equal texts."""
        equal: Bool = self.text[self.given.left] == self.text[self.given.right]
        return equal

    def of_prompts(self, keep: Bool) -> Merged:
        """Return the votes on the chosen prompts only, renumbered. keep: (P,)."""
        text = self.text[keep[self.given.response_prompt]]
        return Merged(
            self.given.of_prompts(keep),
            self.votes.of_prompts(keep),
            np.unique(text, return_inverse=True)[1].astype(np.int64),
        )

    def matrices(self, batches: tuple[Float, ...]) -> Iterator[tuple[Index, Float]]:
        """Yield (B, n) responses and the (B, n, n) part of a matrix of each prompt, for each number of responses n.

        batches: the (B, N, N) matrices of the texts, one for each batch of ``votes.graphs``.
        """
        texts, start = np.diff(self.votes.offsets), np.zeros(len(self.votes.prompts), dtype=np.int64)
        stop = 0
        for graphs, matrices in zip(self.votes.graphs, batches, strict=True):
            start[graphs.prompts] = stop + matrices[0].size * np.arange(len(matrices))
            stop += matrices.size
        cells = np.concatenate([np.zeros(0), *(matrices.ravel() for matrices in batches)])
        responses = np.diff(self.given.offsets)
        for n in np.unique(responses[responses > 0]):
            prompts = np.flatnonzero(responses == n)
            slots = self.given.offsets[prompts, None] + np.arange(n)
            place = self.text[slots] - self.votes.offsets[prompts, None]
            row = start[prompts, None, None] + place[:, :, None] * texts[prompts, None, None]
            yield slots, cells[row + place[:, None, :]]


def merge(votes: VoteArrays, numbers: Index | None) -> Merged:
    """Return the votes with the responses of each text as one.

    numbers: (R,) equal for responses of one prompt with equal texts (``curate.votes.texts.text_numbers``); None merges
    nothing.

    Examples
    --------
    >>> votes = VoteArrays.from_columns(
    ...     prompt=["p", "p", "p"], left=["a", "b", "a"], right=["b", "c", "c"], outcome=["left", "tie", "right"]
    ... )
    >>> merged = merge(votes, np.array([0, 1, 0]))
    >>> merged.votes.responses, merged.votes.left.tolist(), merged.text.tolist(), merged.between.tolist()
    (('a', 'b'), [0, 1], [0, 1, 0], [False, False, True])
    """
    count = len(votes.responses)
    if numbers is None or len(np.unique(numbers)) == count:
        return Merged(votes, votes, np.arange(count))
    _, first, same = np.unique(numbers, return_index=True, return_inverse=True)
    is_first = np.zeros(count, dtype=np.bool_)
    is_first[first] = True
    text = (np.cumsum(is_first) - 1)[first[same]]
    kept = votes.of_votes(text[votes.left] != text[votes.right])
    model = _in_turn(votes, text, np.flatnonzero(is_first))
    return Merged(
        votes,
        replace(
            kept,
            left=text[kept.left].astype(np.int32),
            right=text[kept.right].astype(np.int32),
            response_prompt=votes.response_prompt[is_first],
            response_model=model,
            responses=tuple(compress(votes.responses, is_first)),
            covariates=None if votes.covariates is None else votes.covariates[is_first],
        ),
        text,
    )


def _in_turn(votes: VoteArrays, text: Index, first: Index) -> Int32:
    """Return (N,) the model of one of the responses of each text.

    A text has one prior mean. An unknown model would have that of no model, and models would lose their votes (in the
    demo, Kendall's tau falls from .694 to .681); always the first model would get the votes of all others. So the place
    of the first response in its prompt decides, which no other prompt changes.
    """
    by_text = np.argsort(text, kind="stable")
    start, copies = np.searchsorted(text[by_text], np.arange(len(first))), np.bincount(text)
    place = first - votes.offsets[votes.response_prompt[first]]
    model: Int32 = votes.response_model[by_text[start + place % copies]]
    return model
