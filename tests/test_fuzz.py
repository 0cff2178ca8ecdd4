"""A short run of the fuzzer (tests/fuzz.py), and the files on which ingest once failed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from curate.store import Store
from schemas.config import IngestConfig
from tests.fuzz import case, outcome, seeds

CASES, PARTS = 40, 2
FAILED = sorted((Path(__file__).parent / "fuzz_files").iterdir())


@pytest.fixture(scope="module")
def store() -> Iterator[Store]:
    with Store.in_memory() as opened:
        yield opened


def test_every_seed_file_gives_votes(tmp_path: Path, store: Store) -> None:
    files = seeds(tmp_path)
    found = {}
    for name, data in files:
        (tmp_path / name).write_bytes(data)
        found[name] = outcome(tmp_path / name, IngestConfig(max_rejects=1.0), store)
    assert len(files) > 20
    assert [name for name, what in found.items() if what != "votes"] == ["14-prolific_export_1.csv"]


@pytest.mark.parametrize("part", range(PARTS))
def test_mutated_files_are_votes_rejects_or_refused(part: int, tmp_path: Path, store: Store) -> None:
    (tmp_path / "seeds").mkdir()
    files = seeds(tmp_path / "seeds")
    for number in range(part, CASES, PARTS):
        name, data, config = case(number, 1, files)
        (tmp_path / name).write_bytes(data)
        found = outcome(tmp_path / name, config, store)
        assert found in ("votes", "no votes", "refused"), f"case {number} of seed 1 ({name}): {found}"


@pytest.mark.parametrize("path", FAILED, ids=lambda path: path.name)
@pytest.mark.parametrize("on_error", ["stop", "reject"])
def test_files_that_once_failed(path: Path, on_error: str, store: Store) -> None:
    config = IngestConfig.model_validate({"on_error": on_error, "max_rejects": 1.0})
    assert outcome(path, config, store) in ("votes", "no votes", "refused")
