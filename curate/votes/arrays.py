"""Votes as integer columns: what every ranker reads."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from itertools import compress
from typing import Any

import numpy as np
import numpy.typing as npt

from curate.votes.graphs import GraphBatch, build_graphs

LEFT, RIGHT, TIE, BOTH_BAD = range(4)
"""Codes of ``VoteArrays.outcome``, in the order of ``schemas.votes.OUTCOMES``."""
SHARE_LEFT = np.array([1.0, 0.0, 0.5, 0.5])
"""Share of a vote that prefers left, by outcome code."""

Int = npt.NDArray[np.int32]
Float = npt.NDArray[np.float64]


@dataclass(frozen=True)
class VoteArrays:
    """V votes on R responses to P prompts, as columns.

    Responses are numbered 0 … R−1 over all prompts, those of one prompt standing together, prompts in order.
    A response is listed whether or not it has a vote.
    """

    left: Int
    """(V,) the response shown left (the first named, where the sides are not known)."""
    right: Int
    """(V,) the other response, of the same prompt."""
    outcome: npt.NDArray[np.int8]
    """(V,) LEFT, RIGHT, TIE or BOTH_BAD."""
    weight: Float
    """(V,) above 0."""
    sides_known: npt.NDArray[np.bool_]
    """(V,) whether left is what the annotator saw on the left. No model may use a side that is not known."""
    annotator: Int
    """(V,) 0 … A−1; −1 anonymous."""
    group: Int
    """(V,) votes that came of one K-wise ranking share a number and are not independent; −1 alone."""
    response_prompt: Int
    """(R,) the prompt of each response, never decreasing."""
    response_model: Int
    """(R,) 0 … M−1; −1 not known."""
    prompts: tuple[str, ...]
    """(P,) prompt ids."""
    responses: tuple[str, ...]
    """(R,) response ids."""
    models: tuple[str, ...] = ()
    """(M,) model names."""
    annotators: tuple[str, ...] = ()
    """(A,) annotator ids."""

    @cached_property
    def offsets(self) -> npt.NDArray[np.int64]:
        """(P + 1,) responses of prompt p are ``offsets[p] … offsets[p + 1] − 1``."""
        return np.searchsorted(self.response_prompt, np.arange(len(self.prompts) + 1))

    @cached_property
    def graphs(self) -> tuple[GraphBatch, ...]:
        """The preference graphs of all prompts, one batch for each number of responses, derived once."""
        return build_graphs(
            left=self.left,
            right=self.right,
            share_left=SHARE_LEFT[self.outcome],
            weight=self.weight,
            offsets=self.offsets,
        )

    @cached_property
    def group_share(self) -> Float:
        """(V,) factor of each vote's weight: 1 for a single vote; the pairs of a K-wise ranking share K − 1.

        A ranking of K responses is K − 1 successive choices (Plackett, 1975), although it decides K(K − 1)/2 pairs.
        """
        share = np.ones(len(self.left))
        of_group = self.group >= 0
        if not of_group.any():
            return share
        group = self.group[of_group].astype(np.int64)
        pairs = np.bincount(group)
        members = np.stack([np.tile(group, 2), np.r_[self.left[of_group], self.right[of_group]]])
        ranked = np.bincount(np.unique(members, axis=1)[0], minlength=len(pairs))
        share[of_group] = np.minimum(1.0, (ranked - 1) / np.maximum(pairs, 1))[group]
        return share

    def of_votes(self, places: npt.NDArray[np.integer[Any]] | npt.NDArray[np.bool_]) -> VoteArrays:
        """The votes at these places, in this order (or those of a (V,) mask), with all responses and annotators."""
        return replace(
            self,
            left=self.left[places],
            right=self.right[places],
            outcome=self.outcome[places],
            weight=self.weight[places],
            sides_known=self.sides_known[places],
            annotator=self.annotator[places],
            group=self.group[places],
        )

    def of_prompts(self, keep: npt.NDArray[np.bool_]) -> VoteArrays:
        """The same votes for the chosen prompts only, renumbered. keep: (P,)."""
        response = keep[self.response_prompt]  # (R,)
        number = (np.cumsum(response) - 1).astype(np.int32)
        prompt = (np.cumsum(keep) - 1).astype(np.int32)
        votes = self.of_votes(response[self.left])
        return replace(
            votes,
            left=number[votes.left],
            right=number[votes.right],
            response_prompt=prompt[self.response_prompt[response]],
            response_model=self.response_model[response],
            prompts=tuple(compress(self.prompts, keep)),
            responses=tuple(compress(self.responses, response)),
        )
