"""Shards as examples: exports, the paper's JSONL, invalid rows, and the split into training and held-out examples."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.reward.data import Example, read_examples, read_manifest, reason_to_skip, split
from pipelines.exporting import export
from schemas.config import ExportConfig, SplitConfig
from schemas.errors import CurateError
from tests.stores import make_store, plenty

pytestmark = pytest.mark.slow

HALF = ExportConfig(split=SplitConfig(benchmark_fraction=0.5))
ROW = {"prompt": "What?", "responses": ["a", "b"], "rankings": [2, 1], "image": None, "video": None}


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the training and benchmark shards of one store."""
    folder = tmp_path_factory.mktemp("shards")
    store = make_store(folder / "curate.duckdb", plenty())
    export(store, "train", out=folder / "train", config=HALF)
    export(store, "benchmark", out=folder / "benchmark", config=HALF)
    return folder


def write(path: Path, *rows: object) -> Path:
    path.write_text("".join(f"{row if isinstance(row, str) else json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return path


# Reading.


@pytest.mark.parametrize(("folder", "config"), [("train", ""), ("benchmark", "4way"), ("benchmark", "pairwise")])
def test_examples_of_an_export_equal_its_rows(shards: Path, folder: str, config: str) -> None:
    files = sorted((shards / folder).glob(f"{config or 'train'}-*.parquet"))
    rows = pl.concat([pl.read_parquet(file) for file in files]).to_dicts()
    examples = read_examples(shards / folder, config=config, media=Path("/videos"))
    assert len(examples) == len(rows) > 50
    for example, row in zip(examples, rows, strict=True):
        assert (example.item_id, example.prompt) == (row["item_id"], row["prompt"])
        assert example.responses == tuple(row["responses"])
        assert example.ranks == tuple(row["ranks"])
        assert example.best == ((row["best"],) if row["best"] is not None else example.best)
        assert example.best_probabilities == tuple(row["best_probabilities"])
        assert sum(example.best_probabilities) == pytest.approx(1)
        assert example.confidence == row["confidence"]
        assert example.video == (Path("/videos") / row["video"] if row["video"] else None)
    assert any(example.video for example in examples)


def test_the_default_config_is_the_first_one(shards: Path) -> None:
    folder = shards / "benchmark"
    assert read_examples(folder) == read_examples(folder, config="4way") != read_examples(folder, config="pairwise")
    with pytest.raises(CurateError, match="has no config '5way'") as error:
        read_examples(folder, config="5way")
    assert "4way, pairwise" in error.value.hint


def test_jsonl_and_parquet_give_the_same_examples(shards: Path) -> None:
    (file,) = (shards / "train").glob("*.jsonl")
    ours, theirs = read_examples(shards / "train"), read_examples(file)
    assert [(e.prompt, e.responses, e.ranks, e.video) for e in theirs] == [
        (e.prompt, e.responses, e.ranks, e.video) for e in ours
    ]


def test_a_folder_without_a_manifest_is_read_file_by_file(tmp_path: Path) -> None:
    write(tmp_path / "b.jsonl", {**ROW, "prompt": "b"})
    write(tmp_path / "a.jsonl", {**ROW, "prompt": "a1"}, {**ROW, "prompt": "a2", "video": "v/1.mp4"})
    examples = read_examples(tmp_path)
    assert [(e.item_id, e.prompt) for e in examples] == [("a:1", "a1"), ("a:2", "a2"), ("b:1", "b")]
    assert [e.video for e in examples] == [None, tmp_path / "v/1.mp4", None]
    assert read_manifest(tmp_path) is None


def test_images_and_rows_without_ranks(tmp_path: Path) -> None:
    path = write(
        tmp_path / "x.jsonl",
        {"prompt": "?", "responses": ["a"], "image": "i.png"},
        {"prompt": "?", "responses": ["a"], "images": ["i.png", "j.png"], "item_id": "own", "source": "s"},
    )
    first, second = read_examples(path, media=Path("m"))
    assert (first.images, first.ranks, first.best_probabilities) == ((Path("m/i.png"),), (), ())
    assert (second.images, second.item_id, second.source) == ((Path("m/i.png"), Path("m/j.png")), "own", "s")


@given(text=st.text(st.characters(codec="utf-8"), min_size=1))
def test_line_separators_inside_json_strings_do_not_split_lines(
    tmp_path_factory: pytest.TempPathFactory, text: str
) -> None:
    """U+2028 and U+0085 end lines in Python but not in JSON."""
    path = tmp_path_factory.mktemp("any") / "x.jsonl"
    row = {**ROW, "prompt": f"{text}\u2028\x85"}
    path.write_text(json.dumps(row, ensure_ascii=False) + "\n" + json.dumps(ROW), encoding="utf-8", newline="")
    assert [example.prompt for example in read_examples(path)] == [row["prompt"], "What?"]


# Invalid data.


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"prompt": None}, "column 'prompt' is missing or empty"),
        ({"responses": []}, r"column 'responses' holds \[\]"),
        ({"responses": "ab"}, "column 'responses' holds 'ab'"),
        ({"responses": ["a", None]}, r"column 'responses' holds \['a', None\]"),
        ({"rankings": [1]}, r"column 'rankings' holds \[1\]"),
        ({"rankings": [0, 1]}, r"column 'rankings' holds \[0, 1\]"),
        ({"rankings": [1.0, 2.0]}, r"column 'rankings' holds \[1.0, 2.0\]"),
        ({"ranks": [True, False]}, r"column 'ranks' holds \[True, False\]"),
        ({"ranks": "12"}, "column 'ranks' holds '12'"),
        ({"best_probabilities": [1.0]}, r"column 'best_probabilities' holds \[1.0\]"),
        ({"best_probabilities": [0.5, 0.2]}, "column 'best_probabilities' holds"),
        ({"best_probabilities": [1.5, -0.5]}, "column 'best_probabilities' holds"),
        ({"best_probabilities": [0.5, float("nan")]}, "column 'best_probabilities' holds"),
        ({"best_probabilities": ["0.5", "0.5"]}, "column 'best_probabilities' holds"),
        ({"video": 7}, "column 'video' holds 7"),
        ({"image": 7}, "column 'image' holds 7"),
        ({"images": "i.png"}, "column 'images' holds 'i.png'"),
        ({"item_id": 7}, "column 'item_id' holds 7"),
        ({"confidence": "high"}, "column 'confidence' holds 'high'"),
    ],
)
def test_an_invalid_row_is_named_by_file_line_and_column(
    tmp_path: Path, changes: dict[str, object], message: str
) -> None:
    path = write(tmp_path / "x.jsonl", ROW, {**ROW, **changes}, ROW)
    with pytest.raises(CurateError, match=f"^{path}:2: {message}"):
        read_examples(path)


