"""Whether an answer is taken, and the vote that it is; whatever is wrong with it is known before anything is stored."""

from __future__ import annotations

from typing import Any, NamedTuple

from annotations.campaign.records import Item, Person
from annotations.campaign.state import State
from schemas.campaign import Ballot, Refusal

PLAYED = 0.005
"""Share by which a page may round what was played."""


class Taken(NamedTuple):
    """An answer that is taken."""

    freed: list[str]
    """Questions that are answered with it: the same pair, held anew after its time was over."""
    fields: dict[str, Any]
    """Of the event ``vote``."""


def take(state: State, person: Person, ballot: Ballot) -> Taken | Refusal | None:
    """What becomes of an answer; None where it was taken before: a page that hears nothing sends it again."""
    past = person.past.get(ballot.question_id)
    if ballot.vote_id in person.sent:
        return None
    if past is not None and past.vote is not None:
        return Refusal(code="unknown", message="This question was answered already. Reload the page to go on.")
    if refusal := shut(state, person):
        return refusal
    lease = next((lease for lease in person.leases if lease.question == ballot.question_id), None)
    held = lease or past
    if held is None:
        return Refusal(code="unknown", message="This question is not yours. Reload the page to go on.")
    item, least = state.items[held.item], state.config.min_watched
    again = [other.question for other in person.leases if other.item == held.item and other is not lease]
    if lease is None and not again and (refusal := _too_late(item, person)):
        return refusal
    if item.video_seconds is not None and ballot.watched + PLAYED < least:
        message = f"Watch at least {least:.0%} of the video before you vote; so far it is {ballot.watched:.0%}."
        return Refusal(code="unwatched", message=message)
    fields = _fields(item, held.first_left, ballot)
    return Taken([], fields) if lease is not None else Taken(again, fields | {"late": True})


def shut(state: State, person: Person) -> Refusal | None:
    """Why nothing is taken from someone any more; None where it is."""
    if state.closed:
        return Refusal(code="closed", message="This campaign is closed. Thank you for your votes.")
    if person.standing == "stopped":
        return Refusal(code="stopped", message=f"You are asked nothing more: {'; '.join(person.reasons)}.")
    return None


def _fields(item: Item, first_left: bool, ballot: Ballot) -> dict[str, Any]:
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
        "seconds": ballot.seconds,
        "watched": ballot.watched,
    }
    if ballot.reason:
        fields["reason"] = ballot.reason
    if ballot.confidence is not None:
        fields["confidence"] = ballot.confidence
    if item.answer is not None:
        sides = {"first": "left" if first_left else "right", "second": "right" if first_left else "left"}
        fields["control"] = sides.get(item.answer, item.answer)
    return fields


def _too_late(item: Item, person: Person) -> Refusal | None:
    """Why a question whose time was over is taken no more."""
    seen = item.seen >> person.number & 1
    if not seen and (item.kind != "vote" or item.room > 0):
        return None
    if item.kind == "vote" and item.votes >= item.quota:
        return Refusal(code="full", message="This question has all its votes by now. Reload the page to go on.")
    return Refusal(code="expired", message="This question went to someone else meanwhile. Reload the page to go on.")
