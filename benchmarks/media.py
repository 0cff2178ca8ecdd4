"""Time of probing videos relative to plain decoding of the same frames with decord.

    python -m benchmarks.media [--clips 1000] [--folder DIR] [--processes 2] [--rounds 3]

Renders short 720p clips of H.264 (2 to 4 seconds at 25 frames per second, moving noise and bouncing shapes). Each round
measures ``probe`` (digest, codec, timestamps, 8 frames and their perceptual hashes, in worker processes) and ``decord``
(the same 8 frames by get_batch, in as many plain processes), without the start of the processes. Prints the seconds of
each and the smallest ratio; the goal is at most 1.3.
"""

from __future__ import annotations

import argparse
import multiprocessing
import tempfile
import time
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from curate.engine import LocalEngine
from curate.media.frames import MediaError, import_decord, shown_at, slice_centres
from curate.media.hashing import SAMPLED
from curate.media.workers import probe_media

HEIGHT, WIDTH, RATE = 720, 1280, 25
GOAL = 1.3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=1000)
    parser.add_argument("--folder", type=Path, help="folder of the clips; default: a temporary one")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        paths = [render(folder / f"clip-{i:04d}.mp4", i) for i in range(options.clips)]
        size = sum(path.stat().st_size for path in paths)
        print(f"{len(paths):,} clips of {WIDTH} × {HEIGHT}, {size / 1e6:.0f} MB; {options.processes} processes")
        ratios = []
        for _ in range(options.rounds):
            ours, plain = probing(paths, options.processes), decoding(paths, options.processes)
            ratios.append(ours / plain)
            print(f"  probe {ours:.2f} s, decord {plain:.2f} s: {ours / plain:.2f} times")
    print(f"least {min(ratios):.2f}, median {np.median(ratios):.2f} times decord; goal {GOAL}")


def probing(paths: list[Path], processes: int) -> float:
    """Seconds of probing all files."""
    with LocalEngine(workers=processes) as engine:
        list(probe_media(engine, paths[:1] * 8 * processes))  # until every process has started
        begin = time.perf_counter()
        errors = [answer for answer in probe_media(engine, paths) if isinstance(answer, MediaError)]
        seconds = time.perf_counter() - begin
    assert not errors, errors
    return seconds


def decoding(paths: list[Path], processes: int) -> float:
    """Seconds that decord takes for the same frames of all files."""
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        pool.map(decode, paths[:1] * 8 * processes, chunksize=1)
        begin = time.perf_counter()
        pool.map(decode, paths, chunksize=1)
        return time.perf_counter() - begin


def decode(path: Path) -> None:
    decord = import_decord()
    reader = decord.VideoReader(str(path), num_threads=1)
    spans = reader.get_frame_timestamp(np.arange(len(reader)))
    chosen = shown_at(spans[:, 0] - spans[0, 0], slice_centres(float(spans.max() - spans[0, 0]), SAMPLED))
    reader.get_batch(chosen).asnumpy()


def render(path: Path, seed: int) -> Path:
    """A clip of moving noise and bouncing shapes; one that is there already is taken as it is."""
    if path.exists():
        return path
    rng = np.random.default_rng(seed)
    noise = rng.integers(0, 256, (HEIGHT // 16, WIDTH // 16, 3), dtype=np.uint8).repeat(16, axis=0).repeat(16, axis=1)
    place, speed = rng.uniform(100, 500, (3, 2)), rng.uniform(-12, 12, (3, 2))
    colour = rng.integers(0, 256, (3, 3), dtype=np.uint8)
    fresh = path.with_suffix(".partial")
    with av.open(str(fresh), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=RATE, options={"preset": "veryfast", "threads": "2"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for number in range(int(rng.integers(2 * RATE, 4 * RATE + 1))):
            image = np.roll(noise, number * 3, axis=1)
            for k in range(3):
                y, x = np.abs((place[k] + number * speed[k]) % (2 * 560) - 560).astype(int)
                image[y : y + 120, x : x + 120] = colour[k]
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, RATE)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return fresh.rename(path)


if __name__ == "__main__":
    main()
