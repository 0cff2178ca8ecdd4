"""The job ``frames``: frames of a prompt's video or of a file, as images or an array, and a contact sheet."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl

from curate.array_types import Images
from curate.engine import open_engine
from curate.media.contact_sheet import Answer, Sheet, draw_sheet
from curate.media.frames import IMAGE_SUFFIXES, Frames, MediaError, read_image
from curate.media.locate import Locator
from curate.media.workers import read_videos
from curate.shards.atomic import publishing
from curate.store import Store
from schemas.engine import EngineConfig
from schemas.errors import ConflictError, CurateError, MissingError
from schemas.media import FramesReport


@dataclass(frozen=True)
class Subject:
    """A prompt, or a file without question and responses."""

    title: str
    video: str
    path: Path
    question: str = ""
    answers: tuple[Answer, ...] = ()
    note: str = ""


def take_frames(
    what: str,
    *,
    out: str | Path,
    store: str | Path = "curate.duckdb",
    media: str | Path | None = None,
    count: int = 8,
    form: Literal["jpeg", "npy"] = "jpeg",
    quality: int = 90,
    contact_sheet: bool = False,
    font: Path | None = None,
    run: str = "",
    criterion: str = "",
    timeout: float = 30.0,
    engine: EngineConfig | None = None,
) -> FramesReport:
    """Write ``count`` frames of a file, or of the video of a prompt of the store, to the new folder ``out``.

    Each frame is the one shown in the middle of one of ``count`` equal slices of the duration; an image is one frame.
    run, criterion: of the ranking that the contact sheet shows. engine: whose worker decodes the video; None: one of
    this machine. Raises CurateError if the file or prompt does not exist or is unusable, or ``out`` is not empty.
    """
    out = Path(out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ConflictError(f"{out}: already exists", hint="choose another --out, or remove it")
    file = Path(what)
    if file.is_file():
        subject = Subject(title=file.name, video=what, path=file)
    else:
        subject = subject_of(what, store, media=media, run=run, criterion=criterion)
    images, times, duration = _read(subject.path, count, timeout, engine)
    with publishing(out) as fresh:
        names = _write(fresh, images, form, quality)
        document = {"video": subject.video, "duration": duration, "times": times}
        (fresh / "frames.json").write_text(json.dumps(document, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
        missing_glyphs = ""
        if contact_sheet:
            picture, missing_glyphs = draw_sheet(sheet_of(subject, images, times), font)
            picture.save(fresh / "contact-sheet.png")
            names.append("contact-sheet.png")
    return FramesReport(
        out=str(out),
        video=subject.video,
        duration=duration,
        times=tuple(times),
        files=(*names, "frames.json"),
        missing_glyphs=missing_glyphs,
    )


def subject_of(
    prompt: str, store: str | Path, *, media: str | Path | None = None, run: str = "", criterion: str = ""
) -> Subject:
    """Return the prompt with its responses in the order of rank, or by id if no denoise run ranked it.

    media: the folder that paths are relative to; the folder of the store if None. Raises CurateError if the store has
    no such prompt or the prompt has no video, and MediaError if the file does not exist.
    """
    with Store.open(store, read_only=True) as opened:
        found = opened.prompts().filter(pl.col("prompt_id") == prompt)
        if found.is_empty():
            raise MissingError(
                f"{prompt}: neither a file nor a prompt of {store}",
                hint="curate.open(STORE).prompts() lists the prompts",
            )
        [row] = found.to_dicts()
        if row["video"] is None:
            raise CurateError(f"{store}: prompt {prompt!r} names no video", hint="give it one: curate ingest --prompts")
        answers, note = _answers(opened, prompt, run, criterion)
    path = Locator(Path(media) if media is not None else Path(store).parent).find(row["video"])
    return Subject(prompt, row["video"], path, row["question"] or "", answers, note)


def sheet_of(subject: Subject, images: Images, times: list[float]) -> Sheet:
    """Return the contact sheet of a subject. images: (T, H, W, 3) RGB; times: (T,) seconds, empty for an image."""
    captions = tuple(f"{time:.2f} s" for time in times) or ("",) * len(images)
    title = subject.title if subject.title == Path(subject.video).name else f"{subject.title}  ·  {subject.video}"
    return Sheet(title, subject.question, tuple(images), captions, subject.answers, subject.note)


def _answers(store: Store, prompt: str, run: str, criterion: str) -> tuple[tuple[Answer, ...], str]:
    mine = pl.col("prompt_id") == prompt
    responses = store.responses().filter(mine)
    ranked = pl.DataFrame()
    note = "No ranking yet: responses are sorted by id."
    if run or criterion or "denoise" in store.runs()["step"].to_list():
        run_id = store.denoise_run(run, criterion=criterion)
        ranked = (
            store.rankings(run_id).filter(mine).select("response_id", "rank", "component", "best_rank", "worst_rank")
        )
        note = f"Ranked by run {run_id}; 1 is best." if ranked.height else f"Run {run_id} does not rank this prompt."
    if ranked.is_empty():
        rows = responses.with_columns(rank=None).to_dicts()
    else:
        rows = (
            responses.join(ranked, on="response_id", how="left")
            .sort("component", "rank", "response_id", nulls_last=True)
            .to_dicts()
        )
        if ranked["component"].n_unique() > 1:
            note += " Votes do not connect all responses: ranks count within each connected component."
    return tuple(_answer(row) for row in rows), note


def _answer(row: dict[str, object]) -> Answer:
    label = "" if row["rank"] is None else f"{row['rank']}"
    if row["rank"] is not None and row["best_rank"] != row["worst_rank"]:
        interval = f"  ·  90%: rank {row['best_rank']} to {row['worst_rank']}"
    else:
        interval = ""
    return Answer(label, f"{row['model'] or row['response_id']}{interval}", str(row["text"] or row["response_id"]))


def _read(
    path: Path, count: int, timeout: float, engine: EngineConfig | None
) -> tuple[Images, list[float], float | None]:
    if path.suffix.lower() in IMAGE_SUFFIXES:
        return read_image(path)[None], [], None
    with open_engine(engine, workers=1) as opened:
        [answer] = read_videos(opened, [path], count, timeout=timeout)
    if isinstance(answer, MediaError):
        raise answer
    assert isinstance(answer, Frames)
    return answer.images, [round(float(time), 6) for time in answer.times], answer.duration


def _write(folder: Path, images: Images, form: str, quality: int) -> list[str]:
    from PIL import Image

    if form == "npy":
        np.save(folder / "frames.npy", images)
        return ["frames.npy"]
    digits = max(2, len(str(len(images))))
    names = [f"frame-{number:0{digits}d}.jpg" for number in range(1, len(images) + 1)]
    for name, image in zip(names, images, strict=True):
        Image.fromarray(image).save(folder / name, quality=quality)
    return names
