"""Every confirmed vote survives a kill or a full disk."""

from __future__ import annotations

import json
import random
import resource
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from annotations.campaign.log import read_events
from annotations.campaign.session import CampaignSession
from annotations.campaign.state import replay
from schemas.campaign import AnnotatorView, Refusal
from schemas.errors import CurateError
from tests.campaigns import ballot, held, make_campaign, pair

pytestmark = pytest.mark.slow

PEOPLE = tuple(f"a{n}" for n in range(6))
KILLS = 8


def test_no_confirmed_vote_is_lost_to_a_kill_at_any_moment(tmp_path: Path) -> None:
    folder = make_campaign(tmp_path / "c", [pair(n, quota=6) for n in range(400)], people=PEOPLE)
    rng = random.Random(1)
    confirmed: list[str] = []
    for _ in range(KILLS):
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.campaign_process", str(folder), *PEOPLE], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        confirmed.append(process.stdout.readline().strip())  # it has begun
        time.sleep(rng.uniform(0.0, 0.15))
        process.send_signal(signal.SIGKILL)
        # The last line may be cut off: it was confirmed, but which one it was is not to be read.
        confirmed += [line.strip() for line in process.stdout if line.endswith("\n")]
        process.wait()
    stored = [event["question"] for event in read_events(folder / "log.jsonl") if event["event"] == "vote"]
    assert len(confirmed) > 10 * KILLS
    assert set(confirmed) <= set(stored)
    assert len(set(stored)) == len(stored)
    state = replay(folder)
    assert state.votes == len(stored)
    assert all(item.votes + item.held <= item.quota for item in state.items)


def test_a_full_disk_refuses_votes_and_goes_on_when_there_is_room(tmp_path: Path) -> None:
    folder = make_campaign(tmp_path / "c", [pair(n) for n in range(300)], people=("ann", "ben"))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with CampaignSession.open(folder) as campaign:
        view: AnnotatorView | Refusal = campaign.view("ann")
        campaign.vote("ann", ballot(held(view)[0]))
        view = campaign.view("ann")
        room = (folder / "log.jsonl").stat().st_size + 1000
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, hard))  # a file of ours grows no further than that
        try:
            taken = 1
            while isinstance(view, AnnotatorView) and taken < 100:
                last = held(view)[0]
                view = campaign.vote("ann", ballot(last))
                taken += isinstance(view, AnnotatorView)
            assert isinstance(view, Refusal)
            assert view.code == "disk-full"
            assert campaign.vote("ann", ballot(last)) == view
            assert any("disk is full" in warning for warning in campaign.status().warnings)
            whole = (folder / "log.jsonl").read_bytes()
            assert whole.endswith(b"\n")  # nothing half-written stays
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert campaign.status().votes == taken
        again: AnnotatorView | Refusal = view
        while isinstance(again, Refusal):  # it looks for room once a second
            again = campaign.vote("ann", ballot(last))
            time.sleep(0.05)
        assert again.votes == taken + 1
        assert len(held(campaign.view("ben"))) > 0
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_bytes().splitlines()]
    assert [event["seq"] for event in lines] == list(range(1, len(lines) + 1))
    assert replay(folder).votes == taken + 1


def test_nothing_is_written_after_a_failed_rollback(tmp_path: Path) -> None:
    folder = make_campaign(tmp_path / "c", [pair(n) for n in range(9)], people=("ann",))
    log, campaign_file = folder / "log.jsonl", folder / "campaign.json"
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with CampaignSession.open(folder) as campaign:
        question = held(campaign.view("ann"))[0]
        kept, config = log.read_bytes(), campaign_file.read_bytes()
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(kept), hard))
        campaign_file.unlink()  # the state cannot be replayed
        try:
            with pytest.raises(CurateError):
                campaign.vote("ann", ballot(question))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        campaign_file.write_bytes(config)
        refusal = campaign.vote("ann", ballot(question))
        assert isinstance(refusal, Refusal)
        assert refusal.code == "disk-full"
        assert any("restart the page" in warning for warning in campaign.status().warnings)
    assert log.read_bytes() == kept
    with CampaignSession.open(folder) as campaign:
        view = campaign.vote("ann", ballot(held(campaign.view("ann"))[0]))
        assert isinstance(view, AnnotatorView)


def test_concurrent_annotators_meet_every_quota_exactly(tmp_path: Path) -> None:
    people = tuple(f"a{n:02}" for n in range(40))
    tasks = [pair(n, quota=3, video=f"v{n % 9}.mp4") for n in range(120)]
    folder = make_campaign(tmp_path / "c", tasks, people=people, thresholds={"max_side_share": 1.0})
    refused = []

    def annotate(campaign: CampaignSession, name: str) -> None:
        view = campaign.view(name)
        while questions := held(view):
            answer = campaign.vote(name, ballot(questions[-1], "right"))
            if isinstance(answer, Refusal):
                refused.append(answer)
                return
            view = answer

    with CampaignSession.open(folder) as campaign:
        threads = [threading.Thread(target=annotate, args=(campaign, name)) for name in people]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert refused == []
    state = replay(folder)
    assert [item.votes for item in state.items] == [3] * 120
    assert all(item.seen.bit_count() == 3 for item in state.items)
