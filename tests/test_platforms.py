"""Exports of annotation platforms are detected by their content and read without a mapping."""

from __future__ import annotations

import json
import shutil
import tomllib
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl
import pytest

from annotations.platforms.registry import PLATFORMS, detect_platform
from annotations.readers.files import find_files
from cli.main import run
from curate.store import Store
from pipelines import ingest
from schemas.config import IngestConfig
from schemas.errors import CurateError, UsageError
from schemas.mapping import Mapping
from schemas.reports import IngestReport
from schemas.votes import REJECT_REASONS
from tests import platform_files as files

pytestmark = pytest.mark.slow

KEY = "a secret of this test"

EXPORTS: dict[str, tuple[str, Any]] = {
    "label-studio": ("export.json", files.LABEL_STUDIO),
    "label-studio (min)": ("min.json", files.LABEL_STUDIO_MIN),
    "label-studio (csv)": ("export.csv", files.LABEL_STUDIO_CSV),
    "argilla": ("records.json", files.ARGILLA),
    "argilla (nested)": ("records.jsonl", files.lines(files.ARGILLA_RANKING)),
    "prodigy": ("answers.jsonl", files.lines(files.PRODIGY)),
    "arena": ("battles.json", files.ARENA),
    "arena (mt-bench)": ("judgments.jsonl", files.lines(files.MT_BENCH)),
    "arena (55k)": ("train.csv", files.ARENA_55K),
    "wildvision": ("2024-06-28-conv.json", files.lines(files.WILDVISION)),
    "genai-bench": ("bench.json", files.GENAI_BENCH),
    "genai-bench (arena)": ("battle.jsonl", files.lines(files.GENAI_ARENA)),
    "toloka": ("assignments.tsv", files.TOLOKA),
    "mturk": ("Batch_1_batch_results.csv", files.MTURK),
    "prolific": ("prolific_export_1.csv", files.PROLIFIC),
    "potato": ("annotated_instances.jsonl", files.lines(files.POTATO)),
    "potato (states)": ("states.json", files.POTATO_STATE),
    "potato (export)": ("annotations.csv", files.POTATO_EXPORT),
    "k-wise": ("ranks.csv", files.K_WISE),
    "k-wise (log)": ("ranks.jsonl", files.lines(files.K_WISE_LOG)),
}


@cache
def first_reading(what: str, repeats: str) -> tuple[TemporaryDirectory[str], IngestReport, pl.DataFrame]:
    home = TemporaryDirectory()
    path, store = files.write(Path(home.name), *EXPORTS[what]), Path(home.name, "store.duckdb")
    report = ingest(path, store, config=IngestConfig.model_validate({"repeats": repeats}), pseudonym_key=KEY)
    with Store.open(store, read_only=True) as opened:
        return home, report, opened.votes()


def read(folder: Path, what: str, repeats: str = "last") -> tuple[IngestReport, pl.DataFrame]:
    """The report on one export and the votes that it brought; both files are copied into the folder."""
    home, report, votes = first_reading(what, repeats)
    shutil.copytree(home.name, folder, dirs_exist_ok=True)
    return report, votes


def outcomes(votes: pl.DataFrame) -> list[str]:
    return votes["outcome"].to_list()


def meta(votes: pl.DataFrame) -> list[dict[str, Any]]:
    return [json.loads(text or "{}") for text in votes["meta"]]


# Detection


@pytest.mark.parametrize(
    "text",
    [
        "prompt_id,left,right,winner\np,a,b,left\n",
        "question_id,model_a,model_b,winner,judge,turn\nq,m,n,model_a,j,1\n",
        '{"prompt_id": "p", "responses": ["a", "b"], "rankings": [1, 2]}\n',
        "[]",
        '"just text"',
    ],
)
def test_a_plain_table_of_votes_has_no_platform(text: str, tmp_path: Path) -> None:
    [file] = find_files([files.write(tmp_path, "votes.csv", text)])
    assert detect_platform(file) is None


