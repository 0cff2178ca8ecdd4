"""``curate.rank``: from a table of votes to a ranking, without a store."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import curate
from curate.votes.tables import find_columns, vote_arrays
from schemas.errors import CurateError

VOTES: dict[str, list[Any]] = {
    "prompt": ["p"] * 6 + ["q"] * 6,
    "left": ["a", "b", "a", "a", "b", "a"] * 2,
    "right": ["b", "c", "c", "b", "c", "c"] * 2,
    "winner": ["left", "left", "left", "left", "tie", "a", "right", "b", "both_bad", "right", "left", "c"],
    "worker": ["w1", "w1", "w2", "w2", "w3", "w3"] * 2,
    "topic": ["math"] * 6 + ["code"] * 6,
}


@pytest.mark.parametrize(
    "table",
    [
        VOTES,
        pl.DataFrame(VOTES),
        pl.LazyFrame(VOTES),
        pd.DataFrame(VOTES),
        pa.table(VOTES),
    ],
    ids=["dict", "polars", "lazy", "pandas", "pyarrow"],
)
def test_every_kind_of_table_gives_the_same_ranking(table: Any) -> None:
    result = curate.rank(table, ranker="bradley-terry")
    ranks = {(p, r): place for p, r, place in result.rankings.select("prompt_id", "response_id", "rank").iter_rows()}
    assert ranks[("p", "a")] == 1
    assert ranks[("p", "c")] == 3
    assert ranks[("q", "b")] == 1
    assert result.columns.annotator == "worker"
    assert result.method == "bradley-terry"


def test_result_has_leaderboard_annotators_and_summary() -> None:
    result = curate.rank(VOTES, ranker="win-rate")
    board = result.leaderboard()
    assert sorted(board["model"]) == ["a", "b", "c"]
    assert set(board.columns) >= {"rank", "low", "high", "class"}
    by_topic = result.leaderboard(by="topic")
    assert by_topic["topic"].to_list() == ["code"] * 3 + ["math"] * 3
    people = result.annotators()
    assert sorted(people["annotator_id"]) == ["w1", "w2", "w3"]
    assert people["p_spammer"].is_between(0, 1).all()
    assert "12 votes on 2 prompts" in result.summary()
    assert len(repr(result)) < 100
    assert "<table" in result._repr_html_()


def test_outcomes_are_read_by_word_and_by_name() -> None:
    frame = pl.DataFrame(
        {
            "model_a": ["x"] * 6,
            "model_b": ["y"] * 6,
            "winner": ["model_a", "B", "tie (bothbad)", "y", "x", "Tie"],
        }
    )
    votes = vote_arrays(frame, find_columns(frame))
    assert votes.outcome.tolist() == [0, 1, 3, 1, 0, 2]
    assert not votes.sides_known.any()


def test_sides_are_known_only_by_the_names_of_columns() -> None:
    frame = pl.DataFrame(VOTES)
    assert find_columns(frame).sides_known
    renamed = frame.rename({"left": "one", "right": "two"})
    assert not find_columns(renamed, left="one", right="two").sides_known


def test_models_are_ids_that_answer_several_prompts() -> None:
    frame = pl.DataFrame(
        {"prompt": ["p", "p", "q"], "left": ["m", "p1", "m"], "right": ["p1", "n", "n"], "winner": ["left"] * 3}
    )
    votes = vote_arrays(frame, find_columns(frame))
    assert votes.models == ("m", "n")
    assert votes.responses == ("m", "n", "p1", "m", "n")
    assert votes.response_model.tolist() == [0, 1, -1, 0, 1]
    assert votes.response_prompt.tolist() == [0, 0, 0, 1, 1]


def changed(column: str, value: Any) -> pl.DataFrame:
    values = list(VOTES[column])
    values[4] = value
    return pl.DataFrame({**VOTES, column: values}, strict=False)


@pytest.mark.parametrize(
    ("table", "names"),
    [
        (changed("winner", "lft"), ("row 4", "winner", "lft")),
        (changed("winner", None), ("row 4", "winner")),
        (changed("left", None), ("row 4", "left")),
        (changed("left", "c"), ("row 4", "right")),
        (changed("prompt", ""), ("row 4", "prompt")),
        (pl.DataFrame({**VOTES, "weight": [1.0] * 11 + [0.0]}), ("row 11", "weight")),
        (pl.DataFrame({**VOTES, "winner": [0, 1] * 6}), ("row 0", "winner")),
        (pl.DataFrame({**VOTES, "judge": ["j"] * 12}), ("worker", "judge")),
        (pl.DataFrame(VOTES).drop("winner"), ("outcome",)),
        (pl.DataFrame(VOTES).drop("left"), ("two responses",)),
        (pl.DataFrame(VOTES).clear(), ("no votes",)),
        ([1, 2, 3], ("list",)),
    ],
)
def test_a_bad_table_is_refused_by_name(table: Any, names: tuple[str, ...]) -> None:
    with pytest.raises(CurateError) as error:
        curate.rank(table)
    assert all(name in str(error.value) for name in names)
    assert error.value.hint


def test_a_word_that_names_the_other_response_is_refused() -> None:
    with pytest.raises(CurateError, match="row 0"):
        curate.rank({"left": ["right"], "right": ["x"], "winner": ["right"]})


def test_numbers_that_could_mean_anything_are_counted_in_the_hint() -> None:
    with pytest.raises(CurateError) as error:
        curate.rank({"left": ["a", "a"], "right": ["b", "b"], "winner": [0, 1]})
    assert "0 × 1, 1 × 1" in error.value.hint
    assert error.value.__notes__ == [f"hint: {error.value.hint}"]


def test_a_missing_column_is_refused() -> None:
    with pytest.raises(CurateError, match="no column 'nope'"):
        curate.rank(VOTES, prompt="nope")
    with pytest.raises(CurateError):
        curate.rank(VOTES, left="left")


def test_votes_that_rank_nothing_are_refused() -> None:
    with pytest.raises(CurateError):
        curate.rank({"left": ["a"], "right": ["b"], "winner": ["tie"]})


def test_auto_chooses_on_held_out_votes() -> None:
    rng = np.random.default_rng(0)
    strength = dict(zip("abcdef", np.linspace(2, -2, 6), strict=True))
    pairs = [rng.choice(list("abcdef"), 2, replace=False) for _ in range(300)]
    won = [rng.random() < 1 / (1 + np.exp(strength[b] - strength[a])) for a, b in pairs]
    table = {
        "prompt": [f"p{i % 5}" for i in range(300)],
        "left": [a for a, _ in pairs],
        "right": [b for _, b in pairs],
        "winner": ["left" if one else "right" for one in won],
        "annotator": [f"w{i % 11}" for i in range(300)],
    }
    result = curate.rank(table)
    assert result.choice is not None
    assert result.leaderboard()["model"].to_list()[0] in {"a", "b"}
    assert result.expected_tau is not None
    again = curate.rank(table)
    assert again.rankings.equals(result.rankings)


def test_questions_do_not_identify_prompts() -> None:
    """One question may be asked about several videos: ranking them together would be wrong."""
    table = {"question": ["why?"] * 3, "video": ["1.mp4", "2.mp4", "3.mp4"], "left": ["a", "a", "b"]}
    table |= {"right": ["b", "b", "a"], "winner": ["left"] * 3}
    with pytest.raises(CurateError, match="no column identifies the prompt"):
        curate.rank(table)
    assert len(curate.rank(table, prompt="video", ranker="borda").votes.prompts) == 3


def test_columns_that_refer_to_other_columns_are_refused() -> None:
    table = {"model_a": ["m1", "m2"], "model_b": ["m3", "m4"], "left": ["a", "b"], "right": ["b", "a"]}
    with pytest.raises(CurateError, match="refers to other columns"):
        curate.rank(table | {"winner": ["left", "right"]})


def test_a_group_column_must_not_have_a_name_of_the_leaderboard() -> None:
    result = curate.rank(VOTES | {"model": ["x", "y"] * 6}, ranker="borda")
    with pytest.raises(CurateError, match="'model'"):
        result.leaderboard(by="model")


def test_ids_are_trimmed_and_empty_annotators_are_anonymous() -> None:
    frame = pl.DataFrame({"left": ["a ", "a"], "right": ["b", " b"], "winner": ["left", "b"], "worker": ["", "w"]})
    votes = vote_arrays(frame, find_columns(frame))
    assert votes.responses == ("a", "b")
    assert votes.outcome.tolist() == [0, 1]
    assert votes.annotator.tolist() == [-1, 0]
