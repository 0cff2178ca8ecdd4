"""Votes as integer columns: the input of every ranker."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from itertools import compress
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from curate.array_types import Bool, Float, Index, Int8, Int32
from curate.votes.graphs import GraphBatch, build_graphs
from schemas.votes import OUTCOMES

if TYPE_CHECKING:
    import polars as pl

LEFT, RIGHT, TIE, BOTH_BAD = range(4)
"""Codes of ``VoteArrays.outcome``, in the order of ``schemas.votes.OUTCOMES``."""
SHARE_LEFT = np.array([1.0, 0.0, 0.5, 0.5])
"""Share of a vote that prefers left, by outcome code."""

Column = Any
"""A sequence, a numpy array, or a polars Series."""


@dataclass(frozen=True, repr=False)
class VoteArrays:
    """V votes on R responses to P prompts, as columns.

    Responses are numbered 0 … R−1 over all prompts, sorted by prompt, and listed whether or not they have a vote.
    ``from_columns`` numbers ids.
    """

    left: Int32
    """(V,) the response on the left (the first one in the file if the sides are unknown)."""
    right: Int32
    """(V,) the other response, of the same prompt."""
    outcome: Int8
    """(V,) LEFT, RIGHT, TIE or BOTH_BAD."""
    weight: Float
    """(V,) above 0."""
    sides_known: Bool
    """(V,) whether left is what the annotator saw on the left. No model may use a side that is unknown."""
    annotator: Int32
    """(V,) 0 … A−1; −1 anonymous."""
    group: Int32
    """(V,) votes that were judged together (a K-wise ranking) share a number: dependent; −1 for a single vote."""
    response_prompt: Int32
    """(R,) the prompt of each response, never decreasing."""
    response_model: Int32
    """(R,) 0 … M−1; −1 unknown."""
    prompts: tuple[str, ...]
    """(P,) prompt ids."""
    responses: tuple[str, ...]
    """(R,) response ids."""
    models: tuple[str, ...] = ()
    """(M,) model names."""
    annotators: tuple[str, ...] = ()
    """(A,) annotator ids."""
    prompt_video: Int32 | None = None
    """(P,) the video of each prompt, numbered; −1 unknown. None: all unknown."""
    covariates: Float | None = None
    """(R, K) properties of the responses whose effect on votes is estimated, in the units of ``covariate_names``."""
    covariate_names: tuple[str, ...] = ()
    """(K,)"""

    @classmethod
    def from_columns(
        cls,
        *,
        prompt: Column,
        left: Column,
        right: Column,
        outcome: Column,
        annotator: Column | None = None,
        weight: Column | None = None,
        group: Column | None = None,
        sides_known: bool = True,
    ) -> VoteArrays:
        """Return the votes of columns of ids, in the order given.

        Prompts, models and annotators are numbered in the order of their ids, responses by prompt and id. A response id
        that answers several prompts is also the name of its model; if no id does, models are unknown.

        Parameters
        ----------
        prompt, left, right
            (V,) string or integer ids; a response id may occur with several prompts.
        outcome
            (V,) ``left``, ``right``, ``tie`` or ``both_bad``, or the codes 0 … 3.
        annotator
            (V,) string or integer ids; None for an anonymous vote.
        weight
            (V,) above 0; 1 by default.
        group
            (V,) numbers of K-wise rankings; −1 for a single vote.
        sides_known
            Whether left and right are the sides on the screen.

        Raises
        ------
        ValueError
            For an empty id, an unknown outcome, a response compared with itself, or a weight that is not positive.

        Examples
        --------
        >>> votes = VoteArrays.from_columns(
        ...     prompt=["p", "p", "q"], left=["a", "b", "a"], right=["b", "c", "b"], outcome=["left", "tie", "right"]
        ... )
        >>> votes.responses, votes.models, votes.left.tolist()
        (('a', 'b', 'c', 'a', 'b'), ('a', 'b'), [0, 1, 3])
        """
        import polars as pl

        votes = pl.DataFrame(
            {
                "prompt": prompt,
                "left": left,
                "right": right,
                "outcome": _outcome_codes(pl.Series(outcome)),
                "weight": pl.Series(np.ones(len(left)) if weight is None else weight, dtype=pl.Float64),
            }
        )
        _check(votes)
        count = len(votes)
        ends = [votes.select("prompt", response=side) for side in ("left", "right")]
        responses = (
            pl.concat(ends)
            .unique()
            .sort("prompt", "response")
            .with_row_index("number")
            .with_columns(model=pl.when(pl.len().over("response") > 1).then("response"))
        )
        numbers = [end.join(responses, on=["prompt", "response"], how="left", maintain_order="left") for end in ends]
        response_prompt, prompts = _numbered(responses["prompt"])
        response_model, models = _numbered(responses["model"])
        people, annotators = _numbered(pl.Series([None] * count if annotator is None else annotator))
        return cls(
            left=numbers[0]["number"].to_numpy().astype(np.int32),
            right=numbers[1]["number"].to_numpy().astype(np.int32),
            outcome=votes["outcome"].to_numpy(),
            weight=votes["weight"].to_numpy(),
            sides_known=np.full(count, sides_known),
            annotator=people,
            group=np.full(count, -1, dtype=np.int32) if group is None else np.asarray(group, dtype=np.int32),
            response_prompt=response_prompt,
            response_model=response_model,
            prompts=prompts,
            responses=tuple(responses["response"].cast(pl.String)),
            models=models,
            annotators=annotators,
        )

    def __repr__(self) -> str:
        return (
            f"<VoteArrays: {len(self.left):,} votes, {len(self.prompts):,} prompts, {len(self.responses):,} responses, "
            f"{len(self.models):,} models, {len(self.annotators):,} annotators>"
        )

    @cached_property
    def offsets(self) -> Index:
        """(P + 1,) responses of prompt p are ``offsets[p] … offsets[p + 1] − 1``."""
        return np.searchsorted(self.response_prompt, np.arange(len(self.prompts) + 1))

    @cached_property
    def graphs(self) -> tuple[GraphBatch, ...]:
        """The preference graphs of all prompts, one batch for each number of responses."""
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

        A ranking of K responses is K − 1 successive choices (Plackett, 1975), although it decides K(K − 1)/2 pairs. A
        group of votes on several prompts is a ranking on each of them.
        """
        share = np.ones(len(self.left))
        of_group = self.group >= 0
        if not of_group.any():
            return share
        prompt = self.response_prompt[self.left[of_group]].astype(np.int64)
        group = self.group[of_group].astype(np.int64) * len(self.prompts) + prompt
        group = np.unique(group, return_inverse=True)[1]
        pairs = np.bincount(group)
        members = np.stack([np.tile(group, 2), np.r_[self.left[of_group], self.right[of_group]]])
        ranked = np.bincount(np.unique(members, axis=1)[0], minlength=len(pairs))
        share[of_group] = np.minimum(1.0, (ranked - 1) / np.maximum(pairs, 1))[group]
        return share

    @cached_property
    def sitting(self) -> Index:
        """(V,) votes that share a number were cast in one sitting: their annotator perceived each response once.

        They share a group and a prompt, or else a named annotator and a prompt. Any other vote is a sitting of its own.
        """
        owner = np.where(self.group >= 0, len(self.annotators) + self.group.astype(np.int64), self.annotator)
        key = owner * len(self.prompts) + self.response_prompt[self.left]
        alone = owner < 0
        key[alone] = -1 - np.arange(np.count_nonzero(alone))
        return np.unique(key, return_inverse=True)[1]

    def of_votes(self, places: npt.NDArray[np.integer[Any]] | Bool) -> VoteArrays:
        """Return the votes at these positions, in this order (or of a (V,) mask), with all responses and annotators."""
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

    def of_prompts(self, keep: Bool) -> VoteArrays:
        """Return the votes on the chosen prompts only, renumbered; itself for all prompts. keep: (P,)."""
        if keep.all():
            return self
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
            prompt_video=None if self.prompt_video is None else self.prompt_video[keep],
            covariates=None if self.covariates is None else self.covariates[response],
        )


