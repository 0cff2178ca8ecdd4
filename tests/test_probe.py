"""What is found out of one file: facts of sound videos and images, a code and words for every other."""

from __future__ import annotations

import hashlib
import os
import struct
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from curate.engine import LocalEngine
from curate.media.frames import MediaError, read_video
from curate.media.locate import Locator, media_below
from curate.media.probe import Probe, is_variable, probe
from curate.media.workers import probe_media
from schemas.media import MEDIA_REJECTS
from tests.video_files import encode, sound_without_video

# Sound files


def test_a_video_is_measured_hashed_and_named(tmp_path: Path) -> None:
    path = encode(tmp_path / "even.mp4", range(0, 2000, 125))
    found = probe(path)
    assert (found.kind, found.codec, found.frames, found.width, found.height) == ("video", "h264", 16, 64, 64)
    assert found.duration == pytest.approx(2.0)
    assert found.fps == pytest.approx(8.0)
    assert found.variable_frame_rate is False
    assert found.bytes == path.stat().st_size
    assert found.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert found.phash == (0,) * 24  # its frames are flat: 8, whole and less 3% and 6% a side


def test_a_variable_rate_is_seen(tmp_path: Path) -> None:
    path = encode(tmp_path / "uneven.mp4", [*range(0, 1000, 100), *range(1000, 6000, 1000)], bf=0)
    found = probe(path)
    assert found.variable_frame_rate is True
    assert found.duration == pytest.approx(5.04, abs=0.01)
    assert found.fps == pytest.approx(15 / 5.04, rel=0.01)


@pytest.mark.parametrize(
    ("begin", "variable"),
    [([0.0], False), ([0, 3.0], False), ([0, 0.033, 0.067, 0.1], False), ([0, 0.1, 0.2, 0.35], True)],
)
def test_rounded_timestamps_are_no_variable_rate(begin: list[float], variable: bool) -> None:
    assert is_variable(np.array(begin)) is variable


def test_a_turned_video_has_the_size_that_is_shown(tmp_path: Path) -> None:
    path = _turned(_wide(tmp_path / "wide.mp4"))
    assert (probe(tmp_path / "wide.mp4").width, probe(tmp_path / "wide.mp4").height) == (96, 64)
    assert (probe(path).width, probe(path).height) == (64, 96)


def test_a_narrow_turned_video_whose_rows_are_padded_has_its_own_pixels(tmp_path: Path) -> None:
    path = _turned(_wide(tmp_path / "wide.mp4", height=48))
    assert (probe(path).width, probe(path).height, probe(path).frames) == (48, 96, 8)
    images = read_video(path, 4).images
    assert images.shape == (4, 96, 48, 3)
    assert (images[:, :, 2:22] < 20).all()  # what was below is left
    assert (images[:, :, 26:46] > 230).all()


def _turned(path: Path) -> Path:
    """The same, to be shown a quarter of a turn on."""
    content = bytearray(path.read_bytes())
    matrix = content.find(b"tkhd") + 44
    content[matrix : matrix + 36] = struct.pack(">9i", 0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30)
    turned = path.with_name(f"turned-{path.name}")
    turned.write_bytes(content)
    return turned


