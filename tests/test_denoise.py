"""The job ``denoise`` on small stores: which prompts are ranked, by which rankers, and what is stored."""

from __future__ import annotations

import json
import random
import warnings
from pathlib import Path

import duckdb
import polars as pl
import pytest
from pydantic import ValidationError

import curate
from curate.store import Store
from curate.store.reporting import votes_by_side
from pipelines import denoise, ingest
from schemas.config import DenoiseConfig, FeedbackArcSetConfig
from schemas.errors import CurateError
from schemas.rankers import BUILT_IN

OUTCOMES = ("left", "right")
HEADER = "prompt_id,left,right,winner,annotator_id\n"
HIERARCHICAL = DenoiseConfig(ranker="hierarchical")
"""For tests that are not about the choice of a ranker, which takes most of a run on few votes."""


def store_of(folder: Path, *rows: str, name: str = "votes") -> Path:
    """Ingest votes "prompt left right winner annotator" into the store of the folder; return its path."""
    votes = folder / f"{name}.csv"
    votes.write_text(HEADER + "".join(row.replace(" ", ",") + "\n" for row in rows))
    ingest([votes], folder / "s.duckdb")
    return folder / "s.duckdb"


CHAIN = ("p a b left u", "p b c left u", "p a c left v", "p c d left v", "p a d left u", "p b d left w")


def rankings(path: Path) -> pl.DataFrame:
    with curate.open(path) as store:
        return store.rankings()


def stats(path: Path) -> dict[str, dict[str, object]]:
    with curate.open(path) as store:
        return {row["prompt_id"]: row for row in store.prompt_stats().to_dicts()}


def test_every_ranker_gives_the_order_of_consistent_votes(tmp_path: Path) -> None:
    path = store_of(tmp_path, *CHAIN)
    report = denoise(path, config=DenoiseConfig(compare=True))
    frame = rankings(path)
    assert {"rank_borda", "rank_crowd_bt", "rank_ensemble", "rank_hierarchical"} <= set(frame.columns)
    assert frame["response_id"].to_list() == ["a", "b", "c", "d"]
    for name in frame.columns:
        if name == "rank" or name.startswith("rank_"):
            assert frame[name].to_list() == [1, 2, 3, 4], name
    assert (report.ranked, report.proven_optimal, report.disagreement, report.cyclic_triads) == (1, 1, 0.0, 0)
    assert frame["score"].is_sorted(descending=True)
    assert frame["strength"].sum() == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize(
    ("config", "stored"),
    [
        (DenoiseConfig(ranker="borda"), {"borda"}),
        (DenoiseConfig(ranker="hierarchical"), set()),
        (DenoiseConfig(ranker="ensemble", weights={"borda": 1.0, "win-rate": 2.0}), {"ensemble", "borda", "win-rate"}),
        (DenoiseConfig(ranker="borda", compare=True), {*BUILT_IN} - {"model-means"}),  # no model is known
    ],
)
def test_only_the_rankers_that_are_needed_are_run(tmp_path: Path, config: DenoiseConfig, stored: set[str]) -> None:
    path = store_of(tmp_path, *CHAIN)
    report = denoise(path, config=config)
    with curate.open(path) as store:
        assert set(store.frame("SELECT DISTINCT ranker FROM ranker_scores")["ranker"]) == stored | {"hierarchical"}
    assert (report.proven_optimal is None) == ("feedback-arc-set" not in stored)
    assert stats(path)["p"]["bound"] == (None if report.proven_optimal is None else 0)
    assert (stats(path)["p"]["agreement"] is None) == (config.ranker != "ensemble")


def test_reports_have_short_reprs(tmp_path: Path) -> None:
    report = denoise(crowd(tmp_path))
    assert report.run in repr(report)
    assert max(len(repr(report)), len(str(report)), len(repr(report.auto))) < 500


