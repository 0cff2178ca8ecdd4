"""A campaign session under 200 annotators without think time and HTTP: throughput, latency, memory, quotas.

    python -m benchmarks.annotate [--votes 100000] [--annotators 200] [--folder DIR]

Each annotator is a thread that answers every question immediately; an answer is confirmed only when the disk holds it.
DIR is the folder of the log; the result depends on its disk. benchmarks.annotate_http measures the same through the
page, and benchmarks.annotate_kills what kills do to votes.
"""

from __future__ import annotations

import argparse
import os
import random
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from threading import Event, Thread

import numpy as np

from annotations.campaign.auth import read_members, with_invited, write_members
from annotations.campaign.folder import CAMPAIGN, GOLD, LOG, MEDIA, TASKS, batch_path, write_atomic, write_lines
from annotations.campaign.session import CampaignSession
from annotations.campaign.state import State, replay
from schemas.campaign import AnnotatorView, Ballot, CampaignConfig, CampaignFile, Refusal, Task

QUOTA = 40
"""Votes on a pair."""
KNOWN = 400
FINISHED = Event()
"""Set when every quota is met."""
WORDS = "the person in front turns to the door and then waits until the light changes "


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--votes", type=int, default=100_000)
    parser.add_argument("--annotators", type=int, default=200)
    parser.add_argument("--folder", type=Path, default=None)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as home:
        load(Path(home) / "load", options.votes, options.annotators)


def load(folder: Path, votes: int, annotators: int) -> None:
    """Let all annotators vote until every quota is met, and print the figures."""
    people = make(folder, votes // QUOTA, annotators)
    print(f"{annotators} annotators, {votes // QUOTA:,} pairs × {QUOTA} votes, {KNOWN} control questions")
    delays: list[list[float]] = [[] for _ in people]
    at: list[tuple[int, float]] = []
    done = [0] * len(people)
    with CampaignSession.open(folder) as campaign:
        before = memory()
        threads = [Thread(target=annotate, args=(campaign, name, delays[i], done, i)) for i, name in enumerate(people)]
        begin = time.perf_counter()
        for thread in threads:
            thread.start()
        while (told := campaign.status()).votes < told.wanted:
            at.append((sum(done), memory()))
            time.sleep(1.0)
        took = time.perf_counter() - begin
        at.append((sum(done), memory()))
        FINISHED.set()
        for thread in threads:
            thread.join()
        own = sum(len(part) for part in delays) * 32 / 2**20  # what this script itself keeps
    every = np.concatenate([np.array(part) for part in delays]) * 1000
    answers = len(every)
    print(f"{answers:,} answers confirmed in {took:.1f} s: {answers / took:,.0f} per second")
    print(f"latency: p50 {np.percentile(every, 50):.1f} ms, p99 {np.percentile(every, 99):.1f} ms")
    flushes = (folder / LOG).stat().st_size / 2**20
    print(f"log: {flushes:.1f} MiB")
    for share in (0.1, 0.5, 1.0):
        count, used = next(pair for pair in at if pair[0] >= share * at[-1][0])
        print(f"memory after {count:,} answers: {used:.0f} MiB (at the start {before:.0f}; of this script {own:.0f})")
    begin = time.process_time()
    state = replay(folder)
    print(f"replay of {state.seq:,} events: {time.process_time() - begin:.1f} CPU seconds")
    pairs = [item for item in state.items if item.kind == "vote"]
    over = sum(item.votes > item.quota for item in pairs)
    unmet = sum(item.votes < item.quota for item in pairs)
    print(f"pairs above their quota: {over}; below: {unmet}; votes {told.votes:,} of {told.wanted:,}")
    twice = sum(len(set(person.items)) != len(person.items) for person in state.annotators.values())
    print(f"annotators who got a pair twice: {twice}")
    print(f"control questions: {share_of(state):.3f} of questions (configured: 0.12, more at first)")


def share_of(state: State) -> float:
    """Share of control questions among the answers."""
    kinds = np.array([item.kind != "vote" for item in state.items])
    given = np.concatenate([np.frombuffer(person.items, np.int32) for person in state.annotators.values()])
    return float(kinds[given].mean())


def annotate(campaign: CampaignSession, name: str, delays: list[float], done: list[int], me: int) -> None:
    """Answer every question immediately."""
    rng = random.Random(name)
    view: AnnotatorView | Refusal = campaign.view(name)
    while isinstance(view, AnnotatorView):
        if view.sheet is None:
            if FINISHED.wait(0.2):  # others hold the remaining questions
                return
            view = campaign.view(name)
            continue
        question = view.sheet.questions[0]
        ballot = Ballot(
            question_id=question.question_id,
            vote_id=f"v-{question.question_id}",
            outcome=rng.choice(("left", "right", "tie")),
            seconds=8.0,
            watched=0.0,
        )
        begin = time.perf_counter()
        view = campaign.vote(name, ballot)
        delays.append(time.perf_counter() - begin)
        done[me] += 1
    raise RuntimeError(view)


def make(folder: Path, pairs: int, annotators: int) -> list[str]:
    """Create a campaign without thresholds; return its annotators."""
    thresholds = {"gold_accuracy": 0, "min_seconds": 0, "max_side_share": 1}
    config = CampaignConfig.model_validate({"name": "bench", "votes": pairs * QUOTA, "thresholds": thresholds})
    for below in (folder, folder / TASKS, folder / MEDIA):
        below.mkdir(parents=True, exist_ok=True)
    write_lines(batch_path(folder, 1), [task(n, n % (pairs // 8 or 1)) for n in range(pairs)])
    known = [task(pairs + n, n, kind="attention" if n % 5 == 0 else "gold", answer="first") for n in range(KNOWN)]
    write_lines(folder / GOLD, known)
    made = CampaignFile(campaign_id="bench000", config=config, store="none.duckdb")
    write_atomic(folder / CAMPAIGN, made.model_dump_json().encode())
    names = [f"a{n:03}" for n in range(annotators)]
    people, _ = with_invited(read_members(folder), names, "annotator", datetime.now(UTC))
    write_members(folder, people)
    return names


def task(number: int, video: int, **more: object) -> Task:
    fields = {
        "task_id": f"t{number:06}",
        "prompt_id": f"p{number // 4:05}",
        "question": f"What happens in {number}?",
        "video": f"v{video:05}.mp4",
        "video_seconds": 20.0,
        "first": f"r{number:06}a",
        "second": f"r{number:06}b",
        "first_text": WORDS * 6,
        "second_text": WORDS * 4,
        "quota": QUOTA,
    }
    return Task.model_validate(fields | more)


def memory() -> float:
    """Memory of this process, MiB."""
    pages = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


if __name__ == "__main__":
    main()
