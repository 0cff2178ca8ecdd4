"""Invented questions and responses for worlds without videos: distinct sentences by number."""

from __future__ import annotations

import math

import numpy as np
import polars as pl

from curate.array_types import Index


def questions(number: Index) -> pl.Series:
    """(n,) questions; different numbers give different questions."""
    return _sentences(QUESTIONS, number, end="?")


def responses(number: Index) -> pl.Series:
    """(n,) responses; different numbers give different responses."""
    return _sentences(RESPONSES, number, end=".")


def _sentences(parts: tuple[tuple[str, ...], ...], number: Index, *, end: str) -> pl.Series:
    """(n,) sentences: a phrase of each part, then a time in the video."""
    combinations = math.prod(len(part) for part in parts)
    turn, rest = np.divmod(number, combinations)
    rest = rest * STRIDE % combinations  # consecutive sentences differ in several parts; the stride is prime
    words = []
    for part in parts:
        rest, choice = np.divmod(rest, len(part))
        words.append(pl.Series(part).gather(choice))
    minute, second = np.divmod(turn + 3, 60)
    clock = pl.Series(minute).cast(pl.String) + ":" + pl.Series(second).cast(pl.String).str.zfill(2)
    return pl.select(pl.concat_str([*words, clock])).to_series() + end


STRIDE = 1_000_003
QUESTIONS = (
    ("What does ", "Where does ", "Why does ", "How does ", "In which order does ", "With whom does "),
    (
        "the cook ",
        "the cyclist ",
        "the child in red ",
        "the speaker ",
        "the woman at the window ",
        "the dog ",
        "the player in white ",
        "the driver ",
    ),
    (
        "stop",
        "turn around",
        "move the table",
        "change places",
        "start again",
        "cross the room",
        "pick things up",
        "leave",
    ),
    (" before ", " after ", " at "),
)
RESPONSES = (
    ("First ", "Slowly, ", "As far as one can see, ", "After a pause ", "Twice, ", "In the background ", "At once "),
    (
        "the person ",
        "someone ",
        "the one in front ",
        "the group ",
        "the one on the left ",
        "the second person ",
        "the animal ",
        "nobody but the camera ",
    ),
    (
        "goes to the door",
        "puts the cup down",
        "looks at the clock",
        "follows the ball",
        "waits for the light",
        "opens the box",
        "points at the screen",
        "steps out of the picture",
        "comes back with a bag",
    ),
    (
        ", then stops",
        " and laughs",
        ", which answers the question",
        " while music plays",
        ", unlike before",
        ", though it is dark",
    ),
    (", at ", ", just after ", ", until "),
)
