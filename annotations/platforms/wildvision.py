"""Logs of arena servers: WildVision Arena and all that descend from FastChat write one event a line.

Shape: vote_last_response in fastchat/serve/gradio_block_arena_anony.py and in WildVision-AI/WildVision-Arena, and its
2024-06-28-conv.json: {tstamp, type, models, states, ip}; type is leftvote, rightvote, tievote or bothbad_vote, or an
event that is no battle (chat, upvote, flag, ...). ``models`` is empty strings where the models were hidden: they stand
in the states. A state's messages are [role, text], of which those before ``offset`` are no part of the conversation.

Left and right are what was shown. Voters are known by their address only: it becomes a pseudonym.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from annotations.platforms.base import SKIPPED, Platform, Record, Row, by_record, listing, mapping
from annotations.platforms.sniffing import Head

OUTCOMES = {
    "leftvote": "left",
    "rightvote": "right",
    "tievote": "tie",
    "bothbad_vote": "both_bad",
    "bothbadvote": "both_bad",
}
SIDES = ("left", "right")
READ = ("tstamp", "type", "models", "states", "ip")


def _recognises(head: Head) -> bool:
    return any(r.get("type") in OUTCOMES and isinstance(r.get("states"), list) for r in head.records) or (
        head.has("tstamp", "type", "ip") and head.has("state") and any("conv_id" in _state(r) for r in head.records)
    )


def _state(record: dict[str, Any]) -> dict[str, Any]:
    state = record.get("state")
    return state if isinstance(state, dict) else {}


def _rows(record: Record) -> Iterator[Row]:
    kind = str(record.get("type"))
    if kind not in OUTCOMES:
        yield {SKIPPED: kind}
        return
    states = [mapping(state) for state in listing(record.get("states"))]
    models = [_name(model) for model in listing(record.get("models"))]
    row: dict[str, Any] = {
        "outcome": OUTCOMES[kind],
        "voted_at": record.get("tstamp"),
        "annotator_id": record.get("ip"),
    }
    for i, side in enumerate(SIDES):
        state = states[i] if i < len(states) else {}
        hidden = state.get("model_name") or None
        model = (models[i] if i < len(models) else "") or hidden
        offset = state.get("offset")
        said = listing(state.get("messages"))[offset if isinstance(offset, int) else 0 :]
        row |= {side: model, f"model_{side}": model, f"text_{'ab'[i]}": _texts(said[1::2])}
        if i == 0:
            row |= {"prompt_id": state.get("conv_id"), "question": _texts(said[0::2])}
    yield {**row, **{f"log.{name}": value for name, value in record.items() if name not in READ and name != "state"}}


def _name(model: Any) -> str:
    """A model's name without what the page wrote around it."""
    text = str(model or "")
    for start in ("### Model A: ", "### Model B: ", "Model A: ", "Model B: "):
        text = text.removeprefix(start)
    return "" if text in ("Model A", "Model B") else text.strip()


def _texts(messages: list[Any]) -> str | None:
    texts = [message[1] for message in messages if isinstance(message, list) and len(message) > 1]
    texts = [text[0] if isinstance(text, list) and text else text for text in texts]
    return "\n\n".join(text for text in texts if isinstance(text, str) and text) or None


PLATFORM = Platform(
    name="wildvision",
    about="vote logs of WildVision Arena and other servers that descend from FastChat (JSONL)",
    told_by="lines of type leftvote, rightvote, tievote or bothbad_vote with states",
    sides="shown",
    dropped="addresses; the states, but for the question and the two answers; events that are no battle",
    recognises=_recognises,
    read=by_record(_rows),
)
