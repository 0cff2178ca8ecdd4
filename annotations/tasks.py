"""Task files: one row per vote to collect, in the format of each annotation platform.

``curate ingest`` reads the platforms' exports of these tasks without a mapping.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import polars as pl

from schemas.choices import TaskFormat
from schemas.errors import CurateError

COLUMNS = (
    "task_id",
    "prompt_id",
    "question",
    "video",
    "left",
    "right",
    "left_text",
    "right_text",
    "outcome",
    "annotator_id",
)
"""outcome (left, right, tie or both_bad) and annotator_id are empty; the annotator fills them in."""
FILLED_IN = ("outcome", "annotator_id")
"""Columns that a person fills in if the task file is a plain table; platforms have their own."""
CHOICES = (
    ("left", "Left is better"),
    ("right", "Right is better"),
    ("tie", "Both equally good"),
    ("both_bad", "Both bad"),
)
"""(outcome, its label for annotators)."""
NO_TEXT = "(no text)"
"""Stands for a missing text. The id could be the name of the model, which annotators must not see."""
PAIR = ("prompt_id", "first", "second")
LINE_BREAKS = {ord(sign): f"\\u{ord(sign):04x}" for sign in "\x85\u2028\u2029"}
"""Signs that some readers of JSONL, Potato among them, take for the end of a line -> their JSON escape."""


def task_table(
    asked: pl.DataFrame, prompts: pl.DataFrame, responses: pl.DataFrame, *, plan: str, rng: np.random.Generator
) -> pl.DataFrame:
    """Return the tasks, COLUMNS as text, in the order in which to ask them.

    asked: prompt_id, first, second; one row per vote. prompts: prompt_id, question, video. responses: prompt_id,
    response_id, text. plan: the prefix of the task ids.
    A pair that is asked again swaps sides, and over all pairs each response is left as often as right, up to one vote.
    Tasks on one prompt are spread over the file, so that consecutive tasks are about many prompts.
    """
    asked = asked.sort(PAIR)[rng.permutation(len(asked))]
    jitter = pl.Series(rng.random(len(asked)))
    sides = asked.group_by(PAIR, maintain_order=True).agg(odd=pl.len() % 2 == 1)
    sides = sides.sort("odd", maintain_order=True).with_columns(start=pl.int_range(pl.len()) % 2).drop("odd")
    asked = asked.join(sides, on=PAIR, how="left", maintain_order="left").with_columns(
        swapped=(pl.col("start") + pl.int_range(pl.len()).over(PAIR)) % 2 == 1,
        order=(pl.int_range(pl.len()).over("prompt_id") + jitter) / pl.len().over("prompt_id"),
    )
    tasks = asked.sort("order", maintain_order=True).with_columns(
        task_id=pl.format("{}-{}", pl.lit(plan), (pl.int_range(pl.len()) + 1).cast(pl.String).str.zfill(5)),
        left=pl.when("swapped").then("second").otherwise("first"),
        right=pl.when("swapped").then("first").otherwise("second"),
        outcome=pl.lit(None, pl.String),
        annotator_id=pl.lit(None, pl.String),
    )
    questions = prompts.select("prompt_id", "question", "video")
    tasks = tasks.join(questions, on="prompt_id", how="left", maintain_order="left", validate="m:1")
    for side in ("left", "right"):
        texts = responses.select("prompt_id", pl.col("response_id").alias(side), pl.col("text").alias(f"{side}_text"))
        tasks = tasks.join(texts, on=["prompt_id", side], how="left", maintain_order="left", validate="m:1")
    return tasks.select(COLUMNS)


def write_tasks(tasks: pl.DataFrame, out: Path, file_format: TaskFormat) -> tuple[bool, Path | None]:
    """Write the task file ``out``, and for Label Studio its labelling config beside it.

    Returns whether anything was written (false if the same files exist) and the path of the config. Raises CurateError
    if a different file exists, because annotators may have filled it in.
    """
    contents = {out: task_file(tasks, file_format)}
    config = out.with_name(f"{out.stem}-config.xml") if file_format == "label-studio" else None
    if config:
        contents = {config: labelling_config(tasks), **contents}
    missing = [path for path, content in contents.items() if not _is_written(path, content)]
    for path in missing:
        _write(path, contents[path])
    return bool(missing), config


def _is_written(path: Path, content: bytes) -> bool:
    """Return whether the file exists with this content. Raises CurateError if it has other content."""
    if not path.exists() and not path.is_symlink():
        return False
    if path.is_file() and path.read_bytes() == content:
        return True
    problem = "exists with other content" if path.is_file() else "exists and is not a file"
    raise CurateError(f"{path}: {problem}", hint="use another --out, or remove it if nobody has filled it in")


def _write(path: Path, content: bytes) -> None:
    fresh = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with fresh.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        fresh.rename(path)
    finally:
        fresh.unlink(missing_ok=True)


def task_file(tasks: pl.DataFrame, file_format: TaskFormat) -> bytes:
    """Return the bytes of the task file. tasks: COLUMNS as text."""
    if file_format == "csv":
        return _csv(tasks)
    if file_format == "jsonl":
        buffer = BytesIO()
        tasks.write_ndjson(buffer)
        return buffer.getvalue()
    asked = tasks.drop(FILLED_IN)
    if file_format == "mturk":
        return _csv(asked)
    if file_format == "toloka":
        return _csv(asked.rename(lambda name: f"INPUT:{name}"), "\t")
    if file_format == "label-studio":
        if asked["video"].is_not_null().any():  # Label Studio rejects a task without a key of its config
            asked = asked.with_columns(pl.col("video").fill_null(""))
        listed = ",\n".join(json.dumps({"data": _without_nulls(row)}, ensure_ascii=False) for row in _rows(asked))
        return f"[\n{listed}\n]\n".encode()
    return _lines(RECORDS[file_format](row) for row in _rows(asked))


def labelling_config(tasks: pl.DataFrame) -> bytes:
    """Return Label Studio's labelling config: the video, the question, two responses, and the outcome."""
    choices = "\n".join(
        f'    <Choice value="{words}" alias="{outcome}" hotkey="{key}"/>'
        for key, (outcome, words) in enumerate(CHOICES, start=1)
    )
    video = '  <Video name="video" value="$video"/>\n' if tasks["video"].is_not_null().any() else ""
    return f"""<View>
{video}  <Header value="$question"/>
  <View style="display: flex; gap: 1em">
    <View style="flex: 1"><Header value="Left" size="5"/><Text name="left_text" value="$left_text"/></View>
    <View style="flex: 1"><Header value="Right" size="5"/><Text name="right_text" value="$right_text"/></View>
  </View>
  <Choices name="outcome" toName="left_text" choice="single" required="true" showInline="true">
{choices}
  </Choices>
  <TextArea name="reason" toName="left_text" placeholder="Why? (optional)" rows="2"/>
</View>
""".encode()


