"""Molmo2: adapters of the official code load and are written, bit for bit; texts, images and videos train."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from families import build, examined
from reward_models import SMALL, example
from safetensors.torch import load_file, save_file
from transformers import AutoModelForImageTextToText

from curate.reward import checkpoint, molmo2
from curate.reward.doctor import sample
from curate.reward.model import ModelConfig, RewardModel, ValueHead
from curate.reward.quiet import quiet
from schemas.errors import CurateError

pytestmark = pytest.mark.slow
LAYERS = {"att_proj": (64, 128), "attn_out": (64, 64), "ff_proj": (64, 192), "ff_out": (96, 64)}
"""Layer of the released code -> its inputs and outputs, with 4 heads and 2 key heads of 16, and an MLP of 96."""


@pytest.fixture(autouse=True)
def _quiet():
    with quiet():
        yield


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    with quiet():
        return build("molmo2", tmp_path_factory.mktemp("backbone"))


def official(backbone: Path, folder: Path, rank: int = 4) -> Path:
    """A model as scripts/train.sh of the official code writes it: adapters of fused layers, head, config."""
    folder.mkdir()
    torch.manual_seed(1)
    state = {}
    for block in range(2):
        for name, (inputs, outputs) in LAYERS.items():
            part = "self_attn" if name.startswith("att") else "mlp"
            key = f"base_model.model.model.transformer.blocks.{block}.{part}.{name}"
            state[f"{key}.lora_A.weight"] = torch.randn(rank, inputs) / 8
            state[f"{key}.lora_B.weight"] = torch.randn(outputs, rank) / 8
    save_file(state, folder / checkpoint.ADAPTER)
    adapter = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": str(backbone),
        "r": rank,
        "lora_alpha": 16,
        "lora_dropout": 0.05,
        "target_modules": sorted(LAYERS),
        "bias": "none",
    }
    (folder / checkpoint.ADAPTER_CONFIG).write_text(json.dumps(adapter))
    torch.save(ValueHead(64, 32).state_dict(), folder / "value_head.pt")
    document = {"value_head_type": "mlp", "value_head_hidden_dim": 32, "value_head_activation": "silu"}
    (folder / checkpoint.CONFIG).write_text(json.dumps(document))
    return folder


def test_an_official_adapter_has_the_effect_that_it_has_on_the_fused_weights(backbone: Path, tmp_path: Path):
    """The oracle is the library's own fusion: it saves the weights of a model in the released layout."""
    folder = official(backbone, tmp_path / "official")
    merged = tmp_path / "merged"
    checkpoint.load(folder, device="cpu").backbone.merge_and_unload().save_pretrained(merged)
    before, after = (load_file(path / "model.safetensors") for path in (backbone, merged))
    adapter = load_file(folder / checkpoint.ADAPTER)
    changed = {key for key in after if key in before and not torch.equal(before[key][: len(after[key])], after[key])}
    assert len(changed - {"model.transformer.wte.embedding", "model.transformer.wte.new_embedding"}) == 8
    for key in (key for key in changed if "wte" not in key):
        a, b = (adapter[f"base_model.model.{key.removesuffix('.weight')}.lora_{half}.weight"] for half in "AB")
        torch.testing.assert_close(after[key], before[key] + 16 / 4 * b @ a)


def test_an_official_adapter_is_written_as_it_was_read(backbone: Path, tmp_path: Path):
    folder = official(backbone, tmp_path / "official")
    (tmp_path / "again").mkdir()
    checkpoint.save(checkpoint.load(folder, device="cpu"), tmp_path / "again")
    first, second = (load_file(path / checkpoint.ADAPTER) for path in (folder, tmp_path / "again"))
    assert first.keys() == second.keys()
    assert all(torch.equal(first[key], second[key]) for key in first)
    config = json.loads((tmp_path / "again" / checkpoint.ADAPTER_CONFIG).read_text())
    assert (sorted(config["target_modules"]), config["r"], config["rank_pattern"]) == (sorted(LAYERS), 4, {})


@torch.no_grad()
def test_an_adapter_trained_here_is_fused_without_loss(backbone: Path, tmp_path: Path):
    own = RewardModel.from_backbone(backbone, ModelConfig("causal", head=16, frames=4), lora=SMALL)
    torch.manual_seed(2)
    for name, weights in own.named_parameters():
        if "lora_B" in name or name == "head.2.weight":
            weights.normal_(std=0.2)
    (tmp_path / "model").mkdir()
    checkpoint.save(own, tmp_path / "model")
    config = json.loads((tmp_path / "model" / checkpoint.ADAPTER_CONFIG).read_text())
    assert config["rank_pattern"] == {"att_proj": 12, "ff_proj": 8}
    assert config["alpha_pattern"] == {"att_proj": 24.0, "ff_proj": 16.0}
    loaded = checkpoint.load(tmp_path / "model", device="cpu")
    ours, theirs = (dict(each.named_parameters()) for each in (own, loaded))
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    one = sample("video", 4).encoded(own)
    assert torch.equal(own.eval()(own.collate([one])), loaded(loaded.collate([one])))


def test_adapters_of_other_kinds_are_refused():
    config = {"r": 4, "target_modules": ["att_proj"], "rank_pattern": {"att_proj": 8}}
    with pytest.raises(CurateError, match="rank_pattern"):
        molmo2.split(molmo2.Adapter(config, {}), lambda _: 64)
    strange = {"base_model.model.lm_head.weight": torch.zeros(1)}
    with pytest.raises(CurateError, match=r"unexpected weights base_model\.model\.lm_head"):
        molmo2.fuse(molmo2.Adapter({"r": 4}, strange))


def test_texts_images_and_videos_train_in_every_layout(backbone: Path):
    report = examined(backbone, layout="tree")
    assert report.sound
    assert [(found.status, found.trains) for found in report.modalities] == [("works", True)] * 3
    assert not any(report.layouts.values())
    assert report.lora == ("down_proj", "gate_proj", "k_proj", "o_proj", "q_proj", "up_proj", "v_proj")


def test_a_text_starts_as_the_official_processor_starts_it(backbone: Path):
    """Molmo2's processor puts its first token before every sequence, with media or without."""
    own = RewardModel.from_backbone(backbone, ModelConfig("causal", head=16))
    item = example("a", "yes", "no")
    chat = [{"role": "user", "content": [{"type": "text", "text": item.prompt}]}]
    text = own.encoder.processor.apply_chat_template(chat, add_generation_prompt=True, tokenize=False)
    expected = own.encoder.processor(text=[text])["input_ids"][0]
    ids = own.encoder.encode(item, own.encoder.encode_media(item)).input_ids.tolist()
    assert ids[: len(expected)] == expected


def test_the_vocabulary_grows_by_zeros_and_is_read_again(backbone: Path, tmp_path: Path):
    model = AutoModelForImageTextToText.from_pretrained(backbone)
    size = model.get_input_embeddings().num_embeddings
    molmo2.add_tokens(model, size + 3)
    model.save_pretrained(tmp_path / "grown")
    rows = AutoModelForImageTextToText.from_pretrained(tmp_path / "grown").get_input_embeddings().weight
    assert (len(rows), bool(rows[size:].any()), bool(rows[:size].any())) == (size + 3, False, True)
