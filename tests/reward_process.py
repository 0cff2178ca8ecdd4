"""Trainings in separate processes, to kill them or to run several of one training: ``reward_process.py JOBS.json``.

Prints a JSON list with the exit statuses of each job's processes. The trainings are forked, so that torch and
transformers are imported only once; processes of one job find each other as those that torchrun starts do.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import sys
import traceback
from pathlib import Path
from typing import Any

from reward_models import fitted, uneven

from curate.reward import checkpoint
from curate.reward.train import StepReport
from pipelines.training import train
from schemas.reward import TrainConfig


def run(job: dict[str, Any]) -> None:
    """Train on examples of ``uneven``, or run the whole job ``train`` where the config has shards.

    kill_at: the step after which the process kills itself. kill_in: the number of the checkpoint after whose writing,
    but before whose renaming, it does.
    """

    def on_step(report: StepReport) -> None:
        if report.step == job.get("kill_at"):
            os.kill(os.getpid(), signal.SIGKILL)

    if "kill_in" in job:
        _die_before_rename(job["kill_in"])
    config = TrainConfig.model_validate(job["config"])
    if config.shards:
        train(config, Path(job["out"]), resume="continues" in job)
        return
    fitted(Path(job["backbone"]), Path(job["out"]), uneven(job["count"]), config, on_step=on_step)


def _die_before_rename(number: int) -> None:
    rename, checkpoints = Path.rename, 0

    def renamed(path: Path, target: Path) -> Path:
        nonlocal checkpoints
        checkpoints += target.parent.name == checkpoint.CHECKPOINTS
        if checkpoints == number:
            os.kill(os.getpid(), signal.SIGKILL)
        return rename(path, target)

    Path.rename = renamed  # type: ignore[method-assign,assignment]


def forked(job: dict[str, Any], rank: int, processes: int, port: int) -> int:
    """The id of a new process that runs the job as one of several."""
    child = os.fork()
    if child:
        return child
    if processes > 1:
        names = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": processes, "MASTER_PORT": port}
        os.environ |= {"MASTER_ADDR": "127.0.0.1", **{name: str(value) for name, value in names.items()}}
    try:
        run(job)
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def statuses(job: dict[str, Any]) -> list[int]:
    """Exit codes of the job's processes; negative: the signal that killed one."""
    if "continues" in job:  # the checkpoint of another training
        checkpoint = Path(job["continues"])
        shutil.copytree(checkpoint, Path(job["out"]) / "checkpoints" / checkpoint.name)
    processes = job.get("processes", 1)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    children = [forked(job, rank, processes, port) for rank in range(processes)]
    return [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]


if __name__ == "__main__":
    found = [statuses(job) for job in json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))]
    sys.stdout.write(json.dumps(found) + "\n")
