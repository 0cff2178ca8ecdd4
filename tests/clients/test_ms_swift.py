"""ms-swift loads, tokenizes and trains on the pairs of a release, with their videos and images."""

from __future__ import annotations

import hashlib
from pathlib import Path

from curate.release.clients.ms_swift import TAGS
from pipelines.client_export import export_for
from tests.clients.conftest import Client, rendered, without_media_tokens
from tests.releases import has_tag, mixed, pairs


def test_dpo_sees_every_pair_with_its_medium_and_trains(client: Client, backbone: Path, tmp_path: Path) -> None:
    release, out = mixed("files", tags=True), tmp_path / "out"
    report = export_for(release, client="ms-swift", out=out)
    found = client("dpo", folder=str(out), model=str(backbone))
    skipped = 0
    for split in ("train", "test"):
        expected = [pair for pair in pairs(release, split) if not has_tag(pair, TAGS)]
        skipped += len(pairs(release, split)) - len(expected)
        assert {pair["kind"] for pair in expected} == {"video", "image", None}
        rows = found["rows"][f"{split}.jsonl"]
        for row, texts, pair in zip(rows["loaded"], rows["texts"], expected, strict=True):
            tag = f"<{pair['kind']}>" if pair["kind"] else ""
            assert [message["content"] for message in row["messages"]] == [tag + pair["prompt"], pair["chosen"]]
            assert row["rejected_response"] == pair["rejected"]
            paths = {"video": row["videos"] or [], "image": [image["path"] for image in row["images"] or []]}
            for kind, found_paths in paths.items():
                digests = [hashlib.sha256((out / path).read_bytes()).hexdigest() for path in found_paths]
                assert digests == ([pair["media_sha256"]] if pair["kind"] == kind else [])
                for text in texts:  # the medium was opened: its patches are counted
                    assert (text.count(f"<|{kind}_pad|>") > 1) == (pair["kind"] == kind)
            for text, side in zip(texts, ("chosen", "rejected"), strict=True):
                conversation = rendered(("user", pair["prompt"]), ("assistant", pair[side]))
                assert without_media_tokens(text) == conversation
    assert sum(report.skipped.values()) == skipped > 0
    first, second = found["losses"]
    assert round(first, 4) == 0.6931  # log 2: the model is its own reference
    assert second != first
