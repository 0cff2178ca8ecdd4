"""Check the log of a campaign line by line, and repair it: lines that are not as written go into another file."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from annotations.campaign.chain import NO_KEY, Event, Line, LogKey, follows, read_chain
from annotations.campaign.folder import LOG, read_campaign, write_atomic
from annotations.campaign.log import iso, truncate_incomplete
from schemas.campaign import LogCheck, LogFinding

QUARANTINE = "log.quarantine.jsonl"
KEPT = ("seq", "at", "event", "prev", "mac", "repaired")


class Scan(NamedTuple):
    """A log, line by line."""

    key: LogKey | None
    sound: dict[int, Line]
    """seq -> its line, of which only the number and the keys KEPT of the event are in memory."""
    bad: list[tuple[LogFinding, Line | None]]
    """Every finding, with the line to put aside; None for a gap or a line that only stands in another place."""
    lines: int

    def report(self, log: Path, quarantine: str = "") -> LogCheck:
        """The findings as a document."""
        chained = sum("mac" in (line.event or ()) for line in self.sound.values()) if self.key else 0
        found = tuple(finding for finding, _ in self.bad)
        return LogCheck(log=str(log), lines=self.lines, chained=chained, findings=found, quarantine=quarantine)


def check_log(folder: Path) -> LogCheck:
    """Every line of a log that is damaged, edited, duplicate or reordered, and every gap.

    An incomplete last line, which a killed page leaves, is no finding. Raises CurateError without a campaign.
    """
    read_campaign(folder)
    return _scan(folder / LOG).report(folder / LOG)


def repair_log(folder: Path, now: datetime | None = None) -> LogCheck:
    """Move the affected lines into QUARANTINE, so that the campaign opens; the caller holds the lock of the folder.

    Sound lines stay byte by byte, in their order. An event that no line holds any more becomes a line ``lost``, and the
    first one is written again from campaign.json. Nothing changes without findings.
    """
    log, campaign = folder / LOG, read_campaign(folder)
    truncate_incomplete(log)
    scan = _scan(log)
    if not scan.bad:
        return scan.report(log)
    raw = {line.number: line.raw for line in read_chain(log, None)}
    when = iso((now or datetime.now(UTC)).timestamp())
    aside = [
        {"repaired": when, **finding.model_dump(), "text": raw[line.number].decode("utf-8", "backslashreplace")[:-1]}
        for finding, line in scan.bad
        if line is not None
    ]
    known = folder / QUARANTINE
    kept = known.read_bytes() if known.exists() else b""
    added = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in aside).encode("utf-8", "backslashreplace")
    write_atomic(known, kept + added, mode=0o600)
    last = max([*scan.sound, *(finding.through for finding, _ in scan.bad)])
    key = scan.key or LogKey.new(since=last + 1, prefix="")
    begin = {
        "campaign": campaign.config.name,
        "campaign_id": campaign.campaign_id,
        "undo_minutes": campaign.config.undo_minutes,
    }
    lines: list[bytes] = []
    before: Event = {"at": when, "mac": ""}
    for seq in range(1, last + 1):
        if line := scan.sound.get(seq):
            lines.append(raw[line.number])
            before = line.event or before
            continue
        content = {"event": "begin", **begin} if seq == 1 else {"event": "lost"}
        event = {"seq": seq, "at": before["at"], **content, "repaired": when}
        if seq < key.since:
            lines.append(json.dumps(event, separators=(",", ":")).encode() + b"\n")
        else:
            lines.append(key.sealed(event, before.get("mac", "")))
        before = event
    prefix = hashlib.sha256(b"".join(lines[: key.since - 1])).hexdigest()
    write_atomic(log, b"".join(lines), mode=0o600)
    key.write(log, prefix=prefix, last=last)
    return scan.report(log, str(known) if aside else "")


def _scan(log: Path) -> Scan:
    key = LogKey.read(log)
    sound: dict[int, Line] = {}
    bad: list[tuple[LogFinding, Line | None]] = []
    broken: list[tuple[Line, int]] = []
    digest, lines, highest = hashlib.sha256(), 0, 0
    for line in read_chain(log, key) if log.exists() else ():
        lines = line.number
        if key is not None and line.number < key.since:
            digest.update(line.raw)
        seq = line.event["seq"] if line.event else 0
        if line.event is None:
            broken.append((line, highest))
        elif seq in sound:
            bad.append((_finding(line, "duplicate", seq, f"event {seq} is in line {sound[seq].number}"), line))
        else:
            if seq < highest:
                bad.append((_finding(line, "reordered", seq, f"event {seq} stands after event {highest}"), None))
            slim = {name: line.event[name] for name in KEPT if name in line.event}
            sound[seq] = line._replace(raw=b"", event=slim)
            highest = max(highest, seq)
    for seq in sorted(sound):  # a line of another history of the log: the last bytes were put back
        line, before = sound[seq], sound.get(seq - 1)
        if before is not None and (problem := follows(line, before.event, key)):
            bad.append((_finding(line, "edited", seq, problem), line))
            del sound[seq]
    top = max([highest, key.last if key else 0])
    missing = [seq for seq in range(1, top + 1) if seq not in sound]
    for line, after in broken:
        seq = next((seq for seq in missing if seq > after), 0)
        if seq:
            missing.remove(seq)
        bad.append((_finding(line, line.damage or "damaged", seq, line.about), line))
    edited = {finding.seq for finding, _ in bad if finding.kind == "edited"}
    bad += [(gap, None) for gap in _gaps([seq for seq in missing if seq not in edited], sound, lines)]
    if key is None and any("mac" in (line.event or ()) for line in sound.values()):
        bad.append((LogFinding(line=0, kind="edited", seq=0, through=0, about=NO_KEY), None))
    if key is not None and not bad and digest.hexdigest() != key.prefix:
        about = f"one of lines 1 to {key.since - 1} was edited; they are from before the chain, which starts after them"
        bad.append((LogFinding(line=0, kind="edited", seq=0, through=0, about=about), None))
    return Scan(key, sound, sorted(bad, key=lambda found: (found[0].line, found[0].seq)), lines)


def _finding(line: Line, kind: str, seq: int, about: str) -> LogFinding:
    return LogFinding.model_validate({"line": line.number, "kind": kind, "seq": seq, "through": seq, "about": about})


def _gaps(missing: list[int], sound: dict[int, Line], lines: int) -> list[LogFinding]:
    """The missing events as ranges."""
    gaps: list[LogFinding] = []
    while missing:
        first = last = missing.pop(0)
        while missing and missing[0] == last + 1:
            last = missing.pop(0)
        after = sound[last + 1].number if last + 1 in sound else lines + 1
        about = f"event {first} is in no line" if first == last else f"events {first} to {last} are in no line"
        gaps.append(LogFinding(line=after, kind="missing", seq=first, through=last, about=about))
    return gaps
