"""GenAI-Bench and the battles of GenAI-Arena: two generated videos or images per vote.

Shapes: TIGER-Lab/GenAI-Bench (left_model, right_model, vote_type, prompt, left_video and right_video or images; no
annotator, no time) and the arena's battle files (model_a, model_b, inputs {prompt}, vote_type, judge, tstamp). A
prompt is identified by its text. left_… is what was shown left.
"""

from __future__ import annotations

import polars as pl

from annotations.platforms.base import Head, Platform, by_columns, first_of
from annotations.platforms.wildvision import OUTCOMES
from annotations.readers.json_text import query

PROMPTS = ("prompt", "instruct_prompt", "instruction")
READ = ("left_model", "right_model", "model_a", "model_b", "vote_type", "winner", "judge", "tstamp", "inputs")


def _recognizes(head: Head) -> bool:
    return head.has("vote_type") and (head.has("left_model", "right_model") or head.has("model_a", "model_b"))


def _rows(battles: pl.DataFrame) -> pl.DataFrame:
    if "inputs" in battles.columns:
        texts = ", ".join(f"TRY(inputs ->> '$.{name}') AS \"inputs.{name}\"" for name in PROMPTS)
        battles = battles.hstack(query(f"SELECT {texts} FROM chunk", chunk=battles.select("inputs")))
    inputs = [f"inputs.{name}" for name in PROMPTS]
    question = first_of(battles, *PROMPTS, *inputs)
    left, right = first_of(battles, "left_model", "model_a"), first_of(battles, "right_model", "model_b")
    columns = {
        "prompt_id": pl.coalesce(first_of(battles, "prompt_id"), question),
        "question": question,
        "left": left,
        "right": right,
        "model_left": left,
        "model_right": right,
        "outcome": first_of(battles, "vote_type").replace(OUTCOMES),
        "annotator_id": first_of(battles, "judge"),
        "voted_at": first_of(battles, "tstamp"),
    }
    # The images themselves stay in the release.
    rest = [n for n in battles.columns if n not in (*READ, *PROMPTS, *inputs, "prompt_id") and "image" not in n]
    return battles.select(**columns, **{f"bench.{name}": pl.col(name) for name in rest})


PLATFORM = Platform(
    name="genai-bench",
    description="GenAI-Bench (videos, images, editing) and battles of GenAI-Arena: Parquet, JSON, JSONL",
    detected_by="vote_type with left_model and right_model, or with model_a and model_b",
    sides="known",
    dropped="the images themselves; addresses in judges' ids",
    recognizes=_recognizes,
    read=by_columns(_rows),
    personal_ids=False,
)
