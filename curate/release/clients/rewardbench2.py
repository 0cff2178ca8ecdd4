"""RewardBench: the benchmark as best of N for RewardBench 2, and its pairs for RewardBench 1; text only."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from curate.release.clients.base import Client, Source, Written
from curate.release.tables import BENCHMARK, PAIRWISE
from curate.shards.formats import CONVERSATION, TEXTS, best_of, conversation

BEST_OF = pa.schema(
    [
        ("id", pa.string()),
        ("prompt", pa.string()),
        ("chosen", TEXTS),
        ("rejected", TEXTS),
        ("num_correct", pa.int64()),
        ("num_incorrect", pa.int64()),
        ("total_completions", pa.int64()),
        ("models", TEXTS),
        ("subset", pa.string()),
    ]
)
PAIRS = pa.schema([("id", pa.string()), ("chosen", CONVERSATION), ("rejected", CONVERSATION), ("subset", pa.string())])
CONFIG = ("---", "configs:", "- config_name: default", "  data_files: [{split: test, path: test.parquet}]", "---")
USAGE = """
```sh
python scripts/run_v2.py --dataset DIR --model …         # of github.com/allenai/reward-bench: best of N
rewardbench --dataset DIR/pairs --split test --model …   # pairs
```

`num_correct` is RewardBench's name for the number of chosen responses: here one, which people prefer. The others may be
correct too. `subset` is the difficulty.
"""


def _write(source: Source, out: Path) -> Written:
    items = source.table(BENCHMARK)
    table = best_of(items).with_columns(num_correct=1, num_incorrect=pl.col("total_completions") - 1)
    rows = {"test.parquet": _table(out / "test.parquet", table, BEST_OF)}
    if source.has(PAIRWISE):
        pairs = source.table(PAIRWISE)
        question, best = conversation("user", pl.col("prompt")), pl.col("best")
        table = pairs.select(
            "item_id",
            id="item_id",
            chosen=question.list.concat(conversation("assistant", pl.col("responses").list.get(best))),
            rejected=question.list.concat(conversation("assistant", pl.col("responses").list.get(1 - best))),
            subset="difficulty",
        )
        (out / "pairs").mkdir()
        rows["pairs/test.parquet"] = _table(out / "pairs" / "test.parquet", table, PAIRS)
        (out / "pairs" / "README.md").write_text("\n".join(CONFIG) + "\n", encoding="utf-8")
    unseen = items["medium"].count()
    note = f"{unseen:,} of {len(items):,} items are about a video or an image, which RewardBench does not read"
    return Written(rows, notes=(note,) if unseen else (), front_matter=CONFIG)


def _table(path: Path, rows: pl.DataFrame, schema: pa.Schema) -> int:
    pq.write_table(rows.select(schema.names).to_arrow().cast(schema), path, compression="zstd")
    return len(rows)


CLIENT = Client(
    "rewardbench2",
    "The benchmark for RewardBench 2 (best of N) and RewardBench 1 (pairs), text only: Parquet.",
    USAGE,
    _write,
)
