"""What a user gives as votes, prompts or responses, as files: paths, stdin, URLs, tables, Datasets and records.

What is no file is copied to a temporary one first: tables as Parquet, records as JSONL, bytes as they are.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import math
import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from decimal import Decimal
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, BinaryIO
from uuid import UUID

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from annotations.readers.files import BLOCK, SUFFIXES, Format, VoteFile, find_files, sniff
from schemas.config import IngestConfig
from schemas.errors import CurateError, MissingError, UsageError

STDIN = "-"
URL = re.compile(r"[A-Za-z][\w+.-]+(::[\w+.-]+)*://")
ROWS = 10_000
"""Rows of a Dataset that are copied at a time."""
EXPECTED = (
    "give a path, a glob, a folder, - (stdin), a URL, a polars or pandas DataFrame, an Arrow table, a Dataset, or an "
    "iterable of dicts"
)


@contextmanager
def vote_files(given: Any, config: IngestConfig = IngestConfig()) -> Iterator[tuple[VoteFile, ...]]:
    """Yield the files of one or several sources, each once; temporary files are deleted at the end of the block.

    Parameters
    ----------
    given
        One source or an iterable of sources. A source is a path, a glob, a folder (also of a Dataset or DatasetDict
        that was saved to disk), ``-`` (stdin), a URL that fsspec can open, a polars or pandas DataFrame, a dict of
        columns, an object with the Arrow C stream interface, or a Dataset or DatasetDict of ``datasets``. An iterable
        of dicts is one source.
    config
        The mapping of each file, by its name, and the limits of what is copied from stdin and URLs.

    Raises
    ------
    CurateError
        A source does not exist or cannot be read, a column or record of it cannot be stored, or it is no source.
    """
    with TemporaryDirectory(prefix="curate-") as folder:
        spool = _Spool(Path(folder), config)
        found: dict[tuple[Path, str], VoteFile] = {}
        for source in _sources(given):
            for file in spool.files(source):
                found.setdefault((file.path, file.name), file)
        yield tuple(found.values())


def without_secrets(url: str) -> str:
    """Return a URL without user, password, query and fragment.

    >>> without_secrets("https://me:secret@example.org/votes.csv?token=1")
    'https://example.org/votes.csv'
    """
    return re.sub(r"://[^/?#]*@", "://", re.split(r"[?#]", url)[0])


@dataclass(frozen=True)
class _Records:
    """The items of an iterable of dicts."""

    items: Iterable[Any]
    name: str


def _sources(given: Any) -> Iterator[Any]:
    """Yield the single sources. The first dict of an iterable makes it, and what follows, an iterable of dicts."""
    if isinstance(given, str | Path | VoteFile | Mapping) or _is_table(given):
        yield given
        return
    try:
        items = iter(given)
    except TypeError:
        raise CurateError(f"<{type(given).__name__}>: not a source of votes", hint=EXPECTED) from None
    for item in items:
        if isinstance(item, Mapping) and _datasets_kind(item) is None:
            yield _Records(chain([item], items), f"<{type(given).__name__}>")
        else:
            yield from _sources(item)


def _is_table(source: Any) -> bool:
    known = isinstance(source, pl.LazyFrame) or hasattr(source, "__arrow_c_stream__") or _is_pandas(source)
    return known or _datasets_kind(source) == "Dataset"


def _is_pandas(source: Any) -> bool:
    pandas = sys.modules.get("pandas")  # no object is of a package that was not imported
    return pandas is not None and isinstance(source, pandas.DataFrame)


def _datasets_kind(source: Any) -> str | None:
    datasets = sys.modules.get("datasets")
    kinds = ("Dataset", "DatasetDict", "IterableDatasetDict") if hasattr(datasets, "DatasetDict") else ()
    return next((kind for kind in kinds if isinstance(source, getattr(datasets, kind))), None)


@dataclass
class _Spool:
    """Copies sources into a temporary folder."""

    folder: Path
    config: IngestConfig
    names: Counter[str] = field(default_factory=Counter)

    def files(self, source: Any) -> Iterable[VoteFile]:
        """Return the files of one source."""
        if isinstance(source, VoteFile):
            return [source]
        if isinstance(source, _Records):
            return [self._records(source)]
        if isinstance(source, str | Path):
            if str(source) == STDIN:
                return [self._stdin()]
            if URL.match(str(source)):
                return self._remote(str(source))
            return find_files(_saved_dataset(Path(source)) or [source], self.config)
        if _datasets_kind(source) in ("DatasetDict", "IterableDatasetDict"):
            splits = ((f"<Dataset {split}>", rows) for split, rows in source.items())
            return [
                self._table(rows, name) if _is_table(rows) else self._records(_Records(rows, name))
                for name, rows in splits
            ]
        return [self._table(source, f"<{type(source).__name__}>")]

    def _stdin(self) -> VoteFile:
        stream: BinaryIO | None = getattr(sys.stdin, "buffer", None)
        if stream is None or sys.stdin.isatty():
            raise UsageError("-: nothing is connected to stdin", hint="for example: curate ingest - < votes.csv")
        return self._copied(stream, "stdin")

    def _remote(self, url: str) -> list[VoteFile]:
        """Return the files that a URL names: one, or those that match its pattern or lie in its folder."""
        name = without_secrets(url)
        try:
            import fsspec

            system, path = fsspec.url_to_fs(url)
            if name.startswith(("http://", "https://")):
                with system.open(path, "rb", block_size=0) as stream:  # 0: one request; servers may have no ranges
                    return [self._copied(stream, name)]
            found = []
            for part in _remote_paths(system, path):
                with system.open(part, "rb") as stream:
                    found.append(self._copied(stream, without_secrets(system.unstrip_protocol(part))))
        except ImportError as error:
            message = f"{name}: reading it needs a package that is not installed ({error.name or error})"
            raise MissingError(message, hint="pip install 'mr2-curate[remote]'") from error
        except CurateError:
            raise
        except Exception as error:  # each kind of storage has errors of its own
            text = str(error) if name == url else ""  # the message may repeat the URL
            reason = f"{type(error).__name__}: {text}" if text and text != url else type(error).__name__
            hint = "check the URL, its permissions and the network"
            raise CurateError(f"{name}: cannot be read ({reason})", hint=hint) from (error if name == url else None)
        if not found:
            raise MissingError(f"{name}: no vote files", hint=f"searched for {', '.join(SUFFIXES)} (also .gz)")
        return found

    def _copied(self, stream: BinaryIO, name: str) -> VoteFile:
        """Return the bytes of a stream as a file. Raises CurateError if they exceed the limit."""
        path, size = self._path(), 0
        most = self.config.limits.uncompressed_gib * 2**30
        with path.open("wb") as out:
            while block := stream.read(BLOCK):
                size += len(block)
                if size > most:
                    message = f"{name}: larger than {self.config.limits.uncompressed_gib:g} GiB"
                    raise CurateError(message, hint="raise uncompressed_gib under [ingest.limits] in curate.toml")
                out.write(block)
        try:
            file = sniff(path, self.config.mapping_of(name), self.config.limits)
        except CurateError as error:
            raise type(error)(str(error).replace(str(path), name), hint=error.hint) from error
        return replace(file, name=self._unique(name))

    def _table(self, source: Any, name: str) -> VoteFile:
        """Return a table as a Parquet file. Raises CurateError naming a column that cannot be stored."""
        path = self._path()
        try:
            reader = _batches(source, name)
            _check_types(reader.schema, name)
            with pq.ParquetWriter(path, reader.schema) as out:
                for batch in reader:
                    out.write_batch(batch)
        except (pa.ArrowException, pl.exceptions.PolarsError, ValueError, TypeError) as error:
            message = f"{name}: cannot be read as a table: {'; '.join(map(str, error.args))}"
            raise CurateError(message, hint="give each column values of one type: texts, numbers, times") from error
        return self._spooled(path, name, "parquet")

    def _records(self, source: _Records) -> VoteFile:
        """Return dicts as a JSONL file. Raises CurateError naming the item that is no dict or cannot be stored."""
        path = self._path()
        with path.open("wb") as out:
            for position, item in enumerate(source.items, start=1):
                where = f"{source.name}: item {position}"
                if not isinstance(item, Mapping):
                    raise CurateError(f"{where} is a {type(item).__name__}, not a dict", hint="give one dict per vote")
                out.write(_json_line(item, where))
        return self._spooled(path, source.name, "jsonl")

    def _spooled(self, path: Path, name: str, file_format: Format) -> VoteFile:
        with path.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        return VoteFile(
            path,
            file_format,
            gzipped=False,
            sha256=digest,
            name=self._unique(name),
            mapping=self.config.mapping_of(name),
            limits=self.config.limits,
            trusted=True,
        )

    def _path(self) -> Path:
        return self.folder / f"{sum(1 for _ in self.folder.iterdir())}"

    def _unique(self, name: str) -> str:
        """Return the name, numbered if an earlier source has it: <DataFrame>, <DataFrame 2>."""
        self.names[name] += 1
        count = self.names[name]
        return name if count == 1 else f"{name.removesuffix('>')} {count}{'>' * name.endswith('>')}"


def _saved_dataset(folder: Path) -> list[Path]:
    """Return the data files of a Dataset or DatasetDict that was saved to disk; empty for anything else."""
    splits = _document(folder / "dataset_dict.json").get("splits")
    if isinstance(splits, list):
        return [file for split in splits for file in _saved_dataset(folder / str(split))]
    state = _document(folder / "state.json")
    if state.get("_indices_data_files"):
        hint = f"save its rows in order: load_from_disk({str(folder)!r}).flatten_indices().save_to_disk(OTHER_FOLDER)"
        raise CurateError(f"{folder}: a Dataset whose rows are selected by a separate file of indices", hint=hint)
    files = state.get("_data_files")
    return [folder / Path(str(part["filename"])).name for part in files] if isinstance(files, list) else []


def _document(path: Path) -> dict[str, Any]:
    """Return the JSON object in a file; empty if there is none."""
    try:
        found = json.loads(path.read_bytes()) if path.is_file() else {}
    except (ValueError, RecursionError):
        found = {}
    return found if isinstance(found, dict) else {}


def _remote_paths(system: Any, path: str) -> list[str]:
    """Return the paths of the files that a path of a remote file system names, sorted."""
    if any(sign in path for sign in "*?["):
        return sorted(found for found in system.glob(path) if not system.isdir(found))
    if system.isdir(path):
        return sorted(found for found in system.find(path) if found.removesuffix(".gz").endswith(SUFFIXES))
    return [path]


def _batches(source: Any, name: str) -> pa.RecordBatchReader:
    """Return the rows of a table as Arrow batches."""
    if isinstance(source, Mapping):
        source = pl.DataFrame([_series(column, values, name) for column, values in source.items()])
    if isinstance(source, pl.LazyFrame):
        source = source.collect()
    if isinstance(source, pl.DataFrame):
        for column, dtype in source.schema.items():
            if dtype == pl.Object:
                raise CurateError(
                    f"{name}: column {column!r} holds Python objects", hint="drop it, or convert it to texts"
                )
        return source.to_arrow().to_reader()
    if _is_pandas(source):  # its own Arrow stream would keep NaN, which is a missing value in pandas
        named = any(level is not None for level in source.index.names)
        return pa.Table.from_pandas(source, preserve_index=named).to_reader()
    if _datasets_kind(source) == "Dataset":
        schema = source.features.arrow_schema
        tables = source.with_format("arrow").iter(ROWS)  # in the order of its indices
        rows = (batch for table in tables for batch in table.cast(schema).to_batches())
        return pa.RecordBatchReader.from_batches(schema, rows)
    return pa.RecordBatchReader.from_stream(source)


def _series(column: str, values: Any, name: str) -> pl.Series:
    try:
        return pl.Series(column, values)
    except (TypeError, ValueError, OverflowError, pl.exceptions.PolarsError) as error:
        what = str(error).partition("\n")[0]
        raise CurateError(f"{name}: column {column!r}: {what}", hint="give it values of one type") from error


def _check_types(schema: pa.Schema, name: str) -> None:
    """Raise CurateError naming a column that holds bytes."""
    for column in schema:
        if _holds_bytes(column.type):
            raise CurateError(f"{name}: column {column.name!r} holds bytes", hint="drop it, or decode it to texts")


def _holds_bytes(kind: pa.DataType) -> bool:
    if isinstance(kind, pa.BaseExtensionType):
        kind = kind.storage_type
    of_bytes = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_binary_view, pa.types.is_fixed_size_binary)
    return any(test(kind) for test in of_bytes) or any(_holds_bytes(kind.field(i).type) for i in range(kind.num_fields))


def _json_line(item: Mapping[Any, Any], where: str) -> bytes:
    """Return a dict as one line of JSON; NaN, as pandas writes missing values, becomes null."""
    try:
        text = _json_text(item)
    except (TypeError, ValueError, RecursionError) as error:
        column = next((key for key, value in item.items() if not _is_storable(value)), "")
        hint = "give texts, numbers, times, lists and dicts"
        raise CurateError(f"{where}: {column!r} cannot be stored: {error}", hint=hint) from error
    # The reader rejects a record with half a surrogate pair.
    return text.encode("utf-8", "surrogatepass") + b"\n"


def _json_text(value: Any) -> str:
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False, default=_plain)
    except ValueError:
        return json.dumps(_without_nan(value), ensure_ascii=False, allow_nan=False, default=_plain)


def _is_storable(value: Any) -> bool:
    try:
        return bool(_json_text(value))
    except (TypeError, ValueError, RecursionError):
        return False


def _plain(value: Any) -> Any:
    """Return a value that JSON lacks as one that it has."""
    if type(value).__name__ in ("NaTType", "NAType"):  # missing values of pandas
        return None
    if isinstance(value, dt.datetime | dt.date | dt.time):
        return value.isoformat()
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Decimal | UUID | Path):
        return str(value)
    if hasattr(value, "tolist"):  # numbers and arrays of numpy
        return _without_nan(value.tolist())
    raise TypeError(f"its value is a {type(value).__name__}")


def _without_nan(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_nan(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(part) for part in value]
    return None if isinstance(value, float) and math.isnan(value) else value
