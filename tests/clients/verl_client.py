"""Jobs with verl: its dataset reads a file and opens the media, and its reward manager calls a reward function."""

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

os.environ |= {"HF_HUB_OFFLINE": "1", "HF_HOME": str(Path("cache").resolve())}
operators = torch.library.Library("torchvision", "DEF")  # torchvision's own are compiled for CUDA
for name in ("nms", "qnms"):
    operators.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")

from omegaconf import OmegaConf  # noqa: E402
from torch.utils.data import DataLoader  # noqa: E402
from transformers import AutoProcessor  # noqa: E402
from verl import DataProto  # noqa: E402
from verl.utils.dataset.rl_dataset import RLHFDataset, collate_fn  # noqa: E402
from verl.workers.reward_manager.batch import BatchRewardManager  # noqa: E402


def prompts(path: str, model: str) -> dict[str, Any]:
    """Return each prompt as text with the shapes of its media, and the arguments of the reward function."""
    processor = AutoProcessor.from_pretrained(model)
    config = OmegaConf.create({"max_prompt_length": 4096, "filter_overlong_prompts_workers": None, "cache_dir": "verl"})
    dataset = RLHFDataset(path, processor.tokenizer, config, processor)
    rows = []
    for i in range(len(dataset)):
        messages = dataset[i]["raw_prompt"]
        media = asyncio.run(RLHFDataset.process_multi_modal_info(messages, dataset.image_patch_size, config))
        images, videos, _ = media
        rows.append(
            {
                "text": processor.apply_chat_template(messages, tokenize=False),
                "images": [np.asarray(image).tolist() for image in images or []],
                "videos": [list(frames.shape) for frames, _ in videos or []],
                "video": [part["video"] for part in messages[0]["content"] if "video" in part],
            }
        )
    seen = {}

    def compute_score(**arguments: Any) -> list[float]:
        seen.update(arguments)
        return [float(len(text)) for text in arguments["solution_strs"]]

    [batch] = DataLoader(dataset, batch_size=len(dataset), collate_fn=collate_fn)
    data = DataProto.from_single_dict(batch)
    best = processor.tokenizer(
        [row["ground_truth"] for row in batch["reward_model"]], padding=True, padding_side="right", return_tensors="pt"
    )
    data.batch["prompts"] = torch.zeros(len(dataset), 1, dtype=torch.long)
    data.batch["responses"] = best["input_ids"]
    data.batch["attention_mask"] = torch.cat([torch.ones(len(dataset), 1), best["attention_mask"]], dim=1).long()
    rewards = BatchRewardManager(processor.tokenizer, 0, compute_score)(data).sum(dim=1)
    return {"rows": rows, "seen": seen, "rewards": rewards.tolist()}


def plain(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else str(value)


if __name__ == "__main__":
    print(json.dumps({"prompts": prompts}[sys.argv[1]](**json.load(sys.stdin)), default=plain))
