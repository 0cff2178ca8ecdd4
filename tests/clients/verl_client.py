"""Jobs with verl: its dataset reads a file and opens the media, and its reward managers call reward functions."""

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
from verl.experimental.reward_loop.reward_manager.naive import NaiveRewardManager  # noqa: E402
from verl.trainer.ppo.reward import get_custom_reward_fn  # noqa: E402
from verl.utils.dataset.rl_dataset import RLHFDataset, collate_fn  # noqa: E402
from verl.workers.reward_manager.batch import BatchRewardManager  # noqa: E402

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))


def prompts(path: str, model: str) -> dict[str, Any]:
    """Return each prompt as text with the shapes of its media, and the arguments of the reward function."""
    processor, config = AutoProcessor.from_pretrained(model), _config()
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
    data = _answered(
        DataProto.from_single_dict(batch), processor.tokenizer, [row["ground_truth"] for row in batch["reward_model"]]
    )
    rewards = BatchRewardManager(processor.tokenizer, 0, compute_score)(data).sum(dim=1)
    return {"rows": rows, "seen": seen, "rewards": rewards.tolist()}


def rewards(path: str, model: str, url: str, responses: list[str]) -> dict[str, Any]:
    """Return the rewards of the responses to every prompt, row by row, by both reward managers."""
    processor, config = AutoProcessor.from_pretrained(model), _config()
    dataset = RLHFDataset(path, processor.tokenizer, config, processor)
    [batch] = DataLoader(dataset, batch_size=len(dataset), collate_fn=collate_fn)
    data = DataProto.from_single_dict(batch).repeat(len(responses), interleave=True)
    data = _answered(data, processor.tokenizer, responses * len(dataset))
    functions = {}
    for name in ("compute_score", "compute_scores"):
        custom = {"path": "pkg://curate.clients.verl", "name": name}
        custom["reward_kwargs"] = {"url": url, "group_size": {"train": len(responses), "test": 1}, "timeout": 60}
        functions[name] = get_custom_reward_fn(OmegaConf.create({"reward": {"custom_reward_function": custom}}))

    async def one_by_one() -> list[float]:
        manager = NaiveRewardManager(config, processor.tokenizer, functions["compute_score"])
        backwards = [manager.run_single(data[i : i + 1]) for i in reversed(range(len(data)))]
        return [found["reward_score"] for found in await asyncio.gather(*backwards)][::-1]

    single = asyncio.run(one_by_one())
    whole = BatchRewardManager(processor.tokenizer, 0, functions["compute_scores"])(data).sum(dim=1)
    return {"single": single, "batch": whole.tolist()}


def _config() -> Any:
    return OmegaConf.create({"max_prompt_length": 4096, "filter_overlong_prompts_workers": None, "cache_dir": "verl"})


def _answered(data: Any, tokenizer: Any, responses: list[str]) -> Any:
    """Return the batch with a response to each prompt, as a rollout leaves it."""
    answers = tokenizer(responses, padding=True, padding_side="right", return_tensors="pt")
    data.batch["prompts"] = torch.zeros(len(responses), 1, dtype=torch.long)
    data.batch["responses"] = answers["input_ids"]
    data.batch["attention_mask"] = torch.cat([torch.ones(len(responses), 1), answers["attention_mask"]], dim=1).long()
    return data


def plain(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else str(value)


if __name__ == "__main__":
    print(json.dumps({"prompts": prompts, "rewards": rewards}[sys.argv[1]](**json.load(sys.stdin)), default=plain))
