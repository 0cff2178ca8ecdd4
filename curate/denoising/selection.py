"""Which ranker a store's votes speak for, and how much of each one's log odds foretells held-out votes best.

The stack's log odds of a vote are Σ wₖ · odds of ranker k with weights of at least 0 (a logarithmic opinion pool;
Genest and Zidek, 1986), fitted by maximum likelihood to votes that no ranker had seen (Wolpert, "Stacked
generalization", 1992; Breiman, "Stacked regressions", 1996). As a ranker's odds are a slope times a gap in its scores,
the stack is itself a score of each response (curate.rankers.stack).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize
from scipy.special import expit, log_expit

from curate.denoising.ranking import SINGLE_RANKERS, asked_for
from curate.evaluation.cross_validation import HeldOut, hold_out, scores, units
from curate.rankers.base import TIE_DECIMALS
from curate.rankers.stack import Stack
from curate.votes.arrays import VoteArrays
from schemas.config import DenoiseConfig, MethodName, RankerName
from schemas.validation import HoldOut, MethodScore

PULL = 1.0
"""Precision of the normal prior of the weights around an equal share of 1, in votes' information: it decides only where
rankers agree so closely, or votes are so few, that the votes do not."""
FOR_REFERENCE: frozenset[RankerName] = frozenset({"crowd-bt"})
"""Not asked unless the config names it: it costs more than all others, and the joint model sees what it sees."""
LEAST = 0.01
"""Weights below this are 0."""

Bool = npt.NDArray[np.bool_]
Float = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Choice:
    """The method that held-out votes speak for, and what they said of each."""

    method: MethodName
    stack: Stack | None
    """None where no vote could be held out; the method is then the joint model."""
    by: HoldOut
    """What was held out whole."""
    prompts: int
    """Prompts whose votes were asked."""
    votes: int
    """Held-out votes that the methods are measured by."""
    methods: tuple[MethodScore, ...]
    """Best first."""


def choose(votes: VoteArrays, config: DenoiseConfig, *, progress: Callable[[str, int, int], None]) -> Choice:
    """The choice by cross-validation, on at most ``config.auto.prompts`` prompts of the votes.

    Held out are whole annotators where there are at least two for each fold, since a ranking is to hold for people who
    did not vote on it; else single votes. The votes of a K-wise ranking stay together.
    """
    auto = config.auto
    count = len(votes.prompts)
    drawn = np.random.default_rng(auto.seed).permutation(count)[: auto.prompts]
    sample = votes.of_prompts(np.isin(np.arange(count), drawn))
    people = len(np.unique(sample.annotator[sample.annotator >= 0]))
    by: HoldOut = "annotator" if people >= 2 * auto.folds else "vote"
    unit = units(sample, by)
    if int(unit.max(initial=-1)) + 1 >= auto.folds:
        leave_out = FOR_REFERENCE - asked_for(config)
        held = hold_out(sample, unit, config, folds=auto.folds, seed=auto.seed, leave_out=leave_out, progress=progress)
        if len(held.vote):
            held, stack = with_stack(held)
            cluster = unit if by == "annotator" else sample.response_prompt[sample.left].astype(np.int64)
            methods = scores(held, cluster[held.vote])
            method = chosen(methods)
            if method == "stack" and len(stack.members) == 1:
                (method,) = stack.members  # it has that ranker's order
            return Choice(method, stack, by, len(sample.prompts), len(held.vote), methods)
    return Choice("joint", None, by, len(sample.prompts), 0, ())


def chosen(methods: Sequence[MethodScore]) -> MethodName:
    """The simplest method within one standard error of the best: the joint model, else one ranker before several.

    The one-standard-error rule (Breiman, Friedman, Olshen and Stone, 1984, section 3.4.3), on paired differences.
    methods: best first, as ``scores`` gives them.
    """
    eligible = [score.method for score in methods if score.behind_se is None or score.behind <= score.behind_se]
    single = [name for name in eligible if name in SINGLE_RANKERS]
    return "joint" if "joint" in eligible else (single or eligible)[0]


def with_stack(held: HeldOut) -> tuple[HeldOut, Stack]:
    """The held-out votes with the stack of all single rankers as one more method, and that stack.

    Its odds are cross-fitted: those of a fold's votes come of weights fitted to the votes of the other folds.
    """
    names = [name for name in SINGLE_RANKERS if name in held.odds]
    odds = np.stack([held.odds[name] for name in names], axis=1)  # (S, K)
    crossed = np.zeros(len(held.vote))
    for fold in np.unique(held.fold):
        own = held.fold == fold
        crossed[own] = odds[own] @ fit_weights(odds[~own], held.left[~own], held.weight[~own])
    weights = fit_weights(odds, held.left, held.weight)
    order = np.sign(np.round(crossed, TIE_DECIMALS))
    more = replace(held, odds={**held.odds, "stack": crossed}, order={**held.order, "stack": order})
    return more, Stack(dict(zip(names, weights.tolist(), strict=True)), {name: held.slopes[name] for name in names})


def fit_weights(odds: Float, left: Bool, weight: Float) -> Float:
    """(K,) weights of at least 0 whose sum of odds makes the choices likeliest; 0 for a ranker whose odds are all 0.

    odds: (S, K) log odds of left; left: (S,) whether it was chosen; weight: (S,).
    """
    speaks: Bool = np.any(odds, axis=0)  # (K,)
    if not speaks.all() and speaks.any():
        fitted = np.zeros(len(speaks))
        fitted[speaks] = fit_weights(odds[:, speaks], left, weight)
        return fitted
    count = odds.shape[1]
    share = np.full(count, 1 / count)
    toward = np.where(left, 1.0, -1.0)[:, None] * odds  # (S, K) log odds of what was chosen

    def loss(w: Float) -> tuple[float, Float]:
        agreement = toward @ w
        away = w - share
        value = PULL / 2 * float(away @ away) - float(weight @ log_expit(agreement))
        return value, PULL * away - (weight * expit(-agreement)) @ toward

    found = minimize(loss, share, jac=True, method="L-BFGS-B", bounds=[(0, None)] * count)
    kept: Float = np.where(found.x < LEAST, 0.0, found.x)
    return kept if kept.any() else share
