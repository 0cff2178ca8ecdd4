"""Responses of one prompt with equal texts: one strength and rank, and never two of them in an item."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import curate
from curate.denoising.ranking import rank_votes
from curate.release.manifest import read_release
from curate.release.verify_tables import read_tables, text_findings
from curate.sampling.items import Rule, draw_items
from curate.store import Store
from curate.votes.coverage import cover
from curate.votes.merging import merge
from curate.votes.texts import comparable, text_groups, text_numbers
from pipelines import denoise, export, ingest, status
from pipelines.campaign_tasks import askable
from pipelines.planning import plan
from pipelines.releasing import build
from schemas.campaign import CampaignConfig
from schemas.choices import TextComparison
from schemas.config import DenoiseConfig, ExportConfig
from schemas.errors import CurateError
from tests.releases import CONFIG, released
from tests.strategies import prompt_sets, votes_from_wins
from tests.test_items import ranked

TEXTS = {"a": "It turns left.", "b": "it turns  left.", "c": "It stops.", "d": "It turns left", "e": "It jumps."}
"""a and b are equal, and d nearly."""
PROMPTS = tuple(f"p{i}" for i in range(6))


def same(one: str, other: str, how: TextComparison) -> bool:
    numbers = text_numbers(pl.DataFrame({"prompt": [0, 0], "text": [one, other]}), how).equal
    return bool(numbers[0] == numbers[1])


@pytest.mark.parametrize(
    ("one", "other", "careful", "loose"),
    [
        ("The red one.", "the  red\none. ", True, True),
        ("caf\u00e9", "cafe\u0301", True, True),
        ("x = 1\r\ny = 2  \n", "x = 1\ny = 2", True, True),
        (" 42", "42", True, True),
        ("5 mW", "5 MW", False, True),
        ("5 Mm", "5 mm", False, True),
        ("the set N", "the set n", False, True),
        ("if a:\n    b()\nc()", "if a:\n    b()\n    c()", False, True),
        ("os.Path", "os.path", False, True),
        ("2\u00b2", "22", False, True),
        ("-5", "5", False, False),
        ("It turns left.", "It turns left", False, False),
    ],
)
def test_case_and_whitespace_do_not_count_in_words_but_do_in_maths_and_code(
    one: str, other: str, careful: bool, loose: bool
) -> None:
    assert (same(one, other, "careful"), same(one, other, "loose")) == (careful, loose)
    assert not same(one, other, "exact")
    assert same(one, one, "exact")


def test_unknown_and_empty_texts_and_those_of_other_prompts_are_not_equal() -> None:
    frame = pl.DataFrame({"prompt": [0, 0, 0, 0, 1], "text": [None, None, " ", " ", "a"]})
    assert len(set(text_numbers(frame, "careful").equal)) == 5
    assert frame.select(comparable(pl.col("text"), "careful")).to_series().to_list() == [None] * 4 + ["a"]


@settings(max_examples=25, deadline=None)
@given(prompt_sets(max_prompts=3, max_size=5), st.data())
def test_a_merged_ranking_is_that_of_one_response_with_all_the_votes(
    votes: curate.VoteArrays, data: st.DataObject
) -> None:
    """For every ranker: the same scores as if the votes had named one response; equal texts share everything."""
    own = [data.draw(st.integers(0, 2), label="text") for _ in votes.responses]
    numbers = 3 * votes.response_prompt.astype(np.int64) + own
    config = DenoiseConfig(ranker="bradley-terry", compare=True)
    merged = merge(votes, numbers).votes
    assume(cover(merged, config).used.any())
    found = rank_votes(votes, config, texts=numbers)
    plain = rank_votes(merged, config)
    for name, ranking in plain.rankings.items():
        np.testing.assert_array_equal(found.rankings[name].scores, ranking.scores, err_msg=name)
    frame = found.frame()
    assert len(frame) == (found.coverage.used[votes.response_prompt]).sum()
    texts = dict(
        zip(zip(np.array(votes.prompts)[votes.response_prompt], votes.responses, strict=True), numbers, strict=True)
    )
    frame = frame.with_columns(
        text=pl.Series([texts[row] for row in frame.select("prompt_id", "response_id").iter_rows()])
    )
    assert (
        (frame.group_by("text").agg(pl.exclude("prompt_id", "response_id").n_unique()).drop("text") == 1)
        .to_numpy()
        .all()
    )
    shown = frame.with_columns(
        expected=pl.col("score").round(9).rank("min", descending=True).over("prompt_id", "component")
    )
    assert shown["rank"].to_list() == shown["expected"].to_list()
    assert (frame["best_rank"] <= frame["rank"]).all()
    assert (frame["rank"] <= frame["worst_rank"]).all()


def test_votes_between_equal_texts_change_no_order_and_are_counted() -> None:
    wins = [[0, 5, 4, 3], [1, 0, 3, 3], [0, 1, 0, 2], [1, 0, 1, 0]]
    contradicting = [[0, 5, 4, 3], [99, 0, 3, 3], [0, 1, 0, 2], [1, 0, 1, 0]]
    numbers = np.array([0, 0, 2, 3])
    one, other = (
        rank_votes(votes_from_wins(w), DenoiseConfig(ranker="hierarchical"), texts=numbers)
        for w in (wins, contradicting)
    )
    assert one.frame().equals(other.frame())
    assert one.frame()["rank"].to_list() == [1, 1, 3, 4]
    assert other.all_texts.between.sum() == 2
    assert other.votes.responses == ("r000", "r002", "r003")


def store_of(folder: Path, texts: Mapping[str, str] = TEXTS, prompts: Sequence[str] = PROMPTS) -> Path:
    """A store in which b beats c, c beats d, d beats e, everyone beats a, and a and b have equal texts."""
    order = ["b", "c", "d", "e", "a"]
    rows = [f"{p},{x},{y},left,u{k % 3}\n" for p in prompts for k, (x, y) in enumerate(combinations(order, 2))]
    (folder / "v.csv").write_text("prompt_id,left,right,winner,annotator_id\n" + "".join(rows))
    known = [f"{p},{r},{r.upper()},{text}\n" for p in prompts for r, text in texts.items()]
    (folder / "r.csv").write_text("prompt_id,response_id,model,text\n" + "".join(known))
    ingest([folder / "v.csv"], folder / "s.duckdb", responses=folder / "r.csv")
    return folder / "s.duckdb"


def test_denoise_merges_equal_texts_unless_they_are_kept(tmp_path: Path) -> None:
    store = store_of(tmp_path)
    merged = denoise(store, config=DenoiseConfig(ranker="bradley-terry", min_votes=9))
    assert merged.equal_texts is not None
    assert (merged.equal_texts.groups, merged.equal_texts.responses, merged.equal_texts.prompts) == (6, 12, 6)
    assert (merged.votes, merged.equal_texts.excluded_votes) == (54, 6)
    assert (merged.equal_texts.near_groups, merged.equal_texts.near_prompts) == (6, 6)
    with curate.open(store) as opened:
        frame = opened.rankings()
        own = opened.prompt_stats()
    assert set(own["pairs_possible"]) == {6}
    assert set(own["responses"]) == {5}
    ranks = dict(frame.filter(prompt_id="p0").select("response_id", "rank").iter_rows())
    assert ranks["a"] == ranks["b"]
    kept = denoise(store, config=DenoiseConfig(ranker="bradley-terry", equal_texts="keep"))
    assert kept.equal_texts is not None
    assert (kept.equal_texts.groups, kept.equal_texts.excluded_votes, kept.votes) == (6, 0, 60)
    with curate.open(store) as opened:
        ranks = dict(opened.rankings(kept.run).filter(prompt_id="p0").select("response_id", "rank").iter_rows())
    assert ranks == {"b": 1, "c": 2, "d": 3, "e": 4, "a": 5}


def test_a_changed_text_makes_another_run(tmp_path: Path) -> None:
    store = store_of(tmp_path)
    first = denoise(store, config=DenoiseConfig(ranker="borda"))
    (tmp_path / "r2.csv").write_text("prompt_id,response_id,text\np0,a,It flies.\n")
    ingest([tmp_path / "v.csv"], store, responses=tmp_path / "r2.csv")
    second = denoise(store, config=DenoiseConfig(ranker="borda"))
    assert first.run != second.run
    assert second.equal_texts is not None
    assert second.equal_texts.groups == 5


@pytest.mark.parametrize("handling", ["merge", "keep"])
def test_no_item_of_an_export_has_two_equal_texts(tmp_path: Path, handling: str) -> None:
    store = store_of(tmp_path)
    denoise(store, config=DenoiseConfig.model_validate({"ranker": "borda", "equal_texts": handling}))
    for size in (0, 2, 3):
        out = tmp_path / f"out{size}"
        report = export(store, "train", out=out, config=ExportConfig(responses=size))
        assert report.excluded["response: equal text of another"] > 0
        items = pl.read_ndjson(out / "train.jsonl")["responses"]
        assert len(items) > 0
        for texts in items.to_list():
            assert len({" ".join(text.lower().split()) for text in texts}) == len(texts)


def test_each_of_the_equal_texts_is_drawn_for_some_prompt() -> None:
    frame = ranked(**{f"p{i:02d}": [1, 1, 3, 4] for i in range(40)})
    frame = frame.with_columns(text=frame["prompt_id"].rank("dense") * 10 + pl.Series([0, 0, 1, 2] * 40))
    items = draw_items(frame, Rule("pairwise", 2, 8, strict=True)).items
    drawn = {response for responses in items["response_ids"].to_list() for response in responses}
    assert drawn == {"00", "01", "02", "03"}
    assert not any({"00", "01"} <= {*responses} for responses in items["response_ids"].to_list())


def test_a_full_ranking_shows_equal_texts_with_one_rank_and_equal_probabilities() -> None:
    covariance = [[0.5, 0.5, 0.1], [0.5, 0.5, 0.1], [0.1, 0.1, 0.5]]
    frame = ranked(p=[1, 1, 3]).with_columns(text=pl.Series([0, 0, 1]), covariance=pl.Series(covariance))
    (item,) = draw_items(frame, Rule("full", 0, 1, strict=False, repeat_texts=True)).items.to_dicts()
    probability = dict(zip(item["response_ids"], item["best_probabilities"], strict=True))
    assert probability["00"] == pytest.approx(probability["01"])
    assert sum(probability.values()) == pytest.approx(1)
    assert (item["best"], sorted(item["ranks"])) == (None, [1, 1, 3])
    apart = draw_items(frame[[0, 2]], Rule("full", 0, 1, strict=False, repeat_texts=True)).items
    assert 2 * probability["00"] == pytest.approx(max(apart["best_probabilities"][0]))


def test_a_release_has_no_equal_texts_in_items_and_needs_a_ranking_that_knows_them(tmp_path: Path) -> None:
    store = store_of(tmp_path)
    denoise(store, config=DenoiseConfig(ranker="borda"))
    config = CONFIG.model_copy(update={"responses": 3})
    folder = Path(build(store, out=tmp_path / "releases", config=config).out)
    release = read_release(folder)
    tables, _ = read_tables(folder, release)
    assert list(text_findings(release, tables)) == []
    assert release.counts["equal_texts"]["groups"] == 6
    assert "12 responses in 6 groups share a rank" in (folder / "README.md").read_text()
    with Store.open(store) as opened:
        opened.execute("UPDATE rankings SET rank = 9 WHERE response_id = 'a' AND prompt_id = 'p3'")
    with pytest.raises(CurateError, match="different ranks on 1 prompts, such as 'p3'"):
        build(store, out=tmp_path / "again", config=config)


def test_verify_finds_equal_texts_in_releases_of_any_version() -> None:
    """The release is of a run whose config does not know equal texts, like those of earlier versions."""
    folder = released("none")
    release = read_release(folder)
    tables, _ = read_tables(folder, release)
    assert list(text_findings(release, tables)) == []
    for name, where in (
        ("train_pairwise", "two of its"),
        ("benchmark", "two of its"),
        ("train_full", "different ranks"),
    ):
        texts = pl.col("responses").list
        again = pl.concat_list(texts.first(), texts.first(), texts.slice(2))
        (first, *_) = found = list(text_findings(release, {name: tables[name].with_columns(responses=again)}))
        assert len(found) >= len(tables[name]) - 1  # p001 may show two ids for unknown texts
        assert first.where.startswith(f"{name}, row ")
        assert where in first.what
    preferences = tables["train_preferences"]
    (first, *_) = text_findings(release, {"train_preferences": preferences.with_columns(rejected="chosen")})
    assert first.where.startswith("train_preferences, row 1 (")


def test_plans_and_campaigns_ask_no_pair_of_equal_texts(tmp_path: Path) -> None:
    store = store_of(tmp_path)
    plan(store, tmp_path / "tasks.csv", votes=500, max_per_pair=9, annotators=50)
    tasks = pl.read_csv(tmp_path / "tasks.csv", infer_schema=False)
    pairs = {frozenset(pair) for pair in tasks.select("left", "right").iter_rows()}
    assert pairs
    assert not any("b" in pair for pair in pairs), "a stands for both"
    with curate.open(store) as opened:
        can = askable(opened, CampaignConfig(name="c", votes=9), ())
    assert len(can.pairs()) == 6 * 6


def test_status_lists_equal_and_nearly_identical_texts(tmp_path: Path) -> None:
    store = store_of(tmp_path, prompts=["p"])
    equal, near = status(store, equal_texts=True).equal_texts
    assert (equal.kind, equal.response_ids) == ("equal", ("a", "b"))
    assert (near.kind, near.response_ids) == ("near", ("a", "b", "d"))
    frame = pl.DataFrame({"prompt_id": ["p"] * 2, "response_id": ["a", "b"], "text": ["x - y", "y-x"]})
    assert text_groups(frame, "careful")["kind"].to_list() == ["near"]
