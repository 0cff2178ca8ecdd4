"""ms-swift: pairs as ``messages``, which end with the chosen response, and ``rejected_response``.

ms-swift 4.6 keeps the columns that it knows (``RowPreprocessor.standard_keys``) and drops all others.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl

from curate.release.clients.base import Client, Source, Written, write_jsonl
from curate.release.clients.preferences import TEXTS, contains_any, media_columns, preference_splits

TAGS = ("<image>", "<video>", "<audio>", "<img>", "<bbox>", "<ref-object>", "<cot-process>", "<start-image>")
USAGE = """
```sh
ROOT_IMAGE_DIR=DIR swift rlhf --rlhf_type dpo --dataset DIR/train.jsonl --val_dataset DIR/test.jsonl --strict true …
```

or `--rlhf_type rm`. Paths of media are relative to `ROOT_IMAGE_DIR`. Without `--strict true`, ms-swift drops rows whose
media it does not find.
"""


def _write(source: Source, out: Path) -> Written:
    rows, media, skipped = {}, 0, 0
    for split, all_pairs in preference_splits(source):
        pairs = all_pairs.filter(~contains_any(TEXTS, TAGS))
        skipped += len(all_pairs) - len(pairs)
        rows[f"{split}.jsonl"] = write_jsonl(out / f"{split}.jsonl", _rows(pairs))
        media += source.link_media(pairs["medium"], out)
    reason = f"with {', '.join(TAGS)} in a text, which ms-swift would replace"
    return Written(rows, media, {reason: skipped} if skipped else {})


def _rows(pairs: pl.DataFrame) -> Iterator[dict[str, Any]]:
    columns = media_columns(pairs)
    for pair in pairs.iter_rows(named=True):
        tag = f"<{pair['kind']}>" if pair["kind"] else ""
        yield {
            "messages": [
                {"role": "user", "content": tag + pair["prompt"]},
                {"role": "assistant", "content": pair["chosen"]},
            ],
            "rejected_response": pair["rejected"],
            **{column: [pair["medium"]] if column == f"{pair['kind']}s" else [] for column in columns},
        }


CLIENT = Client(
    "ms-swift",
    "Preference pairs for `swift rlhf` (dpo, rm and others) of ms-swift: JSONL and media.",
    USAGE,
    _write,
)