def test_an_invalid_row_of_parquet_is_named(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    pl.DataFrame({"prompt": ["?", "?"], "responses": [["a", "b"]] * 2, "ranks": [[1, 2], [1]]}).write_parquet(path)
    with pytest.raises(CurateError, match=rf"^{path}:2: column 'ranks' holds \[1\]"):
        read_examples(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", "x.jsonl:1: not JSON"),
        (b"[]\n", "x.jsonl:1: contains a JSON list"),
        (b'{"prompt": "\xff"}', "x.jsonl:1: not JSON"),
    ],
)
def test_a_line_that_is_not_an_object_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "x.jsonl").write_bytes(content)
    with pytest.raises(CurateError, match=message):
        read_examples(tmp_path / "x.jsonl")


def test_a_path_without_shards_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(CurateError, match="nowhere: no such file or folder"):
        read_examples(tmp_path / "nowhere")
    with pytest.raises(CurateError, match="contains no shards"):
        read_examples(tmp_path)
    (tmp_path / "x.parquet").write_bytes(b"PAR1")
    with pytest.raises(CurateError, match=r"x\.parquet: not Parquet"):
        read_examples(tmp_path)


# The split.


def some(count: int) -> list[Example]:
    """Three examples per video; without a video, three per prompt."""
    return [
        Example(
            f"e{i}",
            f"p{i // 3}" if i % 2 else "What?",
            ("a", "b"),
            (1, 2),
            Path(f"{i // 6}.mp4") if i % 2 == 0 else None,
        )
        for i in range(count)
    ]


