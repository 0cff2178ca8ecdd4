"""LLaMA-Factory aligns, tokenizes and trains on the pairs of a release, with their videos and images."""

from __future__ import annotations

import hashlib
from pathlib import Path

from curate.release.clients.llama_factory import TAGS
from pipelines.client_export import export_for
from tests.clients.conftest import Client, rendered, without_media_tokens
from tests.releases import has_tag, mixed, pairs


def test_dpo_sees_every_pair_with_its_medium_and_trains(client: Client, backbone: Path, tmp_path: Path) -> None:
    release = mixed("files", tags=True)
    report = export_for(release, client="llama-factory", out=tmp_path / "out")
    found = client("dpo", folder=str(tmp_path / "out"), train="mixed_train", test="mixed_test", model=str(backbone))
    skipped = 0
    for split in ("train", "test"):
        expected = [pair for pair in pairs(release, split) if not has_tag(pair, TAGS)]
        skipped += len(pairs(release, split)) - len(expected)
        assert {pair["kind"] for pair in expected} == {"video", "image", None}
        rows = found["rows"][f"mixed_{split}"]
        for row, texts, pair in zip(rows["aligned"], rows["texts"], expected, strict=True):
            tag = f"<{pair['kind']}>" if pair["kind"] else ""
            assert row["_prompt"] == [{"role": "user", "content": tag + pair["prompt"]}]
            assert [message["content"] for message in row["_response"]] == [pair["chosen"], pair["rejected"]]
            for kind in ("video", "image"):
                paths = row[f"_{kind}s"] or []
                digests = [hashlib.sha256(Path(path).read_bytes()).hexdigest() for path in paths]
                assert digests == ([pair["media_sha256"]] if pair["kind"] == kind else [])
                for text in texts:  # the medium was opened: its patches are counted
                    assert (f"<|{kind}_pad|>" in text) == (pair["kind"] == kind)
            for text, side in zip(texts, ("chosen", "rejected"), strict=True):
                conversation = rendered(("user", pair["prompt"]), ("assistant", pair[side]))
                assert without_media_tokens(text) == conversation
    assert sum(report.skipped.values()) == skipped > 0
    first, second = found["losses"]
    assert round(first, 4) == 0.6931  # log 2: the model is its own reference
    assert second != first