def test_an_identical_run_is_reused(tmp_path: Path) -> None:
    path = store_of(tmp_path, *CHAIN)
    first, second = denoise(path), denoise(path)
    assert (first.reused, second.reused) == (False, True)
    assert second.model_copy(update={"reused": False}) == first
    with curate.open(path) as store:
        assert store.runs().height == 1


@pytest.mark.slow
def test_new_votes_or_another_config_make_a_new_run(tmp_path: Path) -> None:
    path = store_of(tmp_path, *CHAIN)
    first = denoise(path, config=HIERARCHICAL)
    other = denoise(path, config=DenoiseConfig(ranker="borda"))
    store_of(tmp_path, "p b a left x", name="more")
    third = denoise(path, config=HIERARCHICAL)
    assert len({first.run, other.run, third.run}) == 3
    assert not third.reused


def test_a_reused_run_becomes_the_latest(tmp_path: Path) -> None:
    path = store_of(tmp_path, *CHAIN)
    first = denoise(path, config=DenoiseConfig(ranker="borda"))
    second = denoise(path, config=DenoiseConfig(ranker="win-rate"))
    with curate.open(path) as store:
        assert store.denoise_run() == second.run
    denoise(path, config=DenoiseConfig(ranker="borda"))
    with curate.open(path) as store:
        assert store.denoise_run() == first.run


