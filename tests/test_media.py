"""Media read by an engine: in order, as in one process; a bad file is one error among the answers."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from curate.engine import LocalEngine
from curate.media.frames import Frames, MediaError, read_video
from curate.media.workers import read_videos
from tests.video_files import encode

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def engine() -> Iterator[LocalEngine]:
    with LocalEngine(workers=2) as engine:
        yield engine


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three videos of 1 … 3 frames a tenth of a second."""
    folder = tmp_path_factory.mktemp("videos")
    return [encode(folder / f"v{i}.mp4", range(0, 1000, 100 // i)) for i in range(1, 4)]


def test_videos_come_in_the_order_of_their_paths_as_read_video_reads_them(
    engine: LocalEngine, videos: list[Path]
) -> None:
    paths = [videos[i % 3] for i in range(10)]
    for path, frames in zip(paths, read_videos(engine, paths, 4), strict=True):
        alone = read_video(path, 4)
        assert isinstance(frames, Frames)
        assert (frames.images == alone.images).all()
        assert (frames.times == alone.times).all()
        assert frames.duration == alone.duration
    assert list(read_videos(engine, [], 4)) == []


def test_a_bad_file_is_an_error_in_its_place(engine: LocalEngine, videos: list[Path], tmp_path: Path) -> None:
    (tmp_path / "bad.mp4").write_text("no video")
    os.mkfifo(tmp_path / "pipe.mp4")
    paths = [videos[0], tmp_path / "bad.mp4", videos[1], tmp_path / "gone.mp4", tmp_path / "pipe.mp4", videos[2]]
    answers = list(read_videos(engine, paths, 4))
    assert [isinstance(answer, MediaError) for answer in answers] == [False, True, False, True, True, False]
    for path, answer in zip(paths, answers, strict=True):
        if isinstance(answer, MediaError):
            assert str(path) in str(answer)
            assert answer.hint


def test_a_script_needs_no_main_guard(tmp_path: Path, videos: list[Path]) -> None:
    code = (
        "from pathlib import Path\nfrom curate.engine import LocalEngine\n"
        "from curate.media.workers import read_videos\n"
        f"print('begun')\nwith LocalEngine(workers=1) as engine:\n"
        f"    print([frames.images.shape[0] for frames in read_videos(engine, [Path({str(videos[0])!r})], 2)])\n"
    )
    (tmp_path / "script.py").write_text(code)
    done = subprocess.run([sys.executable, tmp_path / "script.py"], capture_output=True, text=True, check=True)
    assert done.stdout == "begun\n[2]\n"
