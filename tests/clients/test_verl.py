"""verl's dataset holds every prompt of a release with its medium, and its reward function gets the responses."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from curate.release.clients.base import Source
from curate.release.clients.verl import TAGS
from curate.reward.serving.protocols import Rules, ServeConfig, parse_compute_score
from pipelines.client_export import export_for
from tests.clients.conftest import Client, rendered, serving, without_media_tokens
from tests.releases import mixed


@pytest.mark.parametrize(("split", "config"), [("train", "train_full"), ("test", "benchmark_full")])
def test_every_prompt_arrives_with_its_medium_and_its_ranked_responses(
    split: str, config: str, client: Client, backbone: Path, tmp_path: Path
) -> None:
    release, out = mixed("files", tags=True), tmp_path / "out"
    export_for(release, client="verl", out=out)
    found = client("prompts", path=str(out / f"{split}.parquet"), model=str(backbone))
    expected = [
        row
        for row in Source.open(release).table(config).iter_rows(named=True)
        if not (row["medium"] and any(tag in row["prompt"] for tag in TAGS))
    ]
    assert {row["kind"] for row in expected} == {"video", "image", None}
    for row, wanted in zip(found["rows"], expected, strict=True):
        assert without_media_tokens(row["text"]) == rendered(("user", wanted["prompt"]))
        assert re.findall("image_pad|video_pad", row["text"]) == ([f"{wanted['kind']}_pad"] if wanted["kind"] else [])
        digests = [hashlib.sha256(Path(path).read_bytes()).hexdigest() for path in row["video"]]
        assert digests == ([wanted["media_sha256"]] if wanted["kind"] == "video" else [])
        assert len(row["videos"]) == len(digests)
        if wanted["kind"] == "image":
            [image] = row["images"]
            original = np.asarray(Image.open(release / wanted["medium"]).resize((len(image[0]), len(image)), 3))
            assert np.abs(np.asarray(image) - original.astype(int)).mean() < 1
        else:
            assert row["images"] == []
    seen = found["seen"]
    assert seen["data_sources"] == ["mixed"] * len(expected)
    for i, wanted in enumerate(expected):
        best = wanted["responses"][wanted["ranks"].index(1)]
        info = seen["extra_infos"][i]
        assert (seen["solution_strs"][i], seen["ground_truths"][i]) == (best, best)
        assert info["prompt_id"] == wanted["prompt_id"]
        assert info["prompt"] == [{"role": "user", "content": wanted["prompt"]}]
        assert (info["split"], info["index"]) == (split, i)
        assert (info["responses"], info["ranks"]) == (wanted["responses"], wanted["ranks"])
        assert found["rewards"][i] == len(best)
    body = json.dumps({name: seen[name] for name in ("solution_strs", "extra_infos")}).encode()
    requests = parse_compute_score(body, Rules(ServeConfig(media=out))).requests
    for request, wanted in zip(requests, expected, strict=True):
        place = out / wanted["medium"] if wanted["medium"] else None
        assert request.prompt == wanted["prompt"]
        assert request.video == (place if wanted["kind"] == "video" else None)
        assert request.images == ((place,) if wanted["kind"] == "image" else ())


RESPONSES = ["The red circle moves left.", "blue", "blue"]


def test_both_reward_managers_get_the_scores_of_complete_groups(client: Client, backbone: Path, tmp_path: Path) -> None:
    """From the rows of an export, in a layout that compares responses, with the last response sent first."""
    out = tmp_path / "out"
    export_for(mixed("files", tags=True), client="verl", out=out)
    path = out / "train.parquet"
    with serving(backbone, "set", media=out) as (url, scorer):
        found = client("rewards", path=str(path), model=str(backbone), url=url, responses=RESPONSES)
        expected, distinct = [], sorted(set(RESPONSES))
        for info in pl.read_parquet(path)["extra_info"]:
            media = {"video": out / info["video"]} if info["video"] else {"images": [out / i for i in info["images"]]}
            scores = scorer.score(info["prompt"][0]["content"], distinct, **media)
            expected += [scores[distinct.index(response)] for response in RESPONSES]
    assert found["single"] == pytest.approx(expected, abs=1e-5)
    assert found["batch"] == pytest.approx(expected, abs=1e-5)
