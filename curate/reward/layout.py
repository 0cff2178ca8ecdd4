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
    responses, length = tree.slots.shape[1:]
    mask = None if attention_mask is None else attention_mask[:, :, :prompt, :prompt]
    head, _ = sdpa_attention_forward(
        module, query[:, :, :prompt], key[:, :, :prompt], value[:, :, :prompt], mask, **options
    )
    own_query, own_key, own_value = (_gather(states, tree.slots) for states in (query, key, value))
    seen_key = torch.cat([_shared(key[:, :, :prompt], responses), own_key], dim=2)
    seen_value = torch.cat([_shared(value[:, :, :prompt], responses), own_value], dim=2)
    answers, _ = sdpa_attention_forward(module, own_query, seen_key, seen_value, _response_mask(tree), **options)
    answers = answers.reshape(batch, responses * length, *answers.shape[2:])
    out = head.new_zeros(batch, query.shape[2], *head.shape[2:])
    out[:, :prompt] = head * tree.prompt[:, :, None, None]
    # Empty slots all point at token 0: adding nothing there leaves it as it is.
    answers = answers * tree.filled.view(batch, -1, 1, 1)
    return out.scatter_add(1, _as_index(tree.slots, answers), answers), None


def _gather(states: Tensor, slots: Tensor) -> Tensor:
    """(B·N, heads, T, D) of (B, heads, L, D) at (B, N, T) places."""
    batch, heads, _, width = states.shape
    _, responses, length = slots.shape
    index = slots.reshape(batch, 1, -1, 1).expand(-1, heads, -1, width)
    taken = states.gather(2, index).view(batch, heads, responses, length, width)
    return taken.transpose(1, 2).reshape(batch * responses, heads, length, width)


def _shared(states: Tensor, responses: int) -> Tensor:
    """(B·N, heads, P, D) of (B, heads, P, D): the prompt, once for each response."""
    return states.repeat_interleave(responses, dim=0)


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
