"""Platform exports in shapes that occur elsewhere, in small files of our own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import curate
from pipelines import ingest
from schemas.errors import CurateError

TEXT = 'a \\frac{1}{2} literal \\n, "quoted"\nnext ☃'
ACUTE = (
    ",run_id,worker,question,correct,winner,loser,eval_choice_0,eval_choice_1,is_onboarding,pairing_id,"
    "winner_dialogue,loser_dialogue\n"
)


def test_acute_eval_pairings_are_prompts_and_onboarding_is_control(tmp_path: Path) -> None:
    rows = (
        "0,r,1,Who is better?,-1,m1,m2,m1,m2,False,45,hello,bye\n"
        "1,r,1,Who is better?,-1,m2,m1,m1,m2,False,46,bye,hello\n"
        "2,r,2,Who is better?,1,m1,m2,m2,m1,True,1,good,bad\n"
        "3,r,2,Who is better?,0,m2,m1,m2,m1,True,2,bad,good\n"
    )
    (tmp_path / "full.csv").write_text(ACUTE + rows)
    report = ingest(tmp_path / "full.csv", tmp_path / "s.duckdb")
    assert (report.files[0].platform, report.votes, report.controls) == ("parlai", 2, 2)
    with curate.open(tmp_path / "s.duckdb") as store:
        votes = store.votes().sort("line")
        assert votes.select("prompt_id", "outcome", "criterion", "sides_known").rows() == [
            ("45", "left", "Who is better?", False),
            ("46", "right", "Who is better?", False),
        ]
        controls = store.rows("SELECT outcome, answer FROM controls ORDER BY line")
        assert controls == [{"outcome": "right", "answer": "right"}, {"outcome": "left", "answer": "right"}]


@pytest.mark.parametrize("ids", [True, False])
def test_mturk_rows_may_omit_the_last_columns(ids: bool, tmp_path: Path) -> None:
    header = ["HITId", *(["AssignmentId"] if ids else []), "WorkerId", "Input.prompt_id", "Input.left", "Input.right"]
    rows = [["h", *(["a"] if ids else []), "w", "p", "m", "n", "left"]]
    lines = [",".join([*header, "Answer.choice", "Approve", "Reject"]), *(",".join(row) for row in rows)]
    (tmp_path / "batch.csv").write_text("\n".join(lines) + "\n")
    report = ingest(tmp_path / "batch.csv", tmp_path / "s.duckdb")
    assert (report.files[0].platform, report.votes, report.rejects) == ("mturk", 1, 0)


def test_an_mturk_rating_study_has_no_votes(tmp_path: Path) -> None:
    (tmp_path / "batch.csv").write_text("HITId,WorkerId,Input.query,Answer.rating,Approve,Reject\nh,w,q,4\n")
    with pytest.raises(CurateError, match="no columns that name two responses"):
        ingest(tmp_path / "batch.csv", tmp_path / "s.duckdb")
    assert not (tmp_path / "s.duckdb").exists()


def test_nested_argilla_responses_without_a_status_are_submitted(tmp_path: Path) -> None:
    record = {
        "id": "1",
        "status": "pending",
        "fields": {"prompt_id": "p", "left": "m", "right": "n", "question": TEXT},
        "metadata": {},
        "suggestions": {},
        "responses": {"choice": [{"value": "left", "user_id": "u1"}, {"value": "right", "user_id": "u2"}]},
    }
    (tmp_path / "records.json").write_text(json.dumps([record]))
    report = ingest(tmp_path / "records.json", tmp_path / "s.duckdb")
    assert (report.files[0].platform, report.votes, report.rejects) == ("argilla", 2, 0)
    with curate.open(tmp_path / "s.duckdb") as store:
        assert store.prompts()["question"].to_list() == [TEXT]


def test_label_studio_texts_survive_byte_for_byte(tmp_path: Path) -> None:
    result = [{"type": "choices", "from_name": "winner", "value": {"choices": ["a_winner"]}}]
    data = {"id": 7, "prompt": TEXT, "model_a": "m", "model_b": "n", "response_a": f"{TEXT} a", "response_b": TEXT}
    tasks = [{"id": 1, "data": data, "annotations": [{"id": 3, "completed_by": 1, "result": result}]}]
    (tmp_path / "ls.json").write_text(json.dumps(tasks))
    report = ingest(tmp_path / "ls.json", tmp_path / "s.duckdb")
    assert (report.files[0].platform, report.votes, report.rejects) == ("label-studio", 1, 0)
    with curate.open(tmp_path / "s.duckdb") as store:
        assert store.prompts()["question"].to_list() == [TEXT]
        assert store.responses().sort("response_id")["text"].to_list() == [f"{TEXT} a", TEXT]
        assert store.votes()["outcome"].to_list() == ["left"]


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("centred", [False, True])
def test_a_label_studio_file_for_each_task_or_annotation_is_read_with_the_others(
    centred: bool, indent: int | None, tmp_path: Path
) -> None:
    for n, said in enumerate(["left", "right", "tie", ""]):
        result = [{"type": "choices", "from_name": "outcome", "value": {"choices": [said] if said else []}}]
        data = {"prompt_id": f"p{n}", "question": TEXT, "left": "m", "right": "n"}
        annotation = {"id": 10 + n, "completed_by": {"id": 1, "email": "a@x.org"}, "result": result, "lead_time": 2.5}
        task = {"id": n, "data": data}
        whole = {**annotation, "task": task} if centred else {**task, "annotations": [annotation]}
        # Label Studio names the files of a target storage after the annotation.
        path = tmp_path / "export" / (str(10 + n) if centred else f"task-{n}.json")
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(whole, indent=indent))
    report = ingest(tmp_path / "export", tmp_path / "s.duckdb")
    assert (report.files[0].platform, len(report.files)) == ("label-studio", 1)
    assert (report.rows, report.votes, report.reasons) == (4, 3, {"no-answer": 1})
    with curate.open(tmp_path / "s.duckdb") as store:
        votes = store.votes().sort("line")
        assert votes["prompt_id"].to_list() == ["p0", "p1", "p2"]
        assert votes["outcome"].to_list() == ["left", "right", "tie"]
        assert votes["seconds"].to_list() == [2.5] * 3
        assert set(store.prompts()["question"]) == {TEXT}


def test_a_text_that_mentions_a_pairwise_answer_is_kept(tmp_path: Path) -> None:
    text = "[{'selected': 'left'}] was printed by {'selected': 'right'}"
    row = {"id": 1, "prompt_id": "p", "left": "m", "right": "n", "left_text": text, "outcome": "right"}
    times = {"annotator": 1, "annotation_id": 2, "created_at": "2025-03-02", "updated_at": "2025-03-02", "lead_time": 1}
    (tmp_path / "min.json").write_text(json.dumps([row | times]))
    ingest(tmp_path / "min.json", tmp_path / "s.duckdb")
    with curate.open(tmp_path / "s.duckdb") as store:
        assert store.responses()["text"].drop_nulls().to_list() == [text]
        assert store.votes()["outcome"].to_list() == ["right"]


@pytest.mark.parametrize("parts", [False, True])
def test_arena_texts_survive_byte_for_byte(parts: bool, tmp_path: Path) -> None:
    content = [{"type": "text", "text": TEXT}] if parts else TEXT
    talk = [{"role": "user", "content": content}, {"role": "assistant", "content": content}]
    battle = {
        "question_id": "q",
        "model_a": "m",
        "model_b": "n",
        "winner": "model_b",
        "judge_hash": "j",
        "conversation_a": talk,
        "conversation_b": talk,
        "tstamp": 1.7e9,
        "note": {"text": TEXT},
    }
    (tmp_path / "battles.jsonl").write_text(json.dumps(battle) + "\n")
    report = ingest(tmp_path / "battles.jsonl", tmp_path / "s.duckdb")
    assert (report.files[0].platform, report.votes) == ("arena", 1)
    with curate.open(tmp_path / "s.duckdb") as store:
        assert store.prompts()["question"].to_list() == [TEXT]
        assert store.responses()["text"].to_list() == [TEXT, TEXT]
        assert json.loads(store.votes()["meta"].item())["arena.note"] == {"text": TEXT}
