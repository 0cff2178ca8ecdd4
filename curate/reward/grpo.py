"""A reward function for TRL's GRPOTrainer: the completions of each prompt are scored together, in one pass."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from curate.clients.prompts import ChatTemplate, PlainPrompt, Text, completion_text, plain_messages
from curate.media.given import GivenImages
from curate.reward.data import Example
from curate.reward.serving.batching import Scorer, checked_scores, content_id
from schemas.errors import CurateError

Prompt = tuple[str, Path | None, tuple[Path, ...]]
"""Text, video, images."""
MEDIA = ("image", "images", "video", "videos")
"""Columns that hold media by TRL's convention."""


@runtime_checkable
class ReadsPrompts(Protocol):
    """A scorer that knows its model's chat template."""

    def plain_prompt(self, text: str) -> PlainPrompt:
        """The question of a prompt. Raises CurateError."""
        ...


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
        Columns of the data set: of paths of videos; of images, one or a list for each row. An image is a path, a PIL
        image, the bytes of a file, base64 (also as a data URI), or a dict of ``datasets`` with bytes or path.
    allow_blind : bool
        Score a data set with media without them. By default a column ``image``, ``images``, ``video`` or ``videos``
        that was not named is an error, and so is a message with media.
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
        allow_blind: bool = False,
        name: str = "group_reward",
    ) -> None:
        self.scorer, self.num_generations, self.single, self.floor = scorer, num_generations, single, floor
        self.video, self.images, self.allow_blind = video, images, allow_blind
        self._given = GivenImages()
        self._plain_text = scorer.plain_prompt if isinstance(scorer, ReadsPrompts) else ChatTemplate().plain
        self.__name__ = name

    def __call__(self, prompts: Sequence[Text], completions: Sequence[Text], **columns: Any) -> list[float]:
        """One reward per completion, in order. Columns that were not named (completion_ids, …) are ignored.

        Raises CurateError where a media column is missing or was not named, where a prompt has control tokens, and
        where the scorer does not return a finite score per completion.
        """
        texts = [completion_text(completion) for completion in completions]
        rows = self._prompts(prompts, columns)
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

    def _prompts(self, prompts: Sequence[Text], columns: Mapping[str, Any]) -> list[Prompt]:
        """Prompt, video and images of each completion."""
        for name in MEDIA:
            if name not in (self.video, self.images) and any(map(_is_given, columns.get(name) or ())):
                self._refuse_blind(f"the data set has a column {name!r} that would not be scored")
        videos = self._column(self.video, columns, len(prompts))
        images = self._column(self.images, columns, len(prompts))
        rows: list[Prompt] = []
        for prompt, video, own in zip(prompts, videos, images, strict=True):
            paths = tuple(map(self._given.path, own if isinstance(own, list | tuple) else [own] * (own is not None)))
            plain = self._plain_text(prompt) if isinstance(prompt, str) else plain_messages(prompt)
            if plain.names_media and not (video or paths):
                self._refuse_blind("a prompt refers to an image or a video that would not be scored")
            rows.append((plain.text, Path(video) if video else None, paths))
        return rows

    def _refuse_blind(self, message: str) -> None:
        if not self.allow_blind:
            hint = 'name it: GroupReward(scorer, images="images"); or pass allow_blind=True to score without media'
            raise CurateError(message, hint=hint)

    def _column(self, name: str | None, columns: Mapping[str, Any], count: int) -> Sequence[Any]:
        if name is None:
            return [None] * count
        if name not in columns:
            raise CurateError(f"the data set has no column {name!r}", hint="name the column that holds the media")
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


def _is_given(medium: Any) -> bool:
    """Whether a cell of a media column is not empty."""
    return medium is not None and not (hasattr(medium, "__len__") and len(medium) == 0)
