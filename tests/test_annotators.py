"""Annotators: agreement and alpha beside slow twins and a published example, spammers first, and what is missing."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import combinations, permutations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.annotators import annotators as command
from curate.annotators import agreement_with_others, alpha, krippendorff, profiles
from curate.rankers.joint import Joint
from curate.simulate import simulate_world
from curate.store import Store
from curate.votes import VoteArrays
from pipelines import ingest, simulate
from pipelines.annotators import annotators
from schemas.config import SimulateConfig
from schemas.errors import CurateError
from tests.strategies import votes_from

PEOPLE = ("ann", "bob", "cat")

Row = tuple[str, str, str, str, str, float]


def votes_of(rows: list[Row]) -> VoteArrays:
    """Votes from (prompt, left, right, outcome, annotator, weight); an empty annotator is anonymous."""
    votes = votes_from([(p, left, right, outcome, w) for p, left, right, outcome, _, w in rows])
    who = [PEOPLE.index(name) if name else -1 for *_, name, _ in rows]
    return replace(votes, annotator=np.array(who, dtype=np.int32), annotators=PEOPLE)


SIDES = [("p", *sides) for sides in permutations("abc", 2)]
ROWS = st.lists(
    st.tuples(
        st.sampled_from(SIDES),
        st.sampled_from(["left", "right", "tie", "both_bad"]),
        st.sampled_from(["", *PEOPLE]),
        st.sampled_from([0.1, 0.2, 0.3, 1.0]),
    ).map(lambda t: (*t[0], *t[1:])),
    min_size=1,
    max_size=25,
)


def preferred(row: Row) -> str:
    """The response a vote is for; for none of them, the outcome."""
    return {"left": row[1], "right": row[2]}.get(row[3], row[3])


# Agreement.


def slow_agreement(rows: list[Row], person: str) -> tuple[float, int]:
    agree = total = 0.0
    compared = 0
    for row in rows:
        pair = {row[1], row[2]}
        if row[4] != person or preferred(row) not in pair:
            continue
        others = [other for other in rows if other[4] != person and {other[1], other[2]} == pair]
        one, two = (round(sum(o[5] for o in others if preferred(o) == name), 6) for name in sorted(pair))
        if one != two:
            compared += 1
            total += row[5]
            agree += row[5] * (preferred(row) == sorted(pair)[one < two])
    return agree / total if total else float("nan"), compared


@given(rows=ROWS)
def test_agreement_is_that_of_counting_the_others_vote_by_vote(rows: list[Row]) -> None:
    share, compared = agreement_with_others(votes_of(rows))
    expected = [slow_agreement(rows, person) for person in PEOPLE]
    assert compared.tolist() == [number for _, number in expected]
    np.testing.assert_allclose(share, [value for value, _ in expected])


def test_ones_own_vote_does_not_make_the_majority_one_agrees_with() -> None:
    votes = votes_of([("p", "a", "b", "left", "ann", 9.0), ("p", "b", "a", "left", "bob", 1.0)])
    share, compared = agreement_with_others(votes)
    assert share[:2].tolist() == [0.0, 0.0]
    assert compared.tolist() == [1, 1, 0]


def test_anonymous_votes_are_other_peoples() -> None:
    votes = votes_of([("p", "a", "b", "left", "ann", 1.0), ("p", "b", "a", "right", "", 1.0)])
    assert agreement_with_others(votes)[0][0] == 1.0


def test_votes_that_balance_out_and_ties_are_no_majority() -> None:
    balanced = [("p", "a", "b", "left", "", 0.3), ("p", "a", "b", "right", "", 0.1), ("p", "b", "a", "left", "", 0.2)]
    votes = votes_of([("p", "a", "b", "left", "ann", 1e3), *balanced, ("p", "a", "b", "both_bad", "bob", 1.0)])
    share, compared = agreement_with_others(votes)
    assert np.isnan(share).all()
    assert compared.tolist() == [0, 0, 0]


def test_the_pairs_of_a_ranking_weigh_less_than_as_many_votes() -> None:
    """Three pairs of a ranking weigh two votes: ann agrees with 2/3 · 3 of 2/3 · 3 + 1."""
    ranking: list[Row] = [("p", *sides, "left", "ann", 1.0) for sides in (("a", "b"), ("a", "c"), ("b", "c"))]
    others: list[Row] = [(*row[:4], "", 1.0) for row in ranking]
    votes = votes_of([*ranking, ("q", "a", "b", "left", "ann", 1.0), ("q", "a", "b", "right", "", 1.0), *others])
    votes = replace(votes, group=np.array([0, 0, 0, *[-1] * 5], dtype=np.int32))
    assert agreement_with_others(votes)[0][0] == pytest.approx(2 / 3)


# Krippendorff's alpha.


def test_alpha_is_that_of_krippendorffs_example_with_missing_values() -> None:
    """Krippendorff, "Computing Krippendorff's Alpha-Reliability", 2011, section C: four observers, alpha 0.743."""
    observers = ["123321412...", "1233224125.3", ".3332342251.", "12332441251."]
    counts = np.array([[sum(row[u] == str(c) for row in observers) for c in range(1, 6)] for u in range(12)])
    assert krippendorff(counts) == pytest.approx(0.743, abs=5e-4)


def test_alpha_is_that_of_krippendorffs_binary_example() -> None:
    """The same, section A: Meg and Owen on ten articles, alpha 0.095."""
    both = zip("0100000010", "1110010000", strict=True)
    counts = np.array([[(meg + owen).count("0"), (meg + owen).count("1")] for meg, owen in both])
    assert krippendorff(counts) == pytest.approx(0.095, abs=5e-4)


def test_alpha_does_not_depend_on_names_or_sides() -> None:
    """Ids sorted by quality, shuffled ids, and sides changed about: the same votes have the same alpha."""
    rows: list[Row] = []
    renamed: list[Row] = []
    for u, (ann, bob) in enumerate(zip("0001000000", "0000010000", strict=True)):
        for who, said in (("ann", ann), ("bob", bob)):
            rows.append((f"p{u}", "a", "b", "left" if said == "0" else "right", who, 1.0))
            best, other = ("a", "b") if u % 2 else ("b", "a")
            renamed.append((f"p{u}", other, best, "right" if said == "0" else "left", who, 7.0))
    assert alpha(votes_of(renamed)) == pytest.approx(alpha(votes_of(rows)), abs=1e-12)
    assert alpha(votes_of(rows)) > 0.5


def slow_alpha(rows: list[Row]) -> float:
    """By the definition: 1 − observed over expected disagreement, over pairs of values."""
    said: dict[tuple[str, ...], dict[object, set[str]]] = {}
    for i, row in enumerate(rows):
        said.setdefault(tuple(sorted(row[1:3])), {}).setdefault(row[4] or i, set()).add(preferred(row))
    units = []
    for (first, second), people in said.items():
        names = {first: "first", second: "second"}
        other = {"first": "second", "second": "first"}
        values = [names.get(value, value) for (value,) in (s for s in people.values() if len(s) == 1)]
        if len(values) > 1:  # both ways round, since nothing makes either response the first
            units += [values, [other.get(value, value) for value in values]]
    pooled = [value for values in units for value in values]
    expected = [a != b for a, b in combinations(pooled, 2)]
    if not any(expected):
        return float("nan")
    observed = sum(2 * sum(a != b for a, b in combinations(v, 2)) / (len(v) - 1) for v in units) / len(pooled)
    return 1 - observed / float(np.mean(expected))


@given(rows=ROWS)
def test_alpha_is_that_of_its_definition(rows: list[Row]) -> None:
    np.testing.assert_allclose(alpha(votes_of(rows)), slow_alpha(rows), atol=1e-12)


def test_pairs_of_rankings_do_not_count_for_alpha() -> None:
    votes = votes_of([("p", "a", "b", "left", "ann", 1.0), ("p", "a", "b", "right", "bob", 1.0)])
    assert alpha(votes) == pytest.approx(-0.5)
    assert np.isnan(alpha(replace(votes, group=np.array([0, -1], dtype=np.int32))))
    assert np.isnan(alpha(replace(votes, group=np.array([0, 0], dtype=np.int32))))


# Spammers.


PLANTED = SimulateConfig(prompts=60, models=6, annotators=12, votes_per_pair=4, spammers=0.25, seed=1)


def test_planted_spammers_are_told_from_all_others() -> None:
    world = simulate_world(PLANTED)
    found = profiles(world.votes, Joint().fit(world.votes))
    spammer = world.annotators.spammer
    assert spammer.sum() == 3
    assert found.spammer[spammer].min() > 0.5  # the one of 0.69 cast 43 votes that can be compared
    assert found.spammer[~spammer].max() < 0.01
    assert found.agreement[spammer].max() < found.agreement[~spammer].min()


def test_nobody_is_a_spammer_where_there_is_none_and_most_are_where_most_are() -> None:
    for share, least, most in ((0.0, 0, 0), (0.7, 5, 7)):
        world = simulate_world(PLANTED.model_copy(update={"spammers": share, "annotators": 10, "seed": 3}))
        suspected = profiles(world.votes, Joint().fit(world.votes)).spammer > 0.5
        assert least <= suspected.sum() <= most
        assert world.annotators.spammer[suspected].all()


def test_planted_spammers_come_first_in_the_report(tmp_path: Path) -> None:
    simulate(tmp_path / "world", config=PLANTED)
    ingest(tmp_path / "world" / "votes.csv", store=tmp_path / "curate.duckdb")
    world = simulate_world(PLANTED)
    spammers = {name for name, spams in zip(world.annotator_ids, world.annotators.spammer, strict=True) if spams}
    report = annotators(tmp_path / "curate.duckdb")
    assert {row.annotator_id for row in report.annotators[:3]} == spammers
    assert report.warnings == ()


def test_who_has_hardly_voted_is_neither_cleared_nor_condemned() -> None:
    world = simulate_world(SimulateConfig(prompts=40, models=5, annotators=10, votes_per_pair=3, seed=2))
    votes = world.votes
    novice = np.where(np.arange(len(votes.left)) == 0, 10, votes.annotator).astype(np.int32)
    votes = replace(votes, annotator=novice, annotators=(*votes.annotators, "new"))
    found = profiles(votes, Joint().fit(votes))
    assert 1e-4 < found.spammer[10] < 0.5


# The job and its command.

HEADER = "prompt_id,left,right,winner,annotator_id,seconds\n"


def store_of(folder: Path, rows: str) -> Path:
    votes, store = folder / "votes.csv", folder / "curate.duckdb"
    votes.write_text(HEADER + rows)
    ingest(votes, store=store)
    return store


def test_the_report_has_every_annotator_with_votes_times_and_what_others_say(tmp_path: Path) -> None:
    rows = "p1,x,y,left,bob,4\np1,x,z,tie,bob,10\np1,y,z,left,bob,\np1,x,y,left,ann,7\np1,x,y,both_bad,cat,\n"
    report = annotators(store_of(tmp_path, rows + "p1,x,y,left,,1\n"))
    assert (report.votes, report.anonymous) == (6, 1)
    by_id = {row.annotator_id: row for row in report.annotators}
    assert [by_id[name].votes for name in PEOPLE] == [1, 3, 1]
    assert [by_id[name].median_seconds for name in PEOPLE] == [7.0, 7.0, None]
    assert [by_id[name].agreement for name in PEOPLE] == [1.0, 1.0, None]
    assert [by_id[name].compared for name in PEOPLE] == [1, 1, 0]
    chances = [row.p_spammer for row in report.annotators]
    assert chances == sorted(chances, reverse=True)


def test_a_bias_is_null_where_no_side_is_known(tmp_path: Path) -> None:
    store = store_of(tmp_path, "p1,x,y,left,ann,1\np1,x,y,right,bob,1\n")
    with Store.open(store) as opened:
        opened.execute("UPDATE votes SET sides_known = annotator_id = 'bob'")
    bias = {row.annotator_id: row.left_bias for row in annotators(store).annotators}
    assert bias["ann"] is None
    assert bias["bob"] is not None


def test_a_ranking_took_its_time_once(tmp_path: Path) -> None:
    store = store_of(tmp_path, "p1,x,y,left,ann,1\np1,x,z,left,ann,2\np1,y,z,left,ann,9\np2,x,y,left,ann,30\n")
    with Store.open(store) as opened:
        opened.execute("UPDATE votes SET group_id = 'g', line = 2, seconds = 9 WHERE prompt_id = 'p1'")
    [row] = annotators(store).annotators
    assert (row.votes, row.median_seconds) == (4, 19.5)


def test_anonymous_votes_only_make_an_empty_table_and_a_note(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = store_of(tmp_path, "p1,x,y,left,,1\np1,x,y,left,,1\np1,x,z,right,,1\np1,x,z,right,,1\n")
    report = annotators(store)
    assert (report.annotators, report.anonymous, report.alpha) == ((), 4, 1.0)
    capsys.readouterr()
    command(store=store)
    out, err = capsys.readouterr()
    assert out.splitlines()[0].startswith("annotator_id")
    assert len(out.splitlines()) == 2  # the header and its rule
    assert "note: all votes are anonymous" in err


def test_without_votes_there_is_an_error_with_a_hint(tmp_path: Path) -> None:
    Store.open(tmp_path / "curate.duckdb", create=True).close()
    with pytest.raises(CurateError, match="no votes") as refusal:
        annotators(tmp_path / "curate.duckdb")
    assert refusal.value.hint
    with pytest.raises(CurateError, match="no such store"):
        annotators(tmp_path / "none.duckdb")


def test_the_command_prints_a_table_json_or_csv(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = store_of(tmp_path, "p1,x,y,left,ann,1\np1,x,y,left,bob,\n")
    before = store.read_bytes()
    capsys.readouterr()
    command(store=store)
    assert len(capsys.readouterr().out.splitlines()) == 4
    command(store=store, as_csv=True)
    header, *rows = capsys.readouterr().out.splitlines()
    assert header.split(",")[:4] == ["annotator_id", "p_spammer", "agreement", "compared"]
    assert len(rows) == 2
    command(store=store, as_json=True)
    printed = json.loads(capsys.readouterr().out)
    assert printed["alpha"] == 1.0
    assert [row["agreement"] for row in printed["annotators"]] == [1.0, 1.0]
    assert store.read_bytes() == before
