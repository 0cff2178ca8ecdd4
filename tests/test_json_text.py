"""JSON in vote files: every text arrives byte for byte, in every format and at every depth, and nothing raises."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import annotations.readers.json_text as json_text
from annotations.readers.files import find_files
from annotations.readers.formats import BrokenRecord, read_chunks
from annotations.readers.json_text import decode, decode_lists, query
from annotations.readers.rankings import read_rankings
from schemas.errors import CurateError

any_time = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

texts = st.one_of(
    st.text(st.characters(codec="utf-8"), max_size=12),
    st.text(st.sampled_from('\\"/nrtbfu0041\n\r\t\0\x1f\x7f\u2028é😀[]{},: '), max_size=12),
    st.sampled_from(
        [r"\frac{1}{2}", r"\n", '"', '\\"', "\\u0041", "[", "{", "null", "NaN", "1e5", "\ud7ff\ue000", "\ufeff"]
    ),
)
"""Texts, most of them with characters that JSON escapes."""


def nested(text: str, shape: str) -> Any:
    """The text inside lists (l) and objects (o), outermost first."""
    value: Any = text
    for kind in reversed(shape):
        value = [text, value] if kind == "l" else {text: value, "last": text}
    return value


def read(path: Path) -> tuple[list[dict[str, str | None]], list[BrokenRecord]]:
    chunks = list(read_chunks(find_files([path])[0]))
    return [row for chunk in chunks for row in chunk.frame.to_dicts()], [b for chunk in chunks for b in chunk.broken]


@pytest.mark.parametrize("name", ["v.jsonl", "v.json"])
@any_time
@given(values=st.lists(texts, min_size=1, max_size=4), shape=st.text("lo", max_size=6), escaped=st.booleans())
def test_every_text_in_json_arrives_byte_for_byte(
    name: str, values: list[str], shape: str, escaped: bool, tmp_path: Path
) -> None:
    records = [{"plain": text, "deep": nested(text, shape), f"key {text}": "x"} for text in values]
    lines = [json.dumps(record, ensure_ascii=escaped) for record in records]
    text = "[" + " ,\n".join(lines) + "]" if name == "v.json" else "\n".join(lines)
    (tmp_path / name).write_bytes(text.encode())
    rows, broken = read(tmp_path / name)
    assert broken == []
    assert [row["plain"] for row in rows] == values
    deep = [row["deep"] or "" for row in rows]
    assert [json.loads(value) if shape else value for value in deep] == [nested(text, shape) for text in values]
    assert [row[f"key {text}"] for text, row in zip(values, rows, strict=True)] == ["x"] * len(values)


@any_time
@given(values=st.lists(texts, min_size=1, max_size=4))
def test_every_text_in_parquet_arrives_byte_for_byte(values: list[str], tmp_path: Path) -> None:
    deep = [{"a": [{"b": text, "c": [text]}], "d": {"e": text}} for text in values]
    table = pa.table({"plain": values, "deep": deep, "list": [[text, text] for text in values]})
    pq.write_table(table, tmp_path / "v.parquet")
    rows, _ = read(tmp_path / "v.parquet")
    assert [row["plain"] for row in rows] == values
    assert [json.loads(row["deep"] or "") for row in rows] == deep
    assert [json.loads(row["list"] or "") for row in rows] == [[text, text] for text in values]


@any_time
@given(names=st.lists(texts.map("x{}x".format), min_size=2, max_size=5, unique=True))
def test_the_responses_of_a_ranking_arrive_byte_for_byte(names: list[str]) -> None:
    ranks = list(range(1, len(names) + 1))
    frame = pl.DataFrame({"responses": [json.dumps(names)], "rankings": [json.dumps(ranks)]})
    found = read_rankings(frame).row(0, named=True)
    assert (found["fault"], found["judged"], found["ranks"]) == (None, names, ranks)


def test_lists_are_decoded_with_their_items_as_trimmed_text() -> None:
    source = [
        '["a", " b "]',
        "[1, 2.5, true]",
        "[]",
        '[null, "\\u0000"]',
        '[["x\\\\n"], {"k": 1}]',
        "text",
        "[1,",
        '{"a": 1}',
        None,
        "",
    ]
    expected = [["a", "b"], ["1", "2.5", "true"], [], [None, "\0"], ['["x\\\\n"]', '{"k":1}'], *[None] * 5]
    assert decode_lists(pl.Series(source)).to_list() == expected
    assert decode_lists(pl.Series([], dtype=pl.String)).to_list() == []


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (r'{"a": "\ud800"}', "not a JSON object"),
        (r'{"a": ["\udc00\ud800"]}', "not a JSON object"),
        ('{"a": 1, "b": 2, "a": 3}', "a key occurs twice"),
        ('{"a": 1} {"a": 2}', "not a JSON object"),
        ('{"a": "tab\there"}', "not a JSON object"),
        ('"text"', "not a JSON object"),
        ("[]", "not a JSON object"),
    ],
)
def test_what_is_no_record_is_broken_alone(record: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "v.jsonl").write_text(f'{{"a": 1}}\n{record}\n   \n{{"a": 2}}\n{{}}\n')
    rows, broken = read(tmp_path / "v.jsonl")
    assert rows == [{"a": "1"}, {"a": "2"}, {"a": None}]
    assert broken == [BrokenRecord(2, "broken-record", message, record, damage=True)]


def test_numbers_keep_their_digits_and_their_names(tmp_path: Path) -> None:
    text = (
        '{"a": NaN, "b": -Infinity, "c": 1234567890123456789012345678901234567890, "d": [0.1, 12345678901234567890123]}'
    )
    (tmp_path / "v.jsonl").write_text(text)
    assert read(tmp_path / "v.jsonl")[0] == [
        {
            "a": "NaN",
            "b": "-Infinity",
            "c": "1234567890123456789012345678901234567890",
            "d": "[0.1,12345678901234567890123]",
        }
    ]


def test_keys_that_pointers_escape_are_keys_like_any_other(tmp_path: Path) -> None:
    record = {"a/b": "1", "~": "2", "~1": "3", "": "4", "/": "5", "$.a": "6", "0": "7", "\0": "8", "*": "9"}
    (tmp_path / "v.jsonl").write_text(json.dumps(record))
    assert read(tmp_path / "v.jsonl")[0] == [record]


def test_many_cells_are_extracted_piece_by_piece(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_text, "MAX_CELLS", 7)
    (tmp_path / "v.jsonl").write_text("".join(f'{{"a": {i}, "k{i % 3}": "x"}}\n' for i in range(20)))
    rows, _ = read(tmp_path / "v.jsonl")
    assert [row["a"] for row in rows] == [str(i) for i in range(20)]
    assert [row[f"k{i % 3}"] for i, row in enumerate(rows)] == ["x"] * 20


def test_records_without_common_keys_are_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_text, "MAX_KEYS", 5)
    (tmp_path / "v.jsonl").write_text("".join(f'{{"k{i}": 1}}\n' for i in range(6)))
    with pytest.raises(CurateError, match="6 different keys") as caught:
        read(tmp_path / "v.jsonl")
    assert caught.value.hint


@pytest.mark.parametrize("text", ["[" * 100_000, "[" * 100_000 + "]" * 100_000, "[" + "9" * 5000 + "]", "[1,", "{x}"])
def test_decoding_never_raises(text: str) -> None:
    assert decode(text) == text


def test_queries_keep_the_order_of_rows() -> None:
    frame = pl.DataFrame({"t": [json.dumps({"i": i}) for i in range(50_000)]})
    assert query("SELECT t ->> '$.i' AS i FROM chunk", chunk=frame)["i"].to_list() == [str(i) for i in range(50_000)]
