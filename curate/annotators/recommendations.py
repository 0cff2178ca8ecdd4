"""Recommendations per annotator (pay, watch, retrain, drop) with reasons."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from curate.annotators.gold import Gold, wilson
from curate.annotators.statistics import LOW, SPAM, Profiles
from schemas.annotators import Recommendation as Action

# Each threshold must be passed with statistical confidence, so that few votes lead to no action.
DROP_FROM = 0.9
"""P(spammer) from which votes should be excluded: one in ten annotators at this value is not a spammer."""
WATCH_FROM = 0.1
"""P(spammer) from which an annotator should be watched."""
CONFIDENCE = 0.95
"""Probability at which a habit counts as established."""
STRONG_BIAS = 0.7
"""Logits: of two equal responses, one side is chosen twice as often as the other (exp 0.7 = 2)."""
ONE_SIDE = 0.85
"""Share of votes for one side above which votes carry almost no information, if sides are random."""
RANDOM_SIDES = (0.35, 0.65)
"""Share of the left side among all votes within which sides are taken to be random."""
UNUSUAL_TIES = 1.4
"""Logits: the odds of a tie on equal responses are four times those of the mean annotator, or a quarter."""
MIN_VOTES = 20
"""Fewer votes are not judged: distinguishing agreement .75 from a coin's .5 with power .8 takes 22 (at level 5%)."""
MIN_GOLD = 5
"""Fewer gold votes count against nobody: Wilson's interval is an approximation."""


class Recommendation(NamedTuple):
    """What to do about one annotator."""

    action: Action
    reason: str


def recommend(found: Profiles, gold: Gold) -> list[Recommendation]:
    """The first action that applies to each annotator, with the reason.

    drop: P(spammer) ≥ DROP_FROM, or significantly more than ONE_SIDE of the votes for one side although sides are
    random, unless the gold accuracy is significantly good; or the gold accuracy is significantly below that of SPAM.
    retrain: discrimination or gold accuracy significantly below LOW, a strong side bias, or unusual ties.
    too few votes: fewer than MIN_VOTES. Only the gold accuracy is judged then, whose interval accounts for few answers.
    watch: P(spammer) ≥ WATCH_FROM, or ≥ DROP_FROM with a good gold accuracy.
    pay: all others.
    """
    enough = gold.votes >= MIN_GOLD
    failed, low = enough & (gold.high < gold.threshold(SPAM)), enough & (gold.high < gold.threshold(LOW))
    good = gold.low > gold.threshold(LOW)
    recommendations = []
    for a, spammer in enumerate(found.spammer):
        on_gold = (
            f"{gold.accuracy[a]:.2f} right on {gold.votes[a]} gold votes (chance level {gold.chance_level[a]:.2f})"
        )
        suspected = f"a spammer with probability {spammer:.2f}"
        few = found.votes[a] < MIN_VOTES
        spam = [] if few or good[a] else [suspected] * bool(spammer >= DROP_FROM) + _one_side(found, a)
        habits = [] if few else _habits(found, a)
        if why := spam + [on_gold] * bool(failed[a]):
            one = Recommendation("drop", "; ".join(why))
        elif why := habits + [on_gold] * bool(low[a]):
            one = Recommendation("retrain", "; ".join(why))
        elif few:
            one = Recommendation("too few votes", f"fewer than {MIN_VOTES} votes")
        elif spammer >= WATCH_FROM:
            one = Recommendation("watch", suspected + (f", but {on_gold}" if good[a] else ""))
        else:
            one = Recommendation("pay", "")
        recommendations.append(one)
    return recommendations


def _one_side(found: Profiles, a: int) -> list[str]:
    """The reason if an annotator chooses one side whatever the responses are.

    The ranker may explain such votes by a strong bias of a good annotator: the votes cannot distinguish the two, and
    carry almost no information in either case.
    """
    if not RANDOM_SIDES[0] <= found.lefts.sum() / max(found.sided.sum(), 1) <= RANDOM_SIDES[1]:
        return []
    side, most = max(("left", found.lefts[a]), ("right", found.sided[a] - found.lefts[a]), key=lambda pair: pair[1])
    low, _ = wilson(np.array([most / max(found.sided[a], 1)]), np.array([float(found.sided[a])]))
    return [f"{most} of {found.sided[a]} decisive votes for the {side} side"] if low[0] > ONE_SIDE else []


def _habits(found: Profiles, a: int) -> list[str]:
    """The habits of an annotator that training might correct."""
    from scipy.special import ndtri

    errors = float(ndtri(CONFIDENCE))
    habits = []
    bias, ties = found.left_bias[a], found.tie_excess[a]
    if found.low[a] >= CONFIDENCE:
        habits.append(f"discrimination {found.discrimination[a]:.2f} of the mean annotator's")
    if abs(bias) - errors * found.left_bias_se[a] > STRONG_BIAS:
        side = "left" if bias > 0 else "right"
        habits.append(f"chooses the {side} of equal responses {np.exp(abs(bias)):.1f} times as often")
    if abs(ties) - errors * found.tie_excess_se[a] > UNUSUAL_TIES:
        habits.append(f"ties on {found.tie_share[a]:.0%} of equals, far {'more' if ties > 0 else 'less'} than others")
    return habits
