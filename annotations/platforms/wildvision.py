"""Logs of arena servers: WildVision Arena and other descendants of FastChat write one event per line.

Shape: vote_last_response in fastchat/serve/gradio_block_arena_anony.py and in WildVision-AI/WildVision-Arena, and its
2024-06-28-conv.json: {tstamp, type, models, states, ip}; type is leftvote, rightvote, tievote or bothbad_vote, or an
event that is not a battle (chat, upvote, flag, ...). ``models`` holds empty strings if the models were hidden; then the
states name them. A state's messages are [role, text]; those before ``offset`` are not part of the conversation.

Left and right are the sides on the screen. Voters are identified only by their address, which becomes a pseudonym.
"""

from __future__ import annotations

from typing import Any

import polars as pl

from annotations.platforms.base import SKIPPED, Head, Platform, by_columns, first_of, with_missing
from annotations.readers.json_text import query

OUTCOMES = {
    "leftvote": "left",
    "rightvote": "right",
    "tievote": "tie",
    "bothbad_vote": "both_bad",
    "bothbadvote": "both_bad",
}
SIDES = ("left", "right")
READ = ("tstamp", "type", "models", "states", "state", "ip")
MARKUP = "^(### Model A: )?(### Model B: )?(Model A: )?(Model B: )?"
"""What the page writes before the name of a model."""
LISTED = """'",['"""
"""In states in which some text is in a list; only these pay for decoding every text."""


def _recognizes(head: Head) -> bool:
    return any(str(r.get("type")) in OUTCOMES and isinstance(r.get("states"), list) for r in head.records) or (
        head.has("tstamp", "type", "ip") and head.has("state") and any("conv_id" in _state(r) for r in head.records)
    )


def _state(record: dict[str, Any]) -> dict[str, Any]:
    state = record.get("state")
    return state if isinstance(state, dict) else {}


def _rows(events: pl.DataFrame) -> pl.DataFrame:
    kind = first_of(events, "type")
    battles = events.hstack(_of_states(with_missing(events, "models", "states").select("models", "states")))
    columns = {
        SKIPPED: pl.when(~kind.is_in(list(OUTCOMES)).fill_null(False)).then(kind.fill_null("lines without a type")),
        "outcome": kind.replace_strict(OUTCOMES, default=None, return_dtype=pl.String),
        "voted_at": first_of(events, "tstamp"),
        "annotator_id": first_of(events, "ip"),
        "prompt_id": pl.col("state.conv_id"),
        "question": pl.col("state.question"),
    }
    for i, side in enumerate(SIDES):
        shown = pl.col(f"state.shown_{side}").str.replace(MARKUP, "").str.strip_chars()
        named = pl.when(~shown.is_in(["", "Model A", "Model B"])).then(shown)
        model = pl.coalesce(named, f"state.model_{side}")
        columns |= {side: model, f"model_{side}": model, f"text_{'ab'[i]}": pl.col(f"state.text_{side}")}
    rest = {f"log.{name}": pl.col(name) for name in events.columns if name not in READ}
    return battles.select(**columns, **rest)


def _of_states(battles: pl.DataFrame) -> pl.DataFrame:
    """Return the conversation's id and question, and of each side the model and what it said."""
    sides = ", ".join(
        f"""models[{i}] AS "state.shown_{side}", states[{i}].model_name AS "state.model_{side}",
            {_said(i, 0)} AS "state.text_{side}\""""
        for i, side in enumerate(SIDES, start=1)
    )
    return query(
        f"""
        WITH parsed AS (
            SELECT TRY(from_json(models, '["VARCHAR"]')) AS models, {_states("VARCHAR")} AS states,
                   CASE WHEN contains(states, {LISTED}) THEN {_states("JSON")} END AS listed
              FROM chunk)
        SELECT states[1].conv_id AS "state.conv_id", {_said(1, 1)} AS "state.question", {sides} FROM parsed
        """,
        chunk=battles,
    )


def _states(text: str) -> str:
    """Return SQL for the states with their texts as this type."""
    fields = f'"conv_id": "VARCHAR", "model_name": "VARCHAR", "offset": "BIGINT", "messages": [["{text}"]]'
    return f"TRY(from_json(states, '[{{{fields}}}]'))"


def _said(side: int, parity: int) -> str:
    """Return SQL for the texts of every second message [role, text] after the offset; a text may begin a list."""

    def texts(states: str, text: str) -> str:
        messages = f"{states}[{side}].messages[coalesce({states}[{side}].offset, 0) + 1:]"
        own = f"list_filter({messages}, lambda message, place: place % 2 = {parity})"
        return f"list_transform({own}, lambda message: nullif({text}, ''))"

    listed = texts("listed", "coalesce(string(message[2]), string(message[2] -> '$[0]'))")
    return f"""array_to_string(CASE WHEN listed IS NULL THEN {texts("states", "message[2]")} ELSE {listed} END,
                               chr(10) || chr(10))"""


PLATFORM = Platform(
    name="wildvision",
    description="vote logs of WildVision Arena and other servers that descend from FastChat (JSONL)",
    detected_by="lines of type leftvote, rightvote, tievote or bothbad_vote with states",
    sides="known",
    dropped="addresses; the states, except the question and the two responses; events that are not battles",
    recognizes=_recognizes,
    read=by_columns(_rows),
)
