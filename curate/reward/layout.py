"""Examples side by side in one batch, and which tokens attend to which.

``causal``  each response attends to the prompt and the responses before it (arXiv 2604.10966);
``tree``    each response attends to the prompt and itself, as if it were alone, all in one pass;
``set``     a tree; then the N response states attend to each other, without positions (``model.Comparison``);
``single``  one pass per response.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from curate.reward.backbones import CONCATENATED
from curate.reward.sequence import Encoded
from schemas.errors import CurateError
from schemas.reward import Layout

TREE = "curate_tree"
"""Name of tree attention in the registry of transformers."""
TAIL = 1.3
"""Most work that attention of all responses in one piece may take, over that of each response with its own keys."""


class Tree(NamedTuple):
    """Which tokens of B sequences attend to which, once for all layers.

    The prompt is one part, and G groups of at most T tokens are the others: the N responses; or all that follows the
    shortest prompt, in one piece. A group attends to the first S tokens of its sequence and to itself, under a mask.
    """

    prompt: Tensor
    """(B, P) bool: the token belongs to the prompt; P is the length of the longest prompt."""
    slots: Tensor
    """(B, G, T) position in the sequence of each token of each group, 0 where there is none."""
    filled: Tensor
    """(B, G, T) bool: the slot holds a token of a response."""
    mask: Tensor
    """(B·G, 1, T, S + T) bool."""


class Batch(NamedTuple):
    """B examples as R rows of L tokens: one row per example, or one per response with layout ``single``."""

    input_ids: Tensor
    """(R, L)"""
    attention_mask: Tensor
    """(R, L) 1 for a token, 0 for padding, which is at the end."""
    token_types: Tensor
    """(R, L) 0 text, 1 image, 2 video."""
    offsets: Tensor
    """(R, L) position of a token within its response; −1 in the prompt, −2 in padding."""
    row: Tensor
    """(B, N) row of each response."""
    end: Tensor
    """(B, N) position in that row of the response's last token, whose state is scored."""
    present: Tensor
    """(B, N) bool: the response exists."""
    tree: Tree | None
    visual: dict[str, Tensor]
    apart: bool = False
    """All rows share the visual inputs of one example, which cannot be repeated: each row is a pass of its own."""

    def only(self, row: int) -> Batch:
        """The tokens of one row, with the visual inputs."""
        part = {name: getattr(self, name)[row : row + 1] for name in PER_TOKEN}
        return self._replace(**part, apart=False)


PER_TOKEN = ("input_ids", "attention_mask", "token_types", "offsets")
"""Fields of Batch of shape (R, L)."""


def collate(sequences: Sequence[Encoded], layout: Layout, pad: int) -> Batch:
    """The batch of one or more sequences. pad: the padding token."""
    rows = [part for sequence in sequences for part in _one_by_one(sequence)] if layout == "single" else list(sequences)
    present = _up_to([len(sequence.ends) for sequence in sequences])
    row, end = (torch.zeros(present.shape, dtype=torch.long) for _ in range(2))
    row[present] = torch.tensor([number for number, sequence in enumerate(rows) for _ in sequence.ends])
    end[present] = torch.tensor([position for sequence in rows for position in sequence.ends])
    offsets = pad_sequence([_offsets(sequence) for sequence in rows], batch_first=True, padding_value=-2)
    return Batch(
        input_ids=pad_sequence([sequence.input_ids for sequence in rows], batch_first=True, padding_value=pad),
        attention_mask=(offsets > -2).long(),
        token_types=pad_sequence([sequence.token_types for sequence in rows], batch_first=True),
        offsets=offsets,
        row=row,
        end=end,
        present=present,
        tree=_tree(rows, offsets) if layout in ("tree", "set") else None,
        visual=_visual(rows),
        apart=len(rows) > 1 and not _concatenable(rows),
    )


