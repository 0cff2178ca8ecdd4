"""The rules of a vote: each bad row is rejected with its reason, and each good row has its outcome."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import polars as pl
import pytest

from annotations.readers.columns import detect_layout
from annotations.readers.formats import BrokenRecord, Chunk
from annotations.readers.rules import CleanRows, apply_rules, parse_times
from schemas.mapping import Mapping

NOW = datetime(2026, 1, 1, 12)


def cleaned(*rows: dict[str, str | None], broken: tuple[BrokenRecord, ...] = (), **mapping: Any) -> CleanRows:
    """Rows of a file under the rules; the first is on line 2."""
    names = dict.fromkeys(name for row in rows for name in row)
    frame = pl.DataFrame(rows, schema=dict.fromkeys(names, pl.String))
    lines = pl.int_range(2, 2 + len(rows), eager=True, dtype=pl.Int64).alias("line")
    chunk = Chunk(frame, lines, broken)
    return apply_rules(chunk, detect_layout("votes.csv", frame, Mapping.model_validate(mapping)), NOW)


def pair(**cells: str | None) -> dict[str, str | None]:
    return {"prompt_id": "p", "left": "a", "right": "b", "winner": "left", **cells}


def plain(winner: str, a: str = "m", b: str = "n", **cells: str) -> dict[str, str | None]:
    return {"prompt_id": "p", "response_a": a, "response_b": b, "winner": winner, **cells}


def outcome(*rows: dict[str, str | None], **mapping: Any) -> list[str]:
    found = cleaned(*rows, **mapping)
    assert found.rejects.is_empty()
    return found.rows["outcome"].to_list()


def reject(row: dict[str, str | None], *good: dict[str, str | None], **mapping: Any) -> dict[str, Any]:
    """The reject of the first row, which the others make look like a file."""
    found = cleaned(row, *good, **mapping)
    assert found.rows.height == len(good)
    [only] = found.rejects.to_dicts()
    assert only["line"] == 2
    return only


# Outcomes.


@pytest.mark.parametrize(
    ("word", "means"),
    [("left", "left"), ("RIGHT", "right"), ("Tie", "tie"), ("both_bad", "both_bad"), ("tie (bothbad)", "both_bad")],
)
def test_outcomes_are_spelled_in_any_case(word: str, means: str) -> None:
    assert outcome(pair(winner=f" {word} ")) == [means]


@pytest.mark.parametrize(
    ("word", "means"),
    [("model_a", "left"), ("model_b", "right"), ("a", "left"), ("B", "right"), ("tie (bothbad)", "both_bad")],
)
def test_arena_spellings_point_at_the_two_columns(word: str, means: str) -> None:
    assert outcome({"question_id": "p", "model_a": "m", "model_b": "n", "winner": word}) == [means]


def test_the_winner_may_be_named_also_by_its_model() -> None:
    assert outcome(plain("m"), plain("n"), plain("n", a="n", b="m")) == ["left", "right", "left"]
    assert outcome(plain("gpt", a="r1", b="r2", model_a="llama", model_b="gpt")) == ["right"]


def test_a_name_in_another_case_of_neither_side_or_of_both_is_not_an_outcome() -> None:
    for name in ("M", "o"):
        assert reject(plain(name), plain("m"))["reason"] == "unknown-outcome"
    both = plain("w", a="r1", b="r2", model_a="w", model_b="w")
    assert reject(both, plain("r3", a="r3", b="r4", model_a="m", model_b="n"))["reason"] == "unknown-outcome"


def test_a_typo_is_never_a_tie() -> None:
    found = reject(pair(winner="lft"), pair())
    assert (found["column_name"], found["value"], found["reason"]) == ("winner", "lft", "unknown-outcome")
    assert found["message"].startswith("column 'winner' holds 'lft'; expected left, right, tie, both_bad")


def test_a_name_that_spells_the_other_side_is_ambiguous() -> None:
    """Responses called A and B, and the B stands first."""
    good = plain("A", a="A", b="B")
    assert outcome(good) == ["left"]
    assert reject(plain("A", a="B", b="A"), good)["reason"] == "ambiguous-outcome"


def test_a_mapped_value_is_not_a_name() -> None:
    assert outcome(plain("1", a="1", b="0"), outcomes={"1": "right", "0": "left"}) == ["right"]


def test_sides_are_recorded_and_not_guessed() -> None:
    assert cleaned(pair()).rows["sides_known"].to_list() == [True]
    assert cleaned(plain("a")).rows["sides_known"].to_list() == [False]
    assert cleaned(plain("left"), sides="shown").rows["sides_known"].to_list() == [True]


def test_the_winner_of_shown_sides_is_found_beside_models_in_another_order() -> None:
    row = {"prompt": "8", "model_x": "97", "model_y": "98", "left": "Weaver", "right": "Airo", "winner": "right"}
    [vote] = cleaned(row).rows.to_dicts()
    assert (vote["response_left"], vote["response_right"], vote["outcome"]) == ("Weaver", "Airo", "right")
    assert (vote["model_left"], vote["model_right"]) == (None, None)


# The other rules.


@pytest.mark.parametrize("text", ["soon", "-1", "1m", "inf", "NaN"])
@pytest.mark.parametrize("field", ["voted_at", "seconds"])
def test_an_unreadable_time_is_null_and_counted(field: str, text: str) -> None:
    found = cleaned(pair(**{field: text}), pair(**{field: None}))
    assert (found.rows[field].to_list(), found.unreadable) == ([None, None], {field: 1})


@pytest.mark.parametrize(
    ("cells", "column", "value", "reason"),
    [
        ({"prompt_id": " "}, "prompt_id", None, "empty-id"),
        ({"left": None}, "left", None, "empty-id"),
        ({"right": ""}, "right", None, "empty-id"),
        ({"right": " a"}, "right", "a", "self-comparison"),
        ({"winner": None}, "winner", None, "unknown-outcome"),
        ({"winner": "1"}, "winner", "1", "unknown-outcome"),
        ({"timestamp": "2026-01-01T12:06:00Z"}, "timestamp", "2026-01-01T12:06:00Z", "future-vote"),
        ({"timestamp": "2026-01-02 03:00"}, "timestamp", "2026-01-02 03:00", "future-vote"),
        ({"weight": "0"}, "weight", "0", "bad-weight"),
        ({"weight": "NaN"}, "weight", "NaN", "bad-weight"),
        ({"weight": "much"}, "weight", "much", "bad-weight"),
    ],
)
def test_a_reject_states_its_column_and_value(
    cells: dict[str, str | None], column: str, value: str | None, reason: str
) -> None:
    columns = {"timestamp": None, "weight": None}
    found = reject(pair(**{**columns, **cells}), pair(**columns))
    assert (found["column_name"], found["value"], found["reason"]) == (column, value, reason)
    assert found["message"].startswith(f"column '{column}' holds '{value or ''}'; ")


def test_a_reject_keeps_its_row_as_it_was_read() -> None:
    row = pair(winner=" lft ", note='says "x"\n')
    assert json.loads(reject(row, pair(note=None))["row"]) == row


def test_the_first_rule_that_fails_gives_the_reason() -> None:
    assert reject(pair(left="b", winner="lft", weight="0"), pair(weight="1"))["reason"] == "self-comparison"


def test_future_votes_have_slack_for_clocks_and_zones() -> None:
    rows = [pair(timestamp=text) for text in ("2026-01-01T12:04:00Z", "2026-01-02 01:59", "1767268800")]
    assert cleaned(*rows).rejects.is_empty()


def test_empty_optional_cells_are_absent_values_and_a_weight_is_1() -> None:
    [vote] = cleaned(pair(worker=" ", timestamp="", lead_time=None, weight="")).rows.to_dicts()
    assert (vote["annotator_id"], vote["voted_at"], vote["seconds"], vote["weight"]) == (None, None, None, 1.0)


def test_texts_and_models_come_with_the_vote_and_only_texts_are_not_trimmed() -> None:
    row = plain(" m", worker=" w1", question="What?", video="v.mp4", text_a=" Yes. ", model_a="gpt ", model_b="llama")
    [vote] = cleaned(row).rows.to_dicts()
    assert (vote["response_left"], vote["annotator_id"], vote["outcome"]) == ("m", "w1", "left")
    assert (vote["question"], vote["video"], vote["text_left"], vote["model_left"]) == (
        "What?",
        "v.mp4",
        " Yes. ",
        "gpt",
    )


def test_rows_and_rejects_add_up_including_broken_records() -> None:
    broken = (BrokenRecord(5, "broken-record", "half a line", "{", damage=True),)
    found = cleaned(pair(), pair(winner="?"), pair(), broken=broken)
    assert found.rows["line"].to_list() == [2, 4]
    assert [(r["line"], r["reason"], r["row"]) for r in found.rejects.to_dicts()][1:] == [(5, "broken-record", "{")]
    assert found.rejects["line"].to_list() == [3, 5]


# K-wise rankings.


def ranked(rankings: str, responses: str | None = '["a", "b", "c"]') -> dict[str, str | None]:
    return {"prompt_id": "p", "responses": responses, "rankings": rankings}


@pytest.mark.parametrize(
    ("rankings", "responses", "expected"),
    [
        ("[2, 1, 3]", '["a", "b", "c"]', ["ab right", "ac left", "bc left"]),  # ranks beside responses, 1 is best
        ("[1, 1, 2]", '["a", "b", "c"]', ["ab tie", "ac left", "bc left"]),
        ('["c", "a", "b"]', '["a", "b", "c"]', ["ca left", "cb left", "ab left"]),  # names, the best first
        ('["c", "a"]', None, ["ca left"]),
        ("[2, 1]", '[" a", "b "]', ["ab right"]),  # names are trimmed
    ],
)
def test_a_ranking_is_its_pairs(rankings: str, responses: str | None, expected: list[str]) -> None:
    found = cleaned(ranked(rankings, responses))
    assert found.rejects.is_empty()
    assert [f"{left}{right} {outcome}" for _, left, right, outcome in found.pairs.iter_rows()] == expected


def test_the_sides_of_a_ranking_are_unknown() -> None:
    assert cleaned(ranked("[1, 2, 3]")).rows["sides_known"].to_list() == [False]


def test_the_pairs_of_many_rankings_stay_with_their_lines() -> None:
    found = cleaned(ranked("[1, 2, 3]"), ranked("[1]"), ranked('["b", "a"]', '["a", "b"]'))
    assert found.pairs["line"].to_list() == [2, 2, 2, 4]
    assert found.rejects["line"].to_list() == [3]


@pytest.mark.parametrize(
    ("rankings", "responses", "fault"),
    [
        ("[1, 2]", '["a", "b", "c"]', "neither one rank for each response"),
        ("[1, 2, 2.5]", '["a", "b", "c"]', "neither one rank for each response"),
        ('["a", "b"]', '["a", "b", "c"]', "neither one rank for each response"),
        ('["a", "b", "d"]', '["a", "b", "c"]', "neither one rank for each response"),
        ("[1, null, 2]", '["a", "b", "c"]', "a response or a rank is missing"),
        ("[1, 2]", '["a", " "]', "a response or a rank is missing"),
        ("[1, 2, 3]", '["a", "b", "a"]', "a response appears twice"),
        ('["a", "b", "a"]', None, "a response appears twice"),
        ("[0, 1]", '["a", "b"]', "ranks start at 1"),
        ("[-1, 2]", '["a", "b"]', "ranks start at 1"),
        ("[1]", '["a"]', "fewer than two responses"),
        ("[]", "[]", "fewer than two responses"),
        ("[2, 1]", '["1", "2"]', "named by numbers"),
        ("a > b", '["a", "b"]', "expected a JSON list"),
        ("[1, 2", '["a", "b"]', "expected a JSON list"),
        ("[1, 2]", "a, b", "the responses as a JSON list"),
        ("[2, 1]", None, "the responses beside their ranks"),
    ],
)
def test_a_bad_ranking_is_rejected_with_its_fault(rankings: str, responses: str | None, fault: str) -> None:
    found = reject(ranked(rankings, responses), ranked("[1, 2, 3]"))
    assert (found["column_name"], found["value"], found["reason"]) == ("rankings", rankings, "bad-ranking")
    assert fault in found["message"]


# Times.

TEN = datetime(2024, 1, 2, 10, 0, 0)


def parsed(*texts: str | None) -> list[tuple[datetime | None, bool]]:
    time, zoned = parse_times(pl.Series(texts, dtype=pl.String))
    return list(zip(time.to_list(), zoned.to_list(), strict=True))


@pytest.mark.parametrize(
    "text",
    [
        "2024-01-02T10:00:00Z",
        "2024-01-02T12:00:00+02:00",
        "2024-01-02T12:00:00.000+0200",
        "2024-01-02 08:00:00-02",
        "2024-01-02 10:00:00.0 UTC",
        "2024-01-02 10:00:00 +00:00",
        "1704189600",
        "1704189600.0",
        "1704189600000",
        "1704189600000000",
        "1.7041896e9",
    ],
)
def test_a_time_that_names_its_zone_is_read_as_utc(text: str) -> None:
    assert parsed(text) == [(TEN, True)]


@pytest.mark.parametrize("text", ["2024-01-02T10:00:00", "2024-01-02 10:00:00.000", "2024-01-02 10:00"])
def test_a_time_without_a_zone_is_utc_and_marked(text: str) -> None:
    assert parsed(text) == [(TEN, False)]


def test_a_date_is_its_midnight() -> None:
    assert parsed("2024-01-02") == [(datetime(2024, 1, 2), False)]


@pytest.mark.parametrize(
    "text",
    [
        *("yesterday", "2024-02-30", "01/02/2024", "NaN", "inf", "1e30", "", "2024-01-02 10:00:00 CET"),
        *("12.5", "0", "-5", "2024", "20240102", "99999999"),  # small numbers
    ],
)
def test_a_text_that_is_not_a_time_is_null(text: str) -> None:
    assert parsed(text) == [(None, False)]


def test_each_row_of_a_column_may_be_spelled_in_its_own_way() -> None:
    texts = ("2024-01-02 10:00:00", None, "1704189600", "never", "2024-01-02T10:00:00Z", "2024-01-02 10:00:00")
    assert parsed(*texts) == [(TEN, False), (None, False), (TEN, True), (None, False), (TEN, True), (TEN, False)]


def test_an_empty_column_stays_empty() -> None:
    assert parsed() == []
    assert parsed(None, None) == [(None, False), (None, False)]
