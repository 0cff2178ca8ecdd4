"""The jobs of the reward model through the command line, on real clips: train, merge, evaluate, score."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from reward_models import encoded, fitted, spelling, tiny, untrained

import pipelines.training
from cli.main import run
from curate.media.frames import MediaError
from curate.reward import checkpoint
from curate.reward.data import Example, read_examples
from curate.reward.evaluation import evaluate_model
from curate.reward.scoring import Scorer
from curate.reward.train import METRICS
from pipelines.exporting import export
from schemas.config import ExportConfig, SplitConfig
from schemas.manifest import Ceiling
from schemas.reward import EvaluateReport, TrainConfig, TrainReport
from tests.stores import make_store, plenty
from tests.video_files import encode

pytestmark = pytest.mark.slow

VL = [
    {"id": "wild-1", "query": "q1", "response": ["a", "b"], "human_ranking": [0, 1], "query_source": "WildVision"},
    {"id": "RLHF-1", "query": "q2", "response": ["c", "b"], "human_ranking": [1, 0], "query_source": "RLHF-V"},
    {"id": "mmmu_1", "query": "q4", "response": ["a", "d"], "human_ranking": [0, 1], "query_source": "MMMU-Pro"},
]
OUTPUTS = {
    "adapter_config.json",
    "adapter_model.safetensors",
    "value_head.pt",
    "value_head.safetensors",
    "reward_model_config.json",
    "README.md",
    "report.json",
    "training.json",
    "curves.png",
    "metrics.jsonl",
    "checkpoints",
    "tokenizer.json",
}


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def rows(count: int, clips: int = 3) -> list[dict[str, Any]]:
    """Three of four rows have a clip; three or four responses."""
    found = []
    for i, example in enumerate(spelling(count, 0)):
        n = 3 + i % 2
        row = {"prompt": example.prompt, "responses": example.responses[:n], "rankings": [*range(1, n + 1)]}
        found.append({**row, "image": None, "video": f"clips/{i % clips}.mp4" if i % 4 else None})
    return found


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with clips, training rows and held-out rows."""
    folder = tmp_path_factory.mktemp("data")
    (folder / "clips").mkdir()
    for i in range(3):
        encode(folder / "clips" / f"{i}.mp4", range(0, 40 * (8 + i), 40), size=32, noise=True)
    write(folder / "train.jsonl", rows(16))
    write(folder / "held_out.jsonl", rows(8))
    write(folder / "words.jsonl", [row for row in rows(20) if not row["video"]] * 2)
    return folder


def config(folder: Path, backbone: Path, **changes: Any) -> Path:
    """A config file of a training that takes seconds."""
    chosen = {"epochs": 2, "batch": 4, "workers": 1, "pass_tokens": 500, "checkpoint_every": 2, "head": 64}
    rates = {"learning_rate": 2e-2, "head_learning_rate": 1e-1}  # scores must differ by much more than rounding errors
    values = tiny(**{**chosen, **rates, **changes}).model_dump(mode="json")
    lora = values.pop("lora")
    values["backbone"] = str(backbone)
    lines = [f"{name} = {json.dumps(value)}" for name, value in values.items() if value is not None]
    lines += ["[lora]", *(f"{name} = {value}" for name, value in lora.items())]
    path = folder / "train.toml"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def train(data: Path, backbone: Path, out: Path, *more: str, rows: str = "train", **changes: Any) -> int:
    out.parent.mkdir(parents=True, exist_ok=True)
    given = ["--shards", data / f"{rows}.jsonl", "--validation", data / "held_out.jsonl", "--out", out]
    return run(["train", str(config(out.parent, backbone, **changes)), *map(str, given), *more])


