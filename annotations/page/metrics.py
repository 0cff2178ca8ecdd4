"""What the server counts for operators, in the text format of Prometheus; nothing in it belongs to one person.

Format: prometheus.io/docs/instrumenting/exposition_formats, version 0.0.4. Counters start at 0 with the server.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

from annotations.page.security import Denied

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds of the classes of the histogram, seconds."""


@dataclass
class Counted:
    """The result of one vote. code: why it was refused; empty if it was accepted."""

    code: str = "failed"


@dataclass
class VoteMeter:
    """The votes of one campaign that the server has answered."""

    accepted: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    classes: list[int] = field(default_factory=lambda: [0] * len(BOUNDS))
    """Accepted votes by BOUNDS, each class with those below it."""
    seconds: float = 0.0
    """Sum of the times of accepted votes, from the request's head to the disk."""

    @contextmanager
    def vote(self) -> Iterator[Counted]:
        """Count the vote of the block by the code that the block sets."""
        began, counted = time.perf_counter(), Counted()
        try:
            yield counted
        except Denied as error:
            counted.code = error.code
            raise
        finally:
            if counted.code:
                self.refused[counted.code] += 1
            else:
                self._accept(time.perf_counter() - began)

    def _accept(self, seconds: float) -> None:
        self.accepted += 1
        self.seconds += seconds
        for number, bound in enumerate(BOUNDS):
            self.classes[number] += seconds <= bound


class Sample(NamedTuple):
    """A value with its labels. suffix: of the family's name."""

    labels: Mapping[str, str]
    value: float
    suffix: str = ""


class Family(NamedTuple):
    """The samples of one metric, whose name gets the prefix curate. kind: counter, gauge or histogram."""

    name: str
    kind: str
    about: str
    samples: Sequence[Sample]


def latency(labels: Mapping[str, str], meter: VoteMeter) -> list[Sample]:
    """The samples of a histogram of the accepted votes."""
    bounds = [*(f"{bound:g}" for bound in BOUNDS), "+Inf"]
    classes = zip(bounds, [*meter.classes, meter.accepted], strict=True)
    buckets = [Sample({**labels, "le": bound}, count, "_bucket") for bound, count in classes]
    return [*buckets, Sample(labels, meter.seconds, "_sum"), Sample(labels, meter.accepted, "_count")]


def exposition(families: Sequence[Family]) -> str:
    r"""The text of the families.

    >>> print(exposition([Family("open", "gauge", "Pairs.", [Sample({"campaign": 'a"b'}, 2)])]), end="")
    # HELP curate_open Pairs.
    # TYPE curate_open gauge
    curate_open{campaign="a\"b"} 2
    """
    lines = []
    for family in families:
        name = f"curate_{family.name}"
        lines += [f"# HELP {name} {family.about}", f"# TYPE {name} {family.kind}"]
        for sample in family.samples:
            labels = ",".join(f'{label}="{_escaped(value)}"' for label, value in sample.labels.items())
            lines.append(f"{name}{sample.suffix}{{{labels}}} {sample.value:.10g}")
    return "\n".join(lines) + "\n"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