def test_a_platform_can_be_named_and_an_unknown_name_is_an_error(tmp_path: Path) -> None:
    [file] = find_files([files.write(tmp_path, *EXPORTS["toloka"])])
    assert detect_platform(file, "generic") is None
    forced = detect_platform(file, "mturk")
    assert forced is not None
    assert forced.name == "mturk"
    with pytest.raises(UsageError, match="mechanical: unknown format"):
        detect_platform(file, "mechanical")


def test_the_platforms_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["ingest", "--formats", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in listed] == [platform.name for platform in PLATFORMS]
    assert all(row["description"] and row["detected_by"] and row["sides"] and row["dropped"] for row in listed)
    assert {what.partition(" ")[0] for what in EXPORTS} <= {row["name"] for row in listed}
    assert run(["ingest", "--formats"]) == 0
    assert "label-studio" in capsys.readouterr().out


@pytest.mark.parametrize("what", [what for what in EXPORTS if what != "prolific"])
def test_rows_add_up_and_a_second_reading_changes_nothing(what: str, tmp_path: Path) -> None:
    report, votes = read(tmp_path, what)
    assert report.rows == report.votes + report.controls + report.duplicates + report.rejects
    assert report.files[0].platform == what.partition(" ")[0]
    assert report.votes > 0
    assert set(report.reasons) <= set(REJECT_REASONS)
    again = ingest(tmp_path / EXPORTS[what][0], tmp_path / "store.duckdb", pseudonym_key=KEY)
    assert again.batch == ""
    assert again.duplicates == report.votes + report.controls + report.duplicates
    with Store.open(tmp_path / "store.duckdb", read_only=True) as store:
        assert store.votes().equals(votes)


# Label Studio


def test_label_studio_cancelled_and_empty_results_are_no_ties(tmp_path: Path) -> None:
    report, votes = read(tmp_path, "label-studio")
    assert outcomes(votes) == ["left", "right", "tie"]
    assert votes["sides_known"].all()
    assert report.reasons == {"ambiguous-outcome": 2, "no-answer": 2, "cancelled": 1}
    assert report.files[0].skipped == {"tasks without an annotation": 1}
    assert votes["seconds"].to_list() == [12.5] * 3


def test_label_studio_names_annotators_by_number_or_object_alike(tmp_path: Path) -> None:
    as_object = [
        {"id": 5, "data": files.DATA, "annotations": [files.annotation(1, files.pairwise("left"), by={"id": 7})]}
    ]
    as_number = [{"id": 6, "data": files.DATA, "annotations": [files.annotation(2, files.pairwise("right"), by=7)]}]
    paths = [files.write(tmp_path, f"{i}.json", tasks) for i, tasks in enumerate((as_object, as_number))]
    report = ingest(paths, tmp_path / "s.duckdb", config=IngestConfig(repeats="all"))
    assert (report.votes, report.annotators) == (2, 1)


def test_label_studio_says_the_same_in_json_and_in_csv(tmp_path: Path) -> None:
    tasks = [{"id": 1, "data": files.DATA, "annotations": [files.annotation(31, files.pairwise("right"))]}]
    one = files.write(tmp_path, "export.json", tasks)
    other = files.write(tmp_path, "export.csv", files.LABEL_STUDIO_CSV)
    report = ingest([one, other], tmp_path / "s.duckdb")
    assert (report.votes, report.duplicates, report.reasons) == (1, 1, {"no-answer": 1})


def test_label_studio_choices_say_both_bad_and_keep_the_reason(tmp_path: Path) -> None:
    report, votes = read(tmp_path, "label-studio (min)")
    assert outcomes(votes) == ["left", "both_bad"]
    assert meta(votes)[0]["why"] == "clearer"
    assert report.reasons == {"no-answer": 1}


def test_label_studio_of_several_choices_takes_the_one_that_is_named_so(tmp_path: Path) -> None:
    results = [files.choice("good", name="quality"), files.choice("right", name="preference")]
    tasks = [{"id": 1, "data": files.DATA, "annotations": [files.annotation(1, *results)]}]
    ingest(files.write(tmp_path, "e.json", tasks), tmp_path / "s.duckdb")
    with Store.open(tmp_path / "s.duckdb") as store:
        votes = store.votes()
    assert outcomes(votes) == ["right"]
    assert meta(votes)[0]["quality"] == "good"


