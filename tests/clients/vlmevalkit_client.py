"""Jobs with VLMEvalKit: its program evaluates a model on our data sets; the model records what it sees."""

import hashlib
import json
import os
import runpy
import sys
from pathlib import Path
from typing import Any

import torch

os.environ |= {"LMUData": str(Path("lmu").resolve()), "PRED_FORMAT": "tsv"}
operators = torch.library.Library("torchvision", "DEF")  # torchvision's own are compiled for CUDA
for name in ("nms", "qnms"):
    operators.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")

from PIL import Image  # noqa: E402
from vlmeval.config import supported_VLM  # noqa: E402


class Recorder:
    """A model that gives the answers it was given, in order."""

    is_api = False

    def __init__(self, answers: list[str], *, videos: bool) -> None:
        self.answers, self.seen, self.VIDEO_LLM = iter(answers), [], videos

    def generate(self, message: list[dict[str, str]], dataset: str) -> str:
        """Record the parts of the message: texts, the digests of videos, the sizes and first pixels of images."""
        parts = []
        for part in message:
            content: Any = part["value"]
            if part["type"] == "video":
                content = hashlib.sha256(Path(content).read_bytes()).hexdigest()
            elif part["type"] == "image":
                image = Image.open(content)
                content = [*image.size, *image.convert("RGB").getpixel((0, 0))]
            parts.append([part["type"], content])
        self.seen.append({"dataset": dataset, "parts": parts})
        return next(self.answers)


def evaluate(folder: str, data: str, answers: list[str], videos: bool) -> dict[str, Any]:
    """Run the program of the folder; return what the model saw, and the scores."""
    model = Recorder(answers, videos=videos)
    supported_VLM["recorder"] = lambda **_: model
    output = Path("videos" if videos else "frames").resolve()
    sys.argv = ["run.py", "--data", data, "--model", "recorder", "--work-dir", str(output)]
    printed, sys.stdout = sys.stdout, sys.stderr
    try:
        runpy.run_path(str(Path(folder, "run.py")), run_name="__main__")
    finally:
        sys.stdout = printed
    [score] = {path.resolve() for path in output.rglob("*_score.json")}
    return {"seen": model.seen, "score": json.loads(score.read_text(encoding="utf-8"))}


if __name__ == "__main__":
    print(json.dumps({"evaluate": evaluate}[sys.argv[1]](**json.load(sys.stdin))))
