"""Scores of examples by a trained model: batched, in the given order, independent of the rest of the batch."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from curate.array_types import Float, Index
from curate.clients.prompts import PlainPrompt
from curate.reward import checkpoint
from curate.reward.data import Example
from curate.reward.layout import passes_of
from curate.reward.loader import Loader
from curate.reward.model import RewardModel
from curate.reward.processes import ALONE, Processes
from curate.reward.sequence import Encoded
from schemas.errors import CurateError
from schemas.reward import Precision, Template

WINDOW = 64
"""Examples that are read and sorted by length at a time."""


class Scorer:
    """A reward model with a media loader. Use it as a context manager: videos are decoded in worker processes.

    Examples
    --------
    >>> scorer = Scorer.from_pretrained("model")  # doctest: +SKIP
    >>> scorer.score("What happens?", ["A ball falls.", "Nothing."], video="clip.mp4")  # doctest: +SKIP
    [1.73, -0.41]
    """

    def __init__(
        self,
        model: RewardModel,
        *,
        orders: int = 1,
        pass_tokens: int = 16_384,
        workers: int = 1,
        timeout: float = 30.0,
        loader: Loader | None = None,
        processes: Processes = ALONE,
    ) -> None:
        """orders: of the responses over which scores are averaged, in the layout ``causal``; other layouts need none.
        pass_tokens: most in one forward pass, padding included. workers: processes that decode videos. timeout: seconds
        per example with media. loader: an existing one. processes: those that call this with equal arguments: each
        computes its share, and all return the whole result."""
        self.model = model
        self.layout = model.config.layout
        self.orders = orders if self.layout == "causal" else 1
        self.pass_tokens = pass_tokens
        self.processes = processes
        self.loader = loader or Loader(
            model.encoder,
            frames=model.config.frames,
            fps=model.config.fps,
            workers=workers,
            timeout=timeout,
            pin=model.device.type == "cuda",
        )

    @classmethod
    def from_pretrained(
        cls,
        folder: str | Path,
        *,
        device: str | None = None,
        dtype: Precision | None = None,
        template: Template | None = None,
        orders: int = 1,
    ) -> Scorer:
        """The scorer of a model folder. device, dtype, template: as in ``curate.reward.checkpoint.load``."""
        precision = getattr(torch, dtype) if dtype else None
        return cls(checkpoint.load(folder, device=device, dtype=precision, template=template), orders=orders)

    def score(
        self,
        prompt: str,
        responses: Sequence[str],
        *,
        video: str | Path | None = None,
        images: Sequence[str | Path] = (),
    ) -> list[float]:
        """(N,) scores of the responses to one prompt, higher is better.

        Only differences within one call are meaningful: the model is trained to compare the responses to one prompt.
        A prompt in the model's own chat template is scored without it. Raises CurateError for other control tokens,
        and for a prompt that refers to media which are not given.
        """
        plain = self.plain_prompt(prompt)
        if plain.names_media and not (video or images):
            raise CurateError("the prompt refers to an image or a video that is not given", hint="give video or images")
        clip, pictures = Path(video) if video else None, tuple(map(Path, images))
        return self.score_examples([Example("example", plain.text, tuple(responses), video=clip, images=pictures)])[0]

    def plain_prompt(self, text: str) -> PlainPrompt:
        """The question of a prompt as trainers send it: ``Encoder.plain_prompt``."""
        return self.model.encoder.plain_prompt(text)

    def score_examples(self, examples: Sequence[Example]) -> list[list[float]]:
        """The N scores of each example. Raises CurateError naming the first one that cannot be read or does not fit."""
        return [scores.mean(axis=0).tolist() for scores in self.score_orders(examples, self.orders)]

    def score_orders(self, examples: Sequence[Example], orders: int) -> list[Float]:
        """(orders, N) scores of each example, in columns as given, under several orders, the first as given."""
        orders_of = [_orders(example, orders) for example in examples]
        permuted = [e.permuted(order.tolist()) for e, own in zip(examples, orders_of, strict=True) for order in own]
        share = self.processes.share(permuted)
        windows = [share[i : i + WINDOW] for i in range(0, len(share), WINDOW)]
        rows = [row for window in self.loader.stream(windows) for row in self._score_window(window)]
        scores = iter(self.processes.merge(rows, len(permuted)))
        return [np.stack([next(scores)[np.argsort(order)] for order in own]) for own in orders_of]

    def refusals(self, examples: Sequence[Example]) -> list[str]:
        """Why each example cannot be scored, its media included; empty where it can."""
        return self.processes.merge(self.loader.check(self.processes.share(examples)), len(examples))

    @torch.no_grad()  # not inference mode, whose tensors sharded weights cannot be trained with
    def _score_window(self, sequences: Sequence[Encoded]) -> list[Float]:
        """The N scores of each sequence."""
        training = self.model.training
        self.model.eval()
        rows: list[Float] = [np.empty(0)] * len(sequences)
        for part in self.processes.repeated(passes_of(sequences, self.pass_tokens)):
            scores = self.model(self.model.collate([sequences[i] for i in part])).double().cpu().numpy()
            for i, row in zip(part, scores, strict=True):
                rows[i] = row[: len(sequences[i].ends)]
        self.model.train(training)
        return rows

    def __enter__(self) -> Scorer:
        return self

    def __exit__(self, *error: object) -> None:
        self.loader.__exit__(*error)


def _orders(example: Example, number: int) -> list[Index]:
    """Orders of the responses: the given one, then permutations that depend only on the item id."""
    given = np.arange(len(example.responses))
    rng = np.random.default_rng(zlib.crc32(example.item_id.encode()))
    return [given, *(rng.permutation(len(given)) for _ in range(number - 1))]