def test_label_studio_answers_in_other_words_need_their_meaning(tmp_path: Path) -> None:
    said = files.choice("The first one", name="c")
    tasks = [{"id": 1, "data": files.DATA, "annotations": [files.annotation(1, said)]}]
    path = files.write(tmp_path, "e.json", tasks)
    with pytest.raises(CurateError, match="The first one"):
        ingest(path, tmp_path / "s.duckdb")
    told = Mapping(outcomes={"the first one": "left"})
    assert ingest(path, tmp_path / "s.duckdb", config=IngestConfig(mapping=told)).votes == 1


def test_label_studio_data_of_any_names_are_mapped(tmp_path: Path) -> None:
    data = {"q": "p1", "text1": "One answer", "text2": "Another"}
    tasks = [{"id": 1, "data": data, "annotations": [files.annotation(1, files.pairwise("left"))]}]
    mapping = Mapping(columns={"prompt_id": "q", "left": "text1", "right": "text2"})
    path = files.write(tmp_path, "e.json", tasks)
    ingest(path, tmp_path / "s.duckdb", config=IngestConfig(mapping=mapping))
    with Store.open(tmp_path / "s.duckdb") as store:
        assert store.votes().select("response_left", "outcome").row(0) == ("One answer", "left")


def test_label_studio_items_that_are_no_tasks_are_rejects(tmp_path: Path) -> None:
    tasks = [*files.LABEL_STUDIO, {"id": 3, "annotations": []}]
    report = ingest(files.write(tmp_path, "e.json", tasks), tmp_path / "s.duckdb")
    assert report.reasons["broken-record"] == 1
    assert report.rows == 9


def test_label_studio_annotations_listed_twice_are_duplicates(tmp_path: Path) -> None:
    once = files.annotation(1, files.pairwise("left"))
    tasks = [{"id": 1, "data": files.DATA, "annotations": [once, once]}]
    report = ingest(files.write(tmp_path, "e.json", tasks), tmp_path / "s.duckdb")
    assert (report.votes, report.duplicates) == (1, 1)


def test_label_studio_of_two_pairwise_controls_asks_which_holds_the_outcome(tmp_path: Path) -> None:
    results = [files.pairwise("left", "pw1"), files.pairwise("right", "pw2")]
    tasks = [{"id": 1, "data": files.DATA, "annotations": [files.annotation(1, *results)]}]
    rows = [{"id": 1, **files.DATA, "pw1": [{"selected": "left"}], "pw2": [{"selected": "right"}], "annotator": 1}]
    times = {"annotation_id": 1, "created_at": "2025-03-02", "updated_at": "2025-03-02", "lead_time": 1}
    for name, content in (("e.json", tasks), ("min.json", [rows[0] | times])):
        path = files.write(tmp_path, name, content)
        with pytest.raises(CurateError, match="no column that holds the outcome") as caught:
            ingest(path, tmp_path / "none.duckdb")
        assert "--map outcome=COLUMN" in caught.value.hint
        melt = 'melt = { into = "criterion", columns = ["pw1", "pw2"] }'
        assert melt in caught.value.hint
        for outcome, expected in (("pw1", "left"), ("pw2", "right")):
            store = tmp_path / f"{name}-{outcome}.duckdb"
            ingest(path, store, config=IngestConfig(mapping=Mapping(columns={"outcome": outcome})))
            with Store.open(store) as opened:
                assert outcomes(opened.votes()) == [expected]
        by_criterion = IngestConfig.model_validate({"mapping": tomllib.loads(melt)})
        assert ingest(path, tmp_path / f"{name}-2.duckdb", config=by_criterion).votes == 2
        with Store.open(tmp_path / f"{name}-2.duckdb") as opened:
            found = opened.votes().select("criterion", "outcome").rows()
        assert sorted(found) == [("pw1", "left"), ("pw2", "right")]


