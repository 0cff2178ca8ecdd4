"""The time of a vote by the server's clock: claims are cut to it, impossible ones refused, offline ones accepted."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from annotations.campaign.log import read_events
from annotations.campaign.records import Annotator, Item
from annotations.campaign.session import CampaignSession
from annotations.campaign.state import replay
from annotations.campaign.timing import MAX_SPEED, measure
from schemas.campaign import AnnotatorView, Refusal
from tests.campaigns import BEGIN, Clock, ballot, held, make_campaign, pair


def votes(folder: Path) -> list[dict]:
    return [event for event in read_events(folder / "log.jsonl") if event["event"] == "vote"]


def test_claims_are_cut_to_the_time_since_the_lease_and_the_vote_before(tmp_path: Path) -> None:
    folder = make_campaign(tmp_path / "c", [pair(n, video="v.mp4") for n in range(3)], people=("ann",))
    clock = Clock()
    with CampaignSession.open(folder, clock=clock) as campaign:
        asked = held(campaign.view("ann"))
        for question, wait, claimed in zip(asked, (20, 4, 30), (15.0, 20.9, 5.0), strict=True):
            clock.later(seconds=wait)
            campaign.vote("ann", ballot(question, seconds=claimed, watched=1.0))
        (row,) = campaign.status().annotators
    assert [(vote["seconds"], vote["claimed_seconds"]) for vote in votes(folder)] == [(15, 15), (9, 20.9), (5, 5)]
    assert {vote["leased"] for vote in votes(folder)} == {"2026-01-05T09:00:00.000Z"}
    assert (row.median_seconds, row.claimed_seconds, row.excess_claims, row.too_fast) == (9, 15, 1, 0)
    assert replay(folder).annotators["ann"].busy == (BEGIN + timedelta(seconds=29)).timestamp()


def test_a_vote_faster_than_the_video_is_refused_recorded_once_and_can_be_given_again(tmp_path: Path) -> None:
    folder = make_campaign(tmp_path / "c", [pair(n, video="v.mp4") for n in range(4)], people=("ann",))
    clock = Clock()
    with CampaignSession.open(folder, clock=clock) as campaign:
        first, *others = held(campaign.view("ann"))
        for _ in range(2):
            clock.later(seconds=0.05)
            refusal = campaign.vote("ann", ballot(first, seconds=20.9, watched=1.0))
            assert isinstance(refusal, Refusal)
            assert (refusal.code, "5 s" in refusal.message) == ("too-fast", True)
        clock.later(seconds=5)
        assert isinstance(campaign.vote("ann", ballot(first, seconds=20.9, watched=1.0)), AnnotatorView)
        for question in others:  # the video was watched
            assert isinstance(campaign.vote("ann", ballot(question, seconds=20.9, watched=1.0)), AnnotatorView)
        assert campaign.status().annotators[0].too_fast == 1
    (refused,) = [event for event in read_events(folder / "log.jsonl") if event["event"] == "refuse"]
    assert (refused["vote"], refused["outcome"], refused["code"]) == (f"vote-{first.question_id}", "left", "too-fast")
    assert [vote["seconds"] for vote in votes(folder)] == [5.1, 0.0, 0.0, 0.0]


def item_of(video: int, seconds: float) -> Item:
    return Item(video, "t", "vote", "p", "a", "b", None, str(video), seconds, str(video), place=None)  # type: ignore[arg-type]


def arrive(person: Annotator, item: Item, leased: float, claimed: float, watched: float, at: float) -> float:
    """Measure a vote and account for it if it is possible, as the state does; return what is missing."""
    person.videos.setdefault(item.group, (leased, 0.0))
    found = measure(person, item, leased, claimed=claimed, watched=watched, arrived=at)
    assert 0 <= found.seconds <= min(claimed, max(0.0, at - leased))
    if not found.missing:
        person.busy = found.end
        person.videos[item.group] = (person.videos[item.group][0], max(person.videos[item.group][1], watched))
    return found.missing


WORK = st.lists(st.tuples(st.integers(0, 2), st.floats(0.5, 2), st.floats(0, 1), st.floats(0, 60)), max_size=12)


@given(work=WORK, offline=st.booleans(), length=st.floats(1, 60))
def test_honest_votes_are_accepted_with_their_claims_online_and_offline(
    work: list[tuple[int, float, float, float]], offline: bool, length: float
) -> None:
    """A person plays a share of each video at some speed and thinks; questions are sent ahead, or one after another."""
    person, now, sent = Annotator(0, "ann"), 0.0, []
    shares: dict[int, float] = {}
    for video, speed, share, thinking in work:
        leased, more = (0.0 if offline else now), max(0.0, share - shares.get(video, 0.0))
        spent = more * length / speed + thinking
        shares[video] = max(share, shares.get(video, 0.0))
        now += spent
        sent.append((item_of(video, length), leased, spent, shares[video], now))
    for item, leased, claimed, watched, made in sent:
        at = (now if offline else made) + 1e-6
        assert arrive(person, item, leased, claimed, watched, at) == 0
    assert sum(claimed for _, _, claimed, _, _ in sent) <= now + 1e-6


@given(work=st.lists(st.floats(0, 100), min_size=1, max_size=12), end=st.floats(1, 120))
def test_votes_of_one_person_never_take_more_than_the_time_since_the_first_lease(work: list[float], end: float) -> None:
    """Questions on different videos were all sent at 0 and are answered together at ``end``."""
    person = Annotator(0, "ann")
    accepted = [arrive(person, item_of(n, 10.0), 0.0, claimed, 1.0, end) == 0 for n, claimed in enumerate(work)]
    assert sum(accepted) * (10.0 - 0.5) / MAX_SPEED <= end + 1e-6
    assert person.busy <= end


@pytest.mark.parametrize(("back", "seconds"), [(-3600, 9.0), (-5, 4.0)])
def test_a_clock_that_is_set_back_refuses_nobody(tmp_path: Path, back: int, seconds: float) -> None:
    """Between question and vote: the claim counts if the vote seems to come before its question."""
    folder = make_campaign(tmp_path / "c", [pair(0)], people=("ann",), lease_minutes=600)
    clock = Clock()
    with CampaignSession.open(folder, clock=clock) as campaign:
        question = held(campaign.view("ann"))[0]
        clock.later(seconds=9 + back)
        assert isinstance(campaign.vote("ann", ballot(question, seconds=9.0)), AnnotatorView)
    assert votes(folder)[0]["seconds"] == seconds
