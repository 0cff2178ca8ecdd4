"""Platform readers work on whole columns: they keep lines, count what is no judgment, and keep every byte of a text."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import polars as pl

from annotations.platforms.base import SKIPPED, by_columns
from annotations.readers.files import find_files
from annotations.readers.formats import Chunk
from tests import platform_files as files

NOW = datetime(2026, 1, 6)


def test_rows_keep_the_lines_of_their_records_and_skipped_records_are_counted(tmp_path: Path) -> None:
    text = '{"kind": "vote", "x": ""}\n{"kind": "chat", "x": "a"}\n{\n{"kind": "vote", "x": "b"}\n'
    [file] = find_files([files.write(tmp_path, "log.jsonl", text)])
    kind = pl.when(pl.col("kind") != "vote").then("kind").alias(SKIPPED)
    [chunk] = by_columns(lambda frame: frame.select("x", kind))(file, NOW)
    assert chunk.frame.to_dict(as_series=False) == {"x": [None, "b"]}
    assert chunk.line.to_list() == [1, 4]
    assert [record.line for record in chunk.broken] == [3]
    assert chunk.skipped == {"chat": 1}


def test_rows_of_records_with_several_judgments_are_numbered(tmp_path: Path) -> None:
    [file] = find_files([files.write(tmp_path, "log.jsonl", '{"x": "a"}\n{\n{"x": "b"}\n')])
    [chunk] = by_columns(lambda frame: pl.concat([frame, frame]), several=True)(file, NOW)
    assert chunk.line.to_list() == [1, 2, 3, 4]
    assert [record.line for record in chunk.broken] == [5]
    assert chunk.broken[0].message.startswith("record 2: ")


def test_a_chunk_without_rows_has_no_columns(tmp_path: Path) -> None:
    [file] = find_files([files.write(tmp_path, "log.jsonl", '{"x": "a"}\n')])
    [chunk] = by_columns(lambda frame: frame.with_columns(pl.lit("chat").alias(SKIPPED)))(file, NOW)
    assert isinstance(chunk, Chunk)
    assert (chunk.frame.width, chunk.line.len(), chunk.skipped) == (0, 0, {"chat": 1})
