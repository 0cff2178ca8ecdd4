"""Pretraining of a backbone from scratch: it learns the answers, reproducibly; its data are checked."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from reward_models import WORDS, encoded, spelling

from curate.reward.data import read_examples
from curate.reward.loader import Loader
from curate.reward.model import ModelConfig, RewardModel
from curate.reward.quiet import quiet
from curate.reward.scratch import (
    PretrainingExample,
    answer_tokens,
    build_backbone,
    pretrain,
    pretraining_loss,
    read_pretraining,
)
from pipelines import load_recipe, simulate
from pipelines.training import train
from schemas.config import SimulateConfig
from schemas.errors import CurateError
from schemas.reward import TrainConfig

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny backbone whose tokenizer has a token for each of WORDS after a space."""
    texts = [f"Spell {digit}. {word}, it is {word}" for digit, word in enumerate(WORDS)] * 9
    with quiet():
        return build_backbone(tmp_path_factory.mktemp("backbone"), texts, vocabulary=400, width=64, layers=2)


def spelled(count: int, seed: int) -> list[PretrainingExample]:
    return [PretrainingExample(e, WORDS[int(e.prompt[6])], e.responses) for e in spelling(count, seed)]


HELD_OUT = spelled(40, 1)


def pretrained(backbone: Path, epochs: int) -> tuple[RewardModel, float]:
    """The model, and its loss on held-out data."""
    with quiet():
        model = RewardModel.from_backbone(backbone, ModelConfig("tree", head=16))
    with Loader(model.encoder, frames=4) as loader:
        pretrain(model, loader, spelled(300, 0), epochs=epochs, learning_rate=3e-3)
    model.eval()
    batch = model.collate([encoded(model.encoder, item.example) for item in HELD_OUT])
    with torch.no_grad():
        return model, float(pretraining_loss(model, batch, HELD_OUT, answer_tokens(model, WORDS)))


def test_pretraining_learns_the_correct_and_the_given_answer(backbone: Path) -> None:
    _, before = pretrained(backbone, 0)
    _, after = pretrained(backbone, 6)
    # One word after the prompt and after the correct response, two equally probable ones after three wrong responses.
    least = (0 + 2 * np.log(2) * 3 / 4) / 3
    assert before > 4
    assert least < after < least + 0.3


def test_equal_pretrainings_give_equal_weights(backbone: Path) -> None:
    one, other = pretrained(backbone, 1)[0].state_dict(), pretrained(backbone, 1)[0].state_dict()
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_answers_with_the_same_first_token_are_refused(backbone: Path) -> None:
    with quiet():
        model = RewardModel.from_backbone(backbone, ModelConfig("tree", head=16))
    with pytest.raises(CurateError, match="start with the same token"):
        answer_tokens(model, ["~1", "~2"])


def test_an_invalid_line_is_named(tmp_path: Path) -> None:
    path = tmp_path / "pretraining.jsonl"
    row = {"prompt": "What?", "responses": ["a", "b"], "answer": "a", "response_answers": ["a", "b"]}
    path.write_text(json.dumps(row) + "\n" + json.dumps({**row, "response_answers": ["a"]}) + "\n")
    with pytest.raises(CurateError, match=f"^{path}:2: "):
        read_pretraining(path)
    path.write_text(json.dumps(row) + "\n")
    (item,) = read_pretraining(path)
    assert (item.answer, item.response_answers, item.example.responses) == ("a", ("a", "b"), ("a", "b"))


def test_pretraining_requires_a_backbone_from_scratch_and_a_file(backbone: Path, tmp_path: Path) -> None:
    config = TrainConfig(shards=(tmp_path,), backbone=str(backbone), pretraining=tmp_path / "pretraining.jsonl")
    with pytest.raises(CurateError, match="pretraining requires a backbone from scratch"):
        train(config, tmp_path / "out")
    with pytest.raises(CurateError, match="no such file"):
        train(config.model_copy(update={"backbone": "scratch"}), tmp_path / "out")


def test_simulated_pretraining_videos_are_separate_and_correctly_labelled(tmp_path: Path) -> None:
    config = SimulateConfig(
        prompts=3, models=3, annotators=9, video=True, shapes=1, prompts_per_video=3, pretraining_videos=40
    )
    simulate(tmp_path / "world", config=config)
    found = read_pretraining(tmp_path / "world" / "pretraining.jsonl")
    assert len(found) == 40 * 3
    assert {item.example.video for item in found} == set((tmp_path / "world" / "pretraining").glob("*.mp4"))
    given = [word for item in found for word in item.response_answers]
    texts = [text for item in found for text in item.example.responses]
    assert all(word in text.lower() for word, text in zip(given, texts, strict=True))
    correct = [word == item.answer for item in found for word in item.response_answers]
    assert np.mean(correct) == pytest.approx(0.4, abs=0.08)
    without = config.model_copy(update={"pretraining_videos": 0})
    simulate(tmp_path / "same", config=without)
    for name in ("votes.csv", "responses.csv", "videos/v0001.mp4"):
        assert (tmp_path / "same" / name).read_bytes() == (tmp_path / "world" / name).read_bytes()
    assert pl.read_csv(tmp_path / "world" / "prompts.csv")["video"].unique().to_list() == ["videos/v0001.mp4"]
    assert len(read_examples(tmp_path / "world" / "pretraining.jsonl")) == 40 * 3


def test_the_recipe_trains_on_the_shards_it_exports() -> None:
    recipe = load_recipe("reward-video")
    assert recipe.train is not None
    assert recipe.export is not None
    assert recipe.train.config.shards == (recipe.export.train,)
    assert recipe.train.config.validation == (recipe.export.benchmark,)
    assert recipe.export.train_config is not None
    assert recipe.export.train_config.split == recipe.export.config.split
    assert recipe.train.config.lora is False
