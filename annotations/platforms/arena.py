"""Arena releases: one battle a row, with both conversations (Chatbot Arena, MT-bench, WildVision, Arena 55k to 140k).

Shapes: fastchat/serve/monitor/clean_battle_data.py (question_id, model_a, model_b, winner, judge or judge_hash,
conversation_a, conversation_b, turn, anony, language, tstamp), MT-bench's human judgments (the same without time: one
row for each turn judged), and the 55k release (prompt, response_a, response_b as JSON lists; winner_model_a,
winner_model_b, winner_tie). Responses are named after their models.

In the arenas model_a stood left. Of MT-bench, which says no time, that is not known; there a turn past the first is a
prompt of its own. ``tie (bothbad)`` is both_bad. Judges have no names in releases; one that holds an IP address
(``arena_user_10.1.2.3``) becomes a pseudonym.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from annotations.platforms.base import Platform, Record, Row, by_record, nested, reject
from annotations.platforms.conversations import spoken
from annotations.platforms.sniffing import Head

SPREAD = ("winner_model_a", "winner_model_b", "winner_tie")
CONVERSATIONS = ("conversation_a", "conversation_b")
READ = ("question_id", "id", "model_a", "model_b", "winner", "judge", "judge_hash", "tstamp", "timestamp", "turn")
BULKY = (*CONVERSATIONS, "full_conversation", "conversation", *SPREAD, "prompt", "response_a", "response_b")
SHOWN = {"model_a": "left", "model_b": "right"}


def _recognises(head: Head) -> bool:
    if not head.has("model_a", "model_b"):
        return False
    spread = head.has(*SPREAD, "response_a", "response_b")
    judged = head.has("question_id", "winner", "turn", "anony") and bool(head.columns & {"judge", "judge_hash"})
    return spread or (head.has("winner") and (head.has(*CONVERSATIONS) or judged))


def _rows(record: Record) -> Iterator[Row]:
    prompt = record.get("question_id") or record.get("id")
    when = record.get("tstamp") or record.get("timestamp")
    live = when is not None or all(name in record for name in SPREAD)
    turn = int(record["turn"]) if str(record.get("turn") or "").isdigit() else None
    winner = _winner(record)
    row: dict[str, Any] = {
        "prompt_id": prompt if live or turn in (None, 1) else f"{prompt}-turn-{turn}",
        "annotator_id": record.get("judge_hash") or record.get("judge"),
        "voted_at": when,
        **_said(record, None if live else turn),
    }
    names = {"left": record.get("model_a"), "right": record.get("model_b")}
    if live:
        models = {f"model_{side}": name for side, name in names.items()}
        row |= {**names, **models, "outcome": SHOWN.get(winner or "", winner)}
    else:
        row |= {"model_a": names["left"], "model_b": names["right"], "outcome": winner}
    if winner == "":
        row |= reject("ambiguous-outcome", "more than one of the columns winner_... is 1")
    rest = {name: value for name, value in record.items() if name not in (*READ, *BULKY)}
    yield {**row, **{f"arena.{name}": value for name, value in rest.items()}, "arena.turn": record.get("turn")}


def _winner(record: Record) -> str | None:
    """The word for who won; empty where the columns of a spread outcome name more than one."""
    if record.get("winner") is not None or not all(name in record for name in SPREAD):
        winner = record.get("winner")
        return None if winner is None else str(winner)
    won = [name.removeprefix("winner_") for name in SPREAD if str(record[name]).lower() in ("1", "1.0", "true")]
    return won[0] if len(won) == 1 else "" if won else None


def _said(record: Record, turns: int | None) -> dict[str, str | None]:
    """The question and both answers."""
    if "conversation_a" in record:
        a, b = (nested(record.get(name)) for name in CONVERSATIONS)
        return {
            "question": spoken(a, "user", turns),
            "text_a": spoken(a, "assistant", turns),
            "text_b": spoken(b, "assistant", turns),
        }
    return {
        field: _joined(record.get(name))
        for field, name in (("question", "prompt"), ("text_a", "response_a"), ("text_b", "response_b"))
    }


def _joined(value: Any) -> str | None:
    """The turns of a JSON list as one text."""
    turns = nested(value)
    if isinstance(turns, list):
        return "\n\n".join(turn for turn in turns if isinstance(turn, str)) or None
    return value if isinstance(value, str) else None


PLATFORM = Platform(
    name="arena",
    about="releases of arenas: Chatbot Arena, MT-bench judgments, WildVision Arena, Arena human preference 55k to 140k",
    told_by="model_a, model_b and a winner (one column or three), beside both conversations or both responses",
    sides="shown: model_a stood left; not said of MT-bench judgments",
    dropped="the conversations, but for the question and the two answers",
    recognises=_recognises,
    read=by_record(_rows),
    people=False,
)
