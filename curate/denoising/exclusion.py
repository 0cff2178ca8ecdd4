"""Which votes count: not those of likely spammers, copies within rings of accounts, and votes between equal texts."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import cast

import numpy as np

from curate.annotators.copying import Copying, find_copying, no_copying
from curate.annotators.statistics import spam_probability
from curate.array_types import Bool, Index
from curate.rankers.base import PosteriorRanker
from curate.rankers.hierarchical import HierarchicalFit
from curate.rankers.registry import POSTERIOR, build
from curate.votes.arrays import VoteArrays
from curate.votes.coverage import Coverage, cover, nothing_ranked
from curate.votes.merging import Merged, merge
from schemas.config import DenoiseConfig
from schemas.errors import CurateError


@dataclass(frozen=True)
class Kept:
    """The votes that count, and what they cover."""

    merged: Merged
    """On all prompts."""
    coverage: Coverage
    spammers: Bool
    """(A,) annotators whose votes are excluded."""
    excluded_votes: int
    """Their number."""
    copying: Copying

    @cached_property
    def ranked(self) -> Merged:
        """The votes on the prompts that they cover well enough."""
        return self.merged.of_prompts(self.coverage.used)

    def nothing_ranked(self, config: DenoiseConfig) -> CurateError:
        """Return the error that no prompt can be ranked."""
        excluded = {
            "by likely spammers": self.excluded_votes,
            "copies within rings of accounts": int(self.copying.copied.sum()),
            "between equal texts": int(self.merged.between.sum()),
        }
        counts = {why: count for why, count in excluded.items() if count}
        return nothing_ranked(self.merged.votes, self.coverage, config, counts)


def keep(
    votes: VoteArrays, judging: VoteArrays, spammers: Bool, copying: Copying, texts: Index | None, config: DenoiseConfig
) -> Kept:
    """Return the votes that count, with equal texts as one response.

    judging: the votes without those of spammers, (A,); copying: in these. texts: (R,) as of ``rank_votes``.
    """
    kept = judging.of_votes(~copying.copied) if copying.copied.any() else judging
    merged = merge(kept, texts)
    return Kept(merged, cover(merged.votes, config), spammers, len(votes.left) - len(judging.left), copying)


def exclude_spammers(votes: VoteArrays, judged: VoteArrays, config: DenoiseConfig) -> tuple[VoteArrays, Bool]:
    """Return the votes without those of likely spammers (above ``config.max_spammer``), and (A,) who these are.

    judged: the votes by which annotators are judged, those of all prompts.
    """
    if config.max_spammer >= 1 or not judged.annotators:
        return votes, np.zeros(len(votes.annotators), dtype=np.bool_)
    fit = cast("HierarchicalFit", cast("PosteriorRanker", build(POSTERIOR, config)).fit(judged))
    likely = spam_probability(fit.annotators) > config.max_spammer
    spammer = np.isin(votes.annotators, np.array(judged.annotators)[likely])
    return votes.of_votes(~np.append(spammer, False)[votes.annotator]), spammer


def exclude_copies(votes: VoteArrays, config: DenoiseConfig) -> Copying:
    """Return the rings of accounts and the copies within them; none if the config keeps these."""
    return no_copying(votes) if config.copied_votes == "keep" else find_copying(votes)
