"""The interactive report: cost of writing it, size of the page, time until a browser shows it.

    python -m benchmarks.report [--dir demo] [--picture docs/report-light.png]

Two pages of 450 prompts × 19 answers: the demo (of a finished ``curate run mr2bench-video --dir demo``, else one is
made), and one with answers of 90 words and an image of its own per prompt. The cost is processor time of the job with
its decoders, without the fits of the hierarchical ranker: of the first page, and of one that replaces it. The goal is
that of the demo. The time is from navigation until the data are unpacked and the view is drawn, the median of five new
windows. Needs Chromium.
"""

from __future__ import annotations

import argparse
import io
import resource
import statistics
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import polars as pl
from PIL import Image

from curate.rankers.hierarchical import Hierarchical
from pipelines import denoise, ingest, simulate
from pipelines.recipe import load_recipe, run
from pipelines.reporting import report
from schemas.config import DenoiseConfig, SimulateConfig
from tests.browsers import chromium

CPU, SIZE, LOAD = 2.0, 15.0, 2.0
"""Goals: processor seconds besides fits, megabytes, seconds until a view is shown."""
VIEWS = ("#leaderboard", "#prompts", "#prompt={prompt}", "#pair={one},{other}")
WINDOWS = 5


def cpu() -> float:
    """Processor seconds of this process and its finished children."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


@contextmanager
def fits() -> Iterator[list[float]]:
    """Collect the processor seconds of each fit of the hierarchical ranker in the block."""
    found: list[float] = []
    fit = Hierarchical.fit

    def timed(self: Hierarchical, votes: Any) -> Any:
        start = cpu()
        try:
            return fit(self, votes)
        finally:
            found.append(cpu() - start)

    with patch.object(Hierarchical, "fit", timed):
        yield found


def cost(job: Callable[[], object]) -> float:
    """Processor seconds of a job without fits."""
    with fits() as spent:
        start = cpu()
        job()
        return cpu() - start - sum(spent)


def load_times(page: Path, views: list[str]) -> dict[str, float]:
    """Median seconds until each view is shown."""
    found = {}
    with chromium() as browser:
        for view in views:
            times = []
            for _ in range(WINDOWS):
                window = browser.new_page()
                window.goto(page.as_uri() + view)
                window.locator("html[data-ready]").wait_for(state="attached")
                times.append(float(window.evaluate("() => document.documentElement.dataset.ready")) / 1000)
                window.close()
            found[view] = statistics.median(times)
    return found


def long_world(folder: Path) -> Path:
    """Ranked votes on long answers to questions about 450 images. Returns the store."""
    rng, world = np.random.default_rng(0), folder / "world"
    simulate(world, config=SimulateConfig(prompts=450, models=19, votes_per_pair=1.0, prompts_per_video=1))
    words = np.array(pl.read_csv(world / "responses.csv")["text"].str.split(" ").explode().unique().sort().to_list())
    answers = pl.read_csv(world / "responses.csv")
    texts = [" ".join(rng.choice(words, size=90)) for _ in range(len(answers))]
    answers.with_columns(text=pl.Series(texts)).write_csv(world / "responses.csv")
    prompts = pl.read_csv(world / "prompts.csv")
    prompts.with_columns(video=pl.format("images/{}.jpg", "prompt_id")).write_csv(world / "prompts.csv")
    (world / "images").mkdir()
    for prompt in prompts["prompt_id"]:
        coarse = Image.fromarray(rng.integers(0, 256, (24, 40, 3), dtype=np.uint8))
        coarse.resize((640, 384), Image.Resampling.BICUBIC).save(world / "images" / f"{prompt}.jpg")
    store = folder / "curate.duckdb"
    ingest(world / "votes.csv", store, prompts=world / "prompts.csv", responses=world / "responses.csv")
    denoise(store, config=DenoiseConfig(ranker="hierarchical"))
    return store


def measure(name: str, store: Path, media: Path, out: Path, *, limit: float = float("inf")) -> bool:
    """Print the figures of a page; return whether they meet the goals. limit: processor seconds."""
    job = partial(report, store, out, media=media, title="MR²Bench-Video")
    out.unlink(missing_ok=True)
    first, again = cost(job), cost(job)
    size = out.stat().st_size / 1e6
    views = [view.format(prompt="p0209", one="model-01", other="model-02") for view in VIEWS]
    times = load_times(out, views)
    good = first <= limit and size <= SIZE and max(times.values()) <= LOAD
    print(f"{name:14}{first:8.2f}{again:8.2f}{size:9.2f}" + "".join(f"{seconds:13.2f}" for seconds in times.values()))
    return good


def take_picture(page: Path, out: Path) -> None:
    """Write the leaderboard beside a prompt, in light colours, as a small PNG."""
    with chromium() as browser:
        window = browser.new_page(viewport={"width": 1180, "height": 1000})
        shots = []
        for view in ("#leaderboard", "#prompt=p0209"):
            window.goto("about:blank")
            window.goto(page.as_uri() + view)
            window.locator("html[data-ready]").wait_for(state="attached")
            window.wait_for_timeout(1000)  # the first frame of the video
            shots.append(Image.open(io.BytesIO(window.screenshot())).convert("RGB"))
    both = Image.new("RGB", (shots[0].width * 2 + 20, shots[0].height), "#b9c1ca")
    for place, shot in enumerate(shots):
        both.paste(shot, (place * (shot.width + 20), 0))
    both.quantize(256, dither=Image.Dither.NONE).save(out, optimize=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dir", type=Path, help="a finished run of the recipe mr2bench-video")
    parser.add_argument("--picture", type=Path, help="write a picture of the demo's report here")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        demo = options.dir or Path(scratch) / "demo"
        if options.dir is None:
            run(load_recipe("mr2bench-video"), demo)
        print(f"{'page':14}{'cpu s':>8}{'again':>8}{'MB':>9}" + "".join(f"{v.partition('=')[0]:>13}" for v in VIEWS))
        good = measure("demo", demo / "curate.duckdb", demo / "world", demo / "report.html", limit=CPU)
        large = Path(scratch) / "large"
        store = long_world(large)
        good &= measure("long answers", store, large / "world", large / "report.html")
        if options.picture:
            take_picture(demo / "report.html", options.picture)
    print(f"{'PASS' if good else 'FAIL'}: goals {CPU:g} s, {SIZE:g} MB, {LOAD:g} s")


if __name__ == "__main__":
    main()
