"""Stores that are damaged, busy, or cannot be written: one handled error with a hint, and nothing half done."""

from __future__ import annotations

import json
import os
import random
import resource
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Timer
from typing import Any

import duckdb
import pytest

from cli.main import run
from curate.store import Store, StoreError, opening
from curate.store.opening import CONFIG, wal_of
from pipelines import denoise, ingest, simulate
from schemas.config import DenoiseConfig, SimulateConfig

pytestmark = pytest.mark.slow

WORLD = SimulateConfig(prompts=4, models=4, annotators=8, votes_per_pair=2, seed=2)
COMMANDS = (["status"], ["denoise", "--ranker", "bradley-terry"], ["export", "train", "--out"])
HEADER = 12_288
"""Bytes of the three headers of a DuckDB file."""
BLOCK = 262_144
VOTES = "prompt_id,left,right,winner,annotator_id\n"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("world")
    simulate(home / "world", config=WORLD)
    files = {name: home / "world" / f"{name}.csv" for name in ("votes", "prompts", "responses")}
    ingest(files["votes"], home / "s.duckdb", prompts=files["prompts"], responses=files["responses"])
    denoise(home / "s.duckdb", config=DenoiseConfig(ranker="hierarchical"))
    return home


@pytest.fixture
def store(world: Path, tmp_path: Path) -> Path:
    path = tmp_path / "s.duckdb"
    path.write_bytes((world / "s.duckdb").read_bytes())
    return path


def more_votes(folder: Path, count: int) -> Path:
    path = folder / "more.csv"
    rows = (f"p0001,{a},{b},left,{i}-{'x' * 40}\n" for i in range(count) for a, b in [("p0001-r01", "p0001-r02")])
    path.write_text(VOTES + "".join(rows))
    return path


def votes_in(path: Path) -> int:
    with Store.open(path, read_only=True) as opened:
        return int(opened.counts()["votes"])


# Damage

CHILD = """
import contextlib, io, json, sys
from pathlib import Path
from cli.main import run
folder, cases = Path(sys.argv[1]), json.loads(sys.stdin.read())
sound, wal = (folder / "sound.duckdb").read_bytes(), (folder / "sound.wal").read_bytes()
for number, (kind, place) in enumerate(cases):
    store = folder / f"{number}.duckdb"
    data = bytearray(wal if kind.startswith("wal") else sound)
    if kind.endswith("flip"):
        data[place] ^= 1 << place % 8
    else:
        del data[place:]
    store.write_bytes(sound if kind.startswith("wal") else data)
    if kind.startswith("wal"):
        (folder / f"{number}.duckdb.wal").write_bytes(data)
    for command in json.loads(sys.argv[2]):
        out, err = io.StringIO(), io.StringIO()
        try:
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                code = run([*command, *([str(folder / f"{number}.out")] if command[-1] == "--out" else []),
                            "--store", str(store)])
        except BaseException as error:
            code = repr(error)
        print(json.dumps([kind, place, command[0], code, err.getvalue(),
                          (folder / f"{number}.duckdb.wal").exists()]), flush=True)
    store.unlink()
"""


def outcomes(folder: Path, cases: Sequence[tuple[str, int]]) -> list[tuple[str, int, str, Any, str, bool]]:
    """Run COMMANDS on damaged stores in a child: kind, place, command, exit code, stderr, whether a log is left."""
    options = [sys.executable, "-c", CHILD, str(folder), json.dumps(COMMANDS)]
    done = subprocess.run(options, input=json.dumps(cases), capture_output=True, text=True)
    assert done.returncode == 0, f"the process died after {done.stdout.count(chr(10))} commands: {done.stderr}"
    return [tuple(json.loads(line)) for line in done.stdout.splitlines()]


