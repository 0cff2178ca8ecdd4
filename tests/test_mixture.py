"""``curate mix``: ten datasets in the shape of their cards, planted repeats, counts, and what reads the result."""

from __future__ import annotations

import json
import random
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cli.main import run
from curate.engine import LocalEngine
from curate.leakage.questions import Questions
from curate.media.frame_folders import frame_files, probe_frames, read_frames
from curate.media.frames import MediaError
from curate.media.workers import read_videos
from curate.mixture.converters import CONVERTERS, NoPreferenceError, rows_of
from curate.mixture.items import in_neutral_order, merged, order_of, ranked, with_distinct_answers
from curate.mixture.writing import STAGES
from curate.reward.data import Example, read_examples, reason_to_skip
from curate.reward.foreign.benchmark import Media
from curate.shards.atomic import finished
from curate.shards.rows import BadRowError, Row
from pipelines.mixing import load_mixture, mix
from schemas.errors import CurateError, UsageError
from schemas.items import JSONL_KEYS
from schemas.mixture import MixtureReport, MixtureSource, SourceCounts
from tests.mixtures import KINDS, benchmarks, chat, datasets, picture, recipe, save, write

FILE = "train-00000-of-00001.parquet"
REMOVED = {
    ("mm-rlhf/dpo_pairs.jsonl:4", "contaminated", "prompts", "row 2", "question"),
    ("mm-rlhf/dpo_pairs.jsonl:5", "contaminated", "mm", "7", "near video"),
    (f"vlfeedback/data/{FILE}:1", "contaminated", "vl", "vl-1", "near video"),
    (f"skywork/data/{FILE}:2", "contaminated", "prompts", "row 1", "question"),
    ("rlaif-v/RLAIF-V-Dataset_000.parquet:3", "duplicates", "llava-critic", f"llava-critic/pairwise/{FILE}:1", "video"),
    (f"skywork/data/{FILE}:1", "duplicates", "tulu", f"tulu/data/{FILE}:1", "question"),
}
"""The planted repeats: re-encoded frames, a re-encoded image, a paraphrase; an image with its question, a question."""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mixture")
    datasets(folder)
    return folder


@pytest.fixture(scope="module")
def made(root: Path) -> MixtureReport:
    """The mixture of all ten datasets, kept apart from three benchmarks."""
    return mix(load_mixture(recipe(root, more=benchmarks(root))), root / "out")


@pytest.fixture(scope="module")
def items(made: MixtureReport) -> dict[str, list[dict[str, Any]]]:
    """Source -> its items, with responses from best to worst."""
    found: dict[str, list[dict[str, Any]]] = {kind: [] for kind in KINDS}
    for row in pl.read_parquet(f"{made.out}/train-*.parquet").sort("item_id").to_dicts():
        best_first = sorted(zip(row["ranks"], row["responses"], strict=True))
        found[row["source"]].append({**row, "best_first": best_first})
    return found


def unexplained(one: SourceCounts) -> int:
    """Rows that the counts of the stages do not explain."""
    stages = [getattr(one, stage) for stage in STAGES if stage != "copies"]
    gone = sum(sum(stage.values()) if isinstance(stage, dict) else stage for stage in stages)
    return int(one.read + one.copies - gone - one.written)


def test_every_row_is_counted_once(made: MixtureReport) -> None:
    counts = {one.source: one for one in made.sources}
    assert not any(map(unexplained, made.sources))
    assert {kind: one.read for kind, one in counts.items()} == dict(
        zip(KINDS, (5, 4, 3, 2, 2, 3, 2, 4, 2, 2), strict=True)
    )
    assert {kind: one.written for kind, one in counts.items()} == dict(
        zip(KINDS, (1, 2, 2, 0, 1, 1, 2, 1, 2, 1), strict=True)
    )
    assert counts["mm-rlhf"].merged == 2
    assert counts["rlaif-v"].kept_apart == 2
    assert counts["nectar"].repeated_answers == 2
    assert counts["povid"].invalid == {"image or video: missing": 1}
    assert "gone.jpg" in counts["povid"].examples["image or video: missing"]
    assert counts["pku-saferlhf"].filtered == {"helpfulness and harmlessness prefer different responses": 1}
    assert counts["skywork"].filtered == {"fewer than two different responses": 1}
    assert sum(counts["llava-critic"].filtered.values()) == sum(counts["wildvision"].filtered.values()) == 2


