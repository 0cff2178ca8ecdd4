"""``curate media`` over a store and over files: each file has a verdict, what is known is kept, nothing stops it."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

import pipelines.media
from cli.main import run
from curate.store import Store
from curate.store.media import UNPROBED, media_of
from curate.store.migrations import version
from pipelines import probe_files, probe_media
from schemas.errors import CurateError
from schemas.media import MEDIA_REJECTS, MediaFile
from tests.stores import Ranked, make_store
from tests.video_files import encode

VIDEOS = ("good.mp4", "uneven.mp4", "still.png", "cut.mkv", "empty.mp4", "gone.mp4", "text.mp4")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of three sound files and of some that are not."""
    folder = tmp_path_factory.mktemp("files")
    encode(folder / "good.mp4", range(0, 2000, 125))
    encode(folder / "uneven.mp4", [0, 100, 200, 1200, 2200])
    Image.fromarray(np.eye(32, dtype=np.uint8)[..., None].repeat(3, axis=2) * 255).save(folder / "still.png")
    whole = encode(folder / "whole.mkv", range(0, 4000, 40), size=128, noise=True)
    (folder / "cut.mkv").write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    whole.unlink()
    (folder / "empty.mp4").write_bytes(b"")
    (folder / "text.mp4").write_text("no video\n" * 50)
    return folder


