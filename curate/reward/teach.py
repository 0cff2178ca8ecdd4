"""What a backbone from scratch is taught first: to know, after a response, what is right and what the response says.

Whether a response is right shows only in the meeting of what is seen and what is said: neither alone says anything of
the votes, and a model that knows neither stands on a plateau for long. One that was trained before, as real backbones
were, knows both. Lessons stand in for that: videos of their own, which nobody voted on, with the answer told.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from curate.reward.batch import Batch
from curate.reward.examples import Example
from curate.reward.loading import Loader
from curate.reward.model import RewardModel
from curate.reward.reading import read_examples
from curate.reward.schedule import rate, steps_of_epoch
from schemas.errors import CurateError


@dataclass(frozen=True)
class Lesson:
    """A question on a video, responses to it, and the answers in a word."""

    example: Example
    right: str
    """The right answer."""
    said: tuple[str, ...]
    """(N,) the answer that each response gives."""


def read_lessons(path: Path, *, media: Path | None = None) -> list[Lesson]:
    """The lessons of a JSONL file: video, prompt, responses, right, said. Raises CurateError naming the line at fault.

    media: the folder that the paths of videos start from; that of the file when None.
    """
    lessons = []
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()] if path.exists() else []
    for number, (example, line) in enumerate(zip(read_examples(path, media=media), lines, strict=True), start=1):
        row = json.loads(line)
        right, said = row.get("right"), row.get("said")
        words = [right, *said] if isinstance(said, list) else [None]
        if len(words) != 1 + len(example.responses) or not all(isinstance(word, str) and word for word in words):
            raise CurateError(
                f"{path}:{number}: right is {right!r} and said is {said!r}; expected a word, and one for each response",
                hint="curate simulate --video --lessons N writes such a file",
            )
        lessons.append(Lesson(example, right, tuple(said)))
    return lessons


def teach(
    model: RewardModel,
    loader: Loader,
    lessons: Sequence[Lesson],
    *,
    epochs: int,
    batch: int = 16,
    learning_rate: float = 1e-3,
    seed: int = 0,
    tell: Callable[[int, int, float], None] = lambda _step, _steps, _loss: None,
) -> None:
    """Train all of the backbone on the lessons, by the loss ``unsure``. Equal arguments give equal weights."""
    planned = [step for epoch in range(epochs) for step in steps_of_epoch(len(lessons), batch, seed=seed, epoch=epoch)]
    tokens = tokens_of(model, sorted({word for lesson in lessons for word in (lesson.right, *lesson.said)}))
    optimizer = torch.optim.AdamW(model.backbone.parameters(), lr=learning_rate)
    model.train()
    for number, encoded in enumerate(loader.stream([[lessons[i].example for i in step] for step in planned])):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate * rate(number, len(planned), warmup=0.05, schedule="cosine")
        loss = unsure(model, model.collate(encoded), [lessons[i] for i in planned[number]], tokens)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.backbone.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        tell(number + 1, len(planned), float(loss.detach()))


def tokens_of(model: RewardModel, words: Sequence[str]) -> dict[str, int]:
    """The first token of each word. Raises CurateError where two words begin with the same."""
    tokens = {word: model.encoder.tokenizer.encode(f" {word}", add_special_tokens=False)[0] for word in words}
    if len(set(tokens.values())) < len(tokens):
        raise CurateError(f"lessons: of {', '.join(words)} some begin with the same token", hint="use other words")
    return tokens


def unsure(model: RewardModel, batch: Batch, lessons: Sequence[Lesson], tokens: dict[str, int]) -> Tensor:
    """Mean cross-entropy, at the end of every response, toward two next tokens: what is right, and what was said."""
    logits = model.backbone.lm_head(model.states(batch)[batch.row, batch.end][batch.present]).float()
    right = torch.tensor([tokens[lesson.right] for lesson in lessons for _ in lesson.said], device=logits.device)
    said = torch.tensor([tokens[word] for lesson in lessons for word in lesson.said], device=logits.device)
    loss = torch.nn.functional.cross_entropy
    return (loss(logits, right) + loss(logits, said)) / 2
