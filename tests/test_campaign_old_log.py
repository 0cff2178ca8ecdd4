"""A campaign folder of version 0.1.0, with its own keys and log, still replays, opens and can be ingested."""

from __future__ import annotations

from pathlib import Path

import pytest

from annotations.campaign.session import CampaignSession
from annotations.campaign.state import replay
from pipelines import ingest
from pipelines.campaigns import status
from tests.campaigns import BEGIN, held

CAMPAIGN = """{"format":1,"campaign_id":"c0ffee00","config":{"name":"test","title":"","instructions":"","votes":2,
"votes_per_pair":1,"batch":500,"focus":"order","prompts":[],"pairs_per_video":4,"gold_share":0.5,"attention_share":0.0,
"min_watched":0.0,"lease_minutes":30.0,"undo_minutes":10.0,"break_minutes":45.0,"max_votes":0,"ask_reason":false,
"ask_confidence":false,"bars":{"gold_accuracy":0.7,"seconds":3.0,"agreement":0.0,"side_bias":0.8,"least":1,
"patience":1},"reopen_stopped":true,"seed":0},"store":"../curate.duckdb"}
"""
TASK = (
    '{"task_id":"t%s","kind":"%s","prompt_id":"p%s","question":"What?","video":"","video_seconds":null,"first":"a%s",'
    '"second":"b%s","first_text":"one","second_text":"two","answer":%s,"quota":1}\n'
)
PEOPLE = '{"name":"%s","role":"annotator","token_sha256":"%s","invited":"2026-01-05T09:00:00+00:00","revoked":null}\n'
LOG = """\
{"seq":1,"at":"2026-01-05T09:00:00.000Z","event":"begin","campaign":"test","campaign_id":"c0ffee00","undo_minutes":10.0}
{"seq":2,"at":"2026-01-05T09:00:00.000Z","event":"start","torn":7}
{"seq":3,"at":"2026-01-05T09:00:00.000Z","event":"batch","number":1,"votes":2}
{"seq":4,"at":"2026-01-05T09:00:01.000Z","event":"lease","annotator":"ann","sheet":"s1","until":"2026-01-05T09:30:01.000Z",\
"questions":[{"question":"q1","task":"t1","left":"first"},{"question":"q9","task":"t9","left":"second"}]}
{"seq":5,"at":"2026-01-05T09:00:09.000Z","event":"vote","annotator":"ann","question":"q1","vote":"vote-q1","task":"t1",\
"kind":"vote","prompt_id":"p1","left":"a1","right":"b1","outcome":"left","seconds":8.0,"watched":1.0}
{"seq":6,"at":"2026-01-05T09:00:10.000Z","event":"undo","annotator":"ann","vote":"vote-q1"}
{"seq":7,"at":"2026-01-05T09:00:10.000Z","event":"lease","annotator":"ann","sheet":"s1","until":"2026-01-05T09:30:10.000Z",\
"questions":[{"question":"q1b","task":"t1","left":"first"}],"again":true}
{"seq":8,"at":"2026-01-05T09:00:19.000Z","event":"vote","annotator":"ann","question":"q1b","vote":"vote-q1b","task":"t1",\
"kind":"vote","prompt_id":"p1","left":"a1","right":"b1","outcome":"right","seconds":9.0,"watched":1.0,"reason":"clear"}
{"seq":9,"at":"2026-01-05T09:00:29.000Z","event":"vote","annotator":"ann","question":"q9","vote":"vote-q9","task":"t9",\
"kind":"gold","prompt_id":"p9","left":"b9","right":"a9","outcome":"left","seconds":9.0,"watched":1.0,"control":"right"}
{"seq":10,"at":"2026-01-05T09:00:29.000Z","event":"warn","annotator":"ann","reasons":["0 of 1 known answers met"]}
{"seq":11,"at":"2026-01-05T09:00:30.000Z","event":"lease","annotator":"ben","sheet":"s2","until":"2026-01-05T09:30:30.000Z",\
"questions":[{"question":"q2","task":"t2","left":"second"}]}
{"seq":12,"at":"2026-01-05T09:00:31.000Z","event":"skip","annotator":"ben","question":"q2","task":"t2","reason":"dark"}
{"seq":13,"at":"2026-01-05T09:00:32.000Z","event":"lease","annotator":"ann","sheet":"s3","until":"2026-01-05T09:30:32.000Z",\
"questions":[{"question":"q2b","task":"t2","left":"first"}]}
{"seq":14,"at":"2026-01-05T09:40:00.000Z","event":"free","annotator":"ann","questions":["q2b"],"why":"expired"}
{"seq":15,"at":"2026-01-05T09:40:01.000Z","event":"stop","annotator":"ann","reasons":["0 of 1 known answers met"]}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "c"
    (made / "tasks").mkdir(parents=True)
    (made / "campaign.json").write_text(CAMPAIGN.replace("\n", ""))
    (made / "tasks" / "0001.jsonl").write_text("".join(TASK % (n, "vote", n, n, n, "null") for n in "12"))
    (made / "gold.jsonl").write_text(TASK % (9, "gold", 9, 9, 9, '"first"'))
    (made / "people.jsonl").write_text("".join(PEOPLE % (name, name * 20) for name in ("ann", "ben", "cem")))
    (made / "log.jsonl").write_text(LOG)
    return made


def test_the_old_keys_of_campaign_json_are_the_new_thresholds(folder: Path) -> None:
    thresholds = replay(folder).config.thresholds
    assert thresholds.model_dump() == {
        "gold_accuracy": 0.7,
        "min_seconds": 3.0,
        "agreement": 0.0,
        "max_side_share": 0.8,
        "min_questions": 1,
        "patience": 1,
    }


def test_an_old_log_replays(folder: Path) -> None:
    state = replay(folder)
    ann, ben = state.annotators["ann"], state.annotators["ben"]
    assert (state.seq, state.votes, state.excluded, state.skips, state.torn) == (15, 0, 1, 1, 7)
    assert (ann.status, ann.votes, ann.undone, ann.gold, ann.gold_correct) == ("stopped", 2, 1, 1, 0)
    assert (ben.status, ben.skips, ann.leases) == ("ok", 1, [])
    report = status(folder, now=BEGIN)
    assert [(row.annotator, row.status, row.gold_accuracy) for row in report.annotators] == [
        ("ann", "stopped", 0.0),
        ("ben", "ok", None),
        ("cem", "ok", None),
    ]
    assert report.with_old_names()["set_aside"] == 1  # the deprecated key


def test_an_old_campaign_continues(folder: Path) -> None:
    with CampaignSession.open(folder, clock=lambda: BEGIN) as campaign:
        assert {question.question for question in held(campaign.view("cem"))} == {"What?"}
    assert (folder / "log.jsonl").read_text().startswith(LOG)


def test_an_old_log_is_ingested(folder: Path, tmp_path: Path) -> None:
    report = ingest(folder, tmp_path / "curate.duckdb")
    assert (report.votes, report.rejects, report.files[0].controls) == (1, 0, 1)
