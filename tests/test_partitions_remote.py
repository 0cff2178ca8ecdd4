"""Partitioned stores whose vote files are in an object store: equal to local ones, and never with fewer votes."""

from __future__ import annotations

import logging
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest

from cli.main import run
from curate.store import Store
from curate.store.remote import Remote
from pipelines import denoise, ingest
from pipelines.stores import compact, convert
from schemas.config import DenoiseConfig
from schemas.errors import ConflictError, CurateError, MissingError, ResourceError, UsageError
from tests.test_partitions import parquet, tables

HEADER = "prompt_id,left,right,winner,worker,timestamp\n"


def votes(path: Path, *, day: int, prompts: int = 4) -> Path:
    """A file of votes; those of a later day supersede the earlier ones."""
    rows = (
        f"p{i % prompts},a,{'bcd'[i % 3]},{('left', 'right', 'tie')[(i + day) % 7 % 3]},w{i % 5},2025-03-0{day}"
        for i in range(45)
    )
    path.write_text(HEADER + "\n".join(rows) + "\n")
    return path


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    """The endpoint of an S3 server on this machine, set in the environment with credentials."""
    pytest.importorskip("s3fs", reason="needs s3fs: pip install 'mr2-curate[dev]'")
    server = pytest.importorskip("moto.server", reason="needs moto: pip install 'mr2-curate[dev]'")
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    served = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    served.start()
    host, port = served.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        patch.setenv("AWS_MAX_ATTEMPTS", "1")
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patch.setenv(name, "test")
        fsspec.filesystem("s3").mkdir("arenas")
        yield f"http://{host}:{port}"
    served.stop()
    fsspec.filesystem("s3").clear_instance_cache()


@pytest.fixture(scope="module", params=["s3", "memory"])
def url(request: pytest.FixtureRequest) -> str:
    """An empty place: a folder of an S3 bucket, or of another kind of storage."""
    if request.param == "s3":
        request.getfixturevalue("s3")
    return f"{request.param}://arenas/first"


