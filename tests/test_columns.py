"""The layout of a file: detected columns, ambiguous files, and the mapping that resolves them."""

from __future__ import annotations

import polars as pl
import pytest

from annotations.readers.columns import Layout, detect_layout, find_sources
from schemas.errors import CurateError
from schemas.mapping import Mapping
from schemas.votes import VOTE_FIELDS

Rows = list[tuple[str | None, ...]]


def layout(header: str, rows: Rows, **mapping: object) -> Layout:
    sample = pl.DataFrame(rows, schema=dict.fromkeys(header.split(), pl.String), orient="row")
    return detect_layout("votes.csv", sample, Mapping.model_validate(mapping))


def refusal(header: str, rows: Rows, **mapping: object) -> tuple[str, str]:
    """(message, hint)."""
    with pytest.raises(CurateError) as caught:
        layout(header, rows, **mapping)
    return str(caught.value), caught.value.hint


# Detected.


@pytest.mark.parametrize("prompt", ["prompt_id", "question_id", "item_id", "prompt", "Prompt_ID"])
@pytest.mark.parametrize(
    ("a", "b", "field"),
    [
        ("response_a", "response_b", "first"),
        ("model_a", "model_b", "first"),
        ("model_x", "model_y", "first"),
        ("left", "right", "first"),
    ],
)
@pytest.mark.parametrize("winner", ["winner", "choice", "label", "preference"])
def test_well_known_column_names_are_detected(prompt: str, a: str, b: str, field: str, winner: str) -> None:
    found = layout(f"{prompt} {a} {b} {winner}", [("p", "r1", "r2", "tie")]).columns
    assert (found["prompt_id"], found[field], found["second"], found["outcome"]) == (prompt, a, b, winner)


@pytest.mark.parametrize("who", ["annotator_id", "worker", "judge", "judge_hash", "rater"])
@pytest.mark.parametrize("when", ["timestamp", "tstamp", "submit_time", "created_at"])
def test_annotator_time_seconds_and_weight_are_detected(who: str, when: str) -> None:
    found = layout(
        f"qid left right winner {who} {when} time_on_task weight", [("p", "a", "b", "left", "w", "", "", "")]
    )
    assert {name: found.columns[name] for name in ("annotator_id", "voted_at", "seconds", "weight")} == {
        "annotator_id": who,
        "voted_at": when,
        "seconds": "time_on_task",
        "weight": "weight",
    }


def test_a_column_called_id_is_not_a_vote_id() -> None:
    assert "vote_id" not in layout("id prompt_id left right winner", [("0", "p", "a", "b", "left")]).columns


def test_a_prompt_beside_an_id_is_the_question() -> None:
    found = layout("prompt_id prompt left right winner", [("p", "What?", "a", "b", "left")]).columns
    assert (found["prompt_id"], found["question"]) == ("prompt_id", "prompt")


def test_sides_are_known_only_where_the_columns_are_named_left_and_right() -> None:
    assert layout("prompt left right winner", [("p", "m", "n", "left")]).sides_known
    assert not layout("prompt response_a response_b winner", [("p", "m", "n", "a")]).sides_known
    assert layout("prompt response_a response_b winner", [("p", "m", "n", "left")], sides="shown").sides_known
    assert not layout("prompt left right winner", [("p", "m", "n", "left")], sides="unknown").sides_known


def test_left_and_right_take_precedence_over_models() -> None:
    found = layout("prompt model_x model_y winner left right", [("8", "97", "98", "right", "Weaver", "Airo")])
    assert (found.columns["first"], found.columns["second"], found.sides_known) == ("left", "right", True)
    assert not {"model_a", "model_b"} & set(found.columns)


def test_models_beside_ids_are_the_models_of_those_responses() -> None:
    found = layout("prompt response_a response_b model_a model_b winner", [("p", "r1", "r2", "m", "n", "model_a")])
    assert (found.columns["first"], found.columns["model_a"]) == ("response_a", "model_a")


def test_rankings_beside_responses_are_k_wise() -> None:
    found = layout("prompt_id responses rankings", [("p", '["a", "b"]', "[1, 2]")])
    assert (found.kind, found.sides_known) == ("ranking", False)


def test_the_mapping_beats_every_name() -> None:
    columns = {"left": "shown_1", "right": "shown_2", "annotator_id": "user", "voted_at": ""}
    found = layout(
        "prompt response_a shown_1 shown_2 winner user worker time",
        [("p", "x", "m", "n", "left", "u", "w", "9")],
        columns={**columns, "response_a": ""},
    )
    assert found.columns == {
        "prompt_id": "prompt",
        "first": "shown_1",
        "second": "shown_2",
        "outcome": "winner",
        "annotator_id": "user",
    }


def test_a_mapped_outcome_beats_known_words() -> None:
    found = layout("prompt left right winner", [("p", "m", "n", "1")], outcomes={"1": "left", "Tie": "both_bad"})
    assert (found.outcomes.meanings["1"], found.outcomes.meanings["tie"]) == ("left", "both_bad")


# Errors.


def test_two_columns_for_one_field_are_refused() -> None:
    message, hint = refusal("prompt left right choice label", [("p", "a", "b", "left", "x")])
    assert "outcome could be choice or label" in message
    assert "--map outcome=choice or --map outcome=label" in hint


def test_two_columns_that_differ_in_case_alone_are_refused() -> None:
    message, hint = refusal("prompt left right winner Winner", [("p", "a", "b", "left", "right")])
    assert "outcome could be winner or Winner" in message
    found = layout("prompt left right winner Winner", [("p", "a", "b", "left", "right")], columns={"outcome": "Winner"})
    assert "--map outcome=Winner" in hint
    assert found.columns["outcome"] == "Winner"


