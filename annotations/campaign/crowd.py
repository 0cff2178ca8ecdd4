"""The participants of a campaign that is open to a crowd: their stage, and the events of each step, by the state.

A participant joins, accepts the consent text, reads the tutorial, answers the practice questions, votes, and finishes.
Each step is an event of the log, so that a participant who returns continues where they left, also on another device.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

from annotations.campaign.assignment import draw
from annotations.campaign.participants import Participant
from annotations.campaign.records import Item
from annotations.campaign.state import State
from schemas.crowd import CrowdConfig, CrowdResult
from schemas.votes import Outcome

Stage = Literal["consent", "tutorial", "practice", "vote", "over"]
Step = tuple[str, dict[str, Any]]
"""An event to record, and its fields."""


def stage(config: CrowdConfig, participant: Participant) -> Stage:
    """The stage that a participant is in."""
    if participant.result is not None:
        return "over"
    if not participant.consented:
        return "consent"
    if not participant.ready and (config.qualification or config.tutorial):
        return "tutorial"
    return "practice" if config.qualification and not participant.qualified else "vote"


def possible_result(state: State, name: str) -> CrowdResult | None:
    """The result if the participant finishes now; None while there are questions for them."""
    annotator, participant = state.annotator(name), state.participants[name]
    if participant.result is not None:
        return participant.result
    if annotator.status == "stopped":
        return "stopped"
    if 0 < state.config.max_votes <= annotator.votes:
        return "completed"
    return "no_more_work" if state.closed or not (annotator.leases or state.paused) else None


def practice_item(state: State, name: str, number: int) -> tuple[Item, bool]:
    """Practice question ``number`` (0, 1, …) of a participant, and whether its first response is shown left."""
    key = (state.config.seed, name, "practice")
    gold = [next(item for item in items if state.items[item].answer) for items in state.controls["gold"]]
    order = sorted(gold, key=lambda item: draw(*key, state.items[item].task_id))
    item = state.items[order[number]]
    return item, draw(*key, item.task_id, "side") % 2 == 0


# Steps: the events that follow from a participant's action. One that was taken already gives no event.


def join(state: State, name: str, config: CrowdConfig) -> Iterator[Step]:
    """Begin a participation."""
    if name not in state.participants:
        yield "join", {"platform": config.platform}


def consent(state: State, name: str, digest: str) -> Iterator[Step]:
    """Accept the consent text with this SHA-256."""
    if not state.participants[name].consented:
        yield "consent", {"text": digest}


def ready(state: State, name: str) -> Iterator[Step]:
    """Have read the tutorial."""
    participant = state.participants[name]
    if participant.consented and not participant.ready:
        yield "ready", {}


def practise(state: State, name: str, config: CrowdConfig, number: int, outcome: Outcome) -> Iterator[Step]:
    """Answer practice question ``number``; after the last one, qualify or finish as screened out."""
    participant = state.participants[name]
    if stage(config, participant) != "practice" or number != len(participant.practice):
        return
    item, first_left = practice_item(state, name, number)
    sides = {"first": "left" if first_left else "right", "second": "right" if first_left else "left"}
    control = sides.get(str(item.answer), str(item.answer))
    left = "first" if first_left else "second"
    yield "practice", {"task": item.task_id, "left": left, "outcome": outcome, "control": control}
    if number + 1 == config.qualification:
        correct = sum(one.correct for one in participant.practice)
        passed = correct >= config.pass_mark * config.qualification - 1e-9
        yield "qualify", {"passed": passed, "correct": correct, "questions": config.qualification}
        if not passed:
            yield "finish", {"result": "screened_out"}


def finish(state: State, name: str, config: CrowdConfig) -> Iterator[Step]:
    """End the participation, if there are no questions left for the participant."""
    participant = state.participants[name]
    result = possible_result(state, name)
    if stage(config, participant) == "vote" and result is not None:
        yield "finish", {"result": result}