# Argilla


def test_argilla_discards_drafts_and_suggestions_are_not_votes(tmp_path: Path) -> None:
    report, votes = read(tmp_path, "argilla")
    assert outcomes(votes) == ["left", "tie"]
    assert report.reasons == {"broken-record": 1, "cancelled": 1, "no-answer": 1}
    assert report.files[0].skipped == {"records without a response": 1}
    assert meta(votes)[0]["comment"] == "nice, write to [e-mail address]"
    assert "gpt" not in json.dumps(meta(votes))


def test_argilla_rankings_become_pairs_of_one_group(tmp_path: Path) -> None:
    _, votes = read(tmp_path, "argilla (nested)")
    pairs = votes.select("response_left", "response_right", "outcome").rows()
    assert pairs == [("a", "b", "right"), ("a", "c", "tie"), ("b", "c", "left")]
    assert votes["group_id"].n_unique() == 1
    assert not votes["sides_known"].any()


def test_argilla_of_two_questions_asks_which_holds_the_outcome(tmp_path: Path) -> None:
    lists = {"q1": ["left"], "q2": ["right"]}
    record = {"id": "r", "status": "completed", "_server_id": "s", **files.DATA}
    for name, values in lists.items():
        record |= {f"{name}.responses": values, f"{name}.responses.users": ["u"]}
        record |= {f"{name}.responses.status": ["submitted"]}
    path = files.write(tmp_path, "r.json", [record])
    with pytest.raises(CurateError, match="no column that holds the outcome"):
        ingest(path, tmp_path / "s.duckdb")
    told = IngestConfig(mapping=Mapping(columns={"outcome": "q2"}))
    assert ingest(path, tmp_path / "s.duckdb", config=told).votes == 1


# Prodigy


def test_prodigy_ignored_empty_and_double_answers_are_no_ties(tmp_path: Path) -> None:
    report, votes = read(tmp_path, "prodigy", repeats="all")
    assert outcomes(votes) == ["left", "right", "tie"]
    assert report.reasons == {"ambiguous-outcome": 1, "cancelled": 1, "no-answer": 1}
    with Store.open(tmp_path / "store.duckdb") as store:
        assert store.responses()["text"].to_list() == ["It falls.", "It flies."]


def test_prodigy_ids_lose_the_name_of_the_data_set(tmp_path: Path) -> None:
    tasks = [files.prodigy(1, ["a"], "ann")]
    one = files.write(tmp_path, "videos-pilot.jsonl", files.lines(tasks))
    other = [files.prodigy(n, ["b"], who) for n, who in ((2, "ann"), (3, "bob"))]
    two = files.write(tmp_path, "second.jsonl", files.lines(other))
    report = ingest([one, two], tmp_path / "s.duckdb", config=IngestConfig(repeats="all"))
    assert (report.votes, report.annotators) == (3, 2)


def test_prodigy_options_may_be_numbers_where_the_task_names_its_responses(tmp_path: Path) -> None:
    options = [{"id": 0, "text": "It falls."}, {"id": 1, "text": "It flies."}]
    task = files.prodigy(1, [1], options=options, left="a", right="b")
    ingest(files.write(tmp_path, "t.jsonl", files.lines([task])), tmp_path / "s.duckdb")
    with Store.open(tmp_path / "s.duckdb") as store:
        assert store.votes().select("response_left", "response_right", "outcome").row(0) == ("a", "b", "right")


# Arenas


def test_arena_winners_texts_models_and_sides_are_read(tmp_path: Path) -> None:
    _, votes = read(tmp_path, "arena")
    assert outcomes(votes) == ["left", "right", "tie", "both_bad"]
    assert votes["sides_known"].all()
    with Store.open(tmp_path / "store.duckdb") as store:
        first = store.responses().row(0, named=True)
        assert (first["model"], first["text"]) == ("m1", "A1\n\nA2")
        assert store.prompts()["question"][0] == "Hi\n\nMore"


