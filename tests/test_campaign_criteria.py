"""A campaign with two criteria: from the questions of an annotator to two leaderboards."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path

import polars as pl
import pytest
from pydantic import ValidationError

import curate
from annotations.campaign.crowd import practice_item
from annotations.campaign.log import iso
from annotations.campaign.session import CampaignSession
from annotations.campaign.state import replay
from annotations.page.security import PAGE_HEADER
from curate.store.people import control_answers
from pipelines import denoise, ingest
from pipelines.campaign_tasks import askable, choose_pairs, gold_from_store
from pipelines.campaigns import check, close, create, repair, status
from pipelines.payment import pay
from schemas.campaign import AnnotatorView, CampaignConfig, Task
from schemas.config import DenoiseConfig
from tests.campaigns import Clock, ballot, by_each, held, invite, known, make_campaign, pair
from tests.crowds import CODES, Person, crowd_campaign
from tests.pages import page_of
from tests.test_campaign_session import events

CRITERIA = [
    {"id": "accuracy", "question": "Which answer is more accurate?", "translations": {"de": "Was stimmt eher?"}},
    {"id": "clarity", "question": "Which answer is clearer?"},
]
MODELS = ("m1", "m2", "m3")
"""By accuracy m1 is the best, by clarity m3."""


def both(number: int) -> list[Task]:
    """A pair by both criteria."""
    return by_each(pair(number), CRITERIA)


def judged(question: dict[str, str]) -> str:
    """The outcome of a scripted annotator: the texts name the models."""
    left, right = (int(question[f"{side}_text"][-1]) for side in ("left", "right"))
    return "left" if (left < right) == (question["criterion"] == "accuracy") else "right"


def test_from_the_page_to_two_leaderboards(tmp_path: Path) -> None:
    prompts = pl.DataFrame(
        {"prompt_id": [f"p{n}" for n in range(5)], "question": [f"What is in {n}?" for n in range(5)]}
    )
    prompts.write_csv(tmp_path / "prompts.csv")
    answers = prompts.select("prompt_id").join(pl.DataFrame({"model": MODELS}), how="cross")
    answers.select(
        "prompt_id", response_id="model", model="model", text=pl.format("{} says {}", "prompt_id", "model")
    ).write_csv(tmp_path / "responses.csv")
    store, folder = tmp_path / "s.duckdb", tmp_path / "c"
    ingest([], store, prompts=tmp_path / "prompts.csv", responses=tmp_path / "responses.csv")
    (tmp_path / "gold.csv").write_text(
        "prompt_id,left,right,outcome,criterion\n"
        "p0,m1,m2,left,\np1,m1,m3,left,accuracy\np2,m1,m3,right,clarity\np3,m1,m2,left,beauty\n"
    )
    config = CampaignConfig.model_validate(
        {
            "name": "two", "votes": 40, "votes_per_pair": 2, "criteria": CRITERIA, "gold_share": 0.25,
            "attention_share": 0, "pairs_per_video": 3, "thresholds": {"min_seconds": 0, "min_questions": 3},
        }
    )  # fmt: skip
    made = create(folder, store, config, gold=tmp_path / "gold.csv")
    assert (made.batch_votes, made.batch_pairs, made.gold) == (40, 10, 3)
    assert any("1 rows by another criterion" in note for note in made.warnings)
    names = ("ann", "ben", "cat")
    with page_of(folder, tokens=invite(folder, *names)) as here:
        for name in names:
            visit = here.visit(name)
            view = visit.get("/api/view").json()
            assert [one["question"] for one in view["criteria"]] == [one["question"] for one in CRITERIA]
            while view["sheet"]:
                questions = view["sheet"]["questions"]
                # Every pair is asked by both criteria in turn, with the same sides, control questions too.
                pairs = {(one["question"], one["left_text"], one["right_text"]) for one in questions}
                assert [one["criterion"] for one in questions] == ["accuracy", "clarity"] * len(pairs)
                for one in questions:
                    view = visit.vote(one["question_id"], outcome=judged(one)).json()
    close(folder)
    found = status(folder)
    assert (found.votes, found.pairs, found.criteria) == (40, 10, {"accuracy": 20, "clarity": 20})
    assert {one.gold_accuracy for one in found.annotators if one.gold} == {1.0}
    assert check(folder).findings == ()
    assert {vote["criterion"] for vote in events(folder, "vote")} == {"accuracy", "clarity"}

    read = ingest(folder, store)
    controls = sum("control" in vote for vote in events(folder, "vote"))
    assert (read.votes, read.rejects, read.superseded) == (len(events(folder, "vote")) - controls, 0, 0)
    assert ingest(folder, store).duplicates == read.votes + controls
    for name, order in (("accuracy", [*MODELS]), ("clarity", [*MODELS[::-1]])):
        assert denoise(store, config=DenoiseConfig(criterion=name, ranker="bradley-terry")).criterion == name
        with curate.open(store) as opened:
            assert opened.leaderboard(criterion=name)["model"].to_list() == order
    with curate.open(store) as opened:
        can = askable(opened, config, ())
    for number in (1, 2):  # by the votes of another criterion each
        tasks = choose_pairs(store, config, can, 5, (), number=number)
        assert [(task.criterion, task.quota) for task in tasks] == [("accuracy", 2), ("clarity", 2), ("accuracy", 1)]
    certain = gold_from_store(store, can, config)
    assert certain
    assert all(known == {"accuracy": "first", "clarity": "second"} for known in certain.values())


def chosen(question: dict[str, str]) -> str:
    """By accuracy the first response is better, by clarity the second."""
    first = question["left_text"].startswith("first")
    return "left" if first == (question["criterion"] == "accuracy") else "right"


def test_a_study_by_two_criteria_from_practice_to_pay(tmp_path: Path) -> None:
    """Undone, repeated and late votes, a copy after a kill, a repaired log, more votes, payment, ingest."""
    bonuses = {"payment": {"bonuses": [{"gold_accuracy": 0.9, "amount": "1.00"}]}}
    settings = {"max_votes": 14, "gold_share": 0.4, "thresholds": {"gold_accuracy": 0, "min_questions": 4}}
    folder = crowd_campaign(tmp_path / "c", pairs=5, quota=3, config=bonuses, criteria=CRITERIA, **settings)
    clock, store = Clock(step=2), tmp_path / "s.duckdb"
    with page_of(folder, tokens=invite(folder, "max", role="manager"), clock=clock) as here:
        people = {name: Person(here.url) for name in ("ann", "ben", "cat")}
        for name, person in people.items():
            person.join(name)
            person.send("consent")
            person.send("ready")
            assert "Which answer is more accurate?" in person.said()
            while "Practice question" in person.page:
                person.practise()

        ann = people["ann"]
        first, second, third = ann.view()["sheet"]["questions"][:3]
        for question in (first, second):  # the second one is changed, and sent twice by a page without a response
            ann.vote(question, choice="tie" if question is second else chosen(question))
        again = ann.client.post("/api/undo", json={}).json()["sheet"]["questions"][0]
        assert (again["criterion"], again["left_text"]) == ("clarity", second["left_text"])
        assert [ann.vote(again, choice=chosen(again)).json()["votes"] for _ in range(2)] == [2, 2]
        clock.later(minutes=31)
        ann.view()
        late = ann.vote(third, choice=chosen(third)).json()  # its lease is over
        assert late["votes"] == 3
        for name, person in people.items():
            while (view := person.view())["sheet"] and not (name == "cat" and view["votes"] == 8):
                asked = view["sheet"]["questions"][0]
                careless = name == "cat" and asked["criterion"] == "clarity"
                outcome = {"left": "right", "right": "left"}[chosen(asked)] if careless else chosen(asked)
                assert person.vote(asked, choice=outcome).status_code == 200

        manager = here.visit("max")
        answer = manager.get("/api/status")
        shown, manager.headers = answer.json(), {PAGE_HEADER: answer.headers[PAGE_HEADER]}
        assert shown["criteria"] == {"accuracy": 13, "clarity": 13}
        # Ann and Ben agree on every pair by each criterion; by both together each pair would have no majority.
        found = sorted((one["gold_accuracy"], one["agreement"], one["compared"]) for one in shown["annotators"])
        assert [one[:2] for one in found] == [(0.5, 0.5), (1.0, 1.0), (1.0, 1.0)]  # Cat answers by clarity wrongly
        assert all(compared >= 6 for *_, compared in found)
        prompt = shown["coverage"][0]["prompt_id"]
        more = {"action": "extend", "prompt": prompt, "votes_per_pair": 4}
        extended = manager.post("/api/manage", {"action": more}).json()
        assert (extended["wanted"] - shown["wanted"], extended["coverage"][0]["wanted"]) == (2, 8)

        copy = tmp_path / "copy"  # as a killed server leaves it
        shutil.copytree(folder, copy)
        with (copy / "log.jsonl").open("ab") as log:
            log.write(b'{"seq":')
        assert check(copy).findings == ()
        with CampaignSession.open(copy, clock=clock) as campaign:
            after = campaign.status()
        assert (after.criteria, after.annotators) == (
            here.campaign.status().criteria,
            here.campaign.status().annotators,
        )
        lines = (copy / "log.jsonl").read_bytes().splitlines(keepends=True)
        at = max(n for n, line in enumerate(lines) if b'"clarity"' in line and b'"kind":"vote"' in line)
        lines[at] = lines[at].replace(b'"clarity"', b'"accuracy"')
        (copy / "log.jsonl").write_bytes(b"".join(lines))
        assert [(found.kind, found.line) for found in check(copy).findings] == [("edited", at + 1)]
        repair(copy)
        with CampaignSession.open(copy, clock=clock) as campaign:
            assert campaign.status().criteria == {"accuracy": 13, "clarity": 12}

        cat = people["cat"]
        while (view := cat.view())["sheet"]:
            asked = view["sheet"]["questions"][0]
            cat.vote(asked, choice=chosen(asked) if asked["criterion"] == "accuracy" else "tie")
        results = [person.finish() for person in people.values()]
        assert set(results) <= {CODES["completed"], CODES["no_more_work"]}
    paid = pay(folder, "12/h", tmp_path / "pay.csv").batch
    assert paid is not None
    logged = events(folder, "vote")
    undone = {undo["vote"] for undo in events(folder, "undo")}
    final = [vote for vote in logged if vote["vote"] not in undone]
    counts = Counter((vote["criterion"], "control" in vote) for vote in final)
    read = ingest(folder, store)
    assert (read.votes + read.controls, read.rejects) == (len(final), 0)
    with curate.open(store) as opened:
        stored = opened.frame("SELECT criterion, false AS c FROM votes UNION ALL SELECT criterion, true FROM controls")
        correct = [control_answers(opened, one["id"]).select(pl.col("outcome") == pl.col("answer")) for one in CRITERIA]
    assert Counter(stored.iter_rows()) == counts
    assert [frame["outcome"].all() for frame in correct] == [True, False]
    assert sorted((row.bonus, row.gold_accuracy) for row in paid.rows) == [(0, 0.5), (1, 1.0), (1, 1.0)]


def test_a_campaign_without_criteria_is_stored_as_before(tmp_path: Path) -> None:
    folder = make_campaign(tmp_path / "c", [pair(0)], people=("ann",))
    with CampaignSession.open(folder) as campaign:
        campaign.vote("ann", ballot(held(campaign.view("ann"))[0]))
    stored = b"".join(path.read_bytes() for path in (folder / "campaign.json", folder / "log.jsonl"))
    assert b"criteria" not in stored
    assert b"criterion" not in stored.replace(b'"criterion":"",', b"", 1)  # the one of the planner
    assert b"criterion" not in (folder / "tasks" / "0001.jsonl").read_bytes()


def test_votes_by_each_criterion_are_undone_skipped_and_replayed_on_their_own(tmp_path: Path) -> None:
    folder = make_campaign(tmp_path / "c", [*both(0), *both(1)], people=("ann", "ben"), criteria=CRITERIA)
    clock = Clock()
    with CampaignSession.open(folder, clock=clock) as campaign:
        first, second = held(campaign.view("ann"))[:2]
        assert (first.criterion, second.criterion) == ("accuracy", "clarity")
        campaign.vote("ann", ballot(first, "left"))
        campaign.vote("ann", ballot(second, "right"))
        back = held(campaign.undo("ann"))[0]
        assert (back.criterion, back.left_text) == ("clarity", second.left_text)
        campaign.skip("ann", back.question_id, "unclear")
        other = held(campaign.view("ben"))[0]  # only what ann skipped is left of that pair
        assert (other.question, other.criterion) in {(second.question, "clarity"), (other.question, "accuracy")}
        before = campaign.view("ann")
    with CampaignSession.open(folder, clock=clock) as campaign:
        assert campaign.view("ann") == before
        assert campaign.status().criteria == {"accuracy": 1, "clarity": 0}


def test_the_time_of_a_pair_is_judged_by_its_first_criterion(tmp_path: Path) -> None:
    """An honest annotator answers the second question about a pair in a moment."""
    tasks = [task for number in range(12) for task in both(number)]
    config = {"criteria": CRITERIA, "thresholds": {"min_seconds": 5.0, "min_questions": 3}}
    for name, times, expected in (("fast", (1, 9), "warned"), ("honest", (9, 1), "ok")):
        folder = make_campaign(tmp_path / name, tasks, people=("ann",), **config)
        clock = Clock(step=20)
        with CampaignSession.open(folder, clock=clock) as campaign:
            view = campaign.view("ann")
            for number in range(10):
                asked = held(view)[0]
                seconds = times[asked.criterion == "clarity"]
                answered = campaign.vote("ann", ballot(asked, ("left", "right")[number // 2 % 2], seconds=seconds))
                assert isinstance(answered, AnnotatorView)
                view = answered
        assert replay(folder).annotators["ann"].status == expected


def test_a_practice_question_is_by_a_criterion_with_a_known_answer(tmp_path: Path) -> None:
    gold = by_each(known(9, answer="second"), CRITERIA, accuracy=None)
    folder = make_campaign(tmp_path / "c", both(0), gold=gold, criteria=CRITERIA, people=("ann",))
    with CampaignSession.open(folder) as campaign:
        item, _ = campaign.read(lambda state: practice_item(state, "ann", 0))
        assert campaign.task(item)["question"] == "What happens in 9? Which answer is clearer?"
    state = replay(folder)
    assert (item.criterion, item.answer) == ("clarity", "second")
    answer = {"task": item.task_id, "outcome": "left", "control": "left", "annotator": "ann", "at": iso(0)}
    state.apply({"seq": 9, "event": "practice", **answer})
    assert [bool(item.seen) for item in state.items if item.kind == "gold"] == [True, True]  # it does not come again


@pytest.mark.parametrize("criteria", [[CRITERIA[0], CRITERIA[0]], [{"id": "a b", "question": "?"}], [{"id": "a"}]])
def test_criteria_need_ids_of_their_own_and_questions(criteria: list[dict[str, str]]) -> None:
    with pytest.raises(ValidationError):
        CampaignConfig.model_validate({"name": "x", "votes": 1, "criteria": criteria})


def test_a_task_by_a_criterion_says_so_in_its_file(tmp_path: Path) -> None:
    folder = make_campaign(tmp_path / "c", both(0), criteria=CRITERIA)
    lines = [json.loads(line) for line in (folder / "tasks" / "0001.jsonl").read_text().splitlines()]
    assert [line["criterion"] for line in lines] == ["accuracy", "clarity"]
