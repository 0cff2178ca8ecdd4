"""Jobs with Label Studio's SDK: validate tasks, annotate them, and export the annotations as its server does."""

import json
import sys
from pathlib import Path
from typing import Any

from label_studio_sdk.converter import Converter
from label_studio_sdk.label_interface import LabelInterface
from label_studio_sdk.label_interface.objects import TaskValue

TIME = "2025-03-02T10:00:{:02}.123456Z"
FORMATS = ("JSON", "JSON_MIN", "CSV", "TSV")


def export(config: str, tasks: list[dict[str, Any]], votes: list[dict[str, Any]], control: str) -> dict[str, Any]:
    """Write the exports of tasks that are annotated with votes; return format -> path.

    votes: {task: position in ``tasks``, by: number of the annotator, answer: arguments of the control's label}.
    """
    interface = LabelInterface(config)
    interface.validate()
    tag = interface.get_control(control)
    done = [{"id": n, **task, "annotations": [], "predictions": [], "project": 1} for n, task in enumerate(tasks, 1)]
    for task in done:
        assert interface.validate_task({"data": task["data"]}), task
    for n, vote in enumerate(votes):
        region = tag.label(**vote["answer"])
        annotation = {
            "id": 1000 + n,
            "completed_by": vote["by"],
            "result": [region._dict()],
            "was_cancelled": False,
            "ground_truth": False,
            "created_at": TIME.format(n % 60),
            "updated_at": TIME.format(n % 60),
            "lead_time": 1.5,
            "result_count": 1,
        }
        # The SDK's validator takes no Pairwise, also not one that the SDK made.
        assert tag.tag == "Pairwise" or interface.validate_annotation(annotation), annotation
        done[vote["task"]]["annotations"].append(annotation)
    for task in done:
        TaskValue.model_validate(task)
    Path("annotated.json").write_text(json.dumps(done), encoding="utf-8")
    converter = Converter(config, project_dir=None, download_resources=False)
    found = {}
    for name in FORMATS:
        folder = Path(f"export-{name}")
        converter.convert("annotated.json", str(folder), name, is_dir=False)
        [path] = folder.iterdir()
        found[name] = str(path.resolve())
    return found


if __name__ == "__main__":
    print(json.dumps({"export": export}[sys.argv[1]](**json.load(sys.stdin))))
