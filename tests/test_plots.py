"""``curate plot`` and ``curate.plot``: pictures whose bytes depend on the data only."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

import curate
from cli.main import run
from curate.api import RankResult

pytestmark = pytest.mark.slow

KINDS: dict[str, tuple[list[str], list[str]]] = {
    "leaderboard": ([], ["Leaderboard", "a  1", "d  "]),
    "pairs": ([], ["Votes for the row", "a", "d"]),
    "calibration": ([], ["stated probability", "held-out votes"]),
    "annotators": ([], ["w0  ", "discrimination"]),
    "prompt": (["p3"], ["p3: rank", "strength, logits"]),
}
"""Kind -> its argument, and texts of the picture."""


def votes() -> dict[str, list[Any]]:
    """Six annotators on eight prompts: a beats b beats c beats d, mostly."""
    draw = random.Random(3)
    found: dict[str, list[Any]] = {name: [] for name in ("prompt", "left", "right", "winner", "annotator")}
    for worker in range(6):
        for prompt in range(8):
            for left, right in (("a", "b"), ("c", "b"), ("c", "d"), ("d", "a")):
                first = (left < right) == (draw.random() < 0.8)
                row = (f"p{prompt}", left, right, "left" if first else "right", f"w{worker}")
                for name, value in zip(found, row, strict=True):
                    found[name].append(value)
    return found


@pytest.fixture(scope="module")
def result() -> RankResult:
    return curate.rank(votes())


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from pipelines import denoise, ingest

    path = tmp_path_factory.mktemp("plots") / "s.duckdb"
    ingest(votes(), path)
    denoise(path)
    return path


@pytest.mark.parametrize("kind", KINDS)
def test_a_result_and_a_store_are_drawn_alike(
    kind: str, result: RankResult, store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given, texts = KINDS[kind]
    figure = curate.plot(kind, result, prompt=given[0] if given else "")  # type: ignore[arg-type]
    picture = figure._repr_svg_()
    assert [text for text in texts if text not in picture] == []
    out = tmp_path / "picture.svg"
    assert run(["plot", kind, *given, "--out", str(out), "--store", str(store), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"out": str(out), "plot": kind, "bytes": len(out.read_bytes())}
    drawn = out.read_text()
    assert [text for text in texts if text not in drawn] == []
    again = curate.plot(kind, store, prompt=given[0] if given else "")  # type: ignore[arg-type]
    assert again.encoded("svg") == out.read_bytes()


def test_png_by_the_name_and_clear_refusals(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    at = ["--store", str(store)]
    assert run(["plot", "pairs", "--out", "pairs.png", *at]) == 0
    first = Path("pairs.png").read_bytes()
    assert run(["plot", "pairs", "--out", "pairs.png", *at]) == 0
    assert (first[:4], first) == (b"\x89PNG", Path("pairs.png").read_bytes())
    assert run(["plot", "prompt", "nobody", *at]) == 5
    assert run(["plot", "prompt", *at]) == 2
    assert run(["plot", "pairs", "--out", "pairs.gif", *at]) == 2
    assert "no ranking of prompt 'nobody'" in capsys.readouterr().err