@pytest.fixture(scope="session")
def trained(data: Path, backbone: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of layout tree."""
    out = tmp_path_factory.mktemp("trained") / "model"
    assert train(data, backbone, out, "--json") == 0
    return out


# train


def test_a_training_writes_model_card_report_and_curves(trained: Path) -> None:
    assert {path.name for path in trained.iterdir()} >= OUTPUTS
    assert not [path.name for path in trained.iterdir() if path.name.startswith(".") or path.name == "final"]
    report = TrainReport.model_validate_json((trained / "report.json").read_bytes())
    assert (report.examples, report.held_out, report.steps, report.resumed, report.skipped) == (16, 8, 8, 0, ())
    assert 0 < report.trained < report.parameters
    names = [evaluation.scorer for evaluation in report.evaluations]
    assert names[:3] == ["model", "shuffled-text control", "shuffled-video control"]
    assert {"random", "overlap", "similarity"} <= set(names[3:])
    assert all(evaluation.overall.items == 8 for evaluation in report.evaluations)
    lines = [json.loads(line) for line in (trained / METRICS).read_text().splitlines()]
    assert [line["step"] for line in lines if "loss" in line] == list(range(1, 9))
    assert [line["step"] for line in lines if "top1" in line] == [4, 8], "after every epoch"
    assert "| model | 8 |" in (trained / "README.md").read_text()


def test_a_finished_model_is_reused(
    trained: Path, data: Path, backbone: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (trained / "value_head.pt").stat().st_mtime_ns
    assert train(data, backbone, trained, "--json") == 0
    report = TrainReport.model_validate_json(capsys.readouterr().out)
    assert report.reused
    assert report.evaluations == TrainReport.model_validate_json((trained / "report.json").read_bytes()).evaluations
    assert (trained / "value_head.pt").stat().st_mtime_ns == before


def test_a_folder_of_another_config_or_with_other_files_is_refused(
    trained: Path, data: Path, backbone: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(data, backbone, trained, "--seed", "7") == 6
    assert "a model of another config" in capsys.readouterr().err
    (folder := trained.parent / "foreign").mkdir()
    (folder / "notes.txt").write_text("mine")
    assert train(data, backbone, folder) == 6
    assert "foreign: is not empty" in capsys.readouterr().err
    assert [path.name for path in folder.iterdir()] == ["notes.txt"]


def test_an_interrupted_training_resumes_to_the_same_bytes(
    trained: Path, data: Path, backbone: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Interrupted in a step, before the model is written, and while its files are moved into place."""
    out, show, write_all = trained.parent / "again", pipelines.training._Display.show, pipelines.training._write

    def stop(display: Any, report: Any) -> None:
        show(display, report)
        if report.step == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(pipelines.training._Display, "show", stop)
    assert train(data, backbone, out) == 130
    monkeypatch.undo()
    assert train(data, backbone, out) == 6
    assert "with --resume" in capsys.readouterr().err

    def interrupted(*given: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(pipelines.training, "_write", interrupted)
    assert train(data, backbone, out, "--resume") == 130
    monkeypatch.undo()
    replace = Path.replace

    def full(path: Path, target: Path) -> Path:
        if path.parent.name == "final" and path.name == "value_head.pt":
            raise OSError(28, "No space left on device")
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", full)
    assert train(data, backbone, out, "--resume") == 8
    monkeypatch.undo()
    assert write_all is pipelines.training._write
    assert not (out / checkpoint.CONFIG).exists(), "an incomplete folder is not a model"
    capsys.readouterr()
    assert train(data, backbone, out, "--resume", "--json") == 0
    report = TrainReport.model_validate_json(capsys.readouterr().out)
    assert (report.steps, report.resumed) == (8, 8)
    for name in ("value_head.safetensors", "adapter_model.safetensors", METRICS):
        assert (out / name).read_bytes() == (trained / name).read_bytes(), name
    first = TrainReport.model_validate_json((trained / "report.json").read_bytes())
    assert report.evaluations == first.evaluations


@pytest.fixture(scope="session")
def invalid(data: Path) -> Path:
    """The rows with a missing, a truncated and an empty clip, a too long response, and equal ranks."""
    (data / "clips" / "truncated.mp4").write_bytes((data / "clips" / "0.mp4").read_bytes()[:600])
    (data / "clips" / "empty.mp4").touch()
    good = rows(16)
    bad = [{**good[1], "video": f"clips/{name}.mp4"} for name in ("missing", "truncated", "empty")]
    bad.append({**good[0], "responses": ["word " * 500, "b", "c"]})
    bad.append({**good[0], "rankings": [1, 1, 1]})
    return write(data / "invalid.jsonl", [*good[:5], *bad, *good[5:]])


REASONS = {
    "invalid:6": "missing.mp4: no such file",
    "invalid:7": "truncated.mp4: ",
    "invalid:8": "empty.mp4: is empty",
    "invalid:9": "tokens, more than max_length 400",
    "invalid:10": "all its ranks are equal",
}


def test_examples_that_cannot_train_stop_the_training_before_its_first_step(
    data: Path, invalid: Path, backbone: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(data, backbone, tmp_path / "out", rows="invalid", max_length=400) == 4
    message = capsys.readouterr().err
    assert "5 of 29 examples cannot train:" in message
    for name, reason in REASONS.items():
        (line,) = [line for line in message.splitlines() if line.strip().startswith(f"{name}:")]
        assert reason in line
    assert "--allow-skips" in message
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())


def test_skipped_examples_are_counted(
    data: Path, invalid: Path, backbone: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert train(data, backbone, out, "--allow-skips", "--json", rows="invalid", max_length=400) == 0
    report = TrainReport.model_validate_json(capsys.readouterr().out)
    assert {skip.item_id for skip in report.skipped} == REASONS.keys()
    assert all(REASONS[skip.item_id] in skip.reason for skip in report.skipped)
    assert report.examples == 16
    assert "16 examples, 8 held out, 5 skipped" in (out / "README.md").read_text()


def test_a_video_that_disappears_during_training_is_an_error(data: Path, backbone: Path, tmp_path: Path) -> None:
    clips = tmp_path / "clips"
    shutil.copytree(data / "clips", clips)
    examples = read_examples(data / "train.jsonl", media=tmp_path)
    model = untrained(backbone, tiny())
    (clips / "1.mp4").unlink()
    with pytest.raises(MediaError, match=r"1\.mp4: no such file"):
        fitted(model, tmp_path / "out", examples, tiny(batch=16))
    assert (tmp_path / "out" / METRICS).read_text() == ""


def test_evaluations_during_training_do_not_disturb_reading(data: Path, backbone: Path, tmp_path: Path) -> None:
    """Held-out clips are read while those of the next steps are; nothing is kept in memory here."""
    assert train(data, backbone, tmp_path / "out", media_memory=0, evaluate_every=1) == 0
    lines = [json.loads(line) for line in (tmp_path / "out" / METRICS).read_text().splitlines()]
    assert len([line for line in lines if "top1" in line]) == len([line for line in lines if "loss" in line]) == 8


def test_a_model_from_scratch_trains_without_a_config_file(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without a config file; some of the prompts are held out."""
    arguments = ["--shards", str(data / "words.jsonl"), "--out", str(tmp_path / "out"), "--epochs", "1", "--json"]
    assert run(["train", "--backbone", "scratch", "--dtype", "bfloat16", *arguments]) == 0
    report = TrainReport.model_validate_json(capsys.readouterr().out)
    assert report.precision == "bfloat16"
    assert "seed 0, bfloat16\n" in (tmp_path / "out" / "README.md").read_text()
    assert report.trained == report.parameters
    assert report.examples + report.held_out == 10
    assert run(["score", str(tmp_path / "out"), str(data / "words.jsonl")]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 10


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--shards", "x.jsonl"], "no backbone"),
        (["--backbone", "scratch"], "no shards to train on"),
        (["--backbone", "scratch", "--shards", "x.jsonl"], "x.jsonl: no such file or folder"),
        (["c.toml", "--preset", "paper"], "give a config or a preset, not both"),
        (["--epochs", "0"], "epochs: expected 1 or more, not 0"),
    ],
)
def test_a_missing_setting_is_an_error(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["train", "--out", "out", *arguments]) in (2, 4, 5, 6)
    assert f"error: {'' if 'epochs' not in message else 'curate train: '}{message}" in capsys.readouterr().err


def test_settings_and_reports_of_the_previous_version_are_read(trained: Path) -> None:
    with pytest.warns(FutureWarning, match="pretraining"):
        old = TrainConfig.model_validate({"lessons": "videos.jsonl", "lesson_epochs": 2})
    assert (old.pretraining, old.pretraining_epochs) == (Path("videos.jsonl"), 2)
    document = json.loads((trained / "report.json").read_text())
    names = {"shuffled-text control": "blind to the prompt", "shuffled-video control": "blind to the media"}
    for evaluation in document["evaluations"]:
        evaluation["scorer"] = {**names, "random": "coin"}.get(evaluation["scorer"], evaluation["scorer"])
        for row in evaluation["rows"]:
            row["chance"] = row.pop("chance_level")
    with pytest.warns(FutureWarning):
        report = TrainReport.model_validate(document)
    assert report == TrainReport.model_validate_json((trained / "report.json").read_bytes())
    assert report.evaluations[0].overall.with_old_names()["chance"] == report.evaluations[0].overall.chance_level


# evaluate


def test_a_foreign_benchmark_is_scored_by_its_own_metric(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path / "vl.jsonl", VL)
    assert run(["evaluate", str(path), "--benchmark", "auto", "--model", str(trained), "--json"]) == 0
    report = EvaluateReport.model_validate_json(capsys.readouterr().out)
    assert report.data == "vl-rewardbench"
    scores = Scorer.from_pretrained(trained)
    right = [
        float(np.argmax(scores.score(row["query"], row["response"])) == row["human_ranking"].index(0)) for row in VL
    ]
    official = {figure.name: figure.value for figure in report.official}
    assert official["overall"] == pytest.approx(np.mean(right))
    assert set(official) == {"overall", "macro", "general", "hallucination", "reasoning"}
    assert report.evaluations[0].overall.top1 == pytest.approx(np.mean(right))
    assert run(["evaluate", str(path), "--benchmark", "auto", "--model", str(trained)]) == 0
    out, err = capsys.readouterr()
    assert "vl-rewardbench" in err
    (line,) = [line for line in out.splitlines() if line.startswith("overall ")]
    assert float(line.split()[-2]) == pytest.approx(np.mean(right), abs=1e-4)
    assert "unknown, the data have no votes" in err


def test_two_models_are_compared_on_the_same_items(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, other = write(tmp_path / "vl.jsonl", VL), tmp_path / "other"
    shutil.copytree(trained, other)
    command = ["evaluate", str(path), "--benchmark", "auto", "--model", str(trained), "--against", str(other)]
    assert run([*command, "--json"]) == 0
    report = EvaluateReport.model_validate_json(capsys.readouterr().out)
    names = [("top1", "all"), ("pairwise", "all"), *(("official", figure.name) for figure in report.official)]
    assert [(row.metric, row.name) for row in report.comparison] == names
    assert {(row.difference, row.p_value) for row in report.comparison} == {(0, 1)}
    assert [row.model for row in report.comparison[2:]] == [figure.value for figure in report.official]
    assert run(command) == 0
    assert "difference" in capsys.readouterr().out
    assert run(["evaluate", str(path), "--against", str(other)]) == 2
    assert "--model A --against B" in capsys.readouterr().err


def test_an_exported_benchmark_has_a_ceiling_and_baselines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = make_store(tmp_path / "curate.duckdb", plenty())
    export(store, "benchmark", out=tmp_path / "b", config=ExportConfig(split=SplitConfig(benchmark_fraction=0.5)))
    for name, size in (("4way", 4), ("pairwise", 2)):
        assert run(["evaluate", str(tmp_path / "b"), "--subset", name, "--json"]) == 0
        report = EvaluateReport.model_validate_json(capsys.readouterr().out)
        assert {evaluation.scorer for evaluation in report.evaluations} >= {"random", "longest", "shortest", "overlap"}
        assert report.evaluations[0].overall.chance_level == pytest.approx(1 / size)
        assert isinstance(report.ceiling, Ceiling)
        assert 1 / size < report.ceiling.mean < 1
        assert report.evaluations[0].overall.ceiling == pytest.approx(report.ceiling.mean, abs=0.01)


def test_shuffled_examples_that_no_longer_fit_are_excluded(trained: Path) -> None:
    """A long question fits with short answers, but not with long ones."""
    long = "word " * 60
    examples = [Example("q", f"{long}?", ("a", "b"), (1, 2)), Example("r", "?", (long, "b"), (1, 2))]
    model = checkpoint.load(trained)
    model.encoder.max_length = max(len(encoded(model.encoder, example).input_ids) for example in examples)
    with Scorer(model) as scorer:
        items = {report.scorer: report.overall.items for report in evaluate_model(scorer, examples, data="x")[0]}
    assert items["model"] == 2
    assert items["shuffled-text control"] == 1


def test_only_ranked_examples_are_evaluated(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path / "x.jsonl", [{"prompt": "?", "responses": ["a", "b"]}])
    assert run(["evaluate", str(path)]) == 4
    assert "contains no ranked examples" in capsys.readouterr().err


# score


def scored(model: Path, data: Path, *more: str) -> list[dict[str, Any]]:
    out = data.with_suffix(".scores")
    assert run(["score", str(model), str(data), "--out", str(out), *more]) == 0
    return [json.loads(line) for line in out.read_text().splitlines()]


def test_scores_are_reproducible_and_in_the_order_of_the_data(
    trained: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = scored(trained, data / "held_out.jsonl")
    first = (data / "held_out.scores").read_bytes()
    assert scored(trained, data / "held_out.jsonl") == found
    assert (data / "held_out.scores").read_bytes() == first
    assert [row["item_id"] for row in found] == [f"held_out:{i}" for i in range(1, 9)]
    with Scorer.from_pretrained(trained) as scorer:
        for row, example in zip(found, read_examples(data / "held_out.jsonl"), strict=True):
            alone = scorer.score(example.prompt, example.responses, video=example.video)
            assert row["scores"] == pytest.approx(alone, abs=1e-5)
    capsys.readouterr()
    assert run(["score", str(trained), str(data / "held_out.jsonl")]) == 0
    assert capsys.readouterr().out.encode() == first


def test_workers_give_the_scores_of_one_process(
    trained: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    one = scored(trained, data / "held_out.jsonl")
    monkeypatch.setattr("curate.reward.workers.WINDOW", 3)
    several = scored(trained, data / "held_out.jsonl", "--workers", "2")
    assert scored(trained, data / "held_out.jsonl", "--workers", "1") == several
    assert [row["item_id"] for row in several] == [row["item_id"] for row in one]
    for row, alone in zip(several, one, strict=True):
        assert row["scores"] == pytest.approx(alone["scores"], abs=1e-5)
    path = write(tmp_path / "x.jsonl", [*rows(3), {**rows(2)[1], "video": "gone.mp4"}])
    capsys.readouterr()
    assert run(["score", str(trained), str(path), "--media", str(data), "--workers", "1"]) == 5
    assert "gone.mp4: no such file" in capsys.readouterr().err


def test_a_failed_scoring_leaves_no_file(
    trained: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path / "x.jsonl", [*rows(3), {**rows(2)[1], "video": "gone.mp4"}])
    assert run(["score", str(trained), str(path), "--media", str(data), "--out", str(tmp_path / "s.jsonl")]) == 5
    assert "gone.mp4: no such file" in capsys.readouterr().err
    assert [p.name for p in tmp_path.iterdir()] == ["x.jsonl"]


@pytest.fixture(scope="session")
def others(data: Path, backbone: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Models of the other layouts, trained on texts."""
    folder = tmp_path_factory.mktemp("others")
    for layout in ("set", "causal"):
        assert (
            train(
                data, backbone, folder / layout, "--validation", str(data / "words.jsonl"), rows="words", layout=layout
            )
            == 0
        )
    return {layout: folder / layout for layout in ("set", "causal")}


def reordered(data: Path, folder: Path) -> tuple[Path, list[list[int]]]:
    """The held-out rows with their responses in another order, and that order."""
    rng = np.random.default_rng(0)
    rows = [json.loads(line) for line in (data / "held_out.jsonl").read_text().splitlines()]
    orders = [rng.permutation(len(row["responses"])).tolist() for row in rows]
    moved = [
        {**row, "responses": [row["responses"][i] for i in order], "rankings": None}
        for row, order in zip(rows, orders, strict=True)
    ]
    return write(folder / "moved.jsonl", moved), orders


def differences(model: Path, data: Path, tmp_path: Path) -> Iterator[float]:
    """How much the scores of each item change when its responses are reordered."""
    path, orders = reordered(data, tmp_path)
    given, moved = scored(model, data / "held_out.jsonl"), scored(model, path, "--media", str(data))
    for one, other, order in zip(given, moved, orders, strict=True):
        scores = np.array(one["scores"])
        assert scores.std() > 1e-3, "equal scores would make this test pass"
        yield np.abs(scores[order] - other["scores"]).max() / scores.std()


def test_only_scores_of_causal_depend_on_the_order(
    trained: Path, others: dict[str, Path], data: Path, tmp_path: Path
) -> None:
    assert max(differences(trained, data, tmp_path)) < 1e-2
    assert max(differences(others["set"], data, tmp_path)) < 1e-2
    assert max(differences(others["causal"], data, tmp_path)) > 0.1


def test_orders_averages_causal_scores(others: dict[str, Path], data: Path) -> None:
    once, thrice = (scored(others["causal"], data / "held_out.jsonl", *more) for more in ([], ["--orders", "3"]))
    with Scorer.from_pretrained(others["causal"]) as scorer:
        tables = scorer.score_orders(read_examples(data / "held_out.jsonl"), 3)
    for one, mean, table in zip(once, thrice, tables, strict=True):
        assert one["scores"] == pytest.approx(table[0], abs=1e-5)
        assert mean["scores"] == pytest.approx(table.mean(axis=0), abs=1e-5)
    assert once != thrice


def test_orders_changes_nothing_in_other_layouts(trained: Path, data: Path) -> None:
    assert scored(trained, data / "held_out.jsonl") == scored(trained, data / "held_out.jsonl", "--orders", "3")


def test_scores_of_other_orders_stay_in_original_columns(others: dict[str, Path], data: Path) -> None:
    """Each row has the scores of the responses in some order, in original columns; the first row is the given order."""
    examples = [e for e in read_examples(data / "words.jsonl") if len(e.responses) == 3][:2]
    with Scorer.from_pretrained(others["causal"]) as scorer:
        tables = scorer.score_orders(examples, 4)
        for example, table in zip(examples, tables, strict=True):
            orders = [list(order) for order in permutations(range(3))]
            of_orders = scorer.score_examples([example.permuted(order) for order in orders])
            scored = np.array([np.array(row)[np.argsort(order)] for row, order in zip(of_orders, orders, strict=True)])
            distance = np.abs(table[:, None] - scored).max(axis=2)
            assert distance.min(axis=1) == pytest.approx(0, abs=1e-5)
            assert distance[0].argmin() == 0
            assert len(set(distance.argmin(axis=1))) > 1
            assert np.median(distance) > 1e-3


# merge


def test_a_merged_model_scores_equally(
    trained: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    merged = tmp_path / "merged"
    assert run(["merge", str(trained), "--out", str(merged), "--json"]) == 0
    assert (merged / "README.md").read_bytes() == (trained / "README.md").read_bytes()
    for before, after in zip(
        scored(trained, data / "held_out.jsonl"), scored(merged, data / "held_out.jsonl"), strict=True
    ):
        assert after["scores"] == pytest.approx(before["scores"], abs=1e-4)
    assert run(["merge", str(trained), "--out", str(merged)]) == 6
    assert "merged: exists" in capsys.readouterr().err


def test_a_folder_without_a_model_is_refused(tmp_path: Path, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for command in (
        ["merge", str(tmp_path), "--out", str(tmp_path / "m")],
        ["score", str(tmp_path), str(data / "words.jsonl")],
    ):
        assert run(command) == 5
        assert "no reward_model_config.json there" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
