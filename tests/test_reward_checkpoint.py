"""Models as files: a loaded model scores as the saved one, also across our code and the official code."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from reward_models import SMALL, encoded, example, fitted, frames, model, spelling, tiny

from curate.media.frames import Frames
from curate.reward import checkpoint
from curate.reward.backbones import load_processor
from curate.reward.data import Example
from curate.reward.model import ModelConfig, RewardModel
from curate.reward.quiet import quiet
from curate.reward.sequence import SEPARATOR
from curate.reward.torch_processors import load_torch_processor
from pipelines.evaluation import merge
from schemas.errors import CurateError
from schemas.reward import Layout, LoraSettings

pytestmark = pytest.mark.slow

TEXT = example("text", "the red one", "blue, I would say", "green green green", "no", prompt="What colour is it?")
CLIP = example("clip", "a circle", "a square", "nothing at all", prompt="What moves?", video=Path("clip.mp4"))
LAYOUTS: tuple[Layout, ...] = ("causal", "tree", "set", "single")


@pytest.fixture(autouse=True)
def _quiet():
    with quiet():
        yield


@torch.no_grad()
def scores(own: RewardModel, item: Example) -> torch.Tensor:
    sequence = encoded(own.encoder, item, frames() if item.video else None)
    return own(own.collate([sequence]))[0]


def stirred(own: RewardModel) -> RewardModel:
    """The model with adapters that are not zero."""
    torch.manual_seed(1)
    for name, weights in own.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weights, std=0.2)
    return own


def saved(own: RewardModel, folder: Path) -> Path:
    folder.mkdir()
    checkpoint.save(own, folder)
    return folder


# Ours.


@pytest.mark.parametrize("lora", [SMALL, None], ids=["lora", "full"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_loaded_model_scores_as_the_saved_one(
    backbone: Path, tmp_path: Path, layout: Layout, lora: LoraSettings | None
) -> None:
    own = stirred(model(backbone, layout, lora=lora))
    if lora is None:  # weights that are in no other folder
        torch.nn.init.normal_(own.backbone.model.language_model.layers[0].mlp.down_proj.weight)
    loaded = checkpoint.load(saved(own, tmp_path / "model"), device="cpu")
    assert loaded.config == own.config
    assert not loaded.training
    for item in (TEXT, CLIP):
        assert scores(own, item).std() > 1e-3
        torch.testing.assert_close(scores(loaded, item), scores(own, item), atol=1e-6, rtol=1e-6)


def test_a_checkpoint_of_a_training_loads(backbone: Path, tmp_path: Path) -> None:
    own = fitted(backbone, tmp_path, spelling(24, 0), tiny(layout="set")).eval()
    loaded = checkpoint.load(tmp_path / "checkpoints" / "step-000003", device="cpu")
    torch.testing.assert_close(scores(loaded, TEXT), scores(own, TEXT), atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_merged_model_scores_equally_without_its_backbone(backbone: Path, tmp_path: Path, layout: Layout) -> None:
    base = tmp_path / "base"
    shutil.copytree(backbone, base)
    own = stirred(model(base, layout, lora=SMALL))
    folder = saved(own, tmp_path / "model")
    merged = merge(folder, tmp_path / "merged")
    shutil.rmtree(base)
    shutil.rmtree(folder)
    loaded = checkpoint.load(merged, device="cpu")
    for item in (TEXT, CLIP):
        torch.testing.assert_close(scores(loaded, item), scores(own, item), atol=1e-4, rtol=1e-4)
    assert not (merged / "adapter_config.json").exists()


def test_only_adapters_can_be_merged(backbone: Path, tmp_path: Path) -> None:
    folder = saved(model(backbone, "tree"), tmp_path / "model")
    with pytest.raises(CurateError, match="has no adapters to merge"):
        merge(folder, tmp_path / "merged")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model"]
    with pytest.raises(CurateError, match="model: exists"):
        merge(folder, folder)


@pytest.mark.parametrize("layout", ["causal", "set"])
def test_a_model_of_the_previous_version_loads(backbone: Path, tmp_path: Path, layout: Layout) -> None:
    """Its reward_model_config.json has the key ``form``, which is called ``template`` now."""
    own = stirred(model(backbone, layout, lora=SMALL))
    folder = saved(own, tmp_path / "model")
    config = json.loads((folder / checkpoint.CONFIG).read_text())
    config["curate"] = {"layout": layout, "frames": 4, "max_length": 8192, "form": "curate"}
    (folder / checkpoint.CONFIG).write_text(json.dumps(config))
    loaded = checkpoint.load(folder, device="cpu")
    assert loaded.config == own.config
    torch.testing.assert_close(scores(loaded, TEXT), scores(own, TEXT), atol=1e-6, rtol=1e-6)
    config["curate"]["form"] = "official"
    (folder / checkpoint.CONFIG).write_text(json.dumps(config))
    assert checkpoint.load(folder, device="cpu").config.template == "official-readme"


def test_a_training_of_the_previous_version_resumes(backbone: Path, tmp_path: Path) -> None:
    """Its training_state.json has the keys ``lessons`` and ``lesson_epochs``, which are called ``pretraining`` now."""
    config, examples = tiny(checkpoint_every=1), spelling(16, 0)
    fitted(backbone, tmp_path, examples, config)
    path = tmp_path / checkpoint.CHECKPOINTS / "step-000002" / checkpoint.STATE
    state = json.loads(path.read_text())
    state["config"] |= {"lessons": state["config"].pop("pretraining")}
    state["config"] |= {"lesson_epochs": state["config"].pop("pretraining_epochs")}
    path.write_text(json.dumps(state))
    steps: list[int] = []
    fitted(backbone, tmp_path, examples, config, resume=True, on_step=lambda report: steps.append(report.step))
    assert steps == []


# Invalid folders.


def broken(folder: Path, config: object) -> Path:
    folder.mkdir()
    (folder / checkpoint.CONFIG).write_text(config if isinstance(config, str) else json.dumps(config))
    return folder


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("{", "not JSON"),
        ([], "expected an object"),
        ({}, "value_head_hidden_dim"),
        ({"value_head_type": "linear", "value_head_hidden_dim": 8}, "value_head_type is 'linear'"),
        ({"value_head_activation": "gelu", "value_head_hidden_dim": 8}, "value_head_activation is 'gelu'"),
        ({"resp_repr_mode": "mean", "value_head_hidden_dim": 8}, "resp_repr_mode is 'mean'"),
        ({"value_head_hidden_dim": 8, "curate": {"layout": "ring"}}, "settings under 'curate'"),
        ({"value_head_hidden_dim": 8, "curate": {"layout": ["tree"]}}, "settings under 'curate'"),
        ({"value_head_hidden_dim": 8, "curate": {"layout": "tree", "template": {}}}, "settings under 'curate'"),
    ],
)
def test_an_invalid_config_is_an_error_naming_the_file(tmp_path: Path, config: object, message: str) -> None:
    with pytest.raises(CurateError, match=f"{checkpoint.CONFIG}.*{message}"):
        checkpoint.load(broken(tmp_path / "model", config))


def test_a_folder_without_a_model_is_refused(backbone: Path, tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "nowhere", backbone):
        with pytest.raises(CurateError, match=r"no reward_model_config\.json there"):
            checkpoint.load(folder)


def test_a_missing_backbone_is_named(backbone: Path, tmp_path: Path) -> None:
    base = tmp_path / "base"
    shutil.copytree(backbone, base)
    folder = saved(model(base, "tree", lora=SMALL), tmp_path / "model")
    shutil.rmtree(base)
    with pytest.raises(CurateError, match=f"{base}: cannot read a backbone there"):
        checkpoint.load(folder)
    with pytest.raises(CurateError, match=f"{base}: cannot read a backbone there"):
        RewardModel.from_backbone(base, ModelConfig("tree"))


def test_a_missing_or_mismatched_head_is_an_error(backbone: Path, tmp_path: Path) -> None:
    folder = saved(model(backbone, "tree", lora=SMALL), tmp_path / "model")
    config = json.loads((folder / checkpoint.CONFIG).read_text())
    (folder / checkpoint.CONFIG).write_text(json.dumps({**config, "value_head_hidden_dim": 8}))
    with pytest.raises(CurateError, match="model: the value head does not match"):
        checkpoint.load(folder)
    (folder / checkpoint.CONFIG).write_text(json.dumps(config))
    (folder / checkpoint.HEAD).unlink()
    checkpoint.load(folder)  # value_head.pt has the same weights
    (folder / "value_head.pt").unlink()
    with pytest.raises(CurateError, match=r"contains no value_head\.pt"):
        checkpoint.load(folder)


# The official code, reimplemented from arXiv 2604.10966 and its checkpoints.


class Official:
    """Loads a checkpoint and scores as the official code does: one text, states before separators and at the end."""

    def __init__(self, folder: Path) -> None:
        from peft import PeftModel
        from transformers import AutoModelForImageTextToText

        config = json.loads((folder / "reward_model_config.json").read_text())
        assert config["value_head_type"] == "mlp"
        assert config["value_head_activation"] == "silu"
        assert config["resp_repr_mode"] == "last"
        width, hidden = config["value_head_input_dim"], config["value_head_hidden_dim"]
        self.processor = load_torch_processor(folder, "qwen3_vl")
        base = json.loads((folder / "adapter_config.json").read_text())["base_model_name_or_path"]
        backbone = AutoModelForImageTextToText.from_pretrained(base)
        official_resize(backbone, self.processor)
        self.model = PeftModel.from_pretrained(backbone, folder).eval()
        self.head = torch.nn.Sequential(torch.nn.Linear(width, hidden), torch.nn.SiLU(), torch.nn.Linear(hidden, 1))
        self.head.load_state_dict(torch.load(folder / "value_head.pt", weights_only=True))
        self.width = width

    @torch.no_grad()
    def score(self, item: Example, clip: Frames | None) -> torch.Tensor:
        text = item.prompt + "\n\n" + f"\n\n{SEPARATOR}\n\n".join(item.responses)
        content: list[dict[str, Any]] = [{"type": "text", "text": text}]
        if clip is not None:
            content.insert(0, {"type": "video"})
        chat = self.processor.apply_chat_template(
            [{"role": "user", "content": content}], tokenize=False, add_generation_prompt=False
        )
        given: dict[str, Any] = {}
        if clip is not None:
            from transformers.video_utils import VideoMetadata

            numbers = [round(1000 * time) for time in clip.times.tolist()]
            metadata = VideoMetadata(total_num_frames=2000, fps=1000.0, frames_indices=numbers, duration=clip.duration)
            given = {"videos": [clip.images], "video_metadata": [metadata], "do_sample_frames": False}
        inputs = self.processor(text=[chat], return_tensors="pt", **given)
        out = self.model(**inputs, output_hidden_states=True)
        ids = inputs["input_ids"][0]
        separator = self.processor.tokenizer.convert_tokens_to_ids(SEPARATOR)
        places = [*((ids == separator).nonzero()[:, 0] - 1).tolist(), len(ids) - 1]
        states = out.hidden_states[-1][0, places]
        return self.head(states)[:, 0] / self.width**0.5


def official_resize(backbone: Any, processor: Any) -> None:
    """An embedding row for each token; transformers draws the new one around the mean of the others."""
    torch.manual_seed(0)
    backbone.resize_token_embeddings(len(processor.tokenizer))


ORDINARY: Sequence[Example] = (
    TEXT,
    CLIP,
    example("two", "Yes.", "No, it does not.", prompt="Does the circle move left?"),
    example("odd", " leading space", "", "tail \n", "— “é” 漢字", prompt="Wer?\nUnd wo?"),
)


def test_the_official_code_reads_our_checkpoint(backbone: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    own = RewardModel.from_backbone(
        backbone, ModelConfig("causal", head=16, frames=4, template="official-readme"), lora=SMALL, seed=0
    )
    torch.nn.init.normal_(own.head[2].weight)  # type: ignore[arg-type]
    own = stirred(own).eval()
    official = Official(saved(own, tmp_path / "model"))
    for item in ORDINARY:
        theirs = official.score(item, frames() if item.video else None)
        assert theirs.std() > 1e-3
        # Not exactly: its row for the separator is drawn around the mean of the others, ours is the mean.
        torch.testing.assert_close(theirs, scores(own, item), atol=1e-4, rtol=1e-4)


def official_folder(backbone: Path, folder: Path) -> Path:
    """A checkpoint as the official code writes it: its keys and adapters, no safetensors of the head."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForImageTextToText

    folder.mkdir()
    processor = load_processor(backbone)
    processor.tokenizer.add_special_tokens({"additional_special_tokens": [SEPARATOR]})
    plain = AutoModelForImageTextToText.from_pretrained(backbone)
    official_resize(plain, processor)
    config = LoraConfig(r=8, lora_alpha=16, target_modules=["q_proj", "v_proj"], base_model_name_or_path=str(backbone))
    adapted = get_peft_model(plain, config)
    torch.manual_seed(3)
    for name, weights in adapted.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weights, std=0.3)
    width = plain.config.get_text_config().hidden_size
    head = torch.nn.Sequential(torch.nn.Linear(width, 32), torch.nn.SiLU(), torch.nn.Linear(32, 1))
    adapted.save_pretrained(folder)
    processor.save_pretrained(folder)
    torch.save(head.state_dict(), folder / "value_head.pt")
    document = {
        "value_head_type": "mlp",
        "value_head_hidden_dim": 32,
        "value_head_activation": "silu",
        "value_head_input_dim": width,
        "resp_repr_mode": "last",
    }
    (folder / "reward_model_config.json").write_text(json.dumps(document))
    return folder


def test_an_official_checkpoint_is_scored_as_the_official_code_scores_it(backbone: Path, tmp_path: Path) -> None:
    folder = official_folder(backbone, tmp_path / "official")
    official, own = Official(folder), checkpoint.load(folder, device="cpu")
    assert own.config == ModelConfig("causal", head=32, max_length=24_576, template="official-readme")
    for item in ORDINARY:
        theirs = official.score(item, frames() if item.video else None)
        assert theirs.std() > 1e-3
        torch.testing.assert_close(scores(own, item), theirs, atol=1e-5, rtol=1e-5)
