"""Payment of a crowd: working time, batches, files, and a scripted study of twenty participants from open to pay."""

from __future__ import annotations

import csv
import json
import random
from collections import Counter
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from annotations.campaign.folder import Place, read_lines
from annotations.campaign.state import State
from cli.main import run
from pipelines.ingestion import ingest
from pipelines.payment import pay, working_seconds
from schemas.campaign import CampaignConfig
from schemas.crowd import PaymentBatch
from schemas.errors import CurateError, UsageError
from tests.campaigns import BEGIN, Clock, make_campaign, pair
from tests.crowds import CODES, Person, crowd_campaign
from tests.pages import page_of

pytestmark = pytest.mark.slow


def at(after: float, event: str, **more: Any) -> dict[str, Any]:
    """An event of participant ann, so many seconds after the begin."""
    time = datetime.fromtimestamp(BEGIN.timestamp() + after, UTC).isoformat()
    return {"seq": 0, "at": time, "event": event, "annotator": "ann", "task": "t000", **more}


def vote(after: float, claimed: float) -> dict[str, Any]:
    return at(after, "vote", seconds=claimed)


@pytest.mark.parametrize(
    ("events", "seconds"),
    [
        ([at(20, "consent"), at(30, "ready")], 30),
        ([at(3600, "consent")], 100),  # idle time is capped
        ([vote(60, 55), at(61, "lease"), at(99, "free")], 60),  # a page that is open is no work
        ([vote(1, 86_400), vote(2, 86_400)], 2),  # claims do not extend the server's time
        ([vote(240, 60), vote(240.1, 60), vote(240.2, 60), vote(240.3, 60)], 240.3),  # given offline
        ([vote(3600, 5), vote(3605, 5), vote(3610, 86_400)], 110),  # after a break
        ([vote(3600, 5), vote(3600.1, 86_400)], 200),  # of an answer counts at most the cap
    ],
)
def test_working_time(events: list[dict[str, Any]], seconds: float) -> None:
    state = State(CampaignConfig(name="c", votes=1))
    state.add([(pair(0), Place(Path(), 0, 0))])
    state.apply(at(0, "join"))
    found = working_seconds([at(0, "join"), *events], state, 100.0)
    assert found["ann"] == pytest.approx(seconds, abs=0.01)


def test_an_answer_on_a_video_may_take_its_duration_longer() -> None:
    state = State(CampaignConfig(name="c", votes=1))
    state.add([(pair(0, video="clip.mp4"), Place(Path(), 0, 0))])
    state.apply(at(0, "join"))
    assert working_seconds([at(0, "join"), vote(3600, 5)], state, 100.0)["ann"] == 110


PAYMENT = {"bonuses": [{"gold_accuracy": 0.9, "amount": "1.00"}], "rewards": {"completed": "0.25"}}


class Study:
    """Twenty participants who act in turn, at a manual clock."""

    def __init__(self, url: str, clock: Clock) -> None:
        self.clock, self.random = clock, random.Random(7)
        self.people = {f"pid{number:02}": Person(url) for number in range(20)}
        self.truth: dict[str, tuple[datetime, datetime]] = {}
        """First and last action of each."""
        self.codes: dict[str, str] = {}
        self.notes: list[str] = []

    def acts(self, who: str) -> Person:
        """The person, a few seconds later."""
        self.clock.later(seconds=self.random.uniform(1, 3))
        self.truth[who] = (self.truth.get(who, (self.clock.now,))[0], self.clock.now)
        return self.people[who]

    def arrive(self) -> None:
        """Everyone joins and practises; pid19 answers the practice questions wrongly."""
        for who in self.people:
            self.acts(who).join(who)
        for step in ("consent", "ready"):
            for who in self.people:
                self.acts(who).send(step)
        for _ in range(2):
            for who in self.people:
                self.acts(who).practise(right=who != "pid19")
                if who == "pid06" and (sheet := self.people[who].view()["sheet"]):
                    self.claim_too_much(who, sheet["questions"][0])
        self.codes["pid19"] = self.people["pid19"].code()

    def vote(self) -> None:
        """Round after round, everyone answers one question: pid01 and pid02 carelessly, the others carefully."""
        voting = [who for who in self.people if who != "pid19"]
        for round_ in range(16):
            self.random.shuffle(voting)
            for who in list(voting):
                if who == "pid03" and round_ in (3, 4, 5):
                    continue  # no connection
                if who == "pid03" and round_ == 6:
                    self.reconnect(who)
                if who == "pid04" and round_ == 3:
                    self.return_on_another_device(who)
                if self.answer(who):
                    voting.remove(who)

    def answer(self, who: str) -> bool:
        """Answer one question; whether the participant is done."""
        person = self.acts(who)
        view = person.seen or person.view()
        if view["can_finish"]:
            if who != "pid05":  # who leaves the page open
                self.codes[who] = person.finish()
            return True
        careless = who in ("pid01", "pid02")
        claim = 3600 if who == "pid06" else 9
        question = view["sheet"]["questions"][0]
        assert person.vote(question, choice="tie" if careless else "", watched=1, seconds=claim).status_code == 200
        return False

    def claim_too_much(self, who: str, question: dict[str, str]) -> None:
        """A vote with a video of ten seconds watched at once is refused."""
        refused = self.acts(who).vote(question, watched=1, seconds=3600)
        assert (refused.status_code, refused.json()["code"]) == (409, "too-fast")
        self.notes.append(f"{who}: {refused.json()['message']}")

    def reconnect(self, who: str) -> None:
        """All votes of a sheet that were given offline arrive together, and each reply is lost once."""
        person = self.acts(who)
        questions = person.seen["sheet"]["questions"]
        for question in questions:
            first, again = (person.vote(question, watched=1, seconds=55).json() for _ in range(2))
            assert first["votes"] == again["votes"]
        self.notes.append(f"{who} gave {len(questions)} votes offline")

    def return_on_another_device(self, who: str) -> None:
        """The same person with another browser and another submission continues."""
        before = self.people[who].view()["votes"]
        self.people[who] = Person(str(self.people[who].client.base_url))
        self.acts(who).join(who, session="s2")
        assert self.people[who].view()["votes"] == before
        self.notes.append(f"{who} returned on another device after {before} votes")

    def take_part_again(self, who: str) -> None:
        """A second participation after the end is refused."""
        assert self.acts(who).join(who, session="s9").status_code == 403
        assert "already taken part" in self.people[who].said()
        self.notes.append(f"{who} was refused a second participation")