def test_every_command_survives_a_flipped_bit_and_a_cut_anywhere(store: Path, tmp_path: Path) -> None:
    store.rename(tmp_path / "sound.duckdb")
    (tmp_path / "sound.wal").write_bytes(b"")
    size = (tmp_path / "sound.duckdb").stat().st_size
    rng = random.Random(5)
    flips = [0, 9, 13, 4104, 4120, 8200, 8216]
    flips += [HEADER + block * BLOCK + rng.randrange(BLOCK) for block in range((size - HEADER) // BLOCK)]
    flips += [HEADER + block * BLOCK + block for block in range(4)]  # in the checksum
    cuts = [1, 100, 4096, HEADER, HEADER + 1000, size - BLOCK, size - 1]
    cases = [*(("flip", place) for place in flips), *(("cut", place) for place in cuts)]
    assert len(cases) >= 30
    damaged = set()
    for kind, place, command, code, stderr, log in outcomes(tmp_path, cases):
        where = f"{kind} at {place}, {command}: {stderr}"
        assert code in (0, 4, 6, 8), (where, code)
        assert not log, where
        if code:
            [message] = [line for line in stderr.splitlines() if line.startswith("error: ")]
            assert f"{tmp_path}" in message
            assert "hint: " in stderr
            assert "Traceback" not in stderr
            damaged.add((kind, place))
    assert len(damaged) >= 0.6 * len(cases), "the places must matter"


def test_every_command_survives_a_damaged_log_of_a_killed_process(store: Path, tmp_path: Path) -> None:
    code = (
        "import duckdb, os, sys; c = duckdb.connect(sys.argv[1]); "
        "c.execute(\"INSERT INTO prompts SELECT 'n' || range, NULL, NULL, false, NULL FROM range(500)\"); os._exit(0)"
    )
    subprocess.run([sys.executable, "-c", code, str(store)], check=True)
    wal = wal_of(store).read_bytes()
    store.rename(tmp_path / "sound.duckdb")
    wal_of(store).rename(tmp_path / "sound.wal")
    places = sorted(random.Random(7).sample(range(len(wal)), 5))
    kinds = ("wal flip", "wal cut")
    for kind, place, command, status, stderr, _ in outcomes(tmp_path, [(kind, p) for p in places for kind in kinds]):
        assert status in (0, 4, 6, 8), (kind, place, command, stderr)
        assert status == 0 or stderr.count("error: ") == stderr.count("hint: ") == 1


# No room to write


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Let no file grow beyond ``size`` bytes, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("where", ["log", "file"])
def test_a_full_disk_is_one_error_and_changes_nothing(
    store: Path, tmp_path: Path, where: str, capsys: pytest.CaptureFixture[str]
) -> None:
    votes, before = votes_in(store), store.read_bytes()
    more = more_votes(tmp_path, 3000)
    room = {"log": 20_000, "file": store.stat().st_size}[where]  # the log is smaller than the file
    with largest_file(room):
        assert run(["ingest", str(more), "--store", str(store)]) == 8
    assert capsys.readouterr().err.count(f"error: {store}: the disk is full") == 1
    assert not wal_of(store).exists()
    assert votes_in(store) == votes
    with largest_file(room), pytest.raises(StoreError) as found:
        denoise(store, config=DenoiseConfig(ranker="borda"))
    assert (found.value.cause, bool(found.value.hint)) == ("disk-full", True)
    assert not wal_of(store).exists()
    if where == "log":
        assert store.read_bytes() == before
    assert run(["ingest", str(more), "--store", str(store)]) == 0
    assert votes_in(store) == votes + 3000


def test_a_first_ingest_on_a_full_disk_leaves_no_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    more = more_votes(tmp_path, 3000)
    for room in (5000, 600_000):
        with largest_file(room):
            assert run(["ingest", str(more), "--store", str(tmp_path / "new.duckdb")]) == 8
        assert "the disk is full" in capsys.readouterr().err
        assert [path.name for path in tmp_path.iterdir()] == ["more.csv"]


def test_a_failed_write_keeps_the_log_of_a_killed_process(store: Path, tmp_path: Path) -> None:
    votes = votes_in(store)
    code = (
        "import duckdb, os, sys; c = duckdb.connect(sys.argv[1]); "
        "c.execute('INSERT INTO votes SELECT * REPLACE (vote_key + 1 AS vote_key) FROM votes'); os._exit(0)"
    )
    subprocess.run([sys.executable, "-c", code, str(store)], check=True)
    assert wal_of(store).exists()
    more = more_votes(tmp_path, 3000)
    for room in (20_000, store.stat().st_size):
        with largest_file(room), pytest.raises(StoreError):
            ingest(more, store)
        assert votes_in(store) == 2 * votes
    with Store.open(store):
        pass
    assert not wal_of(store).exists()
    assert votes_in(store) == 2 * votes


def test_a_store_goes_on_after_a_failed_transaction(store: Path, tmp_path: Path) -> None:
    insert = "INSERT INTO prompts SELECT '{}' || range, NULL, NULL, false, NULL FROM range(5000)"
    with Store.open(store) as opened:
        prompts = opened.counts()["prompts"]
        with largest_file(20_000), pytest.raises(StoreError), opened.transaction():
            opened.execute(insert.format("a"))
        with opened.transaction():
            opened.execute(insert.format("b"))
    assert not wal_of(store).exists()
    with Store.open(store, read_only=True) as opened:
        assert opened.counts()["prompts"] == prompts + 5000


def test_too_little_memory_is_one_error(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(CONFIG, "memory_limit", "3MiB")
    monkeypatch.setitem(CONFIG, "max_temp_directory_size", "0KiB")
    assert run(["ingest", str(more_votes(tmp_path, 100_000)), "--store", str(store)]) == 8
    stderr = capsys.readouterr().err
    assert f"error: {store}: there is not enough memory" in stderr
    assert "hint: " in stderr
    assert not wal_of(store).exists()


# In use


@contextmanager
def in_use(store: Path, *, read_only: bool) -> Iterator[subprocess.Popen[str]]:
    """Another process that has the store open until its stdin is closed."""
    code = (
        "import sys; from curate.store import Store; s = Store.open(sys.argv[1], read_only=sys.argv[2] == 'True'); "
        "print('open', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(store), str(read_only)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "open\n"
        yield process
        assert process.stdin is not None
        process.stdin.close()


@pytest.mark.parametrize("holder_reads", [True, False])
def test_wait_for_a_busy_store(
    store: Path, tmp_path: Path, holder_reads: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    command = ["denoise", "--ranker", "borda"] if holder_reads else ["status"]  # a writer, or a reader
    command += ["--store", str(store)]
    with in_use(store, read_only=holder_reads) as holder:
        assert run(command) == 6
        stderr = capsys.readouterr().err
        assert f"error: {store}: process {holder.pid} has this store open\nhint: " in stderr
        started = time.monotonic()
        assert run([*command, "--wait", "0.5"]) == 6
        assert time.monotonic() - started >= 0.5
        assert holder.stdin is not None
        Timer(0.5, holder.stdin.close).start()
        assert run([*command, "--wait", "60"]) == 0


def test_the_settings_say_how_long_to_wait(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "curate.toml").write_text('store = "s.duckdb"\nwait = 60\n')
    with in_use(store, read_only=False) as holder:
        assert run(["status", "--wait", "0"]) == 6
        assert holder.stdin is not None
        Timer(0.5, holder.stdin.close).start()
        assert run(["status"]) == 0
    (tmp_path / "curate.toml").write_text("wait = -1\n")
    assert run(["status"]) == 4


def test_waiting_applies_to_a_block_only(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with in_use(store, read_only=False):
        started = time.monotonic()
        with opening(wait=0.4), pytest.raises(StoreError) as found:
            Store.open(store, read_only=True)
        assert found.value.cause == "busy"
        assert time.monotonic() - started >= 0.4
        monkeypatch.setattr(time, "sleep", lambda _: pytest.fail("it waited"))
        with pytest.raises(StoreError):
            Store.open(store)


def test_other_errors_of_duckdb_are_handled_too(store: Path) -> None:
    with Store.open(store) as opened:
        opened.execute("DROP TABLE responses")
    with Store.open(store, read_only=True) as opened, pytest.raises(StoreError) as found:
        opened.responses()
    assert (found.value.cause, isinstance(found.value.__cause__, duckdb.CatalogException)) == ("other", True)
    assert run(["status", "--store", str(store)]) == 4
    os.truncate(store, 0)
    assert run(["status", "--store", str(store)]) == 4
