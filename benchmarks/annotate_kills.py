"""Votes over kills of the server and a network that answers in its place: none may be lost or counted twice.

    python -m benchmarks.annotate_kills [--votes 20000] [--annotators 20] [--kills 50] [--share 0.1] [--seed 0]

The server of ``curate annotate`` runs in a process that is killed with SIGKILL at random moments and started again. Its
campaign has two criteria. Between it and the annotators is a proxy that answers ``share`` of the requests of the page's
script with something else (FOREIGN), half of them after the server has handled the request. The annotators are the
page's own outbox (server.js) in Node, and one is the whole page in Chromium, which is also reloaded; both vote without
pauses, with timers 10 times as fast. Then each vote that left an outbox must be in the log once, and ``ingest`` must
store it once. Exits with 1 otherwise.
"""

from __future__ import annotations

import argparse
import http.client
import json
import multiprocessing
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from annotations.campaign.log import read_events
from annotations.page.files import FOLDER
from annotations.page.server import address, listen
from curate.store import Store
from pipelines.annotating import annotate
from pipelines.campaigns import close
from pipelines.ingestion import ingest
from tests.browsers import chromium
from tests.campaigns import by_each, invite, make_campaign, pair
from tests.proxies import Forwarding, proxy

CRITERIA = [{"id": one, "question": f"Which is better by {one}?"} for one in ("accuracy", "clarity")]
HTML = {"content-type": "text/html"}
FOREIGN: dict[str, tuple[int, dict[str, str], bytes] | None] = {
    "captive portal: 200 with HTML": (200, HTML, b"<h1>Sign in</h1>"),
    "portal: redirect to its page": (302, {"location": "/static/0/style.css"}, b""),
    "proxy: 404": (404, HTML, b"not found"),
    "Cloudflare: 521": (521, HTML, b""),
    "Cloudflare: 524": (524, HTML, b"timeout"),
    "firewall: 403": (403, HTML, b"Request blocked"),
    "empty 200": (200, HTML, b""),
    "JSON of another service": (200, {"content-type": "application/json"}, b'{"ok": true}'),
    "answer to another vote": None,
    "truncated answer": None,
    "closed after a while": None,
}
"""What answers in place of the server; None: see ``Network``."""
KILLED = "none: the server was killed (502)"
PACE = """(() => {
  const { heard, setInterval: every, setTimeout: wait } = window;
  const now = performance.now.bind(performance);
  window.setTimeout = (call, delay, ...rest) => wait(call, delay < 20_000 ? delay / 10 : delay, ...rest);
  performance.now = () => 10 * now();
  for (const [name, what] of [["setItem", "made"], ["removeItem", "done"]]) {
    const own = Storage.prototype[name];
    Storage.prototype[name] = function (key, ...rest) {
      if (key.includes(":outbox:")) heard(what, key.split(":").pop());
      return own.call(this, key, ...rest);
    };
  }
  const press = (key) => document.body.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
  every(() => press("abtn"[Math.floor(4 * Math.random())]), 40);
})();"""
"""In the page: faster timers, reports of what its outbox stores and removes, and a key pressed every 40 ms."""


@dataclass
class Heard:
    """What passed through the proxy."""

    given: Counter[str] = field(default_factory=Counter)
    """Kind of foreign answer -> how often."""
    saved: Counter[str] = field(default_factory=Counter)
    """The same, where the server had saved a vote."""
    refused: set[str] = field(default_factory=set)
    """Ids of votes that the server refused."""
    last: bytes = b"{}"
    """The last answer to a vote that was saved."""


