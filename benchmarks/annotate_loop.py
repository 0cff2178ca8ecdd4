"""The whole loop from a campaign to rankings, with real commands and a real browser.

    python -m benchmarks.annotate_loop [--dir DIR] [--prompts 12] [--pictures]

A simulated world with videos → a campaign → five annotators in Chromium, of whom four vote by the true strengths and
one always presses A → ingest → denoise → ``curate annotators`` → a report. Prints every command with its output. Then
checks that each confirmed vote is in the store once, that only the careless annotator gets the recommendation to drop,
and that the ranking is better than a random one; exits with 1 if a check fails. DIR must be empty and keeps all files;
--pictures adds screenshots. Needs Chromium, and the extras annotate and dev.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import curate
from pipelines.campaigns import status
from tests.browsers import Screen, chromium
from tests.scripted import Annotator, Truth, known_answers, vote_all

ROOT = Path(__file__).parent.parent
CARELESS, PEOPLE, MANAGER = "a03", ("a01", "a02", "a03", "a04", "a05"), "boss"
MAX_SECONDS = 240.0
"""Time limit of the voting."""
TAU_DEVIATION = 0.41
"""Standard deviation of Kendall's tau of a random order of five."""
RULES = "# What to look for\n\nWatch the video, then say which answer is **right**. A tie only where both are equal.\n"
CONFIG = """\
title = "What happens in the clips"
votes_per_pair = 3
batch = 120          # the planner chooses the second batch during the voting
gold_share = 0.15
attention_share = 0.03
min_watched = 0.5
[thresholds]
min_seconds = 0      # scripts are fast
patience = 30        # votes after a warning: enough for curate annotators to judge by
"""


