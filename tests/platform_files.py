"""Small exports of annotation platforms, each of its true shape and with its traps."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any


def lines(records: list[Any]) -> str:
    """JSONL."""
    return "".join(json.dumps(record) + "\n" for record in records)


def table(rows: list[dict[str, Any]], delimiter: str = ",") -> str:
    """CSV with the union of the rows' keys as its header."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(dict.fromkeys(k for row in rows for k in row)), delimiter=delimiter, restval="")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def write(folder: Path, name: str, content: Any) -> Path:
    """The file ``name`` of a text, or of a value as JSON."""
    path = folder / name
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


DATA = {"prompt_id": "p1", "question": "What falls?", "video": "v/1.mp4", "left": "a", "right": "b"}


def pairwise(side: str, name: str = "pw") -> dict[str, Any]:
    """One result of a Pairwise control."""
    return {
        "from_name": name,
        "to_name": "t1",
        "type": "pairwise",
        "value": {"selected": side},
        "id": "x",
        "origin": "manual",
    }


def choice(*said: str, name: str = "outcome") -> dict[str, Any]:
    """One result of a Choices control."""
    return {"from_name": name, "to_name": "t1", "type": "choices", "value": {"choices": list(said)}, "id": "y"}


def annotation(number: int, *result: dict[str, Any], by: Any = 7, **more: Any) -> dict[str, Any]:
    """One annotation of Label Studio."""
    time = "2025-03-02T10:00:00.123456Z"
    own = {"id": number, "completed_by": by, "result": list(result), "was_cancelled": False, "ground_truth": False}
    return own | {"created_at": time, "updated_at": time, "lead_time": 12.5, "project": 3, "task": 1} | more


LABEL_STUDIO = [
    {
        "id": 1,
        "data": DATA,
        "annotations": [
            annotation(11, pairwise("left"), by=7),
            annotation(
                12, pairwise("right"), by={"id": 8, "email": "ann@x.org", "first_name": "Ann", "last_name": "B"}
            ),
            annotation(13, by=9),
            annotation(14, pairwise("none"), by=10),
            annotation(15, pairwise("left"), by=11, was_cancelled=True),
            annotation(16, pairwise("left"), pairwise("right"), by=12),
            annotation(16, pairwise("left"), pairwise("right"), by=12),
            annotation(17, choice("tie", name="or"), by=13),
        ],
        "predictions": [{"model_version": "m", "result": [pairwise("right")]}],
        "drafts": [],
        "project": 3,
    },
    {"id": 2, "data": DATA | {"prompt_id": "p2"}, "annotations": [], "predictions": [], "project": 3},
]

_COMMON = {"created_at": "2025-03-02T10:00:00Z", "updated_at": "2025-03-02T10:00:05Z", "lead_time": 3.5}
LABEL_STUDIO_MIN = [
    {"id": 1, **DATA, "outcome": "left", "why": "clearer", "annotator": 7, "annotation_id": 21, **_COMMON},
    {"id": 1, **DATA, "outcome": {"choices": ["both_bad"]}, "annotator": "bob@x.org", "annotation_id": 22, **_COMMON},
    {"id": 1, **DATA, "annotator": 9, "annotation_id": 23, **_COMMON},
]
LABEL_STUDIO_CSV = table(
    [
        {
            **DATA,
            "id": 1,
            "pw": "[{'selected': 'right', 'origin': 'manual'}]",
            "annotator": 7,
            "annotation_id": 31,
            **_COMMON,
        },
        {**DATA, "id": 1, "pw": '[{"selected": "none"}]', "annotator": 8, "annotation_id": 32, **_COMMON},
    ]
)