def network(upstream: str, heard: Heard, rng: random.Random, share: float) -> type[Forwarding]:
    """The handler of a proxy that gives foreign answers."""

    class Network(Forwarding):
        def do_GET(self) -> None:
            body, last = self.body(), heard.last
            kind = rng.choice(list(FOREIGN)) if "/api/" in self.path and rng.random() < share else ""
            answer = (200, {"content-type": "application/json"}, last)
            if not kind or rng.random() < 0.5:
                try:
                    answer = self.forward(body)
                except (OSError, http.client.HTTPException):
                    kind, answer = KILLED, (502, HTML, b"bad gateway")
                else:
                    self.note(kind, answer, body)
            heard.given[kind] += 1
            if kind == "closed after a while":
                time.sleep(0.2)
                self.close_connection = True
            elif kind == "truncated answer":
                self.answer(*answer, cut=len(answer[2]) // 2)
            elif kind == "answer to another vote":
                self.answer(200, {"content-type": "application/json"}, last)
            else:
                self.answer(*(FOREIGN.get(kind) or answer))

        def note(self, kind: str, answer: tuple[int, dict[str, str], bytes], body: bytes) -> None:
            if not self.path.endswith("/api/vote"):
                return
            if answer[0] == 200:
                heard.saved[kind], heard.last = heard.saved[kind] + 1, answer[2]
            elif json.loads(answer[2]).get("vote_id"):
                heard.refused.add(json.loads(body)["vote_id"])

    Network.upstream = upstream
    return Network


@dataclass
class Result:
    """The counts of a run. The last four must be 0."""

    kills: int
    heard: Heard
    made: int
    by_page: int
    """Votes of the annotator in Chromium."""
    refused: int
    logged: int
    stored: int
    unsent: int
    missing: int
    """Votes that left an outbox, were not refused, and are not in the log."""
    twice: int
    differing: int
    """Votes of the log that the store lacks or has twice."""

    @property
    def failures(self) -> int:
        """0 if no vote was lost or counted twice."""
        return self.unsent + self.missing + self.twice + self.differing


def measure(
    home: Path, *, votes: int, annotators: int, kills: int, share: float, seed: int, browser: Any = None
) -> Result:
    """Let all annotators give ``votes`` together, over this number of kills. home: an empty folder."""
    names = tuple(f"a{number:02}" for number in range(annotators))
    pairs = -(-votes // (len(CRITERIA) * annotators))
    tasks = [one for number in range(pairs) for one in by_each(pair(number, quota=annotators), CRITERIA)]
    limits = {"max_side_share": 1.0, "min_seconds": 0.0}
    folder = make_campaign(home / "campaign", tasks, criteria=CRITERIA, thresholds=limits)
    tokens = list(invite(folder, *names).values())
    with listen("127.0.0.1", 0) as listener:
        upstream = address(listener).removeprefix("http://")
    rng, heard = random.Random(seed), Heard()
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["annotations.page.app", "pipelines.campaigns", "tests.browsers", "tests.proxies"])

    def start() -> Any:
        port = int(upstream.rpartition(":")[2])
        process = context.Process(
            target=annotate, args=([folder],), kwargs={"port": port, "on_ready": repr}, daemon=True
        )
        process.start()
        return process

    with proxy(network(upstream, heard, rng, share)) as site:
        server = start()
        command = [node(), str(Path(__file__).with_name("outbox.mjs")), site, str(FOLDER / "server.js")]
        page = Page(browser, f"{site}/a/{tokens.pop()}") if browser else None
        said = home / "votes.json"  # a pipe would be full
        with said.open("w") as output:
            clients = subprocess.Popen([*command, *tokens], stdout=output)
        log = folder / "log.jsonl"
        for number in range(kills):  # spread evenly over the votes
            upto = (number + rng.uniform(0.5, 1.5)) * votes / (kills + 1)
            wait_for(lambda upto=upto: lines(log) >= upto or clients.poll() is not None, page)
            time.sleep(rng.uniform(0, 0.05))
            server.kill()
            server.join()
            server = start()
            if page and number % 5 == 0:
                page.reload()
        wait_for(lambda: clients.poll() is not None and (page is None or page.is_done()), page)
        made = json.loads(said.read_text())
        server.terminate()
        server.join()
    close(folder)
    return counted(folder, heard, made, page, kills)


def counted(folder: Path, heard: Heard, made: dict[str, Any], page: Page | None, kills: int) -> Result:
    """Compare the votes made with the log and with a store."""
    own = page.made if page else []
    every = [*made["made"], *own]
    logged = Counter(event["vote"] for event in read_events(folder / "log.jsonl") if event["event"] == "vote")
    store = folder.parent / "curate.duckdb"
    ingest(folder, store)
    with Store.open(store, read_only=True) as opened:
        numbers = Counter(int(str(name).rpartition("-")[2]) for name in opened.votes()["platform_id"])
    events = Counter(event["seq"] for event in read_events(folder / "log.jsonl") if event["event"] == "vote")
    return Result(
        kills=kills,
        heard=heard,
        made=len(every),
        by_page=len(own),
        refused=len(heard.refused),
        logged=logged.total(),
        stored=numbers.total(),
        unsent=made["unsent"] + (len(set(own) - set(page.done)) if page else 0),
        missing=len(set(every) - heard.refused - set(logged)),
        twice=logged.total() - len(logged),
        differing=((numbers - events) + (events - numbers)).total(),
    )


class Page:
    """An annotator with the whole page in Chromium."""

    def __init__(self, browser: Any, link: str) -> None:
        self.page = browser.new_page()
        self.made: list[str] = []
        """Ids of the votes that the outbox stored."""
        self.done: list[str] = []
        """Of those that it removed."""
        self.page.expose_function("heard", lambda what, vote: getattr(self, what).append(vote))
        self.page.add_init_script(PACE)
        self.page.goto(link)
        self.page.wait_for_url(lambda url: "/a/" not in url)

    def reload(self) -> None:
        """Reload until it is the page again."""
        self.page.reload()
        while "annotator.js" not in self.page.content():
            self.page.wait_for_timeout(50)
            self.page.reload()

    def is_done(self) -> bool:
        """Whether all votes are saved; else it goes on for a moment."""
        self.page.wait_for_timeout(50)
        return bool(self.page.evaluate("() => document.getElementById('idle-title')?.textContent === 'You are done'"))


def wait_for(condition: Callable[[], bool], page: Page | None, seconds: float = 3600.0) -> None:
    """Wait, while the browser goes on. Raises TimeoutError."""
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until:
            raise TimeoutError(f"not reached within {seconds:g} s")
        page.page.wait_for_timeout(20) if page else time.sleep(0.01)


def lines(log: Path) -> int:
    """About the number of votes in a log, by its size: counting them would take longer than voting."""
    return log.stat().st_size // 700 if log.exists() else 0


def node() -> str:
    """The path of Node, of which Playwright has one."""
    from playwright._impl._driver import compute_driver_executable

    return str(compute_driver_executable()[0])


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--votes", type=int, default=20_000)
    parser.add_argument("--annotators", type=int, default=20)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--share", type=float, default=0.1)
    parser.add_argument("--seed", type=int, default=0)
    options = vars(parser.parse_args(arguments))
    begin = time.monotonic()
    with tempfile.TemporaryDirectory() as home, chromium() as browser:
        found = measure(Path(home), browser=browser, **options)
    print(f"{'answer of the network in place of the server':46} requests  of these, saved before")
    for kind in (*FOREIGN, KILLED):
        print(f"{kind:46} {found.heard.given[kind]:8,} {found.heard.saved[kind]:23,}")
    print(f"\n{found.kills} kills with SIGKILL, {time.monotonic() - begin:.0f} s")
    print(f"votes made: {found.made:,}, of these {found.by_page:,} on the page in Chromium; refused: {found.refused}")
    print(f"in the log: {found.logged:,}; in the store: {found.stored:,}")
    print(f"left in an outbox: {found.unsent}; missing in the log: {found.missing}; there twice: {found.twice}")
    print(f"different in the store: {found.differing}")
    sys.exit(1 if found.failures else 0)


if __name__ == "__main__":
    main()
