"""Potato's server starts on our tasks, and its user states and exports are read with all outcomes and annotators."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from annotations.tasks import write_tasks
from tests.clients.conftest import Client
from tests.clients.votes import expected, ingested, task_table, votes_on

ANNOTATORS = ["ann", "bob", "cem"]


@pytest.mark.parametrize("randomize", [False, True])
def test_votes_through_the_server_are_read_without_a_mapping(randomize: bool, client: Client, tmp_path: Path) -> None:
    tasks = task_table(8)
    write_tasks(tasks, tmp_path / "tasks.jsonl", "potato")
    written = [json.loads(line) for line in (tmp_path / "tasks.jsonl").read_text(encoding="utf-8").split("\n")[:-1]]
    ids = dict(zip(tasks["task_id"], (task["id"] for task in written), strict=True))
    votes = votes_on(tasks, ANNOTATORS)
    for vote in votes:
        vote["outcome"] = {"both_bad": "tie"}.get(vote["outcome"], vote["outcome"])  # Potato has one undecided answer
    found = client(
        "vote",
        tasks="tasks.jsonl",
        votes=[
            {"id": ids[vote["task_id"]], "by": name, "outcome": vote["outcome"]}
            for name in ANNOTATORS
            for vote in votes
            if vote["annotator_id"] == name
        ],
        randomize=randomize,
    )
    served = found["served"]
    assert [(task["text"], task["responses"]) for task in written] == [
        (served[task["id"]]["text"], served[task["id"]]["responses"]) for task in written
    ]
    swapped = [vote for vote in votes if [ids[vote["task_id"]], vote["annotator_id"]] in found["swapped"]]
    assert (0 < len(swapped) < len(votes)) == randomize
    for vote in swapped:
        vote["left"], vote["right"] = vote["right"], vote["left"]
        vote["outcome"] = {"left": "right", "right": "left"}.get(vote["outcome"], vote["outcome"])
    # Potato's files have no texts; a store has them from the plan.
    wanted = expected([{**vote, "question": None, "left_text": None, "right_text": None} for vote in votes])
    assert ingested(found["states"], tmp_path, "potato") == wanted
    if not randomize:  # its exports do not state the order
        for name, path in found["exports"].items():
            assert ingested(path, tmp_path, "potato") == wanted, name
