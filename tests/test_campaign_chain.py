"""Changes of a campaign's log are found, refused by page and ingest alike, and put aside by repair."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from annotations.campaign.chain import KEY
from annotations.campaign.log import read_events
from annotations.campaign.repair import QUARANTINE, check_log, repair_log
from annotations.campaign.session import CampaignSession
from annotations.campaign.state import replay
from pipelines import ingest
from schemas.campaign import AnnotatorView
from schemas.errors import CurateError
from tests.campaigns import Clock, ballot, held, make_campaign, pair

LOG = "log.jsonl"


def voted(folder: Path, count: int, clock: Clock) -> None:
    with CampaignSession.open(folder, clock=clock) as campaign:
        for _ in range(count):
            campaign.vote("ann", ballot(held(campaign.view("ann"))[0]))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, bytes]]:
    """A campaign with two batches, six votes and two starts: its folder, and its files, to put back."""
    folder = make_campaign(tmp_path_factory.mktemp("chain") / "c", [pair(n) for n in range(9)], people=("ann",))
    clock = Clock(step=9)
    voted(folder, 3, clock)
    (folder / "tasks" / "0002.jsonl").write_text(pair(20).model_dump_json() + "\n")
    voted(folder, 3, clock)
    return folder, {name: (folder / name).read_bytes() for name in (LOG, KEY)}


def restored(made: tuple[Path, dict[str, bytes]]) -> tuple[Path, list[bytes]]:
    """The folder as it was, and the lines of its log."""
    folder, files = made
    for name, content in files.items():
        (folder / name).write_bytes(content)
    (folder / QUARANTINE).unlink(missing_ok=True)
    return folder, files[LOG].splitlines(keepends=True)


def vote_lines(lines: list[bytes]) -> list[int]:
    return [number for number, line in enumerate(lines, start=1) if b'"event":"vote"' in line]


def edited(lines: list[bytes], number: int) -> list[bytes]:
    changed = lines[number - 1].replace(b'"outcome":"left"', b'"outcome":"right"')
    assert changed != lines[number - 1]
    return [*lines[: number - 1], changed, *lines[number:]]


ATTACKS: dict[str, tuple[Callable[[list[bytes], int], list[bytes]], set[tuple[str, int]]]] = {
    "edited": (edited, {("edited", 0)}),
    "bad byte": (lambda lines, n: [*lines[: n - 1], b"\xff" + lines[n - 1][1:], *lines[n:]], {("damaged", 0)}),
    "deleted": (lambda lines, n: [*lines[: n - 1], *lines[n:]], {("missing", 0)}),
    "swapped": (lambda lines, n: [*lines[: n - 1], lines[n], lines[n - 1], *lines[n + 1 :]], {("reordered", 0)}),
    "duplicated": (lambda lines, n: [*lines[:n], lines[n - 1], *lines[n:]], {("duplicate", 0)}),
    "two deleted": (lambda lines, n: [*lines[: n - 1], *lines[n + 1 :]], {("missing", 0)}),
    "without macs": (
        lambda lines, n: [*lines[: n - 1], lines[n - 1].split(b',"prev"')[0] + b"}\n", *lines[n:]],
        {("edited", 0)},
    ),
}  # kind, and the event relative to the attacked line


@pytest.mark.parametrize("attack", ATTACKS)
def test_attacked_lines_are_named_refused_and_put_aside(
    made: tuple[Path, dict[str, bytes]], tmp_path: Path, attack: str
) -> None:
    folder, lines = restored(made)
    change, expected = ATTACKS[attack]
    number = vote_lines(lines)[3]
    whole = replay(folder).votes
    (folder / LOG).write_bytes(b"".join(change(lines, number)))
    found = check_log(folder)
    assert {(finding.kind, finding.seq - number) for finding in found.findings} == expected
    with pytest.raises(CurateError, match=r"log\.jsonl:\d+: "), CampaignSession.open(folder):
        pass
    if attack in ("edited", "deleted"):  # a line and a gap; ingest reads the log as the page does
        with pytest.raises(CurateError, match=r"log\.jsonl:\d+: "):
            ingest(folder, tmp_path / "s.duckdb")
    repair_log(folder)
    assert check_log(folder).findings == ()
    gone = attack in ("edited", "bad byte", "deleted", "two deleted", "without macs")
    kept = [line for line in (folder / LOG).read_bytes().splitlines(keepends=True) if b'"event":"lost"' not in line]
    assert kept == [line for line in lines if line in set(kept)]  # byte by byte, in order
    assert len(lines) - len(kept) == (1 + (attack == "two deleted")) * gone
    assert replay(folder).votes == whole - gone
    aside = (folder / QUARANTINE).read_text().splitlines()
    assert len(aside) == (attack not in ("deleted", "swapped", "two deleted"))
    with CampaignSession.open(folder, clock=Clock(step=9)) as campaign:
        assert held(campaign.view("ann"))
    assert attack != "edited" or ingest(folder, tmp_path / "s.duckdb").rejects == 0


def test_lines_that_are_missing_at_the_end_are_found(made: tuple[Path, dict[str, bytes]]) -> None:
    folder, lines = restored(made)
    (folder / LOG).write_bytes(b"".join(lines[:-2]))
    (finding,) = check_log(folder).findings
    assert (finding.kind, finding.seq, finding.through) == ("missing", len(lines) - 1, len(lines))
    with pytest.raises(CurateError, match="missing at the end"):
        replay(folder)


def test_a_line_whose_number_became_0_is_damaged(made: tuple[Path, dict[str, bytes]]) -> None:
    folder, lines = restored(made)
    (folder / LOG).write_bytes(b"".join(lines).replace(b'"seq":3,', b'"seq":0,', 1))
    (finding,) = check_log(folder).findings
    assert (finding.kind, finding.line, finding.seq) == ("damaged", 3, 3)


@settings(max_examples=25)
@given(data=st.data())
def test_every_bit_flip_is_found_and_repaired(made: tuple[Path, dict[str, bytes]], data: st.DataObject) -> None:
    """Also in lines on which later ones depend: the first, batches and leases."""
    folder, lines = restored(made)
    content = bytearray(b"".join(lines))
    bit = data.draw(st.integers(0, 8 * len(content) - 1))
    content[bit // 8] ^= 1 << bit % 8
    (folder / LOG).write_bytes(content)
    assert check_log(folder).findings or not content.endswith(b"\n")
    repair_log(folder)
    assert check_log(folder).findings == ()
    with CampaignSession.open(folder, clock=Clock(step=9)) as campaign:
        view = campaign.view("ann")
        assert isinstance(view, AnnotatorView)
        assert 5 <= view.votes <= 6
    events = list(read_events(folder / LOG))
    assert events[0]["campaign_id"] == "c0ffee00"


def test_a_log_from_before_the_chain_is_continued_and_its_lines_are_guarded_together(tmp_path: Path) -> None:
    folder = make_campaign(tmp_path / "c", [pair(n) for n in range(9)], people=("ann",))
    clock = Clock(step=9)
    voted(folder, 2, clock)
    old = b"".join(line.split(b',"prev"')[0] + b"}\n" for line in (folder / LOG).read_bytes().splitlines())
    (folder / LOG).write_bytes(old)
    (folder / KEY).unlink()
    voted(folder, 2, clock)
    assert (folder / LOG).read_bytes().startswith(old)
    report = check_log(folder)
    assert (report.findings, report.lines - report.chained) == ((), old.count(b"\n"))
    assert replay(folder).votes == 4
    content = (folder / LOG).read_bytes()
    (folder / LOG).write_bytes(content.replace(b'"outcome":"left"', b'"outcome":"tie"', 1))
    (finding,) = check_log(folder).findings
    assert (finding.kind, finding.line) == ("edited", 0)
    with pytest.raises(CurateError, match="before the chain"):
        replay(folder)
    repair_log(folder)
    assert replay(folder).outcomes["tie"] == 1  # which line it was cannot be known
    (folder / KEY).unlink()
    with pytest.raises(CurateError, match="is missing"):
        replay(folder)
    repair_log(folder)
    assert (replay(folder).votes, check_log(folder).findings) == (4, ())


def test_check_and_repair_on_the_command_line(
    made: tuple[Path, dict[str, bytes]], capsys: pytest.CaptureFixture[str]
) -> None:
    from cli.main import run

    folder, lines = restored(made)
    assert run(["campaign", "check", str(folder)]) == 0
    (folder / LOG).write_bytes(b"".join(edited(lines, vote_lines(lines)[0])))
    capsys.readouterr()
    assert run(["campaign", "check", str(folder), "--json"]) == 7
    assert [finding["kind"] for finding in json.loads(capsys.readouterr().out)["findings"]] == ["edited"]
    assert run(["campaign", "repair", str(folder)]) == 0
    assert "log.quarantine.jsonl" in capsys.readouterr().err
    assert run(["campaign", "check", str(folder)]) == 0
