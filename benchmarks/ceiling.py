"""Stated and true precision of the labels of a simulated release: how often the labelled best is the best.

    python -m benchmarks.ceiling [--dir demo]

--dir: the folder of ``curate run mr2bench-video`` (``make demo``) with its latest release and the truth of its world.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import polars as pl

from curate.release.manifest import latest


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dir", type=Path, default=Path("demo"))
    options = parser.parse_args()
    found = latest("mr2bench-video", options.dir / "releases")
    assert found is not None, "no release found: run make demo"
    folder, release = found
    truth = pl.read_csv(options.dir / "world" / "truth.csv").select("prompt_id", "response_id", "strength")
    print(f"{release.label}\n{'config':20} items  stated  true")
    for config in ("benchmark", "benchmark_pairwise", "train", "train_pairwise"):
        rows = pl.concat(pl.read_parquet(path) for path in sorted(folder.glob(f"{config}-*.parquet")))
        rows = rows.filter(pl.col("best").is_not_null()).with_row_index()
        long = rows.select("index", "prompt_id", "best", response_id="response_ids").explode("response_id")
        long = long.join(truth, on=["prompt_id", "response_id"], how="left", maintain_order="left")
        best = long.group_by("index", maintain_order=True).agg(
            right=pl.col("strength").arg_max() == pl.col("best").first()
        )
        print(f"{config:20} {len(rows):5}   {rows['confidence'].mean():.3f}  {best['right'].mean():.3f}")


if __name__ == "__main__":
    main()
