"""Simulated scenes as video clips: drawn with numpy and encoded reproducibly."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from curate.array_types import Bool, Images
from curate.media.transcode import write_video
from curate.simulation.scenes import FRAMES, GRID, Scenes

SIZE = 64
"""Pixels, height and width of a frame."""
RATE = 8
"""Frames per second: a clip lasts FRAMES / RATE = 2 seconds."""
CELL = 18
"""Pixels, side of a cell of the grid."""
CORNER = (2, 5)
"""(y, x) of the grid's upper left corner, pixels."""
LAMP = slice(58, 64)
"""Rows of the lamp, which is as wide as the frame."""

PALETTE = np.array([[230, 30, 30], [30, 190, 40], [50, 70, 240], [240, 220, 30]], dtype=np.uint8)
"""(4, 3) RGB of COLOURS."""
BACKDROP, DARK, LIT = 20, 60, 250
"""Grey levels of the background and of the lamp when off and on."""
ENCODER = {"preset": "ultrafast", "crf": "18", "g": str(FRAMES), "bf": "0", "threads": "1", "sc_threshold": "0"}


def draw_clip(scenes: Scenes, video: int) -> Images:
    """(FRAMES, SIZE, SIZE, 3) RGB frames of one video."""
    frames = np.full((FRAMES, SIZE, SIZE, 3), BACKDROP, dtype=np.uint8)
    frames[:, LAMP] = np.where(scenes.lamp[video], LIT, DARK)[:, None, None, None]
    row, column = np.divmod(scenes.cell[video], GRID)
    y, x = CORNER[0] + row * CELL, CORNER[1] + column * CELL
    step = ((0, -1), (0, 1), (-1, 0), (1, 0))[scenes.way[video]]  # left, right, up, down
    for t in range(FRAMES):
        moved = round((GRID - 1) * CELL * t / (FRAMES - 1))
        for k in range(scenes.shapes):
            if k == 1 and t < scenes.appears[video]:
                continue
            top, left = (y[k] + moved * step[0], x[k] + moved * step[1]) if k == 0 else (y[k], x[k])
            patch = frames[t, top : top + CELL, left : left + CELL]
            patch[MASKS[scenes.shape[video, k]]] = PALETTE[scenes.colour[video, k]]
    return frames


def _masks() -> Bool:
    """(4, CELL, CELL) the pixels of each of SHAPES, one pixel smaller than its cell at each side."""
    y, x = np.mgrid[:CELL, :CELL] - (CELL - 1) / 2
    reach = CELL / 2 - 1
    circle = y**2 + x**2 <= reach**2
    square = np.maximum(abs(y), abs(x)) <= reach - 1
    triangle = (y <= reach) & (2 * abs(x) <= y + reach)
    cross = (np.maximum(abs(y), abs(x)) <= reach) & (np.minimum(abs(y), abs(x)) <= reach / 3)
    return np.stack([circle, square, triangle, cross])


MASKS = _masks()


def write_clip(path: Path, frames: Images) -> None:
    """Write a clip as an mp4 file; equal frames give equal bytes. frames: (T, H, W, 3) RGB."""
    write_video(path, frames, rate=RATE, options=ENCODER)
