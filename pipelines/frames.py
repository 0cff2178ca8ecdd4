"""The job ``frames``: frames of a prompt's video or of a file, as pictures or an array, and its contact sheet."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import polars as pl

from curate.media.contact_sheet import Answer, Sheet, draw_sheet
from curate.media.frames import IMAGE_SUFFIXES, Frames, MediaError, read_image
from curate.media.locate import Locator
from curate.media.workers import MediaReader
from curate.shards.atomic import publishing
from curate.store import Store
from schemas.errors import CurateError
from schemas.media import FramesReport

Images = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Subject:
    """A prompt, or a file by itself: then without question and answers."""

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
    timeout: float = 30.0,
) -> FramesReport:
    """Write ``count`` frames of a file, or of the video of a prompt of the store, to the new folder ``out``.

    A frame is the one shown in the middle of an equal slice of the video's time; an image is one frame. run: of the
    ranking that the contact sheet shows. Raises CurateError where there is no such file or prompt, it is not sound, or
    ``out`` is not free.
    """
    out = Path(out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise CurateError(f"{out}: is there already", hint="choose another --out, or remove it")
    file = Path(what)
    if file.is_file():
        subject = Subject(title=file.name, video=what, path=file)
    else:
        subject = subject_of(what, store, media=media, run=run)
    images, times, duration = _read(subject.path, count, timeout)
    with publishing(out) as fresh:
        names = _write(fresh, images, form, quality)
        document = {"video": subject.video, "duration": duration, "times": times}
        (fresh / "frames.json").write_text(json.dumps(document, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
        unreadable = ""
        if contact_sheet:
            picture, unreadable = draw_sheet(sheet_of(subject, images, times), font)
            picture.save(fresh / "contact-sheet.png")
            names.append("contact-sheet.png")
    return FramesReport(
        out=str(out),
        video=subject.video,
        duration=duration,
        times=tuple(times),
        files=(*names, "frames.json"),
        unreadable=unreadable,
    )


def subject_of(prompt: str, store: str | Path, *, media: str | Path | None = None, run: str = "") -> Subject:
    """The prompt with its responses: in the order of rank where a denoise run ranked it, else by id.

    media: the folder that paths start from; the store's when None. Raises CurateError where the store has no such
    prompt, or it has no video; MediaError where the file is not there.
    """
    with Store.open(store, read_only=True) as opened:
        found = opened.prompts().filter(pl.col("prompt_id") == prompt)
        if found.is_empty():
            raise CurateError(
                f"{prompt}: neither a file nor a prompt of {store}", hint="curate status says what it has"
            )
        [row] = found.to_dicts()
        if row["video"] is None:
            raise CurateError(f"{store}: prompt {prompt!r} names no video", hint="give it one: curate ingest --prompts")
        answers, note = _answers(opened, prompt, run)
    path = Locator(Path(media) if media is not None else Path(store).parent).find(row["video"])
    return Subject(prompt, row["video"], path, row["question"] or "", answers, note)


def sheet_of(subject: Subject, images: Images, times: list[float]) -> Sheet:
    """The contact sheet of a subject. images: (T, H, W, 3) RGB; times: (T,) seconds, empty for an image."""
    captions = tuple(f"{time:.2f} s" for time in times) or ("",) * len(images)
    title = subject.title if subject.title == Path(subject.video).name else f"{subject.title}  ·  {subject.video}"
    return Sheet(title, subject.question, tuple(images), captions, subject.answers, subject.note)


def _answers(store: Store, prompt: str, run: str) -> tuple[tuple[Answer, ...], str]:
    mine = pl.col("prompt_id") == prompt
    responses = store.responses().filter(mine)
    ranked = pl.DataFrame()
    note = "No ranking yet: the responses are in the order of their ids."
    if run or "denoise" in store.runs()["step"].to_list():
        run_id = store.denoise_run(run)
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
            note += " Votes do not connect all responses: ranks are counted within each group of those that they do."
    return tuple(_answer(row) for row in rows), note


def _answer(row: dict[str, object]) -> Answer:
    label = "" if row["rank"] is None else f"{row['rank']}"
    if row["rank"] is not None and row["best_rank"] != row["worst_rank"]:
        interval = f"  ·  90%: rank {row['best_rank']} to {row['worst_rank']}"
    else:
        interval = ""
    return Answer(label, f"{row['model'] or row['response_id']}{interval}", str(row["text"] or row["response_id"]))


def _read(path: Path, count: int, timeout: float) -> tuple[Images, list[float], float | None]:
    if path.suffix.lower() in IMAGE_SUFFIXES:
        return read_image(path)[None], [], None
    with MediaReader(workers=1, timeout=timeout) as reader:
        [answer] = reader.videos([path], count)
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
