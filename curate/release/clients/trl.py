"""TRL: preference pairs as conversations for RewardTrainer and DPOTrainer.

DPOTrainer takes every row for one with an image if the first has a column ``image`` (TRL 1.16, ``DPOTrainer``,
``_is_vision_dataset``), so that pairs with and without an image are two configs.
"""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from curate.release.clients.base import Client, Source, Written
from curate.release.clients.preferences import preference_splits
from curate.release.tables import MEDIUM
from curate.shards.formats import CONVERSATION, ROW_GROUP, conversation

SCHEMA = (
    pa.field("item_id", pa.string()),
    pa.field("prompt_id", pa.string()),
    pa.field("prompt", CONVERSATION),
    pa.field("chosen", CONVERSATION),
    pa.field("rejected", CONVERSATION),
    pa.field("chosen_model", pa.string()),
    pa.field("rejected_model", pa.string()),
    pa.field("confidence", pa.float64()),
)
TEXT = pa.schema([*SCHEMA, pa.field("video", pa.string())])
IMAGE = pa.schema([*SCHEMA, pa.field("image", MEDIUM)]).with_metadata(
    {"huggingface": json.dumps({"info": {"features": {"image": {"_type": "Image"}}}})}
)
USAGE = """
```python
pairs = datasets.load_dataset("DIR", "text")     # pairs without an image: RewardTrainer, DPOTrainer
pairs = datasets.load_dataset("DIR", "images")   # pairs with an image: DPOTrainer with a vision-language model
trl.DPOTrainer(model, train_dataset=pairs["train"], eval_dataset=pairs["test"], …)
```

`video` is a path relative to this folder. TRL's trainers do not read videos.
"""


def _write(source: Source, out: Path) -> Written:
    rows: dict[str, int] = {}
    videos: list[str] = []
    for split, pairs in preference_splits(source):
        is_image = pl.col("kind").eq_missing("image")
        pairs = pairs.with_columns(
            prompt=conversation("user", pl.col("prompt")),
            chosen=conversation("assistant", pl.col("chosen")),
            rejected=conversation("assistant", pl.col("rejected")),
        )
        text, image = pairs.filter(is_image.not_()), pairs.filter(is_image)
        if len(text):
            table = text.with_columns(video=pl.col("medium"))
            videos += table["video"].drop_nulls().to_list()
            rows |= _table(out / f"text-{split}.parquet", table, TEXT)
        if len(image):
            contents = source.read_media(image["medium"])
            media = [{"bytes": contents[name], "path": Path(name).name} for name in image["medium"]]
            table = image.with_columns(image=pl.Series(media, dtype=pl.Struct({"bytes": pl.Binary, "path": pl.String})))
            rows |= _table(out / f"images-{split}.parquet", table, IMAGE)
    lines = ["---", "configs:"]
    for config in sorted({name.partition("-")[0] for name in rows}, reverse=True):
        files = [{"split": split, "path": f"{config}-{split}.parquet"} for split in ("train", "test")]
        files = [file for file in files if file["path"] in rows]
        lines += [f"- config_name: {config}", f"  data_files: {json.dumps(files)}"]
    note = f"{len(videos):,} of {sum(rows.values()):,} pairs are about a video, which TRL's trainers do not read"
    return Written(
        rows,
        source.link_media(videos, out) if source.has_media else 0,
        notes=(note,) if videos else (),
        front_matter=(*lines, "---"),
    )


def _table(path: Path, rows: pl.DataFrame, schema: pa.Schema) -> dict[str, int]:
    pq.write_table(
        rows.select(schema.names).to_arrow().cast(schema), path, compression="zstd", row_group_size=ROW_GROUP
    )
    return {path.name: len(rows)}


CLIENT = Client(
    "trl",
    "Preference pairs for RewardTrainer and DPOTrainer of TRL: Parquet, conversations, images in the rows.",
    USAGE,
    _write,
)
