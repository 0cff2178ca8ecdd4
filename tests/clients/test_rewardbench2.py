"""RewardBench reads the benchmark of a release: best of N for RewardBench 2, and pairs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from curate.reward.data import Example
from curate.reward.figures import clustered
from curate.reward.foreign import BENCHMARKS
from pipelines.client_export import export_for
from tests.clients.conftest import Client
from tests.releases import mixed, pairs


def items(release: Path) -> list[dict[str, Any]]:
    return pl.concat([pl.read_parquet(path) for path in sorted(release.glob("benchmark-*.parquet"))]).to_dicts()


def conversation(item: dict[str, Any], response: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": item["prompt"]}, {"role": "assistant", "content": response}]


def test_reward_models_and_judges_see_the_preferred_response_first(client: Client, tmp_path: Path) -> None:
    release = mixed("files")
    report = export_for(release, client="rewardbench2", out=tmp_path / "out")
    assert report.notes
    found = client("best_of", folder=str(tmp_path / "out"))
    expected = items(release)
    assert (found["completions"], found["correct"]) == ([4] * len(expected), [1] * len(expected))
    assert found["subsets"] == [item["difficulty"] for item in expected for _ in range(4)]
    for item, read, judged in zip(expected, found["items"], found["judged"], strict=True):
        best = item["responses"][item["best"]]
        others = [text for i, text in enumerate(item["responses"]) if i != item["best"]]
        assert read["id"] == judged["id"] == item["item_id"]
        assert read["text"] == [conversation(item, text) for text in (best, *others)]
        assert read["results"] == 1  # the first of four has the highest score
        assert judged["texts_chosen"] == [conversation(item, best)]
        assert judged["texts_rejected"] == [conversation(item, text) for text in others]


def test_pairs_have_their_texts_in_the_template(client: Client, tmp_path: Path) -> None:
    release = mixed("files")
    export_for(release, client="rewardbench2", out=tmp_path / "out")
    found = client("pairs", folder=str(tmp_path / "out" / "pairs"))
    for read, pair in zip(found, pairs(release, "test"), strict=True):
        for side in ("chosen", "rejected"):
            assert f"USER: {pair['prompt']} ASSISTANT: {pair[side]}" in read[f"text_{side}"]


def test_scores_of_subsets_equal_those_of_the_package(client: Client) -> None:
    """Random scores; outside Ties they often tie. Equal scores of correct answers: see reward_bench_2.py."""
    rng, rows = np.random.default_rng(0), []
    for subset in ("Factuality", "Focus", "Math", "Precise IF", "Safety"):
        rows += [(f"{subset}{i}", subset, 1, rng.integers(0, 4, 4).astype(float)) for i in range(20)]
    for number in range(20):
        for kind, correct in (("ref", 1), ("tied", int(rng.integers(2, 9)))):
            gain = np.where(np.arange(correct + 10) < correct, 3.0, 0.0)
            rows.append((f"{kind}:{number}", "Ties", correct, rng.normal(size=len(gain)) + gain))
    rows.append(("ref:99", "Ties", 1, np.array([2.0, 1.0])))
    names = ("id", "subset", "num_correct", "scores")
    official = client("subsets", items=[dict(zip(names, (*row[:3], row[3].tolist()), strict=True)) for row in rows])
    examples = [
        Example(name, name, ("",) * len(scores), (1,) * n + (n + 1,) * (len(scores) - n), source=subset)
        for name, subset, n, scores in rows
    ]
    figures = BENCHMARKS["reward-bench-2"].metric(examples, [scores for *_, scores in rows])
    ours = {name: clustered(figure, range(len(rows))).value for name, figure in figures.items()}
    assert ours == pytest.approx({"overall": np.mean(list(official.values())), **official})
