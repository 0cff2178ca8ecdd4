"""Identity of votes: platform ids, content, repeats of an annotator, corrected mappings, and growing files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import polars as pl
import pytest

from curate.store import Store
from pipelines.ingestion import ingest
from schemas.config import IngestConfig
from schemas.errors import CurateError
from schemas.mapping import Mapping
from schemas.reports import IngestReport

pytestmark = pytest.mark.slow

HEADER = "prompt_id,left,right,winner,worker,timestamp"
LAST, ALL, REJECT = (IngestConfig.model_validate({"repeats": word}) for word in ("last", "all", "reject"))


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "curate.duckdb"


def write(path: Path, *lines: str, header: str = HEADER) -> Path:
    path.write_text("\n".join((header, *lines)) + "\n")
    return path


def counts(report: IngestReport) -> tuple[int, int, int]:
    """(votes, duplicates, rejects), which add up to the rows."""
    assert report.rows == report.votes + report.duplicates + report.rejects
    return report.votes, report.duplicates, report.rejects


def outcomes(store: Path) -> list[str]:
    with Store.open(store, read_only=True) as opened:
        return sorted(opened.votes()["outcome"])


def reasons(store: Path) -> list[tuple[int, str]]:
    with Store.open(store, read_only=True) as opened:
        return opened.rejects().select("line", "reason").rows()


# Content.


def test_reading_a_file_again_changes_nothing(tmp_path: Path, store: Path) -> None:
    path = write(tmp_path / "v.csv", "p,a,b,left,w1,", "p,a,b,right,w2,", "p,a,a,left,w2,")
    assert counts(ingest(path, store)) == (2, 0, 1)
    before = store.read_bytes()
    again = ingest(path, store)
    assert (counts(again), again.batch) == ((0, 2, 1), "")
    with Store.open(store, read_only=True) as opened:
        assert (opened.votes().height, opened.rejects().height, opened.batches().height) == (2, 1, 1)
    assert len(store.read_bytes()) == len(before)


def test_equal_anonymous_rows_are_separate_votes(tmp_path: Path, store: Path) -> None:
    path = write(tmp_path / "v.csv", *["p,a,b,left,,"] * 3)
    assert counts(ingest(path, store)) == (3, 0, 0)
    assert counts(ingest(path, store)) == (0, 3, 0)


def test_a_grown_file_adds_only_what_is_new(tmp_path: Path, store: Path) -> None:
    rows = ["p,a,b,left,,", "p,a,b,left,,", "p,a,b,right,w1,"]
    ingest(write(tmp_path / "v.csv", *rows), store)
    assert counts(ingest(write(tmp_path / "v.csv", "p,a,c,tie,,", *rows, "p,a,b,left,,"), store)) == (2, 3, 0)
    assert outcomes(store) == ["left", "left", "left", "right", "tie"]


def test_equal_rows_of_two_files_are_duplicates(tmp_path: Path, store: Path) -> None:
    rows = ["p,a,b,left,w1,", "p,a,b,right,,"]
    one, two = write(tmp_path / "one.csv", *rows), write(tmp_path / "two.csv", *reversed(rows))
    assert counts(ingest([one, two], store)) == (2, 2, 0)
    assert counts(ingest(two, store)) == (0, 2, 0)


def test_a_different_prompt_side_outcome_annotator_or_time_is_another_vote(tmp_path: Path, store: Path) -> None:
    others = ["p,b,a,left,w1,", "p,a,b,right,w1,", "q,a,b,left,w1,", "p,a,b,left,w2,", "p,a,b,left,w1,2025-01-01"]
    path = write(tmp_path / "v.csv", "p,a,b,left,w1,", *others, "p,a,b,left,,")
    assert counts(ingest(path, store, config=ALL)) == (7, 0, 0)


# Platform ids.

IDS = "vote_id,prompt_id,left,right,winner,worker"


@pytest.mark.parametrize(
    ("header", "rows", "expected"),
    [
        (IDS, ["v1,p,a,b,left,", "v2,p,a,b,left,"], (2, 0, 0)),  # an id keeps equal rows apart
        (IDS, ["v1,p,a,b,left,w1", "v1,p,b,a,right,w1"], (1, 1, 0)),  # the same judgment with swapped sides
        # the id of a task that annotators share hides no vote
        ("battle_id,prompt_id,left,right,winner", ["b1,p,a,b,left", "b1,p,a,b,right", "b1,p,a,b,tie"], (1, 0, 2)),
        ("id,prompt_id,left,right,winner", ["0,p,a,b,left", "0,p,a,c,left"], (2, 0, 0)),  # "id" is no id of a vote
        # weight and time on task make no other vote
        ("prompt,left,right,winner,worker,weight,lead_time", ["p,a,b,left,w1,1,5", "p,a,b,left,w1,2,6"], (1, 1, 0)),
    ],
)
def test_which_rows_are_the_same_vote(
    header: str, rows: list[str], expected: tuple[int, int, int], tmp_path: Path, store: Path
) -> None:
    assert counts(ingest(write(tmp_path / "v.csv", *rows, header=header), store)) == expected


def test_a_platform_id_makes_rows_the_same_vote_across_files_and_runs(tmp_path: Path, store: Path) -> None:
    one = write(tmp_path / "one.csv", "v1,p,a,b,left,w1", "v1,p,a,b,left,w1", header=IDS)
    two = write(tmp_path / "two.csv", "v1,p,a,b,left,w1", "v2,p,a,b,right,w2", header=IDS)
    assert counts(ingest([one, two], store)) == (2, 2, 0)
    assert counts(ingest(two, store)) == (0, 2, 0)


CONFLICTS = ["v1,q,a,b,left,w1", "v1,p,a,c,left,w1", "v1,p,a,b,left,w2", "v1,p,a,b,right,w1"]


@pytest.mark.parametrize("runs", [1, 2])
def test_an_id_of_another_vote_is_a_conflict(runs: int, tmp_path: Path, store: Path) -> None:
    one = write(tmp_path / "1.csv", "v1,p,a,b,left,w1", header=IDS)
    two = write(tmp_path / "2.csv", *CONFLICTS, header=IDS)
    if runs == 2:
        ingest(one, store)
    assert ingest([one, two], store).reasons == {"vote-id-conflict": 4}
    with Store.open(store, read_only=True) as opened:
        found = opened.rejects()
    assert found["line"].to_list() == [2, 3, 4, 5]
    assert set(zip(found["column"], found["value"], strict=True)) == {("vote_id", "v1")}
    assert found["message"].str.contains("the id of another vote (prompt 'p')", literal=True).all()
    assert ingest([one, two], store).batch == ""


# An annotator who votes on a pair again.

CHANGED = ["p,a,b,left,w1,", "p,b,a,left,w1,"]


@pytest.mark.parametrize(("config", "kept", "rejected"), [(LAST, [3], [2]), (REJECT, [2], [3]), (ALL, [2, 3], [])])
def test_the_setting_decides_which_of_two_votes_on_a_pair_is_kept(
    config: IngestConfig, kept: list[int], rejected: list[int], tmp_path: Path, store: Path
) -> None:
    report = ingest(write(tmp_path / "v.csv", *CHANGED), store, config=config)
    assert counts(report) == (len(kept), 0, len(rejected))
    with Store.open(store, read_only=True) as opened:
        assert sorted(opened.votes()["line"]) == kept
    assert reasons(store) == [(line, "repeated-vote") for line in rejected]


@pytest.mark.parametrize(("config", "expected"), [(LAST, (1, 1, 0)), (REJECT, (1, 1, 0)), (ALL, (2, 0, 0))])
def test_an_equal_row_of_a_named_annotator_is_a_vote_only_under_all(
    config: IngestConfig, expected: tuple[int, int, int], tmp_path: Path, store: Path
) -> None:
    path = write(tmp_path / "v.csv", "p,a,b,left,w1,", "p,a,b,left,w1,")
    assert counts(ingest(path, store, config=config)) == expected
    assert counts(ingest(path, store, config=config)) == (0, 2, 0)


def test_another_annotator_pair_or_prompt_is_not_a_repeat(tmp_path: Path, store: Path) -> None:
    path = write(tmp_path / "v.csv", "p,a,b,left,w1,", "p,a,b,left,w2,", "p,a,c,left,w1,", "q,a,b,left,w1,")
    assert counts(ingest(path, store)) == (4, 0, 0)


def test_time_decides_which_vote_is_the_last(tmp_path: Path, store: Path) -> None:
    rows = ["p,a,b,left,w1,2025-01-02", "p,a,b,right,w1,2025-01-01", "p,a,b,tie,w1,"]
    ingest(write(tmp_path / "v.csv", *rows), store)
    assert outcomes(store) == ["left"]


@pytest.mark.parametrize("order", [(1, 2, 3), (3, 2, 1), (2, 3, 1)])
def test_with_times_the_order_of_files_does_not_matter(order: Sequence[int], tmp_path: Path, store: Path) -> None:
    for day in order:
        outcome = {1: "left", 2: "right", 3: "tie"}[day]
        ingest(write(tmp_path / f"{day}.csv", f"p,a,b,{outcome},w1,2025-01-0{day}"), store)
    assert outcomes(store) == ["tie"]
    assert len(reasons(store)) == 2


@pytest.mark.parametrize(("config", "stands"), [(LAST, "tie"), (REJECT, "left")])
def test_without_times_the_order_of_the_first_ingest_decides(
    config: IngestConfig, stands: str, tmp_path: Path, store: Path
) -> None:
    words = ("left", "right", "tie")
    files = [write(tmp_path / f"{i}.csv", f"p,a,b,{word},w1,") for i, word in enumerate(words)]
    for file in files:
        ingest(file, store, config=config)
    assert outcomes(store) == [stands]
    for again in ([files[1]], [files[0]], [files[2]], files[::-1], [files[1], files[2], files[0]]):
        assert ingest(again, store, config=config).batch == ""
    assert outcomes(store) == [stands]
    assert len(reasons(store)) == 2


def test_a_superseded_vote_is_reported_and_becomes_a_reject(tmp_path: Path, store: Path) -> None:
    ingest(write(tmp_path / "1.csv", "p,a,b,left,w1,"), store)
    report = ingest(write(tmp_path / "2.csv", "p,a,b,right,w1,"), store)
    assert (counts(report), report.superseded) == ((1, 0, 0), 1)
    with Store.open(store, read_only=True) as opened:
        [old] = opened.rejects().to_dicts()
    assert (Path(old["file"]).name, old["line"], old["column"], old["reason"]) == (
        "1.csv",
        2,
        "annotator_id",
        "repeated-vote",
    )
    assert '"left"' in old["row"]


def test_snapshots_of_a_growing_file_keep_their_rejects(tmp_path: Path, store: Path) -> None:
    """The superseded row is in both files: once a reject and once its duplicate, which is no reason to forget it."""
    monday = write(tmp_path / "monday.csv", "p,a,b,left,w1,")
    tuesday = write(tmp_path / "tuesday.csv", "p,a,b,left,w1,", "p,a,b,right,w1,")
    for _ in range(3):
        report = ingest([monday, tuesday], store)
        assert report.recovered == 0
        assert outcomes(store) == ["right"]
        assert reasons(store) == [(2, "repeated-vote")]
    assert report.batch == ""


def test_a_copy_of_a_rejected_row_does_not_remove_the_reject(tmp_path: Path, store: Path) -> None:
    prompts = tmp_path / "prompts.csv"
    prompts.write_text("prompt_id\np\n")
    one = write(tmp_path / "1.csv", "q,a,b,left,w1,")
    two = write(tmp_path / "2.csv", "q,a,b,left,w1,", "p,a,b,left,w1,")
    for files in ([one], [one, two], [one, two]):
        assert ingest(files, store, prompts=prompts).recovered == 0
        assert reasons(store) == [(2, "unknown-prompt")]


def test_a_more_permissive_setting_recovers_rejects(tmp_path: Path, store: Path) -> None:
    path = write(tmp_path / "v.csv", *CHANGED)
    ingest(path, store, config=LAST)
    report = ingest(path, store, config=ALL)
    assert (counts(report), report.recovered, reasons(store)) == ((1, 1, 0), 1, [])


def test_reject_removes_no_stored_vote(tmp_path: Path, store: Path) -> None:
    ingest(write(tmp_path / "1.csv", *CHANGED), store, config=ALL)
    report = ingest(write(tmp_path / "2.csv", "p,a,b,tie,w1,"), store, config=REJECT)
    assert (counts(report), report.superseded) == ((0, 0, 1), 0)
    assert outcomes(store) == ["left", "left"]


# Corrected mappings.


def test_rejected_rows_become_votes_under_a_corrected_mapping(tmp_path: Path, store: Path) -> None:
    path = write(tmp_path / "v.csv", "p,a,b,left,w1,", "p,a,b,gauche,w2,", "p,a,b,droite,w3,")
    assert counts(ingest(path, store)) == (1, 0, 2)
    recovered = IngestConfig(mapping=Mapping(outcomes={"gauche": "left", "droite": "right"}))
    report = ingest(path, store, config=recovered)
    assert (counts(report), report.recovered) == ((2, 1, 0), 2)
    assert (outcomes(store), reasons(store)) == (["left", "left", "right"], [])
    assert ingest(path, store, config=recovered).batch == ""


def test_a_reject_with_a_new_reason_replaces_the_old_one(tmp_path: Path, store: Path) -> None:
    path = write(tmp_path / "v.csv", "p,a,b,left,w1,", "p,a,b,gauche,w2,2099-01-01")
    ingest(path, store)
    assert reasons(store) == [(3, "unknown-outcome")]
    report = ingest(path, store, config=IngestConfig(mapping=Mapping(outcomes={"gauche": "left"})))
    assert reasons(store) == [(3, "future-vote")]
    assert report.recovered == 0


@pytest.mark.parametrize("header", [HEADER, HEADER + ",vote_id"])
def test_a_mapping_that_contradicts_stored_votes_is_an_error(header: str, tmp_path: Path, store: Path) -> None:
    """With platform ids as without: the wrong votes must not stay while the report says "duplicates"."""
    rows = [f"p,a,b,{i % 2},w{i}," + f",v{i}" * ("vote_id" in header) for i in range(4)]
    path = write(tmp_path / "v.csv", *rows, header=header)
    ingest(path, store, config=IngestConfig(mapping=Mapping(outcomes={"0": "left", "1": "right"})))
    swapped = IngestConfig(mapping=Mapping(outcomes={"0": "right", "1": "left"}))
    with pytest.raises(CurateError, match="4 rows of a file that is already in the store") as caught:
        ingest(path, store, config=swapped)
    assert "mapping of the first ingest" in caught.value.hint
    assert outcomes(store) == ["left", "left", "right", "right"]


@pytest.mark.parametrize(
    "header", ["prompt,response_a,response_b,winner", "prompt,response_a,response_b,winner,vote_id"]
)
def test_a_mapping_that_changes_the_sides_of_stored_votes_is_an_error(header: str, tmp_path: Path, store: Path) -> None:
    path = write(tmp_path / "v.csv", "p,m,n,a" + ",v1" * ("vote_id" in header), header=header)
    ingest(path, store)
    with pytest.raises(CurateError, match="already in the store"):
        ingest(path, store, config=IngestConfig(mapping=Mapping(sides="shown")))


# K-wise rankings.


def lines(*rows: str) -> str:
    return "\n".join(rows) + "\n"


K_WISE = lines(
    '{"prompt_id": "p", "responses": ["a", "b", "c"], "rankings": [2, 1, 2], "worker": "w1"}',
    '{"prompt_id": "p", "responses": ["a", "b", "c"], "rankings": ["c", "b", "a"], "worker": "w2"}',
)


def test_a_k_wise_ranking_is_one_row_and_its_pairs_share_a_group(tmp_path: Path, store: Path) -> None:
    (tmp_path / "v.jsonl").write_text(K_WISE)
    report = ingest([tmp_path / "v.jsonl", write(tmp_path / "v.csv", "q,a,b,left,w1,")], store)
    assert (counts(report), report.pairs) == ((3, 0, 0), 7)
    with Store.open(store, read_only=True) as opened:
        stored = opened.votes()
    votes, pairwise = stored.filter(pl.col("prompt_id") == "p"), stored.filter(pl.col("prompt_id") == "q")
    assert votes.select("line", "response_left", "response_right", "outcome").rows() == [
        (1, "a", "b", "right"),
        (1, "a", "c", "tie"),
        (1, "b", "c", "left"),
        (2, "b", "a", "left"),
        (2, "c", "a", "left"),
        (2, "c", "b", "left"),
    ]
    assert pairwise["group_id"].to_list() == [None]
    assert votes["group_id"].null_count() == 0
    assert votes.select("line", "group_id").n_unique() == votes["group_id"].n_unique() == 2
    assert not votes["sides_known"].any()
    again = ingest(tmp_path / "v.jsonl", store)
    assert (counts(again), again.batch, again.pairs) == ((0, 2, 0), "", 0)


def test_a_new_ranking_of_the_same_responses_replaces_all_pairs_of_the_old(tmp_path: Path, store: Path) -> None:
    (tmp_path / "v.jsonl").write_text(K_WISE)
    ingest(tmp_path / "v.jsonl", store)
    (tmp_path / "new.jsonl").write_text(
        '{"prompt_id": "p", "responses": ["c", "b", "a"], "rankings": [1, 1, 1], "worker": "w1"}\n'
    )
    report = ingest(tmp_path / "new.jsonl", store)
    assert (counts(report), report.superseded) == ((1, 0, 0), 1)
    assert outcomes(store) == ["left", "left", "left", "tie", "tie", "tie"]
    assert reasons(store) == [(1, "repeated-vote")]
    assert ingest([tmp_path / "v.jsonl", tmp_path / "new.jsonl"], store).batch == ""


def test_a_platform_id_of_a_ranking_conflicts_when_its_order_differs(tmp_path: Path, store: Path) -> None:
    text = '{"vote_id": "1", "prompt_id": "p", "responses": ["a", "b"], "rankings": [%s]}\n'
    (tmp_path / "v.jsonl").write_text(text % "1, 2" + text % "1, 2" + text % "2, 1")
    assert counts(ingest(tmp_path / "v.jsonl", store)) == (1, 1, 1)
    again = ingest(tmp_path / "v.jsonl", store)
    assert (counts(again), again.batch) == ((0, 2, 1), "")


def test_a_bad_ranking_is_rejected_with_its_line(tmp_path: Path, store: Path) -> None:
    (tmp_path / "v.jsonl").write_text(
        K_WISE + '{"prompt_id": "p", "responses": ["a", "b"], "rankings": [1], "worker": "w"}\n'
    )
    assert counts(ingest(tmp_path / "v.jsonl", store)) == (2, 0, 1)
    assert reasons(store) == [(3, "bad-ranking")]