@pytest.mark.slow
def test_the_order_of_ingest_does_not_matter(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    one.mkdir()
    other.mkdir()
    rows = (*CHAIN, "p d a tie x", "q a b left u", "q b a tie w")
    denoise(store_of(one, *rows))
    path = other / "s.duckdb"
    for part in (rows[6:], rows[3:6], rows[:3]):
        store_of(other, *reversed(part), name=part[0])
    report = denoise(path)
    assert rankings(path).equals(rankings(one / "s.duckdb"))
    with curate.open(one / "s.duckdb") as store:
        assert store.denoise_run() == report.run


def test_each_component_has_its_own_ranking(tmp_path: Path) -> None:
    path = store_of(tmp_path, "p a b left u", "p b c left u", "p y z right u")
    report = denoise(path, config=HIERARCHICAL)
    assert report.status == {"disconnected": 1}
    assert report.ranked == 0
    got = rankings(path).select("component", "rank", "response_id").rows()
    assert got == [(0, 1, "a"), (0, 2, "b"), (0, 3, "c"), (1, 1, "z"), (1, 2, "y")]
    assert stats(path)["p"]["components"] == 2
    assert stats(path)["p"]["agreement"] is None


def test_disconnected_prompts_can_be_skipped(tmp_path: Path) -> None:
    path = store_of(tmp_path, "p a b left u", "p y z right u", "q a b left u")
    report = denoise(path, config=DenoiseConfig(disconnected="skip", ranker="hierarchical"))
    assert report.status == {"ranked": 1, "skipped": 1}
    assert rankings(path)["prompt_id"].unique().to_list() == ["q"]
    assert stats(path)["p"]["status"] == "skipped"
    assert stats(path)["p"]["cost"] is None


def test_prompts_with_too_few_votes_are_reported_and_not_ranked(tmp_path: Path) -> None:
    path = store_of(tmp_path, *CHAIN, "q a b left u")
    report = denoise(path, config=DenoiseConfig(min_votes=2, ranker="hierarchical"))
    assert report.status == {"ranked": 1, "too_few_votes": 1}
    assert (stats(path)["q"]["status"], stats(path)["q"]["votes"]) == ("too_few_votes", 1)
    assert report.warning_counts == {"not_ranked": 1}


def test_a_prompt_without_votes_has_too_few(tmp_path: Path) -> None:
    (tmp_path / "prompts.csv").write_text("prompt_id,question\np,why?\nempty,what?\n")
    (tmp_path / "votes.csv").write_text(HEADER + "p,a,b,left,u\n")
    ingest([tmp_path / "votes.csv"], tmp_path / "s.duckdb", prompts=tmp_path / "prompts.csv")
    assert denoise(tmp_path / "s.duckdb", config=HIERARCHICAL).status == {"ranked": 1, "too_few_votes": 1}


def test_a_response_without_votes_is_a_component(tmp_path: Path) -> None:
    (tmp_path / "responses.csv").write_text("prompt_id,response_id,text\np,a,A\np,b,B\np,ghost,G\n")
    (tmp_path / "votes.csv").write_text(HEADER + "p,a,b,left,u\n")
    ingest([tmp_path / "votes.csv"], tmp_path / "s.duckdb", responses=tmp_path / "responses.csv")
    denoise(tmp_path / "s.duckdb", config=HIERARCHICAL)
    got = rankings(tmp_path / "s.duckdb").select("component", "rank", "response_id").rows()
    assert got == [(0, 1, "a"), (0, 2, "b"), (1, 1, "ghost")]


def test_a_run_can_be_limited_to_some_prompts(tmp_path: Path) -> None:
    path = store_of(tmp_path, *CHAIN, "q a b left u")
    assert denoise(path, config=DenoiseConfig(prompts=("q",), ranker="hierarchical")).prompts == 1
    assert rankings(path)["prompt_id"].unique().to_list() == ["q"]
    with pytest.raises(CurateError, match="no prompt 'nobody'"):
        denoise(path, config=DenoiseConfig(prompts=("q", "nobody")))


def test_both_bad_is_a_tie_or_dropped(tmp_path: Path) -> None:
    path = store_of(tmp_path, "p a b left u", "p b c left u", "p a c both_bad u")
    denoise(path, config=HIERARCHICAL)
    assert (stats(path)["p"]["votes"], stats(path)["p"]["ties"]) == (3, 1)
    assert stats(path)["p"]["cost"] == 0.5
    denoise(path, config=DenoiseConfig(both_bad="drop", ranker="hierarchical"))
    assert (stats(path)["p"]["votes"], stats(path)["p"]["cost"]) == (2, 0)


def test_cost_bound_and_cycles_are_those_of_the_votes(tmp_path: Path) -> None:
    """a > b > c > a, twice a > b: every order disagrees with one vote, and one triad is cyclic."""
    path = store_of(tmp_path, "p a b left u", "p a b left v", "p b c left u", "p c a left u")
    report = denoise(path, config=DenoiseConfig(ranker="feedback-arc-set"))
    row = stats(path)["p"]
    assert (row["cost"], row["bound"], row["cyclic_triads"]) == (1, 1, 1)
    assert (report.proven_optimal, report.optimality_gap, report.disagreement) == (1, 0, 0.25)


def test_prompts_without_a_proof_are_listed_with_their_gap(tmp_path: Path) -> None:
    rng = random.Random(0)
    rows = [f"hard r{i:02} r{j:02} {rng.choice(OUTCOMES)} u" for i in range(20) for j in range(i)]
    path = store_of(tmp_path, *rows, "p a b left u", "p b c left u", "p c a left u")
    limits = FeedbackArcSetConfig(max_states=1, max_nodes=1)
    report = denoise(path, config=DenoiseConfig(ranker="feedback-arc-set", feedback_arc_set=limits))
    row = stats(path)["hard"]
    assert report.unproven == {"hard": row["cost"] - row["bound"]}
    assert report.unproven["hard"] == report.optimality_gap > 0
    assert report.warning_counts == {"not_proven_optimal": 1}
    more = denoise(path, config=DenoiseConfig(ranker="feedback-arc-set", feedback_arc_set=limits, effort="high"))
    assert more.optimality_gap < report.optimality_gap


def test_k_wise_pairs_carry_their_group(tmp_path: Path) -> None:
    (tmp_path / "k.jsonl").write_text('{"prompt_id": "p", "responses": ["a", "b", "c"], "rankings": [2, 1, 2]}\n')
    ingest([tmp_path / "k.jsonl"], tmp_path / "s.duckdb")
    denoise(tmp_path / "s.duckdb", config=HIERARCHICAL)
    assert rankings(tmp_path / "s.duckdb").select("response_id", "rank").rows() == [("b", 1), ("a", 2), ("c", 2)]


def test_an_empty_store_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "votes.csv").write_text(HEADER)
    ingest([tmp_path / "votes.csv"], tmp_path / "s.duckdb")
    with pytest.raises(CurateError, match="no votes to rank"):
        denoise(tmp_path / "s.duckdb")


