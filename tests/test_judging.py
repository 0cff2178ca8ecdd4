"""The letter that an answer of a judge gives."""

from __future__ import annotations

import pytest

from curate.release.clients.tasks.judging import judge_question, letter_of


@pytest.mark.parametrize(
    ("answer", "letter"),
    [
        ("B", "B"),
        (" (B) ", "B"),
        ("**B**", "B"),
        ("B.", "B"),
        ("B. The lamp is red, unlike in A.", "B"),
        ("C\nIt names the colour.", "C"),
        ("A and C are wrong. The best response is B.", "B"),
        ("Answer: D", "D"),
        ("A video shows a lamp, so the answer is C", "C"),
        ("I would choose C, since it is right.", "C"),
        ("A is best.", "A"),
        ("A video shows a lamp.", None),
        ("A or B", None),
        ("E", None),
        ("b", None),
        ("", None),
        (None, None),
    ],
)
def test_an_answer_gives_its_letter_or_none(answer: str | None, letter: str | None) -> None:
    assert letter_of(answer, 4) == letter


def test_texts_are_in_the_question_as_they_are() -> None:
    row = {"question": " Which\tone? ", "responses": ["A. b", "\n"]}
    assert "Question:  Which\tone? \n\nResponses:\n\nA. A. b\n\nB. \n\n\n" in judge_question(row)
