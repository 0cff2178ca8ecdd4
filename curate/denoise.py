"""Votes to rankings, as pure functions of arrays: what the votes cover, and every ranker's answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt

from curate.agreement import components, cyclic_triads, kendall_tau, pairs_covered
from curate.rankers import BradleyTerry, Joint, Ranking, build, combine
from curate.votes import BOTH_BAD, TIE, VoteArrays
from schemas.config import DenoiseConfig, RankerName

SINGLE_RANKERS: tuple[RankerName, ...] = ("bradley-terry", "pagerank", "feedback-arc-set", "win-rate", "borda", "joint")
"""The rankers that the ensemble may have as members."""

Float = npt.NDArray[np.float64]
Int = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Coverage:
    """How the votes cover P prompts and their R responses."""

    votes: Int
    """(P,) votes on each prompt."""
    ties: Int
    """(P,) of them tie or both_bad."""
    pairs: Int
    """(P,) pairs with a vote."""
    triads: Int
    """(P,) triples whose majorities run in a circle."""
    component: Int
    """(R,) the connected component of each response within its prompt; 0 is the largest."""
    components: Int
    """(P,) how many there are."""
    status: npt.NDArray[np.str_]
    """(P,) ranked | disconnected | thin (too few votes, or none that prefers a response) | skipped."""

    @property
    def used(self) -> npt.NDArray[np.bool_]:
        """(P,) whether the prompt is ranked, in full or by component."""
        return np.isin(self.status, ["ranked", "disconnected"])


@dataclass(frozen=True)
class Denoised:
    """All rankers' answers on the prompts that could be ranked: below, P and R count these only."""

    votes: VoteArrays
    component: Int
    """(R,) responses with different numbers in one prompt cannot be compared."""
    connected: npt.NDArray[np.bool_]
    """(P,) the prompt is one component."""
    rankings: dict[RankerName, Ranking]
    """Every single ranker, and the ensemble where it has members."""
    strength: Float
    """(R,) posterior mean strength, logits: of the joint model where it took part, else of Bradley-Terry."""
    strength_se: Float
    """(R,) its posterior standard deviation, logits."""

    @property
    def group(self) -> Int:
        """(R,) a label that no two components share: ranks are counted within it."""
        return group_of(self.votes, self.component)

    def agreement(self) -> dict[tuple[RankerName, RankerName], Float]:
        """(P,) Kendall tau-b between every two rankers; NaN where the prompt is not connected."""
        offsets = self.votes.offsets
        return {
            (a, b): np.where(
                self.connected, kendall_tau(self.rankings[a].scores, self.rankings[b].scores, offsets), np.nan
            )
            for a, b in combinations(self.rankings, 2)
        }


def cover(votes: VoteArrays, config: DenoiseConfig) -> Coverage:
    """What the votes cover, and which prompts can be ranked."""
    prompt = votes.response_prompt[votes.left]
    count = np.bincount(prompt, minlength=len(votes.prompts))
    tied = np.bincount(prompt[np.isin(votes.outcome, [TIE, BOTH_BAD])], minlength=len(votes.prompts))
    component, number = components(votes)
    apart = "disconnected" if config.disconnected == "components" else "skipped"
    thin = (count < config.min_votes) | (count == tied)  # votes that prefer nothing rank nothing
    status = np.where(thin, "thin", np.where(number > 1, apart, "ranked"))
    return Coverage(count, tied, pairs_covered(votes), cyclic_triads(votes), component, number, status)


def rank_all(
    votes: VoteArrays, coverage: Coverage, config: DenoiseConfig, *, progress: Callable[[str, int, int], None]
) -> Denoised:
    """Every ranker on the prompts that the votes cover well enough; the joint model only where it takes part."""
    used = votes.of_prompts(coverage.used)
    component = coverage.component[coverage.used[votes.response_prompt]]
    rankings: dict[RankerName, Ranking] = {}
    strength, deviation = BradleyTerry(ridge=config.bradley_terry.ridge).posterior(used)
    asked = [name for name in SINGLE_RANKERS if name != "joint" or takes_part("joint", config)]
    for i, name in enumerate(asked):
        progress(name, i, len(asked))
        ranker = build(name, config)
        if isinstance(ranker, Joint):
            fit = ranker.fit(used)
            rankings[name], strength, deviation = fit.ranking(used), fit.strength, fit.deviation
        else:
            rankings[name] = ranker(used)
    if members := members_of(config):
        weights = [config.weights[name] for name in members]
        group = group_of(used, component)
        rankings["ensemble"] = combine(used, [rankings[name] for name in members], weights, group=group)
    return Denoised(
        votes=used,
        component=component,
        connected=(coverage.status == "ranked")[coverage.used],
        rankings=rankings,
        strength=strength,
        strength_se=deviation,
    )


def group_of(votes: VoteArrays, component: Int) -> Int:
    """(R,) a label that no two components of any prompt share."""
    label: Int = votes.response_prompt * (int(component.max(initial=0)) + 1) + component
    return label


def takes_part(name: RankerName, config: DenoiseConfig) -> bool:
    """Whether the run's ranking rests on that ranker. (The joint model costs more than the others together.)"""
    return config.ranker == name or (config.ranker == "ensemble" and config.weights.get(name, 0) > 0)


def members_of(config: DenoiseConfig) -> list[RankerName]:
    """The ensemble's members, in the rankers' own order."""
    weighed = [name for name in SINGLE_RANKERS if config.weights.get(name, 0) > 0]
    return [name for name in weighed if name != "joint" or takes_part(name, config)]
