"""A reward function for TRL's GRPOTrainer: each prompt's completions are scored together, in one pass."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from curate.reward.batching import Scorer, item_name
from curate.reward.examples import Example
from schemas.errors import CurateError

Text = str | Sequence[Mapping[str, Any]]
"""A text, or the messages of a conversation."""


class GroupReward:
    """Rewards for completions, higher is better: ``GRPOTrainer(reward_funcs=GroupReward(scorer, num_generations=8))``.

    TRL calls it with flat lists, in which the completions of one prompt stand side by side. A run of equal prompts
    (and media) is one group; ``num_generations`` cuts a longer run, where two rows of a data set hold the same prompt,
    into groups of that size. Each group is one pass over its distinct completions, in the order of their first
    appearance, so equal completions get equal rewards. With ``single`` each distinct completion is a pass of its own.

    A blank completion is shown to the scorer as an empty response, unless ``floor`` is given: then it is not shown, and
    its reward is ``floor``. A scorer that was never taught what an empty response is worth wants a floor.

    ``video`` and ``images`` name columns of the data set that hold a path, and a list of paths. Parameters of the call
    that are not so named (completion_ids, trainer_state, other columns) are not looked at.
    """

    def __init__(
        self,
        scorer: Scorer,
        *,
        num_generations: int | None = None,
        single: bool = False,
        floor: float | None = None,
        video: str | None = None,
        images: str | None = None,
        name: str = "group_reward",
    ) -> None:
        self.scorer, self.num_generations, self.single, self.floor = scorer, num_generations, single, floor
        self.video, self.images = video, images
        self.__name__ = name
        """What TRL logs the reward as: rewards/NAME/mean."""

    def __call__(self, prompts: Sequence[Text], completions: Sequence[Text], **columns: Any) -> list[float]:
        """One reward for each completion, in their order.

        Raises CurateError where a media column is missing or the scorer does not return a finite score for each.
        """
        texts = [completion_text(completion) for completion in completions]
        rows = self._rows([prompt_text(prompt) for prompt in prompts], columns)
        rewards: dict[int, float] = {}
        if self.floor is not None:
            rewards = {i: self.floor for i, text in enumerate(texts) if not text.strip()}
        examples: list[Example] = []
        members: list[list[list[int]]] = []
        for group in groups(rows, self.num_generations):
            places: dict[str, list[int]] = {}
            for i in group:
                if i not in rewards:
                    places.setdefault(texts[i], []).append(i)
            passes = [[text] for text in places] if self.single else [list(places)] if places else []
            for responses in passes:
                prompt, video, images = rows[group[0]]
                item = item_name(prompt, responses)
                examples.append(Example(item, prompt, tuple(responses), video=video, images=images))
                members.append([places[text] for text in responses])
        for shared, scores in zip(members, self._scores(examples), strict=True):
            for equal, score in zip(shared, scores, strict=True):
                rewards.update(dict.fromkeys(equal, score))
        return [rewards[i] for i in range(len(texts))]

    def _rows(self, prompts: Sequence[str], columns: Mapping[str, Any]) -> list[Row]:
        """What each completion answers to: prompt, video, images."""
        videos = self._column(self.video, columns, len(prompts))
        images = self._column(self.images, columns, len(prompts))
        return [
            (prompt, Path(video) if video else None, tuple(Path(image) for image in some or ()))
            for prompt, video, some in zip(prompts, videos, images, strict=True)
        ]

    def _column(self, name: str | None, columns: Mapping[str, Any], count: int) -> Sequence[Any]:
        if name is None:
            return [None] * count
        if name not in columns:
            raise CurateError(f"the data set has no column {name!r}", hint="name the column that holds the paths")
        values: Sequence[Any] = columns[name]
        return values

    def _scores(self, examples: list[Example]) -> list[list[float]]:
        rows = self.scorer.score_examples(examples) if examples else []
        if [len(row) for row in rows] != [len(example.responses) for example in examples]:
            raise CurateError("the scorer did not return one score for each response", hint="look at its model")
        for example, row in zip(examples, rows, strict=True):
            if not all(map(math.isfinite, row)):
                raise CurateError(f"no finite score for a response to {example.prompt!r}", hint="look at its model")
        return rows


Row = tuple[str, Path | None, tuple[Path, ...]]


def groups(rows: Sequence[Any], size: int | None = None) -> list[list[int]]:
    """Positions of each run of equal rows, cut after every ``size`` of them.

    >>> groups(["p", "p", "p", "p", "q", "p"], 2)
    [[0, 1], [2, 3], [4], [5]]
    """
    found: list[list[int]] = []
    for i, row in enumerate(rows):
        if found and rows[found[-1][0]] == row and (size is None or len(found[-1]) < size):
            found[-1].append(i)
        else:
            found.append([i])
    return found


def prompt_text(prompt: Text) -> str:
    """The text of a prompt: that of its only message, or of several with their roles, a paragraph each.

    >>> prompt_text([{"role": "user", "content": "Why?"}])
    'Why?'
    >>> prompt_text([{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Why?"}])
    'system: Be brief.\\n\\nuser: Why?'
    """
    if isinstance(prompt, str):
        return prompt
    if len(prompt) == 1:
        return _content(prompt[0])
    return "\n\n".join(f"{message['role']}: {_content(message)}" for message in prompt)


def completion_text(completion: Text) -> str:
    """The text of a completion: what its assistant messages say, a line each; tools' messages are left out."""
    if isinstance(completion, str):
        return completion
    said = [_content(message) for message in completion if message["role"] == "assistant"]
    return "\n".join(text for text in said if text)


def _content(message: Mapping[str, Any]) -> str:
    """A message's text; of one in parts, the text parts."""
    content = message.get("content") or ""
    if isinstance(content, str):
        return content
    return "".join(part["text"] for part in content if part.get("type") == "text")
