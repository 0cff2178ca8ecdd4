"""Invariants of a campaign under random actions: quotas, repeats, balance, and equality of state and replay."""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from annotations.campaign.assignment import controls_due
from annotations.campaign.records import Annotator
from annotations.campaign.session import CampaignSession
from annotations.campaign.state import State, replay
from schemas.campaign import AnnotatorView, CampaignConfig
from tests.campaigns import Clock, ballot, held, known, make_campaign, pair

PEOPLE = ("ann", "ben", "cem", "dora")
ACTS = st.tuples(
    st.sampled_from(["vote", "vote", "vote", "skip", "undo", "reload", "late", "wait", "restart"]),
    st.sampled_from(PEOPLE),
    st.sampled_from(["left", "right", "tie", "both_bad"]),
    st.integers(0, 3),
)


def same(one: State, other: State) -> bool:
    """Whether two states are equal, up to the numbers of annotators (a view without an event also assigns one)."""
    names = [{p.number: p.name for p in state.annotators.values()} for state in (one, other)]

    def content(state: State, named: dict[int, str]) -> list[object]:
        seen = [{named[bit] for bit in named if item.seen >> bit & 1} for item in state.items]
        counts = [(item.quota, item.votes, item.held, item.lean) for item in state.items]
        people = {
            p.name: (p.votes, p.skips, p.undone, p.gold, p.gold_correct, p.decisive, p.left, p.leases, p.past, p.last,
                     p.items, p.outcomes, p.seconds, p.claimed, p.busy, p.videos, p.status, p.reasons, p.asked)
            for p in state.annotators.values() if p.last_at
        }  # fmt: skip
        groups = {group: sorted(pairs) for group, pairs in state.open.items()}
        return [
            seen,
            counts,
            people,
            groups,
            state.wins,
            state.votes,
            state.held,
            state.unmet,
            +state.outcomes,
            state.skips,
        ]

    return content(one, names[0]) == content(other, names[1])


def check(folder: Path, quota: int) -> State:
    """Replay the log and check the invariants."""
    state = replay(folder)
    for item in state.items:
        if item.kind == "vote":
            assert 0 <= item.votes + item.held <= item.quota
            assert item.held == sum(lease.item == item.number for p in state.annotators.values() for lease in p.leases)
            assert item.seen.bit_count() >= item.votes
    for person in state.annotators.values():
        assert max(Counter(person.items).values(), default=0) <= 1
        held_items = [lease.item for lease in person.leases]
        assert len(set(held_items)) == len(held_items)
        assert not set(held_items) & set(person.items)
    assert state.unmet == sum(max(0, i.quota - i.votes) for i in state.items if i.kind == "vote")
    assert state.votes == sum(item.votes for item in state.items)
    kinds = [(p.status, state.items[number].kind) for p in state.annotators.values() for number in p.items]
    assert state.excluded == kinds.count(("stopped", "vote"))
    assert state.votes == kinds.count(("ok", "vote")) + kinds.count(("warned", "vote"))
    return state


