"""The doctor: layouts that leak, media without effect and layers that LoRA cannot adapt are found by running models."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from families import FAMILIES, GPT, build, examined
from PIL import Image
from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration
from transformers.image_utils import SizeDict
from typer.testing import CliRunner

from cli.main import app
from curate.reward import doctor
from curate.reward.model import ModelConfig, RewardModel
from curate.reward.quiet import quiet
from curate.reward.scratch import train_tokenizer
from curate.reward.sequence import Encoded, Encoder
from curate.reward.torch_processors import TorchOperations
from schemas.errors import CurateError
from schemas.reward import LoraSettings
from tests.reward_models import model, tiny

pytestmark = pytest.mark.slow


def test_qwen3_vl_reads_texts_images_and_videos_in_every_layout(backbone: Path):
    report = examined(backbone)
    assert report.sound
    assert [found.status for found in report.modalities] == ["works"] * 3
    assert all(found.trains for found in report.modalities)
    assert not any(report.layouts.values())
    assert max(found.tree_difference for found in report.modalities) < 1e-4
    assert min(found.media_difference for found in report.modalities[1:]) > 0.01


@pytest.mark.parametrize("family", ["qwen3_5_text", "lfm2", "falcon_h1"])
def test_hybrid_backbones_leak_and_are_refused_by_name(family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = build(family, tmp_path)
    with quiet(), pytest.raises(CurateError, match=rf"{family}: the layout tree does not work: layers of the kind"):
        RewardModel.from_backbone(path, ModelConfig("tree", head=16))
    # Without that knowledge, running the model shows the same.
    monkeypatch.setattr(doctor, "tree_refusal", lambda _config: "")
    monkeypatch.setattr("curate.reward.model.tree_refusal", lambda _config: "")
    report = examined(path)
    assert "states change by" in report.layouts["tree"]
    assert (report.layouts["causal"], report.layouts["single"], report.sound) == ("", "", False)
    assert report.modalities[0].trains
    with quiet(), pytest.raises(CurateError, match="does not work with text: with the other responses"):
        doctor.check_layout(model(path, "tree"), ["text"])


@pytest.mark.parametrize(
    ("family", "reason"), [("stablelm", "does not pass options"), ("gemma2", "attention cannot be exchanged")]
)
def test_other_backbones_train_in_another_layout(family: str, reason: str, tmp_path: Path):
    path = build(family, tmp_path)
    assert reason in examined(path).layouts["tree"]
    assert examined(path, layout="causal").sound


def test_lora_adapts_gpt2_and_refuses_what_it_cannot_adapt(tmp_path: Path):
    assert examined(build("gpt2", tmp_path)).lora == ("c_attn", "c_fc", "c_proj")
    report = examined(build("mamba2", tmp_path), layout="causal")
    assert "LoRA cannot adapt it" in report.lora_refusal
    assert not report.sound
    assert examined(tmp_path / "mamba2", layout="causal", lora=False).sound


def test_a_backbone_whose_positions_fit_one_response_is_refused_for_causal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(FAMILIES, "gpt2", {**GPT, "max_position_embeddings": 80})
    report = examined(build("gpt2", tmp_path), layout="causal")
    assert report.layouts["causal"]
    assert (report.layouts["single"], report.layouts["tree"], report.sound) == ("", "", False)
    monkeypatch.setitem(FAMILIES, "gpt2", {**GPT, "max_position_embeddings": 40})  # less than one response
    assert all(examined(build("gpt2", tmp_path)).layouts.values())


@pytest.mark.parametrize("family", ["llava", "gemma3"])
def test_an_image_model_refuses_videos(family: str, tmp_path: Path):
    report = examined(build(family, tmp_path))
    assert [(found.status, found.trains) for found in report.modalities] == [
        ("works", True),
        ("works", True),
        ("refused", False),
    ]
    assert not any(report.layouts.values())
    assert "reads images and no videos" in report.modalities[2].reason


def test_media_that_cannot_be_repeated_are_read_once_for_each_response(tmp_path: Path):
    """LLaVA-OneVision's visual inputs belong to an example: the rows of the layout single are passes of their own."""
    report = examined(build("llava_onevision", tmp_path), layout="single")
    assert [found.status for found in report.modalities] == ["works"] * 3
    assert max(found.tree_difference for found in report.modalities) < 1e-4


def test_a_missing_package_of_a_processor_is_named(tmp_path: Path):
    if importlib.util.find_spec("num2words"):
        pytest.skip("num2words is installed")
    with quiet(), pytest.raises(CurateError, match=r"processor of smolvlm cannot be loaded: .*num2words"):
        examined(build("smolvlm", tmp_path))


def test_torch_resizes_as_pillow_does():
    image = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    size = SizeDict(height=24, width=32)
    for mode in (Image.Resampling.BICUBIC, Image.Resampling.BILINEAR):
        ours = TorchOperations.resize(None, torch.from_numpy(image).permute(2, 0, 1), size, mode)  # type: ignore[arg-type]
        theirs = np.asarray(Image.fromarray(image).resize((32, 24), mode))
        assert np.abs(ours.permute(1, 2, 0).numpy().astype(int) - theirs.astype(int)).max() <= 1