def test_planted_contamination_and_duplicates_are_found_named_and_counted(made: MixtureReport) -> None:
    lines = [json.loads(line) for line in (Path(made.out) / "removed.jsonl").read_text().splitlines()]
    assert {tuple(line[key] for key in ("item", "why", "of", "other", "rule")) for line in lines} == REMOVED
    assert made.contaminated == {"vl": 1, "mm": 1, "prompts": 2}
    assert made.benchmarks == {"vl": 2, "mm": 1, "prompts": 2}
    duplicates = {one.source: one.duplicates for one in made.sources if one.duplicates}
    assert duplicates == {"rlaif-v": {"llava-critic": 1}, "skywork": {"tulu": 1}}
    assert "Prove that" not in (Path(made.out) / "removed.jsonl").read_text()  # benchmarks stay out of training data


def test_labels_of_every_dataset_become_ranks(items: dict[str, list[dict[str, Any]]]) -> None:
    def orders(kind: str) -> list[list[tuple[int, str]]]:
        return [item["best_first"] for item in items[kind]]

    assert orders("mm-rlhf") == [[(1, "good"), (2, "fair"), (3, "poor")]]
    assert orders("llava-critic") == [[(1, "dog"), (2, "cat")], [(1, "2 [or 3]"), (2, "5")]]
    assert sorted(orders("rlaif-v")) == [[(1, "A cook."), (2, "A king.")], [(1, "A king."), (2, "A cook.")]]
    assert orders("povid") == [[(1, "A horse."), (2, "Eleven horses.")]]
    assert orders("wildvision") == [[(1, "No."), (2, "Yes.")]]
    assert orders("tulu") == [[(1, "Leaves, rain."), (2, "No.")], [(1, "Regen"), (2, "lluvia")]]
    assert orders("nectar") == [[(i, f"r{i}") for i in range(1, 6)], [(1, "many"), (2, "few")]]
    assert orders("pku-saferlhf") == [[(1, "Ask a locksmith."), (2, "Like this.")]]
    assert items["nectar"][1]["prompt"] == "User: Hi\n\nAssistant: Hello!\n\nUser: Tell me about the moons of Jupiter."
    assert items["povid"][0]["prompt"] == "Describe this image in detail."  # no <image>; its image is not vl-2's


def test_vlfeedback_ranks_by_the_mean_rating_or_one_aspect_in_both_layouts(root: Path, tmp_path: Path) -> None:
    converter, (row, _) = CONVERTERS["vlfeedback"], pl.read_parquet(root / "vlfeedback/data/*.parquet").to_dicts()
    by_name = dict(zip("ABC", (4, 5, 7 / 3), strict=True))
    lists = {name: [one[name] for one in row["completions"]] for name in ("annotations", "model", "response")}
    for cells in (row, {**row, "completions": lists}):
        item = converter.parse(Row(1, cells), Media(tmp_path, tmp_path), "mean")
        assert (item.responses, item.ranks) == (("A", "B", "C"), ranked([-by_name[name] for name in "ABC"]))
    assert converter.parse(Row(1, row), Media(tmp_path, tmp_path), "Ethical Considerations").ranks == (1, 1, 1, 1)


def test_the_paper_s_trainer_and_ours_read_the_folder(made: MixtureReport) -> None:
    folder = Path(made.out)
    examples = read_examples(folder)
    assert len(examples) == made.items == 13
    assert not any(reason_to_skip(example, soft=False) for example in examples)
    assert all(path.is_file() for example in examples for path in example.images)
    assert {example.source for example in examples} == set(KINDS) - {"vlfeedback"}
    lines = [json.loads(line) for line in (folder / "train.jsonl").read_text().splitlines()]
    assert all(tuple(line) == JSONL_KEYS for line in lines)
    assert [tuple(line["rankings"]) for line in lines] == [example.ranks for example in examples]
    assert all((folder / (line["image"] or line["video"] or ".")).exists() for line in lines)
    manifest = finished(folder)  # compares every digest
    assert manifest is not None
    assert manifest.version == made.version
    assert str(folder.parent) not in manifest.model_dump_json()
    assert len([*folder.glob("media/*")]) == made.media == 6  # no picture of an item that was left out


def test_the_card_states_counts_reasons_and_licences(made: MixtureReport) -> None:
    text = (Path(made.out) / "README.md").read_text()
    assert "| rlaif-v | openbmb/RLAIF-V-Dataset | cc-by-nc-4.0 |" in text
    assert "| mm-rlhf | yifanzhang114/MM-RLHF | not verified |" in text
    assert "| mm-rlhf | 5 | 0 | 0 | 2 | 2 | 0 | 0 | 0 | 1 |" in text
    assert "| vl | 2 | 1 |" in text


