"""MediaReader: answers in order; a file that makes its process hang or die is one error among the answers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from threading import Timer

import numpy as np
import pytest
from PIL import Image

from curate.media.frames import Frames, MediaError, read_video
from curate.media.workers import MediaReader
from tests.video_files import encode, numbers

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def reader() -> Iterator[MediaReader]:
    with MediaReader(workers=2) as reader:
        yield reader


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Six videos of 1 … 6 frames a tenth of a second."""
    folder = tmp_path_factory.mktemp("videos")
    return [encode(folder / f"v{i}.mp4", range(0, 1000, 100 // i)) for i in range(1, 7)]


@pytest.fixture(scope="module")
def long(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A video that takes several milliseconds to decode."""
    return encode(tmp_path_factory.mktemp("long") / "long.mkv", range(0, 4000, 40), size=128, noise=True)


def test_videos_come_in_the_order_of_their_paths_as_read_video_reads_them(
    reader: MediaReader, videos: list[Path]
) -> None:
    paths = [videos[i % 6] for i in range(20)]
    for path, frames in zip(paths, reader.videos(paths, 4), strict=True):
        alone = read_video(path, 4)
        assert isinstance(frames, Frames)
        assert (frames.images == alone.images).all()
        assert (frames.times == alone.times).all()
        assert frames.duration == alone.duration


def test_a_bad_file_is_an_error_in_its_place(reader: MediaReader, videos: list[Path], tmp_path: Path) -> None:
    (tmp_path / "bad.mp4").write_text("no video")
    os.mkfifo(tmp_path / "pipe.mp4")
    paths = [videos[0], tmp_path / "bad.mp4", videos[1], tmp_path / "gone.mp4", tmp_path / "pipe.mp4", videos[2]]
    answers = list(reader.videos(paths, 4))
    assert [isinstance(answer, MediaError) for answer in answers] == [False, True, False, True, True, False]
    for path, answer in zip(paths, answers, strict=True):
        if isinstance(answer, MediaError):
            assert str(path) in str(answer)
            assert answer.hint


def test_check_returns_the_defects_of_videos_and_images(
    reader: MediaReader, videos: list[Path], tmp_path: Path
) -> None:
    Image.fromarray(np.zeros((8, 8, 3), dtype=np.uint8)).save(tmp_path / "image.PNG")
    (tmp_path / "bad.jpg").write_text("no image")
    good, bad, video = reader.check([tmp_path / "image.PNG", tmp_path / "bad.jpg", videos[0]], 8)
    assert good is None
    assert video is None
    assert isinstance(bad, MediaError)
    assert bad.code == "not-media"


def test_no_paths_give_no_answers(reader: MediaReader) -> None:
    assert list(reader.videos([], 4)) == []


def test_few_files_are_read_ahead(reader: MediaReader, videos: list[Path]) -> None:
    answers = reader.videos(videos * 100, 4)
    next(answers)
    time.sleep(0.3)
    next(answers)
    assert reader._round.assigned <= 6


def test_an_unfinished_call_is_ended_by_the_next(reader: MediaReader, videos: list[Path]) -> None:
    left = reader.videos(videos, 4)
    next(left)
    first, second = reader.videos(videos[4:], 4)
    assert isinstance(second, Frames)
    assert isinstance(first, Frames)
    assert numbers(first.images) == numbers(read_video(videos[4], 4).images)
    with pytest.raises(RuntimeError, match="meanwhile"):
        list(left)


def test_a_hanging_process_is_replaced_and_its_file_is_named(videos: list[Path]) -> None:
    with MediaReader(workers=2, timeout=1.0) as reader:
        _wait_for_all(reader, videos)
        answers = reader.videos(videos * 3, 4)
        next(answers)
        os.kill(_pids(reader)[0], signal.SIGSTOP)
        rest = list(answers)
        errors = [answer for answer in rest if isinstance(answer, MediaError)]
        assert len(rest) == 17
        [error] = errors
        assert str(videos[(rest.index(error) + 1) % 6]) in str(error)
        assert error.code == "timeout"
        assert all(isinstance(answer, Frames) for answer in reader.videos(videos, 4))


def test_a_crashed_process_is_replaced_and_its_file_is_named(videos: list[Path], long: Path) -> None:
    with MediaReader(workers=1) as reader:
        answers = reader.videos([videos[0], long, videos[1]], 400)
        next(answers)
        os.kill(_pids(reader)[0], signal.SIGSEGV)
        died, after = answers
    assert isinstance(died, MediaError)
    assert died.code == "crashed"
    assert "long.mkv" in str(died)
    assert "-11" in str(died)
    assert isinstance(after, Frames)


def test_a_process_that_dies_idle_causes_no_error(videos: list[Path]) -> None:
    with MediaReader(workers=2) as reader:
        _wait_for_all(reader, videos)
        for worker in reader._workers:
            worker.process.kill()
            worker.process.wait()
        assert all(isinstance(answer, Frames) for answer in reader.videos(videos, 4))


def test_the_time_limit_does_not_count_time_between_answers(videos: list[Path]) -> None:
    with MediaReader(workers=1, timeout=0.4) as reader:
        for answer in reader.videos(videos[:4], 4):
            assert isinstance(answer, Frames)
            time.sleep(0.5)


def test_closing_ends_all_processes(videos: list[Path]) -> None:
    with MediaReader(workers=2) as reader:
        next(reader.videos(videos, 4))
        pids = _pids(reader)
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_a_script_needs_no_main_guard(tmp_path: Path, videos: list[Path]) -> None:
    code = "from pathlib import Path\nfrom curate.media.workers import MediaReader\nprint('begun')\n"
    code += f"with MediaReader(workers=1) as reader:\n    print(list(reader.check([Path({str(videos[0])!r})], 2)))\n"
    (tmp_path / "script.py").write_text(code)
    done = subprocess.run([sys.executable, tmp_path / "script.py"], capture_output=True, text=True, check=True)
    assert done.stdout == "begun\n[None]\n"


def test_a_function_is_computed_for_each_file_and_what_ends_its_process_is_an_error() -> None:
    with MediaReader(workers=1, function=np.ones) as reader:
        ones, error, after = reader.map([(Path("a"), (2, 3)), (Path("b"), "bad"), (Path("c"), 1)])
        assert (ones == np.ones((2, 3))).all()
        assert isinstance(error, TypeError)
        assert after == [1.0]
    with MediaReader(workers=1, timeout=0.5, function=time.sleep) as reader:
        done, late, after = reader.map([(Path("a"), 0), (Path("late.mp4"), 60), (Path("c"), 0)])
        assert (done, late.code, after) == (None, "timeout", None)
        assert "late.mp4" in str(late)
    with MediaReader(workers=2, function=os._exit) as reader:
        [dead] = reader.map([(Path("dead.mp4"), 7)])
        assert str(dead) == "dead.mp4: the process that decoded it died (exit code 7)"


def test_a_call_ends_when_another_thread_interrupts_it() -> None:
    with MediaReader(workers=1, function=time.sleep) as reader:
        Timer(0.3, reader.interrupt).start()
        with pytest.raises(RuntimeError, match="meanwhile"):
            list(reader.map([(Path("a"), 60)]))
        assert list(reader.map([(Path("a"), 0)])) == [None]


def test_a_reader_needs_a_process() -> None:
    with pytest.raises(ValueError, match="workers"):
        MediaReader(workers=0)


def _pids(reader: MediaReader) -> list[int]:
    return [worker.process.pid or 0 for worker in reader._workers]


def _wait_for_all(reader: MediaReader, videos: list[Path]) -> None:
    """Read until every process has started."""
    while not all(worker.started for worker in reader._workers):
        assert all(isinstance(answer, Frames) for answer in reader.videos(videos, 4))
