"""What a report says, as values: the page is drawn from this and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from curate.report.funnel import Block
from curate.report.models import Models
from curate.report.preference_graph import Arc
from curate.report.prompts import ShownPrompt
from curate.report.sides import Sides
from schemas.annotators import AnnotatorsReport
from schemas.manifest import Ceiling
from schemas.reports import DenoiseReport
from schemas.validation import ValidationReport


@dataclass(frozen=True)
class Source:
    """Where the figures come from. No path: names of files only."""

    store: str
    run_id: str
    code_version: str
    config: str
    """Of the denoise run, JSON."""
    files: tuple[tuple[str, str], ...]
    """(name, sha256) of the vote files, in the order of their ingest."""
    newer_votes: int
    """Votes that the run had not seen."""


@dataclass(frozen=True)
class PromptRow:
    """One line of the table of all prompts."""

    prompt_id: str
    status: str
    votes: int
    pairs_covered: int
    pairs_possible: int
    cyclic_triads: int
    contradicted: float | None
    expected_tau: float | None


@dataclass(frozen=True)
class Contradictions:
    """How far the votes contradict themselves and the final orders; over prompts with a ranking."""

    share: float | None
    """Of the vote weight, against the final orders."""
    least: float | None
    """Of the vote weight, proved: no orders have less against them."""
    cyclic: int
    """Triples of responses whose majorities run in a circle."""
    triples: int
    """All triples of responses to one prompt."""
    shares: tuple[float, ...]
    """Of each prompt."""


@dataclass(frozen=True)
class LabelCeiling:
    """What an export says of its own labels."""

    kind: str
    config: str
    items: int
    ceiling: Ceiling | None
    floor: float | None
    confidence: float | None


@dataclass(frozen=True)
class ReportView:
    """A report on one denoise run. What is None was not computed, or does not exist; the page says which."""

    source: Source
    responses: int
    run: DenoiseReport | None
    """None where this version cannot read what the run wrote down."""
    chosen_in: str
    """The release of the earlier run that chose the method, as name-version; empty where none did, or has one."""
    funnel: tuple[Block, ...]
    models: Models | None
    """None where no response names its model."""
    people: AnnotatorsReport
    sides: Sides
    contradictions: Contradictions
    validation: ValidationReport | None
    """Of ``curate validate --json``, where it was given."""
    ceilings: tuple[LabelCeiling, ...]
    prompts: tuple[PromptRow, ...]
    shown: Sequence[tuple[ShownPrompt, Sequence[Arc]]]
