"""Seconds per training step in which the main process waits for examples with videos, and the CPU time that it spends.

    python -m benchmarks.preprocessing [--steps 6] [--batch 2] [--workers 2] [--compute 1.5]

Renders two 720p clips of H.264 and reads eight frames of each at full size: 88 MB of patches. A step reads ``--batch``
clips and then computes for ``--compute`` seconds, as a GPU would: here it sleeps. Prints the first wait, in which
worker processes start, the mean of the others, and the CPU seconds of the main thread per step.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

from benchmarks.media import HEIGHT, WIDTH, render
from curate.reward.data import Example
from curate.reward.loader import Loader
from curate.reward.model import ModelConfig, make_encoder
from curate.reward.quiet import quiet
from curate.reward.scratch import build_backbone

FRAMES = 8


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--compute", type=float, default=1.5, help="seconds per step")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary, quiet():
        clips = [render(Path(temporary) / f"{i}.mp4", i) for i in range(2)]
        backbone = build_backbone(Path(temporary) / "backbone", ["What happens? yes no"], side=max(HEIGHT, WIDTH))
        encoder = make_encoder(backbone, ModelConfig("tree", frames=FRAMES, max_length=10**6))
        examples = [Example(clip.stem, "What happens?", ("yes", "no"), (1, 2), video=clip) for clip in clips]
        steps = [(examples * options.batch)[: options.batch]] * options.steps  # nothing is kept: all are read again
        waits, size = [], 0
        with Loader(encoder, frames=FRAMES, workers=options.workers, memory=0) as loader:
            stream, cpu = iter(loader.stream(steps)), time.thread_time()
            for _ in steps:
                begin = time.perf_counter()
                size = next(stream)[0].visual["pixel_values_videos"].nbytes
                waits.append(time.perf_counter() - begin)
                time.sleep(options.compute)
            cpu = time.thread_time() - cpu
    mean = sum(waits[1:]) / len(waits[1:])
    print(
        f"{options.batch} clips of {size / 1e6:.0f} MB per step: first wait {waits[0]:.2f} s, then {mean:.3f} s; "
        f"CPU of the main thread {cpu / len(waits):.3f} s per step"
    )


if __name__ == "__main__":
    main()
