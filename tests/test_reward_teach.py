"""A backbone from scratch learns to say the best response, by its lower half, and the same way every time."""

from __future__ import annotations

from pathlib import Path

import torch
from reward_models import spelling

from curate.reward.loading import Loader
from curate.reward.model import RewardModel, Shape
from curate.reward.quiet import quiet
from curate.reward.teach import half, spoken, teach
from pipelines import load_recipe

HELD_OUT = spelling(40, 1)


def taught(backbone: Path, epochs: int) -> tuple[RewardModel, float]:
    """The model, and its loss on saying the best responses to examples that it has not seen."""
    with quiet():
        model = RewardModel.from_backbone(backbone, Shape("tree", head=16))
    with Loader(model.encoder, frames=4) as loader:
        teach(model, loader, spelling(200, 0), epochs=epochs, learning_rate=3e-3)
    best = [example.permuted(example.best) for example in HELD_OUT]
    model.eval()
    with torch.no_grad():
        return model, float(spoken(model, model.collate([model.encoder.encode(example) for example in best])))


def test_it_learns_to_say_the_best_response(backbone: Path) -> None:
    _, before = taught(backbone, 0)
    _, after = taught(backbone, 4)
    assert after < before / 4


def test_what_lies_above_the_half_is_left_as_it_was(backbone: Path) -> None:
    fresh, _ = taught(backbone, 0)
    model, _ = taught(backbone, 1)
    layers = model.backbone.get_decoder().layers
    old = fresh.backbone.get_decoder().layers
    assert half(model) == 1
    assert not torch.equal(layers[0].mlp.up_proj.weight, old[0].mlp.up_proj.weight)
    torch.testing.assert_close(layers[1].mlp.up_proj.weight, old[1].mlp.up_proj.weight)


def test_taught_twice_it_is_the_same(backbone: Path) -> None:
    one, other = taught(backbone, 1)[0].state_dict(), taught(backbone, 1)[0].state_dict()
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_the_recipe_trains_on_what_it_makes() -> None:
    recipe = load_recipe("reward-video")
    assert recipe.train is not None
    assert recipe.export is not None
    assert recipe.train.config.shards == (recipe.export.train,)
    assert recipe.train.config.validation == (recipe.export.benchmark,)
    assert recipe.export.train_config is not None
    assert recipe.export.train_config.split == recipe.export.config.split
    assert recipe.train.config.lora is False
