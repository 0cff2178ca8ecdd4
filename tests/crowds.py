"""People of a platform for tests: HTTP clients that fill in the forms of a study, and a campaign open to them."""

from __future__ import annotations

import html
import re
from pathlib import Path
from typing import Any

import httpx

from annotations.campaign.enrolment import KEY
from annotations.page.security import PAGE_HEADER
from pipelines.crowd import crowd_config, open_study
from tests.campaigns import by_each, known, make_campaign, pair

CODES = {"completed": "DONE1234", "screened_out": "SCREEN12", "stopped": "STOP1234", "no_more_work": "NOMORE12"}
SITE = "https://votes.example.org"


def crowd_campaign(
    folder: Path,
    platform: str = "prolific",
    *,
    pairs: int = 40,
    quota: int = 5,
    seconds: float = 10.0,
    config: dict[str, Any] | None = None,
    **more: Any,
) -> Path:
    """A campaign open to a crowd: 3 votes per person and 2 practice questions whose first response is right."""
    length = {"video_seconds": seconds}
    gold = [known(number, video="clip.mp4").model_copy(update=length) for number in range(500, 530)]
    tasks = [pair(number, video="clip.mp4", quota=quota).model_copy(update=length) for number in range(pairs)]
    if criteria := more.get("criteria"):  # by the last one, the second response is better
        gold = [one for task in gold for one in by_each(task, criteria, **{criteria[-1]["id"]: "second"})]
        tasks = [one for task in tasks for one in by_each(task, criteria)]
    settings = {"max_votes": 3, "votes_per_pair": 5, "gold_share": 0.1, "thresholds": {"min_seconds": 0}, **more}
    made = make_campaign(folder, tasks, gold=gold, **settings)
    values = {"platform": platform, "consent": "Do you *agree*?", "qualification": 2, "pass_mark": 1.0, "codes": CODES}
    open_study(made, crowd_config(None, values | (config or {}), texts={}), url=SITE)
    (made / KEY).write_text("5a" * 32)  # the same pseudonyms, and so the same assignment, each time
    return made


class Person:
    """Someone with a browser, by HTTP."""

    def __init__(self, url: str, address: str = "") -> None:
        headers = {"x-forwarded-for": address} if address else {}
        options = {"timeout": 20, "trust_env": False, "verify": False, "follow_redirects": True}  # no TLS here
        self.client = httpx.Client(base_url=url, headers=headers, **options)  # type: ignore[arg-type]
        self.page = ""
        """The HTML of the last page."""
        self.seen: Any = None
        """The last view of the voting page."""

    def open(self, path: str, **query: str) -> httpx.Response:
        """Open a page, and / after the one that sets the cookie."""
        answer = self.client.get(path, params=query or None)
        self.page = answer.text
        return self.open("/") if 'http-equiv="refresh"' in answer.text else answer

    def join(self, person: str, session: str = "s1") -> httpx.Response:
        """Come from Prolific."""
        return self.open("/join", PROLIFIC_PID=person, STUDY_ID="study", SESSION_ID=session)

    def send(self, step: str, **fields: str) -> httpx.Response:
        """Fill in the form of the last page and send it."""
        token = re.search(r'name="page" value="(\w+)"', self.page)
        answer = self.client.post(f"/join/{step}", data={"page": token.group(1) if token else "", **fields})
        self.page = answer.text
        return self.open("/") if 'http-equiv="refresh"' in answer.text else answer

    def practise(self, *, right: bool = True) -> None:
        """Answer the practice question on the page by its texts: the first answer is the right one."""
        first_left = self.page.index("first answer") < self.page.index("second answer")
        number = re.search(r'name="number" value="(\d+)"', self.page)
        assert number, self.page
        self.send("practice", number=number.group(1), outcome="left" if first_left is right else "right")
        self.open("/")

    def qualify(self, person: str = "", *, right: bool = True) -> None:
        """From arrival to the votes, or to being screened out."""
        if person:
            self.join(person)
        self.send("consent")
        self.send("ready")
        while "Practice question" in self.page:
            self.practise(right=right)

    def view(self) -> Any:
        """The view of the voting page."""
        answer = self.client.get("/api/view")
        self.client.headers[PAGE_HEADER] = answer.headers.get(PAGE_HEADER, "")
        self.seen = answer.json()
        return self.seen

    def vote(self, question: dict[str, str], *, choice: str = "", **more: Any) -> httpx.Response:
        """Vote for the first answer, or for a choice."""
        outcome = choice or ("left" if question["left_text"].startswith("first") else "right")
        ballot = {"question_id": question["question_id"], "vote_id": f"vote-{question['question_id']}"}
        answer = self.client.post("/api/vote", json=ballot | {"outcome": outcome, "seconds": 9} | more)
        self.seen = answer.json() if answer.status_code == 200 else self.seen
        return answer

    def vote_all(self, **more: Any) -> int:
        """Vote until nothing is left; return the number of votes."""
        view = self.view()
        while view["sheet"]:
            view = self.vote(view["sheet"]["questions"][0], **more).json()
        return int(view["votes"])

    def finish(self) -> str:
        """End the participation; the completion code."""
        self.open("/join/finish")
        self.send("finish")
        return self.code()

    def code(self) -> str:
        """The completion code on the page."""
        found = re.search(r'completion code: <strong class="code"[^>]*>([\w-]+)<', self.page)
        return found.group(1) if found else ""

    def said(self) -> str:
        """The text of the page."""
        return html.unescape(re.sub(r"<[^>]+>", " ", self.page))
