"""GenAI-Bench and the battles of GenAI-Arena: two generated videos or images, and the kind of vote.

Shapes: TIGER-Lab/GenAI-Bench (left_model, right_model, vote_type, prompt, left_video and right_video or images; no
annotator, no time) and the arena's battle files (model_a, model_b, inputs {prompt}, vote_type, judge, tstamp). A prompt
has no id but its text. left_ is what stood left.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from annotations.platforms.base import Platform, Record, Row, by_record, mapping
from annotations.platforms.sniffing import Head
from annotations.platforms.wildvision import OUTCOMES

PROMPTS = ("prompt", "instruct_prompt", "instruction")
READ = ("left_model", "right_model", "model_a", "model_b", "vote_type", "winner", "judge", "tstamp", "inputs")


def _recognises(head: Head) -> bool:
    return head.has("vote_type") and (head.has("left_model", "right_model") or head.has("model_a", "model_b"))


def _rows(record: Record) -> Iterator[Row]:
    told = mapping(record.get("inputs")) | record
    question = next((told[name] for name in PROMPTS if told.get(name)), None)
    left = record.get("left_model") or record.get("model_a")
    right = record.get("right_model") or record.get("model_b")
    kind = record.get("vote_type")
    row: dict[str, Any] = {
        "prompt_id": record.get("prompt_id") or question,
        "question": question,
        "left": left,
        "right": right,
        "model_left": left,
        "model_right": right,
        "outcome": OUTCOMES.get(str(kind), kind),
        "annotator_id": record.get("judge"),
        "voted_at": record.get("tstamp"),
    }
    rest = {name: value for name, value in record.items() if name not in (*READ, *PROMPTS, "prompt_id")}
    # Pictures themselves are in the release and not in a vote.
    yield {**row, **{f"bench.{name}": value for name, value in rest.items() if "image" not in name}}


PLATFORM = Platform(
    name="genai-bench",
    about="GenAI-Bench (videos, images, editing) and battles of GenAI-Arena: Parquet, JSON, JSONL",
    told_by="vote_type beside left_model and right_model, or beside model_a and model_b",
    sides="shown",
    dropped="the images themselves; addresses in judges' ids",
    recognises=_recognises,
    read=by_record(_rows),
    people=False,
)
