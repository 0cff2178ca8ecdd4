"""A campaign session: the process that hands out questions, accepts votes, and writes the log."""

from __future__ import annotations

import errno
import math
import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from threading import RLock
from typing import Any, TypeVar

from pydantic import ValidationError

from annotations.campaign.assignment import draw, next_sheet
from annotations.campaign.auth import Authenticator, Visitor, change_members
from annotations.campaign.ballots import check_ballot, refusal_of
from annotations.campaign.chain import LogKey
from annotations.campaign.crowd import Step, stage
from annotations.campaign.folder import (
    CLOSING,
    LOCK,
    LOG,
    MEDIA,
    ORDERS,
    TaskReader,
    batches_on_disk,
    locked,
    read_campaign,
    read_crowd,
)
from annotations.campaign.log import LogWriter, iso, truncate_incomplete
from annotations.campaign.management import check_action
from annotations.campaign.quality import decide
from annotations.campaign.records import SKIPPED, Annotator, Item
from annotations.campaign.refill import PlanBatch, Refill
from annotations.campaign.state import State, add_batch, replay
from annotations.campaign.views import annotator_view, campaign_status
from schemas.campaign import AnnotatorView, Ballot, CampaignConfig, CampaignStatus, Refusal
from schemas.errors import CurateError, ResourceError
from schemas.management import Action, Add, Order, Retire

T = TypeVar("T")
Clock = Callable[[], datetime]
PLANNING_WAIT = 20.0
"""Seconds to wait at the end for a batch that is being planned."""
PROBE_INTERVAL = 1.0
"""Seconds between two checks whether a full disk has room again."""
FULL = "Votes cannot be saved at the moment because the disk is full. Please tell the manager of this campaign."


