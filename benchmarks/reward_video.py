"""Reward models on video: simulated clips, votes, shards, and a tiny Qwen3-VL from scratch, by layout and seed.

    python -m benchmarks.reward_video [--layouts tree,set,causal] [--seeds 1] [--out FILE.jsonl]

World, shards and settings are those of the recipe reward-video; only layout, loss and seed of the training vary. The
shuffled controls and the baselines are printed too.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np

from curate.reward.quiet import quiet
from pipelines import load_recipe, run
from pipelines.recipe import inside
from pipelines.training import train
from schemas.reward import TABLE

CONTROLS = ("shuffled-text control", "shuffled-video control")
BASELINES = ("random", "longest", "shortest", "overlap", "similarity")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--layouts", default="tree,set,causal")
    parser.add_argument("--losses", default="")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--out", type=Path, help="append a JSON line per run to this file")
    options = parser.parse_args()
    recipe = load_recipe("reward-video")
    assert recipe.train is not None
    runs: list[dict[str, Any]] = []
    with quiet(), tempfile.TemporaryDirectory() as home:
        folder = Path(home)
        run(recipe.model_copy(update={"train": None}), folder)
        for seed in range(options.seeds):
            for layout in options.layouts.split(","):
                for loss in options.losses.split(",") if options.losses else [recipe.train.config.loss]:
                    config = recipe.train.config.model_copy(update={"layout": layout, "loss": loss, "seed": seed})
                    begin = time.perf_counter()
                    report = train(inside(config, folder), folder / f"{layout}-{loss}-{seed}")
                    assert report is not None
                    rows = {e.scorer: e.overall.model_dump() for e in report.evaluations}
                    runs.append({"layout": layout, "loss": loss, "seed": seed, **rows})
                    if options.out:
                        with options.out.open("a") as file:
                            file.write(json.dumps(runs[-1]) + "\n")
                    print(f"{layout}, {loss}, seed {seed}: {time.perf_counter() - begin:.0f} s", flush=True)
                    ceiling = report.ceiling
    _print(runs)
    if ceiling:
        print(f"\njudge that knows the true order: {ceiling.mean:.3f} ({ceiling.low:.3f} to {ceiling.high:.3f})")
    best = max(
        np.mean([r["model"]["top1"] for r in runs if r["layout"] == layout]) for layout in {r["layout"] for r in runs}
    )
    control = np.mean([r["shuffled-video control"]["top1"] for r in runs])
    print(
        f"{'PASS' if best > control + 0.2 else 'FAIL'}  {best:.3f}, at least .2 above shuffled videos ({control:.3f})"
    )


def _print(runs: list[dict[str, Any]]) -> None:
    """Print a line per run with its controls, then the baselines."""
    print(f"\n{'':34}" + "".join(f"{header:>9}" for header in TABLE))
    for found in runs:
        _line(f"{found['layout']}, {found['loss']}, seed {found['seed']}", found["model"])
        for name in CONTROLS:
            _line(f"  {name}", found[name])
    for name in BASELINES:
        if name in runs[0]:
            _line(name, runs[0][name])


def _line(name: str, row: dict[str, Any]) -> None:
    print(f"{name:34}" + "".join(f"{'' if row[key] is None else f'{row[key]:.3f}':>9}" for key in TABLE.values()))


if __name__ == "__main__":
    main()
