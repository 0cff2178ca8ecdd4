"""Jobs with lmms-eval: its evaluator runs our tasks on a model that records what it sees."""

import hashlib
import json
import os
import sys
from pathlib import Path
from typing import Any

os.environ |= {"HF_HUB_OFFLINE": "1", "HF_HOME": str(Path("cache").resolve())}

from lmms_eval import evaluator
from lmms_eval.api.model import lmms
from lmms_eval.tasks import TaskManager


class Recorder(lmms):
    """A model that gives the answers it was given, in order of the documents."""

    def __init__(self, answers: list[str]) -> None:
        super().__init__()
        self.answers, self.seen = answers, []

    def generate_until(self, requests: list[Any]) -> list[str]:
        found = []
        for request in requests:
            text, _, visual, doc, task, split = request.args
            media = [plain(medium) for medium in visual(self.task_dict[task][split][doc])]
            self.seen.append({"task": task, "doc": doc, "text": text, "media": media})
            found.append(self.answers[doc])
        return found

    def loglikelihood(self, requests: list[Any]) -> list[tuple[float, bool]]:
        raise NotImplementedError

    def generate_until_multi_round(self, requests: list[Any]) -> list[str]:
        raise NotImplementedError


def plain(medium: Any) -> Any:
    """Return the digest of a video, or size and first pixel of an image."""
    if isinstance(medium, str):
        return hashlib.sha256(Path(medium).read_bytes()).hexdigest()
    return [*medium.size, *medium.getpixel((0, 0))]


def evaluate(folder: str, task: str, answers: list[str]) -> dict[str, Any]:
    """Evaluate a task of the folder, which is the working directory, as the program does; return what was seen."""
    os.chdir(folder)
    model = Recorder(answers)
    manager = TaskManager(include_path=".", include_defaults=False)
    printed, sys.stdout = sys.stdout, sys.stderr
    try:
        results = evaluator.simple_evaluate(model=model, tasks=[task], task_manager=manager, batch_size=1)
    finally:
        sys.stdout = printed
    return {"seen": model.seen, "results": results["results"][task]}


if __name__ == "__main__":
    print(json.dumps({"evaluate": evaluate}[sys.argv[1]](**json.load(sys.stdin)), default=str))
