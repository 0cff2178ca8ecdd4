"""Rankings bucket by bucket against those of all votes at once: the fit, the job, interruptions, refusals."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

from cli.main import run
from curate.denoising import ranking
from curate.denoising.selection import Choice, choose
from curate.rankers.hierarchical import Hierarchical
from curate.rankers.hierarchical.buckets import fit_files
from curate.simulation.world import simulate_world
from curate.store import Store, buckets
from curate.store.partitions import BUCKET
from curate.votes.arrays import VoteArrays
from curate.votes.files import read_votes, write_votes
from pipelines import denoise, ingest
from pipelines.annotator_report import annotators
from schemas.config import AutoConfig, DenoiseConfig, SimulateConfig
from schemas.engine import EngineConfig
from schemas.errors import CurateError

WORLDS = {
    "plain": {"prompts": 60, "annotators": 40},
    "no ties": {"prompts": 60, "annotators": 40, "ties": 0.0, "left_bias": 0.0},
    "errors of perception": {"prompts": 60, "sittings_per_prompt": 4, "perception_error": 1.0},
    "mixture": {"video": True, "prompts": 100, "models": 19, "annotators": 60, "seed": 3},
}


def simulated(**changes: Any) -> VoteArrays:
    config = {"prompts": 24, "models": 6, "annotators": 15, "votes_per_pair": 3, "seed": 4, **changes}
    return simulate_world(SimulateConfig.model_validate(config)).votes


@cache
def prompt_ids() -> NDArray[np.str_]:
    """Names of prompts that are in four of the buckets, since the time of a round grows with their number."""
    ids = "SELECT 'p' || i AS prompt_id FROM range(1000) numbers(i)"
    return np.array(duckdb.sql(f"SELECT prompt_id FROM ({ids}) WHERE {BUCKET} < 4 ORDER BY 1").fetchall())[:, 0]


def frame(votes: VoteArrays) -> pl.DataFrame:
    """Votes as a table of a source."""
    response, outcomes = np.array(votes.responses), np.array(["left", "right", "tie", "both_bad"])
    return pl.DataFrame(
        {
            "prompt_id": prompt_ids()[votes.response_prompt[votes.left]],
            "left": response[votes.left],
            "right": response[votes.right],
            "outcome": outcomes[votes.outcome],
            "annotator_id": np.array(votes.annotators)[votes.annotator],
        }
    )


def store(folder: Path, votes: VoteArrays, name: str = "s.duckdb") -> Path:
    ingest(frame(votes), folder / name)
    return folder / name


def table(path: Path, run_id: str, name: str = "rankings") -> pl.DataFrame:
    with Store.open(path, read_only=True) as opened:
        return opened.frame(f"SELECT * EXCLUDE (run_id) FROM {name} WHERE run_id = ? ORDER BY ALL", [run_id])


@pytest.mark.parametrize("world", WORLDS)
def test_the_fit_to_files_is_the_fit_to_all_votes(world: str, tmp_path: Path) -> None:
    votes = simulated(**WORLDS[world])
    files, part = [tmp_path / f"{k}.npz" for k in range(3)], np.arange(len(votes.prompts)) % 3
    for k, path in enumerate(files):
        write_votes(path, votes.of_prompts(part == k))
    exact = Hierarchical(tolerance=1e-5)
    whole, found = exact.fit(votes), fit_files(files, votes, tmp_path / "fit", tolerance=1e-5)
    assert found.converged
    assert whole.prior.error_variance > 0 or world != "errors of perception"
    assert (whole.mixture is not None) == (found.mixture is not None) == (world == "mixture")
    assert found.state.model_mean == pytest.approx(whole.means.mean[: len(votes.models)], abs=5e-4)
    assert found.state.annotators.value == pytest.approx(whole.annotators.value, abs=5e-4)
    assert found.state.prior.variance == pytest.approx(whole.prior.variance, rel=5e-4)
    assert found.state.prior.error_variance == pytest.approx(whole.prior.error_variance, rel=2e-3)
    assert found.error_ratio_se == pytest.approx(whole.error_ratio_se, rel=2e-3)
    for k, path in enumerate(files):
        own = found.of_votes(read_votes(path)[0], path.name)
        responses = (part == k)[votes.response_prompt]
        assert own.strength == pytest.approx(whole.strength[responses], abs=5e-3)
        assert own.strength_se == pytest.approx(whole.strength_se[responses], rel=5e-3)
        assert own.converged.all()


@pytest.mark.parametrize("world", ["plain", "anonymous"])
def test_annotators_are_judged_as_from_all_votes_at_once(world: str, tmp_path: Path) -> None:
    table = frame(simulated())
    rng = np.random.default_rng(1)
    nobody = np.ones(len(table), dtype=bool) if world == "anonymous" else rng.random(len(table)) < 0.1
    table = table.with_columns(annotator_id=pl.when(pl.Series(nobody)).then(None).otherwise(pl.col("annotator_id")))
    place = pl.int_range(pl.len()).over("prompt_id")
    sides = [table.select("prompt_id", response_id=side) for side in ("left", "right")]
    responses = pl.concat(sides).unique().sort("prompt_id", "response_id")
    ingest(table, tmp_path / "s.duckdb", responses=responses.with_columns(text=pl.format("text {}", place // 2)))
    gold = table.head(30).vstack(table.head(1).with_columns(prompt_id=pl.lit("elsewhere")))
    gold.write_csv(tmp_path / "gold.csv")
    once = annotators(tmp_path / "s.duckdb", gold=tmp_path / "gold.csv")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(buckets, "AT_ONCE", 1000)
        found = annotators(tmp_path / "s.duckdb", gold=tmp_path / "gold.csv", engine=EngineConfig(workers=2))
    assert not list(tmp_path.glob("*.denoise"))
    assert found.gold is not None
    assert (found.gold.unknown, found.gold.votes > 0) == (1, world == "plain")
    assert found.model_dump(exclude={"annotators", "alpha"}) == once.model_dump(exclude={"annotators", "alpha"})
    assert found.alpha == pytest.approx(once.alpha)
    assert len(found.annotators) == (15 if world == "plain" else 0)
    by_id = {row.annotator_id: row.model_dump(exclude={"reason"}) for row in once.annotators}
    for row in found.annotators:
        assert row.model_dump(exclude={"reason"}) == pytest.approx(by_id[row.annotator_id], abs=0.03)


@pytest.mark.parametrize("name", ["s.duckdb", "partitioned"])
def test_the_job_ranks_as_with_all_votes_at_once(name: str, tmp_path: Path) -> None:
    path = store(tmp_path, simulated(), name)
    config = DenoiseConfig(ranker="bradley-terry", compare=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(buckets, "AT_ONCE", 1000)
        found = denoise(path, config=config)
    once = denoise(path, config=config, by_bucket=False)
    assert found.run != once.run
    different = {"run", "perception", "overdispersion", "expected_tau", "agreement", "not_converged", "disagreement"}
    assert found.model_dump(exclude=different) == once.model_dump(exclude=different)
    assert found.expected_tau == pytest.approx(once.expected_tau, abs=0.02)
    assert found.disagreement == pytest.approx(once.disagreement)
    own = {pair: tau for pair, tau in once.agreement.items() if pair in found.agreement}
    assert found.agreement == pytest.approx(own, abs=0.01)
    assert {name for pair in once.agreement for name in pair.split(" ~ ")} - {
        name for pair in found.agreement for name in pair.split(" ~ ")
    } == {"crowd-bt", "weighted-feedback-arc-set"}  # they need all votes
    assert found.overdispersion is not None
    assert found.overdispersion.prompts == 24
    ids = ["prompt_id", "response_id"]
    rows, others = (table(path, run_id).sort(ids) for run_id in (found.run, once.run))
    assert rows.select(*ids, "component", "rank").equals(others.select(*ids, "component", "rank"))
    assert rows["strength"].to_numpy() == pytest.approx(others["strength"].to_numpy(), abs=0.02)
    stats = [
        "prompt_id",
        "status",
        "votes",
        "ties",
        "responses",
        "pairs_covered",
        "components",
        "cyclic_triads",
        "cost",
    ]
    one, other = (table(path, run_id, "prompt_stats").sort("prompt_id") for run_id in (found.run, once.run))
    assert one.select(stats).equals(other.select(stats))
    assert denoise(path, config=config, by_bucket=True).reused
    assert not list(tmp_path.glob("*.denoise"))


def test_auto_chooses_among_the_rankers_that_need_no_other_prompts(tmp_path: Path) -> None:
    path = store(tmp_path, simulated())
    found = denoise(path, config=DenoiseConfig(compare=True), by_bucket=True)
    assert found.auto is not None
    names = {score.method for score in found.auto.methods}
    assert {"hierarchical", "bradley-terry", "stack"} <= names
    assert not names & {"crowd-bt", "model-means", "weighted-feedback-arc-set"}


def test_a_choice_that_needs_all_votes_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, config = store(tmp_path, simulated(prompts=10)), DenoiseConfig(auto=AutoConfig(folds=2))

    def crowd_bt(*given: Any, **options: Any) -> Choice:
        return replace(choose(*given, **options), method="crowd-bt")

    monkeypatch.setattr(ranking, "choose", crowd_bt)
    once = denoise(path, config=config, by_bucket=False)
    assert once.method == "crowd-bt"
    found = denoise(path, config=config, keep_choice=True, by_bucket=True)
    assert found.auto is not None
    assert not found.auto.kept
    assert found.method != "crowd-bt"


def test_rings_and_spammers_are_those_of_all_votes(tmp_path: Path) -> None:
    votes = simulated(prompts=20, models=10, annotators=15, votes_per_pair=4, ties=0, seed=1, dependence="copied-votes")
    path = store(tmp_path, votes)
    config = DenoiseConfig(ranker="hierarchical", max_spammer=0.5)
    found, once = (denoise(path, config=config, by_bucket=by) for by in (True, False))
    assert once.rings
    assert once.spammers
    for name in ("rings", "copied_votes", "spammer_ids", "excluded_votes", "votes", "ranked"):
        assert getattr(found, name) == getattr(once, name), name


def test_equal_texts_and_prompts_that_are_not_ranked(tmp_path: Path) -> None:
    votes = frame(simulated(prompts=12))
    few = pl.DataFrame([["few", "a", "b", "tie", "w"]], schema=votes.columns, orient="row")
    ingest(
        pl.concat([votes, few]),
        tmp_path / "s.duckdb",
        responses=votes.select("prompt_id", response_id="left")
        .unique()
        .with_columns(text=pl.when(pl.col("response_id").is_in(["m0", "m1"])).then(pl.lit("the same"))),
    )
    found, once = (
        denoise(tmp_path / "s.duckdb", config=DenoiseConfig(ranker="hierarchical"), by_bucket=by)
        for by in (True, False)
    )
    assert once.equal_texts is not None
    assert found.equal_texts == once.equal_texts
    assert found.status == once.status
    assert found.status["too_few_votes"] == 1
    assert found.warnings == once.warnings


def test_a_run_that_is_interrupted_twice_ends_with_the_same_bytes(tmp_path: Path) -> None:
    config, stale = DenoiseConfig(ranker="hierarchical"), tmp_path / "s.duckdb.denoise" / "of other votes"
    stale.mkdir(parents=True)
    whole, path = store(tmp_path, simulated(), "whole.duckdb"), store(tmp_path, simulated())
    home, steps = stale.parent, list[set[str]]()
    for stop in ("hierarchical, round 3", "writing"):
        steps.append(set())

        def stops(doing: str, _done: int, _total: int, stop: str = stop) -> None:
            if doing == stop:
                raise KeyboardInterrupt
            steps[-1].add(doing)

        with pytest.raises(KeyboardInterrupt):
            denoise(path, config=config, by_bucket=True, progress=stops)
        assert not stale.exists()
        assert len(list(home.glob("*/ranked-fit/round-2/*.npz"))) > 1 or stop == "writing"
        with Store.open(path, read_only=True) as opened:
            assert opened.runs().filter(pl.col("step") == "denoise").is_empty()
    steps.append(set())
    found = denoise(path, config=config, by_bucket=True, progress=lambda what, *_: steps[-1].add(what))
    rounds = [{what for what in doing if what.startswith("hierarchical, round")} for doing in steps]
    assert {f"hierarchical, round {n}" for n in (1, 2)} == rounds[0]
    assert "hierarchical, round 3" in rounds[1]
    assert not rounds[0] & rounds[1]
    assert not rounds[2]
    undisturbed = denoise(whole, config=config, by_bucket=True)
    assert found.run == undisturbed.run
    for name in ("rankings", "ranker_scores", "prompt_stats"):
        assert table(path, found.run, name).equals(table(whole, found.run, name)), name
    assert not home.exists()


@pytest.mark.parametrize(
    ("config", "what"),
    [
        ({"ranker": "crowd-bt"}, "ranker 'crowd-bt' needs the votes on all prompts"),
        ({"ranker": "ensemble", "weights": {"borda": 1, "crowd-bt": 1}}, "ranker 'crowd-bt' needs"),
        ({"control": ("length",)}, "control = length"),
        ({"min_votes": 100_000}, "no prompt can be ranked"),
    ],
)
def test_what_needs_all_votes_is_refused(config: dict[str, Any], what: str, tmp_path: Path) -> None:
    path = store(tmp_path, simulated(prompts=10))
    with pytest.raises(CurateError, match=what):
        denoise(path, config=DenoiseConfig(**config), by_bucket=True)


def test_the_command_names_the_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    store(tmp_path, simulated(prompts=10), "curate.duckdb")
    monkeypatch.chdir(tmp_path)
    assert run(["denoise", "--by-bucket", "--ranker", "crowd-bt"]) != 0
    assert "--at-once" in capsys.readouterr().err
    assert run(["denoise", "--at-once", "--ranker", "crowd-bt"]) == 0


def test_an_empty_store_is_an_error(tmp_path: Path) -> None:
    path = store(tmp_path, simulated(prompts=2))
    with Store.open(path) as opened:
        opened.execute("DELETE FROM votes")
    with pytest.raises(CurateError, match="no votes"):
        denoise(path, by_bucket=True)
