"""Training losses: pure functions of scores, ranks and a mask; one value per example.

All take

    scores   (B, N) float, higher is better
    ranks    (B, N) int, 1 is best, equal responses share a rank
    present  (B, N) bool, the response exists
    soft     (B, N) P(response i is the best) from the denoiser, sums to 1; None: the target follows from the ranks

and return (B,) losses in nats.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from schemas.reward import LossName

Loss = Callable[[Tensor, Tensor, Tensor, Tensor | None], Tensor]


def label_targets(ranks: Tensor, present: Tensor) -> Tensor:
    """(B, N) target distribution of the labels: uniform over the responses with the best rank."""
    ranks = ranks.masked_fill(~present, torch.iinfo(ranks.dtype).max)
    best = (ranks == ranks.amin(dim=1, keepdim=True)).float()
    return best / best.sum(dim=1, keepdim=True)


def top1(scores: Tensor, ranks: Tensor, present: Tensor, soft: Tensor | None = None) -> Tensor:
    """(B,) cross-entropy of the softmax over the N scores toward the best response (arXiv 2604.10966)."""
    targets = label_targets(ranks, present) if soft is None else soft
    return -(targets * _log_softmax(scores, present)).sum(dim=1)


def plackett_luce(scores: Tensor, ranks: Tensor, present: Tensor, soft: Tensor | None = None) -> Tensor:
    """(B,) mean cross-entropy over the stages of a ranking; each stage chooses the best remaining response.

    Plackett (1975), Luce (1959). The stage of rank r chooses among the responses of rank r or worse; responses that
    share rank r share the target (Breslow, 1974). ``soft`` is the target of the first stage; later stages renormalise
    it over the remaining responses (Luce's axiom). The last rank is no choice, unless it is the only one.
    """
    worst = ranks.masked_fill(~present, 0).amax(dim=1)
    total, stages = torch.zeros_like(scores[:, 0]), torch.zeros_like(scores[:, 0])
    for n in range(scores.shape[1]):
        rank = ranks[:, n : n + 1]
        remaining, equal = present & (ranks >= rank), present & (ranks == rank)
        first_of_rank = present[:, n] & ~equal[:, :n].any(dim=1)
        counted = first_of_rank & ((rank[:, 0] < worst) | (equal == present).all(dim=1))
        target = equal.float() if soft is None else soft * remaining
        target = target / target.sum(dim=1, keepdim=True).clamp_min(torch.finfo(target.dtype).tiny)
        # A stage that is not counted may have nothing remaining; it gets all responses so that its value is finite.
        candidates = torch.where(counted[:, None], remaining, present)
        loss = -(target * _log_softmax(scores, candidates)).sum(dim=1)
        total, stages = total + torch.where(counted, loss, 0.0), stages + counted
    return total / stages


def bradley_terry(scores: Tensor, ranks: Tensor, present: Tensor, soft: Tensor | None = None) -> Tensor:
    """(B,) mean cross-entropy over pairs of P(i is better than j) = σ(score i − score j) (Bradley and Terry, 1952).

    With ranks, pairs of equal rank are excluded. With ``soft``, the target of a pair is soft i / (soft i + soft j)
    (Luce's axiom).
    """
    score = scores.masked_fill(~present, 0.0)
    logits = score[:, :, None] - score[:, None, :]
    pairs = (present[:, :, None] & present[:, None, :]).triu(diagonal=1)
    if soft is None:
        pairs = pairs & (ranks[:, :, None] != ranks[:, None, :])
        target = (ranks[:, :, None] < ranks[:, None, :]).to(logits.dtype)
    else:
        both = soft[:, :, None] + soft[:, None, :]
        share = soft[:, :, None] / both.clamp_min(torch.finfo(both.dtype).tiny)
        target = torch.where(both > 0, share, 0.5).to(logits.dtype)
    loss = binary_cross_entropy_with_logits(logits, target, reduction="none")
    return (loss * pairs).sum(dim=(1, 2)) / pairs.sum(dim=(1, 2)).clamp_min(1)


def _log_softmax(scores: Tensor, among: Tensor) -> Tensor:
    """(B, N) log softmax of the scores over the responses in ``among``; 0 for the others."""
    return torch.log_softmax(scores.masked_fill(~among, -torch.inf), dim=1).masked_fill(~among, 0.0)


LOSSES: dict[LossName, Loss] = {"top1": top1, "plackett-luce": plackett_luce, "bradley-terry": bradley_terry}
