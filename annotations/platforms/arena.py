"""Arena releases: one battle per row, with both conversations (Chatbot Arena, MT-bench, WildVision, Arena 55k to 140k).

Shapes: fastchat/serve/monitor/clean_battle_data.py (question_id, model_a, model_b, winner, judge or judge_hash,
conversation_a, conversation_b, turn, anony, language, tstamp), which is also lmarena-ai/arena-human-preference-100k;
lmsys/mt_bench_human_judgments (the same without time, one row per judged turn); the 55k release (prompt, response_a,
response_b as JSON lists; winner_model_a, winner_model_b, winner_tie); arena-human-preference-140k (id,
evaluation_session_id, evaluation_order, timestamp, no judge; a message's content is a list of {type, text, image}). The
columns were compared with the releases' cards and with public code that reads them. A response's id is its model.

Arenas show model_a on the left. MT-bench has no time and does not state sides; there each later turn is a separate
prompt. ``tie (bothbad)`` and ``both_bad`` are both_bad. Battles of one evaluation session share a group_id. Judges are
anonymous in releases; an id that contains an IP address (``arena_user_10.1.2.3``) becomes a pseudonym.
"""

from __future__ import annotations

import polars as pl

from annotations.platforms.base import Head, Platform, by_columns, first_of
from annotations.readers.json_text import query

WINNER_COLUMNS = ("winner_model_a", "winner_model_b", "winner_tie")
CONVERSATIONS = ("conversation_a", "conversation_b")
IDS, JUDGES, TIMES = ("question_id", "id"), ("judge_hash", "judge"), ("tstamp", "timestamp")
SESSION = "evaluation_session_id"
TEXTS = {"question": "prompt", "text_a": "response_a", "text_b": "response_b"}
READ = (*IDS, *JUDGES, *TIMES, SESSION, "model_a", "model_b", "winner", "turn")
BULKY = (*CONVERSATIONS, "full_conversation", "conversation", *WINNER_COLUMNS, *TEXTS.values())
PARTS = r'"content"\s*:\s*[^"\s]'
"""Matches a conversation in which some content is not a text."""
TRUE = ("1", "1.0", "true")


def _recognizes(head: Head) -> bool:
    if not head.has("model_a", "model_b"):
        return False
    spread = head.has(*WINNER_COLUMNS, "response_a", "response_b")
    judged = head.has("question_id", "winner", "turn", "anony") and bool(head.columns & {"judge", "judge_hash"})
    return spread or (head.has("winner") and (head.has(*CONVERSATIONS) or judged))


def _rows(battles: pl.DataFrame) -> pl.DataFrame:
    spread = set(WINNER_COLUMNS).issubset(battles.columns)
    live = spread or any(battles[name].count() for name in TIMES if name in battles.columns)
    turn = first_of(battles, "turn").cast(pl.Int64, strict=False)
    prompt, winner = first_of(battles, *IDS), first_of(battles, "winner")
    later = pl.when(turn > 1).then(prompt + "-turn-" + turn.cast(pl.String)).otherwise(prompt)
    columns = {
        "prompt_id": prompt if live else later,
        "annotator_id": first_of(battles, *JUDGES),
        "voted_at": first_of(battles, *TIMES),
    }
    if SESSION in battles.columns:
        columns["group_id"] = pl.col(SESSION)
    if spread:
        won = [pl.col(name).str.to_lowercase().is_in(TRUE).fill_null(False) for name in WINNER_COLUMNS]
        one = pl.sum_horizontal(won) == 1
        found = [pl.when(won[i] & one).then(pl.lit(name[len("winner_") :])) for i, name in enumerate(WINNER_COLUMNS)]
        several = winner.is_null() & (pl.sum_horizontal(won) > 1)
        winner = pl.coalesce(winner, *found)
        columns["reject"] = pl.when(several).then(pl.lit("ambiguous-outcome"))
        columns["reject_text"] = pl.when(several).then(pl.lit("several of the columns winner_... are 1"))
    models = {name: first_of(battles, name) for name in ("model_a", "model_b")}
    if live:
        sides = dict(zip(("left", "right"), models.values(), strict=True))
        columns |= sides | {f"model_{side}": model for side, model in sides.items()}
        winner = winner.replace({"model_a": "left", "model_b": "right"})
    else:
        columns |= models
    rest = [pl.col(name).alias(f"arena.{name}") for name in battles.columns if name not in (*READ, *BULKY)]
    rest.append(first_of(battles, "turn").alias("arena.turn"))
    rows = battles.select([expr.alias(name) for name, expr in columns.items()] + [winner.alias("outcome"), *rest])
    texts = (
        _of_conversations(battles, None if live else turn)
        if "conversation_a" in battles.columns
        else _of_lists(battles)
    )
    return rows.hstack(texts)


