"""All foreign benchmarks by name, and the detection of a file's benchmark by its columns."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from curate.reward.data import Example
from curate.reward.foreign.benchmark import Benchmark, Media, columns_of, listed, read_file
from curate.reward.foreign.mm_rlhf import MM_RLHF
from curate.reward.foreign.mr2bench import MR2BENCH_IMAGE, MR2BENCH_VIDEO
from curate.reward.foreign.multimodal_rewardbench import MULTIMODAL_REWARDBENCH
from curate.reward.foreign.omni_rewardbench import OMNI_REWARDBENCH
from curate.reward.foreign.reward_bench_2 import REWARD_BENCH_2
from curate.reward.foreign.video_rewardbench import VIDEO_REWARDBENCH
from curate.reward.foreign.vl_rewardbench import VL_REWARDBENCH
from schemas.errors import CurateError

BENCHMARKS: dict[str, Benchmark] = {
    benchmark.name: benchmark
    for benchmark in (
        VL_REWARDBENCH,
        MULTIMODAL_REWARDBENCH,
        MM_RLHF,
        VIDEO_REWARDBENCH,
        REWARD_BENCH_2,
        MR2BENCH_IMAGE,
        MR2BENCH_VIDEO,
        OMNI_REWARDBENCH,
    )
}


def detect(columns: set[str], *, path: Path) -> Benchmark:
    """The one benchmark that a file with these columns matches.

    Raises CurateError where it matches none (the message lists the differences), or more than one.
    """
    mismatches = {name: benchmark.mismatches(columns) for name, benchmark in BENCHMARKS.items()}
    matching = [name for name, against in mismatches.items() if not against]
    if len(matching) > 1:
        raise CurateError(f"{path}: matches {' and '.join(matching)}", hint="name the benchmark")
    if not matching:
        lines = "\n".join(f"  not {name}: {'; '.join(against)}" for name, against in mismatches.items())
        raise CurateError(
            f"{path}: matches no known benchmark; columns: {listed(columns)}\n{lines}",
            hint="name the benchmark, and map its columns that have another name",
        )
    return BENCHMARKS[matching[0]]


def read(
    path: Path,
    *,
    name: str | None = None,
    media: Path | None = None,
    cache: Path | None = None,
    rename: Mapping[str, str] | None = None,
) -> tuple[Benchmark, list[Example]]:
    """Read a file; return its benchmark, by default detected by the columns, and its examples in file order.

    media: folder that relative paths start from; default: that of the file. cache: folder for embedded images. rename:
    column of the file -> column of the benchmark. Raises CurateError where the file, its columns or a row is invalid.
    """
    if name is not None and name not in BENCHMARKS:
        raise CurateError(f"no benchmark '{name}'; known are {', '.join(BENCHMARKS)}")
    rows = read_file(path, rename or {})
    benchmark = BENCHMARKS[name] if name is not None else detect(columns_of(rows), path=path)
    return benchmark, benchmark.examples(path, rows, Media(media or path.parent, cache))
