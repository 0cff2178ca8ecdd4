"""ParlAI ACUTE-Eval: the CSV of pairwise judgments of two dialogues.

Shape: the ``full`` table that the analysis script of ACUTE-Eval writes: worker, question, winner, loser (models),
eval_choice_0, eval_choice_1 (the models in the order of the task), is_onboarding, correct, pairing_id, reason,
winner_dialogue, loser_dialogue, all in Python syntax.

The two dialogues have no common prompt: the pairing of two dialogues is what several annotators judge, so it is the
prompt, and the models are the responses. The question is the criterion. Onboarding rows are control questions. The file
does not state which dialogue was shown left.
"""

from __future__ import annotations

import polars as pl

from annotations.platforms.base import Head, Platform, by_columns, first_of

CHOICES = ("eval_choice_0", "eval_choice_1")
NEEDED = ("winner", "loser", "pairing_id", "is_onboarding", *CHOICES)
READ = (*NEEDED, "worker", "question", "correct", "winner_dialogue", "loser_dialogue")
BULKY = ("pairs_to_eval", "worker_name", "unnamed_1")
TRUE = ("true", "1", "1.0")


def _recognizes(head: Head) -> bool:
    return head.has(*NEEDED)


def _rows(judgments: pl.DataFrame) -> pl.DataFrame:
    names = ("winner", "loser", *CHOICES, "winner_dialogue", "loser_dialogue")
    winner, loser, first, second, won, lost = (first_of(judgments, name) for name in names)
    onboarding, correct = (
        first_of(judgments, name).str.to_lowercase().is_in(TRUE) for name in ("is_onboarding", "correct")
    )
    columns = {
        "prompt_id": first_of(judgments, "pairing_id"),
        "response_a": first,
        "response_b": second,
        "model_a": first,
        "model_b": second,
        "text_a": pl.when(first == loser).then(lost).when(first == winner).then(won),
        "text_b": pl.when(second == loser).then(lost).when(second == winner).then(won),
        "outcome": winner,
        "criterion": first_of(judgments, "question"),
        "annotator_id": first_of(judgments, "worker"),
        "control": pl.when(onboarding).then(pl.when(correct).then(winner).otherwise(loser)),
    }
    rest = {f"acute.{name}": pl.col(name) for name in judgments.columns if name not in (*READ, *BULKY)}
    return judgments.select(**columns, **rest)


PLATFORM = Platform(
    name="parlai",
    description="judgments of ParlAI ACUTE-Eval (CSV); onboarding rows are control questions",
    detected_by="winner, loser, eval_choice_0, eval_choice_1, pairing_id and is_onboarding",
    sides="unknown",
    dropped="names of workers; the dialogues of both models together",
    recognizes=_recognizes,
    read=by_columns(_rows),
)
