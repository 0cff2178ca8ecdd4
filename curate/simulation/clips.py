"""Simulated scenes as video files: drawn with numpy, encoded with PyAV, the same bytes every time."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from curate.simulation.scenes import FRAMES, GRID, Scenes
from schemas.errors import CurateError

Images = npt.NDArray[np.uint8]

SIZE = 64
"""Pixels, height and width of a frame."""
RATE = 8
"""Frames a second: a clip lasts FRAMES / RATE = 2 seconds."""
CELL = 18
"""Pixels, side of a cell of the grid."""
CORNER = (2, 5)
"""(y, x) pixels: where the grid begins."""
LAMP = slice(58, 64)
"""Rows of the lamp, as broad as the frame."""

PALETTE = np.array([[230, 30, 30], [30, 190, 40], [50, 70, 240], [240, 220, 30]], dtype=np.uint8)
"""(4, 3) RGB of COLOURS."""
BACKDROP, DARK, LIT = 20, 60, 250
"""Grey levels of the backdrop and of the lamp."""
ENCODER = {"preset": "ultrafast", "crf": "18", "g": str(FRAMES), "bf": "0", "threads": "1", "sc_threshold": "0"}


def draw_clip(scenes: Scenes, video: int) -> Images:
    """(FRAMES, SIZE, SIZE, 3) RGB: the frames of one video."""
    frames = np.full((FRAMES, SIZE, SIZE, 3), BACKDROP, dtype=np.uint8)
    frames[:, LAMP] = np.where(scenes.lamp[video], LIT, DARK)[:, None, None, None]
    row, column = np.divmod(scenes.cell[video], GRID)
    y, x = CORNER[0] + row * CELL, CORNER[1] + column * CELL
    step = ((0, -1), (0, 1), (-1, 0), (1, 0))[scenes.way[video]]  # left, right, up, down
    for t in range(FRAMES):
        gone = round((GRID - 1) * CELL * t / (FRAMES - 1))
        for k in range(scenes.shapes):
            if k == 1 and t < scenes.appears[video]:
                continue
            top, left = (y[k] + gone * step[0], x[k] + gone * step[1]) if k == 0 else (y[k], x[k])
            patch = frames[t, top : top + CELL, left : left + CELL]
            patch[MASKS[scenes.shape[video, k]]] = PALETTE[scenes.colour[video, k]]
    return frames


def _masks() -> npt.NDArray[np.bool_]:
    """(4, CELL, CELL) the pixels of each of SHAPES, one pixel less than its cell all round."""
    y, x = np.mgrid[:CELL, :CELL] - (CELL - 1) / 2
    reach = CELL / 2 - 1
    circle = y**2 + x**2 <= reach**2
    square = np.maximum(abs(y), abs(x)) <= reach - 1
    triangle = (y <= reach) & (2 * abs(x) <= y + reach)
    cross = (np.maximum(abs(y), abs(x)) <= reach) & (np.minimum(abs(y), abs(x)) <= reach / 3)
    return np.stack([circle, square, triangle, cross])


MASKS = _masks()


def write_clip(path: Path, frames: Images) -> None:
    """An mp4 file of H.264 at RATE frames a second. frames: (T, H, W, 3) RGB."""
    av = import_av()
    with av.open(str(path), "w", format="mp4", options={"fflags": "+bitexact"}) as container:
        stream = container.add_stream("libx264", rate=RATE, options=ENCODER)
        stream.height, stream.width, stream.pix_fmt = frames.shape[1], frames.shape[2], "yuv420p"
        for number, image in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, RATE)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def import_av() -> Any:
    """The encoder; CurateError where it is not installed."""
    try:
        import av
    except ImportError as error:
        raise CurateError(f"videos cannot be written: {error}", hint="pip install 'mr2-curate[video]'") from error
    return av
