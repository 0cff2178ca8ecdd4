"""Label Studio accepts our tasks, and every export of its SDK is read with all texts, outcomes and annotators."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from annotations.tasks import write_tasks
from tests.clients.conftest import Client
from tests.clients.votes import expected, ingested, task_table, votes_on

PLATFORM = "label-studio"
ANNOTATORS = ["1", "2", "7"]
PAIRWISE = """<View>
  <Header value="$question"/><Text name="t1" value="$left_text"/><Text name="t2" value="$right_text"/>
  <Pairwise name="better" toName="t1,t2"/>
</View>"""


@pytest.mark.parametrize("control", ["outcome", "better"])
def test_exports_of_our_tasks_are_read_without_a_mapping(control: str, client: Client, tmp_path: Path) -> None:
    tasks = task_table(60)
    write_tasks(tasks, tmp_path / "tasks.json", PLATFORM)
    votes = votes_on(tasks, ANNOTATORS)
    config = (tmp_path / "tasks-config.xml").read_text(encoding="utf-8")
    if control == "better":
        config, votes = PAIRWISE, [vote for vote in votes if vote["outcome"] in ("left", "right")]
    place = {task: n for n, task in enumerate(tasks["task_id"])}
    exports = client(
        "export",
        config=config,
        tasks=json.loads((tmp_path / "tasks.json").read_text(encoding="utf-8")),
        votes=[
            {
                "task": place[vote["task_id"]],
                "by": int(vote["annotator_id"]),
                "answer": {"choices": [vote["outcome"]]} if control == "outcome" else {"label": vote["outcome"]},
            }
            for vote in votes
        ],
        control=control,
    )
    for name, path in exports.items():
        assert ingested(path, tmp_path, PLATFORM) == expected(votes), name
