"""Exports of a release for clients: media, damage, refusals. What each client reads is tested in tests/clients/."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import cast, get_args

import polars as pl
import pytest

from cli.main import run
from curate.release.clients import base
from curate.release.clients.base import Source, write_jsonl
from curate.release.clients.registry import CLIENTS
from curate.release.tables import ITEM_CONFIGS
from curate.shards.atomic import files_of
from pipelines.client_export import export_for
from pipelines.releasing import build
from schemas.config import SplitConfig
from schemas.errors import CurateError, UsageError
from schemas.release import MediaAs
from tests.releases import CONFIG, HAZARDS, folder_of, mixed, released_copy
from tests.stores import Ranked, make_store

pytestmark = pytest.mark.slow

PACKAGINGS: tuple[MediaAs, ...] = get_args(MediaAs)


def contents(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in files_of(folder)}


@pytest.mark.parametrize("client", sorted(set(CLIENTS) - {"hub"}))  # which keeps the packaging
def test_equal_releases_give_equal_bytes_from_every_packaging_of_the_media(client: str, tmp_path: Path) -> None:
    found = []
    for media_as in ("files", "webdataset", "embedded"):
        report = export_for(mixed(cast("MediaAs", media_as)), client=client, out=tmp_path / "out")
        assert sum(report.rows.values()) > 0
        (tmp_path / "out").rename(tmp_path / media_as)  # the same place for all: some clients need absolute paths
        files = contents(tmp_path / media_as)
        assert set(report.rows) <= set(files)
        files.pop("README.md")  # states the version, which the packaging changes
        found.append(files)
    assert found[0] == found[1] == found[2]


@pytest.mark.parametrize("media_as", PACKAGINGS)
def test_rows_have_the_path_of_their_medium_and_the_linked_file_has_its_digest(
    media_as: MediaAs, tmp_path: Path
) -> None:
    source = Source.open(mixed(media_as))
    rows = pl.concat([source.table(config).select("medium", "kind", "media_sha256") for config in ITEM_CONFIGS])
    assert {kind for (kind,) in rows.select("kind").unique().iter_rows()} == {"video", "image", None}
    if media_as == "none":
        with pytest.raises(CurateError, match="names of its videos only"):
            source.link_media(rows["medium"], tmp_path)
        return
    assert source.link_media(rows["medium"], tmp_path) == rows["medium"].drop_nulls().n_unique()
    read = source.read_media(rows["medium"])
    for medium, kind, digest in rows.unique().iter_rows():
        if medium:
            assert hashlib.sha256((tmp_path / medium).read_bytes()).hexdigest() == digest
            assert hashlib.sha256(read[medium]).hexdigest() == digest
            assert (kind == "image") == medium.endswith(".png")


def test_media_are_copied_where_the_file_system_has_no_hard_links(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = Source.open(mixed("files"))
    [name, *_] = source.table("train")["medium"].drop_nulls()
    source.link_media([name], tmp_path)
    assert (tmp_path / name).samefile(source.folder / name)

    def refuse(*_: object) -> None:
        raise OSError

    monkeypatch.setattr(base.os, "link", refuse)
    (tmp_path / "other").mkdir()
    source.link_media([name], tmp_path / "other")
    assert not (tmp_path / "other" / name).samefile(source.folder / name)
    assert (tmp_path / "other" / name).read_bytes() == (source.folder / name).read_bytes()


@pytest.mark.parametrize("client", ["trl", "llama-factory", "ms-swift", "openrlhf", "verl"])
def test_a_release_without_media_and_benchmark_has_no_trace_of_either(client: str, tmp_path: Path) -> None:
    many = [Ranked(f"p{i}", (1, 2, 3, 4, 5)) for i in range(6)]
    config = CONFIG.model_copy(update={"split": SplitConfig(benchmark_fraction=0)})
    release = folder_of(build(make_store(tmp_path / "s.duckdb", many), out=tmp_path / "releases", config=config))
    report = export_for(release, client=client, out=tmp_path / "out")
    assert [name.partition(".")[0].removeprefix("text-") for name in report.rows] == ["train"]
    assert (report.media, report.skipped, report.notes) == (0, {}, ())
    assert not (tmp_path / "out" / "media").exists()
    [path] = (tmp_path / "out" / name for name in report.rows)
    columns = (pl.read_parquet if path.suffix == ".parquet" else pl.read_ndjson)(path).columns
    assert not {"videos", "images", "image"} & set(columns)


def test_an_unknown_client_lists_the_names(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UsageError) as refused:
        export_for(mixed("files"), client="tlr", out=tmp_path / "out")
    assert all(name in refused.value.hint for name in CLIENTS)
    arguments = ["release", "export", str(mixed("files")), "--for", "tlr", "--out", str(tmp_path / "out")]
    assert run(arguments) == 2
    assert not list(tmp_path.iterdir())


def test_the_command_prints_the_folder_and_its_card_the_usage(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    arguments = ["release", "export", str(mixed("files")), "--for", "trl", "--out", str(out)]
    assert run(arguments) == 0
    assert capsys.readouterr().out == f"{out}\n"
    assert CLIENTS["trl"].usage.strip() in (out / "README.md").read_text(encoding="utf-8")
    before = contents(out)
    assert run(arguments) == 6
    assert "exists" in capsys.readouterr().err
    assert contents(out) == before


def edit_manifest(folder: Path) -> None:
    path = folder / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"name": "other"}))


def cut_a_table(folder: Path) -> None:
    [path] = folder.glob("train_pairwise-*.parquet")
    path.write_bytes(path.read_bytes()[:-1])


def remove_a_video(folder: Path) -> None:
    names = Source.open(folder).table("train_pairwise")["medium"].drop_nulls()
    (folder / names[0]).unlink()


@pytest.mark.parametrize(
    ("damage", "what"),
    [
        (edit_manifest, "the manifest was changed"),
        (cut_a_table, "differs from the manifest"),
        (remove_a_video, "No such file or directory"),
        (lambda folder: (folder / "manifest.json").unlink(), "manifest.json"),
    ],
)
def test_a_damaged_release_is_refused_and_nothing_is_left(
    damage: Callable[[Path], None], what: str, tmp_path: Path
) -> None:
    folder = released_copy("files", tmp_path)
    damage(folder)
    with pytest.raises(CurateError, match=what):
        export_for(folder, client="trl", out=tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == [folder.name]


def test_a_config_without_rows_is_named_with_those_that_have_some() -> None:
    with pytest.raises(CurateError, match="'train_triples'") as refused:
        Source.open(mixed("files")).table("train_triples")
    assert "train_pairwise" in refused.value.hint


def test_lines_of_jsonl_survive_readers_that_split_at_any_line_break(tmp_path: Path) -> None:
    rows = [{"text": text} for text in HAZARDS]
    assert write_jsonl(tmp_path / "rows.jsonl", rows) == len(rows)
    text = (tmp_path / "rows.jsonl").read_text(encoding="utf-8")
    assert [json.loads(line) for line in text.splitlines()] == rows
