"""Layouts: a tree equals single passes and a dense mask; scores are independent of order and batch where required."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from reward_models import encoded, example, frames, model

from curate.reward.layout import TREE, Batch, restart_positions, tree_attention
from curate.reward.model import RewardModel
from schemas.errors import CurateError
from schemas.reward import Layout, LoraSettings

pytestmark = pytest.mark.slow

MIXED = (
    example("a", "the red one", "blue", "green green green", "no", video=Path("a.mp4")),
    example("b", "red", "blue, I would say", prompt="What?"),
    example("c", "a", "b", "c", video=Path("c.mp4")),
    example("d", "a long answer, longer than the others are", "b", "c", prompt="Why? " * 9),
)


def encode(own: RewardModel, number: int, order: list[int] | None = None):
    item = MIXED[number] if order is None else MIXED[number].permuted(order)
    return encoded(own.encoder, item, frames(number) if item.video else None)


@torch.no_grad()
def scores(own: RewardModel, *sequences) -> torch.Tensor:
    return own(own.collate(sequences))


def dense(batch: Batch) -> torch.Tensor:
    """(R, 1, L, L) bool, token by token: the reference implementation of tree_attention."""
    rows, length = batch.input_ids.shape
    mask = torch.zeros(rows, 1, length, length, dtype=torch.bool)
    for r in range(rows):
        response = -1
        owner = []
        for offset in batch.offsets[r].tolist():
            response += offset == 0
            owner.append(response if offset >= 0 else -1)
        for i in range(length):
            for j in range(i + 1):
                mask[r, 0, i, j] = bool(batch.attention_mask[r, j]) and owner[j] in (-1, owner[i])
        mask[r, 0].fill_diagonal_(True)
    return mask


@pytest.mark.parametrize("layout", ["causal", "tree", "set", "single"])
def test_scores_do_not_depend_on_the_rest_of_the_batch(backbone: Path, layout: Layout):
    own = model(backbone, layout)
    for group in ((0, 1, 2), (1, 3)):  # with clips and without any
        together = scores(own, *(encode(own, i) for i in group))
        for row, i in zip(together, group, strict=True):
            alone = scores(own, encode(own, i))[0]
            torch.testing.assert_close(row[: len(alone)], alone, atol=1e-5, rtol=1e-5)
            assert torch.isinf(row[len(alone) :]).all()


@pytest.mark.parametrize("layout", ["tree", "set", "single"])
def test_scores_do_not_depend_on_the_order(backbone: Path, layout: Layout):
    own = model(backbone, layout)
    given = scores(own, encode(own, 0))[0]
    for order in ([3, 1, 0, 2], [2, 3, 1, 0]):
        torch.testing.assert_close(scores(own, encode(own, 0, order))[0], given[order], atol=1e-5, rtol=1e-5)


def test_causal_scores_depend_on_the_order(backbone: Path):
    own = model(backbone, "causal")
    given = scores(own, encode(own, 0))[0]
    assert (scores(own, encode(own, 0, [3, 1, 0, 2]))[0] - given[[3, 1, 0, 2]]).abs().max() > 1e-3


def test_a_tree_scores_as_one_pass_per_response(backbone: Path):
    tree, single = model(backbone, "tree"), model(backbone, "single")
    sequences = [encode(tree, i) for i in range(3)]
    torch.testing.assert_close(scores(tree, *sequences), scores(single, *sequences), atol=1e-5, rtol=1e-5)


def test_a_set_compares_responses(backbone: Path):
    """Without one response, the scores of the others change by different amounts."""
    own = model(backbone, "set")
    whole = scores(own, encode(own, 0))[0]
    part = scores(own, encode(own, 0, [0, 1, 2]))[0]
    assert (part - whole[:3]).std() > 1e-4


@pytest.mark.parametrize("tail", [0.0, 1e9], ids=["keys copied", "in one piece"])
def test_tree_attention_equals_a_dense_mask(backbone: Path, tail: float, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("curate.reward.layout.TAIL", tail)
    own = model(backbone, "tree")
    batch = own.collate([encode(own, i) for i in range(3)])
    tree = scores(own, *(encode(own, i) for i in range(3)))
    own.backbone.set_attn_implementation("sdpa")
    with torch.no_grad():
        out = own.backbone.model(
            input_ids=batch.input_ids,
            attention_mask=dense(batch),
            position_ids=own.positions(batch),
            mm_token_type_ids=batch.token_types,
            **batch.visual,
        )
        twin = own.head(out.last_hidden_state[batch.row, batch.end])
    torch.testing.assert_close(tree[batch.present], twin[batch.present], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("checkpointing", "tail"), [(False, 1e9), (True, 0.0)])
def test_gradients_of_a_tree_equal_those_of_single_passes(
    backbone: Path, checkpointing: bool, tail: float, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("curate.reward.layout.TAIL", tail)
    gradients = []
    for layout in ("tree", "single"):
        own = model(backbone, layout, lora=LoraSettings(r=4, dropout=0.0))
        if checkpointing:
            own.backbone.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
            own.train()
        batch = own.collate([encode(own, i) for i in range(3)])
        torch.where(batch.present, own(batch), 0.0).square().sum().backward()
        gradients.append({name: w.grad for name, w in own.named_parameters() if w.requires_grad})
    assert any(g is not None and g.abs().sum() > 0 for name, g in gradients[0].items() if "lora" in name)
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradient, gradients[1][name], atol=1e-4, rtol=1e-4)


def test_only_the_language_model_uses_tree_attention(backbone: Path):
    config = model(backbone, "tree").backbone.config
    assert config.text_config._attn_implementation == TREE
    assert config.vision_config._attn_implementation == "sdpa"


def test_a_backbone_that_does_not_pass_on_the_tree_is_an_error():
    with pytest.raises(CurateError, match="does not pass options"):
        tree_attention(torch.nn.Identity(), *[torch.zeros(1, 1, 2, 4)] * 3, None)


def test_positions_restart_where_the_backbone_puts_the_first_response():
    offsets = torch.tensor([[-1, -1, -1, 0, 1, 0, -2]])
    assert restart_positions(torch.tensor([[0, 1, 2, 3, 4, 5, 6]]), offsets).tolist() == [[0, 1, 2, 3, 4, 3, 6]]
    three = torch.tensor([[[0, 1, 1, 9, 9, 9, 0]], [[0, 5, 2, 9, 9, 9, 0]], [[0, 1, 3, 9, 9, 9, 0]]])
    assert restart_positions(three, offsets)[2].tolist() == [[0, 1, 3, 9, 10, 9, 0]]