def test_a_response_id_that_answers_several_prompts_is_a_model(tmp_path: Path) -> None:
    path = store_of(tmp_path, "p gpt llama left u", "q gpt own left u")
    denoise(path, config=HIERARCHICAL)
    models = {(row["prompt_id"], row["response_id"]): row["model"] for row in rankings(path).to_dicts()}
    assert models[("p", "gpt")] == "gpt"
    assert models[("q", "own")] is None


def test_a_run_that_ranks_nothing_fails_and_is_not_the_default(tmp_path: Path) -> None:
    rows = ("p a b left u", "p a b left v", "p b c left w", "q a b tie u", "q b c both_bad u", "r a b left u")
    path = store_of(tmp_path, *rows, "r y z left v")
    run = denoise(path, config=HIERARCHICAL).run
    ranked = rankings(path)
    for config, reason in (
        ({"prompts": ["q"]}, r"1 \(q\) have no vote that is left or right"),
        ({"prompts": ["q"], "min_votes": 3}, r"1 \(q\) have fewer than 3 votes \(at most 2\)"),
        ({"min_votes": 9}, r"3 \(p, q, r\) have fewer than 9 votes \(at most 3\)"),
        ({"prompts": ["r"], "disconnected": "skip"}, r"1 \(r\) have responses that no votes connect"),
        ({"max_spammer": 1e-9}, r"7 votes are excluded: by likely spammers"),
    ):
        with pytest.raises(CurateError, match=reason) as found:
            denoise(path, config=DenoiseConfig.model_validate(config))
        assert found.value.hint
    with Store.open(path, read_only=True) as opened:
        assert opened.runs()["run_id"].to_list() == [run]
    assert rankings(path).equals(ranked)


def test_the_ensemble_ranks_within_components(tmp_path: Path) -> None:
    """A further, unconnected pair changes no score in the other component."""
    one, other = tmp_path / "one", tmp_path / "other"
    one.mkdir()
    other.mkdir()
    rows = ("p a b left u", "p b c left u", "p c a left u", "p a d left u", "p b d left v")
    equal = DenoiseConfig(ranker="ensemble")
    denoise(store_of(one, *rows), config=equal)
    denoise(store_of(other, *rows, "p y z left u", "p y z left v", "p y z left w"), config=equal)
    main = rankings(other / "s.duckdb").filter(pl.col("component") == 0)
    assert main.select("response_id", "rank", "score").equals(
        rankings(one / "s.duckdb").select("response_id", "rank", "score")
    )


def test_a_run_over_some_prompts_is_not_the_latest_of_the_store(tmp_path: Path) -> None:
    path = store_of(tmp_path, *CHAIN, "q a b left u")
    whole = denoise(path, config=HIERARCHICAL)
    part = denoise(path, config=DenoiseConfig(prompts=("q",), ranker="hierarchical"))
    with curate.open(path) as store:
        assert store.denoise_run() == whole.run
        assert store.rankings(part.run)["prompt_id"].unique().to_list() == ["q"]


def test_votes_ingested_after_a_run_are_counted(tmp_path: Path) -> None:
    path = store_of(tmp_path, *CHAIN)
    report = denoise(path, config=HIERARCHICAL)
    store_of(tmp_path, "p b a left x", "p c a left x", name="more")
    with curate.open(path) as store:
        assert store.newer_votes(report.run) == 2
    again = denoise(path, config=HIERARCHICAL)
    with curate.open(path) as store:
        assert store.newer_votes(again.run) == 0


