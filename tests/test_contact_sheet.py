"""The contact sheet: its frames, its order, and texts of any script and length."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from curate.media.contact_sheet import LINES, WIDTH, Answer, Sheet, clean, draw_sheet, font_of, lacks, wrap
from curate.store import Store
from pipelines.frames import sheet_of, subject_of, take_frames
from schemas.errors import CurateError
from tests.stores import Ranked, make_store
from tests.video_files import encode

RED = np.array([230, 20, 20], dtype=np.uint8)


def still(height: int, width: int) -> npt.NDArray[np.uint8]:
    return np.broadcast_to(RED, (height, width, 3)).copy()


def sheet(*texts: str, frames: int = 8, shape: tuple[int, int] = (90, 160), question: str = "What moves?") -> Sheet:
    answers = tuple(Answer(str(i + 1), f"model-{i}", text) for i, text in enumerate(texts))
    times = tuple(f"{i:.2f} s" for i in range(frames))
    return Sheet("p1", question, tuple(still(*shape) for _ in range(frames)), times, answers, "Ranked.")


def red_area(picture: Image.Image) -> int:
    return int((np.abs(np.asarray(picture).astype(int) - RED).sum(axis=2) < 12).sum())


# Drawing


@pytest.mark.parametrize("frames", [1, 3, 8, 13])
@pytest.mark.parametrize("shape", [(90, 160), (160, 90), (4, 900), (900, 4)])
def test_every_frame_is_on_the_sheet_whole(frames: int, shape: tuple[int, int]) -> None:
    picture, _ = draw_sheet(sheet("yes", frames=frames, shape=shape))
    assert picture.width == WIDTH
    broad = 267 if frames > 1 else 552
    scale = min(broad / shape[1], 1.25 * broad / shape[0])
    inner = max(round(scale * shape[0]) - 2, 0) * max(round(scale * shape[1]) - 2, 0)  # without the edge
    assert red_area(picture) == pytest.approx(frames * inner, rel=0.05, abs=frames * 40)


def test_more_text_makes_a_longer_sheet_up_to_a_limit() -> None:
    short, middle, long, longer = (draw_sheet(sheet("word " * n))[0].height for n in (1, 100, 2000, 20_000))
    assert short < middle < long == longer


def test_the_same_sheet_has_the_same_pixels() -> None:
    one, other = draw_sheet(sheet("a", "b"))[0], draw_sheet(sheet("a", "b"))[0]
    assert one.tobytes() == other.tobytes()


def test_a_sheet_without_question_answers_or_frames_is_drawn() -> None:
    picture, missing = draw_sheet(Sheet("clip.mp4", "", (), (), (), ""))
    assert picture.height < 300
    assert missing == ""


def test_characters_without_a_glyph_are_named() -> None:
    _, missing = draw_sheet(
        sheet("\U0010a100 is private, \U00013000 a hieroglyph", question="And \U00013000 \U00013001?")
    )
    assert "U+13000, U+13001" in missing
    assert draw_sheet(sheet("plain text"))[1] == ""


@settings(max_examples=25, deadline=None)
@given(st.text(alphabet=st.characters(), max_size=200))
def test_any_text_is_drawn(text: str) -> None:
    picture, _ = draw_sheet(sheet(text, frames=1, question=text))
    assert picture.height > 300


@pytest.mark.parametrize(
    "text", ["مرحبا بالعالم", "👩‍👩‍👧 🏳️‍🌈 ✌🏽", "漢字かな交じり文" * 40, "\ud800 half", "a\x00b\x1bc", "é" * 3000]
)
def test_other_scripts_emoji_and_broken_text_are_drawn(text: str) -> None:
    assert draw_sheet(sheet(text, question=text))[0].height > 300


def test_an_unreadable_font_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "font.ttf").write_text("no font")
    with pytest.raises(CurateError, match="cannot be read as a font"):
        draw_sheet(sheet("a"), tmp_path / "font.ttf")


# Text


def test_lines_break_between_words_and_within_those_that_are_too_long() -> None:
    font = font_of(None)(18)
    lines = wrap("some words and " + "x" * 300 + " end", font, 200, 100)
    assert lines[0].startswith("some words and")
    assert "".join(lines).replace(" ", "") == "somewordsand" + "x" * 300 + "end"
    assert all(font.getlength(line) <= 200 for line in lines)


def test_a_truncated_text_ends_in_an_ellipsis() -> None:
    font = font_of(None)(18)
    lines = wrap("word " * 1000, font, 200, LINES)
    assert len(lines) == LINES
    assert lines[-1].endswith("…")
    assert wrap("word", font, 200, LINES) == ["word"]
    assert wrap("", font, 200, LINES) == []


def test_text_is_one_paragraph_of_drawable_characters() -> None:
    assert clean("a\n\n b\tc\x00d‍e️") == "a b c de"
    assert clean("\ud800x") == "x"


def test_a_known_letter_is_not_lacking() -> None:
    assert not lacks(font_of(None)(18), "a")
    assert lacks(font_of(None)(18), "\U00013000")


# The sheet of a prompt


@pytest.fixture
def store(tmp_path: Path) -> Path:
    encode(tmp_path / "clip.mp4", range(0, 1000, 125))
    prompts = [
        Ranked("p0", (2, 1, 3), "clip.mp4"),
        Ranked("p2", (1, 1, 2, 1), "clip", components=(0, 0, 0, 1)),
        Ranked("p3", (1, 2), "clip.mp4", status="too_few_votes"),
    ]
    return make_store(tmp_path / "curate.duckdb", prompts)


def test_a_ranked_prompt_shows_its_responses_best_first(store: Path) -> None:
    subject = subject_of("p0", store)
    assert subject.question == "What? p0"
    assert subject.path == store.parent / "clip.mp4"
    assert [(answer.label, answer.model) for answer in subject.answers] == [
        ("1", "model-b"),
        ("2", "p0-a"),
        ("3", "model-c"),
    ]
    assert [answer.text for answer in subject.answers] == ["p0-b", "answer 0 — “é”", "answer 2 — “é”"]
    assert subject.note == "Ranked by run d0d0d0d0d0d0; 1 is best."


def test_ranks_within_connected_components_are_noted(store: Path) -> None:
    subject = subject_of("p2", store)
    assert [answer.label for answer in subject.answers] == ["1", "1", "2", "1"]
    assert "connected component" in subject.note


def test_a_prompt_without_a_ranking_shows_its_responses_unranked(store: Path) -> None:
    subject = subject_of("p3", store)
    assert [(answer.label, answer.model) for answer in subject.answers] == [("", "p3-a"), ("", "model-b")]
    assert "does not rank" in subject.note
    with Store.open(store) as opened:
        opened.execute("DELETE FROM runs")
    assert "No ranking yet" in subject_of("p0", store).note


def test_the_sheet_of_a_prompt_is_written_beside_its_frames(store: Path, tmp_path: Path) -> None:
    report = take_frames("p0", out=tmp_path / "out", store=store, contact_sheet=True)
    assert report.files == (*(f"frame-0{i}.jpg" for i in range(1, 9)), "contact-sheet.png", "frames.json")
    with Image.open(tmp_path / "out" / "contact-sheet.png") as picture:
        assert picture.width == WIDTH


def test_a_file_needs_no_store(store: Path, tmp_path: Path) -> None:
    report = take_frames(str(tmp_path / "clip.mp4"), out=tmp_path / "out", store="nowhere.duckdb", contact_sheet=True)
    assert len(report.times) == 8


def test_captions_are_times_and_an_image_has_none(store: Path) -> None:
    subject = subject_of("p0", store)
    assert sheet_of(subject, still(4, 4)[None], [0.125]).captions == ("0.12 s",)
    assert sheet_of(subject, still(4, 4)[None], []).captions == ("",)
