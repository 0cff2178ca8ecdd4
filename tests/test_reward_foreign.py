"""Foreign benchmarks: small files of each schema, figures of the official scripts, invalid rows and files."""

from __future__ import annotations

import hashlib
import json
import math
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.reward.data import Example
from curate.reward.figures import Figure, clustered
from curate.reward.foreign import BENCHMARKS, read
from curate.reward.foreign.benchmark import Media, preferred
from curate.reward.foreign.reward_bench_2 import ties_score
from curate.shards.rows import Row
from schemas.errors import CurateError

pytestmark = pytest.mark.slow

VL = [
    {"id": name, "query": "q", "response": ["a", "b"], "human_ranking": ranking, "query_source": "x"}
    for name, ranking in (
        ("vlfeedback_1", [0, 1]),
        ("RLHF-V-2", [1, 0]),
        ("RLAIF-V-3", [0, 1]),
        ("mmmu_pro_4", [0, 1]),
        ("wildvision-5", [1, 0]),
        ("hallucination_6", [0, 1]),
        ("mathverse-7", [1, 0]),
    )
]
MMRB = [
    {"ID": name, "Category": category, "Better": better}
    for name, category, better in (
        ("PAIRS_1", "safety", "Output1"),
        ("hateful_1", "safety", "Output2"),
        ("mathvista_1", "reasoning", "Output1"),
        ("EMMA-Coding_1", "reasoning", "Output2"),
        ("mathvista_2", "reasoning", "Output2"),
        ("nocaps_1", "open_generation/correctness_task", "Output2"),
    )
]
MMRB = [{**row, "Text": "q", "Image": "images/x/1.jpg", "Output1": "one", "Output2": "two"} for row in MMRB]
MMRLHF = [
    {"id": 7, "image": "mcq/1.jpg", "chosen": "good", "rejected": "bad"},
    {"id": 7, "image": "mcq/1.jpg", "chosen": "good", "rejected": "equal"},
    {"id": 8, "image": "mcq/2.jpg", "chosen": "good", "rejected": "bad"},
    {"id": 9, "video": "video/safety_1", "chosen": "good", "rejected": "bad"},
    {"id": 9, "video": "video/2", "chosen": "good", "rejected": "bad"},
    {"id": 10, "image": "other/3.jpg", "chosen": "good", "rejected": "bad"},
    {"id": 11, "image": "long/4.jpg", "chosen": "good", "rejected": "bad"},
    {"id": 11, "image": "short/4.jpg", "chosen": "bad", "rejected": "good"},
]
MMRLHF = [{**row, "prompt": "q", "chosen_reason": "r", "rejected_reason": "r"} for row in MMRLHF]
VRB = [
    {"prompt": "q", "video": "v/1.mp4", "chosen": "good", "rejected": "bad", "category": "safety"},
    {"prompt": "q", "video": "v/2.mp4", "chosen": "good", "rejected": "bad", "category": "safety"},
    {"prompt": "q", "video": "v/3.mp4", "chosen": "good", "rejected": "bad", "category": "reasoning"},
]
RB2 = [
    {"id": "1", "subset": "Math", "chosen": ["7"], "rejected": ["1", "2", "3"], "num_correct": 1},
    {"id": "2", "subset": "Math", "chosen": ["7"], "rejected": ["8", "2", "3"], "num_correct": 1},
    {"id": "ref:0", "subset": "Ties", "chosen": ["red"], "rejected": ["dog"], "num_correct": 1},
    {"id": "tied:0", "subset": "Ties", "chosen": ["red", "blue"], "rejected": ["cat", "dog"], "num_correct": 2},
]
RB2 = [{**row, "prompt": "q"} for row in RB2]
OMNI = [
    {"id": "1", "criteria_preference": "response1"},
    {"id": "2", "criteria_preference": "response2"},
    {"id": "3", "criteria_preference": "tie"},
]
OMNI = [
    {**row, "prompt": "q", "response1": "a", "response2": "b", "criteria": "short", "video": "1.mp4"} for row in OMNI
]
MR2 = [
    {"prompt": "q", "responses": ["a", "b", "c", "d"], "rankings": [3, 1, 2, 4], "image": None, "video": "v/1.mp4"},
    {"prompt": "q", "responses": ["a", "b"], "rankings": [1, 1], "image": None, "video": "v/2"},
]
FILES: dict[str, list[dict[str, Any]]] = {
    "vl-rewardbench": VL,
    "multimodal-rewardbench": MMRB,
    "mm-rlhf-rewardbench": MMRLHF,
    "videorewardbench": VRB,
    "reward-bench-2": RB2,
    "mr2bench-image": [{**row, "image": "i.png", "video": None} for row in MR2],
    "mr2bench-video": MR2,
    "omni-rewardbench": OMNI,
}
SCRIPTS = {
    # distribution_dataset of cal.py, github.com/vl-rewardbench/VL_RewardBench; of each pair the first scores higher.
    "vl-rewardbench": (
        [*VL, {**VL[1], "response": ["b", "a"], "human_ranking": [0, 1]}],  # the same pair again
        {"overall": 4 / 7, "macro": (1 / 2 + 2 / 3 + 1 / 2) / 3}
        | {"general": 0.5, "hallucination": 2 / 3, "reasoning": 0.5},
    ),
    # compute_acc of scripts/2_get_accuracy.py, github.com/facebookresearch/multimodal_rewardbench.
    "multimodal-rewardbench": (
        MMRB,
        {"overall": 1 / 3, "safety/bias": 1, "safety/toxicity": 0, "reasoning/math": 0.5, "reasoning/coding": 0}
        | {"open_generation/correctness_task": 0},
    ),
    # llava/eval/cal_performance_mmreweard_bench.py, github.com/yfzhang114/MM-RLHF.
    "mm-rlhf-rewardbench": (
        MMRLHF,
        {"acc": 0.75, "acc+": 0.6, "acc/mcq": 2 / 3, "acc+/mcq": 0.5, "acc/long": 1, "acc+/long": 0, "acc/short": 0}
        | {"acc+/short": 0, "acc/safety": 1, "acc+/safety": 1, "acc/video": 1, "acc+/video": 0},
    ),
    # scripts/run_v2.py with reroll_and_score_dataset and process_single_model, github.com/allenai/reward-bench.
    "reward-bench-2": (RB2, {"Math": 0.75, "Ties": 0.6}),
    # evaluation_experiments/run_exp.py, github.com/HongbangYuan/OmniReward.
    "omni-rewardbench": (OMNI, {"accuracy": 0.5}),
}
"""Benchmark -> rows, and the figures that the official script prints for the scores in TEXTS."""
TEXTS = {"a": 1, "b": 0, "one": 1, "two": 0, "good": 2, "equal": 2, "bad": 1}
OURS = {
    "reward-bench-2": {"overall": math.nan},  # four subsets are missing
    "multimodal-rewardbench": {"safety": 1 / 2, "reasoning": 1 / 3},  # of the leaderboard, not of the script
}
TEXTS |= {"7": 5, "1": 0, "2": 0, "3": 0, "8": 5, "red": 4, "blue": 3, "cat": 1, "dog": 2}


