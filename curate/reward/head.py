"""From the state at a response's end to its score: the value head, and the attention that compares responses."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class ValueHead(nn.Sequential):
    """(…, H) states to (…) scores, higher is better: linear, SiLU, linear, divided by √H (arXiv 2604.10966).

    The first layer keeps the scale of what comes in and the last one begins at zero: all responses start equal, the
    loss at log N, and the first step moves the scores. (In ten steps on a frozen backbone the loss falls more than 1.3
    times as far as from two layers of deviation .01, as the official code has them: a test.) The names of its weights
    are those of the official ``value_head.pt``.
    """

    def __init__(self, width: int, hidden: int = 1024) -> None:
        first, last = nn.Linear(width, hidden), nn.Linear(hidden, 1)
        super().__init__(first, nn.SiLU(), last)
        self.scale = width**0.5
        nn.init.normal_(first.weight, std=width**-0.5)
        nn.init.zeros_(first.bias)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)

    def forward(self, states: Tensor) -> Tensor:
        for layer in self:
            states = layer(states)
        scores: Tensor = states.squeeze(-1) / self.scale
        return scores


class Comparison(nn.Module):
    """(B, N, H) states to the same, each having looked at the others: whatever their order, and however many.

    Two blocks of a transformer without positions (Lee et al., "Set Transformer", 2019), in a space of ``width``. What
    they add begins at zero, so that the layout ``set`` begins as ``tree``. One response alone is compared with nothing.
    """

    def __init__(self, states: int, width: int = 128, heads: int = 4) -> None:
        super().__init__()
        self.down = nn.Linear(states, width)
        block = nn.TransformerEncoderLayer(
            width, heads, dim_feedforward=2 * width, dropout=0.0, batch_first=True, norm_first=True
        )
        self.blocks = nn.TransformerEncoder(block, num_layers=2, enable_nested_tensor=False)
        self.norm = nn.LayerNorm(width)
        self.up = nn.Linear(width, states)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, states: Tensor, present: Tensor) -> Tensor:
        """present: (B, N) bool."""
        seen: Tensor = self.blocks(self.down(states), src_key_padding_mask=~present)
        added: Tensor = self.up(self.norm(seen))
        return states + added


def score(states: Tensor, present: Tensor, head: ValueHead, comparison: Comparison | None) -> Tensor:
    """(B, N) scores of (B, N, H) states, float32, −∞ where there is no response."""
    if comparison is not None:
        states = comparison(states, present)
    scores: Tensor = head(states)
    return scores.masked_fill(~present, -torch.inf)
