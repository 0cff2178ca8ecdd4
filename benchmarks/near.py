"""Recall and precision of near-duplicate detection by perceptual hashes, and its speed.

    python -m benchmarks.near [--clips 450] [--copies 60] [--others 10000]

Worlds: simulated clips of four shapes (curate simulate --video), which are similar to each other, and pans over
textures with the spectrum of natural images, a third of them mostly black and a third with black bars. Copies of some
clips are encoded at low quality, at 60% of the size, brighter, darker, at half the frame rate, and cropped by 3% and by
6% at each side. Every copy is compared with every clip. Recall: share of copies that are near their clip. False: pairs
of different clips that are near (some simulated clips look almost the same). Precision: share of the near pairs of a
copy and a clip that belong together. For comparison: the classical pHash (64 waves of brightness, above the median or
not) at its usual threshold of 10 of 64 bits, and our hashes of whole frames only. ``one frame``: the same with one
frame per clip, as for images.
"""

from __future__ import annotations

import argparse
import io
import time
from collections.abc import Callable, Iterator
from fractions import Fraction

import av
import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy.fft import dctn

from curate.array_types import Images, Index
from curate.media.frames import slice_centres
from curate.media.hashing import SAMPLED, frame_hashes, view_hashes
from curate.media.near_duplicates import NEAR, near_duplicates
from curate.simulation.clips import draw_clip
from curate.simulation.scenes import draw_scenes

Hashes = npt.NDArray[np.uint64]
THRESHOLDS = (0.1, 0.15, NEAR, 0.25, 0.3)
CLASSICAL = 10 / 64


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=450)
    parser.add_argument("--copies", type=int, default=60)
    parser.add_argument("--others", type=int, default=10_000)
    options = parser.parse_args()
    scenes = draw_scenes(np.random.default_rng(0), options.clips)
    measure("simulated clips", lambda i: draw_clip(scenes, i), options.clips, options.copies)
    measure("textures", pan, min(options.clips, 200), min(options.copies, 100))
    speed(options.others)


