"""Prodigy: the JSONL of ``prodigy db-out`` with the choice interface.

Shape: prodi.gy/docs/api-interfaces#choice and recipes/other/choice.py of explosion/prodigy-recipes: a task with
``options`` ([{id, text}, ...]), ``accept`` (ids of those chosen), ``answer`` (accept, reject, ignore), hashes, and
``_session_id`` and ``_annotator_id``, which are the data set's name, a hyphen, and the session's name.

Options are shown in their order, the first on top or left. Option ids that are outcomes (left, right, tie) are read as
such; otherwise the two options that are not a word for a tie are the first and the second response. The answers ignore
and reject are not ties.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

from annotations.platforms.base import Head, Platform, Row, all_records, chunk_of, reject, with_data
from annotations.readers.files import VoteFile
from annotations.readers.formats import Chunk
from annotations.readers.json_text import decode, decode_list
from annotations.readers.outcomes import is_undecided

KNOWN = ("options", "accept", "answer", "_session_id", "_annotator_id", "_timestamp", "_input_hash", "_task_hash")
SIDES = ("left", "right")


def _recognizes(head: Head) -> bool:
    return head.has("_task_hash", "answer", "accept", "options")


def _read(file: VoteFile, _: datetime) -> Iterator[Chunk]:
    records, lines, broken = all_records(file)
    prefix = _prefix(file.path.name, records)
    yield chunk_of([_row(record, prefix) for record in records], lines, broken)


def _prefix(filename: str, records: Iterable[dict[str, Any]]) -> str:
    """Return the data set's name and a hyphen, with which its annotators' ids start; empty if unknown.

    It is the name of the file (``prodigy db-out answers > answers.jsonl``) or the common prefix of all ids.
    """
    people = {_annotator(record) for record in records} - {""}
    named = filename.removesuffix(".gz").rpartition(".")[0] + "-"
    if people and all(who.startswith(named) and who != named for who in people):
        return named
    if len(people) < 2:
        return ""
    first, last = min(people), max(people)
    same = [a == b for a, b in zip(first, last, strict=False)]
    shared = first[: [*same, False].index(False)]
    return shared[: shared.rfind("-") + 1]


def _annotator(record: dict[str, Any]) -> str:
    return str(record.get("_annotator_id") or record.get("_session_id") or "")


def _row(record: dict[str, Any], prefix: str) -> Row:
    options = [o for o in decode_list(record.get("options")) if isinstance(o, dict)]
    accepted = decode(record.get("accept"))
    chosen = list(accepted) if isinstance(accepted, list) else [] if accepted is None else [accepted]
    row: dict[str, Any] = {
        "outcome": None,
        "annotator_id": _annotator(record).removeprefix(prefix),
        "voted_at": record.get("_timestamp"),
        **_responses(record, options),
    }
    answer = str(record.get("answer") or "")
    if answer in ("ignore", "reject"):
        row |= reject("cancelled", f"the answer is {answer}")
    elif len(chosen) > 1:
        row |= reject("ambiguous-outcome", f"expected one answer, found {' and '.join(map(str, chosen))}")
    elif chosen:
        row["outcome"] = _outcome(options, chosen[0])
    data = {name: value for name, value in record.items() if name not in KNOWN}
    return with_data(row, data, "data.")


def _response_options(options: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the options that are a response, not a tie."""
    return [o for o in options if not is_undecided(o.get("id")) and not is_undecided(o.get("text"))]


def _outcome(options: list[dict[str, Any]], chosen: Any) -> str | None:
    """Return left, right, or the text of the accepted option."""
    responses = [str(option.get("id")) for option in _response_options(options)]
    if str(chosen) in responses and len(responses) == 2:
        return SIDES[responses.index(str(chosen))]
    text = next((option.get("text") for option in options if str(option.get("id")) == str(chosen)), None)
    return str(text) if not is_undecided(chosen) and is_undecided(text) else str(chosen)


def _responses(record: dict[str, Any], options: list[dict[str, Any]]) -> dict[str, Any]:
    """Return left and right with their texts if the options name them and the task does not."""
    responses = _response_options(options)
    if any(record.get(name) for name in ("left", "response_a", "model_a")) or len(responses) != 2:
        return {}
    found: dict[str, Any] = {}
    for side, option in zip(SIDES, responses, strict=True):
        name = option.get("response_id") or option.get("model") or option.get("id")
        if name is None or str(name).isdigit() or str(name).lower() in SIDES:
            return {}
        found |= {side: name, f"{side}_text": option.get("text"), f"model_{side}": option.get("model")}
    return found


PLATFORM = Platform(
    name="prodigy",
    description="JSONL of prodigy db-out with the choice interface",
    detected_by="the keys _task_hash, answer, accept and options",
    sides="known: options are shown in their order",
    dropped="the data set's name in annotators' ids; hashes",
    recognizes=_recognizes,
    read=_read,
)
