"""What to do about each annotator: pay, watch, retrain, drop; and why."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from curate.annotators.gold import Gold, wilson
from curate.annotators.statistics import LOW, SPAM, Profiles
from schemas.annotators import Recommendation

# Each bar is to be passed for sure, so that few votes condemn nobody.
SPAMMER_FROM = 0.9
"""P(spammer) from which votes are to be left out: one in ten of those who just reach it votes with some care."""
SUSPECT_FROM = 0.1
"""… and from which somebody is to be watched."""
SURE = 0.95
"""Probability at which a habit counts as theirs and not as chance."""
STRONG_BIAS = 0.7
"""Logits: of two equals, they choose one side twice as often as the other (exp 0.7 = 2)."""
ONE_SIDE = 0.85
"""Share of votes for one side above which they tell next to nothing, the sides being drawn."""
DRAWN = (0.35, 0.65)
"""Share of the left side among all people's votes from which sides are taken for drawn."""
STRANGE_TIES = 1.4
"""Logits: the odds of a tie on equals are four times those of the mean annotator, or a quarter (exp 1.4 = 4)."""
ENOUGH_VOTES = 20
"""Below, nobody is judged by their votes: to tell agreement of 0.75 from a coin's 0.5 in 8 of 10 takes 22 (at 5%)."""
ENOUGH_GOLD = 5
"""Gold votes below which the gold speaks against nobody: Wilson's interval is an approximation."""


class Verdict(NamedTuple):
    """What to do about one annotator."""

    recommendation: Recommendation
    reason: str


def recommend(found: Profiles, gold: Gold) -> list[Verdict]:
    """What to do about each annotator, and why: the first of these that fits.

    drop: P(spammer) at least SPAMMER_FROM, or surely more than ONE_SIDE of their votes for one side where all people's
    are not, unless they surely meet the gold; or gold accuracy surely below what SPAM of everyone's sight gives.
    retrain: discrimination or gold accuracy surely below LOW, or a strong side bias or strange share of ties for sure.
    too few votes: fewer than ENOUGH_VOTES. Of the above only the gold says something of them: each answer is right or
    wrong whoever else votes, and its interval is as wide as its answers are few.
    watch: P(spammer) from SUSPECT_FROM, or above SPAMMER_FROM where the gold speaks for them.
    pay: all others.
    """
    enough = gold.votes >= ENOUGH_GOLD
    blind, low = enough & (gold.high < gold.bar(SPAM)), enough & (gold.high < gold.bar(LOW))
    meets = gold.low > gold.bar(LOW)
    verdicts = []
    for a, spammer in enumerate(found.spammer):
        on_gold = f"{gold.accuracy[a]:.2f} right on {gold.votes[a]} gold votes, {gold.chance[a]:.2f} by chance"
        suspected = f"a spammer with probability {spammer:.2f}"
        few = found.votes[a] < ENOUGH_VOTES
        unseeing = [] if few or meets[a] else [suspected] * bool(spammer >= SPAMMER_FROM) + _one_side(found, a)
        faults = [] if few else _faults(found, a)
        if why := unseeing + [on_gold] * bool(blind[a]):
            verdict = Verdict("drop", "; ".join(why))
        elif why := faults + [on_gold] * bool(low[a]):
            verdict = Verdict("retrain", "; ".join(why))
        elif few:
            verdict = Verdict("too few votes", f"fewer than {ENOUGH_VOTES} votes say too little")
        elif spammer >= SUSPECT_FROM:
            verdict = Verdict("watch", suspected + (f", but {on_gold}" if meets[a] else ""))
        else:
            verdict = Verdict("pay", "")
        verdicts.append(verdict)
    return verdicts


def _one_side(found: Profiles, a: int) -> list[str]:
    """That they choose one side whatever stands there, where it is so. The joint model may take it for a strong bias of
    one who sees: no number of such votes tells the two apart, nor do they tell anything else."""
    if not DRAWN[0] <= found.lefts.sum() / max(found.sided.sum(), 1) <= DRAWN[1]:
        return []
    side, most = max(("left", found.lefts[a]), ("right", found.sided[a] - found.lefts[a]), key=lambda pair: pair[1])
    low, _ = wilson(np.array([most / max(found.sided[a], 1)]), np.array([float(found.sided[a])]))
    return [f"{most} of {found.sided[a]} decided votes for the {side} side"] if low[0] > ONE_SIDE else []


def _faults(found: Profiles, a: int) -> list[str]:
    """The habits of one annotator that a word might mend."""
    from scipy.special import ndtri

    errors = float(ndtri(SURE))
    faults = []
    bias, ties = found.left_bias[a], found.tie_excess[a]
    if found.low[a] >= SURE:
        faults.append(f"sees {found.discrimination[a]:.2f} of what the mean annotator sees")
    if abs(bias) - errors * found.left_bias_se[a] > STRONG_BIAS:
        faults.append(f"of equals the {'left' if bias > 0 else 'right'} one {np.exp(abs(bias)):.1f} times as often")
    if abs(ties) - errors * found.tie_excess_se[a] > STRANGE_TIES:
        faults.append(f"ties on {found.tie_share[a]:.0%} of equals, far {'more' if ties > 0 else 'less'} than others")
    return faults
