"""The job ``compare``: figures computed by hand, which prompts count, and rejected truths."""

from __future__ import annotations

from pathlib import Path

import pytest

from curate.store import Store
from curate.store.runs import Run, record
from pipelines.comparison import compare
from schemas.errors import CurateError

TRUTH = """prompt_id,response_id,model,strength,rank
p1,a,m1,2.5,1
p1,b,m2,1.0,2
p1,c,m3,0.0,3
p1,d,m4,-1.0,4
p2,a,m1,0.1,1
p2,b,m2,0.0,2
"""


def make_store(
    folder: Path, ranks: dict[str, dict[tuple[str, str], int]], *, run: str = "run1", apart: tuple[str, ...] = ()
) -> Path:
    """Make a store with one denoise run. ranks: ranker -> (prompt, response) -> rank; "final" is the run's ranking.

    apart: prompts whose last response is a component of its own.
    """
    path = folder / "curate.duckdb"
    with Store.open(path, create=True) as store:
        record(store, Run(run, "denoise", {}, {}, "test", None), {})
        for (prompt, response), rank in ranks["final"].items():
            component = int(prompt in apart and response == max(r for p, r in ranks["final"] if p == prompt))
            store.execute(
                "INSERT INTO rankings BY NAME SELECT ? AS run_id, ? AS prompt_id, ? AS response_id, ? AS component, "
                "? AS rank, ? AS score, 0 AS strength, 1 AS strength_se, [] AS covariance, 1 AS best_rank, "
                "1 AS worst_rank",
                [run, prompt, response, component, rank, -rank],
            )
        for ranker in ranks.keys() - {"final"}:
            for (prompt, response), rank in ranks[ranker].items():
                store.execute(
                    "INSERT INTO ranker_scores VALUES (?, ?, ?, ?, ?, ?)",
                    [run, ranker, prompt, response, rank, -rank],
                )
    return path


def ranks_of(**prompts: dict[str, int]) -> dict[tuple[str, str], int]:
    return {(prompt, response): rank for prompt, ranks in prompts.items() for response, rank in ranks.items()}


PERFECT = ranks_of(p1={"a": 1, "b": 2, "c": 3, "d": 4}, p2={"a": 1, "b": 2})
REVERSED = ranks_of(p1={"a": 4, "b": 3, "c": 2, "d": 1}, p2={"a": 2, "b": 1})


@pytest.fixture
def truth(tmp_path: Path) -> Path:
    path = tmp_path / "truth.csv"
    path.write_text(TRUTH)
    return path


def test_the_true_order_scores_1_and_its_reverse_the_minimum(tmp_path: Path, truth: Path) -> None:
    report = compare(make_store(tmp_path, {"final": PERFECT, "feedback-arc-set": REVERSED}), truth)
    assert (report.prompts, report.missing) == (2, 0)
    assert report.kendall_tau == {"final": 1.0, "feedback-arc-set": -1.0}
    assert report.top1 == {"final": 1.0, "feedback-arc-set": 0.0}
    assert report.best_of_4 == {"final": 1.0, "feedback-arc-set": 0.0}


def test_figures_are_means_over_prompts(tmp_path: Path, truth: Path) -> None:
    swapped = ranks_of(p1={"a": 1, "b": 3, "c": 2, "d": 4}, p2={"a": 2, "b": 1})
    report = compare(make_store(tmp_path, {"final": swapped}), truth)
    assert report.kendall_tau["final"] == pytest.approx(
        (4 / 6 - 1) / 2
    )  # p1: 5 pairs right, 1 wrong; p2: its one wrong
    assert report.top1["final"] == 0.5
    assert report.best_of_4["final"] == 1.0  # p2 has no four


def test_a_tied_first_rank_counts_its_share(tmp_path: Path, truth: Path) -> None:
    shared = ranks_of(p1={"a": 1, "b": 1, "c": 1, "d": 4}, p2={"a": 1, "b": 1})
    report = compare(make_store(tmp_path, {"final": shared}), truth)
    assert report.top1["final"] == pytest.approx((1 / 3 + 1 / 2) / 2)
    assert report.best_of_4["final"] == pytest.approx(1 / 3)


def test_a_ranker_that_ties_all_responses_has_tau_0(tmp_path: Path, truth: Path) -> None:
    silent = ranks_of(p1={"a": 1, "b": 2, "c": 3, "d": 4}, p2={"a": 1, "b": 1})
    assert compare(make_store(tmp_path, {"final": silent}), truth).kendall_tau["final"] == 0.5


def test_a_prompt_with_equal_true_strengths_has_no_tau(tmp_path: Path, truth: Path) -> None:
    truth.write_text(TRUTH.replace("p2,a,m1,0.1", "p2,a,m1,0.0"))
    report = compare(make_store(tmp_path, {"final": REVERSED}), truth)
    assert report.kendall_tau["final"] == -1.0
    assert report.top1["final"] == 0.5  # p2: either is truly best


