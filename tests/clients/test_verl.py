"""verl's dataset holds every prompt of a release with its medium, and its reward function gets the responses."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from curate.release.clients.base import Source
from curate.release.clients.verl import TAGS
from curate.reward.serving.protocols import ServeConfig, parse_compute_score
from pipelines.client_export import export_for
from tests.clients.conftest import Client, rendered, without_media_tokens
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
        assert (info["prompt_id"], info["prompt"]) == (wanted["prompt_id"], wanted["prompt"])
        assert (info["split"], info["index"]) == (split, i)
        assert (info["responses"], info["ranks"]) == (wanted["responses"], wanted["ranks"])
        assert found["rewards"][i] == len(best)
    body = json.dumps({name: seen[name] for name in ("solution_strs", "extra_infos")}).encode()
    requests = parse_compute_score(body, ServeConfig(media=out)).requests
    for request, wanted in zip(requests, expected, strict=True):
        place = out / wanted["medium"] if wanted["medium"] else None
        assert request.prompt == wanted["prompt"]
        assert request.video == (place if wanted["kind"] == "video" else None)
        assert request.images == ((place,) if wanted["kind"] == "image" else ())
