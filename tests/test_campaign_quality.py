"""Live quality control: warnings and stops by each threshold, and their replay."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from annotations.campaign.log import read_events
from annotations.campaign.session import CampaignSession
from annotations.campaign.state import replay
from schemas.campaign import AnnotatorStatus, AnnotatorView, Question, Refusal
from tests.campaigns import Clock, ballot, held, known, make_campaign, pair

Answer = Callable[[Question, int], dict[str, Any]]


def right(question: Question, _: int) -> dict[str, Any]:
    """Answers every control question correctly: the first response."""
    return {"outcome": "left" if question.left_text.startswith("first") else "right"}


def wrong(question: Question, _: int) -> dict[str, Any]:
    return {"outcome": "right" if question.left_text.startswith("first") else "left"}


def vote(campaign: CampaignSession, name: str, how: Answer, count: int = 1000) -> AnnotatorView | Refusal:
    """Vote until no question is left, or ``count`` votes are given."""
    view: AnnotatorView | Refusal = campaign.view(name)
    while isinstance(view, AnnotatorView) and held(view) and view.votes < count:
        question = held(view)[0]
        view = campaign.vote(name, ballot(question, **how(question, view.votes)))
    return view


def status_of(campaign: CampaignSession, name: str) -> AnnotatorStatus:
    return next(row for row in campaign.status().annotators if row.annotator == name)


def make(folder: Path, people: tuple[str, ...] = ("ann",), *, pairs: int = 60, quota: int = 1, **limits: Any) -> Path:
    gold = [known(n) for n in range(500, 540)]
    thresholds = {"max_side_share": 1.0, "min_seconds": 0.0, "min_questions": 5, "patience": 6, **limits}
    tasks = [pair(n, quota=quota) for n in range(pairs)]
    return make_campaign(folder, tasks, gold=gold, people=people, gold_share=0.2, thresholds=thresholds)


def test_wrong_control_answers_lead_to_a_warning_then_a_stop(tmp_path: Path) -> None:
    folder = make(tmp_path / "c", ("ann", "ben"))
    with CampaignSession.open(folder) as campaign:
        view: AnnotatorView | Refusal = campaign.view("ann")
        while isinstance(view, AnnotatorView) and view.status == "ok":
            question = held(view)[0]
            view = campaign.vote("ann", ballot(question, **wrong(question, 0)))
        assert isinstance(view, AnnotatorView)
        assert view.status == "warned"
        assert "0 of 5" in view.message
        at = view.votes
        view = vote(campaign, "ann", wrong)
        assert isinstance(view, AnnotatorView)
        assert (view.status, view.sheet, view.can_undo) == ("stopped", None, False)
        assert at + 6 <= view.votes <= at + 12
        assert campaign.status().open == 0  # the leases of ann ended
        refusal = campaign.vote("ann", ballot("some-question", vote="some-vote"))
        assert isinstance(refusal, Refusal)
        assert refusal.code == "stopped"
        done = vote(campaign, "ben", right)
        assert isinstance(done, AnnotatorView)
        assert (done.status, done.message) == ("ok", "")
        told = status_of(campaign, "ann")
    assert told.gold_accuracy == 0.0
    again = replay(folder).annotators["ann"]
    assert (again.status, again.reasons) == (told.status, told.reasons)


def test_improvement_clears_a_warning(tmp_path: Path) -> None:
    folder = make(tmp_path / "c", pairs=100, patience=40)
    with CampaignSession.open(folder) as campaign:
        view: AnnotatorView | Refusal = campaign.view("ann")
        course = []
        while isinstance(view, AnnotatorView) and held(view):
            question = held(view)[0]
            view = campaign.vote("ann", ballot(question, **(right if "warned" in course else wrong)(question, 0)))
            assert isinstance(view, AnnotatorView)
            course.append(view.status)
    assert list(dict.fromkeys(course)) == ["ok", "warned"]
    assert course[-1] == "ok"


def test_too_fast_answers_lead_to_a_warning(tmp_path: Path) -> None:
    folder = make(tmp_path / "c", min_seconds=2.0)
    with CampaignSession.open(folder, clock=Clock(step=9)) as campaign:
        view = vote(campaign, "ann", lambda q, n: {**right(q, n), "seconds": 0.4}, count=5)
        assert isinstance(view, AnnotatorView)
        assert view.status == "warned"
        assert "0.4 seconds" in view.message


def test_a_one_sided_share_counts_only_if_significant(tmp_path: Path) -> None:
    folder = make(tmp_path / "c", max_side_share=0.9, gold_accuracy=0.0)
    with CampaignSession.open(folder) as campaign:
        view = vote(campaign, "ann", lambda *_: {"outcome": "left"}, count=7)
        assert isinstance(view, AnnotatorView)
        assert view.status == "ok"
        view = vote(campaign, "ann", lambda *_: {"outcome": "left"}, count=8)
        assert isinstance(view, AnnotatorView)
        assert view.status == "warned"
        assert "8 of 8" in view.message


def test_ties_do_not_count_as_a_side(tmp_path: Path) -> None:
    folder = make(tmp_path / "c", max_side_share=0.9, gold_accuracy=0.0)
    with CampaignSession.open(folder) as campaign:
        vote(campaign, "ann", lambda *_: {"outcome": "tie"})
        row = status_of(campaign, "ann")
        assert (row.status, row.left_share, row.agreement) == ("ok", None, None)


def test_low_agreement_leads_to_a_stop_if_there_is_a_threshold(tmp_path: Path) -> None:
    people = ("ann", "ben", "cem")
    folder = make(tmp_path / "c", people, pairs=20, quota=3, agreement=0.5, gold_accuracy=0.0)
    with CampaignSession.open(folder) as campaign:
        vote(campaign, "ann", right)
        vote(campaign, "ben", right)
        view = vote(campaign, "cem", wrong)
        assert isinstance(view, AnnotatorView)
        assert view.status == "stopped"
        assert "agree" in view.message
        rows = {name: status_of(campaign, name) for name in people}
    assert rows["cem"].agreement == 0.0
    assert rows["ann"].agreement == 1.0
    assert rows["ann"].compared >= 10
    assert rows["ann"].status == "ok"


def test_an_undone_vote_changes_no_figure(tmp_path: Path) -> None:
    folder = make(tmp_path / "c")
    with CampaignSession.open(folder) as campaign:
        vote(campaign, "ann", right, count=10)
        before = status_of(campaign, "ann")
        question = held(campaign.view("ann"))[0]
        campaign.vote("ann", ballot(question, "both_bad", seconds=500, watched=0.0))
        campaign.undo("ann")
        after = status_of(campaign, "ann")
    ignored = {"undone": 0, "last_active": None, "open": 0}  # a sheet that was handed out meanwhile stays
    assert after.model_copy(update=ignored) == before.model_copy(update=ignored)


def test_votes_of_a_stopped_annotator_are_collected_again(tmp_path: Path) -> None:
    folder = make(tmp_path / "c", ("ann", "ben"), pairs=30)
    with CampaignSession.open(folder) as campaign:
        stopped = vote(campaign, "ann", wrong)
        assert isinstance(stopped, AnnotatorView)
        assert stopped.status == "stopped"
        aside = stopped.votes - status_of(campaign, "ann").gold
        found = campaign.status()
        assert (found.votes, found.excluded) == (0, aside)
        done = vote(campaign, "ben", right)
        assert isinstance(done, AnnotatorView)
        assert campaign.status().votes == 30
        assert done.goal == done.votes  # all that is wanted is there
    state = replay(folder)
    assert (state.votes, state.excluded, state.unmet, state.open) == (30, aside, 0, {})
    logged = [event for event in read_events(folder / "log.jsonl") if event["event"] == "vote"]
    assert sum(event["kind"] == "vote" for event in logged) == 30 + aside


def test_votes_of_a_stopped_annotator_count_without_reopen_stopped(tmp_path: Path) -> None:
    gold = [known(n) for n in range(500, 540)]
    folder = make_campaign(
        tmp_path / "c", [pair(n) for n in range(30)], gold=gold, people=("ann", "ben"), gold_share=0.3,
        thresholds={"patience": 1}, reopen_stopped=False,
    )  # fmt: skip
    with CampaignSession.open(folder) as campaign:
        vote(campaign, "ann", wrong)
        found = campaign.status()
    assert found.annotators[0].status == "stopped"
    assert (found.votes, found.excluded) == (found.annotators[0].votes - found.annotators[0].gold, 0)


def test_an_annotator_is_stopped_without_control_questions_left(tmp_path: Path) -> None:
    gold = [known(n) for n in range(500, 505)]
    thresholds = {"max_side_share": 1.0, "min_seconds": 0.0, "min_questions": 5, "patience": 6}
    folder = make_campaign(
        tmp_path / "c", [pair(n) for n in range(60)], gold=gold, people=("ann",), gold_share=0.3, thresholds=thresholds
    )
    with CampaignSession.open(folder) as campaign:
        view = vote(campaign, "ann", wrong)
        assert isinstance(view, AnnotatorView)
        assert (view.status, status_of(campaign, "ann").gold) == ("stopped", 5)