def test_a_figure_that_is_defined_for_no_prompt_is_omitted(tmp_path: Path, truth: Path) -> None:
    truth.write_text("prompt_id,response_id,strength\np2,a,2\np2,b,1\n")
    report = compare(make_store(tmp_path, {"final": PERFECT}), truth)
    assert report.best_of_4 == {}
    assert report.top1 == {"final": 1.0}


def test_the_truth_has_strengths_or_ranks(tmp_path: Path, truth: Path) -> None:
    store = make_store(tmp_path, {"final": PERFECT})
    truth.write_text("prompt_id,response_id,rank\np2,b,2\np2,a,1\n")
    assert compare(store, truth).kendall_tau == {"final": 1.0}
    truth.write_text("prompt_id,response_id,rank,strength,index,number\np2,b,2,5,0,0\np2,a,1,4,0,0\n")
    assert compare(store, truth).kendall_tau == {"final": -1.0}


def test_close_strengths_are_an_order(tmp_path: Path, truth: Path) -> None:
    truth.write_text("prompt_id,response_id,strength\np2,a,1e-13\np2,b,0\n")
    assert compare(make_store(tmp_path, {"final": PERFECT}), truth).kendall_tau == {"final": 1.0}


def test_numeric_ids_are_read_as_text(tmp_path: Path, truth: Path) -> None:
    truth.write_text("prompt_id,response_id,strength\n007,01,2\n007,1,1\n")
    store = make_store(tmp_path, {"final": ranks_of(**{"007": {"01": 1, "1": 2}})})
    assert compare(store, truth).kendall_tau == {"final": 1.0}


def test_prompts_that_are_not_ranked_in_full_are_counted_as_missing(tmp_path: Path, truth: Path) -> None:
    truth.write_text(TRUTH + "p3,a,m1,1,1\np3,b,m2,0,2\np4,a,m1,1,1\np4,b,m2,0,2\n")
    final = PERFECT | ranks_of(p3={"a": 2})
    del final["p1", "d"]
    report = compare(make_store(tmp_path, {"final": final}), truth)
    assert (report.prompts, report.missing) == (1, 3)


def test_a_prompt_with_two_components_is_missing(tmp_path: Path, truth: Path) -> None:
    report = compare(make_store(tmp_path, {"final": PERFECT}, apart=("p1",)), truth)
    assert (report.prompts, report.missing) == (1, 1)
    assert report.best_of_4 == {}


def test_responses_that_are_not_in_the_truth_are_ignored(tmp_path: Path, truth: Path) -> None:
    final = ranks_of(p1={"x": 1, "a": 2, "b": 3, "c": 4, "d": 5}, p2={"a": 1, "b": 2})
    report = compare(make_store(tmp_path, {"final": final}), truth)
    assert (report.prompts, report.top1["final"]) == (2, 1.0)


def test_the_default_run_is_the_latest(tmp_path: Path, truth: Path) -> None:
    make_store(tmp_path, {"final": PERFECT}, run="good")
    store = make_store(tmp_path, {"final": REVERSED}, run="bad")
    assert compare(store, truth, run="goo").kendall_tau == {"final": 1.0}
    assert compare(store, truth).kendall_tau == {"final": -1.0}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "cannot be read as CSV"),
        ("prompt,response_id,strength\np1,a,1\n", "no column prompt_id"),
        ("prompt_id,response_id\np1,a\n", "no column rank"),
        ("prompt_id,response_id,strength\np1,a,1\np1,b,strong\n", "row 2 after the header: strength is not a number"),
        ("prompt_id,response_id,strength\np1,a,nan\n", "strength is not a number"),
        ("prompt_id,response_id,strength\np1,a,\n", "strength is not a number"),
        ("prompt_id,response_id,rank\np1,a,1\np1,a,2\n", "occur twice"),
        ("prompt_id,response_id,rank\np1,,1\n", "prompt or response is empty"),
        ("prompt_id,response_id,rank\nother,a,1\n", r"none of its prompts is ranked in full .*\(0 are in the run"),
    ],
)
def test_an_invalid_truth_is_rejected_with_a_hint(tmp_path: Path, truth: Path, text: str, message: str) -> None:
    truth.write_text(text)
    with pytest.raises(CurateError, match=message) as refusal:
        compare(make_store(tmp_path, {"final": PERFECT}), truth)
    assert refusal.value.hint


def test_missing_files_are_named(tmp_path: Path, truth: Path) -> None:
    with pytest.raises(CurateError, match=r"none\.csv: no such file"):
        compare(make_store(tmp_path, {"final": PERFECT}), tmp_path / "none.csv")
    with pytest.raises(CurateError, match=r"none\.duckdb: no such store"):
        compare(tmp_path / "none.duckdb", truth)