class Shell:
    """Runs curate in a folder, and prints each command with its output."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        self.environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "COLUMNS": "150"}

    def start(self, command: str, **pipes: Any) -> subprocess.Popen[str]:
        print(f"\n$ curate {command}", flush=True)
        arguments = [sys.executable, "-m", "cli.main", *command.split()]
        return subprocess.Popen(arguments, cwd=self.folder, env=self.environment, text=True, **pipes)

    def run(self, command: str, *, quiet: bool = False) -> str:
        """Run a command and return its standard output, printed unless quiet. Exits if the command fails."""
        with self.start(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            out, err = process.communicate()
        print(("" if quiet else out) + err, end="", flush=True)
        if process.returncode:
            raise SystemExit(f"curate {command}: exit status {process.returncode}")
        return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dir", type=Path, help="Keep everything here.")
    parser.add_argument("--prompts", type=int, default=12)
    parser.add_argument("--pictures", action="store_true", help="Screenshots of the last state, in DIR.")
    options = parser.parse_args()
    begin = time.monotonic()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.dir or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            parser.error(f"{folder} is not empty")
        passed = loop(Shell(folder), folder, options.prompts, pictures=options.pictures)
    print(f"{time.monotonic() - begin:.0f} s in total")
    raise SystemExit(0 if passed else 1)


def loop(shell: Shell, folder: Path, prompts: int, *, pictures: bool) -> bool:
    """Run all steps; return whether every check passed."""
    shell.run(f"simulate --video --out world --prompt-count {prompts} --models 5 --votes-per-pair 1")
    known_answers(folder / "world", folder / "gold.csv")
    (folder / "campaign.toml").write_text(CONFIG, encoding="utf-8")
    (folder / "rules.md").write_text(RULES, encoding="utf-8")
    shell.run("ingest --prompts world/prompts.csv --responses world/responses.csv")
    files = "--config campaign.toml --media world --gold gold.csv --instructions rules.md"
    shell.run(f"campaign create june --votes {20 * prompts} {files}")
    annotators = vote(shell, folder, pictures=pictures)
    shell.run("campaign status june")
    shell.run("campaign close june")
    shell.run("ingest june")
    shell.run("denoise")
    shell.run("annotators")
    named = json.loads(shell.run("annotators --json", quiet=True))["annotators"]
    tau = json.loads(shell.run("compare world/truth.csv --json", quiet=True))["kendall_tau"]["final"]
    shell.run("report --out report.html --media world")
    return check(folder, annotators, named, tau)


def vote(shell: Shell, folder: Path, *, pictures: bool) -> list[Annotator]:
    """Serve the page until no annotator has a question left; return the annotators."""
    with shell.start("annotate june --port 0", stdout=subprocess.PIPE) as server, chromium() as browser:
        try:
            assert server.stdout is not None
            url = server.stdout.readline().strip()
            command = f"campaign invite june --annotators {len(PEOPLE)} --manager {MANAGER} --url {url}"
            invited = json.loads(shell.run(f"{command} --json", quiet=True))
            links = {one["name"]: one["link"] for one in invited}
            truth = Truth(folder / "world", folder / "june")
            screens = {name: Screen(browser, width=1280, height=720) for name in links}
            annotators = [Annotator(name, screens[name].page, None if name == CARELESS else truth) for name in PEOPLE]
            for annotator in annotators:
                annotator.enter(links[annotator.name])
            begin = time.monotonic()
            vote_all(annotators, seconds=MAX_SECONDS, over=partial(finished, folder / "june"))
            summary = f"{sum(len(one.acknowledged) for one in annotators)} votes in {time.monotonic() - begin:.0f} s"
            print(f"\nfive windows of Chromium: {summary}")
            for one in annotators:
                warned = f", warned after {one.warned}" if one.warned else ""
                print(f"  {one.name}: {len(one.acknowledged)} votes{warned}: {one.idle}")
            if pictures:
                screens[MANAGER].page.goto(links[MANAGER])
                screens[MANAGER].page.locator("#annotators tr").first.wait_for()
                for name in (CARELESS, MANAGER):
                    screens[name].page.screenshot(path=str(folder / f"{name}.png"))
            complaints = [complaint for screen in screens.values() for complaint in screen.complaints]
            if complaints:
                raise SystemExit(f"errors on the page: {complaints}")
        finally:
            server.send_signal(signal.SIGINT)
            server.wait(30)
    return annotators


def finished(campaign: Path) -> bool:
    """Whether all wanted votes are collected."""
    found = status(campaign)
    return found.votes >= found.wanted


def check(folder: Path, annotators: list[Annotator], named: list[dict[str, Any]], tau: float) -> bool:
    """Print each check; return whether all passed."""
    lines = (folder / "june" / "log.jsonl").read_text(encoding="utf-8").splitlines()
    events = [json.loads(line) for line in lines]
    campaign = events[0]["campaign_id"]
    logged = {event["vote"]: f"{campaign}-{event['seq']:07d}" for event in events if event["event"] == "vote"}
    with curate.open(folder / "curate.duckdb") as store:
        controls = store.frame("SELECT platform_id FROM controls")
        stored = Counter([*store.votes()["platform_id"], *controls["platform_id"]])
    confirmed = [vote for annotator in annotators for vote in annotator.acknowledged]
    once = sum(stored[logged.get(vote, "")] == 1 for vote in confirmed)
    faulty = [row["annotator_id"] for row in named if row["recommendation"] == "drop"]
    stopped = [one.name for one in annotators if one.idle == "There are no more questions for you"]
    required = 3 * TAU_DEVIATION / len(list((folder / "world" / "videos").iterdir())) ** 0.5
    report = folder / "report.html"
    checks = {
        f"{once} of {len(confirmed)} confirmed votes are in the store once": once == len(confirmed) == stored.total(),
        f"stopped by the campaign: {', '.join(stopped) or 'nobody'}": stopped == [CARELESS],
        f"recommended to drop: {', '.join(faulty) or 'nobody'}": faulty == [CARELESS],
        f"Kendall tau to the truth: {tau:.2f} (chance level 0, required {required:.2f})": tau >= required,
        "the report exists": report.is_file() and "</html>" in report.read_text(encoding="utf-8"),
    }
    print()
    for what, passed in checks.items():
        print(f"{'PASS' if passed else 'FAIL'}  {what}")
    return all(checks.values())


if __name__ == "__main__":
    main()