def test_the_hierarchical_ranker_discounts_spammers(tmp_path: Path) -> None:
    """Two careful annotators agree on every prompt; three others always choose left. The order is that of the two."""
    pairs = [(a, b) for i, a in enumerate("abcde") for b in "abcde"[i + 1 :]]
    rows = []
    for prompt in range(12):
        for k, (a, b) in enumerate(pairs):
            shown, other = (a, b) if (k + prompt) % 2 else (b, a)
            careful = "left" if shown == a else "right"
            rows += [f"p{prompt:02} {shown} {other} {careful} ann", f"p{prompt:02} {shown} {other} {careful} bob"]
            rows += [f"p{prompt:02} {shown} {other} left lefty{n}" for n in range(3)]
    path = store_of(tmp_path, *rows)
    report = denoise(path, config=HIERARCHICAL)
    assert (report.ranker, report.not_converged) == ("hierarchical", {})
    frame = rankings(path)
    orders = frame.group_by("prompt_id", maintain_order=True).agg("response_id")["response_id"].to_list()
    assert orders == [["a", "b", "c", "d", "e"]] * 12
    assert "rank_hierarchical" in frame.columns


def test_the_hierarchical_ranker_can_be_a_member_of_the_ensemble(tmp_path: Path) -> None:
    path = store_of(tmp_path, *CHAIN)
    weighed = denoise(
        path, config=DenoiseConfig(ranker="ensemble", weights={"bradley-terry": 1.0, "hierarchical": 3.0})
    )
    assert weighed.weights == {"bradley-terry": 0.25, "hierarchical": 0.75}


def crowd(folder: Path, *, people: int = 12, spammers: int = 0) -> Path:
    """Twelve prompts with five responses in the order a … e. Each of ``people`` votes on a third of the pairs, and is
    wrong in one of six votes; each spammer votes at random on all."""
    dice = random.Random(0)
    pairs = [(a, b) for i, a in enumerate("abcde") for b in "abcde"[i + 1 :]]
    rows = []
    for prompt in range(12):
        for k, (a, b) in enumerate(pairs):
            shown, other = (a, b) if (k + prompt) % 2 else (b, a)
            right, wrong = ("left", "right") if shown == a else ("right", "left")
            said = [(n, wrong if dice.random() < 1 / 6 else right) for n in range(people) if (k + n) % 3 == 0]
            rows += [f"p{prompt:02} {shown} {other} {vote} ann{n:02}" for n, vote in said]
            rows += [f"p{prompt:02} {shown} {other} {dice.choice(['left', 'right'])} spam{n}" for n in range(spammers)]
    return store_of(folder, *rows)


def test_auto_compares_the_rankers_on_held_out_votes_and_uses_the_best(tmp_path: Path) -> None:
    path = crowd(tmp_path)
    report = denoise(path)
    assert (report.ranker, report.method) == ("auto", "model-means")  # all prompts have one order
    assert report.auto is not None
    assert (report.auto.by, report.auto.folds, report.auto.prompts) == ("annotator", 5, 12)
    assert {score.method for score in report.auto.methods} == {
        *("bradley-terry", "pagerank", "rate-pagerank", "feedback-arc-set", "weighted-feedback-arc-set"),
        *("win-rate", "borda", "hierarchical", "model-means", "ensemble", "stack"),
    }
    assert all(weight > 0 for weight in report.auto.weights.values())
    frame = rankings(path)
    assert frame["rank"].equals(frame["rank_model_means"])
    with curate.open(path) as store:
        found = store.run(report.run)
        assert found is not None
        assert found["report"]["auto"]["methods"][0]["log_loss"] == report.auto.methods[0].log_loss


def test_where_no_vote_can_be_held_out_auto_uses_the_hierarchical_ranker_and_warns(tmp_path: Path) -> None:
    report = denoise(store_of(tmp_path, "p a b left u", "p b c left v"))
    assert (report.method, report.auto) == ("hierarchical", None)
    assert "no_held_out_votes" in report.warning_counts


