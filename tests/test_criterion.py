"""Criteria and groups of votes: from the file to rankings, which never mix criteria."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from pathlib import Path

import duckdb
import numpy as np
import polars as pl
import pytest

import curate
from cli.main import run
from curate.store import Store
from curate.store.migrations import MIGRATIONS, version
from curate.store.rankings import load_votes
from curate.votes.arrays import VoteArrays
from pipelines import annotators, denoise, ingest, report, status, validate
from pipelines.planning import plan
from schemas.config import DenoiseConfig, IngestConfig
from schemas.errors import CurateError

HEADER = "prompt_id,left,right,winner,worker,aspect"
PAIRS = [("a", "b"), ("b", "c"), ("a", "c")]
MODELS = ["p", "q", "r", "s"]


def write(path: Path, *lines: str, header: str = HEADER) -> Path:
    path.write_text("\n".join((header, *lines)) + "\n")
    return path


@pytest.fixture(scope="module")
def votes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """By clarity the order is a, b, c; by accuracy it is c, b, a. Each worker judges each pair by both."""
    rows = [
        f"{prompt},{left},{right},{'left' if aspect == 'clarity' else 'right'},w{worker},{aspect}"
        for prompt in MODELS
        for left, right in PAIRS
        for worker in range(3)
        for aspect in ("clarity", "accuracy")
        if not (aspect == "accuracy" and worker == 2)
    ]
    return write(tmp_path_factory.mktemp("votes") / "v.csv", *rows)


@pytest.fixture(scope="module")
def ingested(votes: Path) -> Path:
    ingest(votes, votes.parent / "s.duckdb")
    return votes.parent / "s.duckdb"


@pytest.fixture
def store(tmp_path: Path, ingested: Path) -> Path:
    return Path(shutil.copy(ingested, tmp_path))


# Ingest.


def test_votes_by_another_criterion_are_no_repeats(store: Path, votes: Path) -> None:
    with Store.open(store, read_only=True) as opened:
        assert dict(opened.votes()["criterion"].value_counts().iter_rows()) == {"clarity": 36, "accuracy": 24}
        assert opened.rejects().is_empty()
    assert ingest(votes, store).duplicates == 60


def test_a_second_vote_by_the_same_criterion_replaces_the_first(tmp_path: Path) -> None:
    first = write(tmp_path / "1.csv", "p,a,b,left,w,x", "p,a,b,left,w,y")
    later = write(tmp_path / "2.csv", "p,b,a,left,w,x", "p,b,a,right,w,z", "p,a,b,right,w,z")
    ingest(first, tmp_path / "s.duckdb")
    found = ingest(later, tmp_path / "s.duckdb")
    assert (found.votes, found.superseded, found.rejects) == (2, 1, 1)
    with Store.open(tmp_path / "s.duckdb", read_only=True) as opened:
        kept = opened.votes().select("response_left", "outcome", "criterion").rows()
        rejects = opened.rejects()
    assert sorted(kept) == [("a", "left", "y"), ("a", "right", "z"), ("b", "left", "x")]
    first, second = (json.loads(row) for row in rejects["row"])
    assert (first[0]["criterion"], second["criterion"]) == ("x", "z")


def test_a_vote_id_may_name_one_vote_by_each_criterion(tmp_path: Path) -> None:
    path = write(tmp_path / "v.csv", "p,a,b,left,w,x,1", "p,a,b,right,w,y,1", header=HEADER + ",vote_id")
    assert (found := ingest(path, tmp_path / "s.duckdb")).votes == 2
    assert found.rejects == 0


def test_the_key_of_a_vote_without_a_criterion_is_that_of_earlier_versions(tmp_path: Path) -> None:
    path = write(tmp_path / "v.csv", "p,a,b,left,w,", "p,b,a,left,w,x")
    ingest(path, tmp_path / "s.duckdb")
    content = "\x1f".join(("p", "a\x1eb\x1eleft", "true", "w", "\x1d"))
    with Store.open(tmp_path / "s.duckdb", read_only=True) as opened:
        keys = dict(opened.connection.sql("SELECT response_left, to_hex(vote_key) FROM votes").fetchall())
    digest = hashlib.md5(content.encode(), usedforsecurity=False).digest()
    assert int(keys["a"], 16) == int.from_bytes(digest, "little")
    assert keys["a"] != keys["b"]


def test_k_wise_rankings_by_two_criteria_are_two_rankings(tmp_path: Path) -> None:
    row = {"prompt_id": "p", "responses": ["a", "b", "c"], "rankings": [1, 2, 3], "worker": "w"}
    rows = [row | {"aspect": "x"}, row | {"aspect": "y", "rankings": [3, 2, 1]}, row | {"aspect": "y"}]
    (tmp_path / "v.jsonl").write_text("\n".join(map(json.dumps, rows)))
    found = ingest(tmp_path / "v.jsonl", tmp_path / "s.duckdb")
    assert (found.votes, found.pairs, found.rejects) == (2, 6, 1)
    assert status(tmp_path / "s.duckdb").groups == 2


# Groups.


def groups(path: Path) -> list[str | None]:
    with Store.open(path, read_only=True) as opened:
        return opened.votes()["group_id"].to_list()


def test_a_group_belongs_to_one_annotator_or_to_one_file(tmp_path: Path) -> None:
    header = "prompt_id,left,right,winner,worker,group_id"
    one = write(
        tmp_path / "1.csv", "p,a,b,left,w,1", "q,a,b,left,w,1", "p,a,b,left,v,1", "r,a,b,left,,1", header=header
    )
    two = write(tmp_path / "2.csv", "s,a,b,left,w,1", "s,a,b,left,,1", "t,a,b,left,w,", header=header)
    ingest([one, two], tmp_path / "s.duckdb")
    found = groups(tmp_path / "s.duckdb")
    assert found[0] == found[1] == found[4] == hashlib.md5(b"w\x1f1", usedforsecurity=False).hexdigest()
    assert len({found[0], found[2], found[3], found[5]}) == 4
    assert found[6] is None
    assert status(tmp_path / "s.duckdb").groups == 0
    with Store.open(tmp_path / "s.duckdb") as opened:
        assert len(set(load_votes(opened).votes.group.tolist())) == 5


def test_a_group_is_no_part_of_the_identity_of_a_vote(tmp_path: Path) -> None:
    header = "prompt_id,left,right,winner,worker,group_id"
    ingest(write(tmp_path / "1.csv", "p,a,b,left,w,1", header=header), tmp_path / "s.duckdb")
    assert ingest(write(tmp_path / "2.csv", "p,a,b,left,w,2", header=header), tmp_path / "s.duckdb").duplicates == 1


def test_repeats_within_a_group_are_found(tmp_path: Path) -> None:
    header = "prompt_id,left,right,winner,worker,group_id"
    ingest(write(tmp_path / "1.csv", "p,a,b,left,w,1", "p,b,c,left,w,1", header=header), tmp_path / "s.duckdb")
    found = ingest(write(tmp_path / "2.csv", "p,b,a,left,w,1", header=header), tmp_path / "s.duckdb")
    assert (found.votes, found.superseded) == (1, 1)


def test_a_session_over_several_prompts_shares_weight_within_each() -> None:
    """All three pairs of a prompt are a ranking of three responses; single pairs of other prompts weigh 1."""
    votes = VoteArrays.from_columns(
        prompt=["p", "p", "p", "q"], left=["a", "a", "b", "a"], right=["b", "c", "c", "b"], outcome=[0, 0, 0, 0],
        group=[0, 0, 0, 0],
    )  # fmt: skip
    np.testing.assert_allclose(votes.group_share, [2 / 3, 2 / 3, 2 / 3, 1])


# Rankings.


def ranked(path: Path, run_id: str) -> list[str]:
    with Store.open(path, read_only=True) as opened:
        return opened.rankings(run_id).filter(pl.col("prompt_id") == "p").sort("rank")["response_id"].to_list()


def test_a_ranking_is_by_one_criterion(store: Path) -> None:
    found = {
        name: denoise(store, config=DenoiseConfig(criterion=name, ranker="bradley-terry"))
        for name in ("clarity", "accuracy")
    }
    assert {name: (done.votes, ranked(store, done.run)) for name, done in found.items()} == {
        "clarity": (36, ["a", "b", "c"]),
        "accuracy": (24, ["c", "b", "a"]),
    }
    with Store.open(store, read_only=True) as opened:
        configs = [json.loads(config)["criterion"] for config in opened.runs()["config"]]
        assert [opened.newer_votes(done.run) for done in found.values()] == [0, 0]
    assert configs == ["clarity", "accuracy"]


@pytest.mark.parametrize(
    "job",
    [
        lambda store: denoise(store),
        lambda store: validate(store),
        lambda store: annotators(store),
        lambda store: plan(store, store.with_name("tasks.csv"), votes=5),
        lambda store: curate.open(store).leaderboard(),
        lambda store: curate.open(store).leaderboard(by="question"),
        lambda store: curate.open(store).graph("p"),
        lambda store: denoise(store, config=DenoiseConfig(criterion="beauty")),
    ],
)
def test_every_job_refuses_to_mix_criteria(store: Path, job: object) -> None:
    with pytest.raises(CurateError) as caught:
        job(store)  # type: ignore[operator]
    text = f"{caught.value} {caught.value.hint}"
    assert re.search(r"clarity \((36|9)\)", text)
    assert re.search(r"accuracy \((24|6)\)", text)


def test_every_job_takes_a_criterion(store: Path) -> None:
    assert annotators(store, criterion="accuracy").votes == 24
    assert {row.annotator_id: row.votes for row in annotators(store, criterion="accuracy").annotators} == {
        "w0": 12,
        "w1": 12,
    }
    assert validate(store, config=DenoiseConfig(criterion="clarity"), splits=0).votes == 36
    assert plan(store, store.with_name("tasks.csv"), votes=5, annotators=9, criterion="clarity").store_votes == 36
    with Store.open(store, read_only=True) as opened:
        assert opened.leaderboard(criterion="accuracy")["model"].to_list() == ["c", "b", "a"]
        assert opened.leaderboard(by="criterion").select("criterion", "model").rows() == [
            *(("accuracy", model) for model in "cba"), *(("clarity", model) for model in "abc"),
        ]  # fmt: skip
        assert opened.leaderboard(by="criterion", criterion="clarity")["votes"].sum() == 72
        assert sum(weight for *_, weight in opened.graph("p", criterion="clarity").edges(data="weight")) == 9


def test_what_follows_a_ranking_never_mixes_criteria(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exports, releases, reports and rankings are by the criterion asked for, and say which."""
    at, home = ["--store", str(store)], store.parent
    for name in ("clarity", "accuracy"):
        denoise(store, config=DenoiseConfig(criterion=name, ranker="bradley-terry"))
    (home / "split.toml").write_text("responses = 3\n[split]\nbenchmark_fraction = 0.5\nseed = 4\n")
    release = ["release", "build", *at, "--config", str(home / "split.toml"), "--out", str(home / "releases")]
    export = ["export", "benchmark", *at, "--responses-per-item", "3", "--split-seed", "4"]
    export += ["--benchmark-fraction", "0.5"]
    plot = ["plot", "prompt", "p", *at, "--out", str(home / "p.svg")]
    (home / "truth.csv").write_text("prompt_id,response_id,rank\np,a,1\np,b,2\np,c,3\n")
    audit, compare = ["audit", *at, "--json"], ["compare", str(home / "truth.csv"), *at, "--json"]
    for command in (
        release, [*export, "--out", str(home / "b")], ["rankings", *at], ["report", *at], plot, audit, compare,
    ):  # fmt: skip
        assert run(command) == 4
        assert re.search(r"2 criteria: .*clarity \(run \w+\)", capsys.readouterr().err)
    assert run(["rankings", *at, "--criterion", "beauty"]) == 5
    best, tau = {}, {}
    for name in ("clarity", "accuracy"):
        assert run([*release, "--name", name, "--version", "1.0.0", "--criterion", name, "--json"]) == 0
        built = json.loads(capsys.readouterr().out)
        card = (Path(built["out"]) / "README.md").read_text()
        assert (built["criterion"], f"| criterion | {name} |" in card) == (name, True)
        assert run([*export, "--out", str(home / name), "--criterion", name]) == 0
        assert json.loads((home / name / "manifest.json").read_text())["counts"]["criterion"] == name
        assert f"by the criterion {name}" in (home / name / "README.md").read_text()
        capsys.readouterr()
        assert run(["rankings", "p", *at, "--criterion", name, "--json"]) == 0
        best[name] = json.loads(capsys.readouterr().out)[0]["response_id"]
        assert run([*plot, "--criterion", name]) == 0
        assert [text for text in (f"{best[name]}  1 (", f": {name}<") if text not in (home / "p.svg").read_text()] == []
        capsys.readouterr()
        assert run([*audit, "--criterion", name]) == 0
        found = json.loads(capsys.readouterr().out)
        assert (found["votes"], found["fragile"][0]["best"]) == ({"clarity": 36, "accuracy": 24}[name], best[name])
        assert run([*compare, "--criterion", name]) == 0
        tau[name] = json.loads(capsys.readouterr().out)["kendall_tau"]["final"]
    assert (best, tau) == ({"clarity": "a", "accuracy": "c"}, {"clarity": 1.0, "accuracy": -1.0})
    assert run([*release, "--name", "clarity", "--criterion", "accuracy", "--version", "next"]) == 4
    assert "by the criterion 'clarity'" in capsys.readouterr().err


