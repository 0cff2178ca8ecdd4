"""Dagster runs the job of docs/orchestrators.md: a release, none without new votes, and no retry of bad input."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import polars as pl

from pipelines import simulate
from schemas.config import SimulateConfig
from tests.clients.conftest import HERE, Client

RECIPE = """\
title = "a small campaign"
ingest = { paths = ["votes-*.csv"], prompts = "prompts.csv", responses = "responses.csv" }
denoise = { config = { ranker = "hierarchical" } }
release = { config = { name = "small", split = { benchmark_fraction = 0.5, seed = 1 } } }
"""


def test_the_documented_job_refreshes_a_campaign(client: Client, tmp_path: Path) -> None:
    page = (HERE.parent.parent / "docs" / "orchestrators.md").read_text(encoding="utf-8")
    [code] = re.findall(r"```python\n(# nightly\.py\n.*?)```", page, re.DOTALL)
    simulate(tmp_path, config=SimulateConfig(prompts=10, models=6, annotators=12, votes_per_pair=2.0))
    (tmp_path / "nightly.py").write_text(code.replace("delay=60", "delay=1"))
    votes = pl.read_csv(tmp_path / "votes.csv")
    votes[:250].write_csv(tmp_path / "votes-1.csv")
    (tmp_path / "recipe.toml").write_text(RECIPE)
    (tmp_path / "home").mkdir()
    given = {"file": "nightly.py", "name": "nightly", "home": str(tmp_path / "home")}
    given["path"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"

    first = client("execute", **given)
    assert (first["code"], "RUN_SUCCESS" in first["log"]) == (0, True), first["log"]
    assert (tmp_path / "releases" / "small-1.0.0" / "manifest.json").exists()
    assert '"command": "refresh", "event": "end"' in first["log"]
    again = client("execute", **given)
    assert (again["code"], '"exit_code": 3' in again["log"]) == (0, True), again["log"]
    votes[250:].write_csv(tmp_path / "votes-2.csv")
    assert client("execute", **given)["code"] == 0
    assert (tmp_path / "releases" / "small-1.1.0").is_dir()

    (tmp_path / "votes-3.csv").write_text("not,votes\n1,2\n")
    bad = client("execute", **given)
    assert bad["code"] != 0
    assert "no columns that hold the responses" in bad["log"] or "votes-3.csv" in bad["log"]
    assert "STEP_UP_FOR_RETRY" not in bad["log"]
