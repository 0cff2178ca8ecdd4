"""Sequences side by side: padding, what a layout needs to know of it, and batches of like length."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from itertools import pairwise
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from curate.reward.layout import Tree
from curate.reward.sequence import Encoded
from schemas.training import Layout

T = TypeVar("T")

CONCATENATED = {
    "pixel_values",
    "pixel_values_videos",
    "image_grid_thw",
    "video_grid_thw",
    "second_per_grid_ts",
}
"""Visual inputs of which those of several examples are simply put one after the other (the Qwen-VL family)."""


@dataclass(frozen=True)
class Batch:
    """B examples as R rows of L tokens: one row each, or with layout ``single`` one a response."""

    input_ids: Tensor
    """(R, L)"""
    attention_mask: Tensor
    """(R, L) 1 for a token, 0 for padding, which is at the end."""
    types: Tensor
    """(R, L) 0 text, 1 image, 2 video."""
    offsets: Tensor
    """(R, L) place of a token within its response; −1 in the prompt, −2 in padding."""
    row: Tensor
    """(B, N) the row in which a response is read."""
    end: Tensor
    """(B, N) the place in that row."""
    present: Tensor
    """(B, N) bool: there is such a response."""
    tree: Tree | None
    visual: dict[str, Tensor]

    def to(self, device: torch.device) -> Batch:
        """The batch on a device."""
        return _moved(self, device)


def collate(sequences: Sequence[Encoded], layout: Layout, pad: int) -> Batch:
    """The batch of at least one sequence. pad: the token that fills up."""
    rows = [part for sequence in sequences for part in _alone(sequence)] if layout == "single" else list(sequences)
    counts = [len(sequence.ends) for sequence in sequences]
    present = torch.arange(max(counts)) < torch.tensor(counts)[:, None]
    row, end = torch.zeros(present.shape, dtype=torch.long), torch.zeros(present.shape, dtype=torch.long)
    ends = [place for sequence in rows for place in sequence.ends]
    row[present] = torch.tensor([number for number, sequence in enumerate(rows) for _ in sequence.ends])
    end[present] = torch.tensor(ends)
    length = torch.tensor([len(sequence.input_ids) for sequence in rows])
    return Batch(
        input_ids=pad_sequence([sequence.input_ids for sequence in rows], batch_first=True, padding_value=pad),
        attention_mask=(torch.arange(int(length.max())) < length[:, None]).long(),
        types=pad_sequence([sequence.types for sequence in rows], batch_first=True),
        offsets=pad_sequence([_offsets(sequence) for sequence in rows], batch_first=True, padding_value=-2),
        row=row,
        end=end,
        present=present,
        tree=_tree(rows) if layout in ("tree", "set") else None,
        visual=_visual(rows),
    )


def chunks(lengths: Sequence[int], tokens: int, *, alone: Sequence[bool]) -> list[list[int]]:
    """Positions of the examples, cut into passes of like length and at most ``tokens`` tokens with their padding.

    alone: the example cannot share a pass. One longer than ``tokens`` has a pass of its own. Deterministic.
    """
    passes: list[list[int]] = []
    for i in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        room = passes and lengths[passes[-1][0]] * (len(passes[-1]) + 1) <= tokens
        if room and not alone[i] and not alone[passes[-1][0]]:
            passes[-1].append(i)
        else:
            passes.append([i])
    return passes


def shares_pass(sequence: Encoded) -> bool:
    """Whether its visual inputs may stand beside those of others."""
    return set(sequence.visual) <= CONCATENATED


def _alone(sequence: Encoded) -> list[Encoded]:
    """The prompt with each of its responses alone."""
    parts = []
    for start, end in zip(sequence.starts, sequence.ends, strict=True):
        keep = torch.cat([torch.arange(sequence.prompt_length), torch.arange(start, end + 1)])
        parts.append(
            replace(
                sequence,
                input_ids=sequence.input_ids[keep],
                types=sequence.types[keep],
                starts=(sequence.prompt_length,),
                ends=(len(keep) - 1,),
            )
        )
    return parts


def _offsets(sequence: Encoded) -> Tensor:
    offsets = torch.full_like(sequence.input_ids, -1)
    bounds = [*sequence.starts, len(offsets)]
    for start, stop in pairwise(bounds):
        offsets[start:stop] = torch.arange(stop - start)
    return offsets


def _tree(rows: Sequence[Encoded]) -> Tree:
    prompts = torch.tensor([sequence.prompt_length for sequence in rows])
    responses = max(len(sequence.ends) for sequence in rows)
    longest = max(end + 1 - start for row in rows for start, end in zip(row.starts, row.ends, strict=True))
    slots = torch.zeros(len(rows), responses, longest, dtype=torch.long)
    filled = torch.zeros_like(slots, dtype=torch.bool)
    for b, sequence in enumerate(rows):
        for n, (start, end) in enumerate(zip(sequence.starts, sequence.ends, strict=True)):
            slots[b, n, : end + 1 - start] = torch.arange(start, end + 1)
            filled[b, n, : end + 1 - start] = True
    return Tree(prompt=torch.arange(int(prompts.max())) < prompts[:, None], slots=slots, filled=filled)


def _visual(rows: Sequence[Encoded]) -> dict[str, Tensor]:
    names = sorted({name for sequence in rows for name in sequence.visual})
    if len(rows) > 1 and not set(names) <= CONCATENATED:
        raise ValueError("visual inputs of this backbone cannot share a pass")
    return {name: torch.cat([row.visual[name] for row in rows if name in row.visual]) for name in names}


def _moved(value: T, device: torch.device) -> T:
    if isinstance(value, Tensor):
        return value.to(device)  # type: ignore[return-value]
    if isinstance(value, dict):
        return {key: _moved(item, device) for key, item in value.items()}  # type: ignore[return-value]
    if is_dataclass(value) and not isinstance(value, type):
        moved: dict[str, Any] = {f.name: _moved(getattr(value, f.name), device) for f in fields(value)}
        return replace(value, **moved)
    return value
