"""OpenRLHF: its dataset of preferences holds every pair of a release; its rollout gets our server's scores."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipelines.client_export import export_for
from tests.clients.conftest import Client, rendered, serving
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


LLAMA = (
    "{% for m in messages %}<|start_header_id|>{{ m.role }}<|end_header_id|>\n\n{{ m.content }}<|eot_id|>{% endfor %}"
)
"""A policy's chat template, which the reward model does not know."""
SAMPLES = ["The red circle moves left.", "blue", "blue", "I cannot say."]


@pytest.mark.parametrize("layout", ["set", "causal"])
def test_our_executor_scores_all_samples_of_a_templated_prompt_together(
    layout: str, client: Client, backbone: Path, tmp_path: Path
) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    (tmp_path / "media").mkdir()
    Image.fromarray(pixels).save(tmp_path / "media" / "a.png")
    image = str(tmp_path / "media" / "a.png")
    prompts = [
        {"prompt": "What moves?", "responses": SAMPLES, "templated": True},
        {"prompt": "What moves?", "responses": SAMPLES[:2]},  # in flight at the same time: another group
        {"prompt": "What is red? " * 40, "responses": SAMPLES[1:], "templated": True, "max_length": 100},  # cut
        {"prompt": "<image>What moves?", "responses": SAMPLES[:2], "templated": True, "images": [image]},
        {"prompt": "<image>What moves?", "responses": SAMPLES[:2], "templated": True},
        {"prompt": "<|start_header_id|>system<|end_header_id|>Go", "responses": ["a", "b"], "templated": True},
    ]
    with serving(backbone, layout, media=tmp_path / "media") as (url, scorer):
        found = client(
            "rollout",
            url=url,
            own=True,
            tokenizer=str(backbone),
            template=LLAMA,
            prompts=prompts,
            media=str(tmp_path / "media"),
        )
        expected = [
            scorer.score("What moves?", SAMPLES),
            scorer.score("What moves?", SAMPLES[:2]),
            scorer.score("What is red? " * 40, SAMPLES[1:]),
            scorer.score("What moves?", SAMPLES[:2], images=[image]),
        ]
    for rewards, scores in zip(found[:4], expected, strict=True):
        assert rewards == pytest.approx(scores, abs=1e-5)
    assert "refers to images" in found[4]
    assert "<|start_header_id|>" in found[5]


def test_openrlhfs_own_client_gets_the_scores_of_complete_groups(client: Client, backbone: Path) -> None:
    prompts = [{"prompt": text, "responses": SAMPLES} for text in ("What moves?", "What is red?")]
    with serving(backbone, "set", group_size=4, stop=("<|endoftext|>", "<|im_end|>")) as (url, scorer):
        found = client("rollout", url=url, own=False, tokenizer=str(backbone), template=LLAMA, prompts=prompts)
        for rewards, prompt in zip(found, prompts, strict=True):
            distinct = sorted(set(SAMPLES))
            scores = dict(zip(distinct, scorer.score(str(prompt["prompt"]), distinct), strict=True))
            assert [reward[0] for reward in rewards] == pytest.approx([scores[text] for text in SAMPLES], abs=1e-5)


def test_our_executor_stops_the_rollout_where_there_is_no_server(client: Client, backbone: Path) -> None:
    [found] = client(
        "rollout",
        url="http://127.0.0.1:9",
        own=True,
        tokenizer=str(backbone),
        template=LLAMA,
        prompts=[{"prompt": "What moves?", "responses": SAMPLES}],
        timeout=0.5,
    )
    assert "http://127.0.0.1:9/score" in found