def test_a_training_pass_fails_where_gradients_are_not_finite(backbone: Path, monkeypatch: pytest.MonkeyPatch):
    own = model(backbone, "single", lora=LoraSettings(r=4))
    monkeypatch.setattr(RewardModel, "states", lambda self, batch: STATES(self, batch) * torch.inf)
    assert "not finite" in doctor._pass_refusal(own, "causal")


STATES = RewardModel.states


def test_pixels_without_effect_are_reported(backbone: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(doctor, "sample", lambda modality, frames=4, **_: SAMPLE(modality, frames))
    report = examined(backbone)
    assert [found.status for found in report.modalities] == ["works", "blind", "blind"]
    assert not report.sound


SAMPLE = doctor.sample


def test_estimates_warn_of_settings_that_refuse_clips_or_exceed_the_memory(backbone: Path):
    assert examined(backbone).warnings == ()
    report = examined(backbone, max_length=20, frames=8, pass_tokens=10**9)
    refused, kept = report.warnings
    assert refused.startswith(f"a clip of 1080p has {report.tokens_1080p} tokens, so that max_length = 20 refuses it")
    assert "activation_checkpointing = true, or precision = 'bfloat16'" in kept
    saving = examined(backbone, pass_tokens=10**9, activation_checkpointing=True, precision="bfloat16")
    assert saving.activations_gib < 0.4 * report.activations_gib


def test_responses_continue_where_the_backbone_puts_the_first_one(tmp_path: Path):
    """Qwen2.5-VL counts seconds of video: the largest position of a clip of a minute is far above those of its text."""
    tokenizer = train_tokenizer(["What colour is the shape that moves?"] * 5, 300)
    ids = {name: tokenizer.convert_tokens_to_ids(f"<|{name}|>") for name in ("vision_start", "vision_end", "video_pad")}
    text = {
        "vocab_size": len(tokenizer),
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "rope_scaling": {"rope_type": "default", "mrope_section": [2, 3, 3]},
    }
    vision = {"depth": 2, "hidden_size": 32, "num_heads": 2, "intermediate_size": 48, "out_hidden_size": 64}
    config = Qwen2_5_VLConfig(
        text_config=text,
        vision_config={**vision, "patch_size": 14, "tokens_per_second": 2, "fullatt_block_indexes": [1]},
        video_token_id=ids["video_pad"],
        vision_start_token_id=ids["vision_start"],
        vision_end_token_id=ids["vision_end"],
    )
    torch.manual_seed(0)
    own = RewardModel(
        Qwen2_5_VLForConditionalGeneration(config).eval(), Encoder(tokenizer), ModelConfig("tree", head=16)
    )
    grid = torch.tensor([[6, 2, 2]])  # 6 times, 2 × 2 patches: one token each
    prompt = [25, 26, ids["vision_start"], *[ids["video_pad"]] * 6, ids["vision_end"], 27, 28]
    responses = [29, 30, 2, 31, 2, 32, 33, 34, 2]
    sequence = Encoded(
        item_id="a",
        input_ids=torch.tensor([*prompt, *responses]),
        token_types=torch.tensor([2 if token == ids["video_pad"] else 0 for token in [*prompt, *responses]]),
        starts=(len(prompt), len(prompt) + 3, len(prompt) + 5),
        ends=(len(prompt) + 2, len(prompt) + 4, len(prompt) + 8),
        visual={
            "pixel_values_videos": torch.randn(24, 3 * 2 * 14 * 14),
            "video_grid_thw": grid,
            "second_per_grid_ts": torch.tensor([10.0]),  # a minute
        },
    )
    with torch.no_grad():
        tree, single = (doctor._states(own, sequence, layout) for layout in ("tree", "single"))
    torch.testing.assert_close(tree, single, atol=1e-5, rtol=1e-4)
    positions = own.positions(own.collate([sequence]))
    assert positions.max() > 5 * positions[0, 0, len(prompt)]  # the case that differs


def test_a_training_checks_its_layout_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from pipelines.training import train

    rows = [{"prompt": "Spell 1.", "responses": ["one", "two"], "ranks": [1, 2]}] * 4
    shards = tmp_path / "train.jsonl"
    shards.write_text("".join(json.dumps({**row, "item_id": f"e{i}"}) + "\n" for i, row in enumerate(rows)))
    path = build("lfm2", tmp_path)
    monkeypatch.setattr("curate.reward.model.tree_refusal", lambda _config: "")
    config = tiny(backbone=str(path), shards=(shards,), validation_fraction=0.0)
    with quiet(), pytest.raises(CurateError, match="lfm2: the layout tree does not work with text"):
        train(config, tmp_path / "model")
    assert not (tmp_path / "model" / "reward_model_config.json").exists()


def test_the_command_prints_a_table_and_fails_where_the_training_would(tmp_path: Path, backbone: Path):
    good = CliRunner().invoke(app, ["doctor", str(backbone)])
    assert (good.exit_code, [line.split()[0] for line in good.stdout.splitlines()[2:]]) == (
        0,
        ["text", "image", "video"],
    )
    path = build("qwen3_5_text", tmp_path)
    bad = CliRunner().invoke(app, ["doctor", str(path)])
    assert bad.exit_code == 7
    assert "the layout tree does not work: use --layout causal or single" in bad.stderr
    as_json = CliRunner().invoke(app, ["doctor", str(path), "--json", "--layout", "single"])
    assert (as_json.exit_code, json.loads(as_json.stdout)["layouts"]["single"]) == (0, "")