@pytest.mark.slow
def test_the_folder_trains_with_images_and_folders_of_frames(root: Path, backbone: Path) -> None:
    from pipelines.training import train
    from tests.reward_models import tiny

    mix(load_mixture(recipe(root, sources=("mm-rlhf", "povid"))), root / "small")
    shards = {"shards": (root / "small",), "validation": (root / "small",)}
    report = train(tiny(backbone=str(backbone), **{**shards, "frames": 2}), root / "model")
    assert report is not None
    assert (report.examples, report.held_out, report.skipped) == (4, 4, ())


# Sources: shapes, filters, draws.


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_of_another_kind_is_refused_by_name(root: Path, tmp_path: Path, kind: str) -> None:
    file = next(path for path in sorted((root / kind).rglob("*.*")) if path.suffix in (".json", ".jsonl", ".parquet"))
    other = KINDS[KINDS.index(kind) - 3]
    source = MixtureSource(kind=other, path=file)
    with pytest.raises(CurateError, match=rf"not {other} \({CONVERTERS[other].dataset}\).*column") as caught:
        rows_of(file, source, CONVERTERS[other])
    assert f"'{kind}'" in caught.value.hint
    assert len([*rows_of(file, MixtureSource(kind=kind, path=file), CONVERTERS[kind])]) >= 2
    with pytest.raises(CurateError, match="where names 'nothing'"):
        rows_of(file, MixtureSource(kind=kind, path=file, where={"nothing": 1}), CONVERTERS[kind])


PAIR = {"prompt": "?", "chosen": "a", "rejected": "b"}


@pytest.mark.parametrize(
    ("kind", "cells", "reason"),
    [
        ("mm-rlhf", {**PAIR, "rejected": " "}, "rejected: not a text"),
        ("mm-rlhf", {**PAIR, "image": "/etc/x.png"}, "image: not a path relative"),
        ("mm-rlhf", {**PAIR, "image": ["a.png", "b.png"]}, "image: not one image"),
        ("rlaif-v", {**PAIR, "question": "?", "image": {"bytes": b"no"}}, "image: not the bytes"),
        ("wildvision", {"winner": "left"}, "winner: not one of model_a"),
        ("tulu", {"chosen": [{"role": "user", "content": "?"}]}, "chosen: not a list of messages"),
        ("skywork", {"chosen": chat("?", "a", "b"), "rejected": chat("?", "a")}, "chosen: not a list of messages"),
        ("nectar", {"prompt": "Hi", "answers": [{"answer": "a", "rank": 1}] * 2}, "prompt: not turns"),
        ("nectar", {"prompt": "?", "answers": [{"answer": "a", "rank": 0}] * 2}, "answers: not a list of answers"),
        ("pku-saferlhf", {"better_response_id": 2}, "better_response_id: not 0 or 1"),
        ("vlfeedback", {"completions": [{"response": "a", "annotations": {}}]}, "completions: not a response and"),
        ("items", {"prompt": "?", "responses": ["a", "b"], "ranks": [0, 1]}, "responses: not texts with ranks"),
    ],
)  # fmt: skip
def test_invalid_cells_have_a_reason(tmp_path: Path, kind: str, cells: dict[str, Any], reason: str) -> None:
    converter = CONVERTERS[kind]
    with pytest.raises(BadRowError) as caught:
        converter.parse(Row(1, cells), Media(tmp_path, tmp_path), (converter.labels or ("",))[0])
    assert caught.value.reason.startswith(reason)


def test_a_label_chooses_the_judgment(tmp_path: Path) -> None:
    cells = {"prompt": "?", "response_0": "a", "response_1": "b", "better_response_id": 0, "safer_response_id": 1}
    parse = CONVERTERS["pku-saferlhf"].parse
    ranks = {
        label: parse(Row(1, cells), Media(tmp_path), label).ranks for label in CONVERTERS["pku-saferlhf"].labels[1:]
    }
    assert ranks == {"better_response_id": (1, 2), "safer_response_id": (2, 1)}
    with pytest.raises(NoPreferenceError):
        parse(Row(1, cells), Media(tmp_path), "both")


