"""Small campaigns for tests: folders made of literal tasks and people, and a manual clock."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from annotations.campaign.auth import read_members, with_invited, write_members
from annotations.campaign.folder import CAMPAIGN, GOLD, MEDIA, TASKS, batch_path, write_atomic, write_lines
from schemas.campaign import AnnotatorView, Ballot, CampaignConfig, CampaignFile, Question, Refusal, Role, Task

BEGIN = datetime(2026, 1, 5, 9, tzinfo=UTC)


class Clock:
    """A clock that advances by ``step`` seconds with each request, and by ``later``."""

    def __init__(self, step: float = 0.0) -> None:
        self.now, self.step = BEGIN, step

    def __call__(self) -> datetime:
        self.now += timedelta(seconds=self.step)
        return self.now

    def later(self, **how: float) -> None:
        self.now += timedelta(**how)


def pair(number: int, *, video: str = "", quota: int = 1, **more: Any) -> Task:
    """Pair t000, t001, …, each with another prompt and two responses."""
    return Task(
        task_id=f"t{number:03}",
        prompt_id=f"p{number:03}",
        question=f"What happens in {number}?",
        video=video,
        video_seconds=10.0 if video else None,
        first=f"r{number:03}a",
        second=f"r{number:03}b",
        first_text=f"first answer {number}",
        second_text=f"second answer {number}",
        quota=quota,
        **more,
    )


def by_each(task: Task, criteria: Iterable[Mapping[str, Any]], **answers: str | None) -> list[Task]:
    """A task by each criterion. answers: criterion -> the known answer, where it is another one."""
    return [
        task.model_copy(
            update={
                "task_id": f"{task.task_id}{one['id']}",
                "criterion": one["id"],
                "answer": answers.get(one["id"], task.answer),
            }
        )
        for one in criteria
    ]


def known(number: int, *, answer: str = "first", kind: str = "gold", video: str = "") -> Task:
    """A control question; the texts show which answer is right."""
    return pair(number, video=video, kind=kind, answer=answer)


def make_campaign(
    folder: Path, tasks: list[Task], *, gold: list[Task] | None = None, people: tuple[str, ...] = (), **config: Any
) -> Path:
    """A campaign of one batch; without ``gold`` it asks no control questions. Scripts may be fast."""
    thresholds = {"min_seconds": 0.0, **config.pop("thresholds", {})}
    settings = {"gold_share": 0.1 if gold else 0.0, "attention_share": 0.0, "thresholds": thresholds, **config}
    wanted = sum(task.quota for task in tasks)
    document = CampaignFile(
        campaign_id="c0ffee00",
        config=CampaignConfig(**{"name": "test", "votes": wanted, **settings}),
        store="../curate.duckdb",
    )
    for below in (folder, folder / TASKS, folder / MEDIA):
        below.mkdir(exist_ok=True)
    write_lines(batch_path(folder, 1), tasks)
    if gold:
        write_lines(folder / GOLD, gold)
    for task in [*tasks, *(gold or [])]:
        if task.video:
            (folder / MEDIA / task.video).write_bytes(b"not a true video")
    write_atomic(folder / CAMPAIGN, document.model_dump_json().encode())
    if people:
        invite(folder, *people)
    return folder


def invite(folder: Path, *names: str, role: Role = "annotator") -> dict[str, str]:
    """name -> token."""
    people, tokens = with_invited(read_members(folder), names, role, BEGIN)
    write_members(folder, people)
    return tokens


def ballot(question: Question | str, outcome: str = "left", *, vote: str = "", **more: Any) -> Ballot:
    """A valid ballot; its vote_id is derived from the question unless given."""
    question_id = question if isinstance(question, str) else question.question_id
    said = {"seconds": 9.0, **more}
    return Ballot(question_id=question_id, vote_id=vote or f"vote-{question_id}", outcome=outcome, **said)


def held(view: AnnotatorView | Refusal) -> tuple[Question, ...]:
    """The open questions of a view."""
    assert isinstance(view, AnnotatorView), view
    return view.sheet.questions if view.sheet else ()
