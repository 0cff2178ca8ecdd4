"""Questions to a judge: which of the responses to a prompt is best? And the functions of the tasks of lmms-eval.

Exports have a copy of this file beside their data. It needs Pillow for images, and nothing else.
"""

import re
import string
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ASK = "Which response is best? Answer with its letter only."


def judge_question(row: Mapping[str, Any]) -> str:
    """Return the text of a question. row: question and responses of an item."""
    responses = "\n\n".join(
        f"{letter}. {text}" for letter, text in zip(string.ascii_uppercase, row["responses"], strict=False)
    )
    return f"Question: {row['question']}\n\nResponses:\n\n{responses}\n\n{ASK}"


def letter_of(answer: Any, responses: int) -> str | None:
    """Return the letter that an answer gives: at its start, after "answer" at its end, or the only one; else None.

    responses: their number.
    """
    letter = f"([{string.ascii_uppercase[:responses]}])"
    text = re.sub(r"[*_`\"]", "", str(answer)).strip()
    for pattern in (
        rf"\(?{letter}\)?",
        rf"\(?{letter}(?:[.):]|\s*\n).*",
        rf".*\b(?i:answer|best|option|response)\b(?: is)?:?\s*\(?{letter}\)?[.!]?",
    ):
        if found := re.fullmatch(pattern, text, re.DOTALL):
            return found[1]
    article = r"(?!\s(?!is\b|because\b|or\b|and\b)[a-z])"  # "A video shows …" names no response
    named = set(re.findall(rf"(?<![A-Za-z0-9'])(?:{letter}(?![A-Za-z0-9'])){article}", text))
    return str(named.pop()) if len(named) == 1 else None


def doc_to_visual(doc: Mapping[str, Any]) -> list[Any]:
    """Return the video as a path, or the image; nothing if the prompt has none."""
    if doc["kind"] == "image":
        from PIL import Image

        return [Image.open(HERE / doc["medium"]).convert("RGB")]
    return [str(HERE / doc["medium"])] if doc["medium"] else []


def judge_to_text(doc: Mapping[str, Any], lmms_eval_specific_kwargs: Any = None) -> str:
    """Return the question to a judge."""
    return judge_question(doc)


def process_results(doc: Mapping[str, Any], results: Sequence[Any]) -> dict[str, float]:
    """Return the metrics of one answer of a judge. An answer without a letter is wrong."""
    chosen = letter_of(results[0], len(doc["responses"]))
    hit = float(chosen == doc["answer"])
    return {"accuracy": hit, f"accuracy_{doc['difficulty']}": hit, "without_letter": float(chosen is None)}


def mean(values: Sequence[float]) -> float:
    """Return the mean of a metric."""
    return sum(values) / len(values)
