"""The contact sheet of a prompt: frames of its video with their times, the question and the ranked responses."""

from __future__ import annotations

import unicodedata
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from schemas.errors import CurateError

WIDTH, MARGIN, GAP = 1200, 48, 12
"""Width of the sheet, its margin, and the gap between frames, pixels."""
PER_ROW = 4
"""Frames per row."""
TALLEST = 1.25
"""Largest ratio of height to width of a frame; taller frames are scaled down."""
LINES = 12
"""Largest number of lines of a response; a truncated text ends in …"""
PAPER, INK, MUTED, RULE, ACCENT = "#fbfaf7", "#1f2328", "#6b7077", "#dcd8d0", "#2f5d8a"


@dataclass(frozen=True)
class Answer:
    """One response on the sheet."""

    label: str
    """Its rank; empty if it has none."""
    model: str
    text: str


@dataclass(frozen=True)
class Sheet:
    """The content of a contact sheet."""

    title: str
    question: str
    images: tuple[npt.NDArray[np.uint8], ...]
    """(H, W, 3) RGB each."""
    captions: tuple[str, ...]
    """The time of each image."""
    answers: tuple[Answer, ...]
    """In the order of the sheet."""
    note: str
    """The source of the order."""


@dataclass
class _Page:
    """A page that grows downwards; it is drawn at the end, when its height is known."""

    font: Callable[[int], Any]
    """size -> font"""
    y: int = MARGIN
    strokes: list[Callable[[Any, Any], None]] = field(default_factory=list)
    """Functions that draw on the picture and its ImageDraw."""
    missing: dict[str, None] = field(default_factory=dict)
    """Characters without a glyph, in the order of occurrence."""

    def text(
        self, x: int, text: str, size: int, colour: str, *, lines: int = 100, after: int = 0, width: int | None = None
    ) -> None:
        """Add a wrapped paragraph from x to the right margin (or ``width`` pixels)."""
        font = self.font(size)
        text = clean(text)
        self.missing |= dict.fromkeys(c for c in text if not c.isspace() and lacks(font, c))
        wrapped = wrap(text, font, width or WIDTH - MARGIN - x, lines)
        for number, line in enumerate(wrapped):
            self._line(x, self.y + number * round(size * 1.4), line, font, colour)
        self.y += len(wrapped) * round(size * 1.4) + after

    def _line(self, x: int, y: int, line: str, font: Any, colour: str) -> None:
        self.strokes.append(lambda _picture, draw: draw.text((x, y), line, font=font, fill=colour))

    def rule(self, after: int) -> None:
        """Add a thin line from margin to margin."""
        y = self.y
        self.strokes.append(lambda _picture, draw: draw.line((MARGIN, y, WIDTH - MARGIN, y), fill=RULE, width=1))
        self.y += after

    def frames(self, images: tuple[npt.NDArray[np.uint8], ...], captions: tuple[str, ...]) -> None:
        """Add the images in rows, each with its caption below."""
        from PIL import Image

        columns = min(PER_ROW, max(1, len(images)))
        width = (WIDTH - 2 * MARGIN - (PER_ROW - 1) * GAP) // PER_ROW if columns > 1 else (WIDTH - 2 * MARGIN) // 2
        for begin in range(0, len(images), columns):
            row = [Image.fromarray(image) for image in images[begin : begin + columns]]
            scale = [min(width / one.width, TALLEST * width / one.height) for one in row]
            sizes = [(max(1, round(s * i.width)), max(1, round(s * i.height))) for s, i in zip(scale, row, strict=True)]
            height = max(size[1] for size in sizes)
            for k, (one, size) in enumerate(zip(row, sizes, strict=True)):
                x = MARGIN + k * (width + GAP)
                self._paste(one.resize(size, Image.Resampling.LANCZOS), x, self.y)
                self._line(x, self.y + size[1] + 4, captions[begin + k], self.font(14), MUTED)
            self.y += height + 34

    def _paste(self, image: Any, x: int, y: int) -> None:
        edge = (x, y, x + image.width - 1, y + image.height - 1)
        self.strokes.append(lambda picture, _draw: picture.paste(image, (x, y)))
        self.strokes.append(
            lambda _picture, draw: draw.rectangle(edge, outline=RULE)
        )  # an outline, for images as white as the page

    def drawn(self) -> Any:
        from PIL import Image, ImageDraw

        picture = Image.new("RGB", (WIDTH, self.y + MARGIN), PAPER)
        draw = ImageDraw.Draw(picture)
        for stroke in self.strokes:
            stroke(picture, draw)
        return picture


