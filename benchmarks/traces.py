"""Files, functions and file-to-file transitions: denoise of one vote, release build, training step.

    python -m benchmarks.traces [--files]

Counted are the calls of Python functions of this project: the files that they are in, the functions, and the
transitions, which are calls in another file than the call before. Compiled kernels and nested expressions (lambdas,
comprehensions) count as a part of the function that they are in. ``--files`` lists the files.
"""

from __future__ import annotations

import json
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from types import FrameType

ROOT = Path(__file__).resolve().parent.parent
PRODUCT = tuple(str(ROOT / name) + "/" for name in ("schemas", "annotations", "curate", "pipelines", "cli"))
BEFORE = {
    "denoise of a single vote": "40 files, 183 functions, 1,362 transitions",
    "release build": "36 files, 176 functions, 583 transitions",
    "training step": "10 files, 43 functions, 145 transitions",
}
"""The figures of this script for version 0.1."""


class Tracer:
    """Counts calls between ``start`` and ``stop``."""

    def __init__(self) -> None:
        self.functions: set[tuple[str, str]] = set()
        self.transitions = 0
        self._last = ""

    def start(self) -> None:
        """Count from now on."""
        sys.setprofile(self._visit)

    def stop(self) -> None:
        """Stop counting."""
        sys.setprofile(None)

    @property
    def files(self) -> list[str]:
        """The files visited, by path."""
        return sorted({str(Path(name).relative_to(ROOT)) for name, _ in self.functions})

    def __str__(self) -> str:
        return f"{len(self.files)} files, {len(self.functions)} functions, {self.transitions:,} transitions"

    def _visit(self, frame: FrameType, event: str, _: object) -> None:
        name, function = frame.f_code.co_filename, frame.f_code.co_name
        if event == "call" and name.startswith(PRODUCT) and not function.startswith("<"):
            self.functions.add((name, frame.f_code.co_qualname))
            self.transitions += self._last not in ("", name)
            self._last = name


def denoise_one_vote(folder: Path, tracer: Tracer) -> None:
    """Denoise a store with one vote."""
    from pipelines import denoise, ingest

    (folder / "votes.csv").write_text("prompt_id,left,right,winner,annotator_id\np,a,b,left,u\n")
    store = folder / "one.duckdb"
    ingest([folder / "votes.csv"], store)
    tracer.start()
    denoise(store)
    tracer.stop()


def build_release(folder: Path, tracer: Tracer) -> None:
    """Build a release of twelve prompts without media."""
    from pipelines import denoise, ingest, simulate
    from pipelines.releasing import build
    from schemas.config import DenoiseConfig, SimulateConfig, SplitConfig
    from schemas.release import ReleaseConfig

    world, store = folder / "world", folder / "release.duckdb"
    simulate(world, config=SimulateConfig(prompts=12, models=6, annotators=10, votes_per_pair=2))
    ingest([world / "votes.csv"], store, prompts=world / "prompts.csv", responses=world / "responses.csv")
    denoise(store, config=DenoiseConfig(ranker="hierarchical"))
    config = ReleaseConfig(name="trace", version="1.0.0", split=SplitConfig(benchmark_fraction=0.4))
    tracer.start()
    build(store, out=folder / "releases", config=config)
    tracer.stop()


def training_step(folder: Path, tracer: Tracer) -> None:
    """Train a small reward model on texts, and count from the end of the first optimizer step to that of the second."""
    from torch.optim.optimizer import register_optimizer_step_post_hook

    from cli.main import run

    words = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
    rows = [
        {
            "prompt": f"Spell {n}.",
            "responses": [words[n], words[(n + 3) % 10], words[(n + 5) % 10]],
            "rankings": [1, 2, 3],
        }
        for n in range(10)
    ]
    (folder / "words.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows * 20))
    steps = 0

    def after_step(*_: object) -> None:
        nonlocal steps
        steps += 1
        if steps == 1:
            tracer.start()
        if steps == 2:
            tracer.stop()

    hook = register_optimizer_step_post_hook(after_step)
    try:
        arguments = ["--backbone", "scratch", "--shards", str(folder / "words.jsonl"), "--epochs", "2"]
        assert run(["train", *arguments, "--out", str(folder / "model"), "--json"]) == 0
    finally:
        hook.remove()
    assert steps > 2


TASKS: dict[str, Callable[[Path, Tracer], None]] = {
    "denoise of a single vote": denoise_one_vote,
    "release build": build_release,
    "training step": training_step,
}


def main(arguments: list[str]) -> None:
    """Print a line for each task, and its files with ``--files``."""
    warnings.simplefilter("ignore")
    out, sys.stdout = sys.stdout, sys.stderr  # the jobs' own output is no part of the figures
    with tempfile.TemporaryDirectory() as name:
        for number, (task, work) in enumerate(TASKS.items()):
            folder, tracer = Path(name) / str(number), Tracer()
            folder.mkdir()
            work(folder, tracer)
            print(f"{task}: {tracer} (version 0.1: {BEFORE[task]})", file=out)
            if "--files" in arguments:
                print("".join(f"  {file}\n" for file in tracer.files), file=out, end="")


if __name__ == "__main__":
    main(sys.argv[1:])
