"""``curate simulate``: a simulated world as the files that people would bring, with the truth beside them."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import numpy.typing as npt
import polars as pl
from pydantic import ValidationError

from curate.media.transcode import import_av
from curate.simulation.clips import draw_clip, write_clip
from curate.simulation.scenes import STYLES, Film, draw_lessons
from curate.simulation.world import World, simulate_world
from curate.votes.arrays import TIE
from schemas.config import SimulateConfig
from schemas.errors import CurateError
from schemas.reports import SimulateReport
from schemas.votes import OUTCOMES

BEGIN = datetime(2026, 1, 5, tzinfo=UTC)
"""When every simulated campaign begins, so that no world depends on the clock."""
CHUNK = 1_000_000
"""Rows that are put into words at a time."""
VIDEOS, LESSON_VIDEOS = "videos", "lessons"
"""The folders of the videos that prompts.csv and lessons.jsonl name; paths start from their own folder."""
LESSONS = "lessons.jsonl"
WORLD = "world.json"
"""The file that is written last: a folder that holds it holds the whole world."""


def simulate(out: str | Path, *, config: SimulateConfig = SimulateConfig()) -> SimulateReport:
    """Write the world of ``config`` into the folder ``out``: equal configs give equal bytes.

    votes.csv, prompts.csv and responses.csv are what ``curate ingest`` reads; truth.csv and annotators.csv say what
    is behind them; world.json, last, what they were made of. With ``config.video`` the videos that prompts.csv names
    are there too, in the folder videos. The folder appears whole or not at all. One that holds the same world already
    is written again, and other files in it are left alone.
    Raises CurateError where ``out`` holds anything else, or where videos are wanted and PyAV is not installed.
    """
    out = Path(out)
    _check_free(out, config)
    if config.video:
        import_av()
    world = simulate_world(config)
    counts = _counts(world)
    home = out.resolve()
    home.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=f".{home.name}.", dir=home.parent) as beside:
        fresh = Path(beside) / home.name
        fresh.mkdir()
        for name, frames in FILES.items():
            _write_csv(fresh / name, frames(world, config))
        videos = _write_videos(fresh, world.film, VIDEOS) if world.film else []
        if config.lessons:
            videos += _write_lessons(fresh, config)
        # A world without videos is the same, byte for byte, as before there were any.
        told = config.model_dump(mode="json", exclude=None if config.video else {"video", "shapes", "lessons"})
        document = {"config": told, "counts": counts}
        (fresh / WORLD).write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
        _move(fresh, home, (*FILES, *videos, WORLD))
    made = (VIDEOS,) * bool(videos) + (LESSONS, LESSON_VIDEOS) * bool(config.lessons)
    files = (*FILES, *made, WORLD)
    return SimulateReport(out=str(out), ties=float(np.mean(world.outcome == TIE)), files=files, **counts)


def _counts(world: World) -> dict[str, int]:
    prompts, models = world.responses.model.shape
    return {
        "prompts": prompts,
        "responses": prompts * models,
        "annotators": len(world.annotators.pace),
        "spammers": int(world.annotators.spammer.sum()),
        "votes": len(world.left),
    }


def _check_free(out: Path, config: SimulateConfig) -> None:
    """``out`` is missing, an empty folder, or holds the world of this very config."""
    hint = "give another folder, or remove this one first"
    if out.exists() and not out.is_dir():
        raise CurateError(f"{out}: is a file, not a folder", hint="give another folder")
    if not out.exists() or not any(out.iterdir()):
        return
    if not (out / WORLD).is_file():
        raise CurateError(f"{out}: is not empty, and holds no {WORLD} of a simulated world", hint=hint)
    try:
        document = json.loads((out / WORLD).read_bytes())
    except ValueError as error:
        raise CurateError(f"{out / WORLD}: cannot be read: {error}", hint=hint) from error
    if not isinstance(document, dict) or not _is(document.get("config"), config):
        raise CurateError(f"{out}: holds the world of another config", hint=hint)


def _is(written: object, config: SimulateConfig) -> bool:
    """Whether a world's config says the same, be it written before the config had all its fields."""
    try:
        return SimulateConfig.from_stored(written) == config
    except ValidationError:
        return False


def _move(fresh: Path, out: Path, names: Sequence[str]) -> None:
    """Give the finished folder its name. Where one stands already (somebody may be in it), its files are replaced,
    and meanwhile nothing there claims to be whole."""
    if not out.exists():
        fresh.rename(out)
        return
    (out / WORLD).unlink(missing_ok=True)
    for name in names:
        (out / name).parent.mkdir(exist_ok=True)
        (fresh / name).replace(out / name)


def _write_lessons(folder: Path, config: SimulateConfig) -> list[str]:
    """The lessons and their videos; their names."""
    rng = np.random.default_rng(config.seed).spawn(4)[3]  # the world is drawn from the first three
    film = draw_lessons(rng, config.lessons, config.shapes)
    names = _write_videos(folder, film, LESSON_VIDEOS)
    replies = film.answer.shape[1]
    rows = [
        {
            "item_id": f"lesson-{i + 1:05d}",
            "video": names[video],
            "prompt": film.questions[i],
            "responses": film.texts[i * replies : (i + 1) * replies],
            "right": film.right_words[i],
            "said": film.said_words[i],
        }
        for i, video in enumerate(film.video)
    ]
    (folder / LESSONS).write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return [LESSONS, *names]