def _numbered(values: pl.Series) -> tuple[Int32, tuple[str, ...]]:
    """Return each value's position among the sorted distinct values, −1 for null, and these values as strings."""
    import polars as pl

    if values.dtype == pl.Null:
        return np.full(len(values), -1, dtype=np.int32), ()
    number = values.rank("dense").cast(pl.Int32).fill_null(0) - 1
    return number.to_numpy(), tuple(values.drop_nulls().unique().sort().cast(pl.String))


def _outcome_codes(outcome: pl.Series) -> pl.Series:
    """Return the codes of outcome names or codes; null for an unknown outcome."""
    import polars as pl

    if not len(outcome):
        return pl.Series([], dtype=pl.Int8)
    codes = range(len(OUTCOMES))
    names = OUTCOMES if outcome.dtype == pl.String else codes
    return outcome.replace_strict(names, codes, default=None, return_dtype=pl.Int8)


def _check(votes: pl.DataFrame) -> None:
    """Raise ValueError for the first vote with an empty id, an unknown outcome, equal responses or a bad weight."""
    import polars as pl

    problems = {
        "an id is missing": pl.any_horizontal(pl.col("prompt", "left", "right").is_null()),
        "both responses are the same": pl.col("left") == pl.col("right"),
        f"unknown outcome; expected {', '.join(OUTCOMES)}": pl.col("outcome").is_null(),
        "the weight is not a positive number": ~((pl.col("weight") > 0) & pl.col("weight").is_finite()),
    }
    for problem, expression in problems.items():
        rows = votes.select(expression.fill_null(True)).to_series().arg_true()
        if len(rows):
            raise ValueError(f"vote {rows[0]}: {problem}")
