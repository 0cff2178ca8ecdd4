"""Damaged exports: whatever a record lacks or holds, its reader returns rows or rejects and does not crash."""

from __future__ import annotations

import copy
import csv
import io
import json
import tempfile
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from annotations.platforms.registry import PLATFORMS
from annotations.readers.files import find_files
from pipelines import ingest
from schemas.config import IngestConfig
from schemas.errors import CurateError
from tests import platform_files as files
from tests.test_platforms import EXPORTS

GONE = "(gone)"
ODD = [
    GONE, None, [], {}, [[1]], [None], {"a": {"b": [1]}}, {"choices": [None]}, [{"value": None}], 5, -1.5, True, 10**25,
    "", "x@y.org", "10.1.2.3", "[1,", "[null]", '{"choices": [["x"]]}', "ünïcödé \u202e\x00", "A" * 3000,
]  # fmt: skip
"""What takes the place of a value; GONE: its key goes too."""
VOTE = {
    "at": "2026-01-05T09:00:01.000Z", "event": "vote", "annotator": "ann", "prompt_id": "p", "left": "x", "right": "y",
    "outcome": "left", "seconds": 3.0, "watched": 1.0,
}  # fmt: skip
LOG = [
    {"seq": 1, "at": VOTE["at"], "event": "begin", "campaign": "c", "campaign_id": "c0ffee00", "undo_minutes": 1.0},
    {"seq": 2, **VOTE},
    {"seq": 3, "at": VOTE["at"], "event": "undo", "annotator": "ann", "vote": "v"},
    {"seq": 4, **VOTE, "control": "right"},
    {"seq": 5, "at": VOTE["at"], "event": "close"},
]
ALL = {**EXPORTS, "campaign": ("log.jsonl", files.lines(LOG))}


def records_of(name: str, content: Any) -> list[Any]:
    if not isinstance(content, str):
        return copy.deepcopy(content)
    if name.endswith(("csv", "tsv")):
        return list(csv.DictReader(io.StringIO(content), delimiter="\t" if name.endswith("tsv") else ","))
    return [json.loads(line) for line in content.splitlines()]


def text_of(name: str, content: Any, records: list[Any], ends: str) -> str:
    """The records in the file's own format. ends: CR LF, or LF alone."""
    if not isinstance(content, str):
        return json.dumps(records)
    if not name.endswith(("csv", "tsv")):
        return "".join(json.dumps(record) + ends for record in records)
    rows = [{k: v if isinstance(v, str) else json.dumps(v) for k, v in row.items()} for row in records]
    return files.table(rows, "\t" if name.endswith("tsv") else ",")


def places(value: Any, here: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where there is something in a record, by keys and numbers."""
    if here:
        yield here
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, own in inner:
        yield from places(own, (*here, key))


def spoilt(records: list[Any], where: tuple[Any, ...], odd: Any) -> None:
    held = records
    for key in where[:-1]:
        held = held[key]
    if odd == GONE:
        del held[where[-1]]
    else:
        held[where[-1]] = odd


@pytest.mark.parametrize("what", ALL)
@settings(max_examples=15)
@given(data=st.data())
def test_no_record_crashes_a_reader(what: str, data: st.DataObject) -> None:
    name, content = ALL[what]
    records = records_of(name, content)
    for _ in range(data.draw(st.integers(1, 3))):
        found = [where for where in places(records) if len(where) > 1]
        if found:
            spoilt(records, data.draw(st.sampled_from(found)), copy.deepcopy(data.draw(st.sampled_from(ODD))))
    [platform] = [platform for platform in PLATFORMS if platform.name == what.partition(" ")[0]]
    mark, ends = data.draw(st.sampled_from(["", "\ufeff"])), data.draw(st.sampled_from(["\n", "\r\n"]))
    with tempfile.TemporaryDirectory() as home:
        path = files.write(Path(home), name, mark + text_of(name, content, records, ends))
        try:
            [file] = find_files([path])
            chunks = list(platform.read(file, datetime(2026, 1, 6)))
        except CurateError:
            return
    for chunk in chunks:
        assert len(chunk.frame) == len(chunk.line)


def test_events_without_needed_keys_are_rejects(tmp_path: Path) -> None:
    bad: list[dict[str, Any]] = [{k: v for k, v in VOTE.items() if k != lost} for lost in VOTE if lost != "event"]
    bad += [{**VOTE, "at": "yesterday"}, {**VOTE, "annotator": ["ann"]}, {**VOTE, "seconds": "3"}]
    log = [LOG[0], *({"seq": 2 + n, **event} for n, event in enumerate(bad)), *LOG[3:]]
    path, store = files.write(tmp_path, "log.jsonl", files.lines(log)), tmp_path / "s.duckdb"
    with pytest.raises(CurateError, match=r"log\.jsonl:2: not an event"):
        ingest(path, store)
    report = ingest(path, store, config=IngestConfig(on_error="reject"))
    assert (report.votes, report.controls, report.reasons) == (0, 1, {"broken-record": len(bad)})
