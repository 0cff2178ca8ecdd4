"""Frames of a video by time, and images: those that are shown then, or a MediaError that names the file."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from curate.media.frames import MediaError, import_decord, read_image, read_video, shown_at, slice_centres
from schemas.errors import CurateError
from tests.video_files import encode, numbers, sound_without_video

# Which frames


def test_constant_rate_frames_are_spread_evenly(tmp_path: Path) -> None:
    frames = read_video(encode(tmp_path / "even.mp4", range(0, 2000, 125)), 8)
    assert frames.images.shape == (8, 64, 64, 3)
    assert frames.images.dtype == np.uint8
    assert frames.duration == pytest.approx(2.0)
    assert numbers(frames.images) == [1, 3, 5, 7, 9, 11, 13, 15]
    assert frames.times == pytest.approx(np.arange(0.125, 2, 0.25))


@pytest.mark.parametrize(
    ("bf", "duration", "chosen"),
    [(0, 20.04, [10, 12, 15, 17, 20, 22, 25, 27]), (2, 21.0, [10, 12, 15, 18, 20, 23, 26, 28])],
    ids=["in order", "with B-frames"],
)
def test_frames_of_a_variable_rate_are_chosen_by_time_not_by_number(
    tmp_path: Path, bf: int, duration: float, chosen: list[int]
) -> None:
    """Ten frames in the first second, then one a second: by number, 3 of 8 would be from the first second."""
    frames = read_video(encode(tmp_path / "uneven.mp4", [*range(0, 1000, 100), *range(1000, 21_000, 1000)], bf=bf), 8)
    assert frames.duration == pytest.approx(duration)  # how long the last is shown, the file says
    assert numbers(frames.images) == chosen
    assert frames.times == pytest.approx(np.array(chosen) - 9)


def test_a_video_with_too_few_frames_repeats_them_by_time(tmp_path: Path) -> None:
    frames = read_video(encode(tmp_path / "few.mp4", [0, 100, 900]), 5)
    assert frames.duration == pytest.approx(1.7)
    assert numbers(frames.images) == [1, 1, 1, 2, 2]
    assert frames.times == pytest.approx([0.1, 0.1, 0.1, 0.9, 0.9])


def test_frames_per_second_give_longer_videos_more_frames_up_to_a_limit(tmp_path: Path):
    video = encode(tmp_path / "even.mp4", range(0, 4000, 125))  # 4 s
    assert [len(read_video(video, 16, fps).times) for fps in (0.1, 1.0, 2.0, 30.0)] == [1, 4, 8, 16]
    assert read_video(video, 16, 2.0).times.tolist() == read_video(video, 8).times.tolist()


def test_a_video_of_one_frame_is_that_frame(tmp_path: Path) -> None:
    frames = read_video(encode(tmp_path / "one.mp4", [0]), 4)
    assert numbers(frames.images) == [0, 0, 0, 0]
    assert frames.times.tolist() == [0, 0, 0, 0]


def test_times_are_relative_to_the_first_frame(tmp_path: Path) -> None:
    frames = read_video(encode(tmp_path / "late.mkv", range(500, 1500, 100)), 5)
    assert frames.duration == pytest.approx(0.94)
    assert frames.times == pytest.approx([0.0, 0.2, 0.4, 0.6, 0.8])
    assert numbers(frames.images) == [0, 2, 4, 6, 8]


def test_start_times_that_were_rounded_up_are_within_the_slack() -> None:
    begin = np.arange(20, dtype=np.float32).astype(np.float64) * np.float64(np.float32(0.1))  # 0.10000000149, …
    assert shown_at(begin, slice_centres(2.0, 10)).tolist() == list(range(1, 20, 2))


@given(
    st.lists(st.integers(1, 5000), max_size=30),
    st.lists(st.integers(0, 100_000).filter(lambda ms: ms % 10 != 9), min_size=1),
)
def test_the_frame_shown_is_the_last_that_has_started(gaps_ms: list[int], moments_ms: list[int]) -> None:
    begin = np.cumsum([0, *(10 * gap for gap in gaps_ms)])
    slow = [max(i for i, b in enumerate(begin) if b <= moment) for moment in moments_ms]
    assert shown_at(begin / 1000, np.array(moments_ms) / 1000).tolist() == slow


# Unusable videos


def refusal(path: Path) -> MediaError:
    with pytest.raises(MediaError) as raised:
        read_video(path, 4)
    assert str(path) in str(raised.value)
    assert raised.value.hint
    return raised.value


def cut(path: Path, share: float) -> Path:
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    return path


def front_index(path: Path) -> Path:
    """A video as matroska, which can be read from its beginning even if it is truncated."""
    return encode(path, range(0, 4000, 40), size=128, noise=True)


def test_missing_empty_irregular_and_other_files_have_their_codes(tmp_path: Path) -> None:
    (tmp_path / "empty.mp4").write_bytes(b"")
    (tmp_path / "text.mp4").write_text("a text\n" * 100)
    (tmp_path / "folder.mp4").mkdir()
    os.mkfifo(tmp_path / "pipe.mp4")  # opening it would block for ever
    sound_without_video(tmp_path / "sound.mp4")
    codes = {
        "gone.mp4": "missing",
        "empty.mp4": "empty",
        "text.mp4": "not-media",
        "folder.mp4": "not-a-file",
        "pipe.mp4": "not-a-file",
        "sound.mp4": "no-video",
    }
    assert {name: refusal(tmp_path / name).code for name in codes} == codes


@pytest.mark.parametrize("share", [0.1, 0.3, 0.6, 0.95])
def test_an_mp4_truncated_before_or_in_its_index_is_refused(tmp_path: Path, share: float) -> None:
    assert refusal(cut(encode(tmp_path / "cut.mp4", range(0, 4000, 40)), share)).code in ("not-media", "no-video")


@pytest.mark.parametrize("share", [0.3, 0.5, 0.9])
def test_a_truncated_video_whose_first_part_can_be_decoded_is_refused(tmp_path: Path, share: float) -> None:
    assert refusal(cut(front_index(tmp_path / "cut.mkv"), share)).code == "damaged"


def test_damage_that_the_decoder_conceals_is_refused(tmp_path: Path) -> None:
    content = bytearray(encode(tmp_path / "bad.mp4", range(0, 4000, 40), size=128, noise=True).read_bytes())
    rng = np.random.default_rng(0)
    for place in rng.integers(len(content) // 4, len(content) * 3 // 4, 100):
        content[place] = rng.integers(256)
    (tmp_path / "bad.mp4").write_bytes(content)
    frames = import_decord().VideoReader(str(tmp_path / "bad.mp4"), num_threads=1).get_batch([50])
    assert frames.shape == (1, 128, 128, 3)  # decord returns a picture that contains pieces of others
    assert refusal(tmp_path / "bad.mp4").code == "damaged"


def test_the_decoder_log_is_captured_and_stderr_is_restored(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    refusal(cut(front_index(tmp_path / "cut.mkv"), 0.5))
    os.write(2, b"after\n")
    assert capfd.readouterr().err == "after\n"


def test_without_decord_the_hint_names_the_extra(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import_decord.cache_clear()
    monkeypatch.setitem(sys.modules, "decord", None)
    with pytest.raises(CurateError, match="decord") as raised:
        read_video(tmp_path / "any.mp4", 4)
    assert raised.value.hint == "pip install 'mr2-curate[video]'"


def test_decoding_is_refused_if_pyav_was_loaded_after_decord(tmp_path: Path) -> None:
    """PyAV would switch off the log of decord's FFmpeg, by which damage is detected."""
    video = front_index(tmp_path / "whole.mkv")
    cut_off = tmp_path / "cut.mkv"
    cut_off.write_bytes(video.read_bytes()[:20_000])
    for order, words in (("decord, av", "import av before decord"), ("av, decord", "cut.mkv: is truncated or damaged")):
        code = f"import {order}, sys; from tests.video_files import print_duration; print_duration(sys.argv[1])"
        done = subprocess.run([sys.executable, "-c", code, cut_off], capture_output=True, text=True, check=True)
        assert words in done.stdout