def test_arena_judges_keep_their_names_unless_they_hold_an_address(tmp_path: Path) -> None:
    path = files.write(tmp_path, *EXPORTS["arena"])
    report = ingest(path, tmp_path / "s.duckdb")
    with Store.open(tmp_path / "s.duckdb") as store:
        people = store.votes()["annotator_id"].to_list()
    assert (people[0], people[2]) == ("arena_user_5", "u")
    assert people[1].startswith("p-")
    assert report.dropped == {"IP addresses": 1}


def test_mt_bench_turns_are_separate_prompts_without_sides(tmp_path: Path) -> None:
    _, votes = read(tmp_path, "arena (mt-bench)")
    assert votes["prompt_id"].to_list() == ["81", "81-turn-2"]
    assert not votes["sides_known"].any()
    with Store.open(tmp_path / "store.duckdb") as store:
        assert store.responses()["text"].to_list() == ["A1", "B1", "A1\n\nA2", "B1\n\nB2"]


def test_a_winner_spread_over_columns_is_one_outcome(tmp_path: Path) -> None:
    report, votes = read(tmp_path, "arena (55k)")
    assert outcomes(votes) == ["left", "tie"]
    assert report.reasons == {"ambiguous-outcome": 1, "no-answer": 1}


def test_arena_logs_give_votes_of_hidden_models_and_count_the_rest(tmp_path: Path) -> None:
    report, votes = read(tmp_path, "wildvision")
    assert outcomes(votes) == ["left", "right", "tie", "both_bad"]
    assert votes["response_left"].to_list() == ["hidden-0", "m1", "m1", "m1"]
    assert report.files[0].skipped == {"chat": 1, "upvote": 1}
    assert report.dropped == {"IP addresses": 4}
    with Store.open(tmp_path / "store.duckdb") as store:
        assert store.prompts()["question"].to_list() == ["What falls?"]


def test_genai_bench_votes_have_sides_and_equal_rows_are_votes(tmp_path: Path) -> None:
    report, votes = read(tmp_path, "genai-bench")
    assert outcomes(votes) == ["left", "right", "tie", "both_bad", "left"]
    assert report.anonymous == 5
    assert meta(votes)[0] == {"bench.left_video": "l.mp4", "bench.right_video": "r.mp4"}
    assert votes["prompt_id"].unique().to_list() == ["A cat"]


# Crowds


def test_toloka_golden_rows_are_controls_and_rejected_work_does_not_count(tmp_path: Path) -> None:
    report, votes = read(tmp_path, "toloka", repeats="all")
    assert (report.rows, report.votes, report.controls, report.rejects) == (6, 2, 2, 2)
    assert outcomes(votes) == ["left", "tie"]
    assert report.reasons == {"no-answer": 1, "refused-work": 1}
    assert report.files[0].skipped == {"blank rows between task suites": 1}
    with Store.open(tmp_path / "store.duckdb") as store:
        controls = store.frame("SELECT outcome, answer FROM controls ORDER BY line").rows()
    assert controls == [("right", "right"), ("left", "both_bad")]


def test_mturk_takes_the_option_that_is_true_and_no_rejected_work(tmp_path: Path) -> None:
    report, votes = read(tmp_path, "mturk")
    assert outcomes(votes) == ["left", "tie", "right"]
    assert report.reasons == {"ambiguous-outcome": 1, "no-answer": 1, "refused-work": 1}
    assert str(votes["voted_at"][0]) == "2021-03-02 20:34:56"
    assert votes["seconds"].to_list() == [41.0] * 3