def plan_passes(lengths: Sequence[int], tokens: int, *, separate: Sequence[bool]) -> list[list[int]]:
    """Partition examples into passes of similar length with at most ``tokens`` tokens each, padding included.

    separate: the example cannot share a pass, as one longer than ``tokens``.
    """
    passes: list[list[int]] = []
    for i in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        fits = passes and lengths[passes[-1][0]] * (len(passes[-1]) + 1) <= tokens
        if fits and not separate[i] and not separate[passes[-1][0]]:
            passes[-1].append(i)
        else:
            passes.append([i])
    return passes


def passes_of(sequences: Sequence[Encoded], tokens: int) -> list[list[int]]:
    """``plan_passes`` of encoded examples: those whose visual inputs cannot be concatenated are separate."""
    separate = [not _concatenable([sequence]) for sequence in sequences]
    return plan_passes([len(sequence.input_ids) for sequence in sequences], tokens, separate=separate)


def _up_to(counts: Sequence[int]) -> Tensor:
    """(B, most) bool: the first ``counts[b]`` of each row."""
    return torch.arange(max(counts)) < torch.tensor(counts)[:, None]


def _one_by_one(sequence: Encoded) -> list[Encoded]:
    """The prompt with each of its responses alone."""
    parts = []
    for start, end in zip(sequence.starts, sequence.ends, strict=True):
        keep = torch.cat([torch.arange(sequence.prompt_length), torch.arange(start, end + 1)])
        ids, types = sequence.input_ids[keep], sequence.token_types[keep]
        starts, ends = (sequence.prompt_length,), (len(keep) - 1,)
        parts.append(replace(sequence, input_ids=ids, token_types=types, starts=starts, ends=ends))
    return parts


def _offsets(sequence: Encoded) -> Tensor:
    """(L,) position of each token within its response; −1 in the prompt."""
    offsets = torch.full_like(sequence.input_ids, -1)
    for start, stop in pairwise([*sequence.starts, len(offsets)]):
        offsets[start:stop] = torch.arange(stop - start)
    return offsets


def _tree(rows: Sequence[Encoded], offsets: Tensor) -> Tree:
    """The tree of a batch, in one piece where that is cheap. offsets: (B, L) of the padded batch."""
    prompt = _up_to([sequence.prompt_length for sequence in rows])
    groups = [list(zip(sequence.starts, sequence.ends, strict=True)) for sequence in rows]
    responses, longest = max(map(len, groups)), max(end + 1 - start for own in groups for start, end in own)
    length, first, shared = offsets.shape[1], min(each.prompt_length for each in rows), prompt.shape[1]
    if (length - first) * length <= TAIL * responses * longest * (shared + longest):
        groups, responses, longest, shared = [[(first, length - 1)]] * len(rows), 1, length - first, first
    slots = torch.full((len(rows), responses, longest), -1)
    for b, own in enumerate(groups):
        for g, (start, end) in enumerate(own):
            slots[b, g, : end + 1 - start] = torch.arange(start, end + 1)
    response = (offsets == 0).cumsum(dim=1)  # 0: the prompt
    owner = response.gather(1, slots.clamp_min(0).flatten(1)).view_as(slots).masked_fill(slots < 0, -1)
    keys, queries = owner[:, :, None, :], owner[:, :, :, None]
    within = ((keys == 0) | (keys == queries)) & torch.ones(longest, longest, dtype=torch.bool).tril()
    whole = prompt[:, None, None, :shared].expand(-1, responses, longest, -1)
    mask = torch.cat([whole, within], dim=-1).flatten(0, 1)[:, None]
    return Tree(prompt, slots.clamp_min(0), owner > 0, mask)


def _concatenable(rows: Sequence[Encoded]) -> bool:
    return all(set(row.visual) <= CONCATENATED for row in rows)


def _visual(rows: Sequence[Encoded]) -> dict[str, Tensor]:
    """The visual inputs of the rows, concatenated; those of one row where all are the same example's and cannot be."""
    if not _concatenable(rows):
        if any(row.visual is not rows[0].visual for row in rows):
            raise ValueError("visual inputs of this backbone cannot share a pass")
        return dict(rows[0].visual)
    names = sorted({name for sequence in rows for name in sequence.visual})
    return {name: torch.cat([row.visual[name] for row in rows if name in row.visual]) for name in names}


