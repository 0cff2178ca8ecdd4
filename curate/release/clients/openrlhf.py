"""OpenRLHF: pairs for the trainers of reward models and DPO, as conversations for the model's chat template."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from curate.release.clients.base import Client, Source, Written, write_jsonl
from curate.release.clients.preferences import preference_splits
from curate.shards.formats import conversation

USAGE = """
```sh
python -m openrlhf.cli.train_rm --data.dataset DIR/train.jsonl --eval.dataset DIR/test.jsonl --eval.split train \\
  --data.apply_chat_template --data.prompt_key prompt --data.chosen_key chosen --data.rejected_key rejected …
```

or `openrlhf.cli.train_dpo`. Without `--data.prompt_key`, OpenRLHF trains on the responses without their prompts.
"""


def _write(source: Source, out: Path) -> Written:
    rows, unseen = {}, 0
    for split, pairs in preference_splits(source):
        table = pairs.select(
            "item_id",
            prompt=conversation("user", pl.col("prompt")),
            chosen=conversation("assistant", pl.col("chosen")),
            rejected=conversation("assistant", pl.col("rejected")),
        )
        rows[f"{split}.jsonl"] = write_jsonl(out / f"{split}.jsonl", table.iter_rows(named=True))
        unseen += pairs["medium"].count()
    note = f"{unseen:,} of {sum(rows.values()):,} pairs are about a video or an image, which OpenRLHF's trainers of "
    return Written(rows, notes=(note + "reward models and DPO do not read",) if unseen else ())


CLIENT = Client(
    "openrlhf",
    "Preference pairs for train_rm and train_dpo of OpenRLHF, text only: JSONL, conversations.",
    USAGE,
    _write,
)
