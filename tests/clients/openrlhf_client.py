"""Jobs with OpenRLHF: its loader and its dataset of preferences read a file."""

import json
import os
import sys
from pathlib import Path
from types import SimpleNamespace

os.environ |= {"HF_HUB_OFFLINE": "1", "HF_HOME": str(Path("cache").resolve())}

from openrlhf.datasets import RewardDataset
from openrlhf.datasets.utils import blending_datasets
from transformers import AutoTokenizer


def preferences(path: str, tokenizer: str, template: str) -> dict[str, list[list[str]]]:
    """Return what train_rm and train_dpo see of each row: [chosen, rejected] with the prompt, decoded."""
    data = SimpleNamespace(
        prompt_key="prompt", chosen_key="chosen", rejected_key="rejected", apply_chat_template=True
    )  # as by the options in the README of an export
    strategy = SimpleNamespace(args=SimpleNamespace(data=data, use_ms=False), print=print, is_rank_0=lambda: True)
    loaded = AutoTokenizer.from_pretrained(tokenizer)
    loaded.chat_template = template
    rows = blending_datasets(path, None, strategy, dataset_split="train")
    found = {}
    for name, is_dpo in (("rm", False), ("dpo", True)):
        dataset = RewardDataset(rows, loaded, 4096, strategy, is_dpo=is_dpo, num_processors=1)
        found[name] = [[loaded.decode(dataset[i][side][0]) for side in (0, 2)] for i in range(len(dataset))]
    return found


if __name__ == "__main__":
    print(json.dumps({"preferences": preferences}[sys.argv[1]](**json.load(sys.stdin))))
