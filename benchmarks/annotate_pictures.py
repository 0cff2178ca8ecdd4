"""Make the pictures of docs/annotate.md from the real page in a browser: ``python -m benchmarks.annotate_pictures``.

    docs/annotate-desktop.png          a question at 1440 pixels, light
    docs/annotate-phone.png            a question at 360 pixels, dark
    docs/annotate-arabic.png           a question at 1440 pixels in Arabic, with the words that differ
    docs/annotate-manager.png          the manager's page at 1440 pixels, dark
    docs/annotate-manager-phone.png    the manager's page at 360 pixels, light

Needs Chromium, and the extras annotate and dev.
"""

from __future__ import annotations

import io
import tempfile
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from PIL import Image

from annotations.campaign.session import CampaignSession
from schemas.campaign import AnnotatorView, Ballot, Question
from tests.browsers import Screen, chromium
from tests.campaigns import invite, known, make_campaign, pair
from tests.pages import page_of

DOCS = Path(__file__).parent.parent / "docs"
QUESTION = "What happens to the ball after it has rolled behind the box?"
GOOD = (
    "At 0:02 it comes out on the other side and rolls on to the right, at the same pace as before, $v = \\frac{s}{t}$, "
    "until it leaves the picture."
)
POOR = "It stays behind the box. A moment later the box tips over to the left, and the ball can be seen lying there."
RULES = "# What to look for\n\nWatch the video, then say which answer is **right**.\n\n1. Facts first.\n2. Then style."
HEIGHT, WIDTH, FRAMES, RATE = 360, 640, 75, 25


def draw(path: Path) -> None:
    """Write a clip of three seconds: a ball rolls behind a box, and out of the picture."""
    y, x = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32)
    ground = np.where((y < 250)[..., None], np.stack([150 + y / 5, 185 + y / 6, 215 + y / 8], -1), (112, 128, 92))
    with av.open(str(path), "w", options={"movflags": "+faststart"}) as container:
        stream = container.add_stream("libx264", rate=RATE)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for number in range(FRAMES):
            image = ground.copy()
            at = -40 + (WIDTH + 80) * number / (FRAMES - 1)
            ball = (x - at) ** 2 + (y - 262) ** 2 < 34**2
            image[ball] = (205, 62, 48)
            image[ball & ((x - at + 10) ** 2 + (y - 252) ** 2 < 9**2)] = (238, 150, 135)
            image[(abs(x - 350) < 85) & (abs(y - 225) < 75)] = (62, 92, 138)
            image[(abs(x - 350) < 85) & (abs(y - 155) < 5)] = (90, 124, 172)
            frame = av.VideoFrame.from_ndarray(np.clip(image, 0, 255).astype(np.uint8), format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, RATE)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def answer(question: Question, number: int, careless: bool) -> Ballot:
    """A careful or a careless vote."""
    said = "left" if careless else ("left" if question.left_text == GOOD else "right")
    if number % 7 == 3 and not careless:
        said = ("tie", "both_bad")[number % 2]
    seconds = 1.2 if careless else 9 + number % 11
    share = 0.55 if careless else 0.9 + number % 3 / 20
    return Ballot(
        question_id=question.question_id,
        vote_id=f"{question.question_id}-v",
        outcome=said,
        seconds=seconds,
        watched=share,
    )


class Clock:
    """The time in a campaign whose scripted votes take as long as they claim."""

    def __init__(self) -> None:
        self.ahead = timedelta(hours=-1)

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.ahead


def vote(campaign: CampaignSession, clock: Clock, name: str, count: int, *, careless: bool = False) -> None:
    for number in range(count):
        view = campaign.view(name)
        assert isinstance(view, AnnotatorView)
        if view.sheet is None:
            return
        ballot = answer(view.sheet.questions[0], number, careless)
        clock.ahead += timedelta(seconds=ballot.seconds + 1)
        campaign.vote(name, ballot)


def save(screen: Screen, name: str) -> None:
    image = Image.open(io.BytesIO(screen.page.screenshot())).convert("RGB").quantize(160)
    path = DOCS / name
    image.save(path, optimize=True)
    print(f"{path}: {path.stat().st_size:,} bytes")


def main() -> None:
    texts = {"question": QUESTION, "first_text": GOOD, "second_text": POOR, "video_seconds": 3.0}
    tasks = [pair(n, video=f"clip{n // 4}.mp4", quota=2).model_copy(update=texts) for n in range(80)]
    gold = [known(n, video=f"clip{n - 80}.mp4").model_copy(update=texts) for n in range(80, 100)]
    with tempfile.TemporaryDirectory() as temporary:
        folder = make_campaign(
            Path(temporary) / "june",
            tasks,
            gold=gold,
            gold_share=0.2,
            name="june",
            title="Everyday clips, June",
            instructions=RULES,
            min_watched=0.5,
            ask_confidence=True,
            votes_per_pair=2,
            max_votes=40,
            thresholds={"min_seconds": 2.0, "patience": 8},
        )
        for clip in (folder / "media").iterdir():
            draw(clip)
        people = {"b02": 31, "b03": 22, "b04": 9}
        tokens = invite(folder, "ann", "careless", "hasty", *people) | invite(folder, "max", role="manager")
        clock = Clock()
        with page_of(folder, tokens=tokens, clock=clock) as here, chromium() as browser:
            for name, count in people.items():
                vote(here.campaign, clock, name, count)
            vote(here.campaign, clock, "ann", 12)
            vote(here.campaign, clock, "hasty", 7, careless=True)
            vote(here.campaign, clock, "careless", 30, careless=True)
            for name, width, height, scheme, language in (
                ("desktop", 1440, 810, "light", "en"),
                ("phone", 360, 740, "dark", "en"),
                ("arabic", 1440, 810, "light", "ar"),
            ):
                shape = {"width": width, "height": height, "touch": width < 700}
                screen = Screen(browser, **shape, color_scheme=scheme, locale=language).enter(here)
                screen.press("Escape")
                if language == "ar":
                    screen.press("d")
                screen.watch()
                screen.page.evaluate("() => { const v = document.querySelector('video'); v.currentTime = 0.95; }")
                screen.page.wait_for_timeout(3500)  # the player's controls fade
                save(screen, f"annotate-{name}.png")
            for name, width, height, scheme in (("", 1440, 810, "dark"), ("-phone", 360, 780, "light")):
                manager = Screen(browser, width=width, height=height, color_scheme=scheme).enter(here, "max")
                manager.page.wait_for_timeout(300)
                save(manager, f"annotate-manager{name}.png")


if __name__ == "__main__":
    main()