@pytest.fixture
def numbers(tmp_path: Path) -> Path:
    """A folder with 40 items of text, half of them of subset b, and one of three responses."""
    rows: list[dict[str, Any]] = [
        {"prompt": f"Question {word}", "responses": ["x", "y"], "rankings": [1, 2], "subset": "ab"[i % 2]}
        for i, word in enumerate(random.Random(0).sample(range(10**6, 10**7), 40))
    ]
    rows[0] |= {"responses": ["x", "y", "z"], "rankings": [1, 2, 3]}
    write(tmp_path / "items/train.jsonl", rows)
    return tmp_path


@pytest.mark.parametrize(
    ("lines", "written", "filtered"),
    [
        ("", 40, 0),
        ('where = {subset = "b"}', 20, 20),
        ('where = {subset = ["a", "b"]}', 40, 0),
        ("min_responses = 3", 1, 39),
        ("max_responses = 2", 39, 1),
        ("cap = 7", 7, 0),
        ("cap = 7\nweight = 2", 14, 0),
    ],
)
def test_filters_caps_and_weights(numbers: Path, lines: str, written: int, filtered: int) -> None:
    (counts,) = mix(load_mixture(recipe(numbers, sources=("items",), items=lines)), numbers / "out").sources
    assert (counts.written, sum(counts.filtered.values()), unexplained(counts)) == (written, filtered, 0)


def test_equal_files_and_recipe_give_equal_bytes(numbers: Path) -> None:
    config = load_mixture(recipe(numbers, sources=("items",), items="cap = 20"))
    one, other = (mix(config, numbers / name) for name in ("one", "other"))
    assert one.version == other.version
    assert (numbers / "one/manifest.json").read_bytes() == (numbers / "other/manifest.json").read_bytes()


def test_draws_are_nested_and_depend_on_the_seed(numbers: Path) -> None:
    def prompts(lines: str, more: str = "") -> set[str]:
        config = load_mixture(recipe(numbers, sources=("items",), items=lines))
        out = numbers / f"{len(list(numbers.iterdir()))}"
        mix(config.model_copy(update={"seed": int(more or 0)}), out)
        return {example.prompt for example in read_examples(out)}

    seven, twenty, half = prompts("cap = 7"), prompts("cap = 20"), prompts("weight = 0.5")
    assert seven < twenty
    assert prompts("cap = 20", "1") != twenty
    assert 8 <= len(half) <= 32
    assert prompts("weight = 0.5") == half


# Refusals: nothing is left behind.


def test_refusals_name_the_cause_and_leave_nothing(root: Path, numbers: Path) -> None:
    bench = '[[benchmarks]]\npath = "vl.jsonl"\n'
    row = {"id": "1", "query": "q", "response": ["a", "b"], "human_ranking": [0, 1], "query_source": "WildVision"}
    write(numbers / "vl.jsonl", [{**row, "image": "missing.png"}])
    write(numbers / "bad/x.jsonl", [{"prompt": "?", "responses": ["a"], "ranks": [2, 1]}])
    (numbers / "full").mkdir()
    (numbers / "full/file").write_text("")
    cases: list[tuple[dict[str, Any], str, str, str]] = [
        ({"items": 'label = "x"'}, "", "no label 'x'", "labels of items: none"),
        ({"items": 'files = ["*.csv"]'}, "", "no file matches", "patterns"),
        ({"items": 'files = ["../bad/*.jsonl"]'}, "", "none of its rows is valid.*bad/x.jsonl:1", "docs/data.md"),
        ({}, bench, "1 of 1 images and videos cannot be read.*missing.png", "text_only"),
        ({}, bench + 'kind = "vqa"\n', "no kind 'vqa'", "vl-rewardbench"),
        ({}, '[[benchmarks]]\npath = "items/train.jsonl"\n', "no known benchmark|not ", "kind = 'prompts'"),
        ({}, f"{bench}text_only = true\n{bench}text_only = true\n", "two of the benchmarks are called 'vl'", ""),
    ]
    for options, more, message, hint in cases:
        path = recipe(numbers, sources=("items",), more=more, **options)
        with pytest.raises(CurateError, match=message) as caught:
            mix(load_mixture(path), numbers / "out")
        assert hint in caught.value.hint
    path = recipe(numbers, sources=("items",), more=f"{bench}text_only = true\n")
    with pytest.raises(CurateError, match="not an empty folder"):
        mix(load_mixture(path), numbers / "full")
    with pytest.raises(UsageError, match="no kind 'mmrlhf'"):
        mix(load_mixture(recipe(numbers, sources=("mmrlhf",))), numbers / "out")
    assert not [found for found in numbers.iterdir() if found.name == "out" or found.name.startswith(".")]


