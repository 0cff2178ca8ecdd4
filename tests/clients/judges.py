"""What the tests of programs that evaluate judges share: the items, the questions and answers to them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl

WORDS = ("{}", "{}. It is right.", "The best response is {}.", "({})", "**{}**", "I cannot tell.")
"""Answers with a letter, and one without."""


def judged_items(release: Path, config: str) -> list[dict[str, Any]]:
    """Return the items of a config; among them are some with a video, with an image and with neither."""
    items = pl.concat([pl.read_parquet(path) for path in sorted(release.glob(f"{config}-0*.parquet"))]).to_dicts()
    assert {bool(item["video"]) + 2 * bool(item["image"]) for item in items} == {0, 1, 2}
    return items


def judge_question(item: dict[str, Any]) -> str:
    responses = "".join(f"{'ABCD'[i]}. {text}\n\n" for i, text in enumerate(item["responses"]))
    return (
        f"Question: {item['prompt']}\n\nResponses:\n\n{responses}Which response is best? Answer with its letter only."
    )


def mixed_answers(items: list[dict[str, Any]]) -> tuple[list[str], list[bool]]:
    """Return an answer to each question and whether it is right; every sixth has no letter, every third is wrong."""
    answers, hits = [], []
    for i, item in enumerate(items):
        right = i % 3 > 0
        letter = "ABCD"[item["best"] if right else 1 - min(item["best"], 1)]
        answers.append(WORDS[i % len(WORDS)].format(letter))
        hits.append(right and "cannot" not in answers[-1])
    return answers, hits