def measure(name: str, draw: Callable[[int], Images], clips: int, copies: int) -> None:
    """Print recall, false pairs and precision in one world."""
    copies = min(copies, clips)
    sampled = [sample(encoded(draw(i), 18)) for i in range(clips)]
    made: dict[str, list[Images]] = {}
    for i in range(copies):
        for kind, images in variants(draw(i)):
            made.setdefault(kind, []).append(sample(images))
    print(f"\n{name}: {clips} clips, {copies} copies of each kind")
    methods: tuple[tuple[str, Callable[[Images], Hashes], int], ...] = (
        ("ours", view_hashes, SAMPLED),
        ("whole only", frame_hashes, SAMPLED),
        ("ours, one frame", view_hashes, 1),
        ("classical", classical, SAMPLED),
    )
    for method, hashes, frames in methods:
        first = np.stack([hashes(images)[:: SAMPLED // frames] for images in sampled])
        again = {kind: np.stack([hashes(x)[:: SAMPLED // frames] for x in images]) for kind, images in made.items()}
        print(f"  {method:<16} " + " ".join(f"{kind:>9}" for kind in again) + "       all     false   precision")
        for threshold in (CLASSICAL,) if method == "classical" else THRESHOLDS:
            pairs = hamming(threshold) if method == "classical" else jaccard(threshold)
            found = {kind: pairs(copy, first) for kind, copy in again.items()}
            right = {kind: float((left == right).sum()) / copies for kind, (left, right) in found.items()}
            left, other = pairs(first, first)
            false = int((left < other).sum())
            near = sum(len(left) for left, _ in found.values())
            true = sum(right.values()) * copies
            every = np.mean(list(right.values()))
            line = " ".join(f"{share:9.3f}" for share in right.values())
            print(f"  at {threshold:<13.3f} {line} {every:9.3f} {false:9,} {true / max(near, 1):11.3f}")


Pairs = Callable[[Hashes, Hashes], tuple[Index, Index]]


def jaccard(threshold: float) -> Pairs:
    """Pairs that are near-duplicates by curate.media.near_duplicates."""

    def pairs(a: Hashes, b: Hashes) -> tuple[Index, Index]:
        found = near_duplicates(a.tolist(), b.tolist(), threshold=threshold)
        return found.left, found.right

    return pairs


def hamming(threshold: float) -> Pairs:
    """Pairs of which this share of bits or less differs."""

    def pairs(a: Hashes, b: Hashes) -> tuple[Index, Index]:
        apart = sum(np.bitwise_count(x[:, None] ^ y).astype(np.int64) for x, y in zip(a.T, b.T, strict=True))
        left, right = np.nonzero(apart <= threshold * 64 * a.shape[1])
        return left, right

    return pairs


def classical(images: Images) -> Hashes:
    """(T,) pHash as the ImageHash library computes it: 32 × 32 grey levels, the lowest 8 × 8 waves, the median."""
    small = [Image.fromarray(x).convert("L").resize((32, 32), Image.Resampling.LANCZOS) for x in images]
    waves = dctn(np.stack(small).astype(np.float64), axes=(1, 2))[:, :8, :8].reshape(len(images), 64)
    bits = waves > np.median(waves, axis=1, keepdims=True)
    return np.ascontiguousarray(np.packbits(bits, axis=1)).view(">u8")[:, 0].astype(np.uint64)


def sample(frames: Images) -> Images:
    """The frames shown in the middle of equal slices of the time, at a constant rate."""
    return frames[slice_centres(len(frames), SAMPLED).astype(np.int64)]


def variants(frames: Images) -> Iterator[tuple[str, Images]]:
    """Kind, and the clip as it comes back: (T, H, W, 3)."""
    height, width = frames.shape[1:3]
    yield "crf 35", encoded(frames, 35)
    yield "60% size", encoded(scaled(frames, 0.6), 28)
    yield "brighter", encoded((frames * 1.15 + 15).clip(0, 255).astype(np.uint8), 28)
    yield "darker", encoded((frames * 0.7).astype(np.uint8), 28)
    yield "half rate", encoded(frames[::2], 28)
    for share in (0.03, 0.06):
        y, x = max(1, round(share * height)), max(1, round(share * width))
        yield f"crop {share:.0%}", encoded(frames[:, y : height - y, x : width - x], 28)


def scaled(frames: Images, share: float) -> Images:
    size = round(frames.shape[2] * share), round(frames.shape[1] * share)
    return np.stack([np.asarray(Image.fromarray(x).resize(size, Image.Resampling.BICUBIC)) for x in frames])


def encoded(frames: Images, crf: int) -> Images:
    """The frames after H.264 at this quality; an odd last row or column is lost."""
    frames = frames[:, : frames.shape[1] // 2 * 2, : frames.shape[2] // 2 * 2]
    memory = io.BytesIO()
    with av.open(memory, "w", format="mp4") as container:
        stream = container.add_stream(
            "libx264", rate=8, options={"crf": str(crf), "preset": "veryfast", "threads": "1"}
        )
        stream.height, stream.width, stream.pix_fmt = frames.shape[1], frames.shape[2], "yuv420p"
        for number, image in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 8)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    memory.seek(0)
    with av.open(memory) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


def pan(number: int, frames: int = 32, height: int = 144, width: int = 256) -> Images:
    """(T, H, W, 3) a view that moves over a texture whose waves fall off as 1 / frequency, a square going across it."""
    rng = np.random.default_rng(number)
    room = 60
    shape = height + room, width + room
    frequency = np.hypot(np.fft.fftfreq(shape[0])[:, None], np.fft.fftfreq(shape[1]))
    frequency[0, 0] = 1
    planes = np.fft.ifft2(np.fft.fft2(rng.normal(size=(4, *shape))) / frequency).real
    planes = (planes - planes.mean(axis=(1, 2), keepdims=True)) / planes.std(axis=(1, 2), keepdims=True)
    texture = np.moveaxis(planes[0] + 0.4 * planes[1:], 0, -1) * 45 + rng.uniform(60, 180)
    way, square, speed, colour = (
        rng.uniform(-1, 1, 2),
        rng.uniform(30, 110, 2),
        rng.uniform(-3, 3, 2),
        rng.uniform(0, 255, 3),
    )
    shown = []
    for t in range(frames):
        y, x = (room / 2 + way * (t - frames / 2) * 1.5).astype(int)
        view = texture[y : y + height, x : x + width].copy()
        top, left = np.maximum(square + speed * t, 0).astype(int)
        view[top : top + 24, left : left + 24] = colour
        shown.append(view)
    clip = np.stack(shown).clip(0, 255).astype(np.uint8)
    if number % 3 == 0:
        clip[: frames * 5 // 8] = rng.integers(0, 20)
    if number % 3 == 1:
        clip[:, :18] = clip[:, -18:] = 0
    return clip


def speed(count: int) -> None:
    """Print how long it takes to compare so many videos with each other."""
    rng = np.random.default_rng(0)
    hashes = rng.integers(0, 2**64, (2, count, 3 * SAMPLED), dtype=np.uint64, endpoint=False)
    phashes = (hashes[0] & hashes[1]).tolist()
    begin = time.perf_counter()
    near_duplicates(phashes)
    print(f"\n{count:,} videos with each other: {time.perf_counter() - begin:.1f} s")


if __name__ == "__main__":
    main()
