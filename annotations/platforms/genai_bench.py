"""GenAI-Bench and the battles of GenAI-Arena: two generated videos or images per vote.

Shapes: TIGER-Lab/GenAI-Bench (left_model, right_model, vote_type, prompt, left_video and right_video or images; no
annotator, no time) and the arena's battle files (model_a, model_b, inputs {prompt}, vote_type, judge, tstamp). A
prompt is identified by its text. left_… is what was shown left.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from annotations.platforms.base import Head, Platform, Record, Row, by_record
from annotations.platforms.wildvision import OUTCOMES
from annotations.readers.json_text import decode_object

PROMPTS = ("prompt", "instruct_prompt", "instruction")
READ = ("left_model", "right_model", "model_a", "model_b", "vote_type", "winner", "judge", "tstamp", "inputs")


def _recognizes(head: Head) -> bool:
    return head.has("vote_type") and (head.has("left_model", "right_model") or head.has("model_a", "model_b"))


def _rows(record: Record) -> Iterator[Row]:
    known = decode_object(record.get("inputs")) | record
    question = next((known[name] for name in PROMPTS if known.get(name)), None)
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
    # The images themselves stay in the release.
    yield {**row, **{f"bench.{name}": value for name, value in rest.items() if "image" not in name}}


PLATFORM = Platform(
    name="genai-bench",
    description="GenAI-Bench (videos, images, editing) and battles of GenAI-Arena: Parquet, JSON, JSONL",
    detected_by="vote_type with left_model and right_model, or with model_a and model_b",
    sides="known",
    dropped="the images themselves; addresses in judges' ids",
    recognizes=_recognizes,
    read=by_record(_rows),
    personal_ids=False,
)
