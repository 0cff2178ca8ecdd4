"""The tasks as each platform takes them; what comes back of it is read by ``curate ingest`` without a mapping."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from io import BytesIO
from typing import Any
from urllib.parse import quote

import polars as pl

from schemas.plan import TaskFormat

FILLED_IN = ("outcome", "annotator_id")
"""What a person fills in where the task file is a plain table, and a platform says in its own way."""
CHOICES = (
    ("left", "Left is better"),
    ("right", "Right is better"),
    ("tie", "Both equally good"),
    ("both_bad", "Both bad"),
)
"""Outcome -> what an annotator reads."""
NO_TEXT = "(no text)"
"""In place of a response's text: its id may be the name of its model, which annotators are not to see."""


def rendered(tasks: pl.DataFrame, file_format: TaskFormat) -> bytes:
    """The task file. tasks: COLUMNS of annotations.tasks.rows, as text."""
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
        if asked["video"].is_not_null().any():  # a task without the key of the config would not be imported
            asked = asked.with_columns(pl.col("video").fill_null(""))
        listed = ",\n".join(json.dumps({"data": _worded(row)}, ensure_ascii=False) for row in _rows(asked))
        return f"[\n{listed}\n]\n".encode()
    return _lines(RECORDS[file_format](row) for row in _rows(asked))


def labelling_config(tasks: pl.DataFrame) -> bytes:
    """Label Studio's labelling config for the tasks: the video, the question, two answers, and who won."""
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


def _worded(row: dict[str, Any]) -> dict[str, Any]:
    """A task without what is not known, and with words where a text is missing."""
    texts = {name: row[name] or NO_TEXT for name in ("left_text", "right_text")}
    return {
        name: value for name, value in {**row, "question": row["question"] or "", **texts}.items() if value is not None
    }


def _prodigy(row: dict[str, Any]) -> dict[str, Any]:
    """A task of the choice interface: the answers are its options."""
    known = _worded(row)
    shown = {"left": known["left_text"], "right": known["right_text"]}
    options = [{"id": outcome, "text": shown.get(outcome, words)} for outcome, words in CHOICES]
    return {"text": known["question"], **known, "options": options}


def _argilla(row: dict[str, Any]) -> dict[str, Any]:
    """A record as ``dataset.records.log`` takes it, fields and metadata by their names."""
    return {"id": row["task_id"], **_worded(row)}


def _potato(row: dict[str, Any]) -> dict[str, Any]:
    """An instance whose id says what is compared: Potato gives nothing else back."""
    known = _worded(row)
    ids = "~".join(quote(row[name], safe="") for name in ("task_id", "prompt_id", "left", "right"))
    video = {"video": known["video"]} if "video" in known else {}
    return {"id": ids, "text": known["question"], **video, "responses": [known["left_text"], known["right_text"]]}


RECORDS: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "prodigy": _prodigy,
    "argilla": _argilla,
    "potato": _potato,
}


def _lines(records: Iterable[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records).encode()