def run_study(tmp_path: Path) -> tuple[Path, Study]:
    """The study, from open to the last code but that of pid05."""
    quality = {"min_questions": 2, "patience": 1, "min_seconds": 0, "max_side_share": 1}
    settings = {"max_votes": 9, "gold_share": 0.5, "pairs_per_video": 3, "min_watched": 0.8, "thresholds": quality}
    folder = crowd_campaign(tmp_path / "study", pairs=60, config={"payment": PAYMENT}, **settings)
    clock = Clock()
    with page_of(folder, tokens={}, clock=clock) as here:
        study = Study(here.url, clock)
        study.arrive()
        study.vote()
        study.take_part_again("pid07")
    return folder, study


def test_a_study_of_twenty_from_open_to_pay(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, study = run_study(tmp_path)
    ends = Counter(study.codes.values())
    assert ends == {CODES["completed"]: 16, CODES["stopped"]: 2, CODES["screened_out"]: 1}
    out = tmp_path / "pay.csv"
    assert run(["campaign", "pay", str(folder), "--rate", "12/h", "--out", str(out)]) == 0
    assert "to 17 participants" in capsys.readouterr().err
    paid = dict(csv.reader((tmp_path / "pay.prolific.csv").read_text().splitlines()))
    private = [json.loads(line) for line in (folder / "participants.jsonl").read_text().splitlines()]
    names = {line["person"]: line["participant"] for line in private}
    rows = {row["participant"]: row for row in csv.DictReader(out.read_text().splitlines())}
    assert len(rows) == len(set(names.values())) == 20
    for who, (begin, end) in study.truth.items():
        row = rows[names[who]]
        if who not in ("pid05", "pid07"):
            assert float(row["hours"]) * 3600 == pytest.approx((end - begin).total_seconds(), abs=5), who
        if who in ("pid01", "pid02", "pid05"):
            assert who not in paid
            assert Decimal(row["amount"]) == 0
        else:
            bonus = "1.00" if row["result"] == "completed" and float(row["gold_accuracy"]) >= 0.9 else "0.00"
            assert row["bonus"] == bonus
            reward = Decimal("0.25") if row["result"] == "completed" else 0
            assert Decimal(paid[who]) == Decimal(row["amount"]) == Decimal(row["time_amount"]) + Decimal(bonus) - reward
    assert "pid" not in out.read_text()  # pseudonyms only
    assert_finished_votes_are_read(folder, study.clock.now)
    check_the_second_batch(folder, study, tmp_path, set(paid))


def assert_finished_votes_are_read(folder: Path, now: datetime) -> None:
    """Ingest reads all votes of participants who finished; only pid05 could undo the last one."""
    report = ingest(folder / "log.jsonl", folder.parent / "curate.duckdb", now=now.replace(tzinfo=None))
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    assert report.rows == sum(line["event"] == "vote" for line in lines) - 1


def check_the_second_batch(folder: Path, study: Study, home: Path, paid: set[str]) -> None:
    """Only what is new is paid: nothing, then pid05; and a recorded batch can be written again."""
    log = (folder / "log.jsonl").read_bytes()
    assert pay(folder, "12/h", home / "none.csv").batch is None
    assert not (home / "none.csv").exists()
    with page_of(folder, tokens={}, clock=study.clock) as here:
        late = Person(here.url)
        late.join("pid05")
        assert late.finish() == CODES["completed"]
    assert (folder / "log.jsonl").read_bytes().startswith(log)
    report = pay(folder, "12/h", home / "second.csv")
    assert report.batch
    assert [line.split(",")[0] for line in (home / "second.prolific.csv").read_text().splitlines()] == ["pid05"]
    assert "pid05" not in paid
    again = pay(folder, None, home / "again.csv", batch=1)
    assert [Path(file).read_bytes() for file in again.files] == [
        (home / name).read_bytes() for name in ("pay.csv", "pay.prolific.csv")
    ]
    with pytest.raises(CurateError, match="already exists"):
        pay(folder, None, home / "again.csv", batch=1)
    (folder / "payments.jsonl").unlink()
    (folder / "participants.jsonl").unlink()
    with pytest.raises(CurateError, match="no platform id of 18 participants"):
        pay(folder, "12/h", home / "without.csv")
    assert not (folder / "payments.jsonl").exists()


def test_mturk_assignments_are_approved_once_and_get_bonuses(tmp_path: Path) -> None:
    config = {"qualification": 0, "payment": {"rewards": {"completed": "9.00"}}}
    folder = crowd_campaign(tmp_path / "c", "mturk", config=config)
    clock = Clock()
    with page_of(folder, tokens={}, clock=clock) as here:
        worker = Person(here.url)
        turk = {"hitId": "H1", "workerId": "W1", "turkSubmitTo": "https://www.mturk.com"}
        worker.open("/join", assignmentId="A1", **turk)
        worker.open("/join", assignmentId="A2", **turk)  # returned, and accepted again
        worker.open(worker.page.partition('href="/a/')[2].partition('"')[0].join(("/a/", "")))
        worker.send("consent")
        clock.later(seconds=90)
        worker.vote_all()
        worker.finish()
    pay(folder, "20/h", tmp_path / "one.csv")
    assert (tmp_path / "one.approve.csv").read_text() == "HITId,AssignmentId,WorkerId,Approve,Reject\nH1,A2,W1,X,\n"
    header = "WorkerId,AssignmentId,BonusAmount,Reason,UniqueRequestToken\n"
    assert (tmp_path / "one.bonus.csv").read_text() == header  # the reward covers the time
    (batch,) = read_lines(folder / "payments.jsonl", PaymentBatch)
    assert pay(folder, "20/h", tmp_path / "two.csv").batch is None
    pay(folder, "400/h", tmp_path / "three.csv")
    bonus = (tmp_path / "three.bonus.csv").read_text().splitlines()[1]
    assert bonus == f"W1,A2,1.00,Time and quality bonus of the study,c0ffee00-2-{batch.rows[0].participant}"
    assert (tmp_path / "three.approve.csv").read_text().count("\n") == 1


def test_nobody_is_paid_by_a_log_that_was_edited(tmp_path: Path) -> None:
    folder = crowd_campaign(tmp_path / "c", config={"qualification": 0})
    with page_of(folder, tokens={}) as here:
        one = Person(here.url)
        one.join("one")
        one.send("consent")
        one.vote_all()
        one.finish()
    log = folder / "log.jsonl"
    log.write_text(log.read_text().replace('"result":"completed"', '"result":"no_more_work"'))
    with pytest.raises(CurateError, match="edited"):
        pay(folder, "12/h", tmp_path / "x.csv")
    assert not (tmp_path / "x.csv").exists()


def test_an_invalid_rate_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = crowd_campaign(tmp_path / "c")
    for rate in ("", "12", "12/min", "0/h", "-1/h", "nan/h", "inf/h", "1.005/h", "x/h"):
        with pytest.raises(UsageError, match="not an amount per hour"):
            pay(folder, rate, tmp_path / "x.csv")
    assert run(["campaign", "pay", str(folder), "--out", str(tmp_path / "x.csv")]) == 2
    assert "what to pay is missing" in capsys.readouterr().err
    assert not (tmp_path / "x.csv").exists()


def test_nobody_is_paid_where_the_campaign_is_open_to_no_crowd(tmp_path: Path) -> None:
    with pytest.raises(CurateError, match="not open to a crowd"):
        pay(make_campaign(tmp_path / "c", [pair(0)]), "12/h", tmp_path / "x.csv")
