"""Where records begin and end: split_csv and the parsing beneath it against Python's own csv module."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import annotations.readers.files
from annotations.readers.files import find_files
from annotations.readers.formats import read_chunks
from annotations.readers.json_array import ArrayItems, nested_beyond
from annotations.readers.records import count_fields, split_csv, split_lines

MOST = sys.maxsize
Split = list[tuple[int, str, bool]]


def blocks(text: str, size: int) -> Iterator[bytes]:
    raw = text.encode()
    yield from (raw[i : i + size] for i in range(0, len(raw), size))


def split(text: str, size: int = 1 << 20) -> Split:
    """(line, text, soundness) of every CSV record."""
    return [
        (int(records.line[i]), records.text(i), bool(records.sound[i]))
        for records in split_csv(blocks(text, size), ",", MOST, [])
        for i in range(len(records))
    ]


def read(path: Path) -> tuple[list[list[str]], list[int], list[int]]:
    """(rows, their lines, lines of what is broken) of a file; an empty field is an empty text."""
    rows, lines, broken = [], [], []
    for chunk in read_chunks(find_files([path])[0]):
        rows += [list(row) for row in chunk.frame.with_columns(pl.all().fill_null("")).iter_rows()]
        lines += chunk.line.to_list()
        broken += [b.line for b in chunk.broken]
    return rows, lines, broken


def test_a_line_break_within_quotes_belongs_to_its_record() -> None:
    assert split('a,b\n"1\n2",3\n4,5\n') == [(1, "a,b", True), (2, '"1\n2",3', True), (4, "4,5", True)]


def test_blank_lines_are_no_records_but_are_counted_as_lines() -> None:
    assert split("\n\na,b\n\r\n1,2\n\n") == [(3, "a,b", True), (5, "1,2", True)]


def test_the_carriage_return_of_a_line_break_is_not_part_of_a_record() -> None:
    assert split("a,b\r\n1,2\r\n") == [(1, "a,b", True), (2, "1,2", True)]


def test_line_breaks_with_two_carriage_returns_are_line_breaks() -> None:
    text = 'a,b\r\r\n1,2\r\r\n3,"4\r"\r\r\n'
    assert split(text) == [(1, "a,b", True), (2, "1,2", True), (3, '3,"4\r"', True)]


def test_a_last_line_needs_no_line_break() -> None:
    assert split("a,b\n1,2") == [(1, "a,b", True), (2, "1,2", True)]


@pytest.mark.parametrize(
    "stray",
    ['x"y,1', 'x",1', '"x,1', '"x"y,1', '"x" ,1', ' "x",1', '""x"",1', '"x\ry",1"'],
)
def test_a_stray_quote_makes_its_own_row_unsound_and_no_other(stray: str) -> None:
    below = [(3, "2,3", True), (4, '"4",5', True), (5, '"6\n7",8', True), (7, '9,"a ""b"" c"', True)]
    text = "\n".join(["a,b", stray, *(row for _, row, _ in below)]) + "\n"
    assert split(text) == [(1, "a,b", True), (2, stray, False), *below]


def test_two_stray_quotes_do_not_hide_what_is_between_them() -> None:
    rows = split('a,b\nx"y,1\n"2\n2",3\nx"y,4\n"5\n5",6\n')
    assert [(line, sound) for line, _, sound in rows] == [(1, True), (2, False), (3, True), (5, False), (6, True)]


def test_a_quote_that_never_closes_costs_one_row() -> None:
    rows = split('a,b\n1,"2\n3,4\n5,6\n')
    assert rows == [(1, "a,b", True), (2, '1,"2', False), (3, "3,4", True), (4, "5,6", True)]


@pytest.mark.parametrize("size", [1, 3, 10, 1000])
def test_a_line_beyond_the_limit_is_skipped_and_a_quote_cannot_hold_more(size: int) -> None:
    text = "a,b\n1," + 30 * "x" + '\n2,2\n3,"3\n4,4\n5,5\n6,6\n7,' + 30 * "x"
    oversized: list[int] = []
    found = [
        (line, records.text(i), bool(records.sound[i]))
        for records in split_csv(blocks(text, size), ",", 12, oversized)
        for i, line in enumerate(records.line.tolist())
    ]
    if size == 1000:  # what is read at once may be longer
        assert (oversized, [line for line, _, _ in found]) == ([8], [1, 2, 3, 4, 5, 6, 7])
    else:
        assert oversized == [2, 8]
        expected = [(1, "a,b"), (3, "2,2"), (4, '3,"3'), (5, "4,4"), (6, "5,5"), (7, "6,6")]
        assert found == [(line, text, line != 4) for line, text in expected]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.sampled_from('ab\\"[]{},: é\n'), max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=3),
    max_leaves=6,
)


def levels(value: object) -> int:
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if parts is None else 1 + max(map(levels, parts), default=0)


@given(st.lists(JSON, max_size=5), st.sampled_from([None, 1]), st.integers(1, 9), st.booleans())
def test_items_of_a_json_array_are_those_of_pythons_parser(
    values: list[object], indent: int | None, size: int, ascii_only: bool
) -> None:
    raw = json.dumps(values, indent=indent, ensure_ascii=ascii_only).encode()
    items = ArrayItems((raw[at : at + size] for at in range(0, len(raw), size)), MOST)
    texts = [(line, text) for records in items for line, text in zip(records.line, records.texts(), strict=True)]
    assert [line for line, _ in texts] == list(range(1, len(values) + 1))
    assert [json.loads(text.as_py()) for _, text in texts] == values
    assert items.closed
    assert not items.rest
    depth = levels(values)
    assert nested_beyond(np.frombuffer(raw, np.uint8), depth - 1)
    assert not nested_beyond(np.frombuffer(raw, np.uint8), depth)


def test_bytes_that_are_not_utf8_make_their_own_record_unsound() -> None:
    [records] = split_csv(iter([b"a,b\n1,\xff\n2,3\n"]), ",", MOST, [])
    assert records.sound.tolist() == [True, False, True]
    assert records.text(1) == "1,\\xff"


def test_delimiters_within_quotes_separate_nothing() -> None:
    [records] = split_csv(iter([b'a,b\n"1,2",3\n"4""5,""6",7\nx"y,1,2\n8,9,10\n']), ",", MOST, [])
    assert count_fields(records, ",").tolist()[:3] == [2, 2, 2]
    assert count_fields(records, ",").tolist()[4] == 3


def test_jsonl_knows_no_quotes_across_lines() -> None:
    [records] = split_lines(iter([b'{"a": "\n{"a": 1}\n']), MOST, [])
    assert records.line.tolist() == [1, 2]
    assert records.sound.all()


def test_chosen_records_join_with_nothing_between() -> None:
    [records] = split_csv(iter([b'a,b\r\n\r\n"1\n1",2\n\n3,4\r\n5,6\n']), ",", MOST, [])
    assert records.joined().split(b"\n") == [b"a,b", b'"1', b'1",2', b"3,4", b"5,6", b""]
    assert records.take(np.array([0, 2])).joined() == b"a,b\n3,4\n"


# Against Python's csv module.

fields = st.one_of(
    st.text(st.sampled_from("ab é,;\"\n\t'\\#"), max_size=5),
    st.text(st.characters(codec="utf-8", exclude_characters="\r\0"), max_size=4),
    st.sampled_from(["\r\n", "a\r\nb", "null", "NA", '"', '""', ",", "\n\n", " x "]),
)


@st.composite
def well_formed(draw: st.DrawFn) -> str:
    """A CSV text, each field quoted where it must be or where the dice say so, with blank lines here and there."""
    columns = draw(st.integers(2, 4))
    end = draw(st.sampled_from(["\n", "\r\n"]))
    rows = [[f"c{i}" for i in range(columns)]]
    rows += draw(st.lists(st.lists(fields, min_size=columns, max_size=columns), max_size=6))
    lines = []
    for row in rows:
        cells = []
        for cell in row:
            quoted = any(c in cell for c in ',"\n\r') or draw(st.booleans())
            cells.append('"' + cell.replace('"', '""') + '"' if quoted else cell)
        lines.append(",".join(cells) + end * draw(st.integers(1, 2)))
    text = "".join(lines)
    return text if draw(st.booleans()) else text.rstrip("\r\n") if not lines[-1].endswith('"\r\n') else text


def by_the_book(text: str) -> tuple[list[list[str]], list[int]]:
    """(rows without the header, the line on which each begins) by Python's csv module."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    rows, lines, line = [], [], 1
    for row in reader:
        if row:
            rows.append(row)
            lines.append(line)
        line = reader.line_num + 1
    return rows[1:], lines[1:]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=well_formed(), size=st.sampled_from([1, 2, 3, 7, 16, 1 << 20]), bom=st.booleans())
