"""K-wise sets: one annotator ranks K responses at once, as in K-Sort Arena.

K-Sort Arena (arXiv 2408.14468) shows K = 4 videos or images at a time and records their ranks; we know of no published
file of its raw votes. Two shapes of such sets are read: one column per response (model_1, rank_1, model_2, rank_2, ...,
also with letters), and the log of a server that descends from FastChat (models, ranks, states, tstamp). Rank 1 is best;
equal ranks are ties. A table with ``responses`` and ``rankings`` needs no platform.

Sides are unknown: none of K responses is left.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from annotations.platforms.base import SKIPPED, Head, Platform, Record, Row, by_record, reject
from annotations.readers.json_text import decode, decode_list, decode_object

NAMES, RANKS = ("model", "response", "candidate"), ("rank", "ranking")
SLOT = re.compile(r"(model|response|candidate|rank|ranking)_?([0-9]+|[a-z])")
LISTS = ("ranks", "rank", "ranking", "rankings", "models_rank")
PROMPTS = ("prompt", "question", "text_input")


def _recognizes(head: Head) -> bool:
    slots = [SLOT.fullmatch(name) for name in head.columns]
    ranked = {found[2] for found in slots if found and found[1] in RANKS}
    named = {found[2] for found in slots if found and found[1] in NAMES}
    log = head.has("models", "tstamp") and any(isinstance(r.get(n), list) for r in head.records for n in LISTS)
    return log or len(ranked & named) > 2


def _rows(record: Record) -> Iterator[Row]:
    read = ["models", "tstamp", "states", *LISTS, *PROMPTS]
    names, ranks = decode(record.get("models")), next((decode(record[n]) for n in LISTS if record.get(n)), None)
    if not isinstance(names, list):
        slots = _slots(record)
        read += [name for name in record if SLOT.fullmatch(name)]
        names, ranks = [name for name, _ in slots], [rank for _, rank in slots]
    elif ranks is None:
        yield {SKIPPED: str(record.get("type") or "lines without ranks")}
        return
    states = decode_list(record.get("states"))
    first = decode_object(states[0] if states else None)
    question = next((record[name] for name in PROMPTS if record.get(name)), first.get("prompt"))
    row: dict[str, Any] = {
        "prompt_id": record.get("prompt_id") or record.get("question_id") or first.get("conv_id") or question,
        "question": question,
        "responses": names,
        "rankings": ranks,
        "annotator_id": record.get("annotator_id") or record.get("user_id") or record.get("ip"),
        "voted_at": record.get("tstamp") or record.get("timestamp"),
    }
    if any(rank is None for rank in ranks if isinstance(ranks, list)):
        row |= reject("no-answer", "a response has no rank")
    read += [] if record.get("annotator_id") or record.get("user_id") else ["ip"]
    own = (*row, *read, "question_id", "user_id", "timestamp")
    yield {**row, **{f"k_wise.{name}": value for name, value in record.items() if name not in own}}


def _slots(record: Record) -> list[tuple[Any, Any]]:
    """Return (response, rank) of each numbered column pair that is filled."""
    found: dict[str, dict[str, Any]] = {}
    for name, value in record.items():
        if slot := SLOT.fullmatch(name):
            found.setdefault(slot[2], {})["rank" if slot[1] in RANKS else slot[1]] = value
    taken = [
        (next((own[n] for n in ("response", "candidate", "model") if own.get(n)), None), own.get("rank"))
        for own in found.values()
    ]
    return [(name, rank) for name, rank in taken if name is not None]


PLATFORM = Platform(
    name="k-wise",
    description="rankings of K responses with one column per response, or as a server's log (K-Sort Arena)",
    detected_by="three or more pairs of columns like model_1 and rank_1; or models and ranks with tstamp",
    sides="unknown",
    dropped="addresses; the states of a log, except the prompt",
    recognizes=_recognizes,
    read=by_record(_rows),
)
