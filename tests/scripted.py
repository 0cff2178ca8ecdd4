"""Scripted annotators in a browser, who vote by the true strengths of a simulated world, or always press A."""

from __future__ import annotations

import csv
import json
import math
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipelines.campaign_tasks import ATTENTION_TEXT
from tests.browsers import GLANCE

SHARPNESS = 2.0
"""Logits per unit of strength with which a careful annotator prefers the better answer."""
TIE_RANGE = 0.1
"""Maximum difference in strength of a tie."""
LOOK = """() => {
  const byId = (id) => document.getElementById(id);
  const text = (id) => byId(id).textContent;
  const media = document.querySelector('#video:not([hidden]), #image:not([hidden])');
  return {
    idle: !byId('idle').hidden,
    title: text('idle-title'),
    again: !byId('check-again').hidden,
    saving: /Saving|not saved/.test(text('save-state')),
    warning: byId('warning').hidden ? '' : text('warning'),
    media: media?.dataset.name ?? '',
    paused: Boolean(media?.paused && !media.ended),
    ready: document.querySelector('.choice').getAttribute('aria-disabled') === 'false',
    question: text('question'), left: text('left'), right: text('right'),
  };
}"""
"""The visible state of the page."""


class Truth:
    """The true strength of each answer, by the file on the screen, the question and the answer's text."""

    def __init__(self, world: Path, campaign: Path) -> None:
        shown = {line["video"]: line["file"] for line in _lines(campaign / "media.jsonl")}
        prompts = {row["prompt_id"]: (shown[row["video"]], row["question"]) for row in _rows(world / "prompts.csv")}
        strengths = {row["response_id"]: float(row["strength"]) for row in _rows(world / "truth.csv")}
        self._strengths = {
            (*prompts[row["prompt_id"]], row["text"]): strengths[row["response_id"]]
            for row in _rows(world / "responses.csv")
        }

    def gap(self, seen: dict[str, Any]) -> float:
        """Strength of the left answer above the right one's; infinite for an attention check."""
        return self._strength(seen, "left") - self._strength(seen, "right")

    def _strength(self, seen: dict[str, Any], side: str) -> float:
        asked = seen[side] == ATTENTION_TEXT
        return math.inf if asked else self._strengths[seen["media"], seen["question"], seen[side]]


@dataclass
class Annotator:
    """One person with one window, who waits until voting is possible and presses a key."""

    name: str
    page: Any
    truth: Truth | None = None
    """None: always presses A."""
    acknowledged: list[str] = field(default_factory=list)
    """Ids of the votes that the server confirmed."""
    warned: int = 0
    """After so many votes; 0: never."""
    idle: str = ""
    """The title of the page while there is no question."""
    _checked: float = 0.0
    """When it last checked for new questions."""

    def enter(self, link: str) -> None:
        """Open the secret link, read the instructions."""
        self.page.on("response", self._heard)
        self.page.goto(link)
        self.page.wait_for_url(link.partition("/a/")[0] + "/")
        self.page.locator("#work:not([hidden]), #idle:not([hidden])").wait_for()
        if self.page.locator("#instructions[open]").count():
            self.page.get_by_role("button", name="I have read this").click()

    def _heard(self, response: Any) -> None:
        if response.url.endswith("/api/vote") and response.status == 200:
            self.acknowledged.append(response.request.post_data_json["vote_id"])

    def act(self) -> bool:
        """Perform the next action; return whether there is a question, or a vote being saved."""
        seen = self.page.evaluate(LOOK)
        if seen["warning"] and not self.warned:
            self.warned = len(self.acknowledged)
        if seen["saving"]:
            return True
        self.idle = seen["title"] if seen["idle"] else ""
        if self.idle:
            now = time.monotonic()
            if seen["again"] and now > self._checked + 1:
                self._checked = now
                self.page.locator("#check-again").click()
            return False
        if not seen["ready"]:
            if seen["paused"]:
                self.page.keyboard.press("k")
        else:
            self.page.clock.fast_forward(GLANCE)
            self.page.keyboard.press(self.key(seen))
        return True

    def key(self, seen: dict[str, Any]) -> str:
        """The key to press, determined by the screen."""
        if self.truth is None:
            return "a"
        gap = self.truth.gap(seen)
        if abs(gap) <= TIE_RANGE:
            return "t"
        slips = 1 / (1 + math.exp(SHARPNESS * min(abs(gap), 20)))
        right = random.Random(f"{self.name} {seen['question']} {seen['left']} {seen['right']}").random() >= slips
        return "a" if (gap > 0) == right else "b"


def vote_all(annotators: list[Annotator], *, seconds: float, over: Callable[[], bool] = lambda: True) -> None:
    """Let them vote in turns until no question is left and ``over`` is true. Raises TimeoutError after ``seconds``."""
    until = time.monotonic() + seconds
    while sum(annotator.act() for annotator in annotators) or not over():
        if time.monotonic() > until:
            raise TimeoutError(f"still voting after {seconds:g} s")
        annotators[0].page.wait_for_timeout(50)  # processes events of the browser


def known_answers(world: Path, path: Path) -> int:
    """Write the best and worst answer of each prompt with a right and a wrong one as gold; return their number."""
    prompts: dict[str, list[dict[str, str]]] = {}
    for row in _rows(world / "truth.csv"):
        prompts.setdefault(row["prompt_id"], []).append(row)
    lines = ["prompt_id,left,right,outcome"]
    for number, (prompt, rows) in enumerate(sorted(prompts.items())):
        best, *_, worst = sorted(rows, key=lambda row: int(row["rank"]))
        if best["right"] != worst["right"]:
            pair = (best["response_id"], worst["response_id"])
            left, right = pair if number % 2 else pair[::-1]
            lines.append(f"{prompt},{left},{right},{'left' if number % 2 else 'right'}")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return len(lines) - 1


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
