"""Arena releases: one battle per row, with both conversations (Chatbot Arena, MT-bench, WildVision, Arena 55k to 140k).

Shapes: fastchat/serve/monitor/clean_battle_data.py (question_id, model_a, model_b, winner, judge or judge_hash,
conversation_a, conversation_b, turn, anony, language, tstamp), MT-bench's human judgments (the same without time, one
row per judged turn), and the 55k release (prompt, response_a, response_b as JSON lists; winner_model_a, winner_model_b,
winner_tie). The id of a response is its model.

Arenas show model_a on the left. MT-bench has no time and does not state sides; there each later turn is a separate
prompt. ``tie (bothbad)`` is both_bad. Judges are anonymous in releases; an id that contains an IP address
(``arena_user_10.1.2.3``) becomes a pseudonym.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from annotations.platforms.base import Head, Platform, Record, Row, by_record, reject
from annotations.readers.json_text import decode

WINNER_COLUMNS = ("winner_model_a", "winner_model_b", "winner_tie")
CONVERSATIONS = ("conversation_a", "conversation_b")
READ = ("question_id", "id", "model_a", "model_b", "winner", "judge", "judge_hash", "tstamp", "timestamp", "turn")
BULKY = (*CONVERSATIONS, "full_conversation", "conversation", *WINNER_COLUMNS, "prompt", "response_a", "response_b")
SIDES = {"model_a": "left", "model_b": "right"}


def _recognizes(head: Head) -> bool:
    if not head.has("model_a", "model_b"):
        return False
    spread = head.has(*WINNER_COLUMNS, "response_a", "response_b")
    judged = head.has("question_id", "winner", "turn", "anony") and bool(head.columns & {"judge", "judge_hash"})
    return spread or (head.has("winner") and (head.has(*CONVERSATIONS) or judged))


def _rows(record: Record) -> Iterator[Row]:
    prompt = record.get("question_id") or record.get("id")
    when = record.get("tstamp") or record.get("timestamp")
    live = when is not None or all(name in record for name in WINNER_COLUMNS)
    turn = int(record["turn"]) if str(record.get("turn") or "").isdigit() else None
    winner = _winner(record)
    row: dict[str, Any] = {
        "prompt_id": prompt if live or turn in (None, 1) else f"{prompt}-turn-{turn}",
        "annotator_id": record.get("judge_hash") or record.get("judge"),
        "voted_at": when,
        **_texts(record, None if live else turn),
    }
    names = {"left": record.get("model_a"), "right": record.get("model_b")}
    if live:
        models = {f"model_{side}": name for side, name in names.items()}
        row |= {**names, **models, "outcome": SIDES.get(winner or "", winner)}
    else:
        row |= {"model_a": names["left"], "model_b": names["right"], "outcome": winner}
    if winner == "":
        row |= reject("ambiguous-outcome", "several of the columns winner_... are 1")
    rest = {name: value for name, value in record.items() if name not in (*READ, *BULKY)}
    yield {**row, **{f"arena.{name}": value for name, value in rest.items()}, "arena.turn": record.get("turn")}


def _winner(record: Record) -> str | None:
    """Return the winner as spelled; empty if several of the winner_… columns are 1."""
    if record.get("winner") is not None or not all(name in record for name in WINNER_COLUMNS):
        winner = record.get("winner")
        return None if winner is None else str(winner)
    won = [name.removeprefix("winner_") for name in WINNER_COLUMNS if str(record[name]).lower() in ("1", "1.0", "true")]
    return won[0] if len(won) == 1 else "" if won else None


def _texts(record: Record, turns: int | None) -> dict[str, str | None]:
    """Return the question and both responses, of the first ``turns`` turns (all if None)."""
    if "conversation_a" in record:
        a, b = (decode(record.get(name)) for name in CONVERSATIONS)
        return {
            "question": _messages(a, "user", turns),
            "text_a": _messages(a, "assistant", turns),
            "text_b": _messages(b, "assistant", turns),
        }
    return {
        field: _joined(record.get(name))
        for field, name in (("question", "prompt"), ("text_a", "response_a"), ("text_b", "response_b"))
    }


def _joined(value: Any) -> str | None:
    """Return the turns of a JSON list as one text."""
    turns = decode(value)
    if isinstance(turns, list):
        return "\n\n".join(turn for turn in turns if isinstance(turn, str)) or None
    return value if isinstance(value, str) else None


def _messages(conversation: Any, role: str, turns: int | None) -> str | None:
    """Return all messages of a role (user, assistant) in the first ``turns`` turns as one text; None if empty.

    conversation: [{role, content}, ...], content a text or a list of parts, some of which are text.
    """
    messages = decode(conversation)
    if not isinstance(messages, list):
        return None
    own = [m for m in messages if isinstance(m, dict) and m.get("role") == role]
    texts = [_content(m.get("content")) for m in own[:turns]]
    return "\n\n".join(text for text in texts if text) or None


def _content(content: Any) -> str:
    content = decode(content)
    if isinstance(content, list):
        parts = [part.get("text") if isinstance(part, dict) else part for part in content]
        return "\n".join(part for part in parts if isinstance(part, str))
    return content if isinstance(content, str) else ""


PLATFORM = Platform(
    name="arena",
    description="releases of Chatbot Arena, MT-bench judgments, WildVision Arena, Arena human preference 55k to 140k",
    detected_by="model_a, model_b and a winner (one column or three), with both conversations or both responses",
    sides="known: model_a is left; unknown for MT-bench judgments",
    dropped="the conversations, except the question and the two responses",
    recognizes=_recognizes,
    read=by_record(_rows),
    personal_ids=False,
)
