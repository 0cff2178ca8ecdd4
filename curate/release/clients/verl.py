"""verl: one row per prompt for reinforcement learning, in Parquet.

``RLHFDataset`` of verl 0.9 replaces <video> and <image> in a prompt by the row's media. It resolves no relative path,
so that those of videos are absolute; images are bytes in the rows.
"""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from curate.release.clients.base import Client, Source, Written
from curate.release.clients.preferences import contains_any, media_columns
from curate.release.tables import FULL, SPLITS, TRAIN_FULL, side_of
from curate.shards.formats import CONVERSATION, ROW_GROUP, TEXTS

TAGS = ("<image>", "<video>", "<audio>")
MEDIA = {
    "videos": pa.field("videos", pa.list_(pa.struct([("video", pa.string())]))),
    "images": pa.field("images", pa.list_(pa.struct([("bytes", pa.binary())]))),
}
SCHEMA = (
    pa.field("data_source", pa.string()),
    pa.field("prompt", CONVERSATION),
    pa.field("ability", pa.string()),
    pa.field("reward_model", pa.struct([("style", pa.string()), ("ground_truth", pa.string())])),
    pa.field(
        "extra_info",
        pa.struct(
            [
                ("split", pa.string()),
                ("index", pa.int64()),
                ("prompt_id", pa.string()),
                ("prompt", CONVERSATION),
                ("video", pa.string()),
                ("images", TEXTS),
                ("responses", TEXTS),
                ("ranks", pa.list_(pa.int32())),
            ]
        ),
    ),
)
USAGE = """
```sh
python -m verl.trainer.main_ppo data.train_files=DIR/train.parquet data.val_files=DIR/test.parquet \\
  reward.custom_reward_function.path=pkg://curate.clients.verl reward.custom_reward_function.name=compute_score \\
  +reward.custom_reward_function.reward_kwargs.url=http://localhost:8000 …
```

`reward_model.ground_truth` is the best response, `extra_info` has all ranked `responses` with their `ranks` (1 = best),
and `data_source` is the release's name, for which verl has no reward function of its own: give one. That of
`curate.clients.verl` sends `extra_info.prompt`, `video` and `images` to `curate serve MODEL --media DIR`.
Paths of videos are absolute: export again if the folder moves.
"""


def _write(source: Source, out: Path) -> Written:
    configs = [config for config in (TRAIN_FULL, FULL) if config == TRAIN_FULL or source.has(config)]
    tables = {SPLITS[side_of(config)]: source.table(config) for config in configs}
    rows, media, skipped = {}, 0, 0
    for split, all_prompts in tables.items():
        prompts = all_prompts.filter(pl.col("medium").is_null() | ~contains_any(("prompt",), TAGS))
        skipped += len(all_prompts) - len(prompts)
        media += source.link_media(prompts["medium"], out)
        table = _table(source, split, prompts)
        pq.write_table(table, out / f"{split}.parquet", compression="zstd", row_group_size=ROW_GROUP)
        rows[f"{split}.parquet"] = len(table)
    reason = f"with a medium and {', '.join(TAGS)} in the prompt, which verl would replace by media"
    return Written(rows, media, {reason: skipped} if skipped else {})


def _table(source: Source, split: str, prompts: pl.DataFrame) -> pa.Table:
    """Return a split's rows. Columns of media exist only if a row has such a medium."""
    contents = source.read_media(prompts.filter(pl.col("kind") == "image")["medium"])
    found = []
    for index, row in enumerate(prompts.iter_rows(named=True)):
        medium, kind = row["medium"], row["kind"]
        found.append(
            {
                "data_source": source.release.name,
                "prompt": [{"role": "user", "content": (f"<{kind}>" if kind else "") + row["prompt"]}],
                "ability": "video" if kind == "video" else "image" if kind else "text",
                "reward_model": {"style": "model", "ground_truth": row["responses"][row["ranks"].index(1)]},
                "extra_info": {
                    "split": split,
                    "index": index,
                    "prompt_id": row["prompt_id"],
                    "prompt": [{"role": "user", "content": row["prompt"]}],
                    "video": medium if kind == "video" else None,
                    "images": [medium] if kind == "image" else [],
                    "responses": row["responses"],
                    "ranks": row["ranks"],
                },
                "videos": [{"video": str(source.out / medium)}] if kind == "video" else [],
                "images": [{"bytes": contents[medium]}] if kind == "image" else [],
            }
        )
    return pa.Table.from_pylist(found, schema=pa.schema([*SCHEMA, *(MEDIA[name] for name in media_columns(prompts))]))


CLIENT = Client(
    "verl",
    "Prompts with their ranked responses for reinforcement learning in verl: Parquet, media.",
    USAGE,
    _write,
)
