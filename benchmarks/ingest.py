"""Time and peak memory of ingest: 94 thousand and 10 million simulated votes, exports of platforms, an arena's battles.

Each measurement of an ingest is one process, including its start, so that its peak memory is its own. The peers only
load the file, without rules, vote identity, duplicates or a transaction; they are lower limits.

The readers of platforms are compared with the generic reader of the same format, from the bytes to clean rows: CPU
seconds per byte, both in this process in turn, the least of several.

    python -m benchmarks.ingest [--votes FILE ...] [--small] [--only votes|platforms|battles]
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from random import Random
from typing import NamedTuple

from annotations.platforms.registry import detect_platform
from annotations.readers.columns import detect_layout, detect_platform_layout
from annotations.readers.files import VoteFile, find_files
from annotations.readers.formats import read_chunks
from annotations.readers.rules import apply_rules
from schemas.mapping import Mapping
from tests.exports import EXPORTS, Export, Vote, plain, ranking, write_export

ROWS, BATTLES = 100_000, 1_000_000
REPEATS = 3
MOST = 1.5
"""Times the CPU seconds per byte of the generic reader."""
BATTLE_SECONDS, BATTLE_GIB = 60.0, 3.0
NOW = datetime(2100, 1, 1)

MEASURE = """
import os, re, sys
from pathlib import Path
{body}
cpu = gib = 0.0
for pid in [os.getpid(), *Path(f"/proc/self/task/{{os.getpid()}}/children").read_text().split()]:
    proc = Path("/proc", str(pid))
    cpu += sum(map(int, proc.joinpath("stat").read_text().rpartition(")")[2].split()[11:13])) / os.sysconf("SC_CLK_TCK")
    gib += int(re.search(r"VmHWM:\\s*([0-9]+)", proc.joinpath("status").read_text())[1]) / 2**20
