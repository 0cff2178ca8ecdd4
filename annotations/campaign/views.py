"""What an annotator's page is shown, from the state: the sheet in hand with its texts, progress, messages."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import PurePosixPath

from annotations.campaign.folder import Texts
from annotations.campaign.records import Lease, Person
from annotations.campaign.state import State
from schemas.campaign import CampaignConfig, Desk, Question, Sheet

IMAGES = (".jpg", ".jpeg", ".png", ".gif", ".webp")


class Desks:
    """Makes desks; reads the texts of questions from the files of tasks."""

    def __init__(self, config: CampaignConfig) -> None:
        self.config = config
        self._texts = Texts()

    def desk(self, state: State, person: Person, now: datetime, *, goal: int) -> Desk:
        """Theirs now. goal: votes of theirs to aim for, 0 where that is not known."""
        config, last = self.config, person.last
        free = not state.closed and person.standing != "stopped"
        return Desk(
            campaign=config.name,
            title=config.title or config.name,
            instructions=config.instructions,
            annotator=person.name,
            ask_reason=config.ask_reason,
            ask_confidence=config.ask_confidence,
            min_watched=config.min_watched,
            break_minutes=config.break_minutes,
            votes=person.votes,
            goal=goal,
            standing=person.standing,
            message=_message(state, person),
            can_undo=free and last is not None and now.timestamp() <= last.at + 60 * config.undo_minutes,
            closed=state.closed,
            sheet=self._sheet(state, person) if free and person.leases else None,
        )

    def _sheet(self, state: State, person: Person) -> Sheet:
        leases = [lease for lease in person.leases if lease.sheet == person.leases[0].sheet]
        item = state.items[leases[0].item]
        image = PurePosixPath(item.video).suffix in IMAGES
        return Sheet(
            sheet_id=leases[0].sheet,
            video=item.video,
            video_seconds=item.video_seconds,
            kind="none" if not item.video else "image" if image else "video",
            questions=tuple(self._question(state, lease) for lease in leases),
            expires=datetime.fromtimestamp(min(lease.until for lease in leases), UTC).isoformat(timespec="seconds"),
        )

    def _question(self, state: State, lease: Lease) -> Question:
        task = self._texts.read(state.items[lease.item].place)
        first, second = task["first_text"], task["second_text"]
        left, right = (first, second) if lease.first_left else (second, first)
        return Question(question_id=lease.question, question=task["question"], left_text=left, right_text=right)

    def close(self) -> None:
        self._texts.close()


def _message(state: State, person: Person) -> str:
    reasons = "; ".join(person.reasons)
    if person.standing == "stopped":
        return f"You are asked nothing more: {reasons}."
    if person.standing == "warned":
        left = max(0, state.config.bars.patience - (person.votes - person.warned_at[0]))
        return f"Please take more care: {reasons}. It is looked at again in {left or 1} votes."
    return ""
