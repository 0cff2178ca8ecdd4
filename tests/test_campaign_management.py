"""Managers' actions: what they change, that a restart replays them, and who may do them."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest

from annotations.campaign.log import read_events
from annotations.campaign.refill import BatchRequest
from annotations.campaign.session import CampaignSession
from annotations.campaign.state import replay
from annotations.page import app
from cli.main import run
from schemas.campaign import AnnotatorView, Refusal, Task
from schemas.errors import UsageError
from schemas.management import ACTION
from tests.campaigns import Clock, ballot, held, known, make_campaign, pair
from tests.pages import page_of
from tests.test_campaign_properties import same


def do(campaign: CampaignSession, action: str, **more: Any) -> dict[str, str]:
    return campaign.manage("boss", ACTION.validate_python({"action": action, **more}))


def vote_all(campaign: CampaignSession, name: str, outcome: str = "left", count: int = 1000) -> int:
    """Vote until no question is left; return the votes."""
    view: AnnotatorView | Refusal = campaign.view(name)
    while isinstance(view, AnnotatorView) and held(view) and view.votes < count:
        view = campaign.vote(name, ballot(held(view)[0], outcome))
    return campaign.view(name).votes


def test_every_action_is_in_the_log_with_who_and_when_and_replays(tmp_path: Path) -> None:
    folder = make_campaign(tmp_path / "c", [pair(n) for n in range(6)], people=("ann",))
    clock = Clock(step=9)
    with CampaignSession.open(folder, clock=clock) as campaign:
        assert list(do(campaign, "invite", names=["ben"])) == ["ben"]
        do(campaign, "extend", votes=9, max_votes=0, votes_per_pair=2)
        do(campaign, "edit", changes={"min_watched": 0.5, "thresholds": {"patience": 3}})
        do(campaign, "retire", prompts=["p000", "p001"], reason="black")
        do(campaign, "add", prompts=["p001"])
        do(campaign, "revoke", names=["ben"])
        vote_all(campaign, "ann")
        do(campaign, "pause")
        told, state = campaign.status(), campaign._state
        assert same(replay(folder), state)
        assert (told.paused, told.wanted, state.config.thresholds.patience) == (True, 12, 3)
    again = replay(folder)
    assert (again.config, again.paused, again.retired) == (state.config, True, {"p000"})
    logged = [event for event in read_events(folder / "log.jsonl") if event["event"] == "manage"]
    assert [event["action"]["action"] for event in logged] == [
        "invite", "extend", "edit", "retire", "add", "revoke", "pause",
    ]  # fmt: skip
    assert {event["by"] for event in logged} == {"boss"}
    assert "token" not in json.dumps(logged)


def test_a_pause_hands_out_nothing_and_accepts_open_answers(tmp_path: Path) -> None:
    folder = make_campaign(tmp_path / "c", [pair(n) for n in range(4)], people=("ann", "ben"))
    with CampaignSession.open(folder) as campaign:
        question = held(campaign.view("ann"))[0]
        do(campaign, "pause")
        assert held(campaign.view("ben")) == ()
        assert "paused" in campaign.view("ben").message
        view = campaign.vote("ann", ballot(question))
        assert isinstance(view, AnnotatorView)
        assert (view.votes, view.sheet) == (1, None)
        do(campaign, "resume")
        assert held(campaign.view("ben"))


def test_a_pardoned_annotator_is_judged_by_later_votes_and_the_earlier_ones_count_again(tmp_path: Path) -> None:
    gold = [known(n) for n in range(500, 560)]
    thresholds = {"max_side_share": 1.0, "min_questions": 5, "patience": 6}
    folder = make_campaign(
        tmp_path / "c", [pair(n) for n in range(90)], gold=gold, people=("ann",), gold_share=0.2, thresholds=thresholds
    )

    def answer(campaign: CampaignSession, right: bool, count: int) -> AnnotatorView:
        view: AnnotatorView | Refusal = campaign.view("ann")
        while isinstance(view, AnnotatorView) and held(view) and view.votes < count:
            first = held(view)[0].left_text.startswith("first")
            view = campaign.vote("ann", ballot(held(view)[0], "left" if first == right else "right"))
        assert isinstance(view, AnnotatorView)
        return view

    with CampaignSession.open(folder) as campaign:
        stopped = answer(campaign, False, 1000)
        assert stopped.status == "stopped"
        assert campaign.status().votes == 0
        do(campaign, "pardon", annotator="ann")
        told = campaign.status()
        assert (told.excluded, told.votes) == (0, stopped.votes - told.annotators[0].gold)
        assert answer(campaign, True, stopped.votes + 40).status == "ok"
        with pytest.raises(UsageError, match="neither stopped nor warned"):
            do(campaign, "pardon", annotator="ann")
        assert same(replay(folder), campaign._state)


def test_limits_can_be_raised_and_not_lowered(tmp_path: Path) -> None:
    folder = make_campaign(tmp_path / "c", [pair(n) for n in range(9)], people=("ann", "ben"), max_votes=3)
    with CampaignSession.open(folder) as campaign:
        assert vote_all(campaign, "ann") == 3
        do(campaign, "extend", max_votes=5)
        assert vote_all(campaign, "ann") == 5
        do(campaign, "extend", prompt="p000", votes_per_pair=2)
        assert campaign.status().wanted == 10
        for wrong, said in (({"votes": 4}, "wants 10 votes"), ({"max_votes": 2}, "5 votes already")):
            with pytest.raises(UsageError, match=said):
                do(campaign, "extend", **wrong)
        do(campaign, "extend", max_votes=0)
        vote_all(campaign, "ann")
        vote_all(campaign, "ben")
        assert campaign.status().votes == 10


def test_retired_prompts_are_not_asked_and_reset_ones_are_asked_again(tmp_path: Path) -> None:
    tasks = [pair(n, video=f"v{n}.mp4") for n in range(3)]
    folder = make_campaign(tmp_path / "c", tasks, people=("ann", "ben"))
    with CampaignSession.open(folder) as campaign:
        skipped = held(campaign.view("ann"))[0]
        prompt = f"p00{skipped.question[-2]}"
        campaign.problem("ann", f"v{skipped.question[-2]}.mp4")
        campaign.problem("ann", f"v{skipped.question[-2]}.mp4")
        campaign.problem("ann", "other.mp4")
        assert campaign.status().warnings == ()
        campaign.problem("ben", f"v{skipped.question[-2]}.mp4")
        campaign.skip("ann", skipped.question_id, "The video does not play")
        (problem,) = campaign.status().problems
        assert (problem.prompts, problem.skips, problem.load_errors) == ((prompt,), 1, 2)
        assert any("does not play for 2" in warning for warning in campaign.status().warnings)
        open_now = f"p00{held(campaign.view('ann'))[0].question[-2]}"
        do(campaign, "retire", prompts=[open_now])
        assert vote_all(campaign, "ann") == 1
        do(campaign, "reset", prompts=[prompt])
        assert campaign.status().problems == ()
        assert vote_all(campaign, "ann") == 2
        do(campaign, "add", prompts=[open_now])
        assert vote_all(campaign, "ann") == 3
        coverage = {row.prompt_id: (row.votes, row.wanted) for row in campaign.status().coverage}
        assert set(coverage.values()) == {(1, 1)}
        assert sum(hour.votes for hour in campaign.status().hourly) == campaign.status().last_hour == 3


def test_votes_under_old_rules_stay_valid_and_fixed_rules_stay(tmp_path: Path) -> None:
    folder = make_campaign(tmp_path / "c", [pair(n, video="v.mp4") for n in range(4)], people=("ann",))
    with CampaignSession.open(folder) as campaign:
        first, second = held(campaign.view("ann"))[:2]
        campaign.vote("ann", ballot(first))
        do(campaign, "edit", changes={"min_watched": 0.8, "instructions": "# New"})
        assert campaign.view("ann").instructions == "# New"
        refusal = campaign.vote("ann", ballot(second))
        assert isinstance(refusal, Refusal)
        assert (refusal.code, campaign.status().votes) == ("unwatched", 1)
        for changes in ({"seed": 1}, {"nonsense": 1}, {"min_watched": 7}, {"thresholds": {"patience": 0}}):
            with pytest.raises(UsageError):
                do(campaign, "edit", changes=changes)
    assert replay(folder).votes == 1


def test_the_command_line_acts_at_once_and_through_a_running_page(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = make_campaign(tmp_path / "c", [pair(n) for n in range(4)], people=("ann",))
    assert run(["campaign", "pause", str(folder), "--as", "boss"]) == 0
    assert replay(folder).paused
    assert run(["campaign", "pause", str(folder)]) == 2
    assert "already paused" in capsys.readouterr().err
    with CampaignSession.open(folder) as campaign:
        stop = threading.Event()
        page = threading.Thread(target=lambda: [campaign.view("ann") for _ in iter(lambda: stop.wait(0.02), True)])
        page.start()
        try:
            assert run(["campaign", "resume", str(folder), "--json"]) == 0
        finally:
            stop.set()
            page.join()
        assert json.loads(capsys.readouterr().out)["done"] is True
        assert held(campaign.view("ann"))
        (tmp_path / "rules.toml").write_text("min_watched = 0.5\n[thresholds]\npatience = 4\n")
        assert run(["campaign", "edit", str(folder), "--config", str(tmp_path / "rules.toml")]) == 0
        assert "next request" in capsys.readouterr().err  # nobody asks at the moment
    config = replay(folder).config  # the session has ended
    with CampaignSession.open(folder) as campaign:
        config = campaign.config
    assert (config.min_watched, config.thresholds.patience) == (0.5, 4)
    assert not (folder / "orders").exists()
    logged = [event for event in read_events(folder / "log.jsonl") if event["event"] == "manage"]
    assert [event["by"] for event in logged] == ["boss", "command line", "command line"]


def test_managers_act_and_watch_live_on_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app, "TICK", 0.05)
    folder = make_campaign(tmp_path / "c", [pair(n) for n in range(4)])
    with page_of(folder) as here:
        max_, ann = here.visit("max"), here.visit("ann")
        max_.headers = {app.PAGE_HEADER: max_.get("/api/status").headers[app.PAGE_HEADER]}
        with max_.client.stream("GET", "/api/events") as live:
            assert live.headers["content-type"].startswith("text/event-stream")
            lines = (json.loads(line[6:]) for line in live.iter_lines() if line.startswith("data: "))
            assert next(lines)["paused"] is False
            done = here.visit("max").client.post(
                "/api/manage", json={"action": {"action": "pause"}}, headers=max_.headers
            )
            assert (done.status_code, done.json()["paused"]) == (200, True)
            assert next(lines)["paused"] is True
            here.revoke("max")
            assert list(lines) == []  # the stream has ended
        wrong = ann.post("/api/manage", {"action": {"action": "resume"}})
        assert (wrong.status_code, ann.get("/api/events").status_code) == (403, 403)


def test_live_views_are_limited_in_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app, "MAX_STREAMS", 1)
    with page_of(make_campaign(tmp_path / "c", [pair(0)])) as here:
        max_ = here.visit("max")
        with max_.client.stream("GET", "/api/events") as live:
            lines = live.iter_lines()
            assert next(lines).startswith("data: ")
            assert here.visit("max").get("/api/events").status_code == 429
            assert here.visit("max").get("/api/status").status_code == 200
            assert here.visit("max").post("/api/manage", {"action": {"action": "nonsense"}}).status_code == 403


@pytest.mark.parametrize(("offers", "sizes"), [((2, 6), [6]), ((8, 8), [8, 6]), ((1, 1, 1, 1), [1, 1])])
def test_small_batches_wait_until_no_question_is_left(
    tmp_path: Path, offers: tuple[int, ...], sizes: list[int]
) -> None:
    """The planner offers so many votes at each attempt; a batch has at least a quarter of 16 until then."""
    folder = make_campaign(tmp_path / "c", [pair(n) for n in range(6)], people=("ann",), votes=20, batch=16)
    offered, numbers, open_then = iter(offers), iter(range(100, 200)), []

    def plan(request: BatchRequest) -> int:
        votes = min(next(offered, 0), request.votes)
        if votes < request.least or not votes:
            return 0
        open_then.append((votes, request.least))
        tasks: list[Task] = [pair(next(numbers)) for _ in range(votes)]
        (folder / "tasks" / f"{request.number:04}.jsonl").write_text(
            "".join(task.model_dump_json() + "\n" for task in tasks)
        )
        return votes

    with CampaignSession.open(folder, plan=plan) as campaign:
        for _ in range(len(offers) + 2):
            vote_all(campaign, "ann")
            assert campaign._refill is not None
            campaign._refill.wait(5)
    assert [votes for votes, _ in open_then] == sizes
    assert all(votes >= least for votes, least in open_then)