def test_prolific_is_joined_by_participant_and_returned_work_does_not_count(tmp_path: Path) -> None:
    header = "prompt_id,left,right,winner,participant"
    rows = "p,a,b,left,5e90\np,a,b,right,671b\np,b,c,tie,stranger\n"
    votes = files.write(tmp_path, "votes.csv", f"{header}\n{rows}")
    export = files.write(tmp_path, *EXPORTS["prolific"])
    config = IngestConfig(mapping=Mapping(columns={"annotator_id": "participant"}))
    report = ingest(votes, tmp_path / "s.duckdb", config=config, prolific=export)
    assert (report.votes, report.reasons, report.pseudonyms) == (2, {"refused-work": 1}, 3)
    assert any("1 of its 3 participants" in warning for warning in report.warnings)
    assert any("1 annotators are not among its participants" in warning for warning in report.warnings)
    with Store.open(tmp_path / "s.duckdb") as store:
        told = store.votes()
    assert json.loads(told["meta"][0])["prolific.export"]["Age"] == "25"
    assert "C0DE" not in told["meta"][0]
    assert told["meta"][1] is None
    assert not {"5e90", "stranger"} & set(told["annotator_id"])
    among = ingest([votes, export], tmp_path / "t.duckdb", config=config)
    assert (among.votes, among.reasons) == (2, {"refused-work": 1})


def test_potato_outcomes_are_letters_scales_or_labels(tmp_path: Path) -> None:
    report, votes = read(tmp_path, "potato")
    assert outcomes(votes) == ["left", "tie", "right", "right"]
    assert votes["response_right"].unique().to_list() == ["b~1"]
    assert votes["seconds"].to_list() == [72.0] * 4
    assert report.reasons == {"no-answer": 1}


def test_empty_potato_schemes_are_not_confused(tmp_path: Path) -> None:
    items = [
        {
            "id": "t~p~a~b",
            "displayed_text": "x",
            "span_annotations": [],
            "behavioral_data": {},
            "label_annotations": said,
        }
        for said in ({"best": {}, "preference": {"selection": "A"}}, {"best": {"text_box": "hm"}})
    ]
    report = ingest(files.write(tmp_path, "annotated_instances.jsonl", files.lines(items)), tmp_path / "s.duckdb")
    assert (report.votes, report.reasons) == (1, {"no-answer": 1})


def test_potato_names_the_annotator_whose_folder_it_is(tmp_path: Path) -> None:
    folder = tmp_path / "annotation_output" / "alice"
    folder.mkdir(parents=True)
    files.write(folder, "user_state.json", {"user_id": "alice"})
    path = files.write(folder, *EXPORTS["potato"])
    report = ingest(path, tmp_path / "s.duckdb", config=IngestConfig(repeats="all"))
    assert (report.votes, report.annotators, report.anonymous) == (4, 1, 0)


def test_potato_states_of_a_folder_are_read_with_the_order_on_the_screen(tmp_path: Path) -> None:
    for state in files.POTATO_STATE:
        (tmp_path / state["user_id"]).mkdir()
        path = tmp_path / state["user_id"] / "user_state.json"
        path.write_text(json.dumps(state, indent=2))
        (tmp_path / state["user_id"] / "annotation_history.jsonl").write_text('{"action_type": "add_label"}\n')
    report = ingest(tmp_path, tmp_path / "s.duckdb", pseudonym_key=KEY)
    assert (report.votes, report.reasons, report.annotators) == (4, {"no-answer": 1}, 2)
    with Store.open(tmp_path / "s.duckdb") as store:
        votes = store.votes().sort("line")
    pairs = votes.select("prompt_id", "response_left", "response_right", "outcome").rows()
    assert pairs == [
        ("p1", "a", "b~1", "left"),
        ("p2", "b~1", "a", "left"),
        ("p3", "a", "b~1", "tie"),
        ("p1", "a", "b~1", "right"),
    ]
    assert meta(votes)[0]["potato.why"] == {"text_box": 'so \\n "so"'}
    assert votes["seconds"].to_list() == [72.0] * 4
    assert votes["voted_at"][1].timestamp() > votes["voted_at"][0].timestamp()


def test_a_potato_state_without_pairwise_votes_names_its_schemes(tmp_path: Path) -> None:
    state = files.potato_state("ann", {"1": [files.said("positive", "1", "sentiment")]})
    path = files.write(tmp_path, "user_state.json", state)
    with pytest.raises(CurateError, match=r"no votes here: .* it has sentiment \(positive\)"):
        ingest(path, tmp_path / "s.duckdb")


