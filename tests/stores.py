"""Small stores with rankings in them, written straight into the tables."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from curate.store import Store
from curate.store.runs import Run, record

RUN = "d0d0d0d0d0d0"
"""The denoise run of every store made here."""


@dataclass(frozen=True)
class Ranked:
    """A prompt with the ranks of its responses a, b, c, …; strengths fall by one logit a rank."""

    prompt_id: str
    ranks: tuple[int, ...]
    video: str | None = None
    components: tuple[int, ...] = ()
    """All 0 when empty."""
    status: str = "ranked"


def plenty(count: int = 40, responses: int = 9) -> list[Ranked]:
    """Prompts p000, p001, … with a strict ranking each, two to a video, every fourth without one."""
    return [
        Ranked(f"p{i:03d}", tuple(range(1, responses + 1)), None if i % 4 == 3 else f"videos/{i // 2:03d}.mp4")
        for i in range(count)
    ]


def make_store(path: Path, prompts: list[Ranked], *, order: int = 0) -> Path:
    """A store that ranked these prompts, its rows inserted in an order that ``order`` shuffles."""
    with Store.open(path, create=True) as store, store.transaction():
        add_prompts(store, prompts, order=order)
        store.execute("INSERT INTO batches VALUES ('b1', 1, '{}', '{\"rows\": 10}')")
        store.execute("INSERT INTO files VALUES ('b1', 1, '/home/someone/votes.csv', 'abc', '{}')")
        record(store, Run(RUN, "denoise", {"ranker": "ensemble"}, {"votes": "abc"}, "0.1.0+test", None), {})
    return path


def add_prompts(store: Store, prompts: list[Ranked], *, order: int = 0) -> None:
    """Add ranked prompts to the run of a store."""
    rows = [
        {
            "run_id": RUN,
            "prompt_id": prompt.prompt_id,
            "response_id": f"{prompt.prompt_id}-{chr(97 + i)}",
            "component": prompt.components[i] if prompt.components else 0,
            "rank": rank,
            "score": 1.0 / rank,
            "strength": -float(rank),
            "strength_se": 0.5 + 0.1 * (i % 3),
            "covariance": [(0.5 + 0.1 * (i % 3)) ** 2 if j == i else 0.0 for j in range(len(prompt.ranks))],
            "best_rank": rank,
            "worst_rank": rank,
            "model": f"model-{chr(97 + i)}" if i else None,
            "text": f"answer {i} — “é”" if i != 1 else None,
        }
        for prompt in prompts
        for i, rank in enumerate(prompt.ranks)
    ]
    stats = [
        {"run_id": RUN, "prompt_id": p.prompt_id, "status": p.status, "responses": len(p.ranks), "video": p.video}
        for p in prompts
    ]
    random.Random(order).shuffle(rows)
    random.Random(order).shuffle(stats)
    with store.views(new_rows=pl.DataFrame(rows), new_stats=pl.DataFrame(stats, schema_overrides={"video": pl.String})):
        store.execute(
            "INSERT INTO prompts BY NAME SELECT prompt_id, video, true AS from_file, "
            "CASE WHEN prompt_id <> 'p001' THEN 'What? ' || prompt_id END AS question FROM new_stats"
        )
        store.execute(
            "INSERT INTO responses BY NAME SELECT prompt_id, response_id, model, text, true AS from_file FROM new_rows"
        )
        store.execute(
            "INSERT INTO prompt_stats SELECT run_id, prompt_id, status, 0, 0, responses, 0, 0, 1, 0, "
            "NULL, NULL, NULL, NULL, NULL, true FROM new_stats"
        )
        store.execute(
            "INSERT INTO rankings BY NAME SELECT k.run_id, k.prompt_id, response_id, component, rank, score, strength, "
            "strength_se, covariance, best_rank, worst_rank FROM new_rows k JOIN new_stats s USING (prompt_id) "
            "WHERE status IN ('ranked', 'disconnected')"
        )
