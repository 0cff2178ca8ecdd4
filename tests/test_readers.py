"""Reading vote files: every format gives equal rows for equal content, and damage is named where it is."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import annotations.readers.files
from annotations.readers.files import find_files
from annotations.readers.formats import BrokenRecord, Chunk, delimiter_of, read_chunks
from schemas.errors import CurateError

ROWS = [
    {"prompt_id": "p1", "left": "a", "right": "b", "winner": "left", "note": 'say "hi", then\ngo'},
    {"prompt_id": "p2", "left": "é", "right": "b c", "winner": "tie", "note": None},
]


def csv_text(delimiter: str = ",", end: str = "\n") -> str:
    rows = [list(ROWS[0]), ["p1", "a", "b", "left", '"say ""hi"", then\ngo"'], ["p2", "é", "b c", "tie", ""]]
    return "".join(delimiter.join(row) + end for row in rows)


TEXTS: dict[str, str] = {
    "commas.csv": csv_text(),
    "tabs.tsv": csv_text("\t"),
    "semicolons.csv": csv_text(";"),
    "bars.txt": csv_text("|"),
    "windows.csv": csv_text(end="\r\n"),
    "marked.csv": "\ufeff" + csv_text(),
    "gaps.csv": "\n" + csv_text(end="\n\n"),
    "array.json": json.dumps(ROWS, indent=2),
    "lines.jsonl": "".join(json.dumps(row) + "\n" for row in ROWS),
    "windows.ndjson": "\ufeff" + "".join(json.dumps(row, ensure_ascii=False) + "\r\n\r\n" for row in ROWS),
    "misnamed.json": "\n".join(json.dumps(row) for row in ROWS),
}


def chunks(path: Path) -> list[Chunk]:
    return list(read_chunks(find_files([path])[0]))


def rows(path: Path) -> list[dict[str, str | None]]:
    return [row for chunk in chunks(path) for row in chunk.frame.to_dicts()]


def lines(path: Path) -> list[int]:
    return [line for chunk in chunks(path) for line in chunk.line]


def broken(path: Path) -> list[BrokenRecord]:
    return [record for chunk in chunks(path) for record in chunk.broken]


def gzipped(path: Path, data: bytes) -> Path:
    path.write_bytes(gzip.compress(data, mtime=0))
    return path


# Formats.


@pytest.mark.parametrize("name", TEXTS)
def test_equal_content_gives_equal_rows_whatever_the_format(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(TEXTS[name].encode())
    assert rows(path) == ROWS
    assert broken(path) == []


@pytest.mark.parametrize("name", TEXTS)
def test_gzip_is_detected_by_content(name: str, tmp_path: Path) -> None:
    assert rows(gzipped(tmp_path / (name + ".gz"), TEXTS[name].encode())) == ROWS
    assert rows(gzipped(tmp_path / name, TEXTS[name].encode())) == ROWS


def test_parquet_gives_the_same_rows(tmp_path: Path) -> None:
    pl.DataFrame(ROWS).write_parquet(tmp_path / "votes.parquet")
    assert rows(tmp_path / "votes.parquet") == ROWS
    assert lines(tmp_path / "votes.parquet") == [1, 2]


@pytest.mark.parametrize("size", [*range(1, 10), 13, 17, 22, 27, 40])
def test_block_boundaries_do_not_matter(size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, text in TEXTS.items():
        (tmp_path / name).write_bytes(text.encode())
    expected = {name: (rows(tmp_path / name), lines(tmp_path / name)) for name in TEXTS}
    monkeypatch.setattr(annotations.readers.files, "BLOCK", size)
    assert {name: (rows(tmp_path / name), lines(tmp_path / name)) for name in TEXTS} == expected


def test_every_row_knows_its_line(tmp_path: Path) -> None:
    path = tmp_path / "votes.csv"
    path.write_text('a,b\n\n1,"x\ny\nz"\n2,3\r\n\r\n4,5')
    assert lines(path) == [3, 6, 8]


def test_json_values_become_texts_that_keep_every_digit(tmp_path: Path) -> None:
    values = {"id": 123456789012345678901234, "n": 9007199254740993, "ok": True, "no": None, "list": ["a", 1]}
    for name, text in {"v.json": json.dumps([values]), "v.jsonl": json.dumps(values)}.items():
        (tmp_path / name).write_text(text)
        [row] = rows(tmp_path / name)
        assert json.loads(row.pop("list") or "") == ["a", 1]
        assert row == {"id": "123456789012345678901234", "n": "9007199254740993", "ok": "true", "no": None}


def test_keys_may_differ_from_line_to_line(tmp_path: Path) -> None:
    (tmp_path / "v.jsonl").write_text('{"a": 1}\n{"b": [1, "x"]}\n{"a": "z", "b": 2}\n')
    assert rows(tmp_path / "v.jsonl") == [
        {"a": "1", "b": None},
        {"a": None, "b": '[1,"x"]'},
        {"a": "z", "b": "2"},
    ]


def test_parquet_types_become_their_usual_texts(tmp_path: Path) -> None:
    table = pa.table(
        {
            "when": pa.array([datetime(2024, 1, 1, 10)], pa.timestamp("us", tz="Europe/Berlin")),
            "ranks": [[1, 2]],
            "n": [7],
            "kind": pa.array(["x"]).dictionary_encode(),
            "bytes": [b"text"],
            "image": [b"\xff\xd8"],
            "nothing": pa.nulls(1),
        }
    )
    pq.write_table(table, tmp_path / "v.parquet")
    assert rows(tmp_path / "v.parquet") == [
        {
            "when": "2024-01-01 11:00:00.000000+01:00",
            "ranks": "[1,2]",
            "n": "7",
            "kind": "x",
            "bytes": "text",
            "image": "ffd8",
            "nothing": None,
        }
    ]


@pytest.mark.parametrize(
    ("header", "delimiter"), [("a,b", ","), ("a\tb,c\td", "\t"), ("a;b", ";"), ("a|b|c", "|"), ("a", ",")]
)
def test_the_delimiter_is_what_the_header_uses_most(header: str, delimiter: str) -> None:
    assert delimiter_of(header) == delimiter


# Finding files.


def test_a_directory_gives_its_vote_files_by_name_and_below(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    for name in ("b.csv", "a.jsonl", "sub/c.csv.gz", "notes.md"):
        (tmp_path / name).write_text('{"a": 1}')
    found = [file.path.relative_to(tmp_path).as_posix() for file in find_files([tmp_path])]
    assert found == ["a.jsonl", "b.csv", "sub/c.csv.gz"]


def test_globs_are_expanded_and_no_file_is_read_twice(tmp_path: Path) -> None:
    for name in ("a.csv", "b.csv"):
        (tmp_path / name).write_text("x\n")
    found = find_files([tmp_path / "b.csv", tmp_path / "*.csv", tmp_path])
    assert [file.path.name for file in found] == ["b.csv", "a.csv"]


def test_a_file_whose_name_looks_like_a_glob_is_itself(tmp_path: Path) -> None:
    (tmp_path / "votes[1].csv").write_text("x\n")
    assert find_files([tmp_path / "votes[1].csv"])[0].path.name == "votes[1].csv"


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "empty"),
        (b"\xef\xbb\xbf \n\n", "empty"),
        ("a,b\n".encode("utf-16"), "UTF-16"),
        (b"\x7fELF\0\0\0", "neither text nor Parquet"),
        (gzip.compress(b"a,b\n1,2\n", mtime=0)[:6], "nothing can be read"),
    ],
)
def test_a_file_that_cannot_be_read_is_an_error_with_its_name(content: bytes, complaint: str, tmp_path: Path) -> None:
    (tmp_path / "votes.csv").write_bytes(content)
    with pytest.raises(CurateError, match=f"votes.csv: .*{complaint}") as caught:
        find_files([tmp_path / "votes.csv"])
    assert caught.value.hint


@pytest.mark.parametrize("path", ["missing.csv", "*.nothing", "."])
def test_a_missing_path_is_an_error(path: str, tmp_path: Path) -> None:
    with pytest.raises(CurateError, match=r"no such file|no vote files"):
        find_files([tmp_path / path])


@pytest.mark.parametrize(("header", "complaint"), [("a,a", "two columns are named a"), ("a\rb,c\rd", "cannot be read")])
def test_a_bad_header_is_an_error(header: str, complaint: str, tmp_path: Path) -> None:
    (tmp_path / "v.csv").write_bytes(header.encode() + b"\n")
    with pytest.raises(CurateError, match=f"v.csv:1: .*{complaint}"):
        chunks(tmp_path / "v.csv")


def test_a_repeated_parquet_column_is_an_error(tmp_path: Path) -> None:
    pq.write_table(pa.table([[1], [2]], names=["a", "a"]), tmp_path / "v.parquet")
    with pytest.raises(CurateError, match="two columns are named a"):
        chunks(tmp_path / "v.parquet")


@pytest.mark.parametrize("text", ["a,b\n", '"a","b"', '\n"a",b\r\n'])
def test_a_header_alone_is_a_file_without_rows(text: str, tmp_path: Path) -> None:
    (tmp_path / "v.csv").write_text(text)
    assert (rows(tmp_path / "v.csv"), broken(tmp_path / "v.csv")) == ([], [])


# Damage.


def seen(path: Path) -> tuple[list[int], list[tuple[int, str, bool]]]:
    return lines(path), [(b.line, b.reason, b.damage) for b in broken(path)]


def test_a_row_with_too_few_or_too_many_fields_is_broken_alone(tmp_path: Path) -> None:
    (tmp_path / "v.csv").write_text("a,b\n1\n2,3\n4,5,6\n7,8\n")
    assert seen(tmp_path / "v.csv") == ([3, 5], [(2, "wrong-field-count", False), (4, "wrong-field-count", False)])


@pytest.mark.parametrize("first", ["1,2\n", "1,2,3\n", '1,"2"\n'])
def test_rows_may_omit_the_last_columns_that_a_platform_names(first: str, tmp_path: Path) -> None:
    (tmp_path / "v.csv").write_text("a,b,Approve,Reject\n" + first + "1\n1,2,3,4\n1,2,3,4,5\n,,\n")
    [file] = find_files([tmp_path / "v.csv"])
    [chunk] = read_chunks(file, optional=("Reject", "Approve", "a"))
    assert chunk.line.to_list() == [2, 4, 6]
    assert chunk.frame["Reject"].to_list() == [None, "4", None]
    assert chunk.frame["b"].to_list() == ["2", "2", None]
    assert [(b.line, b.reason) for b in chunk.broken] == [(3, "wrong-field-count"), (5, "wrong-field-count")]


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("quote.csv", b'a,b\n1,x"y\n2,3\n"4",5\n', ([3, 4], [(2, "broken-record", True)])),
        ("unclosed.csv", b'a,b\n1,2\n3,"4\n5,6\n', ([2, 4], [(3, "broken-record", True)])),
        ("latin.csv", b"a,b\n1,\xe9\n2,3\n", ([3], [(2, "bad-encoding", True)])),
        ("latin.jsonl", b'{"a": "\xe9"}\n{"a": 1}\n', ([2], [(1, "bad-encoding", True)])),
        ("half.jsonl", b'{"a": 1}\n{"a": 2', ([1], [(2, "broken-record", True)])),
        ("mid.jsonl", b'{"a": 1}\n{"a" 2}\n{"a": 3}\n', ([1, 3], [(2, "broken-record", True)])),
        ("scalars.jsonl", b'{"a": 1}\n5\nnull\n[1]\n', ([1], [(n, "broken-record", True) for n in (2, 3, 4)])),
        ("two.jsonl", b'{"a": 1}{"a": 2}\n{"a": 3}\n', ([2], [(1, "broken-record", True)])),
        ("cut.json", b'[{"a": 1}, {"a": 2}, {"a":', ([1, 2], [(3, "broken-record", True)])),
        ("open.json", b'[{"a": 1}, {"a": 2}', ([1, 2], [(3, "broken-record", True)])),
        ("glued.json", b'[{"a": 1}, {"a": 2} {"a": 3}, {"a": 4}]', ([1], [(2, "broken-record", True)])),
        ("after.json", b'[{"a": 1}] x', ([1], [(2, "broken-record", True)])),
        ("latin.json", b'[{"a": 1}, {"a": "\xe9"}, {"a": 3}]', ([1, 3], [(2, "bad-encoding", True)])),
        ("scalar.json", b'[{"a": 1}, 5, {"a": 3}]', ([1, 3], [(2, "broken-record", True)])),
    ],
)
def test_damage_is_located_and_the_rest_is_read(
    name: str, content: bytes, expected: tuple[list[int], list[tuple[int, str, bool]]], tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(content)
    assert seen(tmp_path / name) == expected


@pytest.mark.parametrize("text", [csv_text().encode(), TEXTS["lines.jsonl"].encode(), TEXTS["array.json"].encode()])
def test_a_cut_gzip_file_gives_only_whole_rows_and_one_broken_record(text: bytes, tmp_path: Path) -> None:
    whole = gzipped(tmp_path / "v.gz", text).read_bytes()
    for size in range(12, len(whole)):
        (tmp_path / "v.gz").write_bytes(whole[:size])
        try:
            found = chunks(tmp_path / "v.gz")
        except CurateError:
            continue  # not one byte came out, or the cut went through the header
        read = [row for chunk in found for row in chunk.frame.select(pl.all().fill_null("")).to_dicts()]
        expected = [{key: value or "" for key, value in row.items()} for row in ROWS]
        assert (
            read
            == [{key: row[key] for key in row if key in (read[0] if read else {})} for row in expected][: len(read)]
        )
        assert [b.damage for chunk in found for b in chunk.broken][-1:] == [True]


def test_a_gzip_file_that_is_cut_after_a_line_break_loses_no_row(tmp_path: Path) -> None:
    text = b"a,b\n" + b"".join(b"%d,%d\n" % (i, i) for i in range(9))
    path = gzipped(tmp_path / "v.csv.gz", text)
    path.write_bytes(path.read_bytes()[:-8])  # the text is whole, its checksum is missing
    assert seen(path) == (list(range(2, 11)), [(11, "broken-record", True)])


def test_a_gzip_file_that_is_cut_within_its_header_names_line_1(tmp_path: Path) -> None:
    path = gzipped(tmp_path / "v.csv.gz", b"a,b")
    path.write_bytes(path.read_bytes()[:-8])
    assert seen(path) == ([], [(1, "broken-record", True)])


@pytest.mark.parametrize("keep", [lambda n: n // 2, lambda n: n - 1, lambda _: 4])
def test_a_cut_parquet_file_is_one_broken_record(keep: Callable[[int], int], tmp_path: Path) -> None:
    pl.DataFrame(ROWS).write_parquet(tmp_path / "v.parquet")
    data = (tmp_path / "v.parquet").read_bytes()
    (tmp_path / "v.parquet").write_bytes(data[: keep(len(data))])
    assert seen(tmp_path / "v.parquet") == ([], [(1, "broken-record", True)])


def test_a_parquet_file_with_a_damaged_page_names_the_row_where_it_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("annotations.readers.formats.PARQUET_ROWS", 100)
    frame = pl.DataFrame({"a": [f"value {i * 7919 % 1000}" for i in range(400)]})
    pq.write_table(
        frame.to_arrow(), tmp_path / "v.parquet", row_group_size=100, compression="zstd", use_dictionary=False
    )
    data = bytearray((tmp_path / "v.parquet").read_bytes())
    start = pq.ParquetFile(tmp_path / "v.parquet").metadata.row_group(2).column(0).data_page_offset
    data[start + 40 : start + 200] = b"\0" * 160
    (tmp_path / "v.parquet").write_bytes(data)
    read, damage = seen(tmp_path / "v.parquet")
    assert read == list(range(1, 201))
    assert damage == [(201, "broken-record", True)]
