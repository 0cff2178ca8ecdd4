"""Scores of examples by a trained model: batched, in the order given, the same whatever else is asked."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from curate.reward import checkpoint
from curate.reward.batch import chunks, shares_pass
from curate.reward.examples import Example
from curate.reward.loading import Loader
from curate.reward.model import RewardModel
from curate.reward.sequence import Encoded

Float = npt.NDArray[np.float64]
Int = npt.NDArray[np.int64]

WINDOW = 64
"""Examples that are read and sorted by length at a time."""


class Scorer:
    """A reward model with what it takes to read media. A context manager: where it reads any, it owns processes."""

    def __init__(
        self,
        model: RewardModel,
        *,
        orders: int = 1,
        pass_tokens: int = 16_384,
        workers: int = 1,
        timeout: float = 30.0,
        loader: Loader | None = None,
    ) -> None:
        """orders: permutations of the responses over which scores are averaged, in the layout causal; the others need
        none. pass_tokens: in one pass, with padding. timeout: seconds for a media file. loader: one that is there."""
        self.model = model
        self.orders = orders if model.shape.layout == "causal" else 1
        self.pass_tokens = pass_tokens
        self.loader = loader or Loader(model.encoder, frames=model.shape.frames, workers=workers, timeout=timeout)

    @classmethod
    def from_pretrained(
        cls, folder: str | Path, *, device: str | None = None, dtype: torch.dtype | None = None, orders: int = 1
    ) -> Scorer:
        """The scorer of a model's folder, as ``curate train`` or the official code wrote it."""
        return cls(checkpoint.load(folder, device=device, dtype=dtype), orders=orders)

    def score(
        self,
        prompt: str,
        responses: Sequence[str],
        *,
        video: str | Path | None = None,
        images: Sequence[str | Path] = (),
    ) -> list[float]:
        """(N,) a score for each response to one prompt, higher is better. Only differences within one call mean
        anything: the training compares the responses to one prompt."""
        example = Example(
            item_id="example",
            prompt=prompt,
            responses=tuple(responses),
            video=Path(video) if video else None,
            images=tuple(map(Path, images)),
        )
        return self.score_examples([example])[0]

    def score_examples(self, examples: Sequence[Example]) -> list[list[float]]:
        """The N scores of each example, as ``score`` gives them. Raises CurateError naming an example that cannot be
        read or does not fit."""
        return [scores.mean(axis=0).tolist() for scores in self.by_order(examples, self.orders)]

    def by_order(self, examples: Sequence[Example], orders: int) -> list[Float]:
        """(orders, N) scores of each example under so many orders of its responses, the first as given; responses are
        in the order of the example whatever they were asked in."""
        asked = [_orders(example, orders) for example in examples]
        shown = [
            example.permuted(order.tolist()) for example, own in zip(examples, asked, strict=True) for order in own
        ]
        windows = [shown[i : i + WINDOW] for i in range(0, len(shown), WINDOW)]
        scores = iter([row for window in self.loader.stream(windows) for row in self._window(window)])
        found = []
        for own in asked:
            table = np.empty((len(own), len(own[0])))
            for place, order in enumerate(own):
                table[place, order] = next(scores)
            found.append(table)
        return found

    @torch.inference_mode()
    def _window(self, sequences: Sequence[Encoded]) -> list[Float]:
        training = self.model.training
        self.model.eval()
        found: list[Float] = [np.empty(0)] * len(sequences)
        lengths = [len(sequence.input_ids) for sequence in sequences]
        for part in chunks(lengths, self.pass_tokens, alone=[not shares_pass(sequence) for sequence in sequences]):
            scores = self.model(self.model.collate([sequences[i] for i in part])).double().cpu().numpy()
            for i, row in zip(part, scores, strict=True):
                found[i] = row[: len(sequences[i].ends)]
        self.model.train(training)
        return found

    def __enter__(self) -> Scorer:
        return self

    def __exit__(self, *error: object) -> None:
        self.loader.__exit__(*error)


def _orders(example: Example, number: int) -> list[Int]:
    """Orders to ask in: the one given, then others that depend on the item and on nothing else."""
    given = np.arange(len(example.responses))
    rng = np.random.default_rng(zlib.crc32(example.item_id.encode()))
    return [given, *(rng.permutation(len(given)) for _ in range(number - 1))]