def test_a_fields_own_name_beats_its_other_names() -> None:
    assert find_sources(["weight", "vote_weight"], VOTE_FIELDS, {}) == ({"weight": "weight"}, [])


@pytest.mark.parametrize(
    ("header", "row", "complaint", "needed"),
    [
        ("prompt one two winner", ("p", "a", "b", "left"), "no columns that name two responses", "--map left=COLUMN"),
        ("left right winner", ("a", "b", "left"), "no column that names the prompt", "--map prompt_id=COLUMN"),
        ("prompt left right", ("p", "a", "b"), "no column that holds the outcome", "--map outcome=COLUMN"),
        ("prompt left winner", ("p", "a", "left"), "no column is right", "--map right=COLUMN"),
        ("prompt left model_a model_b winner", ("p", "a", "m", "n", "left"), "no column is right", "--map left="),
        (
            "prompt left right response_a response_b winner",
            ("p", "a", "b", "c", "d", "left"),
            "two pairs of responses",
            "--map left= --map right=",
        ),
        ("prompt left right winner ranking", ("p", "a", "b", "left", "[1,2]"), "both pairs and", "--map rankings="),
        (
            "prompt response_a response_b winner",
            ("p", "m", "n", "left"),
            "holds left, but no column states",
            "--map left=response_a --map right=response_b",
        ),
        (
            "prompt left right winner",
            ("p", "m", "n", "a"),
            "holds a, but the responses are named left and right",
            "--outcome a=OUTCOME",
        ),
        ("prompt left right winner", ("p", "m", "n", "1"), "no known meaning: 1=? (1)", "--outcome 1=OUTCOME"),
        (
            "prompt model_a model_b left right winner",
            ("p", "m", "n", "model_b", "model_a", "left"),
            "refers to other columns",
            "the responses shown left and right themselves",
        ),
    ],
)
def test_an_ambiguous_file_is_an_error_with_the_needed_mapping(
    header: str, row: tuple[str, ...], complaint: str, needed: str
) -> None:
    message, hint = refusal(header, [row])
    assert message.startswith("votes.csv: ")
    assert complaint in message
    assert needed in hint


def test_long_responses_beside_models_are_texts() -> None:
    row = ("p", "long " * 50, "text", "m", "n", "model_a")
    found = layout("prompt_id response_a response_b model_a model_b winner", [row])
    assert (found.columns["first"], found.columns["text_a"]) == ("model_a", "response_a")


def test_empty_cells_do_not_hide_that_left_refers_to_other_columns() -> None:
    rows: Rows = [("p", "m", "n", "model_b", "model_a", "left"), ("p", "m", "n", "", "model_a", "left")]
    assert "refers to other columns" in refusal("prompt model_a model_b left right winner", rows)[0]


def test_a_winner_that_counts_the_sides_is_not_read_as_the_name_of_a_response() -> None:
    """Model 1 is among the responses; a winner of 0 or 1 means the first or the second, whatever its name."""
    rows: Rows = [
        ("p", "7", "1", "1"),
        ("p", "7", "3", "0"),
        ("p", "1", "9", "1"),
        ("p", "4", "5", "1"),
        ("p", "4", "8", "0"),
    ]
    message, hint = refusal("prompt model_a model_b winner", rows)
    assert "most of which name neither response" in message
    assert "--outcome 1=OUTCOME --outcome 0=OUTCOME" in hint


def test_a_few_typos_do_not_refuse_a_file_of_names() -> None:
    rows: Rows = [("p", "m", "n", "m"), ("p", "m", "n", "n"), ("p", "m", "n", "o")]
    assert layout("prompt model_a model_b winner", rows).kind == "pair"


def test_a_mapping_to_no_field_no_column_or_no_outcome_is_refused() -> None:
    row: Rows = [("p", "a", "b", "left")]
    for mapping, complaint, fix in (
        ({"columns": {"side": "left"}}, "unknown field 'side'", "outcome"),
        ({"columns": {"outcome": "wins"}}, "no column 'wins'; the columns are prompt, left, right, winner", "--map"),
        ({"columns": {"prompt_id": "?"}}, "leaves prompt_id open", "--map prompt_id=COLUMN"),
        ({"outcomes": {"1": "first"}}, "unknown outcome", "left, right, tie, both_bad"),
        ({"outcomes": {"1": "?"}}, "leaves the outcome '1' open", "--outcome 1=OUTCOME"),
    ):
        message, hint = refusal("prompt left right winner", row, **mapping)
        assert complaint in message
        assert fix in hint


def test_what_was_detected_is_described_by_field() -> None:
    assert layout("prompt left right winner", [("p", "m", "n", "left")]).described() == {
        "prompt_id": "prompt",
        "left": "left",
        "right": "right",
        "outcome": "winner",
    }
    found = layout("prompt model_x model_y winner", [("p", "m", "n", "x")]).described()
    assert (found["response_a"], found["response_b"]) == ("model_x", "model_y")


@pytest.mark.parametrize(("strange", "refused"), [(2, False), (3, True)])
def test_other_outcomes_than_the_mapped_ones_are_rejects_in_at_most_one_percent_of_the_answers(
    strange: int, refused: bool
) -> None:
    rows = [(f"p{n}", "x", "y", "hm" if n < strange else "won") for n in range(200)]
    if refused:
        assert "--outcome hm=OUTCOME" in refusal("prompt left right winner", rows, outcomes={"won": "left"})[1]
    else:
        assert "hm" not in layout("prompt left right winner", rows, outcomes={"won": "left"}).outcomes.meanings
