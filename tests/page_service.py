"""A campaign in memory, for tests of the page: what it is told is what it shows; and the page as a server over it."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from annotations.campaign.service import Service, Visitor
from annotations.page.limits import Limits
from annotations.page.serving import address, listen, server
from annotations.page.sessions import HEADER
from schemas.campaign import AnnotatorStatus, Ballot, CampaignStatus, Desk, Question, Refusal, Sheet, Standing

ANN, MAX = "a" * 43, "m" * 43
"""Tokens of an annotator and of a manager."""


def questions(count: int, *, start: int = 1) -> list[Question]:
    return [
        Question(
            question_id=f"q{number}",
            question=f"Question {number}: what does the person do?",
            left_text=f"Left answer {number}",
            right_text=f"Right answer {number}",
        )
        for number in range(start, start + count)
    ]


@dataclass
class Memory:
    """One annotator's sheets, one after another; every vote is kept as it came."""

    sheets: list[tuple[str, list[Question]]]
    """Video and the questions on it."""
    folder: Path = Path()
    people: dict[str, Visitor] = field(
        default_factory=lambda: {ANN: Visitor("ann", "annotator"), MAX: Visitor("max", "manager")}
    )
    instructions: str = ""
    min_watched: float = 0.0
    break_minutes: float = 0.0
    ask: bool = False
    ballots: list[Ballot] = field(default_factory=list)
    skipped: list[tuple[str, str]] = field(default_factory=list)
    standing: Standing = "ok"
    message: str = ""
    warn_at: int = 0
    """After so many votes they are warned; 0: never."""
    stop_at: int = 0
    refuse: Refusal | None = None
    failure: Exception | None = None

    def visitor(self, token: str) -> Visitor | None:
        return self.people.get(token)

    def _open(self, items: list[Question]) -> list[Question]:
        done = {ballot.question_id for ballot in self.ballots} | {question for question, _ in self.skipped}
        return [question for question in items if question.question_id not in done]

    def _sheet(self) -> Sheet | None:
        for number, (video, items) in enumerate(self.sheets):
            left = self._open(items)
            if left:
                return Sheet(
                    sheet_id=f"s{number}",
                    video=video,
                    video_seconds=None,
                    kind="video" if video else "none",
                    questions=tuple(left),
                    expires="2099-01-01T00:00:00Z",
                )
        return None

    def desk(self, annotator: str) -> Desk:
        if self.failure:
            raise self.failure
        return Desk(
            campaign="kitchen",
            title="Kitchen clips",
            instructions=self.instructions,
            annotator=annotator,
            ask_reason=self.ask,
            ask_confidence=self.ask,
            min_watched=self.min_watched,
            break_minutes=self.break_minutes,
            votes=len(self.ballots),
            goal=sum(len(items) for _, items in self.sheets),
            standing=self.standing,
            message=self.message,
            can_undo=bool(self.ballots),
            closed=False,
            sheet=None if self.standing == "stopped" else self._sheet(),
        )

    def vote(self, annotator: str, ballot: Ballot) -> Desk | Refusal:
        if self.refuse:
            return self.refuse
        if ballot.watched < self.min_watched:
            return Refusal(code="unwatched", message="watch more of the video first")
        if ballot.vote_id not in {one.vote_id for one in self.ballots}:
            self.ballots.append(ballot)
        if self.stop_at and len(self.ballots) >= self.stop_at:
            self.standing, self.message = "stopped", "You missed too many known answers."
        elif self.warn_at and len(self.ballots) >= self.warn_at:
            self.standing, self.message = "warned", "Several known answers were missed: please look closely."
        return self.desk(annotator)

    def undo(self, annotator: str) -> Desk | Refusal:
        if not self.ballots:
            return Refusal(code="nothing-to-undo", message="there is nothing to take back")
        self.ballots.pop()
        return self.desk(annotator)

    def skip(self, annotator: str, question_id: str, reason: str) -> Desk | Refusal:
        self.skipped.append((question_id, reason))
        return self.desk(annotator)

    def status(self) -> CampaignStatus:
        outcomes = {name: sum(one.outcome == name for one in self.ballots) for name in ("left", "right", "tie")}
        one = AnnotatorStatus(
            annotator="ann",
            invited="2026-11-01T00:00:00Z",
            revoked=False,
            standing=self.standing,
            reasons=("known answers: 40%, at least 60% wanted",) if self.standing != "ok" else (),
            votes=len(self.ballots),
            skips=len(self.skipped),
            undone=0,
            gold=0,
            gold_right=None,
            seconds=None,
            left=None,
            agreement=None,
            agreement_on=0,
            watched=None,
            open=1,
            last=None,
        )
        return CampaignStatus(
            campaign="kitchen",
            folder="kitchen",
            closed=False,
            wanted=20,
            votes=len(self.ballots),
            open=1,
            planned=20,
            pairs=20,
            prompts=4,
            batches=1,
            skips=len(self.skipped),
            outcomes=outcomes,
            left=None,
            median_seconds=None,
            gold_right=None,
            annotators=(one,),
            warnings=(),
        )

    def media(self, name: str) -> Path | None:
        path = self.folder / name
        return path if name in {video for video, _ in self.sheets if video} and path.is_file() else None


@contextlib.contextmanager
def served(
    service: Service, *, listener: socket.socket | None = None, url: str = "", limits: Limits = Limits()
) -> Iterator[str]:
    """The address of the page, which runs in a thread for the block."""
    listener = listener or listen("127.0.0.1", 0)
    running = server(service, "kitchen", url=url, limits=limits)
    thread = threading.Thread(target=running.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        yield address(listener)
    finally:
        running.should_exit = True
        thread.join(20)
        assert not thread.is_alive()


class Visit:
    """A browser without a screen: a client with its cookie and the page's token."""

    def __init__(self, url: str, token: str = "") -> None:
        self.client = httpx.Client(base_url=url, timeout=20, trust_env=False, verify=False)  # no TLS here
        self.headers: dict[str, str] = {}
        if token:
            assert self.client.get(f"/a/{token}").status_code == 200
            desk = self.client.get("/api/desk")
            self.headers = {HEADER: desk.headers.get(HEADER, "")}

    def get(self, path: str, **headers: str) -> httpx.Response:
        return self.client.get(path, headers=headers)

    def post(self, path: str, body: object, **headers: str) -> httpx.Response:
        return self.client.post(path, json=body, headers={**self.headers, **headers})

    def vote(self, question: str, **other: object) -> httpx.Response:
        return self.post(
            "/api/vote", {"question_id": question, "vote_id": f"vote-of-{question}", "outcome": "left", "seconds": 1} | other
        )
