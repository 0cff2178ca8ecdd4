"""Prodigy: the JSONL of ``prodigy db-out`` with the choice interface.

Shape: prodi.gy/docs/api-interfaces#choice and recipes/other/choice.py of explosion/prodigy-recipes: a task with
``options`` ([{id, text}, ...]), ``accept`` (ids of those chosen), ``answer`` (accept, reject, ignore), hashes, and
``_session_id`` and ``_annotator_id``, which are the data set's name, a hyphen, and the session's name.

Options are shown in their order, the first on top or left. Where ids name outcomes (left, right, tie) they are it;
else the two that are no word for a tie stand for the first and the second response. An answer of ignore or reject is
no tie.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from annotations.platforms.base import Platform, Row, chunk_of, listing, nested, records_of, reject
from annotations.platforms.questions import beside, is_undecided
from annotations.platforms.sniffing import Head
from annotations.readers.chunks import Chunk
from annotations.readers.files import VoteFile

KNOWN = ("options", "accept", "answer", "_session_id", "_annotator_id", "_timestamp", "_input_hash", "_task_hash")
SIDES = ("left", "right")


def _recognises(head: Head) -> bool:
    return head.has("_task_hash", "answer", "accept", "options")


def _read(file: VoteFile) -> Iterator[Chunk]:
    prefix = _prefix(file)
    for lines, records, broken in records_of(file):
        yield chunk_of([_row(record, prefix) for record in records], lines, broken)


def _prefix(file: VoteFile) -> str:
    """The data set's name and a hyphen, which its annotators' ids begin with; empty where that cannot be told.

    It is the name of the file (``prodigy db-out answers > answers.jsonl``), or what all ids of the file share.
    """
    people = {_who(record) for _, records, _ in records_of(file) for record in records} - {""}
    named = file.path.name.removesuffix(".gz").rpartition(".")[0] + "-"
    if people and all(who.startswith(named) and who != named for who in people):
        return named
    if len(people) < 2:
        return ""
    first, last = min(people), max(people)
    same = [a == b for a, b in zip(first, last, strict=False)]
    shared = first[: [*same, False].index(False)]
    return shared[: shared.rfind("-") + 1]


def _who(record: dict[str, Any]) -> str:
    return str(record.get("_annotator_id") or record.get("_session_id") or "")


def _row(record: dict[str, Any], prefix: str) -> Row:
    options = [o for o in listing(record.get("options")) if isinstance(o, dict)]
    accepted = nested(record.get("accept"))
    chosen = list(accepted) if isinstance(accepted, list) else [] if accepted is None else [accepted]
    row: dict[str, Any] = {
        "outcome": None,
        "annotator_id": _who(record).removeprefix(prefix),
        "voted_at": record.get("_timestamp"),
        **_responses(record, options),
    }
    answer = str(record.get("answer") or "")
    if answer in ("ignore", "reject"):
        row |= reject("cancelled", f"the answer is {answer}")
    elif len(chosen) > 1:
        row |= reject("ambiguous-outcome", f"the annotator accepted {' and '.join(map(str, chosen))}")
    elif chosen:
        row["outcome"] = _outcome(options, chosen[0])
    data = {name: value for name, value in record.items() if name not in KNOWN}
    return beside(row, data, "data.")


def _plain(options: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The options that are a response."""
    return [o for o in options if not is_undecided(o.get("id")) and not is_undecided(o.get("text"))]


def _outcome(options: list[dict[str, Any]], chosen: Any) -> str | None:
    """left, right, or the word of the option that was accepted."""
    plain = [str(option.get("id")) for option in _plain(options)]
    if str(chosen) in plain and len(plain) == 2:
        return SIDES[plain.index(str(chosen))]
    text = next((option.get("text") for option in options if str(option.get("id")) == str(chosen)), None)
    return str(text) if not is_undecided(chosen) and is_undecided(text) else str(chosen)


def _responses(record: dict[str, Any], options: list[dict[str, Any]]) -> dict[str, Any]:
    """left and right with their texts, where the task does not name them itself and its options do."""
    plain = _plain(options)
    if any(record.get(name) for name in ("left", "response_a", "model_a")) or len(plain) != 2:
        return {}
    found: dict[str, Any] = {}
    for side, option in zip(SIDES, plain, strict=True):
        name = option.get("response_id") or option.get("model") or option.get("id")
        if name is None or str(name).isdigit() or str(name).lower() in SIDES:
            return {}
        found |= {side: name, f"{side}_text": option.get("text"), f"model_{side}": option.get("model")}
    return found


PLATFORM = Platform(
    name="prodigy",
    about="JSONL of prodigy db-out with the choice interface",
    told_by="the keys _task_hash, answer, accept and options",
    sides="shown: options stand in their order",
    dropped="the data set's name in annotators' ids; hashes",
    recognises=_recognises,
    read=_read,
)
