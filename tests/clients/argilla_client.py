"""Jobs with Argilla's SDK: map tasks to records of a dataset, respond to them, and export the records. No server."""

import json
import sys
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock
from uuid import NAMESPACE_DNS, uuid5

import argilla as rg
from argilla._models import ResponseStatus
from argilla.records._io import GenericIO, HFDatasetsIO, JsonIO
from argilla.records._mapping import IngestedRecordMapper

rg.Argilla._get_default = classmethod(lambda _: MagicMock())  # settings ask for a client, which nothing here uses

TEXTS = ("question", "left_text", "right_text")


def dataset(tasks: list[dict[str, Any]], question: Any) -> rg.Dataset:
    """Return a dataset whose settings show the texts; all else is metadata, as docs/platforms.md says."""
    names = {name for task in tasks for name in task} - {"id"}
    metadata = sorted(names.difference(TEXTS))
    settings = rg.Settings(
        fields=[rg.TextField(name=name) for name in sorted(names.intersection(TEXTS))],
        questions=[question, rg.TextQuestion(name="why", required=False)],
        metadata=[rg.TermsMetadataProperty(name=name) for name in metadata],
    )
    settings.validate()
    return rg.Dataset(name="tasks", settings=settings, client=MagicMock())


def export(tasks: list[dict[str, Any]], votes: list[dict[str, Any]], labels: list[str]) -> dict[str, str]:
    """Write the exports of records with responses; return format -> path.

    votes: {task: position, by: annotator, value: a label, or labels from best to worst, status: of the response}.
    """
    if isinstance(votes[0]["value"], list):
        question = rg.RankingQuestion(name="order", values=labels)
    else:
        question = rg.LabelQuestion(name="preference", labels=labels)
    home = dataset(tasks, question)
    mapper = IngestedRecordMapper(dataset=home, user_id=uuid5(NAMESPACE_DNS, "owner"))
    records = [mapper(task) for task in tasks]
    for vote in votes:
        user = uuid5(NAMESPACE_DNS, vote["by"])
        status = ResponseStatus(vote["status"])
        record = records[vote["task"]]
        record.responses.add(rg.Response(question.name, vote["value"], user_id=user, status=status))
        record.responses.add(rg.Response("why", "because \\n", user_id=user, status=status))
    for record in records:
        record.suggestions.add(rg.Suggestion(question.name, votes[0]["value"], agent="a model", score=0.5))
        record.api_model().model_dump_json()  # what the SDK would send to a server
    JsonIO.to_json(records, Path("nested.json"))
    flat = GenericIO.to_list(records, flatten=True)
    Path("flat.json").write_text(json.dumps(flat), encoding="utf-8")
    Path("flat.jsonl").write_text("".join(json.dumps(row) + "\n" for row in flat), encoding="utf-8")
    HFDatasetsIO.to_datasets(records, home).to_parquet("hub.parquet")
    return {name: str(Path(name).resolve()) for name in ("nested.json", "flat.json", "flat.jsonl", "hub.parquet")}


if __name__ == "__main__":
    print(json.dumps({"export": export}[sys.argv[1]](**json.load(sys.stdin))))
