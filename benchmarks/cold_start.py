"""CPU seconds of starting: imports, ``--help``, ``status``, and the first ``denoise`` against the second one.

    python -m benchmarks.cold_start

Every command is a process of its own. The first ``denoise`` of each store has an empty cache of compiled kernels, as
after an installation; the second has the cache that the first wrote. Exits with 1 if a goal is missed.
"""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HELP, STATUS, IMPORT, COMPILATION = 0.3, 0.6, 0.3, 6.0
"""Goals, CPU seconds. COMPILATION: the first denoise minus the second one."""
ONE_VOTE = "prompt_id,left_id,right_id,outcome,annotator_id\np,a,b,left,x\n"


def main() -> int:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "vote.csv").write_text(ONE_VOTE)
        curate("simulate", "--out", str(folder / "world"), "--prompt-count", "100", "--models", "19")
        stores = {"one vote": folder / "vote.duckdb", "100 prompts": folder / "world.duckdb"}
        curate("ingest", str(folder / "vote.csv"), "--store", str(stores["one vote"]))
        curate("ingest", str(folder / "world" / "votes.csv"), "--store", str(stores["100 prompts"]))
        goals = {
            "import curate": (best_of_three([sys.executable, "-c", "import curate"]), IMPORT),
            "curate --help": (best_of_three(command("--help")), HELP),
            "curate status": (best_of_three(command("status", "--store", str(stores["one vote"]))), STATUS),
        }
        for what, store in stores.items():
            cache = {"NUMBA_CACHE_DIR": str(folder / f"kernels {what}")}
            copies = [shutil.copy(store, folder / f"{number} {store.name}") for number in (1, 2)]  # none has a run yet
            first, second = (cpu_seconds(command("denoise", "--store", copy), cache) for copy in map(str, copies))
            print(f"denoise of {what}: first {first:.2f} s, second {second:.2f} s")
            goals[f"denoise of {what}, first minus second"] = (first - second, COMPILATION)
    missed = 0
    for what, (seconds, goal) in goals.items():
        met = seconds <= goal
        missed += not met
        print(f"{'PASS' if met else 'FAIL'}  {what}: {seconds:.2f} s (goal {goal:g})")
    return int(missed > 0)


def command(*arguments: str) -> list[str]:
    """Return the command line of ``curate``."""
    return [sys.executable, "-m", "cli.main", *arguments]


def curate(*arguments: str) -> None:
    subprocess.run(command(*arguments), check=True, capture_output=True)


def best_of_three(run: list[str]) -> float:
    """Return the smallest CPU seconds of three runs: the first may have to read files from disk."""
    return min(cpu_seconds(run) for _ in range(3))


def cpu_seconds(run: list[str], environment: dict[str, str] | None = None) -> float:
    """Return user and system seconds of a process."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(run, check=True, capture_output=True, env={**os.environ, **(environment or {})})
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


if __name__ == "__main__":
    sys.exit(main())
