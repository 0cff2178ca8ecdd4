"""A fuzzer of ingest: mutated files of every format and platform become votes, rejects or a refusal, nothing else.

    python -m tests.fuzz [--cases N] [--seed S] [--first I] [--keep FOLDER]

Case I of a seed is always the same bytes. A case fails if anything but CurateError is raised, if it takes more than 10
seconds, if its reader crashes, or if its totals are wrong. Failing files are written to FOLDER; the ones in
tests/fuzz_files are run by the tests.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import io
import json
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from random import Random
from typing import Any

import polars as pl
import pyarrow as pa

from annotations.platforms.registry import detect_platform
from annotations.readers.privacy import StoreKey
from annotations.readers.sources import vote_files
from curate.store import Store
from curate.store.prompts import PromptChanges
from pipelines.ingestion import file_readers, read_files
from schemas.config import IngestConfig
from schemas.errors import CurateError
from tests import platform_files
from tests.test_platforms import EXPORTS

SECONDS = 10.0
CRASHES = ("its reader failed", "the process that read", "no part of it")
ROWS: list[dict[str, Any]] = [
    {
        "prompt_id": f"p{n % 3}",
        "left": "m1",
        "right": "m2",
        "winner": ("left", "right", "tie", "both_bad")[n % 4],
        "annotator_id": f"w{n % 2}",
        "voted_at": f"2025-01-{n + 1:02} 10:00",
        "seconds": 1.5 * n,
    }
    for n in range(8)
]
RANKED = [{"prompt_id": f"p{n}", "responses": ["a", "b", "c"], "rankings": [1, 2 + n, 2]} for n in range(5)]
ODD: list[Any] = [
    None,
    "",
    " ",
    0,
    -1,
    1e308,
    float("nan"),
    True,
    [],
    {},
    [[]],
    {"a": {"b": [1]}},
    "null",
    "\0",
    "\ud800",
]
ODD += ["x" * 5000, 10**400, "[" * 300, "9" * 4301, "\u202e\x1b[31m", '"', "1e999", "2025-13-45", "left", ["left"]]
Mutation = Callable[[Random, str, bytes], tuple[str, bytes]]


def seeds(folder: Path) -> list[tuple[str, bytes]]:
    """Return (name, bytes) of an intact file of each format and platform."""
    found = [(f"{at}-{path.name}", path.read_bytes()) for at, path in enumerate(_exports(folder))]
    for name, rows in (("votes", ROWS), ("ranked", RANKED)):
        frame = pl.DataFrame(rows)
        parquet, arrow = io.BytesIO(), io.BytesIO()
        frame.write_parquet(parquet)
        frame.write_ipc(arrow)
        flat = [
            {key: json.dumps(value) if isinstance(value, list) else value for key, value in row.items()} for row in rows
        ]
        found += [
            (f"{name}.csv", platform_files.table(flat).encode()),
            (f"{name}.tsv", platform_files.table(flat, "\t").encode()),
            (f"{name}.json", json.dumps(rows).encode()),
            (f"{name}.jsonl", platform_files.lines(rows).encode()),
            (f"{name}.parquet", parquet.getvalue()),
            (f"{name}.arrow", arrow.getvalue()),
        ]
    return found


def _cell(value: Any) -> Any:
    return json.dumps(value) if isinstance(value, list | dict) else value


def _exports(folder: Path) -> list[Path]:
    paths = []
    for number, export in enumerate(EXPORTS.values()):
        (folder / str(number)).mkdir()
        path = platform_files.write(folder / str(number), *export)
        paths += [path] if path.is_file() else []
    return paths


def _place(rng: Random, data: bytes) -> int:
    return rng.randrange(len(data) + 1)


def truncate(rng: Random, name: str, data: bytes) -> tuple[str, bytes]:
    return name, data[: _place(rng, data)]


def flip(rng: Random, name: str, data: bytes) -> tuple[str, bytes]:
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 3, 20)) if data else 0):
        changed[rng.randrange(len(data))] = rng.choice((rng.randrange(256), *b'\0",\\\n\r[]{}'))
    return name, bytes(changed)


def insert(rng: Random, name: str, data: bytes) -> tuple[str, bytes]:
    size = rng.choice((1, 150, 1100, 5000, 70_000))
    sign = rng.choice(("[", '{"a":', "9", "x", "\0", '"', "\n", ",", "\\", "[]", "\ufeff", "é", "\r", "1e", '{"a":1},'))
    at = _place(rng, data)
    return name, data[:at] + (sign * size).encode() + data[at:]


def copy(rng: Random, name: str, data: bytes) -> tuple[str, bytes]:
    (start, end), at = sorted((_place(rng, data), _place(rng, data))), _place(rng, data)
    return name, data[:at] + data[start:end] + data[at if rng.random() < 0.5 else end :]


def encode(rng: Random, name: str, data: bytes) -> tuple[str, bytes]:
    text = data.decode("utf-8", "replace")
    encoding = rng.choice(("utf-16", "utf-16-be", "latin-1", "cp1252", "utf-8-sig", "utf-32"))
    return name, text.encode(encoding, "replace")


def end_lines(rng: Random, name: str, data: bytes) -> tuple[str, bytes]:
    return name, data.replace(b"\n", rng.choice((b"\r\n", b"\r", b"\n\n", b" \n", b"\x0b\n", b"\0\n")))


def compress(rng: Random, name: str, data: bytes) -> tuple[str, bytes]:
    packed = gzip.compress(data, mtime=0)
    return name + ".gz", rng.choice(
        (packed, gzip.compress(packed, mtime=0), packed[:-9], packed + packed, packed + b"x")
    )


def rename(rng: Random, name: str, data: bytes) -> tuple[str, bytes]:
    return "v" + rng.choice((".csv", ".json", ".jsonl", ".parquet", ".arrow", ".csv.gz", ".txt")), data


def repeat_keys(rng: Random, name: str, data: bytes) -> tuple[str, bytes]:
    key = rng.choice((b'"left": 1, "left": 2, ', b'"": 1, ', b'"a/b~c": [1], ', b'"x": {"y": 1, "y": 2}, '))
    return name, data.replace(b"{", b"{" + key, rng.choice((1, -1)))


def change_values(rng: Random, name: str, data: bytes) -> tuple[str, bytes]:
    """Replace some values, or columns, by odd ones."""
    try:
        text = data.decode()
        if "csv" in name or "tsv" in name:
            sign = "\t" if "tsv" in name else ","
            rows: Any = list(csv.reader(io.StringIO(text), delimiter=sign))
            _alter(rng, rows)
            out = io.StringIO()
            texts = [
                [x if isinstance(x, str) else json.dumps(x) for x in r] if isinstance(r, list) else [str(r)]
                for r in rows
            ]
            csv.writer(out, delimiter=sign, lineterminator="\n").writerows(texts)
            return name, out.getvalue().encode("utf-8", "surrogatepass")
        whole = text.lstrip()[:1] == "["
        rows = json.loads(text) if whole else [json.loads(line) for line in text.splitlines()]
    except (ValueError, csv.Error, RecursionError):
        return flip(rng, name, data)
    _alter(rng, rows)
    return name, (json.dumps(rows) if whole else "".join(json.dumps(row) + "\n" for row in rows)).encode()


def _alter(rng: Random, value: Any) -> None:
    """Change one to three places within nested lists and dicts."""
    for _ in range(rng.randint(1, 3)):
        at = value
        while True:
            keys = list(at) if isinstance(at, dict) else list(range(len(at)))
            if not keys:
                break
            key = rng.choice(keys)
            if isinstance(at[key], dict | list) and rng.random() < 0.8:
                at = at[key]
                continue
            other = rng.choice(keys)
            action = rng.randrange(4)
            if action == 0:
                at[key], at[other] = at[other], at[key]
            elif action == 1:
                del at[key]
            else:
                at[key] = deepcopy(rng.choice(ODD))  # a later change must not reach the next case
            break


def change_table(rng: Random, name: str, data: bytes) -> tuple[str, bytes]:
    """Write the votes as Parquet or Arrow with a column of an unusual type."""
    kinds = (pl.Binary, pl.Date, pl.Time, pl.Duration, pl.Categorical, pl.Boolean, pl.Decimal(38, 3), pl.Null, pl.UInt8)
    frame = pl.DataFrame(ROWS).with_columns(seconds=pl.col("seconds").cast(pl.Int64))
    column, kind = rng.choice(frame.columns), rng.choice(kinds)
    try:
        changed = frame[column].cast(kind, strict=False)
    except pl.exceptions.PolarsError:
        changed = pl.Series([b"\xff\0"] * 8) if kind == pl.Binary else pl.Series([[{"a": None}]] * 8)
    if depth := rng.choice((0, 0, 1, 3, 120)):
        changed = _nested(changed, depth)
    frame, out = frame.with_columns(changed.alias(column)), io.BytesIO()
    parquet = rng.random() < 0.5
    frame.write_parquet(out) if parquet else frame.write_ipc(out)
    return "v.parquet" if parquet else "v.arrow", out.getvalue()


def _nested(column: pl.Series, depth: int) -> pl.Series:
    """Return the column with each value within lists of lists."""
    array, offsets = column.to_arrow(), pa.array(range(len(column) + 1), pa.int32())
    for _ in range(depth):
        array = pa.ListArray.from_arrays(offsets, array)
    return pl.Series(column.name, pl.from_arrow(array))


MUTATIONS: tuple[Mutation, ...] = (
    *(truncate, flip, flip, insert, insert, copy, encode, end_lines, compress, rename, repeat_keys),
    *(change_values, change_values, change_values, change_table),
)


def case(number: int, seed: int, files: list[tuple[str, bytes]]) -> tuple[str, bytes, IngestConfig]:
    """Return the name, the bytes and the config of a case."""
    rng = Random(f"{seed}-{number}")
    name, data = rng.choice(files)
    for _ in range(rng.choice((1, 1, 2, 3))):
        name, data = rng.choice(MUTATIONS)(rng, name, data)
    how = {"on_error": rng.choice(("stop", "reject")), "max_rejects": rng.choice((0.2, 1.0))}
    return name, data, IngestConfig.model_validate({**how, "limits": {"seconds": limit(), "memory_gib": 4}})


def outcome(path: Path, config: IngestConfig, store: Store) -> str:
    """Return "votes", "no votes" or "refused"; text that starts with "FAILED" if the ingest of a file fails.

    ``store``: an empty one, which stays empty.
    """
    start = time.perf_counter()
    try:
        with store.transaction(keep=False), vote_files(path, config) as files:
            key = StoreKey(path.parent / "none.duckdb", None, lasting=False, known=frozenset())
            readers = file_readers([(file, detect_platform(file)) for file in files], key)
            report = read_files(store, readers, config, PromptChanges(), key)
    except CurateError as error:
        found = f"FAILED: {error}" if any(sign in str(error) for sign in CRASHES) else "refused"
    except BaseException as error:  # also panics
        if isinstance(error, KeyboardInterrupt):
            raise
        found = f"FAILED: {type(error).__name__}: {error}"
    else:
        [file] = report.files
        found = "votes" if report.votes else "no votes"
        if "parser-crash" in report.reasons:
            found = "FAILED: parser-crash"
        if report.rows != report.votes + report.controls + report.duplicates + report.rejects:
            found = f"FAILED: totals {report!r}"
        lines = path.read_bytes().removeprefix(b"\xef\xbb\xbf").split(b"\n")
        if file.format == "jsonl" and not file.platform:
            expected = sum(1 for line in lines if line.decode("utf-8", "backslashreplace").strip())
            if report.rows != expected:
                found = f"FAILED: {report.rows} rows of {expected} lines"
    took = time.perf_counter() - start
    return f"FAILED: took {took:.1f} s" if took > limit() else found


def limit() -> float:
    """Return the seconds that a case may take: 10 on a machine that does nothing else."""
    return SECONDS * max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--cases", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="number of the first case")
    parser.add_argument("--keep", type=Path, default=Path("build/fuzz"), help="folder of failing files")
    options = parser.parse_args()
    counts: Counter[str] = Counter()
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as temporary, Store.in_memory() as store:
        folder = Path(temporary)
        files = seeds(folder)
        for number in range(options.first, options.first + options.cases):
            name, data, config = case(number, options.seed, files)
            (folder / name).write_bytes(data)
            found = outcome(folder / name, config, store)
            counts[found.partition(":")[0]] += 1
            if found.startswith("FAILED"):
                options.keep.mkdir(parents=True, exist_ok=True)
                (options.keep / f"{options.seed}-{number}-{name}").write_bytes(data)
                print(f"case {number} ({name}): {found[:500]}", flush=True)
            (folder / name).unlink()
            if (number + 1) % 1000 == 0:
                print(
                    f"{number + 1 - options.first} cases, {time.perf_counter() - start:.0f} s: {dict(counts)}",
                    flush=True,
                )
    print(f"{options.cases:,} cases of {len(files)} seed files: {dict(sorted(counts.items()))}")
    return 1 if counts["FAILED"] else 0


if __name__ == "__main__":
    sys.exit(main())
