"""Paths that leave the media folder: absolute, with '..', or through a link. Nothing of them is opened or published."""

from __future__ import annotations

import json
import os
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curate.media.frames import MediaError
from curate.media.locate import Locator, inside, open_inside, why_outside
from curate.release.clients.base import Source
from curate.release.media import facts_of, public_name, read_unchanged
from curate.report.stills import stills
from curate.reward.data import read_examples
from curate.reward.foreign.registry import read as read_foreign
from curate.shards.atomic import MANIFEST, SIGNATURE
from curate.store import Store
from curate.store.media import media_of
from pipelines.campaign_tasks import prepare_media
from pipelines.client_export import export_for
from pipelines.exporting import OUTSIDE, export
from pipelines.frames import subject_of
from pipelines.media import probe_files, probe_media
from pipelines.releasing import build
from schemas.config import ExportConfig
from schemas.errors import CurateError
from schemas.release import MediaAs
from tests.releases import CONFIG, check, released_copy, with_media
from tests.stores import Ranked, make_store
from tests.video_files import encode

CHANGED = "videos/0.mp4"
"""The video whose name the tests replace."""


@pytest.fixture
def media(tmp_path: Path) -> Path:
    """A media folder with links, beside a secret video."""
    folder = tmp_path / "media"
    (folder / "videos").mkdir(parents=True)
    for i in range(4):
        encode(folder / "videos" / f"{i}.mp4", range(0, 200 + 40 * i, 40))
    encode(tmp_path / "secret.mp4", range(0, 800, 40))
    (folder / "link.mp4").symlink_to(tmp_path / "secret.mp4")
    (folder / "linked").symlink_to("..")
    (folder / "within.mp4").symlink_to("videos/3.mp4")
    return folder


