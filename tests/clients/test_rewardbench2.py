"""RewardBench reads the benchmark of a release: best of N for RewardBench 2, and pairs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl

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
