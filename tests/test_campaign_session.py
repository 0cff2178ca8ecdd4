"""A campaign session: sheets, votes, undo, skips, leases, links, and restarts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from annotations.campaign.auth import read_members, with_revoked, write_members
from annotations.campaign.session import CampaignSession
from annotations.campaign.state import replay
from schemas.campaign import AnnotatorView, Question, Refusal
from schemas.errors import CurateError
from tests.campaigns import BEGIN, Clock, ballot, held, invite, known, make_campaign, pair


def events(folder: Path, *kinds: str) -> list[dict]:
    found = [json.loads(line) for line in (folder / "log.jsonl").read_bytes().splitlines()]
    return [event for event in found if not kinds or event["event"] in kinds]


def code(answer: AnnotatorView | Refusal) -> str:
    return answer.code if isinstance(answer, Refusal) else ""


def test_a_sheet_has_the_pairs_of_one_video(tmp_path: Path) -> None:
    tasks = [pair(n, video="a.mp4" if n < 3 else "b.mp4") for n in range(6)]
    folder = make_campaign(tmp_path / "c", tasks, people=("ann",))
    with CampaignSession.open(folder) as campaign:
        view = campaign.view("ann")
        first = view.sheet
        assert first is not None
        assert (first.kind, len(first.questions)) == ("video", 3)
        for question in first.questions:
            view = campaign.vote("ann", ballot(question))
        assert isinstance(view, AnnotatorView)
        assert view.sheet is not None
        assert view.votes == 3
        assert {first.video, view.sheet.video} == {"a.mp4", "b.mp4"}


def test_the_view_does_not_reveal_control_questions(tmp_path: Path) -> None:
    gold = [known(n, video="a.mp4") for n in range(50, 60)]
    folder = make_campaign(tmp_path / "c", [pair(0, video="a.mp4")], gold=gold, gold_share=0.5, people=("ann",))
    with CampaignSession.open(folder) as campaign:
        shown = campaign.view("ann").model_dump_json()
    assert "gold" not in shown
    assert "answer" not in shown.replace("first answer", "").replace("second answer", "")
    assert len(events(folder, "lease")[0]["questions"]) > 1


def _all_of(campaign: CampaignSession, name: str) -> list[Question]:
    """Answer every question of an annotator; return the questions."""
    asked, view = [], campaign.view(name)
    while questions := held(view):
        asked.append(questions[0])
        answered = campaign.vote(name, ballot(questions[0]))
        assert isinstance(answered, AnnotatorView)
        view = answered
    return asked


def test_a_reload_and_a_restart_show_the_same_sheet(tmp_path: Path) -> None:
    folder = make_campaign(tmp_path / "c", [pair(n) for n in range(9)], people=("ann",))
    clock = Clock()
    with CampaignSession.open(folder, clock=clock) as campaign:
        first = campaign.view("ann")
        assert campaign.view("ann") == first
    with CampaignSession.open(folder, clock=clock) as campaign:
        assert campaign.view("ann") == first


def test_the_same_ballot_sent_twice_counts_once(tmp_path: Path) -> None:
    folder = make_campaign(tmp_path / "c", [pair(0), pair(1)], people=("ann",))
    with CampaignSession.open(folder) as campaign:
        mine = ballot(held(campaign.view("ann"))[0])
        once, twice = campaign.vote("ann", mine), campaign.vote("ann", mine)
        assert isinstance(once, AnnotatorView)
        assert once == twice
        assert once.votes == 1
        other = campaign.vote("ann", ballot(mine.question_id, "right", vote="another-vote"))
        assert code(other) == "unknown"
    with CampaignSession.open(folder) as campaign:
        again = campaign.vote("ann", mine)
        assert isinstance(again, AnnotatorView)
        assert again.votes == 1
    assert len(events(folder, "vote")) == 1


def test_the_last_vote_can_be_undone_within_the_undo_time(tmp_path: Path) -> None:
    folder = make_campaign(tmp_path / "c", [pair(n) for n in range(4)], people=("ann",), undo_minutes=10)
    clock = Clock()
    with CampaignSession.open(folder, clock=clock) as campaign:
        assert code(campaign.undo("ann")) == "nothing-to-undo"
        asked = held(campaign.view("ann"))[0]
        campaign.vote("ann", ballot(asked))
        view = campaign.undo("ann")
        assert isinstance(view, AnnotatorView)
        assert (view.votes, view.can_undo) == (0, False)
        back = held(view)[0]
        assert back.question_id != asked.question_id
        assert (back.question, back.left_text) == (asked.question, asked.left_text)
        assert code(campaign.undo("ann")) == "nothing-to-undo"
        view = campaign.vote("ann", ballot(back, "right"))
        assert isinstance(view, AnnotatorView)
        assert view.can_undo
        clock.later(minutes=11)
        assert code(campaign.undo("ann")) == "nothing-to-undo"
        assert campaign.status().votes == 1
    assert replay(folder).outcomes == {"right": 1, "left": 0}


def test_an_undo_of_the_last_vote_of_a_sheet_shows_its_video_again(tmp_path: Path) -> None:
    folder = make_campaign(tmp_path / "c", [pair(0, video="a.mp4"), pair(1, video="b.mp4")], people=("ann",))
    with CampaignSession.open(folder) as campaign:
        first = campaign.view("ann").sheet
        assert first is not None
        second = campaign.vote("ann", ballot(first.questions[0]))
        undone = campaign.undo("ann")
        assert isinstance(second, AnnotatorView)
        assert isinstance(undone, AnnotatorView)
        assert undone.sheet is not None
        assert undone.sheet.video == first.video
        after = campaign.vote("ann", ballot(undone.sheet.questions[0]))
        assert isinstance(after, AnnotatorView)
        assert after.sheet == second.sheet


def test_a_skipped_pair_goes_to_someone_else(tmp_path: Path) -> None:
    folder = make_campaign(tmp_path / "c", [pair(0)], people=("ann", "ben"))
    with CampaignSession.open(folder) as campaign:
        question = held(campaign.view("ann"))[0].question_id
        assert held(campaign.view("ben")) == ()
        assert held(campaign.skip("ann", question, "the video does not play")) == ()
        assert isinstance(campaign.skip("ann", question, "sent again"), AnnotatorView)
        assert code(campaign.skip("ann", "no-such-question", "")) == "unknown"
        assert len(held(campaign.view("ben"))) == 1
        assert campaign.status().skips == 1
    assert [event["reason"] for event in events(folder, "skip")] == ["the video does not play"]


def test_an_expired_lease_goes_to_someone_else(
    tmp_path: Path,
) -> None:
    tasks = [pair(n) for n in range(2)]
    folder = make_campaign(tmp_path / "c", tasks, people=("ann", "ben"), lease_minutes=30)
    clock = Clock()
    with CampaignSession.open(folder, clock=clock) as campaign:
        first = held(campaign.view("ann"))[0]
        clock.later(minutes=31)
        (taken,) = held(campaign.view("ben"))
        assert taken.question in ("What happens in 0?", "What happens in 1?")
        if taken.question == first.question:
            assert code(campaign.vote("ann", ballot(first))) == "expired"
            campaign.vote("ben", ballot(taken))
            assert code(campaign.vote("ann", ballot(first))) == "full"
        else:
            assert isinstance(campaign.vote("ann", ballot(first)), AnnotatorView)
    state = replay(folder)
    assert all(item.votes + item.held <= item.quota for item in state.items)


def test_a_late_ballot_counts_if_the_pair_is_still_open(tmp_path: Path) -> None:
    folder = make_campaign(tmp_path / "c", [pair(0)], people=("ann",), lease_minutes=30)
    clock = Clock()
    with CampaignSession.open(folder, clock=clock) as campaign:
        question = held(campaign.view("ann"))[0]
        clock.later(minutes=31)
        renewed = held(campaign.view("ann"))[0]
        assert renewed.question_id != question.question_id
        view = campaign.vote("ann", ballot(question))
        assert isinstance(view, AnnotatorView)
        assert (view.votes, view.sheet) == (1, None)
        assert code(campaign.vote("ann", ballot(renewed))) == "full"
    (vote,) = events(folder, "vote")
    assert vote["late"] is True
    assert replay(folder).votes == 1


def test_a_vote_below_min_watched_is_refused(tmp_path: Path) -> None:
    folder = make_campaign(tmp_path / "c", [pair(0, video="a.mp4")], people=("ann",), min_watched=0.8)
    with CampaignSession.open(folder, clock=Clock(step=9)) as campaign:
        question = held(campaign.view("ann"))[0]
        refusal = campaign.vote("ann", ballot(question, watched=0.5))
        assert isinstance(refusal, Refusal)
        assert refusal.code == "unwatched"
        assert "80%" in refusal.message
        assert isinstance(campaign.vote("ann", ballot(question, watched=0.8)), AnnotatorView)


def test_a_vote_on_a_question_of_someone_else_is_refused(tmp_path: Path) -> None:
    folder = make_campaign(tmp_path / "c", [pair(0)], people=("ann", "ben"))
    with CampaignSession.open(folder) as campaign:
        question = held(campaign.view("ann"))[0]
        assert code(campaign.vote("ben", ballot(question))) == "unknown"
        assert code(campaign.vote("stranger", ballot(question))) == "unknown"
    assert events(folder, "vote") == []


def test_links_are_valid_until_revoked_and_not_stored(tmp_path: Path) -> None:
    folder = make_campaign(tmp_path / "c", [pair(0)])
    token = invite(folder, "ann")["ann"]
    with CampaignSession.open(folder) as campaign:
        boss = invite(folder, "boss", role="manager")["boss"]
        assert campaign.visitor(token) == ("ann", "annotator")
        assert campaign.visitor(boss) == ("boss", "manager")
        assert campaign.visitor(token + "x") is None
        assert campaign.visitor("\ud800") is None
        assert held(campaign.view("boss")) == ()
        assert len(held(campaign.view("ann"))) == 1
        write_members(folder, with_revoked(read_members(folder), ["ann"], BEGIN))
        assert campaign.visitor(token) is None
        invite(folder, "ben")
        assert len(held(campaign.view("ben"))) == 1  # the leases of ann ended
    everything = b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())
    assert token.encode() not in everything
    assert (folder / "people.jsonl").stat().st_mode & 0o777 == 0o600
    assert (folder / "log.jsonl").stat().st_mode & 0o777 == 0o600


def test_only_files_of_the_media_folder_are_served(tmp_path: Path) -> None:
    folder = make_campaign(tmp_path / "c", [pair(0, video="a.mp4")])
    with CampaignSession.open(folder) as campaign:
        assert campaign.media("a.mp4") == folder / "media" / "a.mp4"
        for name in ("../people.jsonl", "/etc/passwd", "..", "", "a.mp4/", "%2e%2e", "a.mp4\0"):
            assert campaign.media(name) is None


def test_a_campaign_cannot_be_opened_twice(tmp_path: Path) -> None:
    folder = make_campaign(tmp_path / "c", [pair(0)])
    with (
        CampaignSession.open(folder),
        pytest.raises(CurateError, match="locked by process"),
        CampaignSession.open(folder),
    ):
        pass


def test_closing_is_permanent(tmp_path: Path) -> None:
    folder = make_campaign(tmp_path / "c", [pair(0), pair(1)], people=("ann",))
    with CampaignSession.open(folder) as campaign:
        question = held(campaign.view("ann"))[0]
        (folder / "close").touch()
        assert code(campaign.vote("ann", ballot(question))) == "closed"
        view = campaign.view("ann")
        assert (view.closed, view.sheet) == (True, None)
    with CampaignSession.open(folder) as campaign:
        assert campaign.status().closed
    assert len(events(folder, "close")) == 1


def test_max_votes_limits_each_annotator(tmp_path: Path) -> None:
    folder = make_campaign(tmp_path / "c", [pair(n) for n in range(9)], people=("ann",), max_votes=3)
    with CampaignSession.open(folder) as campaign:
        view = campaign.view("ann")
        assert view.goal == 3
        while questions := held(view):
            answered = campaign.vote("ann", ballot(questions[0]))
            assert isinstance(answered, AnnotatorView)
            view = answered
        assert view.votes == 3


def test_the_goal_is_an_equal_share(tmp_path: Path) -> None:
    folder = make_campaign(tmp_path / "c", [pair(n) for n in range(9)], people=("ann", "ben"))
    with CampaignSession.open(folder) as campaign:
        assert campaign.view("ben").goal == 5  # of 9, half
        view: AnnotatorView | Refusal = campaign.view("ann")
        while questions := held(view):
            view = campaign.vote("ann", ballot(questions[0]))
        for question in held(campaign.view("ben")):
            campaign.vote("ben", ballot(question))
        assert [(view.goal, view.votes) for view in (campaign.view("ann"), campaign.view("ben"))] == [(8, 8), (1, 1)]
    even = make_campaign(tmp_path / "even", [pair(n) for n in range(8)], people=("ann", "ben"))
    with CampaignSession.open(even) as campaign:
        assert campaign.view("ann").goal == 4


def test_leases_expire_when_the_clock_is_set_back(tmp_path: Path) -> None:
    folder = make_campaign(tmp_path / "c", [pair(n) for n in range(4)], people=("ann", "ben"), pairs_per_video=4)
    clock = Clock()
    with CampaignSession.open(folder, clock=clock) as campaign:
        clock.later(days=365)
        ahead = {question.question for question in held(campaign.view("ann"))}
        clock.later(days=-365)
        assert ahead <= {question.question for question in _all_of(campaign, "ben")}
        assert {event["why"] for event in events(folder, "free")} == {"expired"}


def test_an_incomplete_last_line_is_removed_and_reported(tmp_path: Path) -> None:
    folder = make_campaign(tmp_path / "c", [pair(0)], people=("ann",))
    with CampaignSession.open(folder) as campaign:
        campaign.vote("ann", ballot(held(campaign.view("ann"))[0]))
    log = folder / "log.jsonl"
    whole = log.read_bytes()
    log.write_bytes(whole + b'{"seq":99,"at":"20')
    assert replay(folder).votes == 1  # a reader ignores it
    with CampaignSession.open(folder) as campaign:
        assert campaign.status().votes == 1
        assert any("18 bytes" in warning for warning in campaign.status().warnings)
    assert log.read_bytes().startswith(whole)
