"""The log: JSON lines on stderr with ``--log json``, times of steps, and spans of OpenTelemetry's own SDK."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import cli.log
from cli.log import log
from cli.main import run
from pipelines.progress import Steps
from tests.json_schemas import validator


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    rows = [f"p,a,b,left,u{n}\np,b,c,left,v{n}\n" for n in range(4)]
    (tmp_path / "votes.csv").write_text("prompt_id,left,right,winner,annotator_id\n" + "".join(rows))
    return tmp_path


def lines(err: str) -> list[dict[str, object]]:
    found = [json.loads(line) for line in err.splitlines()]
    for line in found:
        validator("log").validate(line)
    return found


@pytest.mark.parametrize("by", ["option", "environment"])
def test_a_command_logs_its_start_messages_progress_and_end(
    by: str, here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert here.is_dir()
    monkeypatch.setattr(cli.log, "EVERY", 0)
    if by == "environment":
        monkeypatch.setenv("CURATE_LOG", "json")
    assert run([*(["--log", "json"] if by == "option" else []), "ingest", "votes.csv", "--json"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["votes"] == 8
    found = lines(err)
    assert {line["command"] for line in found} == {"ingest"}
    assert [found[0]["event"], found[-1]["event"], found[-1]["exit_code"]] == ["start", "end", 0]
    steps = [(line["step"], line["done"]) for line in found if line["event"] == "progress"]
    assert steps == [("votes.csv", 8), ("classifying rows", 0)]
    assert set(found[-1]["longest_steps"]) == {"votes.csv", "classifying rows"}  # type: ignore[call-overload]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["ingest", "nowhere.csv"], 5, "nowhere.csv"),
        (["denoise", "--rankr", "x"], 2, "--rankr"),
        (["simulate", "--prompts", "0", "--out", "w"], 2, "expected 1 or more"),  # a renamed option, behind --log
        (["chek"], 2, "No such command"),
    ],
)
def test_a_failure_is_a_line(
    arguments: list[str], code: int, message: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert here.is_dir()
    assert run(["--log", "json", *arguments]) == code
    *_, error, end = lines(capsys.readouterr().err)
    assert (error["event"], error["exit_code"], end["exit_code"]) == ("error", code, code)
    assert message in str(error["message"])
    assert log.form == "text", "the option is that of one command"


def test_steps_have_times_rates_and_a_remainder() -> None:
    now = [0.0]
    steps = Steps(clock=lambda: now[0])
    for seconds, (doing, done, total) in [
        (0, ("reading", 0, 0)), (2, ("training, loss 3", 10, 100)), (6, ("training, loss 2", 30, 100)),
    ]:  # fmt: skip
        now[0] = seconds
        steps(doing, done, total)
    assert (steps.seconds, steps.rate, steps.remaining) == ({"reading": 2.0}, 5.0, 14.0)
    now[0] = 20
    steps.end()
    assert steps.seconds == {"reading": 2.0, "training": 18.0}


def test_commands_and_steps_are_spans(here: Path) -> None:
    assert here.is_dir()
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    assert run(["ingest", "votes.csv"]) == 0
    spans = {span.name: span for span in exporter.get_finished_spans()}
    command = spans["curate ingest"]
    assert (command.attributes or {})["process.exit.code"] == 0
    below = [span.name for span in spans.values() if span.parent and span.parent.span_id == command.context.span_id]
    assert below == ["votes.csv", "classifying rows"]


def test_completion_is_not_logged(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    completion = {"_CURATE_COMPLETE": "complete_bash", "COMP_WORDS": "curate me", "COMP_CWORD": "1"}
    for name, value in {**completion, "CURATE_LOG": "json"}.items():
        monkeypatch.setenv(name, value)
    assert run([]) == 0
    assert tuple(capsys.readouterr()) == ("merge\nmedia\n", "")


def test_a_long_command_states_its_longest_steps(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert here.is_dir()
    monkeypatch.setattr(cli.log, "LONG", 0)
    assert run(["ingest", "votes.csv"]) == 0
    assert "longest steps: " in capsys.readouterr().err
