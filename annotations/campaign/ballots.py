"""Validation of ballots: every check is made before anything is stored."""

from __future__ import annotations

from typing import Any, NamedTuple

from annotations.campaign.log import iso
from annotations.campaign.records import Annotator, Item
from annotations.campaign.state import State
from annotations.campaign.timing import MAX_SPEED, measure
from schemas.campaign import Ballot, Refusal

ROUNDING = 0.005
"""Share by which a page may round the share watched."""


TOO_FAST = (
    "This vote was not saved: it came {missing} s before {watched:.0%} of the video could have been played, even at "
    "{speed:g}× speed. Please watch the video and vote again."
)


class Accepted(NamedTuple):
    """A valid ballot."""

    superseded: list[str]
    """Later leases of the same pair, which end with this answer."""
    fields: dict[str, Any]
    """The fields of the ``vote`` event."""


def check_ballot(state: State, annotator: Annotator, ballot: Ballot, now: float) -> Accepted | Refusal | None:
    """Accept or refuse a ballot; None for a repeated one, which a page sends when it received no reply.

    now: the time of its arrival, seconds since 1970.
    """
    past = annotator.past.get(ballot.question_id)
    if ballot.vote_id in annotator.sent:
        return None
    if past is not None and past.vote is not None:
        message = "This question has already been answered. Please reload the page."
        return Refusal(code="unknown", message=message)
    if refusal := refusal_of(state, annotator):
        return refusal
    lease = next((lease for lease in annotator.leases if lease.question == ballot.question_id), None)
    held = lease or past
    if held is None:
        return Refusal(code="unknown", message="This question is not assigned to you. Please reload the page.")
    item, required = state.items[held.item], state.config.min_watched
    superseded = [other.question for other in annotator.leases if other.item == held.item and other is not lease]
    if lease is None and not superseded and (refusal := _expired(item, annotator)):
        return refusal
    if item.video_seconds is not None and ballot.watched + ROUNDING < required:
        message = f"Please watch at least {required:.0%} of the video before you vote (so far: {ballot.watched:.0%})."
        return Refusal(code="unwatched", message=message)
    times = measure(annotator, item, held.at, claimed=ballot.seconds, watched=ballot.watched, arrived=now)
    if times.missing:
        text = TOO_FAST.format(missing=max(1, round(times.missing)), watched=ballot.watched, speed=MAX_SPEED)
        return Refusal(code="too-fast", message=text)
    fields = _vote_fields(item, held.first_left, ballot) | {
        "leased": iso(held.at),
        "seconds": round(times.seconds, 3),
        "claimed_seconds": ballot.seconds,
    }
    return Accepted([], fields) if lease is not None else Accepted(superseded, fields | {"late": True})


def refusal_of(state: State, annotator: Annotator) -> Refusal | None:
    """The reason why no answer of the annotator is accepted any more; None if answers are accepted."""
    if state.closed:
        return Refusal(code="closed", message="This campaign is closed. Thank you for your votes.")
    participant = state.participants.get(annotator.name)
    if participant is not None and participant.result is not None:
        return Refusal(code="closed", message="You have finished this study. Thank you for your votes.")
    if annotator.status == "stopped":
        message = f"You will not get any more questions: {'; '.join(annotator.reasons)}."
        return Refusal(code="stopped", message=message)
    return None


def _vote_fields(item: Item, first_left: bool, ballot: Ballot) -> dict[str, Any]:
    left, right = (item.first, item.second) if first_left else (item.second, item.first)
    fields: dict[str, Any] = {
        "question": ballot.question_id,
        "vote": ballot.vote_id,
        "task": item.task_id,
        "kind": item.kind,
        "prompt_id": item.prompt_id,
        "left": left,
        "right": right,
        "outcome": ballot.outcome,
        "watched": ballot.watched,
    }
    if item.criterion:
        fields["criterion"] = item.criterion
    if ballot.reason:
        fields["reason"] = ballot.reason
    if ballot.confidence is not None:
        fields["confidence"] = ballot.confidence
    if item.answer is not None:
        sides = {"first": "left" if first_left else "right", "second": "right" if first_left else "left"}
        fields["control"] = sides.get(item.answer, item.answer)
    return fields


def _expired(item: Item, annotator: Annotator) -> Refusal | None:
    """The refusal of an answer after its lease expired; None if the pair still needs it."""
    seen = item.seen >> annotator.number & 1
    if not seen and (item.kind != "vote" or item.room > 0):
        return None
    if item.kind == "vote" and item.votes >= item.quota:
        return Refusal(code="full", message="This question has all its votes now. Please reload the page.")
    message = "Your time for this question is over, and someone else has it now. Please reload the page."
    return Refusal(code="expired", message=message)