def test_likely_spammers_can_be_excluded(tmp_path: Path) -> None:
    path = crowd(tmp_path, spammers=4)
    everyone = denoise(path, config=HIERARCHICAL)
    careful = denoise(path, config=DenoiseConfig(max_spammer=0.5, ranker="hierarchical"))
    assert (everyone.spammers, everyone.excluded_votes) == (0, 0)
    assert (careful.spammers, careful.excluded_votes) == (4, 480)
    assert careful.votes == everyone.votes - 480
    assert careful.disagreement is not None
    assert everyone.disagreement is not None
    assert careful.disagreement < 0.2 < everyone.disagreement


@pytest.mark.slow
def test_more_votes_make_expected_tau_higher_and_intervals_narrower(tmp_path: Path) -> None:
    few, many = tmp_path / "few", tmp_path / "many"
    few.mkdir()
    many.mkdir()
    unsure = denoise(crowd(few, people=3), config=HIERARCHICAL)
    sure = denoise(crowd(many, people=30), config=HIERARCHICAL)
    assert unsure.expected_tau is not None
    assert sure.expected_tau is not None
    assert unsure.expected_tau < sure.expected_tau <= 1
    frame = rankings(many / "s.duckdb")
    assert frame.filter((pl.col("best_rank") > pl.col("rank")) | (pl.col("worst_rank") < pl.col("rank"))).is_empty()
    width = [(f["worst_rank"] - f["best_rank"]).mean() for f in (rankings(few / "s.duckdb"), frame)]
    assert width[0] > width[1]


def test_covariances_are_in_the_order_of_response_ids(tmp_path: Path) -> None:
    path = store_of(tmp_path, *CHAIN, "q a b left u", "q b c left v")
    denoise(path, config=HIERARCHICAL)
    with curate.open(path) as store:
        frame = store.frame("SELECT * FROM rankings ORDER BY prompt_id, response_id")
    for _, prompt in frame.group_by("prompt_id", maintain_order=True):
        matrix = prompt["covariance"].to_numpy()
        square = [list(row) for row in matrix]
        for i, row in enumerate(square):
            assert len(row) == prompt.height
            assert row[i] ** 0.5 == pytest.approx(prompt["strength_se"][i], rel=1e-6)
            assert row == pytest.approx([other[i] for other in square])


def test_annotators_are_judged_by_their_votes_on_all_prompts(tmp_path: Path) -> None:
    path = crowd(tmp_path, spammers=4)
    report = denoise(path, config=DenoiseConfig(max_spammer=0.5, prompts=("p00",), ranker="hierarchical"))
    assert (report.spammers, report.excluded_votes) == (4, 40)


@pytest.mark.parametrize(
    "weights", [{"pagerank": 1.0, "hierarchical": 0.01}, {"feedback-arc-set": 1.0}, {"win-rate": 1.0}]
)
def test_an_interval_contains_its_rank(tmp_path: Path, weights: dict[str, float]) -> None:
    path = crowd(tmp_path, people=4)
    denoise(path, config=DenoiseConfig(ranker="ensemble", weights=weights))
    frame = rankings(path)
    assert frame.filter((pl.col("best_rank") > pl.col("rank")) | (pl.col("worst_rank") < pl.col("rank"))).is_empty()


def test_random_votes_give_a_warning(tmp_path: Path) -> None:
    dice = random.Random(1)
    pairs = [(a, b) for i, a in enumerate("abcd") for b in "abcd"[i + 1 :]]
    rows = [
        f"p{p} {a} {b} {dice.choice(['left', 'right'])} u{n}" for p in range(6) for a, b in pairs for n in range(12)
    ]
    report = denoise(store_of(tmp_path, *rows))
    assert "no_better_than_chance" in report.warning_counts


def test_an_infinite_weight_is_rejected() -> None:
    with pytest.raises(ValidationError):
        DenoiseConfig(ranker="ensemble", weights={"bradley-terry": float("inf")})