@pytest.fixture(scope="module")
def both(url: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A one-file store and one at ``url``. Tests leave them equal."""
    folder = tmp_path_factory.mktemp("both")
    one, arena = folder / "one.duckdb", folder / "arena"
    ingest(votes(folder / "first.csv", day=1), one)
    report = convert(one, arena, votes_url=f"{url}/")
    assert (report.votes_url, report.votes, report.files) == (url, 45, len(objects(url)))
    return one, arena


def objects(url: str) -> dict[str, int]:
    return Remote(url).sizes()


def same(one: Path, other: Path) -> bool:
    return {**tables(one), "vote_storage": []} == {**tables(other), "vote_storage": []}


def test_objects_of_a_killed_upload_are_no_votes(
    url: str, both: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arena, before = both[1], objects(url)
    transfer = Remote._transfer

    def dies(self: Remote, call: Any, source: list[Any], target: list[Any], size: int) -> None:
        transfer(self, call, source[:3], target[:3], size)
        raise ResourceError("the connection is lost")

    more = votes(tmp_path / "more.csv", day=3, prompts=9)
    with monkeypatch.context() as patch:
        patch.setattr("curate.store.database.remove_unlisted", lambda _: None)  # as if the process were killed
        patch.setattr(Remote, "_transfer", dies)
        with pytest.raises(ResourceError, match="lost"):
            ingest(more, arena)
    assert len(objects(url)) == len(before) + 3
    assert same(*both)
    with Store.open(arena) as store, store.transaction():
        pass
    assert objects(url) == before


def test_a_damaged_object_is_named(url: str, both: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    arena, name = both[1], min(objects(url))
    system, path = fsspec.url_to_fs(f"{url}/{name}")
    data = system.cat_file(path)
    system.rm_file(path)
    for damaged in (None, data[:-9], b"\0" * len(data)):
        if damaged:
            system.pipe_file(path, damaged)
            if len(damaged) == len(data):
                assert run(["status", "--store", str(arena)]) == 0  # by the copy
                shutil.rmtree(arena / "votes")
        capsys.readouterr()
        assert run(["status", "--store", str(arena)]) == 4
        assert f"error: {url}/{name}: " in capsys.readouterr().err
    system.pipe_file(path, data)
    assert same(*both)


def test_a_damaged_copy_is_downloaded_again(both: tuple[Path, Path]) -> None:
    first, second, *_ = (both[1] / name for name in parquet(both[1]))
    first.write_bytes(b"short")
    data = second.read_bytes()
    second.write_bytes(b"\0" * len(data))
    compact(both[1])
    assert second.read_bytes() == data
    assert same(*both)


def test_a_store_at_a_url_is_equal_to_a_local_one(url: str, both: tuple[Path, Path], tmp_path: Path) -> None:
    second, config = votes(tmp_path / "second.csv", day=2), DenoiseConfig(ranker="borda")
    ranked = [(ingest(second, store).votes, denoise(store, config=config).run) for store in both]
    assert ranked[0] == ranked[1]
    shutil.rmtree(both[1] / "votes")  # the copies
    with Store.open(both[0], read_only=True) as one, Store.open(both[1], read_only=True) as other:
        assert other.value("SELECT count(*) FROM superseded_votes")
        assert one.rankings().equals(other.rankings())
        assert one.votes().equals(other.votes())
    assert [compact(both[1]).rewritten > 0, compact(both[1]).rewritten] == [True, 0]
    assert sorted(objects(url)) == parquet(both[1])
    convert(both[1], tmp_path / "local")
    assert same(*both)
    assert same(both[0], tmp_path / "local")


def test_a_dry_run_uploads_nothing_and_a_place_with_vote_files_is_not_taken(
    url: str, both: tuple[Path, Path], tmp_path: Path
) -> None:
    before = objects(url)
    ingest(votes(tmp_path / "third.csv", day=4), both[1], dry_run=True)
    assert objects(url) == before
    with pytest.raises(ConflictError, match="has vote files"):
        convert(both[1], tmp_path / "again", votes_url=url)
    for bad in ({"target": "one.db", "votes_url": url}, {"votes_url": "bucket"}, {"votes_url": "s3://me:secret@b/c"}):
        with pytest.raises(UsageError) as error:
            convert(both[1], **{"target": tmp_path / "again", **bad})  # type: ignore[arg-type]
        assert "secret" not in str(error.value)
    assert objects(url) == before
    assert not (tmp_path / "again").exists()


def denied(endpoint: str, patch: pytest.MonkeyPatch) -> None:
    patch.setenv("AWS_ACCESS_KEY_ID", "stranger")
    patch.setattr("moto.settings.INITIAL_NO_AUTH_ACTION_COUNT", 0)  # from now on, it checks keys


def anonymous(endpoint: str, patch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        patch.delenv(name)
    patch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")


FAILURES: dict[str, tuple[Callable[[str, pytest.MonkeyPatch], Any], str, type[CurateError], str]] = {
    "bucket": (lambda *_: None, "s3://nobody/arena", MissingError, "bucket"),
    "denied": (denied, "s3://arenas/x", ResourceError, "credentials"),
    "anonymous": (anonymous, "s3://arenas/x", ResourceError, "credentials"),
    "down": (lambda _, patch: patch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9"), "s3://a/x", ResourceError, "net"),
    "silent": (lambda _, patch: patch.setattr("curate.store.remote.TIMEOUT", 0.0), "s3://a/x", ResourceError, "net"),
    "protocol": (lambda *_: None, "s4://arenas/x", ResourceError, "URL"),
    "package": (lambda _, patch: patch.setitem(sys.modules, "fsspec", None), "s3://a/x", MissingError, r"\[remote\]"),
}


@pytest.mark.parametrize("case", FAILURES)
def test_what_fails_is_an_error_with_the_url(
    case: str, s3: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    prepare, url, kind, hint = FAILURES[case]
    fsspec.filesystem("s3").clear_instance_cache()
    request.addfinalizer(fsspec.filesystem("s3").clear_instance_cache)
    with Store.open(tmp_path / "empty.duckdb", create=True):
        prepare(s3, monkeypatch)
    started = time.monotonic()
    with pytest.raises(kind, match=url) as error:
        convert(tmp_path / "empty.duckdb", tmp_path / "arena", votes_url=url)
    assert hint in error.value.hint.replace("[", r"\[").replace("]", r"\]")
    assert time.monotonic() - started < 20
    assert not (tmp_path / "arena").exists()
