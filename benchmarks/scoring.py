"""Time of scoring responses by two workers relative to one, by engine, with equal scores.

A small backbone of random weights scores prompts of four responses each, in workers of one thread. The start of the
workers counts. Prints seconds and their ratio; the goal on two idle cores is 1.7. Fails if scores differ.

    python -m benchmarks.scoring [--responses 100000] [--engines local ray] [--width 64] [--layers 2]
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Literal

import numpy as np

from curate.reward import checkpoint
from curate.reward.quiet import quiet
from curate.reward.scratch import build_backbone
from pipelines.evaluation import score
from schemas.engine import EngineConfig
from tests.reward_models import TEXTS, WORDS, model

RESPONSES, LENGTHS, GOAL = 4, (5, 40), 1.7
"""Responses per prompt, least and most words of each, and least ratio."""


def write_inputs(folder: Path, prompts: int, width: int, layers: int) -> tuple[Path, Path]:
    """Write a model and a JSONL file of prompts, and return both."""
    with quiet():
        backbone = build_backbone(folder / "backbone", [*TEXTS, *WORDS] * 5, vocabulary=400, width=width, layers=layers)
        (folder / "model").mkdir()
        checkpoint.save(model(backbone, "tree"), folder / "model")
    rng = np.random.default_rng(0)
    lines = []
    for number in range(prompts):
        texts = [" ".join(rng.choice(WORDS, rng.integers(*LENGTHS))) for _ in range(RESPONSES)]
        lines.append(json.dumps({"item_id": f"e{number}", "prompt": f"Spell {number}.", "responses": texts}))
    (folder / "items.jsonl").write_text("\n".join(lines))
    return folder / "model", folder / "items.jsonl"


def measured(inputs: tuple[Path, Path], kind: Literal["local", "ray"], workers: int) -> tuple[float, str]:
    """Return the seconds of scoring, and the digest of the scores."""
    begin, digest = time.perf_counter(), hashlib.sha256()
    for row in score(*inputs, engine=EngineConfig(kind=kind, workers=workers)):
        digest.update(json.dumps(row).encode())
    return time.perf_counter() - begin, digest.hexdigest()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--responses", type=int, default=100_000)
    parser.add_argument("--engines", nargs="+", choices=("local", "ray"), default=["local", "ray"])
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--layers", type=int, default=2)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        inputs = write_inputs(Path(folder), options.responses // RESPONSES, options.width, options.layers)
        print(f"{options.responses:,} responses; load {os.getloadavg()[0]:.1f}", flush=True)
        digests = set()
        for kind in options.engines:
            (one, first), (two, second) = (measured(inputs, kind, workers) for workers in (1, 2))
            digests |= {first, second}
            result = "PASS" if one >= GOAL * two else "FAIL"
            print(
                f"{result}  {kind:6} 1 worker {one:6.1f} s, 2 workers {two:6.1f} s: {one / two:.2f} times", flush=True
            )
        print("equal scores" if len(digests) == 1 else "DIFFERENT scores")
    return int(len(digests) > 1)


if __name__ == "__main__":
    sys.exit(main())
