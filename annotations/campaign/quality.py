"""How well an annotator does, by the bars of the campaign: figures, what they are below, and what follows."""

from __future__ import annotations

from math import comb
from typing import Literal, NamedTuple

import numpy as np

from annotations.campaign.records import Person
from annotations.campaign.state import State
from schemas.campaign import Kind

CHANCE = 0.01
"""A share of one side is held against someone only where a fair coin would show it less often than this."""


class Figures(NamedTuple):
    """Of one annotator; None where there is nothing to tell them by."""

    gold_right: float | None
    seconds: float | None
    """Median."""
    left: float | None
    agreement: float | None
    """Share of their decided votes that others' majority on the pair agrees with."""
    agreement_on: int
    watched: float | None


def figures(state: State, person: Person) -> Figures:
    """Theirs now."""
    agreed, compared = agreement(state, person)
    return Figures(
        gold_right=person.gold_right / person.gold if person.gold else None,
        seconds=_median(person) if person.votes else None,
        left=person.left / person.decided if person.decided else None,
        agreement=agreed / compared if compared else None,
        agreement_on=compared,
        watched=person.watched / person.votes if person.votes else None,
    )


def _median(person: Person) -> float:
    return float(np.median(np.frombuffer(person.seconds.tobytes(), np.float64)))


def agreement(state: State, person: Person) -> tuple[int, int]:
    """(votes that agree, votes compared): decided votes on pairs where the others' decided votes have a majority."""
    if not person.votes:
        return 0, 0
    codes = np.frombuffer(person.outcomes.tobytes(), np.int8)
    items, codes = np.frombuffer(person.items.tobytes(), np.int32)[codes < 2], codes[codes < 2]
    wins = np.frombuffer(state.wins.tobytes(), np.int32).reshape(-1, 4)[items, :2]
    votes = np.frombuffer(bytes(state.is_vote), np.bool_)[items]
    each = np.arange(len(codes))
    margin = wins[each, codes] - 1 - wins[each, 1 - codes]  # of the others, toward what they said
    return int((votes & (margin > 0)).sum()), int((votes & (margin != 0)).sum())


def below(state: State, person: Person) -> tuple[str, ...]:
    """The bars that they are below, in words."""
    bars, found = state.config.bars, []
    if person.gold >= bars.least and person.gold_right / person.gold < bars.gold_accuracy:
        found.append(f"{person.gold_right} of {person.gold} known answers met; expected {bars.gold_accuracy:.0%}")
    if person.votes >= bars.least and 2 * person.fast > person.votes:  # so that the median is below the bar
        found.append(f"{_median(person):.1f} seconds on a question; expected {bars.seconds:g} or more")
    if bars.agreement:
        agreed, compared = agreement(state, person)
        if compared >= bars.least and agreed / compared < bars.agreement:
            found.append(f"{agreed} of {compared} votes agree with others'; expected {bars.agreement:.0%}")
    most = max(person.left, person.decided - person.left)
    if person.decided >= bars.least and most / person.decided > bars.side_bias and _odd(most, person.decided):
        side = "left" if most == person.left else "right"
        found.append(f"{most} of {person.decided} decided votes are for the {side} side")
    return tuple(found)


def _odd(most: int, count: int) -> bool:
    """Whether so many of one side come rarely of a fair coin. Past 200 a share above the bar always does."""
    if count > 200:
        return True
    chance: float = 2 * sum(comb(count, k) for k in range(most, count + 1)) / 2**count
    return chance < CHANCE


class Verdict(NamedTuple):
    """What follows from where someone stands: an event of the log."""

    event: Literal["warn", "stop", "clear"]
    reasons: tuple[str, ...]


def verdict(state: State, person: Person) -> Verdict | None:
    """What follows after a vote; None where everything stays as it is.

    Below a bar: a warning. Still below after ``patience`` more votes, with a known answer among them where that is the
    only bar and one is left to ask: a stop. Above all bars again: the warning is lifted.
    """
    if person.standing == "stopped":
        return None
    reasons = below(state, person)
    if person.standing == "ok":
        return Verdict("warn", reasons) if reasons else None
    if not reasons:
        return Verdict("clear", ())
    votes, gold = person.warned_at
    by_gold_alone = len(reasons) == 1 and "known answers" in reasons[0]
    untested = by_gold_alone and person.gold == gold and _more_known(state, person)
    if person.votes - votes >= state.config.bars.patience and not untested:
        return Verdict("stop", reasons)
    return None


def _more_known(state: State, person: Person) -> bool:
    """Whether there is a known answer that they were not asked."""
    kind: Kind = "gold" if state.config.gold_share else "attention"
    return any(not state.items[number].seen >> person.number & 1 for number in state.controls[kind])