def draw_sheet(sheet: Sheet, font: Path | None = None) -> tuple[Any, str]:
    """Return the picture (PIL, RGB) and a list of the characters without a glyph, which are drawn as boxes.

    font: a TrueType file; by default DejaVu Sans if it is installed, else pillow's font, which covers Latin letters.
    Raises CurateError if the font cannot be read.
    """
    page = _Page(font_of(font))
    page.text(MARGIN, sheet.title, 15, MUTED, after=2)
    if sheet.question:
        page.text(MARGIN, sheet.question, 27, INK, after=16)
    else:
        page.y += 8
    page.frames(sheet.images, sheet.captions)
    for answer in sheet.answers:
        page.rule(12)
        _answer(page, answer)
    if sheet.note:
        page.rule(12)
        page.text(MARGIN, sheet.note, 14, MUTED)
    missing = _code_points(list(page.missing))
    if missing:
        page.text(MARGIN, f"The font lacks {missing}.", 14, MUTED)
    return page.drawn(), missing


def _answer(page: _Page, answer: Answer) -> None:
    top = page.y
    if answer.label:
        page.text(MARGIN, answer.label, 24, ACCENT, lines=1, width=72)
    page.y = top
    page.text(MARGIN + 84, answer.model, 14, MUTED, lines=1, after=2)
    page.text(MARGIN + 84, answer.text, 18, INK, lines=LINES, after=14)
    page.y = max(page.y, top + 48)


@cache
def font_of(path: Path | None) -> Callable[[int], Any]:
    """Return a function from size in pixels to the font."""
    from PIL import ImageFont

    if path is not None:
        try:
            ImageFont.truetype(str(path), 12)
        except OSError as error:
            raise CurateError(f"{path}: cannot be read as a font ({error})", hint="give a .ttf or .otf file") from error
        return cache(lambda size: ImageFont.truetype(str(path), size))
    for name in (*_matplotlib_fonts(), "DejaVuSans.ttf"):  # pillow finds the latter among the installed fonts
        try:
            ImageFont.truetype(name, 12)
        except OSError:
            continue
        return cache(lambda size, name=name: ImageFont.truetype(name, size))
    return cache(lambda size: ImageFont.load_default(size))


def _matplotlib_fonts() -> list[str]:
    """Path of DejaVu Sans in matplotlib, which is not imported."""
    spec = find_spec("matplotlib")
    places = spec.submodule_search_locations or [] if spec else []
    return [str(Path(place, "mpl-data", "fonts", "ttf", "DejaVuSans.ttf")) for place in places]


def lacks(font: Any, character: str) -> bool:
    """Whether the font has no glyph for the character: it draws the same box as for an unassigned code point."""
    return unicodedata.category(character) not in ("Cf", "Mn", "Me") and _mask(font, character) == _mask(
        font, "\U0010ffff"
    )


@cache
def _mask(font: Any, character: str) -> tuple[Any, bytes]:
    mask = font.getmask(character)
    return mask.size, bytes(mask)


def clean(text: str) -> str:
    """Return one drawable paragraph: white space, control characters and surrogates become spaces; joiners, variation
    selectors and unassigned characters are removed."""
    kept = []
    for character in text:
        category = unicodedata.category(character)
        if category in ("Cf", "Co", "Cn") or 0xFE00 <= ord(character) <= 0xFE0F:
            continue
        kept.append(" " if category in ("Cc", "Cs", "Zl", "Zp") else character)
    return " ".join("".join(kept).split())


def wrap(text: str, font: Any, width: int, lines: int) -> list[str]:
    """Break a text into lines of at most ``width`` pixels, within words only if a word is wider than a line.

    If there are more than ``lines`` lines, the rest is removed and the last line ends in "…".
    """
    found: list[str] = []
    line = ""
    for word in text.split():
        joined = f"{line} {word}" if line else word
        if font.getlength(joined) <= width:
            line = joined
            continue
        if line:
            found.append(line)
        while font.getlength(word) > width and len(word) > 1:
            fits = max(1, bisect_right(range(1, len(word)), width, key=lambda n: font.getlength(word[:n])))
            found.append(word[:fits])
            word = word[fits:]
            if len(found) > lines:
                break
        line = word
        if len(found) > lines:
            break
    if line:
        found.append(line)
    if len(found) <= lines:
        return found
    last = found[lines - 1]
    while last and font.getlength(last + "…") > width:
        last = last[:-1]
    return [*found[: lines - 1], last.rstrip() + "…"]


def _code_points(missing: list[str]) -> str:
    """ "U+6F22, U+5B57 and 3 more characters"; empty for none."""
    named = ", ".join(f"U+{ord(character):04X}" for character in missing[:6])
    more = len(missing) - 6
    return named + (f" and {more} more" if more > 0 else "")
