"""Votes to rankings, as pure functions of arrays: what the votes cover, and every ranker's answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import get_args

import numpy as np
import numpy.typing as npt

from curate.annotators.statistics import spam_probability
from curate.evaluation.agreement import components, cyclic_triads, kendall_tau, pairs_covered
from curate.rankers import Hierarchical, Ranking, build, combine
from curate.rankers.hierarchical import HierarchicalFit
from curate.rankers.stack import Stack
from curate.uncertainty.bootstrap import rank_draws, rank_interval
from curate.uncertainty.intervals import LEVEL, rank_intervals
from curate.votes.arrays import BOTH_BAD, TIE, VoteArrays
from schemas.config import DenoiseConfig, MethodName, RankerName

SINGLE_RANKERS: tuple[RankerName, ...] = tuple(name for name in get_args(RankerName) if name != "ensemble")
"""The rankers that an ensemble may have as members."""
OF_ANNOTATORS: tuple[RankerName, ...] = ("weighted-feedback-arc-set", "crowd-bt")
"""Those that without annotators are feedback-arc-set and bradley-terry once more, and that cost the most."""

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
    rankings: dict[MethodName, Ranking]
    """The single rankers, the ensemble where it has members, and the stack where it is the method."""
    joint: HierarchicalFit
    """The posterior of the strengths."""

    @property
    def group(self) -> Int:
        """(R,) a label that no two components share: ranks are counted within it."""
        return group_of(self.votes, self.component)

    def agreement(self) -> dict[tuple[MethodName, MethodName], Float]:
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
    votes: VoteArrays,
    coverage: Coverage,
    config: DenoiseConfig,
    *,
    method: MethodName,
    stack: Stack | None = None,
    progress: Callable[[str, int, int], None],
) -> Denoised:
    """The rankers on the prompts that the votes cover well enough: the usual ones, and those that the method needs."""
    used = votes.of_prompts(coverage.used)
    component = coverage.component[coverage.used[votes.response_prompt]]
    rankings: dict[MethodName, Ranking] = {}
    needed = stack.members if stack is not None and method == "stack" else {method}
    names = [
        name for name in SINGLE_RANKERS if name in needed or name in asked_for(config) or name not in OF_ANNOTATORS
    ]
    for i, name in enumerate(names):
        progress(name, i, len(names))
        ranker = build(name, config)
        if isinstance(ranker, Hierarchical):
            joint = ranker.fit(used)
            rankings[name] = joint.ranking(used)
        else:
            rankings[name] = ranker(used)
    if members := members_of(config, names):
        weights = [config.weights[name] for name in members]
        group = group_of(used, component)
        rankings["ensemble"] = combine(used, [rankings[name] for name in members], weights, group=group)
    if stack is not None and method == "stack":
        rankings["stack"] = stack.combine(used, rankings)
    return Denoised(
        votes=used,
        component=component,
        connected=(coverage.status == "ranked")[coverage.used],
        rankings=rankings,
        joint=joint,
    )


def intervals(denoised: Denoised, method: MethodName, config: DenoiseConfig) -> tuple[Int, Int]:
    """(R,) best and (R,) worst rank of each response's 90% interval, counted within components.

    Of the stack, and of an ensemble with the joint model among its members, these are the joint posterior's, as of the
    joint model itself; else people are drawn again and the method ranks anew (curate.uncertainty.bootstrap).
    """
    votes, joint = denoised.votes, denoised.joint
    if method == "joint" or method == "stack" or (method == "ensemble" and config.weights.get("joint", 0) > 0):
        return rank_intervals(votes, joint.strength, joint.covariance, denoised.component)
    group = np.unique(denoised.group, return_inverse=True)[1]
    return rank_interval(rank_draws(votes, build(method, config), group=group, seed=0), LEVEL)


def without_spammers(
    votes: VoteArrays, judged: VoteArrays, config: DenoiseConfig
) -> tuple[VoteArrays, npt.NDArray[np.bool_]]:
    """The votes but for those of likely spammers (above ``config.max_spammer``), and (A,) who these are.

    judged: the votes by which people are judged, those of all prompts.
    """
    if config.max_spammer >= 1 or not judged.annotators:
        return votes, np.zeros(len(votes.annotators), dtype=np.bool_)
    likely = spam_probability(Hierarchical(ties=config.joint.ties).fit(judged)) > config.max_spammer
    spammer = np.isin(votes.annotators, np.array(judged.annotators)[likely])
    return votes.of_votes(~np.append(spammer, False)[votes.annotator]), spammer


def group_of(votes: VoteArrays, component: Int) -> Int:
    """(R,) a label that no two components of any prompt share."""
    label: Int = votes.response_prompt * (int(component.max(initial=0)) + 1) + component
    return label


def rankers_of(votes: VoteArrays, config: DenoiseConfig) -> list[RankerName]:
    """The single rankers to compare, in their own order: those that these votes tell apart, and those asked for."""
    asked = asked_for(config)
    return [name for name in SINGLE_RANKERS if votes.annotators or name not in OF_ANNOTATORS or name in asked]


def asked_for(config: DenoiseConfig) -> set[str]:
    """The rankers that the config names."""
    return {config.ranker, *(name for name, weight in config.weights.items() if weight > 0)}


def members_of(config: DenoiseConfig, names: Sequence[RankerName]) -> list[RankerName]:
    """The ensemble's members among these rankers."""
    return [name for name in names if config.weights.get(name, 0) > 0]