def test_importing_the_module_imports_no_decoder() -> None:
    code = "import sys, curate.media.frames, curate.media.workers; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"decord", "PIL", "av"} & set(done.stdout.split())


# Images


def test_an_image_is_rgb_and_rotated_by_its_exif_orientation(tmp_path: Path) -> None:
    image = Image.new("RGB", (30, 20), "black")
    image.paste((255, 0, 0), (0, 0, 30, 5))  # red above
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: above is at the right
    image.save(tmp_path / "turned.jpg", exif=exif, quality=95)
    pixels = read_image(tmp_path / "turned.jpg")
    assert pixels.shape == (30, 20, 3)
    assert pixels[:, 17:, 0].min() > 200
    assert pixels[:, :10].max() < 50


def test_grey_palette_and_transparent_images_become_rgb(tmp_path: Path) -> None:
    Image.new("L", (4, 3), 7).save(tmp_path / "grey.png")
    assert (read_image(tmp_path / "grey.png") == 7).all()
    Image.new("P", (4, 3)).save(tmp_path / "palette.png")
    assert read_image(tmp_path / "palette.png").shape == (3, 4, 3)
    Image.new("RGBA", (4, 3), (0, 0, 0, 0)).save(tmp_path / "clear.png")
    assert (read_image(tmp_path / "clear.png") == 255).all()


def test_missing_empty_truncated_and_other_images_are_refused(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for name in ("cut.png", "cut.jpg"):
        Image.fromarray(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(tmp_path / name)
        cut(tmp_path / name, 0.5)
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "text.png").write_text("a text")
    Image.new("I;16", (4, 3), 40_000).save(tmp_path / "deep.png")
    for name in ("gone.png", "empty.png", "text.png", "cut.png", "cut.jpg", "deep.png"):
        with pytest.raises(MediaError, match=name) as raised:
            read_image(tmp_path / name)
        assert raised.value.hint


@pytest.mark.filterwarnings("ignore")
@settings(max_examples=50)
@given(st.integers(0, 2**32 - 1))
def test_a_damaged_image_is_decoded_or_raises_a_media_error(
    tmp_path_factory: pytest.TempPathFactory, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    path = tmp_path_factory.mktemp("damage") / f"image{rng.choice(['.png', '.jpg', '.gif', '.tif', '.webp'])}"
    Image.fromarray(rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(path)
    content = bytearray(path.read_bytes())
    for place in rng.integers(0, len(content), 8):
        content[place] = rng.integers(256)
    path.write_bytes(content)
    with contextlib.suppress(MediaError):
        assert read_image(path).shape[-1] == 3
