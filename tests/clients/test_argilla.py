"""Argilla maps our tasks to records, and every export of its SDK is read with all texts, outcomes and annotators."""

from __future__ import annotations

import json
from itertools import combinations
from pathlib import Path
from uuid import NAMESPACE_DNS, uuid5

import polars as pl

from annotations.tasks import write_tasks
from curate.store import Store
from pipelines import ingest
from schemas.config import IngestConfig
from tests.clients.conftest import Client
from tests.clients.votes import OUTCOMES, expected, ingested, task_table, votes_on

FLAT = ("flat.json", "flat.jsonl", "hub.parquet")
STATES = ("submitted", "draft", "discarded")


def test_exports_of_our_tasks_are_read_without_a_mapping(client: Client, tmp_path: Path) -> None:
    tasks = task_table(60)
    write_tasks(tasks, tmp_path / "tasks.jsonl", "argilla")
    votes = votes_on(tasks, ["ann", "bob", "cem"])
    place = {task: n for n, task in enumerate(tasks["task_id"])}
    exports = client(
        "export",
        tasks=[json.loads(line) for line in (tmp_path / "tasks.jsonl").read_text(encoding="utf-8").split("\n")[:-1]],
        votes=[
            {"task": place[vote["task_id"]], "by": vote["annotator_id"], "value": vote["outcome"], "status": STATES[0]}
            for vote in votes
        ],
        labels=OUTCOMES,
    )
    votes = [{**vote, "annotator_id": str(uuid5(NAMESPACE_DNS, vote["annotator_id"]))} for vote in votes]
    for name, path in exports.items():
        assert ingested(path, tmp_path, "argilla") == expected(votes), name


def test_drafts_and_discarded_responses_are_no_votes_where_the_export_states_them(
    client: Client, tmp_path: Path
) -> None:
    task = {"id": "1", "question": "\\n?", "prompt_id": "p", "left": "m", "right": "n"}
    votes = [{"task": 0, "by": status, "value": "tie", "status": status} for status in STATES]
    exports = client("export", tasks=[task], votes=votes, labels=OUTCOMES)
    config = IngestConfig(max_rejects=1.0)
    for name in FLAT:
        report = ingest(exports[name], tmp_path / f"{name}.duckdb", config=config)
        assert (report.votes, report.reasons) == (1, {"cancelled": 1, "no-answer": 1}), name


def test_rankings_become_every_pair_of_the_labels(client: Client, tmp_path: Path) -> None:
    labels = ["m~1", "m \\n 2", 'm"3"']
    task = {"id": "1", "question": "Which is best?", "prompt_id": "p"}
    vote = {"task": 0, "by": "ann", "value": [labels[2], labels[0], labels[1]], "status": STATES[0]}
    exports = client("export", tasks=[task], votes=[vote], labels=labels)
    for name, path in exports.items():
        store = tmp_path / f"{name}.duckdb"
        ingest(path, store)
        with Store.open(store, read_only=True) as opened:
            votes = opened.votes()
        left = pl.col("outcome") == "left"
        won, lost = (
            pl.when(left == first).then("response_left").otherwise("response_right") for first in (True, False)
        )
        pairs = votes.select(won.alias("won"), lost.alias("lost")).rows()
        assert sorted(pairs) == sorted(combinations([labels[2], labels[0], labels[1]], 2)), name
        assert votes["group_id"].n_unique() == 1, name
