"""Jobs with LLaMA-Factory: its loader and tokenizer read a dataset, and its DPO trains two steps."""

import json
import os
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

os.environ |= {"DISABLE_VERSION_CHECK": "1", "HF_HUB_OFFLINE": "1", "HF_HOME": str(Path("cache").resolve())}
operators = torch.library.Library("torchvision", "DEF")  # torchvision's own are compiled for CUDA
for name in ("nms", "qnms"):
    operators.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
sys.modules["torchaudio"] = ModuleType("torchaudio")  # imported, not used
sys.modules["torchaudio"].__spec__ = ModuleSpec("torchaudio", None)

from llamafactory.data import get_dataset, get_template_and_fix_tokenizer  # noqa: E402
from llamafactory.data.loader import _load_single_dataset  # noqa: E402
from llamafactory.data.parser import get_dataset_list  # noqa: E402
from llamafactory.hparams import get_train_args  # noqa: E402
from llamafactory.model import load_tokenizer  # noqa: E402
from llamafactory.train.tuner import run_exp  # noqa: E402


def dpo(folder: str, train: str, test: str, model: str) -> dict[str, Any]:
    """Return {dataset: its rows as aligned and as tokens}, and the loss of each step."""
    options = {
        "model_name_or_path": model,
        "stage": "dpo",
        "do_train": True,
        "finetuning_type": "full",
        "dataset": train,
        "eval_dataset": test,
        "dataset_dir": folder,
        "template": "qwen3_vl_nothink",
        "cutoff_len": 4096,
        "output_dir": "trained",
        "max_steps": 2,
        "per_device_train_batch_size": 4,
        "learning_rate": 1e-2,
        "logging_steps": 1,
        "report_to": "none",
        "use_cpu": True,
    }
    model_args, data_args, training_args, _, _ = get_train_args(options)
    loaded = load_tokenizer(model_args)
    template = get_template_and_fix_tokenizer(loaded["tokenizer"], data_args)
    tokens = get_dataset(template, model_args, data_args, training_args, stage="rm", **loaded)
    rows = {}
    for name, split in ((train, "train_dataset"), (test, "eval_dataset")):
        [attributes] = get_dataset_list([name], folder)
        aligned = _load_single_dataset(attributes, model_args, data_args, training_args)
        sides = [f"{side}_input_ids" for side in ("chosen", "rejected")]
        texts = [[loaded["tokenizer"].decode(row[side]) for side in sides] for row in tokens[split]]
        rows[name] = {"aligned": aligned.to_list(), "texts": texts}
    run_exp(options)
    log = Path("trained", "trainer_log.jsonl").read_text(encoding="utf-8").splitlines()
    return {"rows": rows, "losses": [step["loss"] for step in map(json.loads, log) if "loss" in step]}


if __name__ == "__main__":
    print(json.dumps({"dpo": dpo}[sys.argv[1]](**json.load(sys.stdin))))
