"""LLaMA-Factory: pairs in its format sharegpt, and dataset_info.json.

``chosen`` and ``rejected`` are one message each: given lists, LLaMA-Factory 0.9.5 trains on the question alone
(``SharegptDatasetConverter``). It replaces each placeholder in a text by the next medium of the row.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl

from curate.release.clients.base import Client, Source, Written, write_json, write_jsonl
from curate.release.clients.preferences import TEXTS, contains_any, media_columns, preference_splits

TAGS = ("<image>", "<video>", "<audio>")
USAGE = """
```yaml
stage: dpo                  # or rm
dataset_dir: DIR            # paths of media are relative to it
dataset: NAME_train
eval_dataset: NAME_test
template: qwen3_vl          # that of the model
```

NAME is the release's name, as in `dataset_info.json`.
"""


def _write(source: Source, out: Path) -> Written:
    rows, info, media, skipped = {}, {}, 0, 0
    for split, all_pairs in preference_splits(source):
        pairs = all_pairs.filter(~contains_any(TEXTS, TAGS))
        skipped += len(all_pairs) - len(pairs)
        name = f"{split}.jsonl"
        rows[name] = write_jsonl(out / name, _rows(pairs))
        columns = {"messages": "conversations", "chosen": "chosen", "rejected": "rejected"}
        info[f"{source.release.name}_{split}"] = {
            "file_name": name,
            "formatting": "sharegpt",
            "ranking": True,
            "columns": columns | {column: column for column in media_columns(pairs)},
        }
        media += source.link_media(pairs["medium"], out)
    write_json(out / "dataset_info.json", info)
    reason = f"with {', '.join(TAGS)} in a text, which LLaMA-Factory would replace by media"
    return Written(rows, media, {reason: skipped} if skipped else {})


def _rows(pairs: pl.DataFrame) -> Iterator[dict[str, Any]]:
    columns = media_columns(pairs)
    for pair in pairs.iter_rows(named=True):
        tag = f"<{pair['kind']}>" if pair["kind"] else ""
        yield {
            "item_id": pair["item_id"],
            "conversations": [{"from": "human", "value": tag + pair["prompt"]}],
            "chosen": {"from": "gpt", "value": pair["chosen"]},
            "rejected": {"from": "gpt", "value": pair["rejected"]},
            **{column: [pair["medium"]] if column == f"{pair['kind']}s" else [] for column in columns},
        }


CLIENT = Client(
    "llama-factory",
    "Preference pairs for the stages dpo and rm of LLaMA-Factory: JSONL (sharegpt, ranking), dataset_info.json, media.",
    USAGE,
    _write,
)
