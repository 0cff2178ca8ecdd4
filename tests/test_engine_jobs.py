"""Jobs give the same bytes in this process, in one or two workers, and on a Ray cluster."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from cli.main import run
from curate.engine import Engine, open_engine
from curate.reward import checkpoint
from pipelines import ingest
from schemas.engine import EngineConfig
from tests.mixtures import benchmarks, datasets, recipe
from tests.releases import make_world, released
from tests.reward_models import model, spelling
from tests.video_files import encode

pytestmark = pytest.mark.slow

Options = tuple[str, ...]

JOBS = {
    "denoise": ("denoise --json {}", "rankings --json"),
    "denoise by bucket": ("denoise --by-bucket --json {}", "rankings --json"),
    "run": ("run recipe.toml --dir built --json {}",),
    "frames": ("media frames clip.mp4 --out out --count 4 {}",),
    "evaluate": ("evaluate items.jsonl --model model --against other --json {}",),
    "release": (
        "release build --store released.duckdb --media media --config release.toml --out out/files --json {}",
        "release build --store released.duckdb --media media --config release.toml --out out/tar --json"
        " --media-as webdataset {}",
        "release verify release --json {}",
    ),
    "mix": ("mix mixture/mixture.toml --out out/mixture --json {}",),
}
"""Job -> its commands, with the place for the options of the engine; files are compared in the folder out."""
ENGINES = {
    "one worker": ("--engine", "local", "--workers", "1"),
    "two workers": ("--engine", "local", "--workers", "2"),
    "ray": ("--engine", "ray", "--workers", "2"),
}


@pytest.fixture(scope="module", params=ENGINES)
def options(request: pytest.FixtureRequest) -> Iterator[Options]:
    if request.param != "ray":
        yield ENGINES[request.param]
    elif find_spec("ray") is None:
        pytest.skip("the extra ray is not installed")
    else:
        with open_engine(EngineConfig(kind="ray", workers=2)):  # starts the cluster that all jobs use
            yield ENGINES["ray"]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, backbone: Path) -> Path:
    """600 votes by 12 annotators on 10 prompts of 4 responses; a clip; two models, and items in two parts;
    prompts to release with their media, and a release."""
    folder = tmp_path_factory.mktemp("world")
    rows = [
        {
            "prompt_id": f"p{i % 10}",
            "left": "abcd"[i // 10 % 4],
            "right": "abcd"[(i // 10 + 1 + i // 40 % 3) % 4],
            "outcome": "left" if (i * 7919) % 100 < 50 + 12 * ((i // 40 % 3) - 1) else "right",
            "annotator_id": f"a{i * 31 % 12}",
        }
        for i in range(600)
    ]
    ingest(pl.DataFrame(rows), folder / "curate.duckdb")
    (folder / "curate.toml").write_text("[denoise.auto]\nfolds = 2\n")
    (folder / "built").mkdir()
    pl.DataFrame(rows).write_csv(folder / "built" / "votes.csv")
    (folder / "recipe.toml").write_text(
        'title = "tiny"\n[ingest]\npaths = ["votes.csv"]\n[denoise.config.auto]\nfolds = 2\n'
    )
    encode(folder / "clip.mp4", range(0, 400, 40))
    for seed, name in enumerate(("model", "other")):
        (folder / name).mkdir()
        checkpoint.save(model(backbone, "tree", seed=seed), folder / name)
    items = [{"prompt": e.prompt, "responses": e.responses[:2], "rankings": [1, 2]} for e in spelling(66, 0)]
    (folder / "items.jsonl").write_text("".join(json.dumps(item) + "\n" for item in items))
    store, _ = make_world(folder / "to release")
    shutil.copy(store, folder / "released.duckdb")
    shutil.copytree(folder / "to release" / "media", folder / "media")
    (folder / "release.toml").write_text('name = "tiny"\nvideos_per_shard = 1\n[split]\nbenchmark_fraction = 0.5\n')
    shutil.copytree(released("webdataset"), folder / "release")
    datasets(folder / "mixture")
    recipe(folder / "mixture", more=benchmarks(folder / "mixture"))
    return folder


@pytest.fixture(scope="module")
def serial() -> dict[str, list[str]]:
    """Job -> what it gives without an engine."""
    return {}


@pytest.mark.parametrize("job", JOBS)
def test_a_job_gives_the_same_with_every_engine(
    job: str,
    options: Options,
    world: Path,
    serial: dict[str, list[str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    mapped, used = Engine.map, []

    def recorded(engine: Engine, *given: Any, **options: Any) -> Any:
        used.append((type(engine).__name__.removesuffix("Engine").lower(), engine.size))
        return mapped(engine, *given, **options)

    def outcome(folder: Path, *options: str) -> list[str]:
        shutil.copytree(world, folder)
        monkeypatch.chdir(folder)  # paths in the outputs are relative
        if job == "frames":
            options = options[:2]  # one part
        for command in JOBS[job]:
            assert run(command.format(" ".join(options)).split()) == 0
        files = sorted(path for path in (folder / "out").rglob("*") if path.is_file())
        return [capsys.readouterr().out, *(f"{path.relative_to(folder)} {digest(path)}" for path in files)]

    if job not in serial:
        serial[job] = outcome(tmp_path / "serial")
    monkeypatch.setattr(Engine, "map", recorded)
    assert outcome(tmp_path / "engine", *options) == serial[job]
    assert {kind for kind, _ in used} == {options[1]}
    assert {size for _, size in used} == {1 if job == "frames" else int(options[3])}


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
