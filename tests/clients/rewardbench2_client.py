"""Jobs with RewardBench: its loaders read a data set, and its scoring combines the responses of an item again."""

import json
import logging
import os
import sys
from pathlib import Path
from typing import Any

os.environ |= {"HF_HUB_OFFLINE": "1", "HF_HOME": str(Path("cache").resolve())}

from datasets import Dataset
from fastchat.conversation import get_conv_template
from rewardbench import load_and_process_dataset, load_bon_dataset_v2, load_eval_dataset_multi
from rewardbench.utils import process_single_model, reroll_and_score_dataset

logger = logging.getLogger()


def best_of(folder: str) -> dict[str, Any]:
    """Return what the scripts of RewardBench 2 get, for reward models and for judges.

    items: the texts of each item in order, with the result if the first response has the highest score.
    """
    rows, subsets, completions, correct = load_bon_dataset_v2(folder, custom_dialogue_formatting=True, logger=logger)
    texts = [row["text"] for row in rows]
    scored = rows.add_column("scores", [-float(i) for i in range(len(rows))]).remove_columns("text")
    scored = scored.add_column("text", [json.dumps(text) for text in texts])
    items = reroll_and_score_dataset(scored, completions).to_list()
    judged = load_eval_dataset_multi(
        core_set=False, dataset=folder, custom_dialogue_formatting=True, logger=logger,
        keep_columns=["texts_chosen", "texts_rejected", "id", "subset", "num_correct"],
    )  # fmt: skip
    return {
        "items": [{**item, "text": [json.loads(text) for text in item["text"]]} for item in items],
        "subsets": subsets,
        "completions": completions,
        "correct": correct,
        "judged": judged.to_list(),
    }


def pairs(folder: str) -> list[dict[str, Any]]:
    """Return the pairs as ``rewardbench --dataset`` gets them, rendered by a template with the separators of Vicuna."""
    conv = get_conv_template("vicuna_v1.1")
    return load_and_process_dataset(folder, split="test", conv=conv, logger=logger).to_list()


def subsets(items: list[dict[str, Any]]) -> dict[str, float]:
    """Return the score of each subset, as scripts/run_v2.py combines them. items: id, subset, num_correct, scores."""
    columns = ("id", "subset", "num_correct")
    rows = [
        {name: item[name] for name in columns} | {"text": "", "scores": s} for item in items for s in item["scores"]
    ]
    scored = reroll_and_score_dataset(Dataset.from_list(rows), [len(item["scores"]) for item in items]).to_list()
    found = {}
    for subset in sorted({item["subset"] for item in items}):
        own = Dataset.from_list([row for row in scored if row["subset"] == subset])
        found[subset] = process_single_model(own)[1] if subset == "Ties" else sum(own["results"]) / len(own)
    return found


if __name__ == "__main__":
    print(json.dumps({"best_of": best_of, "pairs": pairs, "subsets": subsets}[sys.argv[1]](**json.load(sys.stdin))))
