"""Votes with texts that are easily damaged, which clients export and the tests compare with what the store holds."""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Any

import polars as pl

from annotations.readers.privacy import Pseudonyms
from annotations.tasks import CHOICES, COLUMNS
from curate.store import Store
from pipelines import ingest

KEY = "a secret of the client tests"
OUTCOMES = tuple(outcome for outcome, _ in CHOICES)
VOTE = ("prompt_id", "question", "left", "right", "left_text", "right_text", "outcome", "annotator_id")
HAZARDS = (
    *(
        "\\frac{1}{2}",
        "\\n",
        "\\u0041",
        '"',
        "'",
        "\\",
        "\n",
        "\r\n",
        "\t",
        "\x0b",
        "\x85",
        "\u2028",
        "\ufeff",
        "{",
        "}",
    ),
    *("[", "]", "[1, 2]", '{"a": "\\n"}', ":", ",", ";", "|", "<b>&amp;</b>", "ünï", "☃", "𝔘", "\u202e", "null", "NaN"),
    *("True", "0", "-1e5", "''", '""', " ", "a", "```py\nx = 1\n```", "https://example.org/?a=1&b=%20", "~", "%7E"),
)


def task_table(prompts: int, *, seed: int = 0) -> pl.DataFrame:
    """Return planned tasks, COLUMNS as text: one per prompt, its ids and texts made of HAZARDS."""
    rng = Random(seed)

    def text() -> str:
        return "a" + "".join(rng.choices(HAZARDS, k=rng.randint(1, 12))) + "z"

    rows = [
        {
            "task_id": f"t{n:03}",
            "prompt_id": f"p {n}~%é",
            "question": text(),
            "left": f"one~{n}",
            "right": f"other {n}",
            "left_text": text(),
            "right_text": text(),
        }
        for n in range(prompts)
    ]
    return pl.DataFrame(rows, schema=dict.fromkeys(COLUMNS, pl.String))


def votes_on(tasks: pl.DataFrame, annotators: list[str]) -> list[dict[str, str]]:
    """Return a vote of each annotator on each task, with every outcome in turn."""
    return [
        {**task, "annotator_id": annotator, "outcome": OUTCOMES[(n + k) % len(OUTCOMES)]}
        for n, task in enumerate(tasks.drop("outcome", "annotator_id", "video").iter_rows(named=True))
        for k, annotator in enumerate(annotators)
    ]


def expected(votes: list[dict[str, Any]]) -> list[tuple[str, ...]]:
    """Return votes as rows of VOTE, sorted, with pseudonyms for annotators."""
    people = Pseudonyms(KEY.encode())
    return sorted(
        tuple(people.of(vote[name]) if name == "annotator_id" else vote[name] for name in VOTE) for vote in votes
    )


def ingested(exports: list[str] | str, folder: Path, platform: str) -> list[tuple[str, ...]]:
    """Return the votes that ``curate ingest`` stores of exports, as rows of VOTE, sorted; there must be no rejects."""
    store = folder / f"{len(list(folder.glob('*.duckdb')))}.duckdb"
    report = ingest(exports, store, pseudonym_key=KEY)
    assert {file.platform for file in report.files} == {platform}
    assert (report.rejects, report.duplicates, report.superseded) == (0, 0, 0), report.reasons
    with Store.open(store, read_only=True) as opened:
        assert opened.votes()["sides_known"].all()
        return sorted(
            opened.frame(
                """
                SELECT v.prompt_id, p.question, v.response_left, v.response_right, l.text AS left_text,
                       r.text AS right_text, v.outcome, v.annotator_id
                  FROM votes v
                  LEFT JOIN prompts p USING (prompt_id)
                  LEFT JOIN responses l ON l.prompt_id = v.prompt_id AND l.response_id = v.response_left
                  LEFT JOIN responses r ON r.prompt_id = v.prompt_id AND r.response_id = v.response_right
                """
            ).rows()
        )
