"""``curate.rank``: from a table of votes to a ranking, without a store."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import curate
from pipelines import ingest
from pipelines.ingestion import RefusedFile
from schemas.errors import CurateError, RejectWarning
from schemas.votes import OUTCOMES

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
    few = curate.rank(VOTES)  # four of five folds of 12 votes do not tell which ranker is better
    assert "by hierarchical: too few votes could be held out" in few.summary()
    assert len(repr(result)) < 100
    assert "<table" in result._repr_html_()


def outcomes(result: curate.RankResult) -> list[tuple[int, str, str, str]]:
    """(row, left, right, outcome) of each vote, by row. The table has a column ``row``."""
    votes = result.votes
    ends = (np.array(votes.responses)[side].tolist() for side in (votes.left, votes.right))
    names = (OUTCOMES[code] for code in votes.outcome)
    return sorted(zip(map(int, result.table["row"]), *ends, names, strict=True))


def test_outcomes_are_read_by_word_and_by_name() -> None:
    table = {
        "row": [0, 1, 2, 3, 4, 5],
        "model_a": ["x"] * 6,
        "model_b": ["y"] * 6,
        "winner": ["model_a", "B", "tie (bothbad)", "y", "x", "Tie"],
    }
    result = curate.rank(table, ranker="borda")
    expected = ["left", "right", "tie", "right", "left", "tie"]  # the default counts both_bad as a tie
    assert [outcome.replace("both_bad", "tie") for *_, outcome in outcomes(result)] == expected
    assert not result.votes.sides_known.any()
    assert not result.columns.sides_known


def test_a_column_names_its_response() -> None:
    renamed = pl.DataFrame(VOTES).rename({"left": "one", "right": "two"})
    renamed = renamed.with_columns(pl.col("winner").replace({"left": "one", "right": "TWO"}))
    result = curate.rank(renamed, left="one", right="two", ranker="borda")
    expected = curate.rank(VOTES, ranker="borda")
    assert result.rankings["rank"].to_list() == expected.rankings["rank"].to_list()
    assert not result.columns.sides_known
    assert expected.columns.sides_known


def test_models_are_ids_that_answer_several_prompts() -> None:
    table = {"prompt": ["p", "p", "q"], "left": ["m", "p1", "m"], "right": ["p1", "n", "n"], "winner": ["left"] * 3}
    votes = curate.rank(table, ranker="borda").votes
    assert votes.models == ("m", "n")
    assert votes.responses == ("m", "n", "p1", "m", "n")
    assert votes.response_model.tolist() == [0, 1, -1, 0, 1]
    assert votes.response_prompt.tolist() == [0, 0, 0, 1, 1]


def changed(column: str, value: Any) -> pl.DataFrame:
    values = list(VOTES[column])
    values[4] = value
    return pl.DataFrame({**VOTES, column: values}, strict=False)


@pytest.mark.parametrize(
    ("table", "line", "column", "reason"),
    [
        (changed("winner", "lft"), 5, "winner", "unknown-outcome"),
        (changed("winner", None), 5, "winner", "unknown-outcome"),
        (changed("left", None), 5, "left", "empty-id"),
        (changed("left", "c"), 5, "right", "self-comparison"),
        (changed("prompt", ""), 5, "prompt", "empty-id"),
        (pl.DataFrame({**VOTES, "weight": [1.0] * 11 + [0.0]}), 12, "weight", "bad-weight"),
        (pl.concat([pl.DataFrame(VOTES), pl.DataFrame(VOTES)[5:6]]), None, None, None),
    ],
)
def test_a_row_that_is_no_vote_is_reported(table: Any, line: int, column: str, reason: str) -> None:
    """As ``ingest`` does: a reject with its line, column and reason, or a duplicate."""
    with pytest.warns(RejectWarning, match=rf"1 of {len(table)} rows are no votes: 1 {reason or 'duplicates'}"):
        result = curate.rank(table, ranker="borda")
    assert len(result.votes.left) == len(result.table) == len(table) - 1
    found = result.rejects.select("line", "column", "reason").rows()
    assert found == ([(line, column, reason)] if reason else [])
    assert "1 of" in result.summary()


@pytest.mark.parametrize(
    ("table", "names"),
    [
        (pl.DataFrame({**VOTES, "winner": [0, 1] * 6}), ("winner", "0=? (6)", "1=? (6)")),
        (pl.DataFrame({**VOTES, "judge": ["j"] * 12}), ("worker", "judge")),
        (pl.DataFrame(VOTES).drop("winner"), ("outcome",)),
        (pl.DataFrame(VOTES).drop("left"), ("right", "no column is left")),
        (pl.DataFrame({**VOTES, "winner": ["left"] * 9 + ["z"] * 3}), ("3 of 12", "unknown-outcome", "'z' (3)")),
        (pl.DataFrame(VOTES).clear(), ("no votes",)),
        ([1, 2, 3], ("not a source",)),
    ],
)
def test_a_table_that_needs_a_guess_is_refused(table: Any, names: tuple[str, ...]) -> None:
    with pytest.raises(CurateError) as error:
        curate.rank(table)
    assert all(name in str(error.value) for name in names)
    assert error.value.hint


def test_a_word_that_names_the_other_response_is_refused() -> None:
    with pytest.raises(CurateError, match="ambiguous-outcome"):
        curate.rank({"left": ["right"], "right": ["x"], "winner": ["right"]})


def test_a_refusal_carries_the_review_and_the_mapping_to_complete(tmp_path: Path) -> None:
    table = {**VOTES, "winner": [0, 1, 1] * 4}
    with pytest.raises(RefusedFile) as error:
        curate.rank(table)
    assert error.value.review.columns[3].values == (("1", 8), ("0", 4))
    proposed = error.value.review.mapping
    assert proposed in error.value.__notes__[-1]
    completed = proposed.replace('"0" = "?"', '"0" = "right"').replace('"1" = "?"', '"1" = "left"')
    (tmp_path / "curate.toml").write_text(completed)
    given: list[Any] = [tmp_path / "curate.toml", {"outcomes": {"0": "right", "1": "left"}}]
    found = [curate.rank(table, mapping=mapping, ranker="borda").rankings for mapping in given]
    expected = curate.rank({**VOTES, "winner": ["right", "left", "left"] * 4}, ranker="borda").rankings
    assert all(one.equals(expected) for one in found)


def test_sources_of_an_ingest_can_be_ranked(tmp_path: Path) -> None:
    """Also with headers of another spelling, and rankings, scores, or winners and losers instead of outcomes."""
    frame = pl.DataFrame(VOTES)
    frame.write_csv(tmp_path / "votes.csv")
    frame.rename({"prompt": "Prompt ID", "left": "Left Response", "right": "right-response"}).write_ndjson(
        tmp_path / "votes.jsonl"
    )
    expected = curate.rank(frame, ranker="borda").rankings
    for source in (tmp_path / "votes.csv", str(tmp_path / "*.jsonl"), frame.to_dicts(), iter(frame.to_dicts())):
        assert curate.rank(source, ranker="borda").rankings.equals(expected)
    rankings: dict[str, list[Any]] = {"responses": [["a", "b", "c"]], "rankings": [[2, 1, 3]]}
    ranks = {"model_1": ["a", "a", "b"], "model_2": ["b", "c", "c"], "rank_1": [2, 1, 1], "rank_2": [1, 2, 2]}
    scores = {"model_1": ["a", "a", "b"], "model_2": ["b", "c", "c"], "score_1": [1, 2, 9], "score_2": [2, 1, 8]}
    won = {"chosen": ["b", "a", "b"], "rejected": ["a", "c", "c"]}
    for votes in (rankings, ranks, scores, won):
        found = curate.rank(votes, ranker="borda").rankings
        assert dict(found.select("response_id", "rank").iter_rows()) == {"b": 1, "a": 2, "c": 3}


def test_a_saved_dataset_and_a_file_of_responses_can_be_ranked(tmp_path: Path) -> None:
    datasets.Dataset.from_dict(VOTES).save_to_disk(tmp_path / "saved")
    models = {"prompt_id": [*"pppqqq"], "response_id": [*"abc"] * 2, "model": [*"mno"] * 2}
    result = curate.rank(tmp_path / "saved", responses=models, ranker="borda")
    assert result.votes.models == ("m", "n", "o")


def test_the_rows_of_the_table_are_those_of_the_votes() -> None:
    """Whatever the order of the votes, also for the pairs of rankings and for columns of annotators."""
    rows = {"prompt": ["p", "q"], "responses": [["a", "b", "c"]] * 2, "rankings": [[1, 2, 3]] * 2, "line": [7, 8]}
    result = curate.rank(rows, ranker="borda")
    prompts = np.array(result.votes.prompts)[result.votes.response_prompt[result.votes.left]]
    assert result.table["prompt"].to_list() == prompts.tolist()
    assert sorted(result.table["line"]) == ["7"] * 3 + ["8"] * 3
    melted = {
        "prompt": ["p", "q"],
        "left": ["a", "a"],
        "right": ["b", "b"],
        "ann": ["left", "right"],
        "bo": ["tie"] * 2,
    }
    mapping = {"melt": {"into": "annotator_id", "columns": ["ann", "bo"]}}
    result = curate.rank(melted, mapping=mapping, ranker="borda")
    people = np.array(result.votes.annotators)[result.votes.annotator]
    assert result.table["annotator_id"].to_list() == people.tolist()
    assert result.votes.annotators == ("ann", "bo")


def test_one_criterion_is_ranked() -> None:
    table = {**VOTES, "criterion": ["fluency", "accuracy"] * 6}
    with pytest.raises(CurateError, match="2 criteria"):
        curate.rank(table)
    assert len(curate.rank(table, criterion="fluency", ranker="borda").votes.left) == 6


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
    with pytest.raises(CurateError, match="two videos"):
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
    table = {"row": [0, 1], "left": ["a ", "a"], "right": ["b", " b"], "winner": ["left", "b"], "worker": ["", "w"]}
    result = curate.rank(table, ranker="borda")
    assert outcomes(result) == [(0, "a", "b", "left"), (1, "a", "b", "right")]
    assert result.votes.annotators == ("w",)
    assert sorted(result.votes.annotator) == [-1, 0]


def test_errors_in_a_notebook_name_their_cause(tmp_path: Path) -> None:
    numbers = pd.DataFrame(VOTES).assign(prompt=1.0)  # pandas makes whole numbers beside a missing one floats
    with pytest.raises(CurateError, match="12 of 12 rows are no votes: 12 unknown-prompt"):
        curate.rank(numbers, prompts=pl.DataFrame({"prompt_id": ["1"]}))
    with pytest.raises(CurateError, match=r"found value of type Float64: 1.5\nhint"):
        curate.rank({**VOTES, "winner": ["left"] * 11 + [1.5]})
    with pytest.raises(CurateError, match="unknown plot 'board'"):
        curate.plot("board", tmp_path)  # type: ignore[arg-type]
    ingest(VOTES, tmp_path / "s.duckdb")
    with curate.open(tmp_path / "s.duckdb") as store:
        assert repr(store) == f"<Store: {tmp_path / 's.duckdb'}>"
    with pytest.raises(CurateError, match=r"the store is closed"):
        store.votes()
