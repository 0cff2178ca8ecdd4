"""Jobs with ms-swift: its loader and template read a dataset, and its DPO trains two steps."""

import json
import os
import sys
from pathlib import Path
from typing import Any

import torch

os.environ |= {"HF_HUB_OFFLINE": "1", "HF_HOME": str(Path("cache").resolve()), "USE_HF": "1"}
os.environ["MODELSCOPE_CACHE"] = os.environ["HF_HOME"]
operators = torch.library.Library("torchvision", "DEF")  # torchvision's own are compiled for CUDA
for name in ("nms", "qnms"):
    operators.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")


def dpo(folder: str, model: str) -> dict[str, Any]:
    """Return {file: its rows as loaded and as tokens}, and the loss of each step."""
    os.environ["ROOT_IMAGE_DIR"] = folder
    from swift import get_processor, rlhf_main
    from swift.dataset import load_dataset
    from swift.template import get_template
    from swift.template.templates.qwen import Qwen3VLTemplate

    processor = get_processor(model, model_type="qwen3_vl")
    ids = processor.tokenizer.convert_tokens_to_ids(["<|image_pad|>", "<|video_pad|>"])
    Qwen3VLTemplate.image_token_id, Qwen3VLTemplate.video_token_id = ids  # it knows those of Qwen's tokenizer only
    template = get_template(processor, template_type="qwen3_vl")
    template.set_mode("rlhf")
    rows = {}
    for file in ("train.jsonl", "test.jsonl"):
        loaded, _ = load_dataset([f"{folder}/{file}"], strict=True)
        texts = []
        for row in loaded:
            encoded = template.encode(row)
            texts.append([processor.tokenizer.decode(encoded[f"{side}_input_ids"]) for side in ("chosen", "rejected")])
        rows[file] = {"loaded": list(loaded), "texts": texts}
    options = {
        "rlhf_type": "dpo",
        "model": model,
        "model_type": "qwen3_vl",
        "template": "qwen3_vl",
        "dataset": f"{folder}/train.jsonl",
        "val_dataset": f"{folder}/test.jsonl",
        "strict": "true",
        "tuner_type": "full",
        "torch_dtype": "float32",
        "max_steps": "2",
        "per_device_train_batch_size": "4",
        "gradient_accumulation_steps": "1",
        "learning_rate": "1e-2",
        "logging_steps": "1",
        "report_to": "none",
        "use_cpu": "true",
        "output_dir": "trained",
        "attn_impl": "eager",
        "save_strategy": "no",
        "eval_strategy": "no",
        "dataloader_num_workers": "0",
        "dataset_num_proc": "1",
    }
    result = rlhf_main([part for name, value in options.items() for part in (f"--{name}", value)])
    return {"rows": rows, "losses": [step["loss"] for step in result["log_history"] if "loss" in step]}


if __name__ == "__main__":
    print(json.dumps({"dpo": dpo}[sys.argv[1]](**json.load(sys.stdin))))