class CampaignSession:
    """An open campaign, the only writer of its log. Every method is thread-safe.

    An event changes the state under one lock and then goes to the log; a call returns once the disk holds the events
    that its result depends on. If a write fails, the state is replayed from the log.
    """

    def __init__(self, folder: Path, *, clock: Clock, plan: PlanBatch | None) -> None:
        """Use ``CampaignSession.open``, which holds the folder's lock."""
        self.folder, self._clock = folder, clock
        self._now = clock().timestamp()
        self._at = iso(self._now)
        """The time of the request, seconds since 1970."""
        self.campaign = read_campaign(folder)
        self.crowd = read_crowd(folder)
        self._lock = RLock()
        self._lines: list[bytes] = []
        """Events that were applied and not yet submitted to the log."""
        self._ended = False
        torn = truncate_incomplete(folder / LOG)
        self._state = replay(folder)
        self._key = LogKey.of(folder / LOG, self._state.seq)
        self._texts = TaskReader()
        self._closing_path = str(folder / CLOSING)
        self._orders_path = str(folder / ORDERS)
        self._orders: list[Path] = []
        """Orders that were recorded and may not be on the disk yet."""
        self._problems: list[str] = []
        """Why orders could not be done."""
        self._auth = Authenticator(folder)
        self._auth.refresh()
        self._find_media()
        self._probed = 0.0
        self._log = LogWriter(folder / LOG, self._lock, self._roll_back)
        self._refill = Refill(plan, self._take_batches) if plan else None
        with self._lock:
            if not self._state.seq:
                self._record(
                    "begin",
                    campaign=self.config.name,
                    campaign_id=self.campaign.campaign_id,
                    undo_minutes=self.config.undo_minutes,
                )
            self._record("start", torn=torn)
            self._add_new_batches()
            self._take_orders()
            self._check_closing()
            ticket = self._submit()
        try:
            self._wait(ticket)
        except OSError as error:
            self._log.close()
            raise ResourceError(f"{folder / LOG}: {error.strerror}", hint="make room on the disk") from error
        self._key = self._key.write(folder / LOG, last=self._state.seq)

    @classmethod
    @contextmanager
    def open(
        cls, folder: str | Path, *, clock: Clock = lambda: datetime.now(UTC), plan: PlanBatch | None = None
    ) -> Iterator[CampaignSession]:
        """Open the campaign of a folder for the block. Raises CurateError, with the holder, if it is already open.

        clock: returns the time with a time zone. plan: plans the next batch; without it, only existing batches are
        asked.
        """
        folder = Path(folder)
        read_campaign(folder)
        with locked(folder / LOCK):
            session = cls(folder, clock=clock, plan=plan)
            try:
                yield session
            finally:
                session._end()

    def _end(self) -> None:
        if self._refill is not None:
            self._refill.wait(PLANNING_WAIT)
        with self._lock:
            self._ended = True
            self._submit()  # what a request recorded before it failed
        self._log.close()
        if not (self._log.full or self._log.dead):
            with suppress(OSError):
                self._key.write(self.folder / LOG, last=self._state.seq)
        self._texts.close()

    # Called by the page

    @property
    def config(self) -> CampaignConfig:
        """The present settings."""
        return self._state.config

    def visitor(self, token: str) -> Visitor | None:
        """The owner of a secret link; None for an unknown or revoked one. Called on every request; never waits."""
        self._auth.refresh()
        return self._auth.visitor(token)

    def view(self, name: str) -> AnnotatorView:
        """An annotator's view, with new sheets if they hold too few and some are left."""
        with self._lock:
            self._begin()
            view = self._next_view(self._state.annotator(name))
            ticket = self._submit_and_refill()
        try:
            self._wait(ticket)
        except OSError:
            return view.model_copy(update={"sheet": None, "ahead": (), "can_undo": False, "message": FULL})
        return view

    def vote(self, name: str, ballot: Ballot) -> AnnotatorView | Refusal:
        """Accept a vote; the disk holds it when this returns a view."""
        return self._act(name, lambda annotator: self._vote(annotator, ballot))

    def undo(self, name: str) -> AnnotatorView | Refusal:
        """Undo the last vote of an annotator; its question is open again."""
        return self._act(name, self._undo)

    def skip(self, name: str, question_id: str, reason: str) -> AnnotatorView | Refusal:
        """Skip a question; it goes to someone else and never to the same annotator again."""
        return self._act(name, lambda annotator: self._skip(annotator, question_id, reason))

    def status(self) -> CampaignStatus:
        """The current status, for managers."""
        with self._lock:
            self._begin()
            problems = self._problems + ([self._refill.problem] if self._refill and self._refill.problem else [])
            if problem := self._log_problem():
                problems.append(problem)
            found = campaign_status(self._state, self.folder, self._auth.members, self._now, problems)
            ticket = self._submit()
        with suppress(OSError):  # the next status reports a lost event
            self._wait(ticket)
        return found

    def health(self) -> str:
        """Why votes cannot be saved; empty if they can, by a test file next to the log."""
        return self._log_problem() or ("" if self._log.writable() else f"{self.folder}: a test file cannot be written")

    def _log_problem(self) -> str:
        if self._log.dead:
            return "the log can be neither written nor read, votes are refused: restart the page"
        return "the disk is full: votes are refused until there is room" if self._log.full else ""

    def problem(self, name: str, video: str) -> None:
        """Record that an annotator's browser cannot load a file, once."""
        with self._lock:
            self._begin()
            known = self._state.load_errors.get(video, ())
            if video in self._media and self._auth.is_annotator(name) and name not in known:
                self._record("problem", annotator=name, video=video)
            ticket = self._submit()
        self._wait(ticket)

    def manage(self, by: str, action: Action) -> dict[str, str]:
        """Do what a manager wants; return the tokens of those whom it invites, which are stored nowhere else.

        Raises UsageError for an action that is not possible, and OSError if the disk is full.
        """
        with self._lock:
            self._begin()
            check_action(self._state, action, self._auth.annotators(active=None))
            tokens = change_members(self.folder, action, datetime.fromtimestamp(self._now, UTC))
            self._auth.refresh()
            self._do(by, action, f"{draw(by, self._state.seq, self._now):016x}")
            ticket = self._submit_and_refill()
        self._wait(ticket)
        return tokens

    def media(self, name: str) -> Path | None:
        """The path of a file in the campaign's media/ folder; None for any other name."""
        return self.folder / MEDIA / name if name in self._media else None

    def close(self) -> None:
        """Accept no more votes, permanently."""
        with self._lock:
            self._begin()
            if not self._state.closed:
                self._record("close")
            ticket = self._submit()
        self._wait(ticket)

    def _wait(self, ticket: int) -> None:
        """Wait until the disk holds the events, and remove the orders among them. Raises OSError."""
        orders = tuple(self._orders)
        self._log.wait(ticket)
        for path in orders:
            path.unlink(missing_ok=True)
            with suppress(ValueError):
                self._orders.remove(path)
        if orders:
            with suppress(OSError):  # there are others
                (self.folder / ORDERS).rmdir()

    # Called for the crowd; see annotations.campaign.enrolment

    def read(self, function: Callable[[State], T]) -> T:
        """What the function finds in the state; it must not keep or change it."""
        with self._lock:
            return function(self._state)

    def task(self, item: Item) -> dict[str, str]:
        """The texts of an item; after its question that of its criterion, if it has one."""
        found = self._texts.read(item.place)
        asked = self.config.question_of(item.criterion, self.config.language)
        return {**found, "question": f"{found['question']} {asked}"} if asked else found

    def record(self, name: str, steps: Callable[[State], Iterable[Step]]) -> None:
        """Record the events of a participant that follow from the state. Raises OSError if the disk is full."""
        with self._lock:
            self._begin()
            if self._log.full and not self._has_room():
                raise OSError(errno.ENOSPC, FULL)
            for event, fields in steps(self._state):
                self._record(event, annotator=name, **fields)
            ticket = self._submit()
        self._wait(ticket)

    # Actions; the caller holds the lock

    def _in_vote_stage(self, name: str) -> bool:
        """Whether an annotator may vote: always, except for participants of a crowd before and after their votes."""
        participant = self._state.participants.get(name)
        return participant is None or self.crowd is None or stage(self.crowd, participant) == "vote"

    def _act(self, name: str, action: Callable[[Annotator], Refusal | None]) -> AnnotatorView | Refusal:
        """Perform an annotator's action, and return the next view once the disk holds the events."""
        with self._lock:
            self._begin()
            if self._log.full and not self._has_room():
                return Refusal(code="disk-full", message=FULL)
            if not self._auth.is_annotator(name):
                return Refusal(code="unknown", message="You are not an annotator of this campaign.")
            annotator = self._state.annotator(name)
            refusal = action(annotator)
            answer = refusal or self._next_view(annotator)
            ticket = self._submit_and_refill()
        try:
            self._wait(ticket)
        except OSError:
            return Refusal(code="disk-full", message=FULL)
        return answer

    def _next_view(self, annotator: Annotator) -> AnnotatorView:
        """The view, after handing out sheets if the annotator holds too few."""
        self._hand_out(annotator)
        return annotator_view(self._state, self._texts, annotator, self._now, goal=self._goal(annotator))

    def _submit_and_refill(self) -> int:
        """Plan a batch if questions run short, and submit the recorded events; return the ticket to wait for."""
        if self._refill is not None:
            active, joining = self._auth.annotators(active=True), 0
            if self.crowd is not None:
                active = [name for name in active if self._in_vote_stage(name)]
                joining = self.config.votes_per_pair
            self._refill.check(self._state, active, joining=joining)
        return self._submit()

    def _vote(self, annotator: Annotator, ballot: Ballot) -> Refusal | None:
        accepted = check_ballot(self._state, annotator, ballot, self._now)
        if isinstance(accepted, Refusal) and accepted.code == "too-fast" and annotator.refused != ballot.question_id:
            given = ballot.model_dump(include={"outcome", "seconds", "watched"})
            question = {"question": ballot.question_id, "vote": ballot.vote_id}
            self._record("refuse", annotator=annotator.name, **question, code=accepted.code, **given)
        if accepted is None or isinstance(accepted, Refusal):
            return accepted
        self._free(annotator, accepted.superseded, "answered")
        self._record("vote", annotator=annotator.name, **accepted.fields)
        decision = decide(self._state, annotator)
        if decision is not None:
            self._record(decision.event, annotator=annotator.name, reasons=list(decision.reasons))
            if decision.event == "stop":
                self._free(annotator, [lease.question for lease in annotator.leases], "stopped")
        return None

    def _undo(self, annotator: Annotator) -> Refusal | None:
        if refusal := refusal_of(self._state, annotator):
            return refusal
        last = annotator.last
        if last is None or self._now > last.at + 60 * self.config.undo_minutes:
            return Refusal(code="nothing-to-undo", message="There is no vote to undo.")
        self._record("undo", annotator=annotator.name, vote=last.vote)
        item = self._state.items[last.item]
        current = annotator.leases[0] if annotator.leases else None
        same = current is not None and self._state.items[current.item].group == item.group
        sheet = current.sheet if current is not None and same else self._id("sheet", annotator.name, self._state.seq)
        self._lease(annotator, sheet, [(item, last.first_left)], again=True)
        return None

    def _skip(self, annotator: Annotator, question: str, reason: str) -> Refusal | None:
        past = annotator.past.get(question)
        if past is not None and past.vote == SKIPPED:
            return None
        if refusal := refusal_of(self._state, annotator):
            return refusal
        lease = next((lease for lease in annotator.leases if lease.question == question), None)
        if lease is None:
            return Refusal(code="unknown", message="This question is not assigned to you. Please reload the page.")
        task = self._state.items[lease.item].task_id
        self._record("skip", annotator=annotator.name, question=question, task=task, reason=reason[:2_000])
        return None

    def _do(self, by: str, action: Action, order: str) -> None:
        """Record a manager's action, and what follows from it at once."""
        self._record("manage", by=by, id=order, action=action.model_dump(mode="json"))
        for annotator in self._state.annotators.values() if isinstance(action, Retire) else ():
            held = [lease.question for lease in annotator.leases if self._state.items[lease.item].retired]
            self._free(annotator, held, "retired")
        if isinstance(action, Add):
            self._find_media()

    def _take_orders(self) -> None:
        """Do what the command line has ordered."""
        if not os.path.exists(self._orders_path):  # noqa: PTH110 (on every request)
            return
        for path in sorted((self.folder / ORDERS).iterdir()):
            if path.name.startswith(".") or path in self._orders:
                continue
            try:
                order = Order.model_validate_json(path.read_bytes())
                if path.stem not in self._state.orders:
                    check_action(self._state, order.action, self._auth.annotators(active=None))
                    self._do(order.by, order.action, path.stem)
            except (ValidationError, CurateError, OSError) as error:
                self._problems.append(f"an order was not done: {error}")
            self._orders.append(path)

    def _find_media(self) -> None:
        self._media = frozenset(path.name for path in (self.folder / MEDIA).glob("*") if path.is_file())

    def _hand_out(self, annotator: Annotator) -> None:
        """Hand out sheets if the annotator may vote: one, and ``sheets_ahead`` more; the first one's time begins."""
        if annotator.status == "stopped" or self._state.closed or self._state.paused:
            return
        if not self._auth.is_annotator(annotator.name, active=True) or not self._in_vote_stage(annotator.name):
            return
        if self._log.full and not self._has_room():
            return
        while not annotator.leases or self._may_hold_more(annotator):
            chosen = next_sheet(self._state, annotator)
            if not chosen:
                break
            self._lease(annotator, self._id("sheet", annotator.name, self._state.seq), chosen)
        if annotator.leases and annotator.leases[0].sheet != annotator.begun:
            fields = {"sheet": annotator.leases[0].sheet, "until": self._until()}
            self._record("renew", annotator=annotator.name, **fields)

    def _may_hold_more(self, annotator: Annotator) -> bool:
        """Whether the annotator may get another sheet ahead: only while enough pairs are left for all others, too."""
        sheets = {lease.sheet for lease in annotator.leases}
        if len(sheets) > self.config.sheets_ahead:
            return False
        others = len(self._state.not_stopped(self._auth.annotators(active=True))) - 1
        sheet = self.config.pairs_per_video * len(self.config.criterion_ids)
        return self._state.unmet - self._state.held >= sheet * others

    def _until(self) -> str:
        return iso(self._now + 60 * self.config.lease_minutes)

    def _lease(self, annotator: Annotator, sheet: str, chosen: list[tuple[Item, bool]], *, again: bool = False) -> None:
        questions = [
            {
                "question": self._id("question", annotator.name, item.task_id, self._state.seq),
                "task": item.task_id,
                "left": "first" if left_first else "second",
            }
            for item, left_first in chosen
        ]
        extra = {"again": True} if again else {}
        self._record("lease", annotator=annotator.name, sheet=sheet, until=self._until(), questions=questions, **extra)

    def _id(self, *key: object) -> str:
        return f"{draw(self.campaign.campaign_id, self.config.seed, *key):016x}"

    def _free(self, annotator: Annotator, questions: list[str], why: str) -> None:
        if questions:
            self._record("free", annotator=annotator.name, questions=questions, why=why)

    def _begin(self) -> None:
        """Read the clock, once per request, and record what is due: closing, revoked and expired leases."""
        self._auth.refresh()
        self._now = self._clock().timestamp()
        self._at = iso(self._now)
        if self._log.full and not self._has_room():
            return
        self._take_orders()
        self._check_closing()
        for name in self._auth.annotators(active=False):
            annotator = self._state.annotator(name)
            self._free(annotator, [lease.question for lease in annotator.leases], "revoked")
        expiring = self._state.expiring
        while expiring:
            question, (until, name) = next(iter(expiring.items()))
            if 0 < until - self._now <= self._state.longest_lease + 1:  # longer: the clock was set back since
                break
            self._free(self._state.annotator(name), [question], "expired")

    def _check_closing(self) -> None:
        if not self._state.closed and os.path.exists(self._closing_path):  # noqa: PTH110 (on every request)
            self._record("close")

    def _goal(self, annotator: Annotator) -> int:
        """The votes that an annotator should aim for: the limit, or an equal share of the campaign's questions."""
        if self._state.votes >= self.config.votes:
            return annotator.votes
        if self.config.max_votes:
            return self.config.max_votes
        annotators = len(self._state.not_stopped(self._auth.annotators(active=True)))
        questions = self.config.votes / (1 - self.config.gold_share - self.config.attention_share)
        return math.ceil(round(questions / annotators, 6)) if annotators else 0

    # Log, disk and batches

    def _record(self, event: str, **fields: Any) -> None:
        """Apply an event to the state; the next ``_submit`` sends it to the log."""
        recorded = {"seq": self._state.seq + 1, "at": self._at, "event": event, **fields}
        self._lines.append(self._key.sealed(recorded, self._state.mac))
        self._state.apply(recorded)

    def _submit(self) -> int:
        """Send the recorded events to the log; return the ticket to wait for."""
        lines = b"".join(self._lines)
        self._lines.clear()
        return self._log.submit(lines)

    def _roll_back(self, _: OSError) -> None:
        """Replay the state from the disk after a failed write. If this raises, the log accepts nothing more."""
        self._lines.clear()
        self._state = replay(self.folder)

    def _has_room(self) -> bool:
        """Whether a full disk has room again, tested at most once per PROBE_INTERVAL."""
        if time.monotonic() < self._probed + PROBE_INTERVAL:
            return False
        self._probed = time.monotonic()
        return self._log.has_room()

    def _add_new_batches(self) -> None:
        for number in range(self._state.batches + 1, batches_on_disk(self.folder) + 1):
            before = self._state.planned
            add_batch(self._state, self.folder, number)
            self._record("batch", number=number, votes=self._state.planned - before)

    def _take_batches(self) -> bool:
        """Add batches that were planned in the background; return whether there were any."""
        with self._lock:
            if self._ended:
                return True
            self._begin()
            before = self._state.batches
            self._add_new_batches()
            taken = self._state.batches > before
            ticket = self._submit()
        self._wait(ticket)
        return taken
