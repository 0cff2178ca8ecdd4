"""One export of each platform, in each of its shapes, that states given votes; for tests of bytes and of speed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import polars as pl

from tests import platform_files as files


class Vote(NamedTuple):
    """What an export states; the left response won if ``number`` is even, else the right one."""

    number: int
    prompt_id: str
    left: str
    right: str
    question: str
    text_left: str
    text_right: str

    @property
    def winner(self) -> str:
        return ("left", "right")[self.number % 2]

    @property
    def annotator(self) -> str:
        return f"w{self.number % 500}"

    @property
    def given(self) -> dict[str, str]:
        """The columns of the task."""
        own = {"prompt_id": self.prompt_id, "question": self.question, "left": self.left, "right": self.right}
        return own | {"left_text": self.text_left, "right_text": self.text_right}


IDS, TEXTS = ("prompt_id", "left", "right"), ("text_left", "text_right")
TIME = "2025-03-02T10:00:00Z"


class Export(NamedTuple):
    """A shape of a platform's export."""

    suffix: str
    record: Callable[[Vote], dict[str, Any]]
    keeps: Sequence[str] = (*IDS, "question", *TEXTS)
    """Fields of a vote that it states."""
    first: dict[str, Any] | None = None
    """A record before those of the votes."""
    last: dict[str, Any] | None = None


def plain(vote: Vote) -> dict[str, Any]:
    own = {"outcome": vote.winner, "annotator_id": vote.annotator, "voted_at": TIME, "seconds": "12.5"}
    return vote.given | own


def ranking(vote: Vote) -> dict[str, Any]:
    own = {"responses": json.dumps([vote.left, vote.right]), "rankings": "[1, 2]", "annotator_id": vote.annotator}
    return {"prompt_id": vote.prompt_id, "question": vote.question} | own


def battle(vote: Vote, conversations: Callable[..., Any] = files.talk) -> dict[str, Any]:
    sides = {"model_a": vote.left, "model_b": vote.right, "winner": {"left": "model_a"}.get(vote.winner, "model_b")}
    talks = {
        f"conversation_{name}": conversations(vote.question, text)
        for name, text in (("a", vote.text_left), ("b", vote.text_right))
    }
    own = {"question_id": vote.prompt_id, "judge": vote.annotator, "turn": 1, "tstamp": 1.7e9 + vote.number}
    return own | sides | talks


def in_parts(*texts: str) -> list[dict[str, Any]]:
    return [{**turn, "content": [{"type": "text", "text": turn["content"]}]} for turn in files.talk(*texts)]


def spread(vote: Vote) -> dict[str, Any]:
    texts = {"prompt": vote.question, "response_a": vote.text_left, "response_b": vote.text_right}
    won = {"winner_model_a": int(vote.winner == "left"), "winner_model_b": int(vote.winner == "right"), "winner_tie": 0}
    models = {"id": vote.prompt_id, "model_a": vote.left, "model_b": vote.right}
    return models | {name: json.dumps([text]) for name, text in texts.items()} | won


def argilla(vote: Vote) -> dict[str, Any]:
    answers = {"choice": [{"value": vote.winner, "user_id": vote.annotator}]}
    own = {"id": str(vote.number), "status": "completed", "suggestions": {}, "metadata": {}, "vectors": {}}
    return own | {"fields": vote.given, "responses": answers}


def argilla_flat(vote: Vote) -> dict[str, Any]:
    lists = {"choice.responses": [vote.winner], "choice.responses.users": [vote.annotator]}
    return {"id": str(vote.number), "status": "completed", **vote.given, **lists}


def event(vote: Vote) -> dict[str, Any]:
    own = {"seq": vote.number + 2, "at": TIME, "event": "vote", "annotator": vote.annotator, "outcome": vote.winner}
    return own | {name: getattr(vote, name) for name in IDS} | {"seconds": 3.5, "watched": 1.0}


def bench(vote: Vote) -> dict[str, Any]:
    own = {"prompt_id": vote.prompt_id, "left_model": vote.left, "right_model": vote.right}
    return own | {"prompt": vote.question, "left_video": "l.mp4", "vote_type": f"{vote.winner}vote"}


def bench_arena(vote: Vote) -> dict[str, Any]:
    own = {"prompt_id": vote.prompt_id, "model_a": vote.left, "model_b": vote.right, "judge": vote.annotator}
    return own | {"inputs": {"prompt": vote.question}, "vote_type": f"{vote.winner}vote", "tstamp": 1.7e9}


def slots(vote: Vote) -> dict[str, Any]:
    names = {"model_1": vote.left, "rank_1": 1, "model_2": vote.right, "rank_2": 2, "model_3": "other", "rank_3": 3}
    return {"prompt_id": vote.prompt_id, "prompt": vote.question, "user_id": vote.annotator} | names


def ranking_log(vote: Vote) -> dict[str, Any]:
    state = {"prompt": vote.question, "conv_id": vote.prompt_id}
    own = {"type": "rank", "tstamp": 1.7e9, "user_id": vote.annotator, "ranks": [1, 2]}
    return own | {"models": [vote.left, vote.right], "states": [state]}


def task(vote: Vote) -> dict[str, Any]:
    made = files.annotation(vote.number, files.choice(vote.winner), by=vote.number % 500)
    return {"id": vote.number, "data": vote.given, "annotations": [made], "predictions": []}


def task_min(vote: Vote) -> dict[str, Any]:
    own = {"id": vote.number, "annotator": vote.number % 500, "annotation_id": vote.number, "lead_time": 3.5}
    return own | vote.given | {"outcome": vote.winner, "created_at": TIME, "updated_at": TIME}


