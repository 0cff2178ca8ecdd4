"""Files that the page serves: the campaign's media, whole and by ranges, and static files; nothing else."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.campaigns import make_campaign, pair
from tests.pages import Here, page_of

pytestmark = pytest.mark.slow

VIDEO = bytes(range(256)) * 40


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Here]:
    """The page of a campaign with one video of 10,240 bytes."""
    folder: Path = make_campaign(tmp_path_factory.mktemp("page") / "campaign", [pair(0, video="clip.mp4")])
    (folder / "media" / "clip.mp4").write_bytes(VIDEO)
    (folder / "secret.txt").write_text("the people of the campaign")
    with page_of(folder) as running:
        yield running


TRAVERSALS = [
    "../secret.txt",
    "..%2Fsecret.txt",
    "..%5csecret.txt",
    "%2e%2e%2fsecret.txt",
    "....//secret.txt",
    "/etc/passwd",
    "%2Fetc%2Fpasswd",
    "clip.mp4%00.txt",
    "clip.mp4/../../secret.txt",
    "%252e%252e%252fsecret.txt",
    "",
    ".",
    "..",
    "C:%5Cwindows%5Cwin.ini",
    "CLIP.MP4",
]


@pytest.mark.parametrize("name", TRAVERSALS)
@pytest.mark.parametrize("below", ["media", "static"])
def test_no_name_reaches_another_file(here: Here, below: str, name: str) -> None:
    visit = here.visit("ann")
    cookie = "; ".join(f"{one.name}={one.value}" for one in visit.client.cookies.jar)
    host, port = here.url.removeprefix("http://").split(":")
    request = f"GET /{below}/{name} HTTP/1.1\r\nHost: x\r\nCookie: {cookie}\r\nConnection: close\r\n\r\n"
    with socket.create_connection((host, int(port))) as raw:  # a client library would tidy the path up
        raw.sendall(request.encode())
        answer = b"".join(iter(lambda: raw.recv(65536), b""))
    assert answer.split(b" ")[1] in (b"404", b"400")
    for secret in (b"the people", b"root:", b"[fonts]"):
        assert secret not in answer


def test_static_files_are_scripts_styles_and_pictures_only(here: Here) -> None:
    visit = here.visit()
    assert visit.get("/static/annotator.js").headers["content-type"] == "text/javascript; charset=utf-8"
    assert visit.get("/static/annotator.html").status_code == 404
    etag = visit.get("/static/style.css").headers["etag"]
    assert visit.get("/static/style.css", **{"if-none-match": etag}).status_code == 304


RANGES = [
    ("bytes=0-99", 206, VIDEO[:100], "bytes 0-99/10240"),
    ("bytes=100-", 206, VIDEO[100:], "bytes 100-10239/10240"),
    ("bytes=-50", 206, VIDEO[-50:], "bytes 10190-10239/10240"),
    ("bytes=0-", 206, VIDEO, "bytes 0-10239/10240"),
    ("bytes=10000-99999", 206, VIDEO[10000:], "bytes 10000-10239/10240"),
    ("bytes=10239-10239", 206, VIDEO[-1:], "bytes 10239-10239/10240"),
    ("bytes=10240-", 416, b"", "bytes */10240"),
    ("bytes=-0", 416, b"", "bytes */10240"),
]


@pytest.mark.parametrize(("asked", "status", "body", "told"), RANGES)
def test_a_video_is_sent_by_ranges(here: Here, asked: str, status: int, body: bytes, told: str) -> None:
    answer = here.visit("ann").get("/media/clip.mp4", range=asked)
    assert (answer.status_code, answer.content, answer.headers["content-range"]) == (status, body, told)


def test_a_whole_video_accepts_ranges(here: Here) -> None:
    visit = here.visit("ann")
    answer = visit.get("/media/clip.mp4")
    assert (answer.status_code, answer.content) == (200, VIDEO)
    assert answer.headers["accept-ranges"] == "bytes"
    assert answer.headers["content-type"] == "video/mp4"
    tag = answer.headers["etag"]
    assert visit.get("/media/clip.mp4", **{"if-none-match": tag}).status_code == 304
    assert visit.get("/media/clip.mp4", **{"if-range": tag, "range": "bytes=0-9"}).content == VIDEO[:10]
    assert visit.get("/media/clip.mp4", **{"if-range": '"other"', "range": "bytes=0-9"}).content == VIDEO


@pytest.mark.parametrize("asked", ["bytes=9-1", "bytes=x-y", "lines=1-2", "bytes"])
def test_an_invalid_range_is_ignored(here: Here, asked: str) -> None:
    answer = here.visit("ann").get("/media/clip.mp4", range=asked)
    assert (answer.status_code, answer.content) == (200, VIDEO)


def test_many_ranges_get_the_whole_file(here: Here) -> None:
    many = "bytes=" + ",".join(f"{start}-" for start in range(50))
    assert here.visit("ann").get("/media/clip.mp4", range=many).content == VIDEO
