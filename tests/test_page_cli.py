"""``curate annotate`` as a process: address, orderly stop, lock, warnings about remote access."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from annotations.page.server import is_loopback
from cli.main import run
from tests.campaigns import invite, make_campaign, pair
from tests.pages import Visit

pytestmark = pytest.mark.slow

COMMAND = [sys.executable, "-m", "cli.main", "annotate"]


@contextlib.contextmanager
def annotating(folder: Path, *options: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The command, and the first thing that it prints."""
    command = [*COMMAND, str(folder), "--port", "0", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            first = process.stdout.readline()
            if first.startswith("{"):
                while not first.rstrip().endswith("}"):
                    first += process.stdout.readline()
            yield process, first.strip()
        finally:
            process.kill()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_campaign(tmp_path / "june", [pair(0), pair(1)])


def test_it_prints_its_address_locks_the_campaign_and_stops_cleanly(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    token = invite(folder, "ann")["ann"]
    with annotating(folder) as (process, url):
        assert url.startswith("http://127.0.0.1:")
        visit = Visit(url, token)
        assert visit.vote(visit.open()[0]).status_code == 200
        assert run(["annotate", str(folder), "--port", "0"]) == 6
        assert f"locked by process {process.pid}" in capsys.readouterr().err
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=20)
        assert process.returncode == 0
    assert "stopped: 1 vote of 2" in said
    assert f"next: curate ingest {folder / 'log.jsonl'}" in said
    assert "note:" not in said
    assert token not in said  # no link is logged


def test_it_warns_about_remote_access_and_missing_invitations(folder: Path) -> None:
    with annotating(folder, "--host", "0.0.0.0", "--json") as (process, told):
        address = json.loads(told)["address"].replace("0.0.0.0", "127.0.0.1")
        assert Visit(address).get("/").status_code == 401  # it serves
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=20)
        assert process.returncode == 0
    assert "stopped: 0 votes" in said
    assert json.loads(told)["campaign"] == "test"
    assert "plain http" in said
    assert "curate campaign invite" in said


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["nowhere"], 5, "no campaign in this folder"),
        (["{folder}", "--url", "votes.example.org"], 2, "not a web address"),
        (["{folder}", "--url", "https://example.org/votes"], 2, "its own host name"),
        (["{folder}", "--host", "192.0.2.1", "--port", "0"], 6, "cannot listen on 192.0.2.1:0"),
        (["{folder}", "--host", "no such host", "--port", "0"], 6, "cannot listen on no such host:0"),
    ],
)
def test_invalid_addresses_are_reported(
    folder: Path, arguments: list[str], code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["annotate", *[argument.format(folder=folder) for argument in arguments]]) == code
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("host", "here"),
    [("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("::", False)],
)
def test_loopback_addresses_are_recognised(host: str, here: bool) -> None:
    assert is_loopback(host) is here