def hit(vote: Vote) -> dict[str, Any]:
    answers = {f"outcome.{side}": str(side == vote.winner).lower() for side in ("left", "right", "tie")}
    row = {n: v for n, v in files.hit(vote.number, worker=vote.annotator, **answers).items() if "Input." not in n}
    return row | {f"Input.{name}": value for name, value in vote.given.items()}


def judgment(vote: Vote) -> dict[str, Any]:
    texts = {"left": vote.text_left, "right": vote.text_right}
    loser = {"left": "right", "right": "left"}[vote.winner]
    won = {"winner": getattr(vote, vote.winner), "loser": getattr(vote, loser)}
    own = {"worker": vote.annotator, "question": "Who?", "correct": -1, "is_onboarding": False}
    names = {"eval_choice_0": vote.left, "eval_choice_1": vote.right, "pairing_id": vote.prompt_id}
    return own | won | names | {"winner_dialogue": texts[vote.winner], "loser_dialogue": texts[loser]}


def instance(vote: Vote) -> dict[str, Any]:
    parts = (f"t{vote.number}", vote.prompt_id, vote.left, vote.right)
    ids = "~".join(quote(part, safe="").replace("~", "%7E") for part in parts)
    labels = {"preference": {"selection": {"left": "A"}.get(vote.winner, "B")}}
    time = {"time_string": "Time spent: 0d 0h 0m 12s "}
    return {"id": ids, "displayed_text": vote.question, "label_annotations": labels, "behavioral_data": time}


def options(vote: Vote) -> dict[str, Any]:
    named = ((vote.left, vote.text_left), (vote.right, vote.text_right))
    shown = [{"id": str(i), "response_id": name, "text": text} for i, (name, text) in enumerate(named)]
    own = files.prodigy(vote.number, [str(vote.number % 2)], vote.annotator, options=shown)
    return own | {"prompt_id": vote.prompt_id, "question": vote.question}


def suite(vote: Vote) -> dict[str, Any]:
    made = files.assignment(f"t{vote.number}", vote.winner, worker=vote.annotator)
    row = {name: value for name, value in made.items() if not name.startswith("INPUT:")}
    return row | {f"INPUT:{name}": value for name, value in vote.given.items()}


def server_log(vote: Vote) -> dict[str, Any]:
    states = [
        {"conv_id": vote.prompt_id, "offset": 0, "messages": [["user", vote.question], ["bot", text]]}
        for text in (vote.text_left, vote.text_right)
    ]
    own = {"tstamp": 1.7e9 + vote.number, "type": f"{vote.winner}vote", "ip": vote.annotator}
    return own | {"models": [vote.left, vote.right], "states": states}


BEGIN = {"seq": 1, "at": TIME, "event": "begin", "campaign": "c", "campaign_id": "c0ffee00", "undo_minutes": 1.0}
EXPORTS: dict[str, Export] = {
    "generic (csv)": Export("csv", plain),
    "generic (jsonl)": Export("jsonl", plain),
    "generic (json)": Export("json", plain),
    "generic (parquet)": Export("parquet", plain),
    "generic (rankings)": Export("csv", ranking, (*IDS, "question")),
    "arena": Export("jsonl", battle),
    "arena (parts)": Export("jsonl", lambda vote: battle(vote, in_parts)),
    "arena (lists)": Export("csv", spread),
    "argilla": Export("jsonl", argilla),
    "argilla (flat)": Export("jsonl", argilla_flat),
    "campaign": Export("jsonl", event, IDS, BEGIN, {"seq": 10**6, "at": TIME, "event": "close"}),
    "genai-bench": Export("jsonl", bench, (*IDS, "question")),
    "genai-bench (arena)": Export("jsonl", bench_arena, (*IDS, "question")),
    "k-wise": Export("csv", slots, (*IDS, "question")),
    "k-wise (log)": Export("jsonl", ranking_log, (*IDS, "question")),
    "label-studio": Export("json", task),
    "label-studio (min)": Export("json", task_min),
    "mturk": Export("csv", hit),
    "parlai": Export("csv", judgment, (*IDS, *TEXTS)),
    "potato": Export("jsonl", instance, IDS),
    "prodigy": Export("jsonl", options),
    "toloka": Export("tsv", suite),
    "wildvision": Export("jsonl", server_log),
}
"""Platform and shape -> its export. Prolific, which has no votes, is missing."""


def write_export(folder: Path, name: str, export: Export, votes: Iterable[Vote], *, escaped: bool = False) -> Path:
    """Write the votes as an export and return its path. escaped: JSON is written in ASCII."""
    ends = ([export.first] if export.first else [], [export.last] if export.last else [])
    records = chain(ends[0], map(export.record, votes), ends[1])
    path = folder / f"{name.replace(' ', '-').strip(')').replace('(', '')}.{export.suffix}"
    if export.suffix == "parquet":
        pl.DataFrame(list(records)).write_parquet(path)
        return path
    with path.open("w", encoding="utf-8", newline="") as file:
        if export.suffix in ("csv", "tsv"):
            file.write(files.table(list(records), {"csv": ",", "tsv": "\t"}[export.suffix]))
            return path
        before, between, after = ("[", ",\n", "]") if export.suffix == "json" else ("", "\n", "\n")
        file.write(before)
        for place, record in enumerate(records):
            file.write((between if place else "") + json.dumps(record, ensure_ascii=escaped))
        file.write(after)
    return path