def _csv(tasks: pl.DataFrame, separator: str = ",") -> bytes:
    buffer = BytesIO()
    tasks.write_csv(buffer, separator=separator)
    return buffer.getvalue()


def _rows(tasks: pl.DataFrame) -> Iterable[dict[str, Any]]:
    return tasks.iter_rows(named=True)


def _without_nulls(row: dict[str, Any]) -> dict[str, Any]:
    """Return a task without nulls and with NO_TEXT for a missing text."""
    texts = {name: row[name] or NO_TEXT for name in ("left_text", "right_text")}
    return {
        name: value for name, value in {**row, "question": row["question"] or "", **texts}.items() if value is not None
    }


def _prodigy(row: dict[str, Any]) -> dict[str, Any]:
    """Return a task of the choice interface, whose options are the outcomes."""
    known = _without_nulls(row)
    shown = {"left": known["left_text"], "right": known["right_text"]}
    options = [{"id": outcome, "text": shown.get(outcome, words)} for outcome, words in CHOICES]
    return {"text": known["question"], **known, "options": options}


def _argilla(row: dict[str, Any]) -> dict[str, Any]:
    """Return a record for ``dataset.records.log``, fields and metadata by name."""
    return {"id": row["task_id"], **_without_nulls(row)}


def _potato(row: dict[str, Any]) -> dict[str, Any]:
    """Return an instance whose id contains the pair, because Potato's export has nothing else."""
    known = _without_nulls(row)
    parts = (row[name] for name in ("task_id", "prompt_id", "left", "right"))
    ids = "~".join(quote(part, safe="").replace("~", "%7E") for part in parts)
    video = {"video": known["video"]} if "video" in known else {}
    return {"id": ids, "text": known["question"], **video, "responses": [known["left_text"], known["right_text"]]}


RECORDS: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "prodigy": _prodigy,
    "argilla": _argilla,
    "potato": _potato,
}


def _lines(records: Iterable[dict[str, Any]]) -> bytes:
    lines = "\n".join(json.dumps(record, ensure_ascii=False) for record in records) + "\n"
    return lines.translate(LINE_BREAKS).encode()