def test_a_report_is_on_the_criterion_of_its_run(store: Path) -> None:
    done = denoise(store, config=DenoiseConfig(criterion="accuracy", ranker="bradley-terry"))
    made = report(store, store.with_name("r.html"), run=done.run, show=1)
    assert "no leaderboard" not in "".join(made.not_computed)
    assert "by the criterion accuracy" in store.with_name("r.html").read_text()


def test_votes_without_a_criterion_are_a_criterion_of_their_own(tmp_path: Path) -> None:
    ingest(write(tmp_path / "v.csv", "p,a,b,left,w,x", "p,a,b,right,w,", "q,a,b,right,w,"), tmp_path / "s.duckdb")
    with pytest.raises(CurateError):
        denoise(tmp_path / "s.duckdb")
    found = denoise(tmp_path / "s.duckdb", config=DenoiseConfig(criterion="(none)", ranker="bradley-terry"))
    assert found.votes == 2
    only_q = DenoiseConfig(prompts=("q",), ranker="bradley-terry")
    assert denoise(tmp_path / "s.duckdb", config=only_q).votes == 1
    assert status(tmp_path / "s.duckdb").criteria == {"(none)": 2, "x": 1}


def test_votes_by_one_criterion_need_no_option(tmp_path: Path) -> None:
    ingest(write(tmp_path / "v.csv", "p,a,b,left,w,x"), tmp_path / "s.duckdb")
    assert denoise(tmp_path / "s.duckdb").votes == 1


