"""The job ``simulate``: a simulated world as files of votes, prompts and responses, and of the true parameters."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import polars as pl
from pydantic import ValidationError

from curate.array_types import Index
from curate.media.transcode import import_av
from curate.simulation.clips import draw_clip, write_clip
from curate.simulation.phrases import questions, responses
from curate.simulation.scenes import STYLES, Film, draw_pretraining
from curate.simulation.world import World, simulate_world
from curate.votes.arrays import TIE
from schemas.config import SimulateConfig
from schemas.errors import ConflictError, CurateError
from schemas.reports import SimulateReport
from schemas.votes import OUTCOMES

BEGIN = datetime(2026, 1, 5, tzinfo=UTC)
"""Start of every simulated campaign."""
CHUNK = 1_000_000
"""Largest number of rows of a data frame."""
VIDEOS, PRETRAINING_VIDEOS = "videos", "pretraining"
"""Folders of the videos that prompts.csv and pretraining.jsonl name, relative to these files."""
PRETRAINING = "pretraining.jsonl"
WORLD = "world.json"
"""The file that is written last: a folder with this file is complete."""


def simulate(out: str | Path, *, config: SimulateConfig = SimulateConfig()) -> SimulateReport:
    """Write the simulated world of ``config`` into the folder ``out``; equal configs give equal bytes.

    The folder appears completely or not at all. If it contains the same world already, its files are written again and
    other files are kept.

    Parameters
    ----------
    out
        The folder. votes.csv, prompts.csv and responses.csv are input of ``curate ingest``; truth.csv has the true
        strengths and ranks (1 is best), annotators.csv the true parameters of annotators, and world.json the config.
        With ``config.video`` the folder ``videos`` has the videos that prompts.csv names.
    config
        Size, distributions and seed of the world.

    Raises
    ------
    CurateError
        If ``out`` contains anything else, or PyAV is needed and not installed.
    """
    out = Path(out)
    _check_free(out, config)
    if config.video:
        import_av()
    world = simulate_world(config)
    counts = _counts(world)
    home = out.resolve()
    home.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=f".{home.name}.", dir=home.parent) as temporary:
        fresh = Path(temporary) / home.name
        fresh.mkdir()
        for name, frames in FILES.items():
            _write_csv(fresh / name, frames(world, config))
        videos = _write_videos(fresh, world.film, VIDEOS) if world.film else []
        if config.pretraining_videos:
            videos += _write_pretraining(fresh, config)
        unused = None if config.video else {"video", "shapes", "pretraining_videos"}
        document = {"config": config.model_dump(mode="json", exclude=unused), "counts": counts}
        (fresh / WORLD).write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
        _move(fresh, home, (*FILES, *videos, WORLD))
    made = (VIDEOS,) * bool(videos) + (PRETRAINING, PRETRAINING_VIDEOS) * bool(config.pretraining_videos)
    files = (*FILES, *made, WORLD)
    return SimulateReport(out=str(out), ties=float(np.mean(world.outcome == TIE)), files=files, **counts)


def _counts(world: World) -> dict[str, int]:
    prompts, models = world.responses.model.shape
    return {
        "prompts": prompts,
        "responses": prompts * models,
        "annotators": len(world.annotators.median_seconds),
        "spammers": int(world.annotators.spammer.sum()),
        "votes": len(world.left),
    }


def _check_free(out: Path, config: SimulateConfig) -> None:
    """Raise CurateError unless ``out`` is missing, an empty folder, or contains the world of this config."""
    hint = "give another folder, or remove this one first"
    if out.exists() and not out.is_dir():
        raise ConflictError(f"{out}: is a file, not a folder", hint="give another folder")
    if not out.exists() or not any(out.iterdir()):
        return
    if not (out / WORLD).is_file():
        raise ConflictError(f"{out}: is not empty, and contains no {WORLD} of a simulated world", hint=hint)
    try:
        document = json.loads((out / WORLD).read_bytes())
    except ValueError as error:
        raise CurateError(f"{out / WORLD}: cannot be read: {error}", hint=hint) from error
    if not isinstance(document, dict) or not _equals(document.get("config"), config):
        raise ConflictError(f"{out}: contains the world of another config", hint=hint)


def _equals(written: object, config: SimulateConfig) -> bool:
    """Whether the config of a world, perhaps by an earlier version, equals this one."""
    try:
        return SimulateConfig.from_stored(written) == config
    except ValidationError:
        return False


def _move(fresh: Path, out: Path, names: Sequence[str]) -> None:
    """Move the finished folder to ``out``. In an existing folder the files are replaced; WORLD is absent meanwhile."""
    if not out.exists():
        fresh.rename(out)
        return
    (out / WORLD).unlink(missing_ok=True)
    for name in names:
        (out / name).parent.mkdir(exist_ok=True)
        (fresh / name).replace(out / name)


def _write_pretraining(folder: Path, config: SimulateConfig) -> list[str]:
    """Write pretraining.jsonl and its videos; return their names."""
    rng = np.random.default_rng(config.seed).spawn(4)[3]  # the world uses the first three
    film = draw_pretraining(rng, config.pretraining_videos, config.shapes)
    names = _write_videos(folder, film, PRETRAINING_VIDEOS)
    count = film.answer.shape[1]
    rows = [
        {
            "item_id": f"pretraining-{i + 1:05d}",
            "video": names[video],
            "prompt": film.questions[i],
            "responses": film.texts[i * count : (i + 1) * count],
            "answer": film.right_answers[i],
            "response_answers": film.given_answers[i],
        }
        for i, video in enumerate(film.video)
    ]
    (folder / PRETRAINING).write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return [PRETRAINING, *names]


def _write_videos(folder: Path, film: Film, home: str) -> list[str]:
    """Write the videos into ``folder / home``; return their paths relative to ``folder``."""
    (folder / home).mkdir()
    names = _video_names(np.arange(len(film.scenes.way)), home).to_list()
    for video, name in enumerate(names):
        write_clip(folder / name, draw_clip(film.scenes, video))
    return names


def _video_names(video: Index, home: str = VIDEOS) -> pl.Series:
    """videos/v0001.mp4, … of videos 0, …"""
    number = pl.Series(video + 1).cast(pl.String).str.zfill(4)
    return pl.select(pl.format(f"{home}/v{{}}.mp4", number)).to_series()


def _write_csv(path: Path, frames: Iterator[pl.DataFrame]) -> None:
    with path.open("wb") as file:
        for i, frame in enumerate(frames):
            frame.write_csv(file, include_header=i == 0, datetime_format="%Y-%m-%dT%H:%M:%S%.3fZ")


# One function per file: its rows, in data frames of at most CHUNK rows.


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
        question = questions(video * 7 + place)
        if world.film:
            question = pl.Series(world.film.questions[rows])
        yield pl.DataFrame({"prompt_id": world.prompt_ids[rows]}).with_columns(
            question=question, video=_video_names(video)
        )


def _responses(world: World, _: SimulateConfig) -> Iterator[pl.DataFrame]:
    for rows in _chunks(len(world.response_ids)):
        prompt, place = np.divmod(np.arange(rows.start, rows.stop), len(world.models))
        text = responses(prompt * 31 + place)  # consecutive within a prompt: all texts differ
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