def test_potato_tables_are_read_like_its_lines(tmp_path: Path) -> None:
    rows = [
        {"user": user, "instance_id": "t~p~a~b", "displayed_text": "x", "preference:::A": a, "preference:::B": b}
        for user, a, b in (("u1", "true", ""), ("u2", "", "true"), ("u3", "", ""))
    ]
    path = files.write(tmp_path, "annotated_instances.csv", files.table(rows))
    report = ingest(path, tmp_path / "s.duckdb")
    with Store.open(tmp_path / "s.duckdb") as store:
        assert outcomes(store.votes()) == ["left", "right"]
    assert report.reasons == {"no-answer": 1}


def test_k_wise_sets_give_every_pair_of_a_ranking_and_refuse_half_of_one(tmp_path: Path) -> None:
    report, votes = read(tmp_path, "k-wise")
    assert (report.votes, report.reasons) == (1, {"no-answer": 1})
    assert Counter(outcomes(votes)) == {"left": 2, "tie": 1}


def test_k_wise_logs_give_six_pairs_of_four(tmp_path: Path) -> None:
    report, votes = read(tmp_path, "k-wise (log)")
    assert (report.votes, len(votes)) == (1, 6)
    assert report.files[0].skipped == {"chat": 1}
    assert report.dropped == {"IP addresses": 1}


# Hostile shapes


def sound(path: Path, platform: str, store: Path) -> bool:
    """Whether every row of a file is counted, or the file is an error with a hint."""
    try:
        report = ingest(path, store, config=IngestConfig(format=platform))
    except CurateError as error:
        return bool(error.hint)
    return report.rows == report.votes + report.controls + report.duplicates + report.rejects


RECORDS = {
    what: content if isinstance(content, list) else [json.loads(line) for line in content.splitlines()]
    for what, (_, content) in EXPORTS.items()
    if not isinstance(content, str) or content[0] == "{"
}


@pytest.mark.parametrize("what", RECORDS)
def test_records_without_their_keys_are_rejects(what: str, tmp_path: Path) -> None:
    hollow = [record if i % 2 == 0 else dict.fromkeys(record) for i, record in enumerate(RECORDS[what])]
    assert sound(files.write(tmp_path, "hollow.json", hollow), what.partition(" ")[0], tmp_path / "s.duckdb")


def altered(value: Any, instead: Any) -> Iterator[Any]:
    """The value with one part of it, however deep, replaced: each of its parts in turn."""
    yield instead
    if isinstance(value, dict):
        for key, part in value.items():
            yield from ({**value, key: new} for new in altered(part, instead))
    elif isinstance(value, list):
        for i, part in enumerate(value):
            yield from ([*value[:i], new, *value[i + 1 :]] for new in altered(part, instead))


@pytest.mark.parametrize("what", RECORDS)
def test_values_of_another_type_are_rejects(what: str, tmp_path: Path) -> None:
    first, *_ = RECORDS[what]
    all_altered = (record for value in (None, "text", {"a": [None]}) for record in altered(first, value))
    wrong = [first, *(record for record in all_altered if isinstance(record, dict))]
    assert sound(files.write(tmp_path, "wrong.json", wrong), what.partition(" ")[0], tmp_path / "s.duckdb")


def test_an_export_in_parquet_keeps_its_conversations(tmp_path: Path) -> None:
    pl.DataFrame(files.ARENA).write_parquet(tmp_path / "battles.parquet")
    report = ingest(tmp_path / "battles.parquet", tmp_path / "s.duckdb")
    assert (report.files[0].platform, report.votes) == ("arena", 4)
    with Store.open(tmp_path / "s.duckdb") as store:
        assert store.prompts()["question"][0] == "Hi\n\nMore"


def test_the_docs_list_every_platform() -> None:
    page = (Path(__file__).parent.parent / "docs" / "platforms.md").read_text(encoding="utf-8")
    for one in PLATFORMS:
        assert f"| `{one.name}` | {one.description} | {one.detected_by} | {one.sides} | {one.dropped} |" in page