def test_commands_take_the_criterion(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    at = ["--store", str(store)]
    assert run(["denoise", *at]) == 4
    assert "--criterion" in capsys.readouterr().err
    assert run(["denoise", *at, "--ranker", "bradley-terry", "--criterion", "clarity", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["votes"] == 36
    assert run(["leaderboard", *at, "--criterion", "accuracy", "--json"]) == 0
    assert [row["model"] for row in json.loads(capsys.readouterr().out)] == ["c", "b", "a"]
    assert run(["leaderboard", *at, "--by", "criterion", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)) == 6
    assert run(["annotators", *at, "--criterion", "accuracy", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["votes"] == 24
    assert run(["validate", *at, "--criterion", "accuracy", "--splits", "0", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["votes"] == 24
    assert (
        run(
            [
                "plan",
                *at,
                "--votes",
                "5",
                "--annotators",
                "9",
                "--out",
                str(store) + ".csv",
                "--criterion",
                "clarity",
                "--json",
            ]
        )
        == 0
    )
    assert json.loads(capsys.readouterr().out)["store_votes"] == 36
    assert run(["status", *at, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["criteria"] == {"clarity": 36, "accuracy": 24}
    assert run(["status", *at]) == 0
    assert "36 clarity, 24 accuracy" in capsys.readouterr().out


def test_rank_refuses_a_table_with_several_criteria(votes: Path) -> None:
    table = pl.read_csv(votes)
    with pytest.raises(CurateError, match=r"clarity \(36\), accuracy \(24\)"):
        curate.rank(table)
    found = curate.rank(table.filter(pl.col("aspect") == "accuracy"), ranker="bradley-terry")
    assert found.rankings["response_id"].to_list()[:3] == ["c", "b", "a"]


# Older stores.


def test_an_older_store_gets_the_column_and_keeps_its_votes(tmp_path: Path) -> None:
    path = write(tmp_path / "v.csv", "p,a,b,left,w", header="prompt_id,left,right,winner,worker")
    ingest(path, tmp_path / "s.duckdb")
    with duckdb.connect(str(tmp_path / "s.duckdb")) as old:
        old.execute("ALTER TABLE votes DROP COLUMN criterion").fetchall()
        old.execute("DELETE FROM migrations WHERE step >= 8").fetchall()
    assert ingest(path, tmp_path / "s.duckdb").duplicates == 1
    with Store.open(tmp_path / "s.duckdb") as opened:
        assert version(opened.connection) == len(MIGRATIONS)
        assert opened.votes()["criterion"].to_list() == [None]
        assert opened.counts()["criteria"] == {}


def test_repeats_all_keeps_votes_by_each_criterion(votes: Path, tmp_path: Path) -> None:
    found = ingest(votes, tmp_path / "all.duckdb", config=IngestConfig(repeats="all"))
    assert found.votes == 60
