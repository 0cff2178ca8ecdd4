"""lmms-eval's evaluator asks a judge every question of a release, with its video or image, and scores the answers."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from pipelines.client_export import export_for
from tests.clients.conftest import Client
from tests.clients.judges import judge_question, judged_items, mixed_answers
from tests.releases import mixed


@pytest.mark.parametrize(("config", "suffix"), [("benchmark", ""), ("benchmark_pairwise", "_pairs")])
def test_a_judge_is_asked_every_question_and_scored(client: Client, tmp_path: Path, config: str, suffix: str) -> None:
    release = mixed("files")
    export_for(release, client="lmms-eval", out=tmp_path / "out")
    expected = judged_items(release, config)
    answers, hits = mixed_answers(expected)
    name = f"mixed{suffix}"
    found = client("evaluate", folder=str(tmp_path / "out"), task=name, answers=answers)
    assert sorted(seen["doc"] for seen in found["seen"]) == list(range(len(expected)))
    for seen in found["seen"]:
        item = expected[seen["doc"]]
        assert seen["text"] == judge_question(item)
        media = [item["media_sha256"]] if item["video"] else []
        if item["image"]:
            image = Image.open(release / item["image"]).convert("RGB")
            media = [[*image.size, *image.getpixel((0, 0))]]
        assert seen["media"] == media
    results = found["results"]
    assert results["accuracy,none"] == pytest.approx(sum(hits) / len(hits))
    assert results["without_letter,none"] == pytest.approx(sum("cannot" in text for text in answers) / len(answers))
    for level in {item["difficulty"] for item in expected}:
        own = [hit for hit, item in zip(hits, expected, strict=True) if item["difficulty"] == level]
        assert results[f"accuracy_{level},none"] == pytest.approx(sum(own) / len(own))
