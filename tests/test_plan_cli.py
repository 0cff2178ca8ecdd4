"""``curate plan``: the task file and its ingestion, sides, order, and errors."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from annotations.tasks import COLUMNS, task_table, write_tasks
from cli.main import run
from curate.rankers.hierarchical import shared_fits
from curate.store import Store
from pipelines import ingest, simulate
from pipelines.planning import plan
from schemas.config import IngestConfig, SimulateConfig
from schemas.errors import CurateError, UsageError

pytestmark = pytest.mark.slow

WORLD = SimulateConfig(prompts=9, models=5, annotators=12, votes_per_pair=0.6, prompts_per_video=3, seed=2)


@pytest.fixture(scope="module", autouse=True)
def _shared_fits() -> Iterator[None]:
    """Fits of equal votes are computed once."""
    with shared_fits():
        yield


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of a small world, with its prompts and responses given."""
    home = tmp_path_factory.mktemp("plan")
    world, store = home / "world", home / "curate.duckdb"
    simulate(world, config=WORLD)
    ingest(world / "votes.csv", store, prompts=world / "prompts.csv", responses=world / "responses.csv")
    return store


@pytest.fixture
def store(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the store in a folder to work in."""
    monkeypatch.chdir(tmp_path)
    copy = tmp_path / "curate.duckdb"
    copy.write_bytes(made.read_bytes())
    return copy


def asked(file: Path) -> pl.DataFrame:
    frame = pl.read_csv(file, infer_schema=False) if file.suffix == ".csv" else pl.read_ndjson(file)
    return frame.cast(pl.String)


def fill(file: Path, outcomes: list[str | None], people: list[str]) -> None:
    """Fill in the tasks, in turn; None leaves a task as it is."""
    frame = asked(file)
    said = [outcomes[i % len(outcomes)] for i in range(len(frame))]
    who = [people[i % len(people)] if said[i] else None for i in range(len(frame))]
    frame = frame.with_columns(outcome=pl.Series(said, dtype=pl.String), annotator_id=pl.Series(who, dtype=pl.String))
    frame.write_csv(file) if file.suffix == ".csv" else frame.write_ndjson(file)


# Out and back


def test_prompts_whose_video_may_be_outside_the_media_folder_are_not_asked_about(store: Path) -> None:
    with Store.open(store) as opened:
        opened.execute("UPDATE prompts SET video = '/etc/video.mp4' WHERE prompt_id = 'p0001'")
        opened.execute("UPDATE prompts SET video = '..\\video.mp4' WHERE prompt_id = 'p0002'")
    report = plan(store, "tasks.csv", votes=400)
    assert {"p0001", "p0002"}.isdisjoint(asked(Path("tasks.csv"))["prompt_id"])
    assert report.prompts == 7
    assert any(warning.startswith("2 prompts are not asked about") for warning in report.warnings)


@pytest.mark.parametrize("name", ["tasks.csv", "tasks.jsonl"])
def test_a_filled_task_file_is_ingested_without_options(store: Path, name: str) -> None:
    report = plan(store, name, votes=40)
    with Store.open(store, read_only=True) as opened:
        before = opened.counts()
    fill(Path(name), ["left", "right", "tie", "both_bad"], [f"new-{i}" for i in range(40)])
    back = ingest(name, store)
    assert report.votes == 40
    assert (back.rows, back.votes, back.rejects, back.duplicates) == (40, 40, 0, 0)
    assert back.sides_known == 40
    assert (back.prompts, back.responses, back.updated) == (0, 0, 0)
    assert not back.warnings
    with Store.open(store, read_only=True) as opened:
        after, votes = opened.counts(), opened.votes()
    assert after["votes"] == before["votes"] + 40
    assert after["annotators"] == before["annotators"] + 40
    tasks = asked(Path(name)).select("prompt_id", "left", "right", "outcome", "annotator_id").rows()
    columns = ("prompt_id", "response_left", "response_right", "outcome", "annotator_id")
    assert Counter(tasks) <= Counter(votes.select(columns).rows())


@pytest.mark.parametrize("name", ["tasks.csv", "tasks.jsonl"])
def test_unfinished_tasks_are_rejects_and_become_votes_later(store: Path, name: str) -> None:
    plan(store, name, votes=30)
    fill(Path(name), ["left", None, None], ["ann"])
    first = ingest(name, store, config=IngestConfig(repeats="all"))
    assert (first.rows, first.votes, first.rejects, first.reasons) == (30, 10, 20, {"unknown-outcome": 20})
    fill(Path(name), ["left", "right", "tie"], ["ann"])
    second = ingest(name, store, config=IngestConfig(repeats="all"))
    assert (second.votes, second.duplicates, second.rejects) == (20, 10, 0)


def test_a_repeated_pair_with_two_annotators_gives_two_votes(store: Path) -> None:
    plan(store, "tasks.csv", votes=60, prompts=["p0001", "p0002"], max_per_pair=3)
    fill(Path("tasks.csv"), ["left"], [f"new-{i}" for i in range(60)])
    tasks = asked(Path("tasks.csv"))
    pairs = Counter(frozenset(pair) for pair in tasks.select("left", "right").rows())
    assert max(pairs.values()) > 1
    assert ingest("tasks.csv", store).votes == len(tasks)


# The file


def test_the_file_has_texts_and_empty_answer_columns(store: Path) -> None:
    plan(store, "tasks.csv", votes=25)
    tasks = asked(Path("tasks.csv"))
    assert tasks.columns == list(COLUMNS)
    assert tasks["task_id"].n_unique() == 25
    assert tasks["outcome"].null_count() == tasks["annotator_id"].null_count() == 25
    with Store.open(store, read_only=True) as opened:
        texts = dict(opened.responses().select("response_id", "text").iter_rows())
        questions = {row[0]: row[1:] for row in opened.prompts().select("prompt_id", "question", "video").iter_rows()}
    for row in tasks.iter_rows(named=True):
        assert (row["left_text"], row["right_text"]) == (texts[row["left"]], texts[row["right"]])
        assert (row["question"], row["video"]) == questions[row["prompt_id"]]
        assert row["left"][:5] == row["right"][:5] == row["prompt_id"]


def test_equal_plans_give_equal_files_and_the_seed_changes_sides_and_order(store: Path) -> None:
    for name, seed in (("a.csv", 0), ("b.csv", 0), ("c.csv", 1)):
        plan(store, name, votes=40, seed=seed)
    assert Path("a.csv").read_bytes() == Path("b.csv").read_bytes()
    one, other = asked(Path("a.csv")), asked(Path("c.csv"))
    assert one["left"].to_list() != other["left"].to_list()
    unordered = [
        Counter((prompt, *sorted(pair)) for prompt, *pair in tasks.select("prompt_id", "left", "right").rows())
        for tasks in (one, other)
    ]
    assert unordered[0] == unordered[1]


def test_sides_are_balanced_and_a_pair_asked_again_swaps_them() -> None:
    pairs = [("p1", "a", "b")] * 3 + [("p1", "a", "c")] * 2 + [("p2", "x", "y")] + [("p2", "x", "z")] * 3
    frame = pl.DataFrame(pairs, schema=["prompt_id", "first", "second"], orient="row")
    prompts = pl.DataFrame({"prompt_id": ["p1", "p2"], "question": ["?", None], "video": [None, "v.mp4"]})
    responses = pl.DataFrame({"prompt_id": ["p1"], "response_id": ["a"], "text": ["an answer"]})
    for seed in range(20):
        tasks = task_table(frame, prompts, responses, plan="x", rng=np.random.default_rng(seed))
        assert abs((tasks["left"] < tasks["right"]).sum() - len(tasks) / 2) <= 0.5
        for pair in set(pairs):
            mine = tasks.filter(
                pl.col("prompt_id") == pair[0], pl.col("left").is_in(pair[1:]) & pl.col("right").is_in(pair[1:])
            )
            assert len(mine) == pairs.count(pair)
            assert abs((mine["left"] == pair[1]).sum() - len(mine) / 2) <= 0.5


def test_neighbours_in_the_file_are_on_different_prompts(store: Path) -> None:
    plan(store, "tasks.csv", votes=90, min_per_prompt=8)
    prompts = asked(Path("tasks.csv"))["prompt_id"]
    assert (prompts == prompts.shift()).sum() < 0.25 * len(prompts)
    assert prompts.head(20).n_unique() >= 7


def test_texts_with_quotes_and_line_breaks_survive_the_file(tmp_path: Path) -> None:
    text = 'He says "no",\nthen\r\nleaves; 日本'
    frame = pl.DataFrame([("p", "a", "b")], schema=["prompt_id", "first", "second"], orient="row")
    prompts = pl.DataFrame({"prompt_id": ["p"], "question": ["What, now?"], "video": ["v.mp4"]})
    responses = pl.DataFrame({"prompt_id": ["p", "p"], "response_id": ["a", "b"], "text": [text, None]})
    tasks = task_table(frame, prompts, responses, plan="x", rng=np.random.default_rng(0))
    for name in ("tasks.csv", "tasks.jsonl"):
        done = tasks.with_columns(outcome=pl.lit("left"))
        write_tasks(done, tmp_path / name, "csv" if name.endswith("csv") else "jsonl")
        ingest(tmp_path / name, tmp_path / f"{name}.duckdb")
        with Store.open(tmp_path / f"{name}.duckdb", read_only=True) as opened:
            assert dict(opened.responses().select("response_id", "text").iter_rows()) == {"a": text, "b": None}


def test_an_existing_file_is_never_overwritten(store: Path) -> None:
    assert plan(store, "tasks.csv", votes=10).written
    assert not plan(store, "tasks.csv", votes=10).written
    fill(Path("tasks.csv"), ["left"], ["ann"])
    filled = Path("tasks.csv").read_bytes()
    with pytest.raises(CurateError, match=r"tasks\.csv: exists with other content"):
        plan(store, "tasks.csv", votes=10)
    assert Path("tasks.csv").read_bytes() == filled
    Path("folder").mkdir()
    with pytest.raises(CurateError, match="exists and is not a file"):
        plan(store, "folder", votes=10)


def test_a_failed_write_leaves_no_file(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("annotations.tasks.os.fsync", fail)
    with pytest.raises(OSError, match="No space"):
        plan(store, "new/tasks.csv", votes=10)
    assert list(Path("new").iterdir()) == []


# The plan


def test_the_store_is_not_changed(store: Path) -> None:
    before = store.read_bytes()
    plan(store, "tasks.csv", votes=10)
    assert store.read_bytes() == before


def test_accuracy_is_predicted_from_none_of_the_votes_to_all(store: Path) -> None:
    report = plan(store, "tasks.csv", votes=100)
    assert [stage.votes for stage in report.planned] == [0, 10, 25, 50, 100]
    assert [stage.votes for stage in report.random] == [0, 10, 25, 50, 100]
    assert report.planned[0] == report.random[0]
    ours, other = ([stage.tau or 0 for stage in stages] for stages in (report.planned, report.random))
    assert ours == sorted(ours)
    assert ours[-1] > other[-1] > other[0]


def test_only_the_chosen_prompts_are_asked(store: Path) -> None:
    report = plan(store, "tasks.csv", votes=12, prompts=["p0003", "p0005"])
    assert set(asked(Path("tasks.csv"))["prompt_id"]) == {"p0003", "p0005"}
    assert report.store_votes == 54
    with pytest.raises(CurateError, match="no prompt 'nowhere'"):
        plan(store, "other.csv", votes=12, prompts=["nowhere"])


def test_responses_without_votes_are_asked(store: Path) -> None:
    Path("prompts.csv").write_text("prompt_id,question,video\nnew,What is new?,new.mp4\n")
    lines = [f"new,new-{i},model-0{i},answer {i}\n" for i in range(1, 5)]
    Path("responses.csv").write_text("prompt_id,response_id,model,text\n" + "".join(lines))
    Path("votes.csv").write_text("prompt_id,left,right,winner\np0001,p0001-r01,p0001-r02,left\n")
    ingest("votes.csv", store, prompts="prompts.csv", responses="responses.csv")
    plan(store, "tasks.csv", votes=30)
    tasks = asked(Path("tasks.csv")).filter(pl.col("prompt_id") == "new")
    assert len(tasks) > 3
    assert set(tasks["question"]) == {"What is new?"}


def test_a_too_large_budget_is_reduced_with_a_warning(store: Path) -> None:
    report = plan(store, "tasks.csv", votes=10**9, max_per_pair=1)
    assert report.votes == report.pairs <= 9 * 10
    assert f"{report.votes} of 1,000,000,000" in report.warnings[0]


def test_invalid_numbers_are_refused(store: Path) -> None:
    with pytest.raises(UsageError, match="votes is 0"):
        plan(store, "tasks.csv", votes=0)
    with pytest.raises(UsageError, match="minimum of 27"):
        plan(store, "tasks.csv", votes=20, min_per_prompt=3)
    assert not Path("tasks.csv").exists()


def test_a_store_without_votes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CurateError, match="no such store"):
        plan(tmp_path / "none.duckdb", tmp_path / "tasks.csv", votes=5)
    with Store.open(tmp_path / "empty.duckdb", create=True):
        pass
    with pytest.raises(CurateError, match="no votes"):
        plan(tmp_path / "empty.duckdb", tmp_path / "tasks.csv", votes=5)


def test_only_new_annotators_are_asked_about_judged_pairs(tmp_path: Path) -> None:
    (tmp_path / "votes.csv").write_text("prompt_id,left,right,winner,annotator\np,x,y,left,ann\nq,x,y,left,ann\n")
    ingest(tmp_path / "votes.csv", tmp_path / "s.duckdb")
    with pytest.raises(CurateError, match="nothing to ask") as caught:
        plan(tmp_path / "s.duckdb", tmp_path / "tasks.csv", votes=5)
    assert "--annotators N" in caught.value.hint
    assert plan(tmp_path / "s.duckdb", tmp_path / "tasks.csv", votes=5, annotators=3).votes == 4


# The command


def test_the_command_prints_the_table_on_stdout(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["plan", "--votes", "20", "--out", "tasks.csv"]) == 0
    out, err = capsys.readouterr()
    assert out.splitlines()[0].split() == [
        *("votes", "tau", "random", "top-1", "random", "best-of-4", "random"),
    ]
    assert [line.split()[0] for line in out.splitlines()[2:]] == ["0", "2", "5", "10", "20"]
    assert "tasks.csv: 20 votes on" in err
    assert "curate ingest tasks.csv --store curate.duckdb" in err
    assert run(["plan", "--votes", "20", "--out", "tasks.csv"]) == 0
    assert "unchanged" in capsys.readouterr().err


def test_the_command_passes_its_options_on(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--focus", "best", "--prompt", "p0003", "--prompt", "p0004", "--max-per-pair", "2", "--min-per-prompt"]
    options += ["3", "--annotators", "40", "--seed", "5", "--format", "jsonl", "--store", str(store), "--json"]
    assert run(["plan", "--votes", "8", "--out", "tasks.txt", *options]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["votes"], report["prompts"], report["focus"], report["seed"]) == (8, 2, "best", 5)
    rows = [json.loads(line) for line in Path("tasks.txt").read_text().splitlines()]
    pairs = Counter(frozenset((row["left"], row["right"])) for row in rows)
    assert max(pairs.values()) <= 2
    assert min(Counter(row["prompt_id"] for row in rows).values()) >= 3


def test_wrong_usage_of_the_command_exits_2(store: Path) -> None:
    assert run(["plan", "--votes", "0", "--out", "tasks.csv"]) == 2
    assert run(["plan", "--votes", "5"]) == 2
    assert run(["plan", "--votes", "5", "--out", "tasks.csv", "--focus", "worst"]) == 2
    assert run(["plan", "--votes", "5", "--out", "tasks.csv", "--min-per-prompt", "4"]) == 2
    assert not Path("tasks.csv").exists()