def sides(examples: Sequence[Example], fraction: float, seed: int) -> dict[str, int]:
    training, held_out = split(examples, fraction, seed)
    return {**{e.item_id: 0 for e in training}, **{e.item_id: 1 for e in held_out}}


@given(fraction=st.floats(0, 0.99), seed=st.integers(0, 20))
def test_all_examples_of_a_video_or_prompt_are_on_one_side(fraction: float, seed: int) -> None:
    examples = some(60)
    side = sides(examples, fraction, seed)
    assert side.keys() == {example.item_id for example in examples}
    units = defaultdict(set)
    for example in examples:
        units[example.video or example.prompt].add(side[example.item_id])
    assert all(len(found) == 1 for found in units.values())


def test_the_side_depends_only_on_the_video_and_the_seed() -> None:
    examples = some(60)
    side = sides(examples, 0.3, 0)
    alone = {example.item_id: sides([example], 0.3, 0)[example.item_id] for example in reversed(examples)}
    assert alone == side
    changed = [replace(example, responses=("x", "y", "z"), ranks=(1, 1, 2)) for example in examples]
    assert sides(changed, 0.3, 0) == side
    assert sides(examples, 0.3, 1) != side


def test_the_side_does_not_depend_on_the_media_folder() -> None:
    examples = [Example(str(i), "What?", ("a", "b"), (1, 2), Path(f"{i}.mp4")) for i in range(60)]
    here = split(examples, 0.3, 0)
    moved = [replace(example, video=Path("/far/away") / f"{example.video}") for example in examples]
    there = split(moved, 0.3, 0, media=Path("/far/away"))
    assert [[e.item_id for e in side] for side in here] == [[e.item_id for e in side] for side in there]


def test_a_larger_fraction_holds_out_a_superset() -> None:
    examples = [Example(str(i), str(i), ("a", "b"), (1, 2)) for i in range(2000)]
    counts = [len(split(examples, fraction, 0)[1]) for fraction in (0.0, 0.1, 0.5)]
    assert counts[0] == 0
    assert counts[1:] == [pytest.approx(200, abs=45), pytest.approx(1000, abs=75)]
    tenth, half = ({e.item_id for e in split(examples, f, 0)[1]} for f in (0.1, 0.5))
    assert tenth < half


# Examples that cannot train.


@pytest.mark.parametrize(
    ("example", "soft", "reason"),
    [
        (Example("x", "?", ("a",), (1,)), False, "fewer than two responses"),
        (Example("x", "?", ("a", "b")), False, "no ranks"),
        (Example("x", "?", ("a", "b"), (1, 1)), False, "all its ranks are equal"),
        (Example("x", "?", ("a", "b"), (1, 2)), True, "no best_probabilities"),
    ],
)
def test_an_example_that_cannot_train_has_a_reason(example: Example, soft: bool, reason: str) -> None:
    assert reason in reason_to_skip(example, soft=soft)


def test_an_example_that_can_train_has_no_reason() -> None:
    assert reason_to_skip(Example("x", "?", ("a", "b", "c"), (1, 1, 2)), soft=False) == ""
    assert reason_to_skip(Example("x", "?", ("a", "b"), (1, 2), best_probabilities=(0.9, 0.1)), soft=True) == ""
