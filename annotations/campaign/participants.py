"""What the log says about the participants of a crowd, besides their votes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from annotations.campaign.chain import Event
from schemas.crowd import CrowdResult

if TYPE_CHECKING:
    from annotations.campaign.state import State


class Practice(NamedTuple):
    """An answered practice question."""

    task: str
    outcome: str
    control: str
    """The known answer, as shown."""

    @property
    def correct(self) -> bool:
        """Whether the answer is the known one."""
        return self.outcome == self.control


@dataclass(slots=True)
class Participant:
    """What the log says about a participant, besides votes."""

    consented: bool = False
    ready: bool = False
    """The tutorial was read."""
    practice: list[Practice] = field(default_factory=list)
    qualified: bool = False
    result: CrowdResult | None = None


def _join(state: State, event: Event) -> None:
    state.annotator(event["annotator"])
    state.participants[event["annotator"]] = Participant()


def _step(state: State, event: Event) -> None:
    participant = state.participants.setdefault(event["annotator"], Participant())  # the line of its join may be lost
    match event["event"]:
        case "consent":
            participant.consented = True
        case "ready":
            participant.ready = True
        case "practice":
            participant.practice.append(Practice(event["task"], event["outcome"], event["control"]))
            number, bit = state.by_task[event["task"]], 1 << state.annotator(event["annotator"]).number
            for one in next((items for items in state.controls["gold"] if number in items), [number]):
                state.items[one].seen |= bit  # no control question comes twice
        case "qualify":
            participant.qualified = event["passed"]
        case "finish":
            participant.result = event["result"]


ACTS = {"join": _join, **dict.fromkeys(("consent", "ready", "practice", "qualify", "finish"), _step)}
"""Event -> how it changes the state."""
