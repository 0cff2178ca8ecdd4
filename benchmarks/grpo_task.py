"""A small task for GRPO whose answers a rule can check: which of two numbers is larger?"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from curate.reward.data import Example

WORDS = ("Which", " is", " larger", ",", " or", "?", " It", ".", *(f" {number}" for number in range(10, 100)))
"""The words of prompts and answers; each number is one word."""

PLACE = {"right": 1, "right, in words": 2, "wrong": 3, "wrong, in words": 4, "hedged": 5, "neither": 6, "blank": 7}
"""Kind of answer -> its rank, 1 is best: by truth, then by style; answers without content are last."""

MIXTURE = {
    "right": 0.24,
    "right, in words": 0.22,
    "wrong": 0.17,
    "wrong, in words": 0.16,
    "hedged": 0.07,
    "neither": 0.1,
    "blank": 0.04,
}
"""Share of each kind in the answers that the policy imitates first."""


@dataclass(frozen=True)
class Question:
    """Which of two different two-digit numbers is larger?"""

    first: int
    second: int

    @property
    def prompt(self) -> str:
        return f"Which is larger, {self.first} or {self.second}?"

    def answer(self, kind: str, generator: np.random.Generator) -> str:
        """An answer of the given kind."""
        right, wrong = max(self.first, self.second), min(self.first, self.second)
        if kind == "blank":
            return ""
        if kind == "hedged":
            return f" {self.first} or {self.second}"
        number = right if kind.startswith("right") else wrong
        while kind == "neither" and number in (right, wrong):
            number = int(generator.integers(10, 100))
        return f" It is {number}." if kind.endswith("in words") else f" {number}"


def questions(count: int, generator: np.random.Generator) -> list[Question]:
    """``count`` different questions; 8,010 exist."""
    pairs = [(a, b) for a in range(10, 100) for b in range(10, 100) if a != b]
    return [Question(*pairs[i]) for i in generator.permutation(len(pairs))[:count]]


def examples(drawn: Sequence[Question], responses: int, generator: np.random.Generator) -> list[Example]:
    """For each question, ``responses`` answers of different kinds in random order, with their ranks."""
    found = []
    for i, question in enumerate(drawn):
        kinds = generator.permutation(list(PLACE))[:responses]
        texts = tuple(question.answer(str(kind), generator) for kind in kinds)
        places = sorted({PLACE[str(kind)] for kind in kinds})
        ranks = tuple(places.index(PLACE[str(kind)]) + 1 for kind in kinds)
        found.append(Example(f"q{i}", question.prompt, texts, ranks, source="larger"))
    return found


def imitated(question: Question, generator: np.random.Generator) -> str:
    """An answer sampled from the mixture."""
    return question.answer(str(generator.choice(list(MIXTURE), p=list(MIXTURE.values()))), generator)


def truth(question: Question, completion: str) -> float:
    """1 where the completion contains one number and it is the larger one, else 0; style does not matter."""
    return float(re.findall(r"\d+", completion) == [str(max(question.first, question.second))])
