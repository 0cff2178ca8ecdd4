"""A training in a process of its own, to be killed, or to be one of several: ``reward_process.py JOBS.json``."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from reward_models import fitted, uneven

from curate.reward import train
from curate.reward.train import Look
from schemas.training import TrainConfig


def run(job: dict[str, Any]) -> None:
    """Train on examples of ``uneven``.

    kill_at: the step after which the process kills itself. kill_in: the number of the checkpoint between whose writing
    and whose renaming it does.
    """

    def tell(look: Look) -> None:
        if look.step == job.get("kill_at"):
            os.kill(os.getpid(), signal.SIGKILL)

    if "kill_in" in job:
        _die_before_rename(job["kill_in"])
    config = TrainConfig.model_validate(job["config"])
    resume = job.get("resume", False)
    fitted(Path(job["backbone"]), Path(job["out"]), uneven(job["count"]), config, tell=tell, resume=resume)


def _die_before_rename(number: int) -> None:
    rename, checkpoints = Path.rename, 0

    def renamed(path: Path, target: Path) -> Path:
        nonlocal checkpoints
        checkpoints += target.parent.name == train.CHECKPOINTS
        if checkpoints == number:
            os.kill(os.getpid(), signal.SIGKILL)
        return rename(path, target)

    Path.rename = renamed  # type: ignore[method-assign,assignment]


if __name__ == "__main__":
    for each in json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")):
        run(each)
