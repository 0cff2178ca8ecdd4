"""Every confirmed vote survives a kill or a full disk."""

from __future__ import annotations

import json
import resource
import signal
import subprocess
import threading
import time
from pathlib import Path

import pytest

from annotations.campaign.session import CampaignSession
from annotations.campaign.state import replay
from benchmarks.annotate_kills import FOLDER, FOREIGN, measure, node
from schemas.campaign import AnnotatorView, Refusal
from schemas.errors import CurateError
from tests.campaigns import ballot, held, make_campaign, pair

pytestmark = pytest.mark.slow


def test_no_vote_is_lost_or_counted_twice_over_kills_on_a_bad_network(tmp_path: Path) -> None:
    """The outbox of the page in Node, and a real server that is killed; see benchmarks.annotate_kills."""
    found = measure(tmp_path, votes=240, annotators=4, kills=3, share=0.3, seed=1)
    assert (found.made, found.logged, found.stored, found.refused) == (240, 240, 240, 0)
    assert found.failures == 0
    assert sum(found.heard.given[kind] > 0 for kind in FOREIGN) >= 10
    assert sum(found.heard.saved[kind] for kind in FOREIGN) > 20  # whose answer was lost
    state = replay(tmp_path / "campaign")
    assert all(item.votes == item.quota for item in state.items)


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


OF_SOMEONE_ELSE = """
const answers = [{ annotator: "bo" }, { annotator: "ann", vote_id: "v1" }, { annotator: "ann" }, { annotator: "bo" }];
globalThis.window = { addEventListener() {} };
globalThis.fetch = async () => ({
  ok: true,
  status: 200,
  headers: new Headers({ "x-curate-page": "t" }),
  json: async () => ({ campaign: "c", ...answers.shift() }),
});
const { request } = await import(process.argv[1]);
const view = async () => (await request("/api/view")).ok;
const vote = async () => (await request("/api/vote", { vote_id: "v1" })).ok;
console.log(JSON.stringify([await view(), await vote(), await view(), await view()]));
"""


def test_a_page_that_was_given_the_view_of_someone_else_first_goes_on_with_its_own_votes() -> None:
    command = [node(), "--input-type=module", "-e", OF_SOMEONE_ELSE, str(FOLDER / "server.js")]
    found = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    assert json.loads(found.stdout) == [True, True, True, False]  # the last one is not its own