def _of_conversations(battles: pl.DataFrame, turns: pl.Expr | None) -> pl.DataFrame:
    """Return the question and both responses of the first ``turns`` turns (all if None).

    A conversation is a JSON list of {role, content}, the content a text or a list of parts, some of which are text.
    """
    limit = pl.lit(None, pl.Int64) if turns is None else turns
    sides = [first_of(battles, name) for name in CONVERSATIONS]
    return query(
        f"""
        WITH parsed AS (
            SELECT {_messages("a")} AS a, {_messages("b")} AS b, coalesce(turns, {2**40}) AS turns FROM chunk)
        SELECT {_said("a", "user")} AS question, {_said("a", "assistant")} AS text_a,
               {_said("b", "assistant")} AS text_b
          FROM parsed
        """,
        chunk=battles.select(
            limit.alias("turns"),
            *(side.alias(name) for side, name in zip(sides, "ab", strict=True)),
            *(side.str.contains(PARTS).alias(f"parts_{name}") for side, name in zip(sides, "ab", strict=True)),
        ),
    )


def _messages(column: str) -> str:
    """Return SQL for a list of {role, content}, the content a text. Only rows with parts pay for decoding them."""
    texts, parts = (
        f"""TRY(from_json({column}, '[{{"role": "VARCHAR", "content": {content}}}]'))"""
        for content in ('"VARCHAR"', '["JSON"]')
    )
    part = """CASE WHEN starts_with(part, '"') THEN part ->> '$' ELSE part ->> '$.text' END"""
    joined = f"array_to_string(list_transform(message[2].content, lambda part: {part}), chr(10))"
    return f"""CASE WHEN parts_{column} THEN
                   list_transform(list_zip({texts}, {parts}), lambda message:
                       {{role: message[1].role, content: coalesce({joined}, message[1].content)}})
               ELSE {texts} END"""


def _said(conversation: str, role: str) -> str:
    """Return SQL for all messages of a role in the first ``turns`` turns as one text."""
    own = f"list_slice(list_filter({conversation}, lambda m: m.role = '{role}'), 1, turns)"
    return f"array_to_string(list_transform({own}, lambda m: nullif(m.content, '')), chr(10) || chr(10))"


def _of_lists(battles: pl.DataFrame) -> pl.DataFrame:
    """Return the question and both responses; the turns of a JSON list become one text."""

    def joined(column: str) -> str:
        turns = f"""CASE WHEN starts_with({column}, '[') THEN TRY(from_json({column}, '["VARCHAR"]')) END"""
        return f"coalesce(array_to_string({turns}, chr(10) || chr(10)), {column}) AS {column}"

    chunk = battles.select(first_of(battles, column).alias(name) for name, column in TEXTS.items())
    return query(f"SELECT {', '.join(map(joined, TEXTS))} FROM chunk", chunk=chunk)


PLATFORM = Platform(
    name="arena",
    description="releases of Chatbot Arena, MT-bench judgments, WildVision Arena, Arena human preference 55k to 140k",
    detected_by="model_a, model_b and a winner (one column or three), with both conversations or both responses",
    sides="known: model_a is left; unknown for MT-bench judgments",
    dropped="the conversations, except the question and the two responses",
    recognizes=_recognizes,
    read=by_columns(_rows),
    personal_ids=False,
)
