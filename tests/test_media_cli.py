"""``curate media`` on a store and on files: each file has a status, and valid stored results are reused."""

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
from curate.store.migrations import MEDIA_COLUMNS_OF_0_2
from pipelines import probe_files, probe_media
from schemas.engine import EngineConfig
from schemas.errors import CurateError
from schemas.media import MEDIA_REJECTS, MediaFile, MediaReport
from tests.stores import Ranked, make_store
from tests.video_files import encode

pytestmark = pytest.mark.slow

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


@pytest.fixture(scope="module")
def unprobed(tmp_path_factory: pytest.TempPathFactory, files: Path) -> Path:
    """A folder with curate.duckdb, whose prompts name VIDEOS in media/ (the first one twice; one prompt names none)."""
    folder = tmp_path_factory.mktemp("unprobed")
    shutil.copytree(files, folder / "media")
    prompts = [Ranked(f"p{i}", (2, 1, 3), video) for i, video in enumerate((*VIDEOS, VIDEOS[0], None))]
    make_store(folder / "curate.duckdb", prompts)
    return folder


@pytest.fixture(scope="module")
def probed(tmp_path_factory: pytest.TempPathFactory, unprobed: Path) -> tuple[Path, MediaReport]:
    """The same folder after ``probe_media``, and its report."""
    folder = tmp_path_factory.mktemp("probed")
    shutil.copytree(unprobed, folder, dirs_exist_ok=True)
    return folder, probe_media(folder / "curate.duckdb", media=folder / "media", engine=EngineConfig(workers=2))


