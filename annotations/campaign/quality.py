"""Live quality control: figures per annotator, thresholds, and warnings and stops."""

from __future__ import annotations

from math import comb
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from annotations.campaign.records import Annotator
from annotations.campaign.state import State
from annotations.campaign.timing import EXCESS
from schemas.campaign import QuestionKind

Floats = npt.NDArray[np.float64]
SIGNIFICANCE = 0.01
"""A one-sided share counts against an annotator only if a fair coin shows it with a lower probability."""


class Figures(NamedTuple):
    """Quality figures of an annotator; None without data."""

    gold_accuracy: float | None
    median_seconds: float | None
    claimed_seconds: float | None
    """Median of the claimed times."""
    excess_claims: int
    """Votes whose claimed time exceeds the server's by more than EXCESS."""
    left_share: float | None
    agreement: float | None
    """Share of the compared votes that agree with the majority of the others on the pair."""
    compared: int
    watched: float | None


def figures(state: State, annotator: Annotator) -> Figures:
    """The current figures of an annotator."""
    agreed, compared = agreement(state, annotator)
    claimed = np.array(annotator.claimed)
    return Figures(
        gold_accuracy=annotator.gold_correct / annotator.gold if annotator.gold else None,
        median_seconds=float(np.median(times_of(state, annotator))) if annotator.votes else None,
        claimed_seconds=float(np.median(claimed)) if annotator.votes else None,
        excess_claims=int((claimed - np.array(annotator.seconds) > EXCESS).sum()),
        left_share=annotator.left / annotator.decisive if annotator.decisive else None,
        agreement=agreed / compared if compared else None,
        compared=compared,
        watched=annotator.watched / annotator.votes if annotator.votes else None,
    )


def times_of(state: State, annotator: Annotator, start: int = 0) -> Floats:
    """The times of the votes without the first ``start`` ones, seconds; with criteria, of those by the first criterion:
    by the later ones both answers are known already."""
    seconds = np.array(annotator.seconds)[start:]
    if not state.config.criteria:
        return seconds
    first = np.frombuffer(bytes(state.is_first), np.bool_)[np.array(annotator.items, np.int32)[start:]]
    return seconds[first] if first.any() else seconds


def agreement(state: State, annotator: Annotator, start: int = 0) -> tuple[int, int]:
    """(votes that agree, votes compared): decisive votes on pairs where the others' decisive votes have a majority.

    start: the number of first votes that are left out.
    """
    if not annotator.votes > start:
        return 0, 0
    codes = np.frombuffer(annotator.outcomes.tobytes(), np.int8)[start:]
    items, codes = np.frombuffer(annotator.items.tobytes(), np.int32)[start:][codes < 2], codes[codes < 2]
    wins = np.frombuffer(state.wins.tobytes(), np.int32).reshape(-1, 4)[items, :2]
    votes = np.frombuffer(bytes(state.is_vote), np.bool_)[items]
    each = np.arange(len(codes))
    margin = wins[each, codes] - 1 - wins[each, 1 - codes]  # of the others, in favour of the annotator's choice
    return int((votes & (margin > 0)).sum()), int((votes & (margin != 0)).sum())


def violations(state: State, annotator: Annotator) -> tuple[str, ...]:
    """The thresholds that an annotator violates, as short texts; the page shows them to the annotator."""
    limits, found, start = state.config.thresholds, [], annotator.judged_from
    gold, correct = annotator.gold - start.gold, annotator.gold_correct - start.gold_correct
    times = times_of(state, annotator, start.votes)
    if gold >= limits.min_questions and correct / gold < limits.gold_accuracy:
        right = f"{correct} of {gold} control questions"
        found.append(f"{right} answered correctly (expected: {limits.gold_accuracy:.0%})")
    if len(times) >= limits.min_questions and 2 * (times < limits.min_seconds).sum() > len(times):  # the median
        time = f"{np.median(times):.1f} seconds per question"
        found.append(f"{time} (expected: at least {limits.min_seconds:g})")
    if limits.agreement:
        agreed, compared = agreement(state, annotator, start.votes)
        if compared >= limits.min_questions and agreed / compared < limits.agreement:
            found.append(f"{agreed} of {compared} votes agree with other annotators (expected: {limits.agreement:.0%})")
    left, decisive = annotator.left - start.left, annotator.decisive - start.decisive
    most, criteria = max(left, decisive - left), len(state.config.criterion_ids)
    one_sided = decisive >= limits.min_questions and most / decisive > limits.max_side_share
    # Votes on one pair by several criteria are no independent draws.
    if one_sided and _significant(most // criteria, decisive // criteria):
        side = "left" if most == left else "right"
        found.append(f"{most} of {decisive} decisive votes are for the {side} side")
    return tuple(found)


def _significant(most: int, count: int) -> bool:
    """Whether a fair coin shows so many of one side with a probability below SIGNIFICANCE (always above 200 votes)."""
    if count > 200:
        return True
    p_value: float = 2 * sum(comb(count, k) for k in range(most, count + 1)) / 2**count
    return p_value < SIGNIFICANCE


class Decision(NamedTuple):
    """A change of an annotator's status, as an event of the log."""

    event: Literal["warn", "stop", "clear"]
    reasons: tuple[str, ...]


def decide(state: State, annotator: Annotator) -> Decision | None:
    """The change of status after a vote; None without a change.

    A first violation gives a warning. If there is still one after ``patience`` more votes, the annotator is stopped;
    if the control questions are the only violation, there must have been another control question since the warning,
    as long as one is left. Without violations the warning is cleared.
    """
    if annotator.status == "stopped":
        return None
    reasons = violations(state, annotator)
    if annotator.status == "ok":
        return Decision("warn", reasons) if reasons else None
    if not reasons:
        return Decision("clear", ())
    votes, gold = annotator.warned_at
    only_gold = len(reasons) == 1 and "control questions" in reasons[0]
    untested = only_gold and annotator.gold == gold and _controls_left(state, annotator)
    if annotator.votes - votes >= state.config.thresholds.patience and not untested:
        return Decision("stop", reasons)
    return None


def _controls_left(state: State, annotator: Annotator) -> bool:
    """Whether there is a control question that is new to the annotator."""
    kind: QuestionKind = "gold" if state.config.gold_share else "attention"
    return any(not state.items[items[0]].seen >> annotator.number & 1 for items in state.controls[kind])
