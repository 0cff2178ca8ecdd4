"""Benchmark items over versions: kept while their labels hold, retired with a reason, replaced in balance."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.release.history import read_history
from curate.release.manifest import read_release
from curate.sampling.items import Rule, draw_items
from curate.shards.atomic import MANIFEST
from curate.store import Store
from pipelines.releasing import build, diff
from schemas.release import Filters, ReleaseConfig
from tests.releases import CONFIG, check, folder_of, make_world, on_side
from tests.stores import Ranked, add_prompts
from tests.test_items import campaign, spread

FOUR = Rule("4way", 4, 4, strict=True)
NEXT = CONFIG.model_copy(update={"version": "next"})


def moved(frame: pl.DataFrame, noise: float, seed: int) -> pl.DataFrame:
    """Return the frame with other strengths, and the ranks by these."""
    rng = np.random.default_rng(seed)
    strength = frame["strength"] + pl.Series(rng.normal(0, noise, len(frame)))
    frame = frame.with_columns(strength=strength)
    return frame.with_columns(rank=pl.col("strength").rank("ordinal", descending=True).over("prompt_id").cast(pl.Int64))


def ordered(items: pl.DataFrame) -> dict[str, tuple[tuple[str, ...], int]]:
    """Return id -> responses in order, and the best."""
    return {item: (tuple(ids), best) for item, ids, best in items.select("item_id", "response_ids", "best").iter_rows()}


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 9), st.floats(0, 1.5), st.sampled_from([0.0, 0.6, 0.8]))
def test_items_are_kept_exactly_while_their_label_holds(seed: int, noise: float, minimum: float) -> None:
    first = draw_items(campaign(12, seed=seed), FOUR, min_confidence=minimum).items
    frame = moved(campaign(12, seed=seed), noise, seed)
    drawn = draw_items(frame, FOUR, min_confidence=minimum, earlier=first)
    rank = {(p, r): k for p, r, k in frame.select("prompt_id", "response_id", "rank").iter_rows()}
    before, after = ordered(first), ordered(drawn.items)
    confidence = dict(drawn.items.select("item_id", "confidence").iter_rows())
    for row in first.iter_rows(named=True):
        item, ranks = row["item_id"], [rank[row["prompt_id"], response] for response in row["response_ids"]]
        if item in drawn.retired:
            assert drawn.retired[item] == (
                "best changed" if min(ranks) < ranks[row["best"]] else f"confidence below {minimum:g}"
            )
        else:
            assert (after[item], ranks[row["best"]]) == (before[item], min(ranks))
            assert confidence[item] >= minimum
    assert len(after) == len(drawn.items), "ids are unique"
    assert drawn.items["prompt_id"].value_counts()["count"].max() <= FOUR.items
    assert drawn.items["prompt_id"].is_sorted()
    if not minimum:
        assert len(drawn.items) == 12 * FOUR.items, "retired items are replaced"


def test_a_draw_from_its_own_items_is_equal() -> None:
    frame = moved(campaign(20), 1.0, 1)
    items = draw_items(frame, FOUR, min_confidence=0.6, earlier=draw_items(campaign(20), FOUR).items).items
    again = draw_items(frame, FOUR, min_confidence=0.6, earlier=items)
    assert (again.items.equals(items), again.retired) == (True, {})


def test_new_items_restore_the_balance() -> None:
    first = draw_items(campaign(), FOUR).items
    skewed = first.filter((pl.col("best") != 2) & (pl.col("difficulty") != "hard"))
    again = draw_items(campaign(), FOUR, earlier=skewed).items
    assert set(skewed["item_id"]) <= set(again["item_id"])
    assert (len(again), spread(again["best"])) == (len(first), 0)
    assert spread(again["difficulty"]) <= 2
    assert spread(again["models"].explode()) <= 4


def test_fragile_items_are_retired_and_replaced() -> None:
    first = draw_items(campaign(8), FOUR).items
    fragile = {tuple(sorted(ids)) for ids in first["response_ids"].to_list()[:3]}

    def sizes(labels: object) -> np.ndarray:
        return np.array([1.0 if tuple(sorted((label.best, *label.others))) in fragile else 9.0 for label in labels])  # type: ignore[attr-defined]

    again = draw_items(campaign(8), FOUR, earlier=first, fragility=sizes, min_fragility=3)
    assert set(again.retired.values()) == {"fragility below 3"}
    assert len(again.items) == len(first)
    assert not fragile & {tuple(sorted(ids)) for ids in again.items["response_ids"].to_list()}


# Releases.


@pytest.fixture
def world(tmp_path: Path) -> tuple[Path, Path]:
    return make_world(tmp_path)


def release(world: tuple[Path, Path], config: ReleaseConfig = NEXT) -> Path:
    return folder_of(build(world[0], out=world[0].parent / "out", config=config, media=world[1]))


def change(store: Path, *statements: str) -> None:
    """Change the store, and give the denoise run another id."""
    with Store.open(store) as opened:
        run = opened.denoise_run()
        other = f"{int(run, 16) + 1:012x}"
        renamed = [
            f"UPDATE {table} SET run_id = '{other}' WHERE run_id = '{run}'" for table in ("rankings", "prompt_stats")
        ]
        for statement in (*statements, *renamed, f"UPDATE runs SET run_id = '{other}' WHERE run_id = '{run}'"):
            opened.execute(statement)


def reverse(prompt: str) -> str:
    return f"UPDATE rankings SET rank = 7 - rank, score = -score, strength = -strength WHERE prompt_id = '{prompt}'"


def items_of(folder: Path, config: str = "benchmark") -> pl.DataFrame:
    return pl.read_parquet(folder / f"{config}-*.parquet")


def test_each_retired_item_has_its_reason(world: tuple[Path, Path]) -> None:
    """Each change concerns one prompt without a video, or the prompts of one video."""
    with Store.open(world[0]) as opened:
        add_prompts(opened, [Ranked(f"q{i}", tuple(range(1, 7))) for i in range(24)])
    first = release(world)
    text, best, votes, same, *_ = (prompt for prompt in on_side(world[0], "benchmark") if prompt.startswith("q"))
    media = next(prompt for prompt, sha in items_of(first).select("prompt_id", "media_sha256").iter_rows() if sha)
    with Store.open(world[0], read_only=True) as opened:
        (video,) = opened.frame("SELECT video FROM prompts WHERE prompt_id = ?", [media])["video"]
    (world[1] / video).write_bytes((world[1] / video).read_bytes() + b"\0")
    change(
        world[0],
        f"UPDATE prompts SET question = 'Corrected?' WHERE prompt_id = '{text}'",
        reverse(best),
        f"UPDATE prompt_stats SET votes = 9 WHERE prompt_id <> '{votes}'",
    )
    second = release(world, NEXT.model_copy(update={"filters": Filters(min_votes=5)}))
    history = read_history(second, read_release(second))
    assert history is not None
    ended = history.filter(pl.col("reason") != "")
    assert set(ended["retired_in"]) == {"1.1.0"}
    reasons = {prompt: set(own["reason"]) for (prompt,), own in ended.group_by("prompt_id")}
    assert [reasons.get(prompt) for prompt in (text, best, votes, media, same)] == [
        {"text changed"},
        {"best changed"},
        {"prompt excluded by filters"},
        {"media changed"},
        None,
    ]
    assert not check(second, media=False).findings


def test_versions_state_what_is_kept_and_on_which_items_scores_are_comparable(world: tuple[Path, Path]) -> None:
    first = release(world)
    prompt = on_side(world[0], "benchmark")[0]
    change(world[0], reverse(prompt))
    second = release(world)
    change(world[0], "UPDATE prompt_stats SET votes = 5")
    third = release(world)
    assert [path.name for path in (first, second, third)] == ["tiny-1.0.0", "tiny-1.1.0", "tiny-1.2.0"]
    count, gone = len(items_of(first)), len(items_of(first).filter(pl.col("prompt_id") == prompt))
    stable = read_release(second).counts["stability"]["benchmark"]
    assert stable == {
        "previous": "tiny-1.0.0",
        "before": count,
        "kept": count - gone,
        "retired": {"best changed": gone},
        "new": gone,
        "common": {"1.0.0": count - gone},
    }
    stable = read_release(third).counts["stability"]["benchmark"]
    assert (stable["kept"], stable["retired"], stable["new"]) == (count, {}, 0)
    assert stable["common"] == {"1.0.0": count - gone, "1.1.0": count}
    card = (second / "README.md").read_text()
    assert f"{count - gone} of {count} items kept, {gone} retired because of: best changed; {gone} new." in card
    assert f"| 1.0.0 | {count - gone} | " in card
    over_two = diff(first, third).items["benchmark"]
    assert (over_two.kept, over_two.retired) == (count - gone, {"best changed": gone})
    kept = read_history(third, read_release(third))
    assert kept is not None
    common = kept.filter(pl.col("config") == "benchmark", pl.col("since") == "1.0.0", pl.col("reason") == "")["item_id"]
    same = [items_of(folder).filter(pl.col("item_id").is_in(common.to_list())) for folder in (first, third)]
    columns = ["item_id", "prompt", "response_ids", "responses", "best"]
    assert same[0].select(columns).sort("item_id").equals(same[1].select(columns).sort("item_id"))
    assert not any(check(folder, media=False).findings for folder in (first, second, third))


def test_a_version_is_rebuilt_from_the_one_before_it_with_equal_bytes(world: tuple[Path, Path]) -> None:
    first = release(world)
    change(world[0], reverse(on_side(world[0], "benchmark")[0]))
    second = release(world)
    assert build(world[0], out=second.parent, config=NEXT, media=world[1]).reused
    files = {path.name: path.read_bytes() for path in second.rglob("*") if path.is_file()}
    shutil.rmtree(second)
    assert not build(world[0], out=world[0].parent / "elsewhere", config=NEXT, media=world[1], previous=[first]).notes
    assert "--previous" in build(world[0], out=world[0].parent / "new", config=NEXT, media=world[1]).notes[0]
    again = release(world)
    assert (again, {path.name: path.read_bytes() for path in again.rglob("*") if path.is_file()}) == (second, files)
    licensed = NEXT.model_copy(update={"licence": "cc0-1.0"})
    assert release(world, licensed) == second, "the same data keep their number"


def test_all_items_are_drawn_again_if_so_configured(world: tuple[Path, Path]) -> None:
    first = release(world)
    change(world[0], "UPDATE prompt_stats SET votes = 5")
    second = release(world, NEXT.model_copy(update={"benchmark_items": "redraw", "seed": 3}))
    stable = read_release(second).counts["stability"]["benchmark"]
    assert (stable["kept"], stable["retired"]) == (0, {"redrawn": len(items_of(first))})


def test_verify_finds_a_kept_item_that_differs_from_the_previous_version(
    world: tuple[Path, Path], tmp_path: Path
) -> None:
    first = release(world)
    change(world[0], "UPDATE prompt_stats SET votes = 5")
    second = release(world)
    elsewhere = Path(shutil.copytree(second, tmp_path / "elsewhere" / second.name))
    assert any("kept items were not compared with tiny-1.0.0" in note for note in check(elsewhere, media=False).notes)
    (path,) = first.glob("benchmark-*.parquet")
    rows = pl.read_parquet(path)
    rows.with_columns(prompt=pl.lit("Another question?")).write_parquet(path)
    found = [
        finding for finding in check(elsewhere, previous=[first], media=False).findings if finding.check == "history"
    ]
    assert len(found) == len(rows)
    assert "is called kept and differs from tiny-1.0.0" in found[0].what
    history = (second / "history.csv").read_text()
    (second / "history.csv").write_text(history.replace("benchmark,", "benchmark,0", 1))
    assert {finding.check for finding in check(second, media=False).findings} >= {"files", "history"}
    assert (second / MANIFEST).exists()