ARGILLA = [
    {
        "id": "r1",
        "status": "completed",
        "_server_id": "s1",
        **DATA,
        "preference.responses": ["left", "tie", "right", None],
        "preference.responses.users": ["u1", "u2", "u3", "u4"],
        "preference.responses.status": ["submitted", "submitted", "discarded", "draft"],
        "comment.responses": ["nice, write to me@x.org"],
        "comment.responses.users": ["u1"],
        "comment.responses.status": ["submitted"],
        "preference.suggestion": "left",
        "preference.suggestion.agent": "gpt",
        "preference.suggestion.score": 0.9,
    },
    {
        "id": "r2",
        "status": "pending",
        "_server_id": "s2",
        **DATA,
        "preference.responses": ["left"],
        "preference.responses.users": ["u1", "u2"],
        "preference.responses.status": ["submitted"],
    },
    {"id": "r3", "status": "pending", "_server_id": "s3", **DATA, "preference.responses": None},
]
ARGILLA_RANKING = [
    {
        "id": "r1",
        "fields": {"question": "Which?", "prompt_id": "p1"},
        "metadata": {"topic": "falls"},
        "suggestions": {},
        "vectors": {},
        "status": "completed",
        "responses": {
            "order": [
                {
                    "value": [{"value": "a", "rank": 2}, {"value": "b", "rank": 1}, {"value": "c", "rank": 2}],
                    "user_id": "u1",
                }
            ]
        },
    }
]

OPTIONS = [{"id": "a", "text": "It falls."}, {"id": "b", "text": "It flies."}, {"id": "tie", "text": "No difference"}]
_TASK = {"prompt_id": "p1", "question": "What falls?", "options": OPTIONS, "_input_hash": 1, "_view_id": "choice"}


def prodigy(number: int, accept: list[Any], who: str = "ann", **more: Any) -> dict[str, Any]:
    """One answer of Prodigy's choice interface."""
    who = f"videos-pilot-{who}"
    own = {
        "accept": accept,
        "answer": "accept",
        "_session_id": who,
        "_annotator_id": who,
        "_timestamp": 1740000000 + number,
    }
    return {**_TASK, "_task_hash": number, **own, **more}


PRODIGY = [
    prodigy(1, ["a"], "ann"),
    prodigy(2, ["b"], "bob"),
    prodigy(3, ["tie"], "ann", meta={"topic": "falls"}),
    prodigy(4, [], "bob", answer="ignore"),
    prodigy(5, [], "ann"),
    prodigy(6, ["a", "b"], "bob"),
]


def talk(*texts: str) -> list[dict[str, str]]:
    """A conversation, in turn."""
    return [{"role": ("user", "assistant")[i % 2], "content": text} for i, text in enumerate(texts)]


_BATTLE = {"model_a": "m1", "model_b": "m2", "anony": True, "language": "English"}
ARENA = [
    {
        "question_id": f"q{i}",
        **_BATTLE,
        "winner": winner,
        "judge": judge,
        "conversation_a": talk("Hi", "A1", "More", "A2"),
        "conversation_b": talk("Hi", "B1", "More", "B2"),
        "turn": 2,
        "tstamp": 1713914099.33 + i,
    }
    for i, (winner, judge) in enumerate(
        [("model_a", "arena_user_5"), ("model_b", "arena_user_10.16.17.217"), ("tie", "u"), ("tie (bothbad)", "u")]
    )
]
MT_BENCH = [
    {
        "question_id": 81,
        "model_a": "m1",
        "model_b": "m2",
        "winner": "model_a",
        "judge": "expert_1",
        "conversation_a": talk("Q1", "A1", "Q2", "A2"),
        "conversation_b": talk("Q1", "B1", "Q2", "B2"),
        "turn": turn,
    }
    for turn in (1, 2)
]
ARENA_55K = table(
    [
        {
            "id": i,
            "model_a": "m1",
            "model_b": "m2",
            "prompt": '["Hi","More"]',
            "response_a": '["A1","A2"]',
            "response_b": '["B1",null]',
            "winner_model_a": won[0],
            "winner_model_b": won[1],
            "winner_tie": won[2],
        }
        for i, won in enumerate([(1, 0, 0), (0, 0, 1), (1, 1, 0), (0, 0, 0)])
    ]
)


