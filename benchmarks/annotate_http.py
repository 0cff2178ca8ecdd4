"""Votes per second of the page over HTTP on loopback, each on the disk before it is confirmed.

    python -m benchmarks.annotate_http [--annotators 200] [--seconds 15] [--pairs 20000] [--slow 2000]

Starts ``curate annotate`` on a temporary campaign and lets the annotators vote simultaneously, each on a separate
connection and without pauses, until the time is over or no question is left. Each request is complete: cookie, page
token, rate limits, the fsync of the vote, the next view in the response. Prints votes per second, the 50th and 99th
percentile of the response time, and the number of confirmed votes that are missing in the log. The clients run on the
same machine. With --slow, so many others meanwhile open connections, send half of a request, and open new ones half a
second after the server has closed them.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import multiprocessing
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from annotations.campaign.auth import with_invited, write_members
from annotations.campaign.folder import CAMPAIGN, LOG, MEDIA, TASKS, batch_path, write_atomic, write_lines
from annotations.page.security import PAGE_HEADER
from schemas.campaign import CampaignConfig, CampaignFile, QualityThresholds, Task

TEXT = "The person picks up the cup, turns round, and puts it down on the shelf beside the window. " * 3


def make(folder: Path, pairs: int, annotators: int) -> list[str]:
    """Create a campaign with four pairs per video; return the tokens of its annotators."""
    for below in (folder, folder / TASKS, folder / MEDIA):
        below.mkdir()
    tasks = [
        Task(
            task_id=f"t{number:06}",
            prompt_id=f"p{number // 4:06}",
            question="What does the person do with the cup?",
            video=f"clip{number // 4:05}.mp4",
            video_seconds=10.0,
            first=f"r{number}a",
            second=f"r{number}b",
            first_text=TEXT,
            second_text=TEXT,
        )
        for number in range(pairs)
    ]
    config = CampaignConfig(
        name="bench",
        votes=pairs,
        gold_share=0,
        attention_share=0,
        thresholds=QualityThresholds(max_side_share=1.0, min_seconds=0),  # all vote left, without a pause
    )
    file = CampaignFile(campaign_id="00000000", config=config, store="none.duckdb")
    write_lines(batch_path(folder, 1), tasks)
    write_atomic(folder / CAMPAIGN, file.model_dump_json().encode())
    names = [f"a{number:03}" for number in range(annotators)]
    people, tokens = with_invited((), names, "annotator", datetime.now(UTC))
    write_members(folder, people)
    return list(tokens.values())


@dataclass
class Annotator:
    """One connection that votes as soon as it has a response."""

    port: int
    token: str
    waits: list[float] = field(default_factory=list)
    """Response time of each vote, seconds."""
    acknowledged: list[str] = field(default_factory=list)
    codes: Counter[int] = field(default_factory=Counter)

    async def run(self, until: float) -> None:
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port)
        status, headers, _ = await self._ask("GET", f"/a/{self.token}")
        self.cookie = headers["set-cookie"].partition(";")[0]
        status, headers, view = await self._ask("GET", "/api/view")
        self.page = headers[PAGE_HEADER]
        while status == 200 and view["sheet"] and time.monotonic() < until:
            question = view["sheet"]["questions"][0]["question_id"]
            vote = f"{question}-vote"
            ballot = {"question_id": question, "vote_id": vote, "outcome": "left", "seconds": 5.0, "watched": 0.0}
            begin = time.monotonic()
            status, _, answer = await self._ask("POST", "/api/vote", ballot)
            self.codes[status] += 1
            if status == 200:
                self.waits.append(time.monotonic() - begin)
                self.acknowledged.append(vote)
                view = answer
        self.writer.close()

    cookie: str = ""
    page: str = ""

    async def _ask(self, method: str, path: str, body: Any = None) -> tuple[int, dict[str, str], Any]:
        sent = json.dumps(body).encode() if body is not None else b""
        head = [f"{method} {path} HTTP/1.1", "host: 127.0.0.1", f"cookie: {self.cookie}", f"{PAGE_HEADER}: {self.page}"]
        head += ["content-type: application/json", f"content-length: {len(sent)}"] if sent else []
        self.writer.write("\r\n".join([*head, "", ""]).encode() + sent)
        lines = (await self.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = dict(line.lower().split(": ", 1) if i else (line, "") for i, line in enumerate(lines) if ": " in line)
        raw = dict(line.split(": ", 1) for line in lines[1:] if ": " in line)
        headers["set-cookie"] = raw.get("set-cookie", "")
        text = await self.reader.readexactly(int(headers["content-length"]))
        return int(lines[0].split()[1]), headers, json.loads(text) if text[:1] == b"{" else None


async def vote(port: int, tokens: list[str], seconds: float) -> tuple[list[Annotator], float]:
    """Let all annotators vote; return them and the time that it took."""
    annotators = [Annotator(port, token) for token in tokens]
    begin = time.monotonic()
    await asyncio.gather(*[annotator.run(begin + seconds) for annotator in annotators])
    return annotators, time.monotonic() - begin


async def be_slow(port: int, clients: int) -> None:
    """Open connections that send half of a request, until the process is killed."""

    async def one() -> None:
        while True:
            with contextlib.suppress(OSError):
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(b"GET / HTTP/1.1\r\nhost: x\r\n")
                await reader.read(1)
                writer.close()
            await asyncio.sleep(0.5)

    await asyncio.gather(*[one() for _ in range(clients)])


def processor_seconds(process: int) -> float:
    """CPU seconds that a process has used."""
    fields = Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--annotators", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=15.0)
    parser.add_argument("--pairs", type=int, default=20_000)
    parser.add_argument("--slow", type=int, default=0, metavar="CLIENTS")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "bench"
        tokens = make(folder, options.pairs, options.annotators)
        command = [sys.executable, "-m", "cli.main", "annotate", str(folder), "--port", "0"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as server:
            assert server.stdout is not None
            port = int(server.stdout.readline().strip().rpartition(":")[2])
            others = multiprocessing.Process(target=lambda: asyncio.run(be_slow(port, options.slow)), daemon=True)
            others.start()
            try:
                time.sleep(3 if options.slow else 0)
                before = processor_seconds(server.pid)
                annotators, took = asyncio.run(vote(port, tokens, min(options.seconds, 120)))
            except BaseException:
                server.kill()
                raise
            finally:
                others.kill()
            worked = processor_seconds(server.pid) - before
            memory = next(
                line.split()[1]
                for line in Path(f"/proc/{server.pid}/status").read_text().splitlines()
                if line.startswith("VmRSS")
            )
            server.send_signal(signal.SIGINT)
            server.wait(30)
        events = [json.loads(line) for line in (folder / LOG).read_bytes().splitlines()]
    logged = Counter(event["vote"] for event in events if event["event"] == "vote")
    asked = Counter(event["task"] for event in events if event["event"] == "vote")
    waits = sorted(wait for annotator in annotators for wait in annotator.waits)
    acknowledged = [vote for annotator in annotators for vote in annotator.acknowledged]
    codes = sum((annotator.codes for annotator in annotators), Counter[int]())
    cuts = statistics.quantiles(waits, n=100)
    if options.slow:
        print(f"{options.slow:,} slow clients")
    print(f"{len(tokens)} annotators, no pause between votes, {took:.1f} s over HTTP on loopback")
    print(
        f"  {len(acknowledged):,} votes confirmed: {len(acknowledged) / took:,.0f} per second; responses {dict(codes)}"
    )
    print(f"  response time: p50 {cuts[49] * 1000:.0f} ms, p99 {cuts[98] * 1000:.0f} ms")
    print(f"  CPU time of the server: {1000 * worked / len(acknowledged):.2f} ms per vote")
    print(f"  confirmed and not in the log: {sum(vote not in logged for vote in acknowledged)}")
    print(f"  in the log twice: {sum(count > 1 for count in logged.values())}")
    print(f"  pairs with more votes than their quota: {sum(count > 1 for count in asked.values())}")
    print(f"  memory of the server at the end: {int(memory) / 1024:.0f} MiB")


if __name__ == "__main__":
    main()
