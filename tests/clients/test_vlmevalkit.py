"""VLMEvalKit's program asks a model every question of a release, with its video or image, and scores the answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av
import pytest
from PIL import Image

from pipelines.client_export import export_for
from tests.clients.conftest import Client
from tests.clients.judges import judge_question, judged_items, mixed_answers
from tests.releases import mixed

FRAMES = 8


def media(item: dict[str, Any], release: Path, *, videos: bool) -> list[Any]:
    if item["image"]:
        image = Image.open(release / item["image"])
        return [["image", [*image.size, *image.convert("RGB").getpixel((0, 0))]]]
    if item["video"] and videos:
        return [["video", item["media_sha256"]]]
    if item["video"]:
        with av.open(release / item["video"]) as container:
            frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
        shown = [frames[int((i + 0.5) * len(frames) / FRAMES)] for i in range(FRAMES)]
        return [["image", [frame.shape[1], frame.shape[0], *frame[0, 0].tolist()]] for frame in shown]
    return []


@pytest.mark.parametrize(("config", "videos"), [("benchmark", False), ("benchmark_pairwise", True)])
def test_a_judge_is_asked_every_question_and_scored(client: Client, tmp_path: Path, config: str, videos: bool) -> None:
    release = mixed("files")
    export_for(release, client="vlmevalkit", out=tmp_path / "out")
    expected = judged_items(release, config)
    answers, hits = mixed_answers(expected)
    name = "mixed" + ("" if config == "benchmark" else "_pairs")
    found = client("evaluate", folder=str(tmp_path / "out"), data=f"{name}_8frame", answers=answers, videos=videos)
    for item, seen in zip(expected, found["seen"], strict=True):
        *shown, text = seen["parts"]
        assert text == ["text", judge_question(item)]
        for part, wanted in zip(shown, media(item, release, videos=videos), strict=True):
            assert part == wanted or _close(part, wanted)
    assert found["score"]["accuracy"] == pytest.approx(sum(hits) / len(hits))
    assert found["score"]["without_letter"] == sum("cannot" in answer for answer in answers)
    assert found["score"]["items"] == len(expected)
    for level in {item["difficulty"] for item in expected}:
        own = [hit for hit, item in zip(hits, expected, strict=True) if item["difficulty"] == level]
        assert found["score"][f"accuracy_{level}"] == pytest.approx(sum(own) / len(own))


def _close(part: list[Any], wanted: list[Any]) -> bool:
    """Return whether two frames have equal sizes and nearly equal pixels: decoders round differently."""
    return part[0] == wanted[0] and all(abs(a - b) <= 3 for a, b in zip(part[1], wanted[1], strict=True))
