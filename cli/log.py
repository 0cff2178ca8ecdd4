"""The log of a command: plain messages on stderr, or a JSON object per line with ``curate --log json``."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime
from typing import Any, Literal

from pipelines.progress import tracer

Form = Literal["text", "json"]

EVERY = 10.0
"""Seconds between two lines on the progress of one step."""
LONG = 60.0
"""Seconds above which the end of a command states its longest steps."""


class Log:
    """The log of this process: the form of its lines and the times of the command's steps."""

    def __init__(self) -> None:
        self.form: Form = "text"
        self.command = ""
        self.seconds: dict[str, float] = {}

    def line(self, event: str, **fields: Any) -> None:
        """Write a line of JSON (``curate schema log``); fields that are None are left out."""
        at = datetime.now(UTC).isoformat(timespec="milliseconds")
        known = {name: value for name, value in fields.items() if value is not None}
        text = json.dumps({"time": at, "command": self.command, "event": event, **known})
        sys.stderr.write(text.replace("\x7f", "\\u007f") + "\n")

    @contextmanager
    def of(self, command: str) -> Iterator[list[int]]:
        """Log the start and the end of a command, as a span where OpenTelemetry is in use.

        The block puts the exit code into the list. The form is that of the option --log until the end.
        """
        self.command, self.seconds, code = command, {}, list[int]()
        began, found = time.monotonic(), tracer()
        try:
            with found.start_as_current_span(f"curate {command}".strip()) if found else nullcontext() as span:
                try:
                    yield code
                finally:
                    if span is not None:
                        span.set_attribute("process.exit.code", code[0] if code else 1)
        finally:
            self._end(time.monotonic() - began, code[0] if code else 1)
            self.form = "text"

    def _end(self, seconds: float, code: int) -> None:
        longest = sorted(self.seconds.items(), key=lambda step: -step[1])[:3]
        if self.form == "json":
            steps = {name: round(own, 3) for name, own in longest}
            self.line("end", seconds=round(seconds, 3), exit_code=code, longest_steps=steps or None)
        elif seconds > LONG and longest:
            named = ", ".join(f"{name} {own:.0f} s" for name, own in longest)
            sys.stderr.write(f"took {seconds:.0f} s; longest steps: {named}\n")


log = Log()
"""The log of this process."""
