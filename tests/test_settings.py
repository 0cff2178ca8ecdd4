"""Settings: where they are found, and what an error on them says."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.settings import load_settings
from schemas.errors import CurateError


@pytest.mark.parametrize("name", ["curate.toml", "pyproject.toml"])
def test_settings_are_found_in_a_folder_above_and_name_the_store_from_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    table = "[tool.curate]\n" if name == "pyproject.toml" else ""
    (tmp_path / name).write_text(f'{table}store = "votes.duckdb"\nwait = 2.5\n')
    below = tmp_path / "a" / "b"
    below.mkdir(parents=True)
    monkeypatch.chdir(below)
    found = load_settings()
    assert (found.store, found.wait) == (Path("../../votes.duckdb"), 2.5)
    (below / "curate.toml").write_text("wait = 1\n")
    assert (load_settings().store, load_settings().wait) == (Path("curate.duckdb"), 1.0)


@pytest.mark.parametrize(
    ("text", "key", "hint"),
    [
        ("stor = 'x'", "stor", "did you mean 'store'?"),
        ("[denoise]\nrankr = 'borda'", "denoise.rankr", "did you mean 'ranker'?"),
        ("[[ingest.files]]\nmatch = '*'\noutcome = {}", "ingest.files.0.outcome", "did you mean 'outcomes'?"),
        ("[ingest.limits]\nxyzzy = 1", "ingest.limits.xyzzy", "keys here: "),
    ],
)
def test_an_unknown_key_names_the_most_similar_one(tmp_path: Path, text: str, key: str, hint: str) -> None:
    (tmp_path / "curate.toml").write_text(text)
    with pytest.raises(CurateError) as error:
        load_settings(tmp_path)
    assert f"curate.toml: {key}: " in str(error.value)
    assert error.value.hint.startswith(hint)
