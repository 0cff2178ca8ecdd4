"""Every foreign benchmark by name, and which of them a file is."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

from curate.reward.examples import Example
from curate.reward.foreign.benchmark import Benchmark
from curate.reward.foreign.media import Media
from curate.reward.foreign.mm_rlhf import MM_RLHF
from curate.reward.foreign.mr2bench import MR2BENCH_IMAGE, MR2BENCH_VIDEO
from curate.reward.foreign.multimodal_rewardbench import MULTIMODAL_REWARDBENCH
from curate.reward.foreign.reward_bench_2 import REWARD_BENCH_2
from curate.reward.foreign.tables import listed, read_table
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
    )
}


def detect(columns: Collection[str], *, path: Path) -> Benchmark:
    """The one benchmark that a file with these columns is.

    Raises CurateError where it is none, with what each lacks, or more than one.
    """
    misfits = {name: benchmark.detect(columns) for name, benchmark in BENCHMARKS.items()}
    fitting = [name for name, against in misfits.items() if not against]
    if len(fitting) > 1:
        raise CurateError(f"{path}: may be {' or '.join(fitting)}", hint="say which it is")
    if not fitting:
        lines = "\n".join(f"  not {name}: {'; '.join(against)}" for name, against in misfits.items())
        raise CurateError(
            f"{path}: none of the benchmarks known; it has {listed(frozenset(columns))}\n{lines}",
            hint="say which it is, and which of its columns has another name",
        )
    return BENCHMARKS[fitting[0]]


def read(
    path: Path,
    *,
    name: str | None = None,
    media: Path | None = None,
    cache: Path | None = None,
    rename: Mapping[str, str] | None = None,
) -> tuple[Benchmark, list[Example]]:
    """The benchmark that a file is, by its columns unless named, and its examples; see ``Benchmark.read``."""
    if name is not None and name not in BENCHMARKS:
        raise CurateError(f"no benchmark '{name}'; known are {', '.join(BENCHMARKS)}")
    table = read_table(path, rename=rename)
    benchmark = BENCHMARKS[name] if name is not None else detect(table.columns, path=path)
    return benchmark, benchmark.examples(table, Media(media or path.parent, cache))