def set_attention(backbone: PreTrainedModel, name: str = TREE) -> None:
    """Switch the attention of the language model, and of no other part of the backbone."""
    nested = backbone.config.get_text_config() is not backbone.config
    backbone.set_attn_implementation({"text_config": name} if nested else name)


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
    """(B, L, heads, D) attention in which the prompt attends to itself, and each response to the prompt and itself.

    query: (B, heads, L, D); key, value: (B, key heads, L, D); attention_mask: (B, 1, L, L) bool or None, from the
    backbone: its part for the prompt is kept, so that vision tokens which attend to each other still do so.
    Costs P² + G·T·(S + T), where one causal pass costs (P + N·T)² / 2. Raises CurateError where the backbone does not
    pass ``tree`` on to its attention.
    """
    if tree is None:
        hint = "use the layout causal or single"
        raise CurateError("this backbone does not pass options to its attention", hint=hint)
    prompt, shared = tree.prompt.shape[1], tree.mask.shape[-1] - tree.slots.shape[-1]
    mask = None if attention_mask is None else attention_mask[:, :, :prompt, :prompt]
    options |= {"dropout": dropout, "scaling": scaling}
    first = (states[:, :, :prompt] for states in (query, key, value))
    of_prompt, _ = sdpa_attention_forward(module, *first, mask, **options)
    groups = tree.slots.shape[1]
    keys, values = (
        torch.cat([states[:, None, :, :shared].expand(-1, groups, -1, -1, -1), _gather(states, tree.slots)], dim=3)
        for states in (key, value)
    )
    # Heads that share keys are stacked as additional queries, so that keys and values are not copied per head.
    queries = _gather(query, tree.slots)
    stacked = query.shape[1] // key.shape[1]
    of_groups = nn.functional.scaled_dot_product_attention(
        queries.reshape(len(tree.mask), -1, stacked * queries.shape[3], queries.shape[4]),
        keys.flatten(0, 1),
        values.flatten(0, 1),
        attn_mask=tree.mask.repeat(1, 1, stacked, 1),
        dropout_p=dropout,
        scale=scaling,
    )
    of_groups = of_groups.reshape(*queries.shape[:4], -1).transpose(2, 3).flatten(1, 2)
    out = of_prompt.new_zeros(len(query), query.shape[2], *of_prompt.shape[2:])
    out[:, :prompt] = of_prompt * tree.prompt[:, :, None, None]
    # Slots that are not filled add zero.
    index = tree.slots.reshape(len(query), -1, 1, 1).expand_as(of_groups)
    return out.scatter_add(1, index, of_groups * tree.filled.view(len(query), -1, 1, 1)), None


def _gather(states: Tensor, slots: Tensor) -> Tensor:
    """(B, G, heads, T, D) states at the (B, G, T) slots of (B, heads, L, D)."""
    batch, heads, _, width = states.shape
    _, groups, length = slots.shape
    index = slots.reshape(batch, 1, -1, 1).expand(-1, heads, -1, width)
    return states.gather(2, index).view(batch, heads, groups, length, width).transpose(1, 2)


def restart_positions(positions: Tensor, offsets: Tensor) -> Tensor:
    """Position ids in which every response continues where the backbone puts the first one, as if it were alone.

    positions: (B, L), or (3, B, L) in time, height and width; offsets: (B, L) of ``Batch``.
    """
    start = (offsets == 0).int().argmax(dim=-1, keepdim=True)  # of the first response
    after = positions.gather(-1, start.expand(*positions.shape[:-1], 1))
    return torch.where(offsets >= 0, after + offsets, positions)


AttentionInterface.register(TREE, tree_attention)
AttentionMaskInterface.register(TREE, sdpa_mask)
