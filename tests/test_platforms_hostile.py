"""Damaged exports: whatever a record lacks or holds, its reader returns rows or rejects and does not crash."""

from __future__ import annotations

import tempfile
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from annotations.platforms.contract import check_damaged
from annotations.platforms.registry import platform_named
from pipelines import ingest
from schemas.config import IngestConfig
from schemas.errors import CurateError
from tests import platform_files as files
from tests.test_platforms import EXPORTS

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


@pytest.mark.parametrize("what", ALL)
@settings(max_examples=15)
@given(rng=st.randoms(use_true_random=False))
def test_no_record_crashes_a_reader(what: str, rng: Random) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = files.write(Path(folder), *ALL[what])
        (Path(folder) / "damaged").mkdir()
        check_damaged(platform_named(what.partition(" ")[0]), path, Path(folder) / "damaged", rng)


def test_events_without_needed_keys_are_rejects(tmp_path: Path) -> None:
    bad: list[dict[str, Any]] = [{k: v for k, v in VOTE.items() if k != lost} for lost in VOTE if lost != "event"]
    bad += [{**VOTE, "at": "yesterday"}, {**VOTE, "annotator": ["ann"]}, {**VOTE, "seconds": "3"}]
    log = [LOG[0], *({"seq": 2 + n, **event} for n, event in enumerate(bad)), *LOG[3:]]
    path, store = files.write(tmp_path, "log.jsonl", files.lines(log)), tmp_path / "s.duckdb"
    with pytest.raises(CurateError, match=r"log\.jsonl:2: not an event"):
        ingest(path, store)
    report = ingest(path, store, config=IngestConfig(on_error="reject"))
    assert (report.votes, report.controls, report.reasons) == (0, 1, {"broken-record": len(bad)})