def _write_videos(folder: Path, film: Film, home: str) -> list[str]:
    """The film's videos in ``folder / home``; their paths from ``folder`` on."""
    (folder / home).mkdir()
    names = _video_names(np.arange(len(film.scenes.way)), home).to_list()
    for video, name in enumerate(names):
        write_clip(folder / name, draw_clip(film.scenes, video))
    return names


def _video_names(video: npt.NDArray[np.int64], home: str = VIDEOS) -> pl.Series:
    """videos/v0001.mp4, … of videos 0, …"""
    number = pl.Series(video + 1).cast(pl.String).str.zfill(4)
    return pl.select(pl.format(f"{home}/v{{}}.mp4", number)).to_series()


def _write_csv(path: Path, frames: Iterator[pl.DataFrame]) -> None:
    with path.open("wb") as file:
        for i, frame in enumerate(frames):
            frame.write_csv(file, include_header=i == 0, datetime_format="%Y-%m-%dT%H:%M:%S%.3fZ")


# One function a file: its rows, in frames of at most CHUNK.


def _votes(world: World, _: SimulateConfig) -> Iterator[pl.DataFrame]:
    prompt_ids, response_ids = pl.Series(world.prompt_ids), pl.Series(world.response_ids)
    annotator_ids, winners = pl.Series(world.annotator_ids), pl.Series(OUTCOMES)
    models = len(world.models)
    for rows in _chunks(len(world.left)):
        left = world.left[rows]
        yield pl.DataFrame(
            {
                "prompt_id": prompt_ids.gather(left // models),
                "left": response_ids.gather(left),
                "right": response_ids.gather(world.right[rows]),
                "winner": winners.gather(world.outcome[rows]),
                "annotator_id": annotator_ids.gather(world.annotator[rows]),
                "submitted_at": pl.Series(world.voted_at[rows]).cast(pl.Duration("ms")) + BEGIN.replace(tzinfo=None),
                "seconds": world.seconds[rows],
            }
        )


def _prompts(world: World, config: SimulateConfig) -> Iterator[pl.DataFrame]:
    for rows in _chunks(len(world.prompt_ids)):
        video, place = np.divmod(np.arange(rows.start, rows.stop), config.prompts_per_video)
        question = _phrases(QUESTIONS, video * 7 + place, end="?")
        if world.film:
            question = pl.Series(world.film.questions[rows])
        yield pl.DataFrame({"prompt_id": world.prompt_ids[rows]}).with_columns(
            question=question, video=_video_names(video)
        )


def _responses(world: World, _: SimulateConfig) -> Iterator[pl.DataFrame]:
    for rows in _chunks(len(world.response_ids)):
        prompt, place = np.divmod(np.arange(rows.start, rows.stop), len(world.models))
        text = _phrases(ANSWERS, prompt * 31 + place, end=".")  # runs on within a prompt: no text comes twice in it
        if world.film:
            text = pl.Series(world.film.texts[rows])
        yield _named_responses(world, rows).with_columns(text=text)


def _truth(world: World, _: SimulateConfig) -> Iterator[pl.DataFrame]:
    strength, rank = world.responses.strength.ravel(), world.responses.rank.ravel()
    for rows in _chunks(len(world.response_ids)):
        frame = _named_responses(world, rows).with_columns(
            strength=pl.Series(strength[rows]), rank=pl.Series(rank[rows])
        )
        if world.film:
            style = pl.Series(STYLES).gather(world.film.style.ravel()[rows])
            frame = frame.with_columns(right=pl.Series(world.film.right.ravel()[rows]), style=style)
        yield frame


def _named_responses(world: World, rows: slice) -> pl.DataFrame:
    prompt = np.arange(rows.start, rows.stop) // len(world.models)
    return pl.DataFrame(
        {
            "prompt_id": pl.Series(world.prompt_ids).gather(prompt),
            "response_id": world.response_ids[rows],
            "model": pl.Series(world.models).gather(world.responses.model.ravel()[rows]),
        }
    )


def _annotators(world: World, _: SimulateConfig) -> Iterator[pl.DataFrame]:
    who = world.annotators
    yield pl.DataFrame(
        {
            "annotator_id": world.annotator_ids,
            "discrimination": who.discrimination,
            "left_bias": who.left_bias,
            "tie_share": who.tie_share,
            "spammer": who.spammer,
        }
    )


FILES: dict[str, Callable[[World, SimulateConfig], Iterator[pl.DataFrame]]] = {
    "votes.csv": _votes,
    "prompts.csv": _prompts,
    "responses.csv": _responses,
    "truth.csv": _truth,
    "annotators.csv": _annotators,
}


def _chunks(rows: int) -> Iterator[slice]:
    for start in range(0, rows, CHUNK):
        yield slice(start, min(start + CHUNK, rows))


def _phrases(parts: tuple[tuple[str, ...], ...], number: npt.NDArray[np.int64], *, end: str) -> pl.Series:
    """(n,) sentences: one of each part, then a moment of the video. Different numbers give different sentences."""
    combinations = math.prod(len(part) for part in parts)
    turn, rest = np.divmod(number, combinations)
    rest = rest * STRIDE % combinations  # neighbours differ in more than one part; a prime stride loses none
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
ANSWERS = (
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
