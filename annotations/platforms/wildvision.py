"""Logs of arena servers: WildVision Arena and other descendants of FastChat write one event per line.

Shape: vote_last_response in fastchat/serve/gradio_block_arena_anony.py and in WildVision-AI/WildVision-Arena, and its
2024-06-28-conv.json: {tstamp, type, models, states, ip}; type is leftvote, rightvote, tievote or bothbad_vote, or an
event that is not a battle (chat, upvote, flag, ...). ``models`` holds empty strings if the models were hidden; then the
states name them. A state's messages are [role, text]; those before ``offset`` are not part of the conversation.

Left and right are the sides on the screen. Voters are identified only by their address, which becomes a pseudonym.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from annotations.platforms.base import SKIPPED, Head, Platform, Record, Row, by_record
from annotations.readers.json_text import decode_list, decode_object

OUTCOMES = {
    "leftvote": "left",
    "rightvote": "right",
    "tievote": "tie",
    "bothbad_vote": "both_bad",
    "bothbadvote": "both_bad",
}
SIDES = ("left", "right")
READ = ("tstamp", "type", "models", "states", "ip")


def _recognizes(head: Head) -> bool:
    return any(str(r.get("type")) in OUTCOMES and isinstance(r.get("states"), list) for r in head.records) or (
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
    states = [decode_object(state) for state in decode_list(record.get("states"))]
    models = [_name(model) for model in decode_list(record.get("models"))]
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
        messages = decode_list(state.get("messages"))[offset if isinstance(offset, int) else 0 :]
        row |= {side: model, f"model_{side}": model, f"text_{'ab'[i]}": _texts(messages[1::2])}
        if i == 0:
            row |= {"prompt_id": state.get("conv_id"), "question": _texts(messages[0::2])}
    yield {**row, **{f"log.{name}": value for name, value in record.items() if name not in READ and name != "state"}}


def _name(model: Any) -> str:
    """Return a model's name without the page's markup."""
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
    description="vote logs of WildVision Arena and other servers that descend from FastChat (JSONL)",
    detected_by="lines of type leftvote, rightvote, tievote or bothbad_vote with states",
    sides="known",
    dropped="addresses; the states, except the question and the two responses; events that are not battles",
    recognizes=_recognizes,
    read=by_record(_rows),
)