@settings(max_examples=25)
@given(
    acts=st.lists(ACTS, max_size=40),
    quota=st.integers(1, 3),
    videos=st.integers(0, 3),
    seed=st.integers(0, 9),
    stops=st.booleans(),
)
def test_quotas_are_met_exactly_and_nobody_gets_a_pair_twice(
    acts: list[tuple[str, str, str, int]], quota: int, videos: int, seed: int, stops: bool
) -> None:
    """Votes of stopped annotators do not count, and are collected again from others as long as there are enough."""
    tasks = [pair(n, quota=quota, video=f"v{n % videos}.mp4" if videos else "") for n in range(7)]
    gold = [known(n, video=f"v{n % videos}.mp4" if videos else "") for n in range(50, 56)]
    clock = Clock()
    with tempfile.TemporaryDirectory() as home:
        folder = make_campaign(
            Path(home) / "c", tasks, gold=gold, people=PEOPLE, seed=seed, lease_minutes=30, pairs_per_video=3,
            thresholds={"min_questions": 3, "patience": 1} if stops else {"min_questions": 1000},
        )  # fmt: skip
        opening = CampaignSession.open(folder, clock=clock)
        campaign = opening.__enter__()
        given_out: dict[str, list[str]] = {name: [] for name in PEOPLE}
        skipped: Counter[str] = Counter()
        for act, name, outcome, place in acts:
            questions = held(campaign.view(name)) if act != "late" else ()
            given_out[name] += [question.question_id for question in questions]
            if act == "vote" and questions:
                campaign.vote(name, ballot(questions[place % len(questions)], outcome))
            elif act == "skip" and questions and skipped["all"] < 2 and quota < 3:
                campaign.skip(name, questions[place % len(questions)].question_id, "")
                skipped["all"] += 1
            elif act == "undo":
                campaign.undo(name)
            elif act == "late" and given_out[name]:
                campaign.vote(name, ballot(given_out[name][place % len(given_out[name])], outcome))
            elif act == "wait":
                clock.later(minutes=16)
            elif act == "restart":
                opening.__exit__(None, None, None)
                opening = CampaignSession.open(folder, clock=clock)
                campaign = opening.__enter__()
            assert same(check(folder, quota), campaign._state)
        for _ in range(6):  # open leases may have to expire before others get the questions
            for name in PEOPLE:
                view = campaign.view(name)
                while questions := held(view):
                    view = campaign.vote(name, ballot(questions[0], "tie"))
                    assert isinstance(view, AnnotatorView)
            clock.later(minutes=31)
        opening.__exit__(None, None, None)
        state = check(folder, quota)
        enough = len(state.not_stopped(PEOPLE)) >= quota and not skipped["all"]
        open_to_all = [item for item in state.items if item.kind == "vote" and enough]
        assert all(item.votes == item.quota for item in open_to_all)
        assert not enough or (state.unmet, state.open) == (0, {})


@given(seed=st.integers(0, 99), asked=st.integers(0, 300), share=st.sampled_from([0.05, 0.1, 0.25, 0.4]))
def test_control_questions_come_at_their_share_and_early(seed: int, asked: int, share: float) -> None:
    state = State(CampaignConfig(name="x", votes=9, seed=seed, gold_share=share))
    person = Annotator(0, "ann")
    person.asked["vote"] = asked
    least, early = state.config.thresholds.min_questions, max(2.0, 0.5 / share)
    expected = max(0.0, asked - least * early) * share + min(least, asked / early)
    assert abs(controls_due(state, person, "gold", 0) - expected) <= 2
    person.asked["vote"] = round(least * early)
    assert controls_due(state, person, "gold", 0) == least


def test_sides_are_balanced_and_reproducible(tmp_path: Path) -> None:
    people = tuple(f"a{n:02}" for n in range(10))
    shown = []
    for home in ("one", "two"):
        folder = make_campaign(tmp_path / home, [pair(n, quota=10) for n in range(8)], people=people, seed=3)
        with CampaignSession.open(folder, clock=Clock()) as campaign:
            lefts = {(name, q.question): q.left_text for name in people for q in held(campaign.view(name))}
            for name in people:
                view = campaign.view(name)
                while questions := held(view):
                    lefts |= {(name, q.question): q.left_text for q in questions}
                    view = campaign.vote(name, ballot(questions[0]))
        shown.append(lefts)
    assert shown[0] == shown[1]
    for n in range(8):
        first = sum(
            text == f"first answer {n}" for (_, question), text in shown[0].items() if question.endswith(f"{n}?")
        )
        assert first == 5


def test_control_questions_are_not_repeated_and_have_the_configured_share(tmp_path: Path) -> None:
    gold = [known(n) for n in range(300, 340)]
    checks = [known(n, kind="attention") for n in range(400, 410)]
    folder = make_campaign(
        tmp_path / "c", [pair(n) for n in range(200)], gold=[*gold, *checks], people=("ann",),
        gold_share=0.1, attention_share=0.04,
    )  # fmt: skip
    with CampaignSession.open(folder) as campaign:
        view = campaign.view("ann")
        while questions := held(view):
            view = campaign.vote("ann", ballot(questions[0], "left" if "first" in questions[0].left_text else "right"))
    state = replay(folder)
    person = state.annotators["ann"]
    asked = Counter(state.items[number].kind for number in person.items)
    assert len(set(person.items)) == len(person.items)
    assert asked["vote"] == 200
    assert 22 <= asked["gold"] <= 28  # one in ten, the first five twice as often
    assert 7 <= asked["attention"] <= 10
    assert person.gold_correct == asked["gold"] + asked["attention"]
    early = [state.items[number].kind for number in person.items[:30]]
    assert early.count("gold") >= 5