def event(kind: str, models: list[str], **more: Any) -> dict[str, Any]:
    """One line of an arena server's log."""
    states = [
        {
            "conv_id": f"c{i}",
            "model_name": f"hidden-{i}",
            "roles": ["user", "bot"],
            "offset": 2,
            "messages": [["user", "example"], ["bot", "example"], ["user", "What falls?"], ["bot", f"Answer {i}"]],
        }
        for i in (0, 1)
    ]
    return {"tstamp": 1719635153.5, "type": kind, "models": models, "states": states, "ip": "172.31.31.125"} | more


WILDVISION = [
    {"tstamp": 1.7e9, "type": "chat", "model": "m", "state": {"conv_id": "c9", "messages": []}, "ip": "172.31.31.125"},
    event("leftvote", ["", ""]),
    event("rightvote", ["### Model A: m1", "### Model B: m2"], ip="2001:db8::1"),
    event("tievote", ["m1", "m2"], ip="10.0.0.9"),
    event("bothbad_vote", ["m1", "m2"], ip="10.0.0.8"),
    {"tstamp": 1.7e9, "type": "upvote", "model": "m", "state": {"conv_id": "c9"}, "ip": "172.31.31.125"},
]

GENAI_BENCH = [
    {
        "prompt": "A cat",
        "left_model": "m1",
        "right_model": "m2",
        "left_video": "l.mp4",
        "right_video": "r.mp4",
        "vote_type": kind,
    }
    for kind in ("leftvote", "rightvote", "tievote", "bothbad_vote", "leftvote")
]
GENAI_ARENA = [
    {
        "model_a_conv_id": "x",
        "model_b_conv_id": "y",
        "inputs": {"prompt": "Apple"},
        "model_a": "m1",
        "model_b": "m2",
        "vote_type": "leftvote",
        "winner": "model_a",
        "judge": "arena_user_10.16.17.217",
        "anony": True,
        "tstamp": 1713914099.33,
    }
]


def assignment(
    task: str, result: str, golden: str = "", worker: str = "w1", status: str = "APPROVED"
) -> dict[str, str]:
    """One row of Toloka's TSV."""
    given = {f"INPUT:{name}": value for name, value in DATA.items()}
    own = {"link": "https://toloka/1", "task_id": task, "assignment_id": "as1", "worker_id": worker, "status": status}
    times = {"started": "2025-03-02T10:00:00.000", "submitted": "2025-03-02T10:05:00.000"}
    answers = {"OUTPUT:result": result, "OUTPUT:comment": "", "GOLDEN:result": golden, "HINT:text": ""}
    return {**given, **answers, **{f"ASSIGNMENT:{name}": value for name, value in (own | times).items()}}


TOLOKA = table(
    [
        assignment("t1", "left"),
        assignment("t2", "right", golden="right"),
        assignment("t3", "left", golden="both_bad"),
        assignment("t4", "right", worker="w2", status="REJECTED"),
        assignment("t5", "", worker="w3"),
        {"INPUT:prompt_id": ""},
        assignment("t6", "tie", worker="w2"),
    ],
    "\t",
)


def hit(number: int, status: str = "Approved", worker: str = "W1", **answers: str) -> dict[str, str]:
    """One row of MTurk's batch results."""
    given = {f"Input.{name}": value for name, value in DATA.items()}
    own = {
        "HITId": "H1",
        "Title": "Compare",
        "AssignmentId": f"A{number}",
        "WorkerId": worker,
        "AssignmentStatus": status,
    }
    times = {"AcceptTime": "x", "SubmitTime": "Tue Mar 02 12:34:56 PST 2021", "WorkTimeInSeconds": "41"}
    return {**own, **times, **given, **{f"Answer.{name}": value for name, value in answers.items()}}


MTURK = table(
    [
        hit(1, **{"outcome.left": "true", "outcome.right": "false", "outcome.tie": "false"}),
        hit(2, worker="W2", **{"outcome.left": "false", "outcome.right": "false", "outcome.tie": "true"}),
        hit(3, worker="W3", status="Rejected", **{"outcome.left": "true"}),
        hit(4, worker="W4", **{"outcome.left": "false", "outcome.right": "false", "outcome.tie": "false"}),
        hit(5, worker="W5", **{"outcome.left": "true", "outcome.right": "true", "outcome.tie": "false"}),
        hit(6, worker="W6", taskAnswers='[{"outcome":{"left":false,"right":true,"tie":false}}]'),
    ]
)