def test_the_command_prints_the_counts_and_the_example(
    root: Path, numbers: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = recipe(numbers, sources=("items",), items="cap = 5")
    assert run(["mix", str(path), "--out", str(numbers / "out"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["items"] == 5
    assert run(["mix", str(path), "--out", str(numbers / "other")]) == 0
    assert capsys.readouterr().out.splitlines()[-1].split() == "items 40 0 0 0 0 0 35 0 5".split()  # noqa: SIM905
    assert run(["mix", "--example"]) == 0
    example = numbers / "paper.toml"
    example.write_text(capsys.readouterr().out)
    assert tuple(source.kind for source in load_mixture(example).sources) == KINDS
    assert len(load_mixture(example).benchmarks) == 6
    assert run(["mix"]) == 2


# Merging.


@given(st.lists(st.integers(1, 4), min_size=2, max_size=6), st.randoms(use_true_random=False))
def test_pairs_of_a_weak_order_give_its_ranks(levels: list[int], rng: random.Random) -> None:
    pairs = [(i, j, False) for i, j in permutations(range(len(levels)), 2) if levels[i] < levels[j]]
    rng.shuffle(pairs)
    assert order_of(len(levels), pairs) == ranked(levels)
    if pairs:
        assert order_of(len(levels), [*pairs, (pairs[0][1], pairs[0][0], False)]) is None


def test_pairs_merge_only_where_they_give_one_order() -> None:
    def pair(better: str, worse: str, *, tie: bool = False) -> Example:
        return Example("", "?", (better, worse), (1, 1 if tie else 2))

    (one,) = merged([pair("a", "b"), pair("b", "c"), pair("a", "b")])
    assert (one.responses, one.ranks) == (("a", "b", "c"), (1, 2, 3))
    (one,) = merged([pair("a", "b"), pair("b", "c", tie=True)])
    assert one.ranks == (1, 2, 2)
    for open_or_cyclic in ([pair("a", "b"), pair("c", "d")], [pair("a", "b"), pair("b", "a")]):
        assert merged([*open_or_cyclic, open_or_cyclic[0]]) == open_or_cyclic
    assert len(merged([pair("a", "b"), pair("a", "b", tie=True)])) == 2


def test_responses_stand_in_an_order_that_ignores_their_ranks() -> None:
    item, turned = (in_neutral_order(Example("", "?", tuple(texts), (1, 2, 3))) for texts in ("abc", "cba"))
    assert item.responses == turned.responses
    assert set(zip(item.responses, item.ranks, strict=True)) == {("a", 1), ("b", 2), ("c", 3)}
    assert with_distinct_answers(Example("", "?", ("a", "b", "a"), (1, 2, 3))).ranks == (1, 1)


# What mixtures needed below.


@settings(max_examples=40)
@given(st.lists(st.text("abcdefgh ", max_size=16), min_size=1, max_size=12), st.sampled_from((0.3, 0.7, 1.0)))
def test_similar_questions_are_those_of_all_pairs(texts: list[str], threshold: float) -> None:
    questions, every = Questions(texts), np.arange(len(texts))
    left, right = (grid.ravel() for grid in np.meshgrid(every, every, indexing="ij"))
    near = questions.similarity(left, right) >= threshold
    expected = sorted(zip(left[near].tolist(), right[near].tolist(), strict=True))
    assert sorted(questions.similar(every, every, threshold)) == expected


def test_a_folder_of_frames_is_a_video(root: Path, tmp_path: Path) -> None:
    folder = root / "mm-rlhf/video/v1"
    assert [path.stem for path in frame_files(folder)] == [f"frame_{i}" for i in range(12)]
    frames = read_frames(folder, 4)
    assert (frames.images.shape, frames.duration, frames.times.tolist()) == (
        (4, 96, 96, 3),
        48.0,
        [4.0, 16.0, 28.0, 40.0],
    )
    with LocalEngine(workers=1) as engine:
        (read,) = read_videos(engine, [folder], 4)
    assert not isinstance(read, MediaError)
    assert (read.images == frames.images).all()
    assert probe_frames(folder).frames == 12
    save(tmp_path / "1.png", picture(0))
    alone = probe_frames(tmp_path).sha256
    save(tmp_path / "1.png", picture(1))
    assert probe_frames(tmp_path).sha256 != alone
    (tmp_path / "1.png").unlink()
    with pytest.raises(MediaError, match="without frames"):
        read_frames(tmp_path, 4)