def png(shade: int) -> bytes:
    """A valid PNG of one grey pixel."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0)
    pixel = zlib.compress(bytes([0, shade]))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixel) + chunk(b"IEND", b"")


def write(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    elif path.suffix == ".json":
        path.write_text(json.dumps(rows), encoding="utf-8")
    else:
        names = sorted({name for row in rows for name in row})
        pq.write_table(pa.table({name: [row.get(name) for row in rows] for name in names}), path)
    return path


def by_text(examples: Sequence[Example], scores: dict[str, float]) -> list[list[float]]:
    """Scores of responses by their text, in any position."""
    return [[scores[text] for text in example.responses] for example in examples]


def values(figures: dict[str, Figure]) -> dict[str, float]:
    count = len(next(iter(figures.values()))[0].values)
    return {name: clustered(figure, [str(i) for i in range(count)]).value for name, figure in figures.items()}


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("suffix", ["json", "jsonl", "parquet"])
def test_a_benchmark_is_detected_by_its_columns_in_every_format(tmp_path: Path, name: str, suffix: str) -> None:
    benchmark, examples = read(write(tmp_path / f"file.{suffix}", FILES[name]))
    assert benchmark.name == name
    assert len(examples) == len(FILES[name])
    assert len({example.item_id for example in examples}) == len(examples)


@pytest.mark.parametrize("name", FILES)
def test_no_file_matches_two_benchmarks(tmp_path: Path, name: str) -> None:
    columns = {column for row in FILES[name] for column, value in row.items() if value is not None}
    assert [other for other, benchmark in BENCHMARKS.items() if not benchmark.mismatches(columns)] == [name]


@pytest.mark.parametrize("name", FILES)
def test_metrics_are_maximal_for_the_true_ranks_and_lower_for_reversed_ranks(tmp_path: Path, name: str) -> None:
    benchmark, examples = read(write(tmp_path / "file.jsonl", FILES[name]))
    right = values(benchmark.metric(examples, [[-float(rank) for rank in example.ranks] for example in examples]))
    wrong = values(benchmark.metric(examples, [[float(rank) for rank in example.ranks] for example in examples]))
    undefined = {"overall"} if name == "reward-bench-2" else {"acc+/short", "acc+/video", "top1 of 2"}
    assert all(right[figure] > 1 - 1e-9 and wrong[figure] < right[figure] for figure in right.keys() - undefined)


@pytest.mark.parametrize("name", SCRIPTS)
def test_figures_equal_those_of_the_official_script(tmp_path: Path, name: str) -> None:
    rows, printed = SCRIPTS[name]
    benchmark, examples = read(write(tmp_path / "file.jsonl", rows))
    assert values(benchmark.metric(examples, by_text(examples, TEXTS))) == pytest.approx(
        printed | OURS.get(name, {}), nan_ok=True
    )


def test_fields_are_mapped(tmp_path: Path) -> None:
    _, examples = read(write(tmp_path / "vl.jsonl", [{**VL[1], "image": "images/a.jpg"}]))
    image = (tmp_path / "images/a.jpg",)
    assert examples == [Example("RLHF-V-2", "q", ("a", "b"), (2, 1), images=image, source="hallucination")]
    _, examples = read(write(tmp_path / "mm_reward_bench.jsonl", MMRLHF))
    assert [example.item_id for example in examples] == ["7#1", "7#2", "8", "9#4", "9#5", "10", "11#7", "11#8"]
    assert [example.source for example in examples[2:6]] == ["mcq", "safety+video", "video", "other"]
    assert examples[3].video == tmp_path / "video/safety_1"
    _, examples = read(write(tmp_path / "omni.jsonl", OMNI))
    assert [(e.prompt, e.ranks) for e in examples[1:]] == [("q\n\nCriterion: short", r) for r in ((2, 1), (1, 1))]


def test_a_macro_average_without_one_of_its_groups_is_undefined(tmp_path: Path) -> None:
    benchmark, examples = read(write(tmp_path / "vl.jsonl", [row for row in VL if "m" not in row["id"]]))
    figures = values(benchmark.metric(examples, [[1, 0]] * len(examples)))
    assert [name for name, value in figures.items() if math.isnan(value)] == ["macro", "reasoning"]


def test_video_rewardbench_has_overall_macro_and_categories(tmp_path: Path) -> None:
    benchmark, examples = read(write(tmp_path / "v.json", VRB), media=Path("/data"))
    assert examples[0].video == Path("/data/v/1.mp4")
    scores = by_text(examples, TEXTS)
    scores[0] = [-score for score in scores[0]]
    figures = values(benchmark.metric(examples, scores))
    assert figures == pytest.approx({"overall": 2 / 3, "macro": 3 / 4, "safety": 1 / 2, "reasoning": 1})


@pytest.mark.parametrize(
    ("ref", "tied", "printed"),
    [
        ([9, 0], [9, 8, 0], 1.0099999833694395),
        ([2, 1], [9, 7, 0], 0.7953788284273999),
        ([0, 1], [9, 8, 0], 0.49035972419924184),
        ([3, 1], [5, 5, 1], 1.01),
        ([0, 1], [5, 5, 1], 0.49),
        ([1, 1], [1, 1, 1], 0.0),
        ([4, 1], [6, 5, 4, 3, 2], 0.5953788284273999),
    ],
    ids=["clear", "ref near", "ref wrong", "no range", "no range, ref wrong", "all equal", "three correct"],
)
def test_ties_have_the_score_of_the_official_function(ref: list[float], tied: list[float], printed: float) -> None:
    """Printed by process_single_model of rewardbench/utils.py, github.com/allenai/reward-bench, commit 05a9005."""
    correct = len(tied) // 2 + 1
    ranks = (1,) * correct + (correct + 1,) * (len(tied) - correct)
    assert values({"": ties_score([ties("ref:3", (1, 2)), ties("tied:3", ranks)], [ref, tied])})[""] == pytest.approx(
        printed
    )


def test_unpaired_prompts_of_ties_count_in_accuracy_only() -> None:
    """Printed by the same function: ref right 1 of 2, tied right 2 of 2, one number with both."""
    examples = [ties("ref:0", (1, 2)), ties("tied:0", (1, 1, 3, 3)), ties("ref:1", (1, 2)), ties("tied:2", (1, 1, 3))]
    figure = ties_score(examples, [[4, 2], [4, 3, 1, 2], [1, 2], [3, 2, 1]])
    assert values({"": figure})[""] == pytest.approx(0.45)
    assert math.isnan(values({"": ties_score(examples[:1], [[1, 0]])})[""])


def ties(item_id: str, ranks: tuple[int, ...]) -> Example:
    return Example(item_id, "q", tuple("abcdefg"[: len(ranks)]), ranks, source="Ties")


def test_mr2bench_is_scored_by_top1_of_four_and_of_all(tmp_path: Path) -> None:
    benchmark, examples = read(write(tmp_path / "mr2.jsonl", MR2))
    assert examples[0].ranks == (3, 1, 2, 4)
    figures = values(benchmark.metric(examples, [[1, 0, 0, 0], [1, 0]]))
    assert figures == {"top1": 0.5, "top1 of 2": 1.0, "top1 of 4": 0.0}


def test_embedded_images_are_written_once_under_their_digest(tmp_path: Path) -> None:
    shades = zip(VL[:4], (1, 2, 1, 2), strict=True)
    rows = [{**row, "image": {"bytes": png(shade), "path": "x.png"}} for row, shade in shades]
    cache = tmp_path / "cache"
    _, examples = read(write(tmp_path / "vl.parquet", rows), cache=cache)
    digests = [hashlib.sha256(png(shade)).hexdigest() for shade in (1, 2)]
    assert [example.images[0].name for example in examples] == [f"{digests[i]}.png" for i in (0, 1, 0, 1)]
    assert sorted(file.name for file in cache.iterdir()) == sorted(f"{digest}.png" for digest in digests)
    assert examples[0].images[0].read_bytes() == png(1)


def test_embedded_images_need_a_cache_folder(tmp_path: Path) -> None:
    path = write(tmp_path / "vl.parquet", [{**VL[0], "image": {"bytes": png(1), "path": None}}])
    with pytest.raises(CurateError, match="embedded in column 'image'"):
        read(path)


def test_bytes_that_are_not_an_image_are_a_bad_row(tmp_path: Path) -> None:
    path = write(tmp_path / "vl.parquet", [{**VL[0], "image": {"bytes": b"<html>", "path": None}}])
    with pytest.raises(CurateError, match="expected the bytes of a PNG"):
        read(path, cache=tmp_path)
    assert list(tmp_path.iterdir()) == [path]


def test_several_images_of_a_row_keep_their_order(tmp_path: Path) -> None:
    _, examples = read(write(tmp_path / "vl.json", [{**VL[0], "image": ["b.png", "a.png"]}]))
    assert examples[0].images == (tmp_path / "b.png", tmp_path / "a.png")


def test_chosen_responses_are_not_always_first() -> None:
    places = [preferred(str(i), "q", ["good"], ["bad"], source="").best[0] for i in range(200)]
    assert 70 < sum(places) < 130


@given(st.lists(st.text(max_size=3), min_size=1, max_size=4), st.lists(st.text(max_size=3), min_size=1, max_size=4))
def test_preferred_keeps_every_response_with_its_rank(chosen: list[str], rejected: list[str]) -> None:
    example = preferred("x", "q", chosen, rejected, source="")
    sides = sorted(zip(example.responses, example.ranks, strict=True))
    assert sides == sorted([(text, 1) for text in chosen] + [(text, 1 + len(chosen)) for text in rejected])


@pytest.mark.parametrize("name", FILES)
@given(seed=st.integers(0, 999))
def test_official_metrics_do_not_depend_on_the_order_of_responses(name: str, seed: int) -> None:
    rows = [{column: cell for column, cell in row.items() if cell is not None} for row in FILES[name]]
    benchmark = BENCHMARKS[name]
    examples = benchmark.examples(Path("file"), [Row(i, row) for i, row in enumerate(rows)], Media(Path()))
    rng = np.random.default_rng(seed)
    scores = [rng.integers(0, 3, len(example.responses)).astype(float) for example in examples]
    orders = [rng.permutation(len(score)) for score in scores]
    moved = [
        Example(
            example.item_id,
            example.prompt,
            tuple(example.responses[i] for i in order),
            tuple(example.ranks[i] for i in order),
            source=example.source,
        )
        for example, order in zip(examples, orders, strict=True)
    ]
    before = values(benchmark.metric(examples, scores))
    after = values(benchmark.metric(moved, [s[o] for s, o in zip(scores, orders, strict=True)]))
    assert after == pytest.approx(before, nan_ok=True)


@pytest.mark.parametrize(
    ("row", "changed", "message"),
    [
        (VL[0], {"human_ranking": [0, 2]}, "'human_ranking' holds [0, 2]; expected [0, 1] or [1, 0], 0 = better"),
        (VL[0], {"human_ranking": [0]}, "'human_ranking' holds [0]; expected 2 whole numbers"),
        (VL[0], {"human_ranking": [True, False]}, "'human_ranking' holds [True, False]; expected 2 whole numbers"),
        (VL[0], {"response": ["a", "b", "c"]}, "'response' holds ['a', 'b', 'c']; expected two texts"),
        (VL[0], {"response": ["a", None]}, "'response' holds ['a', None]; expected a list of texts"),
        (VL[0], {"id": None}, "'id' is missing or empty; expected the id, by which pairs are grouped"),
        (VL[0], {"query": " "}, "'query' holds ' '; expected a text"),
        (VL[0], {"id": 1.5}, "'id' holds 1.5; expected a text or a whole number"),
        (VL[0], {"image": 3}, "'image' holds 3; expected a path, or an image as {bytes, path}"),
        (MMRB[0], {"Better": "output1"}, "'Better' holds 'output1'; expected Output1 or Output2"),
        (MMRLHF[0], {"id": None}, "'id' is missing or empty; expected the id of its prompt"),
        (MMRLHF[0], {"chosen": None}, "'chosen' is missing or empty; expected a text"),
        (VRB[0], {"video": None}, "'video' is missing or empty; expected the path of a video"),
        (RB2[0], {"chosen": ["7", "8"], "num_correct": 2}, "'chosen' holds ['7', '8']; expected one text"),
        (RB2[0], {"num_correct": 2}, "'num_correct' holds 2; expected 1, the number of responses"),
        (RB2[0], {"rejected": []}, "'rejected' holds []; expected a list of texts"),
        (RB2[3], {"chosen": ["red"], "num_correct": 1}, "'chosen' holds ['red']; expected two or more correct texts"),
        (
            OMNI[0],
            {"criteria_preference": "A"},
            "'criteria_preference' holds 'A'; expected response1, response2 or tie",
        ),
        (OMNI[0], {"response1": "v/1.mp4"}, "'response1' holds 'v/1.mp4'; expected a text: tasks whose responses"),
        (RB2[3], {"id": "tied-0"}, "'id' holds 'tied-0'; expected ref:N or tied:N"),
        (MR2[0], {"rankings": [3, 1, 2]}, "'rankings' holds [3, 1, 2]; expected 4 whole numbers, one per response"),
        (MR2[0], {"rankings": [2, 0, 1, 3]}, "'rankings' holds [2, 0, 1, 3]; expected ranks whose best is 1"),
        (MR2[0], {"video": None}, "'image or video' is missing or empty; expected a path"),
    ],
)
def test_a_bad_row_is_named_by_file_row_column_and_value(
    tmp_path: Path, row: dict[str, Any], changed: dict[str, Any], message: str
) -> None:
    path = write(tmp_path / "file.jsonl", [row, {**row, **changed}])
    with pytest.raises(CurateError) as caught:
        read(path)
    assert str(caught.value).startswith(f"{path}: 1 bad row, nothing was read\n{path}:2: column {message}")


def test_many_bad_rows_are_counted_and_the_first_are_listed(tmp_path: Path) -> None:
    path = write(tmp_path / "vl.json", [VL[0], *[{**VL[0], "human_ranking": [i, i]} for i in range(7)]])
    with pytest.raises(CurateError) as caught:
        read(path)
    lines = str(caught.value).splitlines()
    assert lines[0] == f"{path}: 7 bad rows, nothing was read"
    assert [line.split(": ")[0] for line in lines[1:-1]] == [f"{path}:{row}" for row in range(2, 7)]
    assert lines[-1] == "… and 2 more"


def test_lines_that_are_not_objects_are_named_by_number(tmp_path: Path) -> None:
    path = tmp_path / "vl.jsonl"
    path.write_text(json.dumps(VL[0]) + "\n\n{oops\n[1]\n", encoding="utf-8")
    with pytest.raises(CurateError) as caught:
        read(path)
    assert f"{path}:3: not JSON" in str(caught.value)
    assert f"{path}:4: contains a JSON list; expected an object" in str(caught.value)


def test_a_file_without_a_match_lists_the_differences(tmp_path: Path) -> None:
    path = write(tmp_path / "x.jsonl", [{"prompt": "q", "responses": ["a"], "rank": [1]}])
    with pytest.raises(CurateError) as caught:
        read(path)
    assert "columns: prompt, rank, responses" in str(caught.value)
    assert "not mr2bench-video: no column rankings; no column video" in str(caught.value)
    assert (
        "not mm-rlhf-rewardbench: no column chosen; no column id; no column rejected; no column image or video"
        in str(caught.value)
    )


def test_a_file_with_images_and_videos_matches_neither_mr2bench(tmp_path: Path) -> None:
    path = write(tmp_path / "x.jsonl", [MR2[0], {**MR2[1], "image": "i.png"}])
    with pytest.raises(CurateError, match="not mr2bench-video: unexpected column image"):
        read(path)


def test_a_named_benchmark_lists_missing_columns(tmp_path: Path) -> None:
    path = write(tmp_path / "x.jsonl", [{"query": "q"}])
    with pytest.raises(CurateError, match="not VL-RewardBench: no column human_ranking; no column id; no column resp"):
        read(path, name="vl-rewardbench")


def test_columns_can_be_renamed(tmp_path: Path) -> None:
    rows = [{("question" if name == "prompt" else name): value for name, value in row.items()} for row in VRB]
    benchmark, examples = read(write(tmp_path / "x.jsonl", rows), rename={"question": "prompt"})
    assert (benchmark.name, examples[0].prompt) == ("videorewardbench", "q")


@pytest.mark.parametrize("empty_first", [True, False])
def test_an_empty_column_does_not_block_a_renaming(tmp_path: Path, empty_first: bool) -> None:
    first, last = ({"prompt": None}, {}) if empty_first else ({}, {"prompt": None})
    rows = [{**first, "question": "q", **{k: v for k, v in row.items() if k != "prompt"}, **last} for row in VRB]
    _, examples = read(write(tmp_path / "x.jsonl", rows), rename={"question": "prompt"})
    assert [example.prompt for example in examples] == ["q"] * 3


def test_a_file_that_matches_two_benchmarks_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(BENCHMARKS, "twin", BENCHMARKS["vl-rewardbench"])
    with pytest.raises(CurateError, match="matches vl-rewardbench and twin"):
        read(write(tmp_path / "x.jsonl", VL))


@pytest.mark.parametrize(
    ("rename", "message"),
    [
        ({"question": "prompt"}, "there is no such column"),
        ({"category": "prompt"}, "two columns would be 'prompt'"),
        ({"category": "x", "video": "x"}, "two columns would be 'x'"),
    ],
)
def test_an_ambiguous_renaming_is_refused(tmp_path: Path, rename: dict[str, str], message: str) -> None:
    with pytest.raises(CurateError, match=message):
        read(write(tmp_path / "x.jsonl", VRB), rename=rename)


def test_shared_ids_get_the_row_number(tmp_path: Path) -> None:
    _, examples = read(write(tmp_path / "vl.jsonl", [VL[0], VL[1], VL[0]]))
    assert [example.item_id for example in examples] == ["vlfeedback_1#1", "RLHF-V-2", "vlfeedback_1#3"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("none.jsonl", None, "no such file"),
        ("x.csv", b"a,b\n", "file type '.csv'"),
        ("x.jsonl", b"\n", "contains no rows"),
        ("x.json", b'{"data": []}', "contains a JSON dict; expected a list of objects"),
        ("x.json", b"\xff\xfe", "not JSON"),
        ("x.parquet", b"PAR1", "not Parquet"),
    ],
)
def test_an_unreadable_file_is_named(tmp_path: Path, name: str, content: bytes | None, message: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(CurateError) as caught:
        read(tmp_path / name)
    assert str(tmp_path / name) in str(caught.value)
    assert message in str(caught.value)


def test_an_unknown_benchmark_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CurateError, match="no benchmark 'vlrb'; known are vl-rewardbench"):
        read(tmp_path / "x.jsonl", name="vlrb")
