"""Firefox and WebKitGTK show the voting page, play a WebM clip and vote by keys: layout, formulas, the next video."""

from __future__ import annotations

import shutil
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from tests.browsers import logged
from tests.campaigns import make_campaign, pair
from tests.clients.conftest import Client
from tests.pages import page_of

NEEDED = {"firefox": ("firefox-esr",), "webkit": ("WebKitWebDriver", "Xvfb")}


def webm(path: Path) -> None:
    """Write a clip of two seconds that browsers without H.264 play."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libvpx", rate=20)
        stream.width, stream.height, stream.pix_fmt = 320, 180, "yuv420p"
        for number in range(40):
            frame = av.VideoFrame.from_ndarray(np.full((180, 320, 3), 6 * number, dtype=np.uint8), format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 20)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


@pytest.mark.parametrize("browser", NEEDED)
def test_the_page_in_other_browsers(browser: str, client: Client, tmp_path: Path) -> None:
    missing = [program for program in NEEDED[browser] if not shutil.which(program)]
    if missing:
        pytest.skip(f"no {missing[0]} here")
    texts = {"first_text": r"At 0:01, \(v = \frac{s}{t}\)" + "\n\nIt rolls on." * 60, "video_seconds": 2.0}
    tasks = [pair(n, video=f"clip{n}.webm").model_copy(update=texts) for n in range(3)]
    folder = make_campaign(tmp_path / "c", tasks, pairs_per_video=1, sheets_ahead=2)
    for number in range(3):
        webm(folder / "media" / f"clip{number}.webm")
    with page_of(folder) as here:
        link, picture = f"{here.url}/a/{here.tokens['ann']}", str(tmp_path / f"{browser}.png")
        seen = client("visit", browser=browser, link=link, picture=picture)
    assert [vote["outcome"] for vote in logged(folder)] == ["left", "right", "tie"]
    assert (seen["times"], seen["idle"]) == (["0:01"], "You are done")
    assert sorted(seen["videos"]) == ["clip0.webm", "clip1.webm", "clip2.webm"]
    assert seen["at once"]  # the next video is there without waiting
    boxes, (width, height, scrolled) = seen["boxes"], seen["window"]
    assert scrolled == width
    assert boxes[".stage"]["x"] + boxes[".stage"]["width"] <= boxes["#side-a"]["x"] < boxes["#side-b"]["x"]
    assert boxes["#side-a"]["y"] + boxes["#side-a"]["height"] <= boxes[".vote"]["y"]
    assert boxes[".vote"]["y"] + boxes[".vote"]["height"] <= height + 1
    assert boxes["mfrac"]["height"] > 1.3 * boxes["mfrac"]["width"] > 0  # drawn as a fraction
