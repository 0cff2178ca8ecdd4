"""ParlAI ACUTE-Eval: the CSV of pairwise judgments of two dialogues.

Shape: the ``full`` table that the analysis script of ACUTE-Eval writes: worker, question, winner, loser (models),
eval_choice_0, eval_choice_1 (the models in the order of the task), is_onboarding, correct, pairing_id, reason,
winner_dialogue, loser_dialogue, all in Python syntax.

The two dialogues have no common prompt: the pairing of two dialogues is what several annotators judge, so it is the
prompt, and the models are the responses. The question is the criterion. Onboarding rows are control questions. The file
does not state which dialogue was shown left.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from annotations.platforms.base import Head, Platform, Record, Row, by_record

CHOICES = ("eval_choice_0", "eval_choice_1")
NEEDED = ("winner", "loser", "pairing_id", "is_onboarding", *CHOICES)
READ = (*NEEDED, "worker", "question", "correct", "winner_dialogue", "loser_dialogue")
BULKY = ("pairs_to_eval", "worker_name", "unnamed_1")
TRUE = ("true", "1", "1.0")


def _recognizes(head: Head) -> bool:
    return head.has(*NEEDED)


def _rows(record: Record) -> Iterator[Row]:
    winner, loser = record.get("winner"), record.get("loser")
    first, second = (record.get(name) for name in CHOICES)
    dialogues = {winner: record.get("winner_dialogue"), loser: record.get("loser_dialogue")}
    row: dict[str, Any] = {
        "prompt_id": record.get("pairing_id"),
        "response_a": first,
        "response_b": second,
        "model_a": first,
        "model_b": second,
        "text_a": dialogues.get(first),
        "text_b": dialogues.get(second),
        "outcome": winner,
        "criterion": record.get("question"),
        "annotator_id": record.get("worker"),
    }
    if str(record.get("is_onboarding")).lower() in TRUE:
        row["control"] = winner if str(record.get("correct")).lower() in TRUE else loser
    yield row | {f"acute.{name}": value for name, value in record.items() if name not in (*READ, *BULKY)}


PLATFORM = Platform(
    name="parlai",
    description="judgments of ParlAI ACUTE-Eval (CSV); onboarding rows are control questions",
    detected_by="winner, loser, eval_choice_0, eval_choice_1, pairing_id and is_onboarding",
    sides="unknown",
    dropped="names of workers; the dialogues of both models together",
    recognizes=_recognizes,
    read=by_record(_rows),
)