def _wide(path: Path, *, height: int = 64, **options: str) -> Path:
    """Dark, but for its upper half where it is not 64 pixels high."""
    image = np.zeros((height, 96, 3), np.uint8)
    image[: height // 2] = 0 if height == 64 else 250
    with av.open(str(path), "w", options=options) as container:
        stream = container.add_stream("libx264", rate=8, options={"threads": "1"})
        stream.width, stream.height, stream.pix_fmt = 96, height, "yuv420p"
        for _ in range(8):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
    return path


@pytest.mark.parametrize(("suffix", "codec"), [(".png", "png"), (".jpg", "jpeg"), (".webp", "webp")])
def test_an_image_goes_the_same_way(tmp_path: Path, suffix: str, codec: str) -> None:
    pixels = np.zeros((20, 30, 3), dtype=np.uint8)
    pixels[:, 15:] = 200
    Image.fromarray(pixels).save(tmp_path / f"still{suffix}")
    found = probe(tmp_path / f"still{suffix}")
    assert (found.kind, found.codec, found.width, found.height, found.frames) == ("image", codec, 30, 20, 1)
    assert (found.duration, found.fps, found.variable_frame_rate) == (None, None, None)
    assert len(found.phash) == 3
    assert found.phash[0] > 0


# Files that are not


def code_of(path: Path) -> str:
    with pytest.raises(MediaError) as raised:
        probe(path)
    assert str(path) in str(raised.value)
    return raised.value.code


def test_every_unsound_file_has_its_code(tmp_path: Path) -> None:
    video = encode(tmp_path / "whole.mkv", range(0, 4000, 40), size=128, noise=True)
    (tmp_path / "cut.mkv").write_bytes(video.read_bytes()[: video.stat().st_size // 2])
    (tmp_path / "empty.mp4").write_bytes(b"")
    (tmp_path / "text.mp4").write_text("a text\n" * 100)
    (tmp_path / "folder.mp4").mkdir()
    os.mkfifo(tmp_path / "pipe.mp4")
    (tmp_path / "text.png").write_text("a text")
    Image.new("I;16", (4, 3), 40_000).save(tmp_path / "deep.png")
    sound_without_video(tmp_path / "sound.mp4")
    codes = {
        "gone.mp4": "missing",
        "empty.mp4": "empty",
        "text.mp4": "not-media",
        "text.png": "not-media",
        "folder.mp4": "not-a-file",
        "pipe.mp4": "not-a-file",
        "sound.mp4": "no-video",
        "cut.mkv": "damaged",
        "deep.png": "unsupported",
    }
    assert {name: code_of(tmp_path / name) for name in codes} == codes
    assert set(codes.values()) <= MEDIA_REJECTS.keys()


def test_a_video_without_frames_says_so(tmp_path: Path) -> None:
    content = _wide(tmp_path / "whole.mp4", movflags="frag_keyframe+empty_moov").read_bytes()
    (tmp_path / "zero.mp4").write_bytes(content[: content.index(b"moof") - 4])
    assert code_of(tmp_path / "zero.mp4") == "no-frames"


def test_the_processes_give_what_one_process_gives_and_codes_come_through(tmp_path: Path) -> None:
    video = encode(tmp_path / "even.mp4", range(0, 2000, 125))
    (tmp_path / "empty.mp4").write_bytes(b"")
    with LocalEngine(workers=2) as engine:
        good, bad, again = probe_media(engine, [video, tmp_path / "empty.mp4", video])
    assert isinstance(good, Probe)
    assert good == again == probe(video)
    assert isinstance(bad, MediaError)
    assert bad.code == "empty"


def test_a_file_that_takes_too_long_is_a_timeout(tmp_path: Path) -> None:
    long = encode(tmp_path / "long.mkv", range(0, 4000, 40), size=128, noise=True)
    with LocalEngine(workers=1) as engine:
        [answer] = probe_media(engine, [long], timeout=0.001)
    assert isinstance(answer, MediaError)
    assert answer.code == "timeout"


# Which file is meant


def test_a_video_is_a_path_from_the_folder_or_an_id_that_one_file_fits(tmp_path: Path) -> None:
    (tmp_path / "clips").mkdir()
    for name in ("a.mp4", "b.mp4", "b.webm", "c.txt"):
        (tmp_path / "clips" / name).write_text("x")
    locator = Locator(tmp_path)
    assert locator.find("clips/a.mp4") == tmp_path / "clips" / "a.mp4"
    assert locator.find("clips/a") == tmp_path / "clips" / "a.mp4"
    assert locator.name(locator.find("clips/a")) == "clips/a.mp4"
    for video, code in (("clips/b", "ambiguous"), ("clips/c", "missing"), ("https://a.b/c.mp4", "missing")):
        with pytest.raises(MediaError) as raised:
            locator.find(video)
        assert raised.value.code == code
        assert raised.value.hint


@pytest.mark.parametrize("video", ["\ud800.mp4", "x" * 5000])
def test_a_name_that_no_file_can_have_is_missing(tmp_path: Path, video: str) -> None:
    with pytest.raises(MediaError) as raised:
        Locator(tmp_path).find(video)
    assert raised.value.code == "missing"


def test_folders_are_searched_for_media_and_hidden_files_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "deep" / ".hidden").mkdir(parents=True)
    for name in ("b.MP4", "deep/a.png", "deep/notes.txt", "deep/.hidden/c.mp4"):
        (tmp_path / name).write_text("x")
    assert media_below(tmp_path) == [tmp_path / "b.MP4", tmp_path / "deep" / "a.png"]
