"""Scoring in the workers of an engine, each of which loads the model once and computes with one thread."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from curate.array_types import Float
from curate.engine import Engine, Part, map_parts
from curate.reward import checkpoint
from curate.reward.data import Example
from curate.reward.scoring import WINDOW, Scorer
from schemas.reward import Precision, Template


@dataclass(frozen=True)
class ModelCall:
    """Calls a method of a ``Scorer``, which each process loads once. Parameters: as of ``Scorer.from_pretrained``."""

    model: str
    device: str | None = None
    dtype: Precision | None = None
    template: Template | None = None
    orders: int = 1

    @cached_property
    def scorer(self) -> Scorer:
        return Scorer.from_pretrained(
            self.model, device=self.device, dtype=self.dtype, template=self.template, orders=self.orders
        )

    def __call__(self, call: tuple[str, Sequence[Example], tuple[Any, ...]]) -> list[Any]:
        method, examples, more = call
        found: list[Any] = getattr(self.scorer, method)(examples, *more)
        return found


class EngineScorer:
    """The methods of a ``Scorer`` that take many examples, computed by the workers of an engine."""

    def __init__(self, engine: Engine, call: ModelCall) -> None:
        self._engine, self._call = engine, call
        self.layout = checkpoint.read_config(Path(call.model)).layout
        self.orders = call.orders if self.layout == "causal" else 1

    def score_examples(self, examples: Sequence[Example]) -> list[list[float]]:
        return self._all("score_examples", examples)

    def score_orders(self, examples: Sequence[Example], orders: int) -> list[Float]:
        return self._all("score_orders", examples, orders)

    def refusals(self, examples: Sequence[Example]) -> list[str]:
        return self._all("refusals", examples)

    def _all(self, method: str, examples: Sequence[Example], *more: Any) -> list[Any]:
        parts = parts_of(method, examples, *more)
        return [one for part in map_parts(self._call, parts, engine=self._engine) for one in part]


def parts_of(method: str, examples: Sequence[Example], *more: Any) -> list[Part]:
    """The parts of a call of a method: WINDOW examples each, so that batches are those of one process."""
    windows = [examples[start : start + WINDOW] for start in range(0, len(examples), WINDOW)]
    return [Part(f"examples {own[0].item_id} to {own[-1].item_id}", (method, own, more)) for own in windows]


@contextmanager
def scorer_of(call: ModelCall, engine: Engine | None) -> Iterator[Scorer | EngineScorer]:
    """The scorer of a model: that of the workers of an engine; None: of this process."""
    if engine is not None:
        yield EngineScorer(engine, call)
    else:
        with call.scorer as scorer:
            yield scorer
