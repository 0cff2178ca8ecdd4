"""A reward function for TRL's GRPOTrainer: the completions of each prompt are scored together, in one pass."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from curate.reward.data import Example
from curate.reward.serving.batching import Scorer, checked_scores, content_id
from schemas.errors import CurateError

Text = str | Sequence[Mapping[str, Any]]
"""A text, or the messages of a conversation."""
Prompt = tuple[str, Path | None, tuple[Path, ...]]
"""Text, video, images."""


class GroupReward:
    """Rewards of completions, higher is better, as a reward function of TRL.

    TRL calls it with flat lists in which the completions of one prompt are adjacent. A run of equal prompts (and media)
    is one group. Each group is one pass over its distinct completions, in order of first appearance; equal completions
    get equal rewards.

    Parameters
    ----------
    scorer : Scorer
    num_generations : int, optional
        Splits a longer run, where two rows of the data set have the same prompt, into groups of this size.
    single : bool
        Score each distinct completion in a separate pass.
    floor : float, optional
        Reward of a blank completion, which is then not scored. Recommended for a scorer whose training data had no
        empty responses. By default a blank completion is scored as an empty response.
    video, images : str, optional
        Columns of the data set that hold a path, and a list of paths.
    name : str
        TRL logs the reward as rewards/NAME/mean.

    Examples
    --------
    >>> GRPOTrainer(reward_funcs=GroupReward(scorer, num_generations=8), ...)  # doctest: +SKIP
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

    def __call__(self, prompts: Sequence[Text], completions: Sequence[Text], **columns: Any) -> list[float]:
        """One reward per completion, in order. Columns that were not named (completion_ids, …) are ignored.

        Raises CurateError where a media column is missing or the scorer does not return a finite score per completion.
        """
        texts = [completion_text(completion) for completion in completions]
        rows = self._prompts([prompt_text(prompt) for prompt in prompts], columns)
        rewards: dict[int, float] = {}
        if self.floor is not None:
            rewards = {i: self.floor for i, text in enumerate(texts) if not text.strip()}
        examples: list[Example] = []
        members: list[list[list[int]]] = []
        """Of each example and response: the positions of the equal completions."""
        for group in groups(rows, self.num_generations):
            positions: dict[str, list[int]] = {}
            for i in group:
                if i not in rewards:
                    positions.setdefault(texts[i], []).append(i)
            passes = [[text] for text in positions] if self.single else [list(positions)] if positions else []
            for responses in passes:
                prompt, video, images = rows[group[0]]
                item_id = content_id(prompt, responses)
                examples.append(Example(item_id, prompt, tuple(responses), video=video, images=images))
                members.append([positions[text] for text in responses])
        try:
            rows_of_scores = checked_scores(self.scorer, examples) if examples else []
        except ValueError as error:
            raise CurateError(str(error), hint="check the scorer's model") from error
        for example_members, scores in zip(members, rows_of_scores, strict=True):
            for equal, score in zip(example_members, scores, strict=True):
                rewards.update(dict.fromkeys(equal, score))
        return [rewards[i] for i in range(len(texts))]

    def _prompts(self, prompts: Sequence[str], columns: Mapping[str, Any]) -> list[Prompt]:
        """Prompt, video and images of each completion."""
        videos = self._column(self.video, columns, len(prompts))
        images = self._column(self.images, columns, len(prompts))
        return [
            (prompt, Path(video) if video else None, tuple(Path(image) for image in own or ()))
            for prompt, video, own in zip(prompts, videos, images, strict=True)
        ]

    def _column(self, name: str | None, columns: Mapping[str, Any], count: int) -> Sequence[Any]:
        if name is None:
            return [None] * count
        if name not in columns:
            raise CurateError(f"the data set has no column {name!r}", hint="name the column that holds the paths")
        values: Sequence[Any] = columns[name]
        return values


def groups(rows: Sequence[Any], size: int | None = None) -> list[list[int]]:
    """Positions of each run of equal rows, split after every ``size`` of them.

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
    """The text of a prompt: of its only message, or of several messages with their roles, a paragraph each.

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
    """The text of a completion: its assistant messages, a line each; tool messages are excluded."""
    if isinstance(completion, str):
        return completion
    texts = [_content(message) for message in completion if message["role"] == "assistant"]
    return "\n".join(text for text in texts if text)


def _content(message: Mapping[str, Any]) -> str:
    """The text of a message; of a message in parts, its text parts."""
    content = message.get("content") or ""
    if isinstance(content, str):
        return content
    return "".join(part["text"] for part in content if part.get("type") == "text")
