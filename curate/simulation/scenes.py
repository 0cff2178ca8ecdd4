"""Contents of simulated videos, questions on them and responses of models, as numbers and as text."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt

from curate.array_types import Bool, Float, Index

Number = npt.NDArray[np.integer[Any]]

COLOURS = ("red", "green", "blue", "yellow")
WAYS = ("left", "right", "up", "down")
SHAPES = ("circle", "square", "triangle", "cross")
TIMES = ("once", "twice", "three times", "four times")
STYLES = ("clear", "terse", "hedged")

QUESTIONS = (
    "Which colour is the shape that moves?",
    "Which way does the moving shape go?",
    "Which colour is the shape that appears?",
    "How many times does the lamp below light up?",
)
"""Kind -> question. Each has four equally likely answers, which only the video shows."""
APPEARS = 2
"""The kind of question that needs a second shape."""
ANSWERS = (COLOURS, WAYS, COLOURS, TIMES)
"""Kind -> its four short answers."""
SENTENCES = ("the {} shape moves", "the shape moves {}", "the {} shape appears", "the lamp lights up {}")
"""Kind -> template of a sentence with the answer."""
WORDINGS = {
    "clear": ("{Sentence}.", "Here {sentence}.", "I see that {sentence}.", "{Sentence}, clearly."),
    "terse": ("{Short}.", "{Short}", "Answer: {short}.", "Just {short}."),
    "hedged": ("Maybe {short}?", "{Short}, I guess.", "Perhaps {sentence}.", "I think {sentence}?"),
}
"""Style -> templates of responses. Each style has short and long ones, so that length is little information."""

FRAMES = 16
"""Frames of a clip."""
GRID = 3
"""Shapes are in a grid of GRID × GRID cells; the moving one crosses the middle row or column, which has no other."""
RIGHT = 3.0
"""Strength that a right answer adds, logits."""
STYLE_WORTH = np.array([0.0, 0.4, -0.4])
"""(S,) strength that each of STYLES adds, logits."""
MEAN_SKILL = -0.4
"""Log odds of a right answer by a model of mean ability."""
PRETRAINING_RIGHT = 0.4
"""Share of right responses to pretraining videos."""


@dataclass(frozen=True)
class Scenes:
    """V videos. Shape 0 moves, shape 1 appears, shapes 2 and 3 stand still; only the first ``shapes`` are drawn. A lamp
    below them lights up several times."""

    colour: Index
    """(V, 4) colour of each shape, in COLOURS; a permutation."""
    shape: Index
    """(V, 4) form of each shape, in SHAPES."""
    way: Index
    """(V,) direction in which shape 0 moves, in WAYS."""
    cell: Index
    """(V, 4) cell of each shape, row · GRID + column; for shape 0 the first one."""
    appears: Index
    """(V,) first frame with shape 1."""
    shapes: int
    """Number of shapes that are drawn."""
    lamp: Bool
    """(V, FRAMES) whether the lamp is lit: for two frames each time, with two or more dark frames between."""

    @cached_property
    def answers(self) -> Index:
        """(V, kinds) the right answer to each question, in ANSWERS."""
        lit = np.diff(self.lamp.astype(np.int64), axis=1, prepend=0) == 1
        return np.stack([self.colour[:, 0], self.way, self.colour[:, 1], lit.sum(axis=1) - 1], axis=1)


@dataclass(frozen=True)
class Film:
    """The videos of a world, a question per prompt, and N responses to each."""

    scenes: Scenes
    video: Index
    """(P,) the video of each prompt."""
    kind: Index
    """(P,) the question of each prompt, in QUESTIONS."""
    answer: Index
    """(P, N) the answer of each response, in ANSWERS[kind]."""
    style: Index
    """(P, N) its style, in STYLES."""
    wording: Index
    """(P, N) its template, in WORDINGS[style]."""

    @cached_property
    def right(self) -> Bool:
        """(P, N) whether each answer is right."""
        right: Bool = self.answer == self.scenes.answers[self.video, self.kind][:, None]
        return right

    @property
    def worth(self) -> Float:
        """(P, N) strength due to answer and style, logits."""
        worth: Float = RIGHT * self.right + STYLE_WORTH[self.style]
        return worth

    @cached_property
    def questions(self) -> list[str]:
        """(P,) texts of the questions."""
        return [QUESTIONS[kind] for kind in self.kind]

    @cached_property
    def right_answers(self) -> list[str]:
        """(P,) the right short answers."""
        return [ANSWERS[k][a] for k, a in zip(self.kind, self.scenes.answers[self.video, self.kind], strict=True)]

    @cached_property
    def given_answers(self) -> list[list[str]]:
        """(P, N) the short answers of the responses."""
        return [[ANSWERS[k][a] for a in row] for k, row in zip(self.kind, self.answer, strict=True)]

    @cached_property
    def texts(self) -> list[str]:
        """(P·N,) texts of the responses, prompt by prompt."""
        texts = _all_texts()[self.kind[:, None], self.answer, self.style, self.wording]
        return [str(text) for text in texts.ravel()]


def draw_film(
    rng: np.random.Generator, ability: Float, model: Number, prompts_per_video: int, shapes: int = 4
) -> tuple[Film, Float]:
    """Return videos, questions and responses, and (N,) the mean worth of each model, logits.

    A model is right with the log odds MEAN_SKILL + ability (N,). Its distribution of styles is independent of ability
    and prompt. Wrong answers are uniform. model: (P, N) the model of each response.
    """
    prompts, models = model.shape
    video, place = np.divmod(np.arange(prompts), prompts_per_video)
    scenes = draw_scenes(rng, int(video[-1]) + 1, shapes)
    kinds = rng.permuted(np.tile(kinds_asked(shapes), (len(scenes.way), 1)), axis=1)
    kind = kinds[video, place]

    skill = 1 / (1 + np.exp(-(MEAN_SKILL + ability)))
    right = rng.random(model.shape) < skill[model]
    other = rng.integers(1, 4, model.shape)
    answer = (scenes.answers[video, kind][:, None] + np.where(right, 0, other)) % 4

    styles = rng.dirichlet(np.full(len(STYLES), 2.0), models)  # (N, S) share of each style
    style = (rng.random(model.shape)[..., None] > np.cumsum(styles, axis=1)[model][..., :-1]).sum(axis=-1)
    film = Film(scenes, video, kind, answer, style, draw_wordings(rng, answer, style))
    return film, RIGHT * skill + styles @ STYLE_WORTH


def draw_pretraining(rng: np.random.Generator, videos: int, shapes: int) -> Film:
    """Return videos, all questions on each, and four responses to each in random styles."""
    scenes = draw_scenes(rng, videos, shapes)
    video, kind = (values.ravel() for values in np.meshgrid(np.arange(videos), kinds_asked(shapes), indexing="ij"))
    size = (len(video), 4)
    other = np.where(rng.random(size) < PRETRAINING_RIGHT, 0, rng.integers(1, 4, size))
    answer = (scenes.answers[video, kind][:, None] + other) % 4
    style = rng.integers(0, len(STYLES), size)
    return Film(scenes, video, kind, answer, style, draw_wordings(rng, answer, style))


def kinds_asked(shapes: int) -> list[int]:
    """The kinds of questions on videos with so many shapes."""
    return [kind for kind in range(len(QUESTIONS)) if kind != APPEARS or shapes > 1]


def draw_scenes(rng: np.random.Generator, videos: int, shapes: int = 4) -> Scenes:
    """Draw the contents of videos.

    All answers to a question are equally likely. Answers to different questions are independent, except that the moving
    and the appearing shape differ in colour.
    """
    way = rng.integers(0, len(WAYS), videos)
    middle = GRID // 2  # row (left, right) or column (up, down) of shape 0
    along = np.where(np.isin(way, (0, 2)), GRID - 1, 0)
    start = np.where(way < 2, middle * GRID + along, along * GRID + middle)
    cells = np.arange(GRID * GRID)
    free = np.where((way < 2)[:, None], cells // GRID, cells % GRID) != middle  # (V, cells)
    others = np.argsort(np.where(free, rng.random(free.shape), 2.0), axis=1)[:, :3]

    times = rng.integers(1, len(TIMES) + 1, videos)
    patterns = lamp_patterns()
    pick = (rng.random(videos) * np.array([len(patterns[n]) for n in times])).astype(np.int64)
    slots = np.stack([patterns[n][k] for n, k in zip(times, pick, strict=True)])
    return Scenes(
        colour=rng.permuted(np.tile(np.arange(len(COLOURS)), (videos, 1)), axis=1),
        shape=rng.integers(0, len(SHAPES), (videos, 4)),
        way=way,
        cell=np.concatenate([start[:, None], others], axis=1),
        appears=rng.integers(FRAMES // 2 - 2, FRAMES // 2 + 3, videos),
        shapes=shapes,
        lamp=np.repeat(slots, 2, axis=1),
    )


def lamp_patterns() -> dict[int, Bool]:
    """Number of times -> (patterns, FRAMES / 2) whether the lamp is lit in a pair of frames, never twice in a row."""
    every = np.array(list(product((False, True), repeat=FRAMES // 2)))
    apart = every[~(every[:, 1:] & every[:, :-1]).any(axis=1)]
    return {times: apart[apart.sum(axis=1) == times] for times in range(1, len(TIMES) + 1)}


def draw_wordings(rng: np.random.Generator, answer: Index, style: Index) -> Index:
    """(P, N) template of each response; equal answers of the same style to one prompt use different templates if
    possible."""
    same = (answer[:, :, None] == answer[:, None, :]) & (style[:, :, None] == style[:, None, :])
    before = np.tril(same, -1).sum(axis=2)
    first = rng.integers(0, 4, (len(answer), 4, len(STYLES)))
    wording: Index = np.take_along_axis(first.reshape(len(answer), -1), answer * len(STYLES) + style, axis=1) + before
    return wording % 4


def _all_texts() -> npt.NDArray[np.object_]:
    """(kinds, answers, styles, wordings) texts of all possible responses."""
    texts = np.empty((len(QUESTIONS), 4, len(STYLES), 4), dtype=object)
    for kind, answer, style, wording in np.ndindex(texts.shape):
        short = ANSWERS[kind][answer]
        sentence = SENTENCES[kind].format(short)
        words = {"short": short, "Short": _capital(short), "sentence": sentence, "Sentence": _capital(sentence)}
        texts[kind, answer, style, wording] = WORDINGS[STYLES[style]][wording].format(**words)
    return texts


def _capital(words: str) -> str:
    return words[0].upper() + words[1:]
