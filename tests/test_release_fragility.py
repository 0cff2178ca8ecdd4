"""Fragility of the labels of a release: how few votes each rests on, in items, figures, card and filter."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import polars as pl
import pytest

from curate.release.manifest import read_release
from curate.store import Store
from pipelines import audit, denoise, ingest, simulate
from pipelines.releasing import build
from schemas.config import DenoiseConfig, SimulateConfig, SplitConfig
from schemas.release import ReleaseConfig
from tests.releases import check, folder_of
from tests.test_release_verify import forge, rewrite

pytestmark = pytest.mark.slow

CONFIG = ReleaseConfig(name="small", split=SplitConfig(benchmark_fraction=0.5, seed=1))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a store of some votes and their rankings, later.csv with more votes, and a release."""
    home = tmp_path_factory.mktemp("fragility")
    simulate(home / "world", config=SimulateConfig(prompts=12, models=6, annotators=12, votes_per_pair=3.0))
    votes = pl.read_csv(home / "world" / "votes.csv")
    votes[:400].write_csv(home / "first.csv")
    votes[400:].write_csv(home / "later.csv")
    files = {name: home / "world" / f"{name}.csv" for name in ("prompts", "responses")}
    ingest(home / "first.csv", home / "s.duckdb", **files)
    denoise(home / "s.duckdb", config=DenoiseConfig(ranker="hierarchical"))
    build(home / "s.duckdb", out=home / "release", config=CONFIG, exact=True)
    return home


def items_of(folder: Path, name: str) -> pl.DataFrame:
    return pl.read_parquet(folder / f"{name}-0*.parquet")


def test_items_have_the_fragility_that_the_audit_finds(world: Path) -> None:
    release = world / "release"
    found = audit(world / "s.duckdb", release=release)
    sizes = items_of(release, "benchmark")["fragility"].to_list()
    assert Counter("none" if size is None else str(size) for size in sizes) == found.by_votes
    assert len(found.by_votes) > 1
    assert items_of(release, "benchmark_pairwise")["fragility"].is_not_null().any()
    for name in ("train", "train_pairwise", "train_full", "benchmark_full"):
        assert items_of(release, name)["fragility"].is_null().all()
    figures = read_release(release).counts["fragility"]["benchmark"]
    least = sum(size is None or size >= figures["median"] for size in sizes)
    assert (figures["labels"], figures["one"]) == (len(sizes), sizes.count(1))
    assert 2 * least >= len(sizes)
    assert f"{figures['one']} of {len(sizes)} labels change without one vote" in (release / "README.md").read_text()


def test_the_card_has_the_leaderboard_of_the_run(world: Path) -> None:
    found = read_release(world / "release").counts["leaderboard"]
    (world / "first.duckdb").unlink(missing_ok=True)
    ingest(world / "first.csv", world / "first.duckdb", responses=world / "world" / "responses.csv")
    with Store.open(world / "first.duckdb") as opened:
        expected = opened.leaderboard()
    assert [row["model"] for row in found] == expected["model"].to_list()
    assert [row["class"] for row in found] == expected["class"].to_list()
    card = (world / "release" / "README.md").read_text()
    assert all(
        f"| {row['rank']} | {row['best_rank']} to {row['worst_rank']} | {row['model']} |" in card for row in found
    )


def test_a_changed_fragility_is_found(world: Path, tmp_path: Path) -> None:
    folder = folder_of(build(world / "s.duckdb", out=tmp_path, config=CONFIG.model_copy(update={"name": "other"})))
    assert not check(folder).findings
    rewrite(folder, "benchmark", lambda rows: rows.with_columns(fragility=pl.lit(1, pl.Int32)))
    forge(folder)
    assert {finding.check for finding in check(folder).findings} >= {"figures"}


def test_the_filter_drops_and_counts_fragile_items(world: Path, tmp_path: Path) -> None:
    config = CONFIG.model_copy(update={"name": "robust", "benchmark_min_fragility": 3})
    folder = folder_of(build(world / "s.duckdb", out=tmp_path, config=config))
    for name in ("benchmark", "benchmark_pairwise"):
        every, kept = items_of(world / "release", name), items_of(folder, name)
        few = every.filter(pl.col("fragility") < 3)
        assert len(few) > 0
        assert set(kept["item_id"]) == set(every["item_id"]) - set(few["item_id"])
        (stage,) = (s for s in read_release(folder).funnel.stages if s.stage == f"items: {name}")
        assert stage.dropped["below min_fragility, or unknown"] == len(few)
        places = kept["best"].value_counts()["count"]
        assert places.max() - places.min() <= 1
    assert not check(folder).findings


def test_later_votes_do_not_change_the_release_of_a_run(world: Path, tmp_path: Path) -> None:
    store = tmp_path / "s.duckdb"
    store.write_bytes((world / "s.duckdb").read_bytes())
    with Store.open(store, read_only=True) as opened:
        run = opened.denoise_run()
    ingest(world / "later.csv", store)
    again = build(store, out=tmp_path / "later", config=CONFIG.model_copy(update={"run": run}), exact=True)
    assert again.newer_votes > 0
    assert again.version == read_release(world / "release").version


def test_fragility_is_unknown_without_all_votes_of_the_run(world: Path, tmp_path: Path) -> None:
    store = tmp_path / "s.duckdb"
    store.write_bytes((world / "s.duckdb").read_bytes())
    with Store.open(store) as opened:
        opened.execute("DELETE FROM votes WHERE line % 7 = 0")
    folder = folder_of(build(store, out=tmp_path, config=CONFIG))
    assert items_of(folder, "benchmark")["fragility"].is_null().all()
    assert read_release(folder).counts["fragility"] == {}
