"""VLMEvalKit and lmms-eval: a judge chooses the best of the responses to a prompt, which it sees with the medium."""

from __future__ import annotations

import json
import re
import shutil
import string
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq

from curate.release.clients.base import Client, Source, Written, write_json
from curate.release.tables import BENCHMARK, PAIRWISE
from schemas.errors import CurateError

TASKS = Path(__file__).parent / "tasks"
VLMEVALKIT_USAGE = """
```sh
python DIR/run.py --data NAME_8frame NAME_pairs_8frame --model Qwen2.5-VL-7B-Instruct
```

`run.py` is that of VLMEvalKit, with all its options, and these data sets: `_8frame`, `_16frame`, `_32frame`, `_64frame`
or `_1fps`. Models that take videos get the file. The score is the accuracy, also by difficulty, with those of a perfect
judge (above it, differences are not meaningful) and of guessing. An answer that names no single letter is wrong, and
counted.
"""
LMMS_EVAL_USAGE = """
```sh
cd DIR
python -m lmms_eval --include_path . --tasks NAME,NAME_pairs --model qwen2_5_vl --batch_size 1
```

The score is the accuracy, also by difficulty. An answer that names no single letter is wrong, and counted. Media are
found beside `judging.py`.
"""


def _name(source: Source) -> str:
    """Return the release's name and number in letters, digits and underscores, which both programs accept."""
    return re.sub(r"[^A-Za-z0-9]+", "_", f"{source.release.name} {source.release.release}".strip())


def _questions(source: Source) -> dict[str, pl.DataFrame]:
    """Return file stem -> items with a best response: question, lettered responses and the right letter (answer)."""
    found = {}
    for config in (BENCHMARK, PAIRWISE):
        if config == PAIRWISE and not source.has(config):
            continue
        items = source.table(config).filter(pl.col("best").is_not_null())
        if (items["responses"].list.len() > len(string.ascii_uppercase)).any():
            raise CurateError(
                f"{source.folder}: an item has more than {len(string.ascii_uppercase)} responses",
                hint="answers are letters: build the release with fewer responses per item",
            )
        found[config] = items.select(
            pl.int_range(pl.len()).alias("index"),
            "item_id",
            "prompt_id",
            "responses",
            "best",
            "medium",
            "kind",
            "difficulty",
            "confidence",
            question="prompt",
            answer=pl.col("best").map_elements(lambda best: string.ascii_uppercase[best], return_dtype=pl.String),
        )
    return found


def _copy(out: Path, **files: str) -> None:
    """Copy files of ``tasks`` under other names. files: name there -> name in the folder."""
    for name, target in files.items():
        shutil.copyfile(TASKS / f"{name}.py", out / target)


def _write_vlmevalkit(source: Source, out: Path) -> Written:
    name, tables = _name(source), _questions(source)
    files = {name if config == BENCHMARK else f"{name}_pairs": f"{config}.json" for config in tables}
    for config, table in tables.items():
        write_json(out / f"{config}.json", table.to_dicts())
    write_json(out / "datasets.json", files)
    _copy(out, judging="judging.py", vlmevalkit="run.py")
    return _written(source, out, tables, "json")


def _write_lmms_eval(source: Source, out: Path) -> Written:
    name, tables = _name(source), _questions(source)
    for config, table in tables.items():
        pq.write_table(table.to_arrow(), out / f"{config}.parquet", compression="zstd")
        levels = sorted(table["difficulty"].unique())
        judge = name if config == BENCHMARK else f"{name}_pairs"
        metrics = ("accuracy", *(f"accuracy_{level}" for level in levels), "without_letter")
        lines = [
            *_task(judge, config, source.release.release),
            "output_type: generate_until",
            "doc_to_text: !function judging.judge_to_text",
            "doc_to_target: answer",
            "process_results: !function judging.process_results",
            "generation_kwargs: {max_new_tokens: 16, temperature: 0, do_sample: false}",
            "metric_list:",
            *(
                f"- {{metric: {metric}, aggregation: !function judging.mean, higher_is_better: {_better(metric)}}}"
                for metric in metrics
            ),
        ]
        (out / f"{judge}.yaml").write_text("\n".join(lines) + "\n", encoding="utf-8")
    _copy(out, judging="judging.py")
    return _written(source, out, tables, "parquet")


def _better(metric: str) -> str:
    return "false" if metric == "without_letter" else "true"


def _task(name: str, config: str, number: str) -> list[str]:
    """Return the lines that the tasks of lmms-eval share."""
    return [
        f"task: {name}",
        "dataset_path: parquet",
        f"dataset_kwargs: {json.dumps({'data_files': {'test': f'{config}.parquet'}})}",
        "test_split: test",
        "doc_to_visual: !function judging.doc_to_visual",
        f"metadata: {json.dumps([{'version': number}])}",
    ]


def _written(source: Source, out: Path, tables: dict[str, pl.DataFrame], suffix: str) -> Written:
    media = pl.concat(table["medium"] for table in tables.values())
    ceiling = tables[BENCHMARK].select(pl.col("confidence").mean()).item()
    notes = [f"NAME is {_name(source)}", f"a perfect judge would score about {ceiling:.2f} on the items of benchmark"]
    if not source.has_media and media.count():
        notes.append(f"{media.count():,} questions are asked without their video or image: the release has none")
    rows = {f"{config}.{suffix}": len(table) for config, table in tables.items()}
    return Written(rows, source.link_media(media, out) if source.has_media else 0, notes=tuple(notes))


VLMEVALKIT = Client(
    "vlmevalkit",
    "The benchmark and its pairs as data sets of VLMEvalKit: a judge chooses the best response to a question.",
    VLMEVALKIT_USAGE,
    _write_vlmevalkit,
)
LMMS_EVAL = Client(
    "lmms-eval",
    "The benchmark and its pairs as tasks of lmms-eval: a judge chooses the best response to a question.",
    LMMS_EVAL_USAGE,
    _write_lmms_eval,
)
