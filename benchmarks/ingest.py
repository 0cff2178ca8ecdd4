"""Time and peak memory of ingest for 94 thousand and 10 million simulated votes, compared with plain loads.

Each measurement is one process, including its start, so that its peak memory is its own. The peers only load the file,
without rules, vote identity, duplicates or a transaction; they are lower limits.

    python benchmarks/ingest.py [--votes FILE ...] [--small]
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import textwrap
import time
from pathlib import Path

MEASURE = """
import resource, sys
{body}
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20)
"""

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


def measure(body: str, votes: Path, store: Path) -> tuple[float, float]:
    """(seconds, GiB) of one process."""
    start = time.perf_counter()
    code = MEASURE.format(body=textwrap.dedent(body))
    done = subprocess.run(
        [sys.executable, "-c", code, str(votes), str(store)], capture_output=True, text=True, check=True
    )
    return time.perf_counter() - start, float(done.stdout.split()[-1])


def table(votes: Path, folder: Path) -> dict[str, tuple[float, float]]:
    """Print and return (seconds, GiB) of each way to load one file."""
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
        seconds, memory = figures[name]
        ratio = seconds / figures["curate ingest (into a new store)"][0]
        print(f"  {name:42}{seconds:9.2f}{memory:7.2f}{ratio:10.2f}")
    return figures


def simulated(folder: Path, prompts: int, votes_per_pair: float) -> Path:
    """Return the votes of a simulated world of ``prompts`` × 19 models."""
    from pipelines import simulate
    from schemas.config import SimulateConfig

    simulate(folder, config=SimulateConfig(prompts=prompts, votes_per_pair=votes_per_pair, annotators=2000))
    return folder / "votes.csv"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--votes", nargs="*", type=Path, default=[], help="more vote files to measure")
    parser.add_argument("--small", action="store_true", help="omit the 10 million votes")
    options = parser.parse_args()
    failed = 0
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for file in options.votes:
            table(file, folder)
        goals = [("94 thousand", 500, 1.1, 2.0, 4.0)]
        if not options.small:
            goals.append(("10 million", 58_480, 1.0, 60.0, 4.0))
        for name, prompts, per_pair, seconds, memory in goals:
            votes = simulated(folder / name.replace(" ", "-"), prompts, per_pair)
            took, held = table(votes, folder)["curate ingest (into a new store)"]
            met = took < seconds and held < memory
            failed += not met
            print(
                f"  {'PASS' if met else 'FAIL'}: {name} votes in {took:.1f} s (goal {seconds:g}), "
                f"{held:.2f} GiB (goal {memory:g})"
            )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