@pytest.fixture
def here(tmp_path: Path, files: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in: curate.duckdb, whose prompts name VIDEOS in media/ (the first one twice), and one none."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(files, tmp_path / "media")
    prompts = [Ranked(f"p{i}", (2, 1, 3), video) for i, video in enumerate((*VIDEOS, VIDEOS[0], None))]
    make_store(tmp_path / "curate.duckdb", prompts)
    return tmp_path


def known(store: Path) -> pl.DataFrame:
    with Store.open(store, read_only=True) as opened:
        return media_of(opened)


# A store


def test_every_video_of_a_store_gets_facts_or_a_reason(here: Path) -> None:
    report = probe_media("curate.duckdb", media="media", workers=2)
    assert (report.total, report.ok, report.images, report.variable) == (7, 3, 1, 1)
    assert report.rejected == {"damaged": 1, "empty": 1, "missing": 1, "not-media": 1}
    assert (report.probed, report.prompts_bad, report.prompts_without) == (6, 4, 1)
    by_name = {file.video: file for file in report.files}
    assert by_name["gone.mp4"].reason == "no such file"
    assert "ended premature" in by_name["cut.mkv"].reason or "cut off" in by_name["cut.mkv"].reason
    assert by_name["good.mp4"].prompts == 2
    assert by_name["good.mp4"].duration == pytest.approx(2.0)
    for file in report.files:
        sound = file.status == "ok"
        assert sound or file.status in MEDIA_REJECTS
        assert (file.sha256 is not None) == (file.phash is not None) == sound
        assert (file.reason == "") == sound


def test_the_store_gives_one_row_for_each_video_named(here: Path) -> None:
    assert known(here / "curate.duckdb")["status"].unique().to_list() == [UNPROBED]
    probe_media("curate.duckdb", media="media")
    frame = known(here / "curate.duckdb")
    assert frame["video"].to_list() == sorted(VIDEOS)
    assert frame.schema["phash"] == pl.List(pl.UInt64)
    assert frame["phash"].list.len().to_list() == [None, None, None, 24, 3, None, 24]
    assert frame["path"].to_list() == ["cut.mkv", "empty.mp4", "", "good.mp4", "still.png", "text.mp4", "uneven.mp4"]
    assert {*MediaFile.model_fields} <= {*frame.columns}


def test_files_are_read_again_only_where_they_changed(here: Path) -> None:
    first = probe_media("curate.duckdb", media="media")
    again = probe_media("curate.duckdb", media="media")
    assert again.probed == 0
    assert again.files == first.files
    before = (here / "media" / "good.mp4").stat()
    (here / "media" / "text.mp4").write_bytes((here / "media" / "good.mp4").read_bytes())  # mended
    (here / "media" / "uneven.mp4").unlink()
    after = probe_media("curate.duckdb", media="media")
    assert (after.probed, after.ok) == (1, 3)
    assert after.rejected == {"damaged": 1, "empty": 1, "missing": 2}
    same_size = bytearray((here / "media" / "good.mp4").read_bytes())
    same_size[-1] ^= 1
    (here / "media" / "good.mp4").write_bytes(same_size)
    os.utime(here / "media" / "good.mp4", ns=(before.st_atime_ns, before.st_mtime_ns))
    assert probe_media("curate.duckdb", media="media").files == after.files  # by the quick look it is as it was
    distrusted = {file.video: file for file in probe_media("curate.duckdb", media="media", rehash=True).files}
    assert distrusted["good.mp4"].sha256 != {file.video: file for file in after.files}["good.mp4"].sha256


def test_other_probing_code_does_not_trust_what_was_found(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    probe_media("curate.duckdb", media="media")
    monkeypatch.setattr(pipelines.media, "PROBER", 99)
    assert probe_media("curate.duckdb", media="media").probed == 6
    assert probe_media("curate.duckdb", media="media").probed == 0


def test_what_ran_out_of_time_is_tried_again_with_more_time_only(here: Path) -> None:
    encode(here / "media" / "good.mp4", range(0, 20_000, 40), size=256, noise=True)
    assert probe_media("curate.duckdb", media="media", timeout=0.001).rejected["timeout"] >= 1
    assert probe_media("curate.duckdb", media="media", timeout=0.001).probed == 0
    assert "timeout" not in probe_media("curate.duckdb", media="media", timeout=60).rejected


def test_results_are_saved_as_they_come(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipelines.media, "SAVED", 2)

    def interrupt(doing: str, done: int, total: int) -> None:
        if done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        probe_media("curate.duckdb", media="media", progress=interrupt)
    assert known(here / "curate.duckdb")["status"].is_in([UNPROBED]).sum() == 3


def test_the_folder_is_the_stores_own_where_none_is_given(here: Path) -> None:
    assert probe_media("curate.duckdb").rejected == {"missing": 7}
    for path in (here / "media").iterdir():
        shutil.copy2(path, here)
    assert probe_media("curate.duckdb").ok == 3


def test_an_older_store_gets_its_table(here: Path) -> None:
    with Store.open("curate.duckdb") as store:
        store.execute("DROP TABLE media")
        store.execute("DELETE FROM migrations WHERE step > 1")
    assert probe_media("curate.duckdb", media="media").ok == 3
    with Store.open("curate.duckdb") as store:
        assert version(store.connection) >= 2


# Files


def test_given_files_and_folders_need_no_store(files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    report = probe_files([files, files / "gone.mp4", files / "good.mp4"])
    assert [Path(file.video).name for file in report.files] == sorted(VIDEOS)
    assert report.ok == 3
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(CurateError, match="no videos or images"):
        probe_files([tmp_path])


# The command line


def test_check_exits_with_1_and_lists_what_is_bad(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["media", "check", "--media", "media"]) == 1
    out, err = capsys.readouterr()
    assert "gone.mp4   missing          1  no such file" in out
    assert "good.mp4" not in out
    assert "ok  3: 2 videos (4 s), 1 image" in err
    assert "1 damaged, 1 empty, 1 missing, 1 not-media; 4 prompts cannot be shown" in err
    assert run(["media", "check", "--media", "media", "--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert [file["status"] for file in report["files"]] == ["damaged", "empty", "missing", "not-media"]
    assert run(["media", "check", "media/good.mp4"]) == 0


def test_probe_shows_every_file_and_its_digests_as_json(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["media", "probe", "--media", "media"]) == 0
    out, _ = capsys.readouterr()
    assert len(out.splitlines()) == 2 + 7
    assert "variable" in out
    assert run(["media", "probe", "media/still.png", "--json"]) == 0
    [file] = json.loads(capsys.readouterr().out)["files"]
    assert len(file["sha256"]) == 64
    assert [len(text) for text in file["phash"]] == [16] * 3


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["check", "--media", "nowhere"], 2, "nowhere: no such folder"),
        (["check", "media", "--rehash"], 2, "give one or the other"),
        (["check", "--store", "none.duckdb"], 1, "no such store"),
        (["frames", "p99", "--out", "x"], 1, "neither a file nor a prompt of curate.duckdb"),
        (["frames", "p8", "--out", "x"], 1, "names no video"),
        (["frames", "p5", "--out", "x", "--media", "media"], 1, "gone.mp4: no such file"),
        (["frames", "p4", "--out", "x", "--media", "media"], 1, "is empty"),
        (["frames", "p0", "--out", "media", "--media", "media"], 1, "is there already"),
        (["frames", "p0", "--out", "x", "--media", "media", "--run", "zzz"], 1, "no denoise run"),
        (["frames", "p0", "--out", "x", "--media", "media", "--contact-sheet", "--font", "f"], 1, "read as a font"),
    ],
)
def test_bad_input_is_answered_in_words_and_leaves_nothing(
    here: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, words: str
) -> None:
    before = sorted(here.iterdir())
    assert run(["media", *arguments]) == code
    err = capsys.readouterr().err
    assert words in err
    assert "hint: " in err
    assert sorted(here.iterdir()) == before


def test_frames_are_written_as_pictures_with_their_times(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["media", "frames", "p0", "--media", "media", "--count", "4", "--out", "out"]) == 0
    assert capsys.readouterr().out.splitlines() == [*(f"out/frame-0{i}.jpg" for i in range(1, 5)), "out/frames.json"]
    assert json.loads((here / "out" / "frames.json").read_text()) == {
        "video": "good.mp4",
        "duration": 2.0,
        "times": [0.25, 0.75, 1.25, 1.75],
    }
    greys = [round(float(np.asarray(Image.open(here / "out" / f"frame-0{i}.jpg")).mean()) / 8) for i in range(1, 5)]
    assert greys == [2, 6, 10, 14]


def test_frames_are_written_as_an_array(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["media", "frames", "media/uneven.mp4", "--count", "3", "--format", "npy", "--out", "out", "--json"]
    assert run(arguments) == 0
    frames = np.load(here / "out" / "frames.npy")
    assert frames.shape == (3, 64, 64, 3)
    assert frames.dtype == np.uint8
    assert json.loads(capsys.readouterr().out)["times"] == [0.2, 0.2, 1.2]


def test_an_image_is_one_frame(here: Path) -> None:
    assert run(["media", "frames", "p2", "--media", "media", "--out", "out", "--contact-sheet"]) == 0
    names = ["contact-sheet.png", "frame-01.jpg", "frames.json"]
    assert sorted(path.name for path in (here / "out").iterdir()) == names
