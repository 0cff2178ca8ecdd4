"""Potato: annotated_instances.jsonl (of one annotator or of all) and the CSV or TSV of all.

Shape: save_user_state and save_all_annotations in potato/flask_server.py of davidjurgens/potato and
docs/annotation-types/comparison/pairwise_annotation.md: {id, displayed_text, label_annotations, span_annotations,
behavioral_data}, label_annotations {scheme: {label: value}}; pairwise gives {"selection": "A" | "B" | "tie"} or
{"scale_value": "-2"}, below 0 for A; radio gives {label: value}. The table has user, instance_id and scheme:::label.

A is left. The export does not contain what was compared: ``curate plan --format potato`` writes it into the instance's
id. The annotator of a JSONL file is the folder that holds it, where Potato keeps one annotator's state; the store keeps
the path of the file and with it the name of that folder.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from typing import Any
from urllib.parse import unquote

from annotations.platforms.base import Head, Platform, Row, all_records, chunk_of, reject
from annotations.readers.files import VoteFile
from annotations.readers.formats import Chunk
from annotations.readers.json_text import decode, decode_object
from annotations.readers.outcomes import outcome_question

STATE_FILES = ("user_state.json", "annotation_order.txt", "assigned_user_data.json")
"""Files in the folder of one annotator."""
SIDES = {"a": "left", "b": "right", "no preference": "tie", "equal": "tie"}
DURATION = re.compile(r"(?:(\d+)d )?(?:(\d+)h )?(?:(\d+)m )?(\d+)s")
ID_FIELDS = ("task_id", "prompt_id", "left", "right")


def _recognizes(head: Head) -> bool:
    table = head.has("user", "instance_id") and any(":::" in name for name in head.columns)
    return table or (head.has("id", "label_annotations") and head.format in ("json", "jsonl"))


def _read(file: VoteFile, _: datetime) -> Iterator[Chunk]:
    folder = file.path.resolve().parent
    owner = folder.name if any((folder / name).exists() for name in STATE_FILES) else None
    records, lines, broken = all_records(file)
    outcome = outcome_question(sorted({name for record in records for name in _answers(record)}))
    yield chunk_of([_row(record, owner, outcome) for record in records], lines, broken)


def _row(record: dict[str, Any], owner: str | None, outcome: str | None) -> Row:
    """Return the row of one instance. outcome: the scheme that holds the outcome; None if the mapping must name it."""
    answers = {name: values for name, values in _answers(record).items() if values}
    values = answers.pop(outcome, {}) if outcome else {}
    instance = str(record.get("instance_id") or record.get("id") or "")
    parts = [unquote(part) for part in instance.split("~")]
    known = dict(zip(ID_FIELDS, parts, strict=True)) if len(parts) == len(ID_FIELDS) else {"prompt_id": instance}
    row: dict[str, Any] = {
        **known,
        **({"outcome": None} if outcome else {}),
        "annotator_id": record.get("user") or record.get("user_id") or owner,
        "seconds": _seconds(decode_object(record.get("behavioral_data"))),
        "potato.displayed_text": record.get("displayed_text"),
        **{f"potato.{name}": values for name, values in answers.items()},
    }
    if outcome is None:
        return row | {name: next(iter(_chosen(values)), None) for name, values in answers.items()}
    chosen = _chosen(values)
    if len(chosen) > 1:
        return row | reject("ambiguous-outcome", f"expected one answer, found {' and '.join(chosen)}")
    if "scale_value" in values:
        row["potato.scale_value"] = values["scale_value"]
    return row | {"outcome": chosen[0] if chosen else None}


def _answers(record: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return scheme -> {label: value}."""
    labels = decode(record.get("label_annotations"))
    if isinstance(labels, dict):
        return {name: answers for name, answers in labels.items() if isinstance(answers, dict)}
    found: dict[str, dict[str, Any]] = {}
    for name, value in record.items():
        scheme, parted, label = name.partition(":::")
        if parted and scheme != "span_annotation":
            own = found.setdefault(scheme, {})
            if value is not None:
                own[label] = value
    return found


def _chosen(values: dict[str, Any]) -> list[str]:
    """Return what was chosen, as an outcome if it is one: the selection, the sign of the scale, or the labels."""
    if "scale_value" in values:
        try:
            scale = float(values["scale_value"])
        except (TypeError, ValueError):
            return [str(values["scale_value"])]
        return ["left" if scale < 0 else "right" if scale > 0 else "tie"]
    words = [values["selection"]] if "selection" in values else list(values)
    return [SIDES.get(str(word).strip().lower(), str(word)) for word in words if word not in (None, "")]


def _seconds(behaviour: dict[str, Any]) -> Any:
    """Return the seconds on the instance, from "Time spent: 0d 0h 0m 12s " or total_time_ms."""
    if isinstance(ms := behaviour.get("total_time_ms"), int | float):
        return ms / 1000
    found = DURATION.search(str(behaviour.get("time_string", "")))
    if not found:
        return None
    days, hours, minutes, seconds = (int(part or 0) for part in found.groups())
    return ((days * 24 + hours) * 60 + minutes) * 60 + seconds


PLATFORM = Platform(
    name="potato",
    description="annotated_instances as JSONL, CSV or TSV, with the pairwise or the radio scheme",
    detected_by="id and label_annotations; or user, instance_id and columns scheme:::label",
    sides="known: A is left",
    dropped="interaction events, except the total time; spans",
    recognizes=_recognizes,
    read=_read,
)
