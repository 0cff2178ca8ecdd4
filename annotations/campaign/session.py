"""A campaign that is open: takes votes, hands out questions, and writes down each before it says so."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import RLock
from typing import Any

from annotations.campaign.assigning import draw, first_left, next_sheet
from annotations.campaign.auth import Guests
from annotations.campaign.ballots import shut, take
from annotations.campaign.folder import CLOSING, LOCK, LOG, MEDIA, batches_on_disk, read_campaign
from annotations.campaign.lock import locked
from annotations.campaign.log import LogWriter, cut_torn, encode
from annotations.campaign.quality import verdict
from annotations.campaign.records import SKIPPED, Item, Person
from annotations.campaign.refill import More, Refill
from annotations.campaign.replay import replay, take_batch
from annotations.campaign.service import Visitor
from annotations.campaign.status import status_of
from annotations.campaign.views import Desks
from schemas.campaign import Ballot, CampaignStatus, Desk, Refusal
from schemas.errors import CurateError

Clock = Callable[[], datetime]
PLANNED = 20.0
"""Seconds that a batch which is being planned is waited for at the end."""
PROBED = 1.0
"""Seconds between two looks whether a full disk has room again."""


def utc_now() -> datetime:
    return datetime.now(UTC)


class OpenCampaign:
    """The one writer of a campaign's log; a ``Service``. Every method may be called from any thread.

    State changes first, under one lock, then the event goes to the log; nothing that rests on an event is answered
    before the disk holds it. Where the disk takes no more, the state is replayed from what it holds.
    """

    def __init__(self, folder: Path, *, clock: Clock, more: More | None) -> None:
        """Use ``OpenCampaign.open``: it holds the folder's lock."""
        self.folder, self._clock = folder, clock
        self.campaign = read_campaign(folder)
        self.config = self.campaign.config
        self._lock = RLock()
        self._lines: list[bytes] = []
        """Events that happened, and are not sent to the log yet."""
        self._ended = False
        torn = cut_torn(folder / LOG)
        self._state = replay(folder)
        self._desks = Desks(self.config)
        self._closing_path = str(folder / CLOSING)
        self._longest_lease = 60 * self.config.lease_minutes + 1
        self._guests = Guests(folder)
        self._guests.refresh()
        self._media = frozenset(path.name for path in (folder / MEDIA).glob("*") if path.is_file())
        self._probed = 0.0
        self._log = LogWriter(folder / LOG, self._lock, self._lost)
        self._refill = Refill(more, self._take_batches) if more else None
        with self._lock:
            if not self._state.seq:
                self._note(
                    "begin",
                    campaign=self.config.name,
                    campaign_id=self.campaign.campaign_id,
                    undo_minutes=self.config.undo_minutes,
                )
            self._note("start", torn=torn)
            self._new_batches()
            self._look_for_closing()
            done = self._flush()
        try:
            self._log.wait(done)
        except OSError as error:
            self._log.close()
            raise CurateError(f"{folder / LOG}: {error.strerror}", hint="make room on the disk") from error

    @classmethod
    @contextmanager
    def open(cls, folder: str | Path, *, clock: Clock = utc_now, more: More | None = None) -> Iterator[OpenCampaign]:
        """The campaign of the folder, for the block. Raises CurateError, naming the holder, where it is open already.

        clock: tells the time, with its zone. more: makes the next batch; without it, what is there is asked.
        """
        folder = Path(folder)
        read_campaign(folder)
        with locked(folder / LOCK):
            opened = cls(folder, clock=clock, more=more)
            try:
                yield opened
            finally:
                opened._end()

    def _end(self) -> None:
        if self._refill is not None:
            self._refill.wait(PLANNED)
        with self._lock:
            self._ended = True
        self._log.close()
        self._desks.close()

    # What a page asks

    def visitor(self, token: str) -> Visitor | None:
        """Whose secret link this is; None where it is nobody's, or revoked."""
        self._guests.refresh()
        return self._guests.visitor(token)

    def desk(self, annotator: str) -> Desk:
        """What they hold; a new sheet where they hold nothing and something is left to ask."""
        with self._lock:
            now = self._begin()
            desk = self._shown(self._state.person(annotator), now)
            done = self._refilled()
        try:
            self._log.wait(done)
        except OSError:
            return desk.model_copy(update={"sheet": None, "can_undo": False, "message": FULL})
        return desk

    def vote(self, annotator: str, ballot: Ballot) -> Desk | Refusal:
        """Take an answer. Once this returns a Desk, the vote is flushed to the disk."""
        return self._act(annotator, lambda person, _: self._vote(person, ballot))

    def undo(self, annotator: str) -> Desk | Refusal:
        """Take back their last vote; its question is open again."""
        return self._act(annotator, self._undo)

    def skip(self, annotator: str, question_id: str, reason: str) -> Desk | Refusal:
        """Give a question back; it goes to someone else, and never to them again."""
        return self._act(annotator, lambda person, _: self._skip(person, question_id, reason))

    def status(self) -> CampaignStatus:
        """Everything a manager may know, now."""
        with self._lock:
            now = self._begin()
            trouble = [self._refill.trouble] if self._refill and self._refill.trouble else []
            if self._log.dead:
                trouble.append("the log could be neither written nor read: votes are refused; start the page again")
            elif self._log.full:
                trouble.append("the disk is full: votes are refused until there is room")
            found = status_of(self._state, self.folder, self._guests.all, now, trouble)
            done = self._flush()
        with suppress(OSError):  # what is told of a lost event is told by the next status
            self._log.wait(done)
        return found

    def media(self, name: str) -> Path | None:
        """The file of that name below the campaign's own media/, None where there is none; whatever the name says."""
        return self.folder / MEDIA / name if name in self._media else None

    def close(self) -> None:
        """Take no more votes, for good."""
        with self._lock:
            self._begin()
            if not self._state.closed:
                self._note("close")
            done = self._flush()
        self._log.wait(done)

    # What happens with it, the lock being held

    def _act(self, annotator: str, act: Callable[[Person, datetime], Refusal | None]) -> Desk | Refusal:
        """Do something for an annotator, and answer with their desk once the disk holds it."""
        with self._lock:
            now = self._begin()
            if self._log.full and not self._room():
                return Refusal(code="disk-full", message=FULL)
            if not self._guests.is_annotator(annotator):
                return Refusal(code="unknown", message="You are not one of this campaign's annotators.")
            person = self._state.person(annotator)
            refusal = act(person, now)
            answer = refusal or self._shown(person, now)
            done = self._refilled()
        try:
            self._log.wait(done)
        except OSError:
            return Refusal(code="disk-full", message=FULL)
        return answer

    def _shown(self, person: Person, now: datetime) -> Desk:
        """Their desk, with a new sheet where they hold nothing."""
        self._hand_out(person, now)
        return self._desks.desk(self._state, person, now, goal=self._goal(person))

    def _refilled(self) -> int:
        """See whether pairs run short, and send what was noted to the log; what to wait for."""
        if self._refill is not None:
            self._refill.look(self._state, self._guests.voters())
        return self._flush()

    def _vote(self, person: Person, ballot: Ballot) -> Refusal | None:
        taken = take(self._state, person, ballot)
        if taken is None or isinstance(taken, Refusal):
            return taken
        self._free(person, taken.freed, "answered")
        self._note("vote", annotator=person.name, **taken.fields)
        found = verdict(self._state, person)
        if found is not None:
            self._note(found.event, annotator=person.name, reasons=list(found.reasons))
            if found.event == "stop":
                self._free(person, [lease.question for lease in person.leases], "stopped")
        return None

    def _undo(self, person: Person, now: datetime) -> Refusal | None:
        if refusal := shut(self._state, person):
            return refusal
        last = person.last
        if last is None or now.timestamp() > last.at + 60 * self.config.undo_minutes:
            return Refusal(code="nothing-to-undo", message="There is no vote that could be taken back.")
        self._note("undo", annotator=person.name, vote=last.vote)
        item = self._state.items[last.item]
        ahead = person.leases[0] if person.leases else None
        same = ahead is not None and self._state.items[ahead.item].group == item.group
        sheet = ahead.sheet if ahead is not None and same else self._id("sheet", person.name, self._state.seq)
        self._lease(person, sheet, [(item, last.first_left)], now, again=True)
        return None

    def _skip(self, person: Person, question: str, reason: str) -> Refusal | None:
        past = person.past.get(question)
        if past is not None and past.vote == SKIPPED:
            return None
        if refusal := shut(self._state, person):
            return refusal
        lease = next((lease for lease in person.leases if lease.question == question), None)
        if lease is None:
            return Refusal(code="unknown", message="This question is not open. Reload the page to go on.")
        task = self._state.items[lease.item].task_id
        self._note("skip", annotator=person.name, question=question, task=task, reason=reason[:2_000])
        return None

    def _hand_out(self, person: Person, now: datetime) -> None:
        """A new sheet, where they hold nothing."""
        free = not person.leases and person.standing != "stopped" and self._guests.may_vote(person.name)
        if not free or self._state.closed:
            return
        if self._log.full and not self._room():
            return
        chosen = [(item, first_left(self._state, person, item)) for item in next_sheet(self._state, person)]
        if chosen:
            self._lease(person, self._id("sheet", person.name, self._state.seq), chosen, now)

    def _lease(
        self, person: Person, sheet: str, chosen: list[tuple[Item, bool]], now: datetime, *, again: bool = False
    ) -> None:
        until = now + timedelta(minutes=self.config.lease_minutes)
        questions = [
            {
                "question": self._id("question", person.name, item.task_id, self._state.seq),
                "task": item.task_id,
                "left": "first" if left_first else "second",
            }
            for item, left_first in chosen
        ]
        extra = {"again": True} if again else {}
        self._note("lease", annotator=person.name, sheet=sheet, until=_iso(until), questions=questions, **extra)

    def _id(self, *what: object) -> str:
        return f"{draw(self.campaign.campaign_id, self.config.seed, *what):016x}"

    def _free(self, person: Person, questions: list[str], why: str) -> None:
        if questions:
            self._note("free", annotator=person.name, questions=questions, why=why)

    def _begin(self) -> datetime:
        """The time, once all that it brings about is noted."""
        self._guests.refresh()
        now = self._clock()
        if self._log.full and not self._room():
            return now
        self._look_for_closing()
        for name in self._guests.revoked():
            person = self._state.person(name)
            self._free(person, [lease.question for lease in person.leases], "revoked")
        expiring = self._state.expiring
        while expiring:
            question, (until, name) = next(iter(expiring.items()))
            if 0 < until - now.timestamp() <= self._longest_lease:  # longer: the clock went back since
                break
            self._free(self._state.person(name), [question], "expired")
        return now

    def _look_for_closing(self) -> None:
        if not self._state.closed and os.path.exists(self._closing_path):  # noqa: PTH110 (at every request)
            self._note("close")

    def _goal(self, person: Person) -> int:
        if self._state.votes >= self.config.votes:
            return person.votes  # all that is wanted is there, whoever gave it
        if self.config.max_votes:
            return self.config.max_votes
        people = len(self._state.in_good_standing(self._guests.voters()))
        asked = self.config.votes / (1 - self.config.gold_share - self.config.attention_share)
        return math.ceil(round(asked / people, 6)) if people else 0

    # Log, disk, batches

    def _note(self, event: str, **fields: Any) -> None:
        """Let something happen: to the state now, to the log with the next flush."""
        noted = {"seq": self._state.seq + 1, "at": _iso(self._clock()), "event": event, **fields}
        self._state.apply(noted)
        self._lines.append(encode(noted))

    def _flush(self) -> int:
        """Send to the log what was noted; what to wait for until the disk holds it, and all that came before."""
        lines = b"".join(self._lines)
        self._lines.clear()
        return self._log.submit(lines)

    def _lost(self, _: OSError) -> None:
        """Go back to what the disk holds. Where that cannot be read, the log takes nothing more."""
        self._lines.clear()
        self._state = replay(self.folder)

    def _room(self) -> bool:
        """Whether a disk that was full has room again."""
        if time.monotonic() < self._probed + PROBED:
            return False
        self._probed = time.monotonic()
        return self._log.has_room()

    def _new_batches(self) -> None:
        for number in range(self._state.batches + 1, batches_on_disk(self.folder) + 1):
            before = self._state.planned
            take_batch(self._state, self.folder, number)
            self._note("batch", number=number, votes=self._state.planned - before)

    def _take_batches(self) -> bool:
        """Take in what was planned meanwhile; whether there was anything."""
        with self._lock:
            if self._ended:
                return True
            self._begin()
            before = self._state.batches
            self._new_batches()
            taken = self._state.batches > before
            done = self._flush()
        self._log.wait(done)
        return taken


FULL = "Votes cannot be stored right now: the disk is full. Your last answer was not taken; tell the manager."


def _iso(time: datetime) -> str:
    return time.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