@pytest.fixture(params=["absolute", "..", "link", "linked folder", "linked folder, no suffix"])
def name(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A name of the secret video."""
    return {
        "absolute": str(tmp_path / "secret.mp4"),
        "..": "videos/../../secret.mp4",
        "link": "link.mp4",
        "linked folder": "linked/secret.mp4",
        "linked folder, no suffix": "linked/secret",
    }[str(request.param)]


@pytest.fixture
def store(tmp_path: Path, name: str) -> Path:
    """A store of eight prompts; the video of p000 and p001 is the secret one."""
    videos = [name, name, *(f"videos/{i // 2}.mp4" for i in range(2, 8))]
    ranked = [Ranked(f"p{i:03d}", (1, 2, 3, 4, 5, 6), video) for i, video in enumerate(videos)]
    return make_store(tmp_path / "curate.duckdb", ranked)


def refused(name: str, found: pytest.ExceptionInfo[CurateError]) -> None:
    assert isinstance(found.value, MediaError)
    assert found.value.code == "outside"
    assert str(found.value).startswith(name)
    assert found.value.hint


# Each place where a name of a data file becomes a file


def test_a_probe_records_the_code_and_nothing_of_the_file(store: Path, media: Path, name: str) -> None:
    report = probe_media(store, media=media)
    assert report.rejected == {"outside": 1}
    [file] = report.unusable
    assert (file.video, file.status, file.path, file.prompts) == (name, "outside", "", 2)
    assert (file.sha256, file.bytes, file.duration) == (None, None, None)
    assert "not a path inside the media folder" in file.reason


def test_a_release_stops_or_drops_and_counts(store: Path, media: Path, tmp_path: Path) -> None:
    with pytest.raises(CurateError, match=r"2 prompts are not usable \(2 outside\)"):
        build(store, out=tmp_path / "out", config=with_media("files"), media=media)
    dropping = CONFIG.model_copy(update={"bad_media": "drop"})
    report = build(store, out=tmp_path / "out", config=dropping, media=media)
    assert {stage.stage: stage.dropped for stage in report.funnel.stages}["media"] == {"outside": 2}
    secret = (tmp_path / "secret.mp4").read_bytes()
    copied = [path.read_bytes() for path in (Path(report.out) / "media").iterdir()]
    assert len(copied) == 3
    assert secret not in copied


def test_an_export_excludes_names_that_may_leave_the_folder(store: Path, tmp_path: Path, name: str) -> None:
    report = {side: export(store, side, out=tmp_path / side, config=ExportConfig()) for side in ("train", "benchmark")}
    excluded = sum(found.excluded.get(OUTSIDE, 0) for found in report.values())
    assert excluded == (2 if why_outside(name) else 0)  # where a name leads by links depends on the media folder
    shards = pl.concat([pl.read_parquet(path).select("video") for path in tmp_path.glob("*/*.parquet")])
    assert (name in shards["video"]) is not bool(why_outside(name))


def test_frames_and_contact_sheets_are_refused(store: Path, media: Path, name: str) -> None:
    with pytest.raises(CurateError) as found:
        subject_of("p000", store, media=media)
    refused(name, found)


def test_a_report_neither_shows_nor_links_it(media: Path, name: str) -> None:
    found = stills(["videos/1.mp4", name], media)
    assert found.pictures.keys() == found.names.keys() == {"videos/1.mp4"}  # names are linked
    assert found.errors[name].startswith("outside: is not a path inside the media folder")


def test_a_campaign_refuses_it(store: Path, media: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / "shown").mkdir()
    [bad, good] = prepare_media(store, media, [name, "videos/1.mp4"], tmp_path / "shown")
    assert (bad.file, bad.how) == ("", "refused")
    assert bad.reason.startswith("outside: ")
    assert [path.name for path in (tmp_path / "shown").iterdir()] == [good.file]


@pytest.mark.parametrize("column", ["video", "image"])
@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
def test_the_trainer_refuses_a_row_of_a_file(media: Path, name: str, column: str, suffix: str) -> None:
    row = {"prompt": "What?", "responses": ["a", "b"], "rankings": [1, 2], column: name}
    good = row | {column: "within.mp4"}
    path = media / f"train{suffix}"
    if suffix == ".jsonl":
        path.write_text(json.dumps(good) + "\n" + json.dumps(row) + "\n")
    else:
        pl.DataFrame([good, row]).write_parquet(path)
    with pytest.raises(CurateError, match=rf"train{suffix}:2: column '{column}' holds .* without '\.\.' or a link"):
        read_examples(path, media=media)


def test_a_foreign_benchmark_refuses_it(media: Path, name: str) -> None:
    row = {"id": "wild-1", "query": "q", "response": ["a", "b"], "human_ranking": [0, 1], "query_source": "WildVision"}
    path = media / "vl.json"
    path.write_text(json.dumps([{**row, "image": name}]))
    with pytest.raises(CurateError, match=r"without '\.\.' or a link that leads out of it"):
        read_foreign(path, name="vl-rewardbench", media=media)


def test_probing_a_folder_refuses_its_links_but_not_a_file_that_the_user_names(media: Path, tmp_path: Path) -> None:
    report = probe_files([media])
    assert {Path(file.video).name: file.status for file in report.files} == {
        "0.mp4": "ok", "1.mp4": "ok", "2.mp4": "ok", "3.mp4": "ok", "within.mp4": "ok", "link.mp4": "outside",
    }  # fmt: skip
    for path in (tmp_path / "secret.mp4", media / "link.mp4", media / "linked" / "secret"):
        assert probe_files([path]).ok == 1


# A release that somebody else changed


@pytest.mark.parametrize("where", ["media", "table", "folder"])
def test_verify_finds_links_and_opens_none(tmp_path: Path, where: str) -> None:
    release = released_copy("files", tmp_path)
    target = {"media": next((release / "media").iterdir()), "table": release / "prompts.parquet"}.get(where)
    if target is None:
        (release / "linked").symlink_to(tmp_path)
        target = release / "linked"
    else:
        (tmp_path / "elsewhere").write_bytes(target.read_bytes())
        target.unlink()
        target.symlink_to(tmp_path / "elsewhere")
        (tmp_path / "elsewhere").unlink()
        os.mkfifo(tmp_path / "elsewhere")  # to open it would block
    report = check(release)
    assert [(finding.check, finding.where) for finding in report.findings] == [
        ("outside", target.relative_to(release).as_posix())
    ]
    assert report.notes


@pytest.mark.parametrize("path", ["/etc/hosts", "../secret.mp4", "media\\..\\..\\secret.mp4", "C:\\secret.mp4"])
def test_verify_finds_paths_in_rows_and_in_the_manifest(tmp_path: Path, path: str) -> None:
    release = released_copy("files", tmp_path)
    table = pq.read_table(release / "prompts.parquet")
    first, *others = table.to_pylist()
    changed = pa.Table.from_pylist([first | {"video": path}, *others], table.schema)
    pq.write_table(changed, release / "prompts.parquet")
    checks = {(finding.check, finding.where) for finding in check(release, media=False).findings}
    assert ("outside", f"prompts: {path}") in checks
    text = (release / MANIFEST).read_text()
    (release / MANIFEST).write_text(text.replace('"prompts.parquet"', json.dumps(path)))
    assert [finding.check for finding in check(release, media=False).findings] == ["outside"]


@pytest.mark.parametrize("media_as", ["files", "webdataset", "embedded"])
def test_an_export_for_a_client_neither_reads_nor_writes_elsewhere(tmp_path: Path, media_as: MediaAs) -> None:
    source = Source.open(released_copy(media_as, tmp_path))
    (tmp_path / "out").mkdir()
    for use in (source.read_media, lambda names: source.link_media(names, tmp_path / "out")):
        with pytest.raises(CurateError) as found:
            use(["media/../../secret.mp4"])
        refused("media/../../secret.mp4", found)


def test_an_export_for_the_hub_follows_no_link_to_a_signature(tmp_path: Path) -> None:
    release = released_copy("files", tmp_path)
    (tmp_path / "secret").write_text("secret")
    (release / SIGNATURE).symlink_to(tmp_path / "secret")
    with pytest.raises(CurateError) as found:
        export_for(release, client="hub", out=tmp_path / "out")
    refused(SIGNATURE, found)
    assert not (tmp_path / "out").exists()


# The rule


@pytest.mark.parametrize(
    "name",
    ["..", "../a.mp4", "a/../../b", "/a", "//a", "a\\..\\b", "\\a", "C:\\a", "C:a", "c:/a", "\\\\host\\a", "a\0b"],
)  # fmt: skip
def test_names_that_may_leave_a_folder(tmp_path: Path, name: str) -> None:
    assert why_outside(name)
    with pytest.raises(MediaError) as found:
        inside(tmp_path, name)
    refused(name, found)
    assert not why_outside(public_name(name)), "a release without media publishes the last part"


@pytest.mark.parametrize(
    "name", ["a..mp4", "...", "%2e%2e/a.mp4", "..%2fa.mp4", "a/./b.mp4", "a\\b.mp4", "~/a", "é:a.mp4"]
)
def test_names_that_stay_in_the_folder(tmp_path: Path, name: str) -> None:
    assert not why_outside(name)
    assert inside(tmp_path, name) == tmp_path / name
    assert public_name(name) == name


def test_a_link_within_the_folder_and_a_folder_that_is_a_link_are_followed(media: Path, tmp_path: Path) -> None:
    (tmp_path / "alias").symlink_to(media)
    for folder in (media, tmp_path / "alias"):
        path = Locator(folder).find("within.mp4")
        assert path == folder / "videos" / "3.mp4"
        with open_inside(folder, path) as file:
            assert file.read() == (media / "videos" / "3.mp4").read_bytes()


def test_links_that_lead_nowhere_are_missing_and_loops_do_not_hang(media: Path) -> None:
    (media / "gone.mp4").symlink_to("nothing.mp4")
    (media / "loop.mp4").symlink_to("loop.mp4")
    for name in ("gone.mp4", "loop.mp4"):
        with pytest.raises(MediaError) as found:
            Locator(media).find(name)
        assert found.value.code == "missing"


@pytest.mark.parametrize("part", ["file", "folder"])
def test_a_link_that_is_placed_between_probe_and_copy_is_refused(tmp_path: Path, media: Path, part: str) -> None:
    store = make_store(tmp_path / "curate.duckdb", [Ranked("p0", (1, 2), "videos/0.mp4")])
    probe_media(store, media=media)
    with Store.open(store) as opened:
        fact = facts_of(media_of(opened), media)["videos/0.mp4"]
    assert read_unchanged(fact) == (media / "videos" / "0.mp4").read_bytes()
    (media / "videos").rename(tmp_path / "moved")  # equal bytes, outside
    if part == "folder":
        (media / "videos").symlink_to(tmp_path / "moved")
    else:
        (media / "videos").mkdir()
        (media / "videos" / "0.mp4").symlink_to(tmp_path / "moved" / "0.mp4")
    with pytest.raises(MediaError) as found:
        read_unchanged(fact)
    assert found.value.code == "outside"


@pytest.mark.parametrize(
    "text", ["#EXTM3U\n#EXTINF:1,\n{}\n#EXT-X-ENDLIST\n", "ffconcat version 1.0\nfile '{}'\n", "<MPD>{}</MPD>"]
)
def test_a_playlist_whose_video_is_elsewhere_is_not_read(tmp_path: Path, media: Path, text: str) -> None:
    (media / "videos" / "list.m3u8").write_text(text.format(encode(tmp_path / "secret.ts", range(0, 800, 40))))
    [file] = probe_files([media / "videos" / "list.m3u8"]).files
    assert (file.status, file.reason) == ("not-media", "is a playlist, whose video is in other files")