print(cpu, gib)
"""
"""CPU seconds and the sum of the peak memory of the process and of its child, which reads the file (Linux)."""

CURATE = """
from pipelines import ingest
report = ingest([sys.argv[1]], sys.argv[2])
assert report.rows == report.votes + report.duplicates + report.rejects
"""

AGAIN = """
from pipelines import ingest
report = ingest([sys.argv[1]], sys.argv[2])
assert report.duplicates + report.rejects == report.rows
"""

DUCKDB = """
import duckdb
con = duckdb.connect(sys.argv[2] + ".plain")
con.execute("CREATE TABLE votes AS SELECT * FROM read_csv(?)", [sys.argv[1]]).fetchall()
con.close()
"""

PANDAS = """
import pandas as pd
frame = pd.read_csv(sys.argv[1]).drop_duplicates()
frame.to_parquet(sys.argv[2] + ".parquet")
"""


class Used(NamedTuple):
    """What one process used."""

    seconds: float
    gib: float
    cpu: float


def measure(body: str, votes: Path, store: Path) -> Used:
    """Run one process."""
    start = time.perf_counter()
    code = MEASURE.format(body=textwrap.dedent(body))
    done = subprocess.run(
        [sys.executable, "-c", code, str(votes), str(store)], capture_output=True, text=True, check=True
    )
    cpu, gib = map(float, done.stdout.split()[-2:])
    return Used(time.perf_counter() - start, gib, cpu)


def table(votes: Path, folder: Path) -> dict[str, Used]:
    """Print and return what each way to load one file used."""
    store = folder / f"{votes.parent.name}-{votes.stem}.duckdb"
    rows = sum(1 for _ in votes.open("rb")) - 1
    print(f"\n{votes.name}: {rows:,} rows, {votes.stat().st_size / 1e6:.0f} MB")
    print(f"  {'':42}{'seconds':>9}{'GiB':>7}{'× curate':>10}")
    figures = {}
    for name, body in (
        ("curate ingest (into a new store)", CURATE),
        ("curate ingest (the same file again)", AGAIN),
        ("duckdb read_csv into a table, no checks", DUCKDB),
        ("pandas read_csv, drop_duplicates, parquet", PANDAS),
    ):
        figures[name] = measure(body, votes, store)
        used = figures[name]
        ratio = used.seconds / figures["curate ingest (into a new store)"].seconds
        print(f"  {name:42}{used.seconds:9.2f}{used.gib:7.2f}{ratio:10.2f}")
    return figures


def simulated(folder: Path, prompts: int, votes_per_pair: float) -> Path:
    """Return the votes of a simulated world of ``prompts`` × 19 models."""
    from pipelines import simulate
    from schemas.config import SimulateConfig

    simulate(folder, config=SimulateConfig(prompts=prompts, votes_per_pair=votes_per_pair, annotators=2000))
    return folder / "votes.csv"


def votes(folder: Path, *, small: bool) -> int:
    """Print the figures of ingests of plain votes; return how many goals are missed."""
    goals = [("94 thousand", 500, 1.1, 2.0, 4.0)]
    if not small:
        goals.append(("10 million", 58_480, 1.0, 60.0, 4.0))
    failed = 0
    for name, prompts, per_pair, seconds, memory in goals:
        file = simulated(folder / name.replace(" ", "-"), prompts, per_pair)
        took, held, _ = table(file, folder)["curate ingest (into a new store)"]
        met = took < seconds and held < memory
        failed += not met
        print(
            f"  {'PASS' if met else 'FAIL'}: {name} votes in {took:.1f} s (goal {seconds:g}), "
            f"{held:.2f} GiB (goal {memory:g})"
        )
    return failed


def world(rows: int) -> Iterator[Vote]:
    """Yield votes with questions of about 80 and responses of about 300 characters."""
    rng = Random(0)
    words = ("the", "a", "ball", "falls", "to", "bottom", "\\frac{1}{2}", 'the "quote"', "line\nbreak", "é")
    texts = [" ".join(rng.choices(words, k=60)) for _ in range(5000)]
    for i in range(rows):
        left, right = rng.sample(range(19), 2)
        yield Vote(
            i, f"p{i // 20}", f"m{left}", f"m{right}", f"{texts[i % 4999][:80]}?", *(texts[i % n] for n in (4993, 4987))
        )


def read(file: VoteFile) -> tuple[float, int]:
    """(CPU seconds, clean rows) of one reading, from the bytes to clean rows."""
    platform = detect_platform(file)
    start, rows, layout = time.process_time(), 0, None
    for chunk in platform.read(file, NOW) if platform else read_chunks(file):
        if layout is None:
            layout = (detect_platform_layout if platform else detect_layout)(str(file), chunk.frame, Mapping())
        rows += apply_rules(chunk, layout, NOW).rows.height
    return time.process_time() - start, rows


def generic(what: str) -> Export:
    """Return the plain table that states what an export states, in its format."""
    export = EXPORTS[what]
    if what.startswith("k-wise"):
        return Export(export.suffix, ranking)
    told = {**{name: name for name in ("prompt_id", "left", "right", "question")}, "text_left": "left_text"}
    told |= {"text_right": "right_text"}
    columns = [told[name] for name in export.keeps] + ["outcome", "annotator_id", "voted_at", "seconds"]
    return Export(export.suffix, lambda vote: {name: plain(vote)[name] for name in columns})


def platforms(folder: Path) -> int:
    """Print the speed of each platform's reader; return how many are slower than they should be."""
    print(f"\n{ROWS:,} rows of each platform, from the bytes to clean rows; CPU seconds, the least of {REPEATS}")
    print(f"  {'':22}{'MB':>7}{'seconds':>9}{'ns/byte':>9}{'generic':>9}{'ratio':>7}")
    failed = 0
    for what in [what for what in EXPORTS if not what.startswith("generic")]:
        (folder / "generic").mkdir(exist_ok=True)
        paths = [
            write_export(folder, what, EXPORTS[what], world(ROWS)),
            write_export(folder / "generic", "generic", generic(what), world(ROWS)),
        ]
        both = find_files(paths)
        least = dict.fromkeys(both, float("inf"))
        for _ in range(REPEATS):
            for file in least:
                seconds, rows = read(file)
                assert rows == ROWS, (file, rows)
                least[file] = min(least[file], seconds)
        own, peer = (seconds / file.path.stat().st_size for file, seconds in least.items())
        missed = own / peer > MOST
        failed += missed
        print(
            f"  {what:22}{paths[0].stat().st_size / 1e6:7.1f}{least[both[0]]:9.2f}{own * 1e9:9.1f}{peer * 1e9:9.1f}"
            f"{own / peer:7.2f}  {'FAIL' if missed else 'PASS'}",
            flush=True,
        )
        for path in paths:
            path.unlink()
    return failed


def battles(folder: Path) -> int:
    """Print time and memory of an ingest of an arena's battles; return 1 if a goal is missed."""
    path = write_export(folder, "arena", EXPORTS["arena"], world(BATTLES))
    size = path.stat().st_size / 1e9
    took, held, cpu = measure(CURATE, path, folder / "arena.duckdb")
    met = took < BATTLE_SECONDS and held < BATTLE_GIB
    print(
        f"\n{'PASS' if met else 'FAIL'}: {BATTLES:,} battles of an arena ({size:.2f} GB) in {took:.1f} s "
        f"(goal {BATTLE_SECONDS:g}; {cpu:.1f} s of CPU), {held:.2f} GiB (goal {BATTLE_GIB:g})"
    )
    return int(not met)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--votes", nargs="*", type=Path, default=[], help="more vote files to measure")
    parser.add_argument("--small", action="store_true", help="omit the 10 million votes and the million battles")
    parser.add_argument("--only", choices=("votes", "platforms", "battles"), help="one of the three parts")
    options = parser.parse_args()
    parts = (options.only,) if options.only else ("votes", "platforms", *(() if options.small else ("battles",)))
    failed = 0
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for file in options.votes:
            table(file, folder)
        if "votes" in parts:
            failed += votes(folder, small=options.small)
        if "platforms" in parts:
            failed += platforms(folder)
        if "battles" in parts:
            failed += battles(folder)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
