"""Ingesting the log of a campaign, also while it is written: final votes, control answers, incomplete lines."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import polars as pl

from annotations.campaign.chain import LogKey
from annotations.campaign.session import CampaignSession
from curate.store import Store
from pipelines import ingest
from schemas.campaign import AnnotatorView, Refusal
from schemas.reports import IngestReport
from tests.campaigns import BEGIN, Clock, ballot, held, known, make_campaign, pair


def read(folder: Path, store: Path, clock: Clock, **later: float) -> IngestReport:
    now = (clock.now + timedelta(**later)).replace(tzinfo=None)
    return ingest(folder, store, now=now)


def votes(store: Path) -> pl.DataFrame:
    with Store.open(store, read_only=True) as opened:
        return opened.votes()


def test_a_vote_is_final_after_the_next_one_or_after_the_undo_time(tmp_path: Path) -> None:
    folder = make_campaign(tmp_path / "c", [pair(n, video="v.mp4") for n in range(9)], people=("ann",), undo_minutes=10)
    clock, store = Clock(), tmp_path / "curate.duckdb"
    with CampaignSession.open(folder, clock=clock) as campaign:
        first, second = held(campaign.view("ann"))[:2]
        campaign.vote("ann", ballot(first, "left"))
        report = read(folder, store, clock)
        assert (report.rows, report.files[0].skipped) == (0, {"votes that can still be undone": 1})
        campaign.vote("ann", ballot(second, "tie"))
        assert read(folder, store, clock).votes == 1
        assert read(folder, store, clock).duplicates == 1
        assert read(folder, store, clock, minutes=9).votes == 0
        report = read(folder, store, clock, minutes=12)
        assert (report.votes, report.duplicates, report.rejects) == (1, 1, 0)
    assert sorted(votes(store)["outcome"]) == ["left", "tie"]


def test_an_undone_vote_is_not_ingested_but_its_replacement_is(tmp_path: Path) -> None:
    folder = make_campaign(tmp_path / "c", [pair(0)], people=("ann",))
    clock, store = Clock(), tmp_path / "curate.duckdb"
    with CampaignSession.open(folder, clock=clock) as campaign:
        campaign.vote("ann", ballot(held(campaign.view("ann"))[0], "left"))
        back = held(campaign.undo("ann"))[0]
        campaign.vote("ann", ballot(back, "both_bad"))
        campaign.close()
    report = read(folder, store, clock)
    assert report.files[0].skipped == {"undone votes": 1}
    assert votes(store)["outcome"].to_list() == ["both_bad"]


def test_sides_and_metadata_are_stored_as_shown(tmp_path: Path) -> None:
    folder = make_campaign(tmp_path / "c", [pair(n) for n in range(12)], people=("ann",))
    clock, store = Clock(), tmp_path / "curate.duckdb"
    shown = {}
    with CampaignSession.open(folder, clock=clock) as campaign:
        view: AnnotatorView | Refusal = campaign.view("ann")
        while questions := held(view):
            asked = questions[0]
            shown[asked.question] = (asked.left_text, asked.right_text)
            view = campaign.vote("ann", ballot(asked, reason="it is so", confidence=3, watched=0.75))
        campaign.close()
    read(folder, store, clock)
    frame = votes(store)
    assert len(frame) == 12
    for row in frame.iter_rows(named=True):
        number = int(row["prompt_id"][1:])
        sides = {f"r{number:03}a": f"first answer {number}", f"r{number:03}b": f"second answer {number}"}
        left, right = shown[f"What happens in {number}?"]
        assert (sides[row["response_left"]], sides[row["response_right"]]) == (left, right)
        assert row["sides_known"]
        assert row["annotator_id"] == "ann"
        assert row["voted_at"] == BEGIN.replace(tzinfo=None)
        meta = json.loads(row["meta"])
        assert (meta["reason"], str(meta["confidence"]), str(meta["watched"])) == ("it is so", "3", "0.75")
    assert set(frame["response_left"].str.slice(-1)) == {"a", "b"}


def test_control_answers_are_not_votes_and_skips_are_not_stored(tmp_path: Path) -> None:
    gold = [known(n, answer="second") for n in range(50, 60)]
    folder = make_campaign(tmp_path / "c", [pair(n) for n in range(8)], gold=gold, gold_share=0.5, people=("ann",))
    clock, store = Clock(), tmp_path / "curate.duckdb"
    with CampaignSession.open(folder, clock=clock) as campaign:
        view: AnnotatorView | Refusal = campaign.view("ann")
        campaign.skip("ann", held(view)[0].question_id, "no")
        view = campaign.view("ann")
        while questions := held(view):
            right = questions[0].left_text.startswith("second")
            view = campaign.vote("ann", ballot(questions[0], "left" if right else "right"))
        campaign.close()
        told = campaign.status()
    report = read(folder, store, clock)
    assert report.votes == told.votes
    assert set(votes(store)["prompt_id"]) <= {f"p{n:03}" for n in range(8)}
    with Store.open(store, read_only=True) as opened:
        controls = opened.frame("SELECT * FROM controls")
    assert len(controls) == told.annotators[0].gold > 0
    assert (controls["outcome"] == controls["answer"]).all()


def test_an_incomplete_last_line_is_read_later(tmp_path: Path) -> None:
    folder = make_campaign(tmp_path / "c", [pair(0, video="v.mp4"), pair(1, video="v.mp4")], people=("ann",))
    clock, store = Clock(), tmp_path / "curate.duckdb"
    with CampaignSession.open(folder, clock=clock) as campaign:
        view: AnnotatorView | Refusal = campaign.view("ann")
        for question in held(view):
            campaign.vote("ann", ballot(question))
    log = folder / "log.jsonl"
    whole = log.read_bytes()
    cut = whole.rindex(b'"event":"vote"') + 40
    log.write_bytes(whole[:cut])
    LogKey.of(log, 0).write(log, last=0)  # as while the page runs
    assert read(folder, store, clock, hours=1).votes == 1
    log.write_bytes(whole)
    report = read(folder, store, clock, hours=1)
    assert (report.votes, report.duplicates) == (1, 1)
