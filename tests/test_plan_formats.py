"""Task files of each platform, and exports of these tasks, which are read without a mapping."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import polars as pl
import pytest

from annotations.tasks import COLUMNS, write_tasks
from cli.main import run
from curate.store import Store
from pipelines import ingest, simulate
from pipelines.planning import plan
from schemas.choices import TaskFormat
from schemas.config import SimulateConfig
from schemas.errors import CurateError
from tests import platform_files as files

WORLD = SimulateConfig(prompts=6, models=4, annotators=8, votes_per_pair=0.6, seed=2)
VOTES = 12
SAID = ("left", "right", "tie", "both_bad")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of a small world."""
    home = tmp_path_factory.mktemp("formats")
    world, store = home / "world", home / "curate.duckdb"
    simulate(world, config=WORLD)
    ingest(world / "votes.csv", store, prompts=world / "prompts.csv", responses=world / "responses.csv")
    return store


@pytest.fixture(scope="module")
def tasks(made: Path) -> pl.DataFrame:
    """The planned tasks."""
    plan(made, made.with_name("tasks.csv"), votes=VOTES)
    return pl.read_csv(made.with_name("tasks.csv"), infer_schema=False)


@pytest.fixture
def store(made: Path, tmp_path: Path) -> Path:
    copy = tmp_path / "curate.duckdb"
    copy.write_bytes(made.read_bytes())
    return copy


def rows_of(path: Path, delimiter: str = ",") -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(path.read_text()), delimiter=delimiter))


def records_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def label_studio(path: Path) -> str:
    """What Label Studio exports once each task has one annotation; a Choice is exported by its alias."""
    tasks = json.loads(path.read_text())
    done = [
        {"id": n, "data": task["data"], "predictions": []}
        | {"annotations": [files.annotation(100 + n, files.choice(SAID[n % 4]), by=n)]}
        for n, task in enumerate(tasks)
    ]
    return json.dumps(done)


def toloka(path: Path) -> str:
    own = [
        {
            "OUTPUT:result": SAID[n % 4],
            "GOLDEN:result": "",
            "ASSIGNMENT:worker_id": f"w{n}",
            "ASSIGNMENT:status": "APPROVED",
        }
        for n in range(VOTES)
    ]
    return files.table([row | done for row, done in zip(rows_of(path, "\t"), own, strict=True)], "\t")


def mturk(path: Path) -> str:
    return files.table(
        [
            {"HITId": f"H{n}", "AssignmentId": f"A{n}", "WorkerId": f"W{n}", "AssignmentStatus": "Submitted"}
            | {f"Input.{name}": value for name, value in row.items()}
            | {f"Answer.preference.{said}": str(said == SAID[n % 4]).lower() for said in SAID}
            for n, row in enumerate(rows_of(path))
        ]
    )


def prodigy(path: Path) -> str:
    return files.lines(
        [
            {
                **task,
                "accept": [SAID[n % 4]],
                "answer": "accept",
                "_task_hash": n,
                "_input_hash": n,
                "_timestamp": 1.7e9 + n,
            }
            | {"_session_id": f"tasks-s{n}", "_annotator_id": f"tasks-s{n}", "_view_id": "choice"}
            for n, task in enumerate(records_of(path))
        ]
    )


def argilla(path: Path) -> str:
    return json.dumps(
        [
            {**record, "status": "completed", "_server_id": f"s{n}", "preference.responses": [SAID[n % 4]]}
            | {"preference.responses.users": [f"u{n}"], "preference.responses.status": ["submitted"]}
            for n, record in enumerate(records_of(path))
        ]
    )


def potato(path: Path) -> str:
    said = {"left": "A", "right": "B", "tie": "tie", "both_bad": "both bad"}
    return files.lines(
        [
            {"id": item["id"], "displayed_text": item["text"], "span_annotations": [], "behavioral_data": {}}
            | {"label_annotations": {"preference": {"selection": said[SAID[n % 4]]}}}
            for n, item in enumerate(records_of(path))
        ]
    )


BACK: dict[TaskFormat, Callable[[Path], str]] = {
    "label-studio": label_studio,
    "toloka": toloka,
    "mturk": mturk,
    "prodigy": prodigy,
    "argilla": argilla,
    "potato": potato,
}


@pytest.mark.parametrize("name", BACK)
def test_an_export_of_the_tasks_is_read_without_a_mapping(
    name: TaskFormat, tasks: pl.DataFrame, store: Path, tmp_path: Path
) -> None:
    out = tmp_path / "tasks.out"
    assert write_tasks(tasks, out, name)[0]
    assert not write_tasks(tasks, out, name)[0]
    assert "annotator_id" not in out.read_text()
    report = ingest(files.write(tmp_path, "tasks.export", BACK[name](out)), store)
    assert (report.files[0].platform, report.votes, report.rejects) == (name, VOTES, 0)
    assert (report.prompts, report.responses, report.updated) == (0, 0, 0)
    assert report.sides_known == VOTES
    wanted = [(*row, SAID[n % 4]) for n, row in enumerate(tasks.select("prompt_id", "left", "right").rows())]
    with Store.open(store) as opened:
        votes = opened.votes().filter(pl.col("file_id") == 2)
    got = votes.select("prompt_id", "response_left", "response_right", "outcome").rows()
    assert Counter(got) == Counter(wanted)


def test_label_studios_config_names_the_keys_of_its_tasks(store: Path, tmp_path: Path) -> None:
    report = plan(store, tmp_path / "tasks.json", votes=VOTES, file_format="label-studio")
    assert report.labelling_config == str(tmp_path / "tasks-config.xml")
    config = ET.fromstring(Path(report.labelling_config).read_text())
    tasks = [task["data"] for task in json.loads((tmp_path / "tasks.json").read_text())]
    shown = {element.get("value", "")[1:] for element in config.iter() if element.get("value", "").startswith("$")}
    assert shown == {"video", "question", "left_text", "right_text"}
    assert all(shown <= set(task) for task in tasks)
    assert [choice.get("alias") for choice in config.iter("Choice")] == list(SAID)
    assert set(tasks[0]) == set(COLUMNS) - {"outcome", "annotator_id"}


def test_a_config_that_was_changed_is_not_overwritten(store: Path, tmp_path: Path) -> None:
    plan(store, tmp_path / "tasks.json", votes=VOTES, file_format="label-studio")
    (tmp_path / "tasks-config.xml").write_text("<View/>")
    with pytest.raises(CurateError, match="exists with other content"):
        plan(store, tmp_path / "tasks.json", votes=VOTES, file_format="label-studio")


def test_the_command_names_the_labelling_config(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "tasks.json"
    words = ["plan", "--votes", "4", "--store", str(store), "--format", "label-studio", "--out", str(out)]
    assert run(words) == 0
    told = capsys.readouterr().err
    assert f"{tmp_path / 'tasks-config.xml'}: the labelling config" in told
    assert "curate ingest EXPORT" in told