def test_runs_of_an_older_store_get_the_current_names(tmp_path: Path) -> None:
    """The store as step 3 of the migrations left it: columns, values and JSON keys that were renamed since."""
    path = crowd(tmp_path)
    report = denoise(path)
    old = json.loads(json.dumps(report.model_dump(mode="json")).replace("hierarchical", "joint"))
    for before, after in type(report).renamed.items():
        old[before] = old.pop(after)
    for score in old["auto"]["methods"]:
        score |= {"behind": score.pop("log_loss_difference"), "told_apart": score.pop("significant")}  # renamed
        score["behind_se"] = score.pop("log_loss_difference_se")
        for bin_ in score["calibration"]:
            bin_ |= {"chance": bin_.pop("probability"), "share": bin_.pop("observed")}
            bin_["share_se"] = bin_.pop("observed_se")
    old["status"] = {"ranked": 11, "thin": 1}
    old["strengths"] = {"shape": "heaps", "gap": 2.9, "upper": 0.48, "words": "two"}  # renamed
    old["spammer_ids"] = ["joint"]
    config = DenoiseConfig().model_dump(mode="json")
    config |= {"joint": config.pop("hierarchical"), "ranker": "joint", "prompts": ["joint"]}
    with duckdb.connect(str(path)) as store:
        store.execute("ALTER TABLE prompt_stats RENAME COLUMN converged TO solved")
        store.execute("UPDATE prompt_stats SET status = 'thin' WHERE prompt_id = 'p00'")
        store.execute("UPDATE ranker_scores SET ranker = 'joint' WHERE ranker = 'hierarchical'")
        store.execute("UPDATE runs SET report = ?, config = ?", [json.dumps(old), json.dumps(config)])
        store.execute("DELETE FROM migrations WHERE step > 3")
    with Store.open(path) as opened, warnings.catch_warnings():
        warnings.simplefilter("error")
        [run] = opened.runs().to_dicts()
        migrated = type(report).model_validate_json(run["report"])
        migrated_config = DenoiseConfig.model_validate_json(run["config"])
        assert "rank_hierarchical" in opened.rankings(run["run_id"]).columns
        found = opened.prompt_stats(run["run_id"])
    assert (found["status"][0], found["converged"].all()) == ("too_few_votes", True)
    assert (migrated_config.ranker, migrated_config.prompts) == ("hierarchical", ("joint",))
    assert (migrated.method, migrated.spammer_ids) == ("model-means", ("joint",))
    assert migrated.auto == report.auto
    assert migrated.disagreement == report.disagreement
    assert migrated.status == {"ranked": 11, "too_few_votes": 1}
    assert migrated.strengths is not None
    assert (migrated.strengths.shape, migrated.strengths.separation) == ("mixture", 2.9)
    assert (migrated.strengths.upper_weight, migrated.strengths.summary) == (0.48, "two")


def test_votes_that_are_all_left_give_a_warning(tmp_path: Path) -> None:
    pairs = [pair[:: 1 - 2 * (k % 2)] for k in range(20) for pair in ("ab", "bc", "ac")]
    rows = [f"p{k // 3} {pair[0]} {pair[1]} left u{k % 3}" for k, pair in enumerate(pairs)]
    votes = tmp_path / "one.csv"
    votes.write_text(HEADER + "".join(row.replace(" ", ",") + "\n" for row in rows))
    (tmp_path / "other").mkdir()
    assert any("same side" in text for text in ingest([votes], tmp_path / "s.duckdb").warnings)
    assert "one_sided" in denoise(tmp_path / "s.duckdb", config=HIERARCHICAL).warning_counts
    turned = store_of(tmp_path / "other", *(row.replace("left", OUTCOMES[k % 2]) for k, row in enumerate(rows)))
    assert "one_sided" not in denoise(turned, config=HIERARCHICAL).warning_counts


def test_the_position_bias_of_the_report_excludes_the_annotators_that_the_run_excluded(tmp_path: Path) -> None:
    path = store_of(tmp_path, *CHAIN)
    with curate.open(path) as store:
        counts = votes_by_side(store, without=["u"])
    assert counts["annotator_id"].to_list() == ["v", "w"]
    assert counts["left"].sum() == 3
