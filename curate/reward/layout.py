"""Who sees whom: responses that attend to the prompt and to themselves only, in one pass, at restarted positions.

The layouts: ``causal``, each response sees those before it (arXiv 2604.10966); ``tree``, each sees the prompt and
itself, as if it stood alone; ``set``, a tree whose N response vectors then see each other, in no order; ``single``, one
pass for each response.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

TREE = "curate_tree"
"""Name of the attention among those of transformers."""


@dataclass(frozen=True)
class Tree:
    """Where the prompt and the responses of B sequences lie; all a batch's responses take part in one attention."""

    prompt: Tensor
    """(B, P) bool: the token is one of the prompt; P is the longest prompt."""
    slots: Tensor
    """(B, N, T) the place in the sequence of each token of each response; 0 where there is none."""
    filled: Tensor
    """(B, N, T) bool: there is such a token."""


def tree_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    tree: Tree | None = None,
    dropout: float = 0.0,
    scaling: float | None = None,
    **options: Any,
) -> tuple[Tensor, None]:
    """(B, L, heads, D) attention in which the prompt sees itself, and each response the prompt and itself.

    query: (B, heads, L, D); key, value: (B, key heads, L, D); attention_mask: (B, 1, L, L) bool or None, the backbone's
    own: what it says of the prompt is kept, so that a backbone whose vision tokens see each other goes on doing so.
    Costs P² + N·T·(P + T) where one causal pass costs (P + N·T)² / 2. Raises ValueError where the backbone does not
    hand on ``tree``.
    """
    if tree is None:
        raise ValueError("this backbone does not hand its options on to its attention: use the layout causal or single")
    batch, prompt = tree.prompt.shape
    responses = tree.slots.shape[1]
    mask = None if attention_mask is None else attention_mask[:, :, :prompt, :prompt]
    options |= {"dropout": dropout, "scaling": scaling}
    head, _ = sdpa_attention_forward(
        module, query[:, :, :prompt], key[:, :, :prompt], value[:, :, :prompt], mask, **options
    )
    seen_key, seen_value = (
        torch.cat([states[:, None, :, :prompt].expand(-1, responses, -1, -1, -1), _gather(states, tree.slots)], dim=3)
        for states in (key, value)
    )
    answers = _grouped(_gather(query, tree.slots), seen_key, seen_value, _response_mask(tree), dropout, scaling)
    answers = answers.transpose(2, 3).flatten(1, 2)
    out = head.new_zeros(batch, query.shape[2], *head.shape[2:])
    out[:, :prompt] = head * tree.prompt[:, :, None, None]
    # Empty slots all point at token 0: adding nothing there leaves it as it is.
    answers = answers * tree.filled.view(batch, -1, 1, 1)
    return out.scatter_add(1, _as_index(tree.slots, answers), answers), None


def _gather(states: Tensor, slots: Tensor) -> Tensor:
    """(B, N, heads, T, D) of (B, heads, L, D) at (B, N, T) places."""
    batch, heads, _, width = states.shape
    _, responses, length = slots.shape
    index = slots.reshape(batch, 1, -1, 1).expand(-1, heads, -1, width)
    return states.gather(2, index).view(batch, heads, responses, length, width).transpose(1, 2)


def _grouped(query: Tensor, key: Tensor, value: Tensor, mask: Tensor, dropout: float, scaling: float | None) -> Tensor:
    """(B, N, heads, T, D) attention of queries of that shape to (B, N, key heads, P + T, D) under (B·N, 1, T, P + T).

    Heads that share keys stand one after the other as so many more queries: keys and values are not copied for each.
    """
    batch, responses, heads, length, width = query.shape
    shared = heads // key.shape[2]
    answers = nn.functional.scaled_dot_product_attention(
        query.reshape(batch * responses, -1, shared * length, width),
        key.flatten(0, 1),
        value.flatten(0, 1),
        attn_mask=mask.repeat(1, 1, shared, 1),
        dropout_p=dropout,
        scale=scaling,
    )
    return answers.reshape(batch, responses, heads, length, -1)


def _response_mask(tree: Tree) -> Tensor:
    """(B·N, 1, T, P + T) bool: the whole prompt, and what the response has said so far."""
    batch, responses, length = tree.slots.shape
    prompt = tree.prompt[:, None, None, :].expand(-1, responses, length, -1)
    # An empty slot sees the prompt: what sees nothing at all would be NaN. Its result is thrown away.
    causal = torch.ones(length, length, dtype=torch.bool, device=tree.slots.device).tril()
    own = tree.filled[:, :, None, :] & causal
    return torch.cat([prompt, own], dim=-1).reshape(batch * responses, 1, length, -1)


def _as_index(slots: Tensor, like: Tensor) -> Tensor:
    return slots.reshape(slots.shape[0], -1, 1, 1).expand_as(like)


def restarted(positions: Tensor, offsets: Tensor) -> Tensor:
    """The positions with every response counted on from the end of the prompt, as if it stood alone.

    positions: (B, L), or (3, B, L) for a backbone with positions in time, height and width; offsets: (B, L) place of
    each token within its response, −1 in the prompt, −2 in padding.
    """
    prompt = positions.masked_fill(offsets != -1, -1)
    after = prompt.amax(dim=-1) + 1
    if positions.ndim == 3:
        after = after.amax(dim=0)
    return torch.where(offsets >= 0, after[:, None] + offsets, positions)


AttentionInterface.register(TREE, tree_attention)
AttentionMaskInterface.register(TREE, sdpa_mask)