def test_well_formed_csv_reads_as_python_reads_it(
    text: str, size: int, bom: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "rows.csv"
    path.write_bytes(b"\xef\xbb\xbf" * bom + text.encode())
    monkeypatch.setattr(annotations.readers.files, "BLOCK", size)
    rows, lines = by_the_book(text)
    assert read(path) == (rows, lines, [])


@settings(max_examples=40, deadline=None)
@given(text=st.text(st.sampled_from('ab,"\n\r'), max_size=40), size=st.integers(1, 9))
def test_block_boundaries_do_not_change_records(text: str, size: int) -> None:
    assert split(text, size) == split(text)


@settings(max_examples=40, deadline=None)
@given(text=st.text(st.sampled_from('ab,"\n\r'), max_size=40))
def test_every_line_is_in_exactly_one_record_or_blank(text: str) -> None:
    covered = [line + i for line, record, _ in split(text) for i in range(record.count("\n") + 1)]
    assert len(covered) == len(set(covered))
    blank = {i for i, line in enumerate(text.split("\n"), start=1) if line in ("", "\r", "\r\r")}
    assert set(range(1, text.count("\n") + 2)) - set(covered) <= blank


@settings(max_examples=30, deadline=None)
@given(good=well_formed(), stray=st.sampled_from(['x"y,1', '"x"y,1', 'x",1']))
def test_a_stray_quote_above_leaves_well_formed_rows_as_they_are(good: str, stray: str) -> None:
    body = split(good)[1:]
    shifted = [(line, text, sound) for line, text, sound in split("a,b\n" + stray + "\n" + good)]
    assert shifted[1] == (2, stray, False)
    assert [(line - 2, text, sound) for line, text, sound in shifted[3:]] == body