@pytest.fixture
def here(tmp_path: Path, probed: tuple[Path, MediaReport], monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the probed folder as working directory."""
    monkeypatch.chdir(tmp_path)
    return shutil.copytree(probed[0], tmp_path, dirs_exist_ok=True)


@pytest.fixture
def fresh(tmp_path: Path, unprobed: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the unprobed folder as working directory."""
    monkeypatch.chdir(tmp_path)
    return shutil.copytree(unprobed, tmp_path, dirs_exist_ok=True)


def known(store: Path) -> pl.DataFrame:
    with Store.open(store, read_only=True) as opened:
        return media_of(opened)


# A store


def test_every_video_of_a_store_has_properties_or_a_reason(probed: tuple[Path, MediaReport]) -> None:
    _, report = probed
    assert (report.total, report.ok, report.images, report.variable_frame_rate) == (7, 3, 1, 1)
    assert report.rejected == {"damaged": 1, "empty": 1, "missing": 1, "not-media": 1}
    assert (report.probed, report.prompts_with_unusable_media, report.prompts_without_media) == (6, 4, 1)
    by_name = {file.video: file for file in report.files}
    assert (by_name["gone.mp4"].status, by_name["cut.mkv"].status) == ("missing", "damaged")
    assert by_name["good.mp4"].prompts == 2
    assert by_name["good.mp4"].duration == pytest.approx(2.0)
    for file in report.files:
        usable = file.status == "ok"
        assert usable or file.status in MEDIA_REJECTS
        assert (file.sha256 is not None) == (file.phash is not None) == usable
        assert (file.reason == "") == usable


def test_the_store_has_one_row_per_named_video(here: Path, unprobed: Path) -> None:
    assert known(unprobed / "curate.duckdb")["status"].unique().to_list() == [UNPROBED]
    frame = known(here / "curate.duckdb")
    assert frame["video"].to_list() == sorted(VIDEOS)
    assert frame.schema["phash"] == pl.List(pl.UInt64)
    assert frame["phash"].list.len().to_list() == [None, None, None, 24, 3, None, 24]
    assert frame["path"].to_list() == ["cut.mkv", "empty.mp4", "", "good.mp4", "still.png", "text.mp4", "uneven.mp4"]
    assert {*MediaFile.model_fields} <= {*frame.columns}


def test_only_changed_files_are_read_again(here: Path, probed: tuple[Path, MediaReport]) -> None:
    again = probe_media("curate.duckdb", media="media")
    assert again.probed == 0
    assert again.files == probed[1].files
    before = (here / "media" / "good.mp4").stat()
    (here / "media" / "text.mp4").write_bytes((here / "media" / "good.mp4").read_bytes())
    (here / "media" / "uneven.mp4").unlink()
    after = probe_media("curate.duckdb", media="media")
    assert (after.probed, after.ok) == (1, 3)
    assert after.rejected == {"damaged": 1, "empty": 1, "missing": 2}
    same_size = bytearray((here / "media" / "good.mp4").read_bytes())
    same_size[-1] ^= 1
    (here / "media" / "good.mp4").write_bytes(same_size)
    os.utime(here / "media" / "good.mp4", ns=(before.st_atime_ns, before.st_mtime_ns))
    assert probe_media("curate.duckdb", media="media").files == after.files  # same size and time
    distrusted = {file.video: file for file in probe_media("curate.duckdb", media="media", rehash=True).files}
    assert distrusted["good.mp4"].sha256 != {file.video: file for file in after.files}["good.mp4"].sha256


def test_another_probe_version_reads_all_files_again(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipelines.media, "PROBE_VERSION", 99)
    assert probe_media("curate.duckdb", media="media").probed == 6
    assert probe_media("curate.duckdb", media="media").probed == 0


def test_a_timed_out_file_is_read_again_only_with_more_time(fresh: Path) -> None:
    (fresh / "curate.duckdb").unlink()
    make_store(fresh / "curate.duckdb", [Ranked("p0", (2, 1, 3), "good.mp4")])
    assert probe_media("curate.duckdb", media="media", timeout=0.001).rejected == {"timeout": 1}
    assert probe_media("curate.duckdb", media="media", timeout=0.001).probed == 0
    assert "timeout" not in probe_media("curate.duckdb", media="media", timeout=60).rejected


def test_results_are_saved_in_batches(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipelines.media, "SAVE_EVERY", 2)

    def interrupt(doing: str, done: int, total: int) -> None:
        if done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        probe_media("curate.duckdb", media="media", progress=interrupt)
    assert known(fresh / "curate.duckdb")["status"].is_in([UNPROBED]).sum() == 3


def test_the_default_folder_is_that_of_the_store(fresh: Path) -> None:
    assert probe_media("curate.duckdb").rejected == {"missing": 7}
    shutil.copy2(fresh / "media" / "still.png", fresh)
    assert probe_media("curate.duckdb").ok == 1


def test_an_older_store_gets_the_table_and_its_new_column_names(here: Path) -> None:
    with Store.open("curate.duckdb") as store:
        store.execute("DROP TABLE media")
        store.execute("DELETE FROM migrations WHERE step > 1")
    first = probe_media("curate.duckdb", media="media")
    assert first.ok == 3
    with Store.open("curate.duckdb") as store:
        for old, new in MEDIA_COLUMNS_OF_0_2.items():
            store.execute(f"ALTER TABLE media RENAME COLUMN {new} TO {old}")
        store.execute("DELETE FROM migrations WHERE step > 4")
    again = probe_media("curate.duckdb", media="media")
    assert again.probed == 0
    assert again.files == first.files


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


def test_check_exits_with_1_and_lists_unusable_files(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["media", "check", "--media", "media"]) == 7
    out, err = capsys.readouterr()
    assert [line.split()[:3] for line in out.splitlines()[2:]] == [
        ["cut.mkv", "damaged", "1"],
        ["empty.mp4", "empty", "1"],
        ["gone.mp4", "missing", "1"],
        ["text.mp4", "not-media", "1"],
    ]
    assert "1 damaged, 1 empty, 1 missing, 1 not-media" in err
    assert run(["media", "check", "--media", "media", "--json"]) == 7
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
        (["check", "--media", "nowhere"], 5, "nowhere: no such folder"),
        (["check", "media", "--rehash"], 2, "cannot be combined"),
        (["check", "--store", "none.duckdb"], 5, "no such store"),
        (["frames", "p99", "--out", "x"], 5, "neither a file nor a prompt of curate.duckdb"),
        (["frames", "p8", "--out", "x"], 4, "names no video"),
        (["frames", "p5", "--out", "x", "--media", "media"], 5, "gone.mp4: no such file"),
        (["frames", "p4", "--out", "x", "--media", "media"], 4, "is empty"),
        (["frames", "p0", "--out", "media", "--media", "media"], 6, "already exists"),
        (["frames", "p0", "--out", "x", "--media", "media", "--run", "zzz"], 5, "no denoise run"),
        (["frames", "p0", "--out", "x", "--media", "media", "--contact-sheet", "--font", "f"], 4, "read as a font"),
    ],
)
def test_bad_input_is_an_error_with_a_hint_and_writes_nothing(
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
