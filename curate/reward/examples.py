"""What a reward model is shown: a prompt, its video or images, N responses and, where known, their ranks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path


@dataclass(frozen=True)
class Example:
    """One prompt with N ≥ 1 responses. Nothing here is read from disk: paths are kept as paths."""

    item_id: str
    """What errors and tables call it; unique within its file."""
    prompt: str
    responses: tuple[str, ...]
    ranks: tuple[int, ...] = ()
    """(N,) 1 = best, equals share a rank; empty where they are not known."""
    video: Path | None = None
    images: tuple[Path, ...] = ()
    best_probabilities: tuple[float, ...] = ()
    """(N,) P(response i is the best of these) by the denoiser; sums to 1; empty where it is not known."""
    confidence: float | None = None
    """P(the labelled best is the best); None where the best is shared or nothing is known of it."""
    source: str = ""
    """The data set or category that it belongs to: figures are broken down by it."""

    @property
    def best(self) -> tuple[int, ...]:
        """0-based positions of the responses whose rank is the best."""
        return tuple(i for i, rank in enumerate(self.ranks) if rank == min(self.ranks))

    def permuted(self, order: Sequence[int]) -> Example:
        """The same item with response ``order[k]`` in place k."""
        return replace(
            self,
            responses=tuple(self.responses[i] for i in order),
            ranks=tuple(self.ranks[i] for i in order) if self.ranks else (),
            best_probabilities=tuple(self.best_probabilities[i] for i in order) if self.best_probabilities else (),
        )
