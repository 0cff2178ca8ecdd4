"""VoteArrays from columns of ids: numbering, models, and what is rejected."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.votes import BOTH_BAD, LEFT, RIGHT, TIE, VoteArrays
from schemas.votes import OUTCOMES

ROW = st.tuples(
    st.sampled_from("pqr"),
    st.permutations("abcd").map(lambda names: names[:2]),
    st.sampled_from(OUTCOMES),
    st.sampled_from(["x", "y", None]),
    st.sampled_from([0.5, 1.0, 2.0]),
)


def columns_of(rows: list[tuple[str, list[str], str, str | None, float]]) -> dict[str, list[object]]:
    return {
        "prompt": [row[0] for row in rows],
        "left": [row[1][0] for row in rows],
        "right": [row[1][1] for row in rows],
        "outcome": [row[2] for row in rows],
        "annotator": [row[3] for row in rows],
        "weight": [row[4] for row in rows],
    }


@settings(max_examples=40, deadline=None)
@given(rows=st.lists(ROW, min_size=1, max_size=12))
def test_numbering_equals_the_plain_one(rows: list[tuple[str, list[str], str, str | None, float]]) -> None:
    votes = VoteArrays.from_columns(**columns_of(rows))  # type: ignore[arg-type]
    keys = sorted({(row[0], response) for row in rows for response in row[1]})
    assert [(votes.prompts[p], r) for p, r in zip(votes.response_prompt, votes.responses, strict=True)] == keys
    assert votes.left.tolist() == [keys.index((row[0], row[1][0])) for row in rows]
    assert votes.right.tolist() == [keys.index((row[0], row[1][1])) for row in rows]
    assert [OUTCOMES[code] for code in votes.outcome] == [row[2] for row in rows]
    assert votes.annotators == tuple(sorted({row[3] for row in rows if row[3]}))
    assert [votes.annotators[a] if a >= 0 else None for a in votes.annotator] == [row[3] for row in rows]
    assert votes.weight.tolist() == [row[4] for row in rows]
    names = [response for _, response in keys]
    models = [name if names.count(name) > 1 else None for name in names]
    assert [votes.models[m] if m >= 0 else None for m in votes.response_model] == models


def test_series_arrays_codes_and_integers_give_the_same_votes() -> None:
    names = VoteArrays.from_columns(prompt=["1", "2"], left=["3", "4"], right=["5", "6"], outcome=["left", "both_bad"])
    numbers = VoteArrays.from_columns(
        prompt=np.array([1, 2]), left=pl.Series([3, 4]), right=(5, 6), outcome=np.array([LEFT, BOTH_BAD])
    )
    for field in fields(VoteArrays):
        assert np.array_equal(getattr(names, field.name), getattr(numbers, field.name)), field.name
    assert (names.group == -1).all()
    assert names.sides_known.all()


def test_integer_ids_are_in_numeric_order() -> None:
    votes = VoteArrays.from_columns(prompt=[10, 9], left=[2, 2], right=[11, 11], outcome=[RIGHT, TIE])
    assert votes.prompts == ("9", "10")
    assert votes.models == ("2", "11")


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("prompt", ["p", None]),
        ("right", ["b", "a"]),
        ("outcome", ["left", "lft"]),
        ("outcome", [0, 4]),
        ("weight", [1.0, 0.0]),
        ("weight", [1.0, float("nan")]),
    ],
)
def test_the_first_bad_vote_is_named(column: str, values: list[object]) -> None:
    columns: dict[str, list[object]] = {
        "prompt": ["p", "p"], "left": ["a", "a"], "right": ["b", "b"], "outcome": ["left", "left"],
    }  # fmt: skip
    with pytest.raises(ValueError, match="vote 1"):
        VoteArrays.from_columns(**{**columns, column: values})  # type: ignore[arg-type]


def test_no_votes_are_no_prompts() -> None:
    votes = VoteArrays.from_columns(prompt=[], left=[], right=[], outcome=[])
    assert (votes.prompts, votes.responses, votes.annotators, votes.graphs) == ((), (), (), ())


def test_the_representation_is_short() -> None:
    votes = VoteArrays.from_columns(prompt=["p"] * 999, left=["a"] * 999, right=["b"] * 999, outcome=["tie"] * 999)
    assert len(repr(votes)) < 120
