"""OpenRLHF's dataset of preferences holds the tokens of every pair of a release."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.client_export import export_for
from tests.clients.conftest import Client, rendered
from tests.releases import mixed, pairs


@pytest.mark.parametrize("split", ["train", "test"])
def test_trainers_see_every_pair_with_its_prompt(split: str, client: Client, backbone: Path, tmp_path: Path) -> None:
    from curate.reward.scratch import CHAT

    release = mixed("files", tags=True)
    report = export_for(release, client="openrlhf", out=tmp_path / "out")
    path = str(tmp_path / "out" / f"{split}.jsonl")
    found = client("preferences", path=path, tokenizer=str(backbone), template=CHAT)
    expected = [
        [rendered(("user", pair["prompt"]), ("assistant", pair[side])).rstrip("\n") for side in ("chosen", "rejected")]
        for pair in pairs(release, split)
    ]
    assert found == {"rm": expected, "dpo": expected}
    assert len(expected) == report.rows[f"{split}.jsonl"]
    assert report.media == 0
