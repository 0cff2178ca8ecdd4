"""Ingest and other processes: a killed ingest, and a store that another process holds."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from random import Random

import pytest

from curate.store import Store
from pipelines.ingestion import ingest
from schemas.errors import CurateError

pytestmark = pytest.mark.slow

FILES, ROWS, KILLS = 3, 100, 6

INGESTER = """
import json, os, sys
from pipelines.ingestion import ingest
print("ready", flush=True)
for line in sys.stdin:  # a fork a line: the imports are paid for once
    pid = os.fork()
    if not pid:
        files, store = json.loads(line)
        for path in files:
            ingest(path, store)
        os._exit(0)
    print(pid, flush=True)
    os.waitpid(pid, 0)
    print("gone", flush=True)
"""

HOLDER = """
import sys
from curate.store import Store
with Store.open(sys.argv[1], read_only=sys.argv[2] == "reads"):
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def running(code: str, *args: str) -> Iterator[subprocess.Popen[str]]:
    """A Python process that has said its first word; it ends with the block."""
    root = str(Path(__file__).parent.parent)
    command = [sys.executable, "-c", code, *args]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": root}
    ) as process:
        assert process.stdout
        assert process.stdin
        assert process.stdout.readline()
        yield process
        process.stdin.close()


def test_a_killed_ingest_leaves_whole_batches_and_can_be_repeated(tmp_path: Path) -> None:
    files = []
    for i in range(FILES):
        path = tmp_path / f"{i}.csv"
        lines = [f"p{row % 7},a{row},b{i},left,w{row}" for row in range(ROWS)] + [f"p,a,a,left,w{i}"]
        path.write_text("prompt_id,left,right,winner,worker\n" + "\n".join(lines) + "\n")
        files.append(str(path))
    dice = Random(7)
    whole = 0
    with running(INGESTER) as process:
        assert process.stdin
        assert process.stdout
        process.stdin.write(json.dumps([files, str(tmp_path / "undisturbed.duckdb")]) + "\n")
        process.stdin.flush()
        process.stdout.readline()
        begin = time.monotonic()
        assert process.stdout.readline() == "gone\n"
        lasts = time.monotonic() - begin
        for kill in range(4 * KILLS):
            if kill >= KILLS and whole:
                break
            store = tmp_path / (f"{kill}.duckdb" if kill % 2 else f"{kill}")  # one file, or partitioned
            process.stdin.write(json.dumps([files, str(store)]) + "\n")
            process.stdin.flush()
            pid = int(process.stdout.readline())
            time.sleep(
                lasts * (kill % KILLS + dice.random()) / KILLS
            )  # an even spread, from the making of the store on
            with suppress(ProcessLookupError):  # it may be done already
                os.kill(pid, signal.SIGKILL)
            assert process.stdout.readline() == "gone\n"
            done = 0
            if store.exists():
                with Store.open(store) as opened:
                    stored, rejected, done = opened.votes().height, opened.rejects().height, opened.batches().height
                assert (stored, rejected) == (done * ROWS, done)
            report = ingest(files, store)
            assert (report.votes, report.duplicates, report.rejects) == (
                (FILES - done) * ROWS,
                done * ROWS,
                FILES,
            )
            with Store.open(store, read_only=True) as opened:
                assert (opened.votes().height, opened.rejects().height) == (FILES * ROWS, FILES)
            whole += 0 < done < FILES
    assert whole  # at least one kill came in the middle


@pytest.mark.parametrize("other", ["writes", "reads"])
def test_a_store_that_another_process_holds_is_an_error(other: str, tmp_path: Path) -> None:
    path, store = tmp_path / "v.csv", tmp_path / "curate.duckdb"
    path.write_text("prompt_id,left,right,winner\np,a,b,left\n")
    ingest(path, store)
    with running(HOLDER, str(store), other):
        with pytest.raises(CurateError, match="has this store open") as caught:
            ingest(path, store)
        assert "one process may write at a time" in caught.value.hint
    assert ingest(path, store).duplicates == 1


def test_remains_of_a_killed_process_do_not_matter(tmp_path: Path) -> None:
    path, store = tmp_path / "v.csv", tmp_path / "curate.duckdb"
    path.write_text("prompt_id,left,right,winner\np,a,b,left\n")
    (tmp_path / f".curate.duckdb.{os.getpid()}.new").write_bytes(b"half a store")
    assert ingest(path, store).votes == 1
    assert sorted(file.name for file in tmp_path.iterdir()) == ["curate.duckdb", "v.csv"]


@pytest.mark.parametrize("content", [b"not a database", b"prompt_id,left\n" * 900])
def test_a_file_that_is_not_a_store_is_unchanged(content: bytes, tmp_path: Path) -> None:
    path, store = tmp_path / "v.csv", tmp_path / "curate.duckdb"
    path.write_text("prompt_id,left,right,winner\np,a,b,left\n")
    store.write_bytes(content)
    with pytest.raises(CurateError, match="so not a store"):
        ingest(path, store)
    assert store.read_bytes() == content