POTATO = [
    {
        "id": "t1~p1~a~b%7E1",
        "displayed_text": "<b>a</b>",
        "label_annotations": labels,
        "span_annotations": [],
        "behavioral_data": {"time_string": "Time spent: 0d 0h 1m 12s "},
    }
    for labels in (
        {"preference": {"selection": "A"}},
        {"preference": {"selection": "tie"}},
        {"preference": {"scale_value": "2"}},
        {"preference": {"B": "true"}, "comment": {"text_box": "hm"}},
        {"preference": {}},
    )
]


def potato_state(user: str, said: dict[str, list[Any]], orders: dict[str, Any] | None = None) -> dict[str, Any]:
    """One annotator's user_state.json of Potato 2. said: instance -> [[{schema, name}, value], …]."""
    behaviour = {
        name: {"total_time_ms": 72_000, "annotation_changes": [{"timestamp": 1.7e9 + n, "schema_name": "preference"}]}
        for n, name in enumerate(said)
    }
    own = {"user_id": user, "instance_id_ordering": list(said), "instance_id_to_behavioral_data": behaviour}
    return own | {"instance_id_to_label_to_value": said, "instance_id_to_presentation_order": orders or {}}


def said(name: str, value: str, scheme: str = "preference") -> list[Any]:
    """One answer in a user state."""
    return [{"schema": scheme, "name": name}, value]


POTATO_STATE = [
    potato_state(
        "ann",
        {
            "t1~p1~a~b%7E1": [said("selection", "A"), said("text_box", 'so \\n "so"', "why")],
            "t2~p2~a~b%7E1": [said("selection", "A")],
            "t3~p3~a~b%7E1": [said("selection", "tie")],
        },
        {"t2~p2~a~b%7E1": {"preference": [1, 0]}, "t3~p3~a~b%7E1": {"preference": [0, 1]}},
    ),
    potato_state("bob", {"t1~p1~a~b%7E1": [said("selection", "B")], "t2~p2~a~b%7E1": []}),
]
POTATO_EXPORT = table(
    [
        {"instance_id": f"t{n}~p{n}~a~b", "user_id": "ann", "preference.selection": answer, "why.text_box": "hm"}
        for n, answer in enumerate(("A", "B", "tie", ""))
    ]
)

K_WISE = table(
    [
        {"prompt": "A cat", "model_1": "m1", "rank_1": 1, "model_2": "m2", "rank_2": 2, "model_3": "m3", "rank_3": 2},
        {"prompt": "A dog", "model_1": "m1", "rank_1": 1, "model_2": "m2", "rank_2": "", "model_3": "m3", "rank_3": 2},
    ]
)
K_WISE_LOG = [
    {
        "tstamp": 1719635153.5,
        "type": "rank",
        "models": ["m1", "m2", "m3", "m4"],
        "ranks": [1, 2, 3, 3],
        "prompt": "A cat",
        "ip": "10.0.0.7",
    },
    {"tstamp": 1719635154.5, "type": "chat", "models": ["m1", "m2", "m3", "m4"], "prompt": "A cat", "ip": "10.0.0.7"},
]

PROLIFIC = table(
    [
        {
            "Submission id": f"s{i}",
            "Participant id": person,
            "Status": status,
            "Started at": "2024-10-25T12:27:09.179000Z",
            "Time taken": 1150,
            "Completion code": "C0DE",
            "Age": age,
            "Sex": "Female",
        }
        for i, (person, status, age) in enumerate(
            [("5e90", "APPROVED", "25"), ("671b", "RETURNED", "DATA_EXPIRED"), ("77aa", "AWAITING REVIEW", "31")]
        )
    ]
)
