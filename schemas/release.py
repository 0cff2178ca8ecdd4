"""Releases: what a build may be told, the manifest it leaves, and what build, verify, diff and ls report."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from schemas.base import Document
from schemas.config import ExportConfig, SplitConfig
from schemas.leakage import LeakConfig
from schemas.manifest import Ceiling, Manifest

Share = Annotated[float, Field(ge=0, le=1)]
Side = Literal["train", "benchmark"]
MediaAs = Literal["files", "webdataset", "inside", "none"]
"""files: beside, in media/; webdataset: tar shards in media/; inside: bytes in each row; none: by name only."""
OnBadMedia = Literal["stop", "drop"]

SIDES: tuple[Side, ...] = ("train", "benchmark")


class Filters(Document):
    """Which ranked prompts are good enough to be published. At its default a filter lets everything through."""

    min_votes: Annotated[int, Field(ge=0)] = 0
    """Votes that the denoise run used of a prompt."""
    min_coverage: Share = 0.0
    """Share of a prompt's pairs with a vote."""
    min_agreement: Annotated[float, Field(ge=-1, le=1)] = -1.0
    """Mean Kendall tau-b between the ensemble's members; above −1, a prompt where it is not known is dropped."""
    min_expected_tau: Annotated[float, Field(ge=-1, le=1)] = -1.0
    """Expected Kendall tau of a prompt's order to the truth; above −1, a prompt where it is not known is dropped."""
    min_responses: Annotated[int, Field(ge=2)] = 2
    """Connected responses of a prompt."""


class ReleaseConfig(Document):
    """How a denoise run becomes a release."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]*$")] = "release"
    """What it is called: lower case, digits, dot, dash, underscore."""
    version: Annotated[str, Field(pattern=r"^(\d+\.\d+\.\d+|next)?$")] = ""
    """The version for people, such as 1.0.0; when empty, the digest of the content stands for it. next: 1.0.0, or the
    last one's beside it with the middle number raised, where the content is not the same."""
    run: str = ""
    """The denoise run (its id or a prefix of it); the latest when empty."""
    split: SplitConfig = SplitConfig()
    responses: Annotated[int, Field(ge=3)] = 4
    """Responses in an item of the configs train and benchmark."""
    train_items_per_prompt: Annotated[int, Field(ge=1)] = 4
    benchmark_items_per_prompt: Annotated[int, Field(ge=1)] = 4
    train_min_confidence: Share = 0.0
    benchmark_min_confidence: Share = 0.0
    """Items only of sets whose labelled best is the best with this probability or more. Full rankings are exempt."""
    rows_per_shard: Annotated[int, Field(ge=1)] = 10_000
    seed: int = 0
    filters: Filters = Filters()
    leakage: LeakConfig = LeakConfig()
    media_as: MediaAs | None = None
    """None: files where a media folder is given, else none."""
    bad_media: OnBadMedia = "stop"
    """A prompt whose video is missing or does not decode: stop the build, or drop the prompt and count it."""
    videos_per_shard: Annotated[int, Field(ge=1)] = 1000
    """Of a WebDataset tar file."""
    licence: str = ""
    """Of the data: an identifier such as cc-by-4.0. Stated in the card and in the Croissant metadata."""
    description: str = ""
    """What the data is about, for the head of the card."""
    citation: str = ""
    creators: tuple[str, ...] = ()
    url: str = ""
    date: Annotated[str, Field(pattern=r"^(\d{4}-\d{2}-\d{2})?$")] = ""
    """Of publication, 2026-01-31; no clock is read."""

    def export(self, side: Side, *, min_confidence: float) -> ExportConfig:
        """The same draw, as an export is told it."""
        items = self.train_items_per_prompt if side == "train" else self.benchmark_items_per_prompt
        return ExportConfig(
            split=self.split,
            run=self.run,
            responses=self.responses,
            items_per_prompt=items,
            min_confidence=min_confidence,
            rows_per_shard=self.rows_per_shard,
            seed=self.seed,
        )


class FunnelStage(Document):
    """One stage that something goes through. came = kept + all that was dropped."""

    stage: str
    unit: str
    """What is counted: rows, votes, prompts, sets."""
    came: int
    kept: int
    dropped: dict[str, int]
    """Reason -> how many."""

    @model_validator(mode="after")
    def _nothing_is_lost(self) -> FunnelStage:
        if self.came != self.kept + sum(self.dropped.values()):
            raise ValueError(f"stage {self.stage!r}: {self.came} came, but {self.kept} kept and {self.dropped} dropped")
        return self


class Funnel(Document):
    """The counts of every stage, from the rows of the vote files to the items."""

    stages: tuple[FunnelStage, ...]


class Release(Manifest):
    """The manifest of a release. ``files`` includes the card and the Croissant metadata."""

    kind: Literal["release"]
    name: str
    release: str
    """The version for people; empty where none was given."""
    version: str
    """12 hex digits of the data: moves with every file but the card and the Croissant metadata, which state it."""
    seal: str
    """Digest of this whole document, the seal itself left out."""
    media_as: MediaAs
    previous: tuple[str, ...]
    """Earlier releases whose prompts were kept apart from these, as name-version."""
    funnel: Funnel
    counts: dict[str, Any]
    """As in an export, for all configs; prompts and left_out by side; and votes, annotators, models, videos, agreement
    and balance."""

    @property
    def label(self) -> str:
        """name-1.0.0, or name-DIGEST where there is no version for people."""
        return f"{self.name}-{self.release or self.version}"


class ReleaseReport(Document):
    """One build."""

    out: str
    name: str
    release: str
    version: str
    run: str
    reused: bool
    """True when this very release was there already."""
    media_as: MediaAs
    prompts: dict[str, int]
    """train, benchmark -> prompts with an item."""
    items: dict[str, int]
    """config -> items."""
    ceiling: dict[str, Ceiling | None]
    """config -> what a judge who knows the true order would score."""
    videos: int
    votes: int
    annotators: int
    funnel: Funnel
    previous: tuple[str, ...]
    files: int
    bytes: int
    newer_votes: int
    """Votes in the store that came after the denoise run."""


class Finding(Document):
    """One thing that is not as a release promises."""

    check: str
    """files | manifest | tables | labels | formats | media | decoded | figures | card | croissant | split | leakage"""
    where: str
    """File, row or prompt."""
    what: str


class VerifyReport(Document):
    """What ``verify`` found. A release is good where there is no finding."""

    folder: str
    name: str
    version: str
    checks: dict[str, int]
    """check -> things that were looked at."""
    findings: tuple[Finding, ...]
    notes: tuple[str, ...]
    """What could not be checked here."""


class PromptChange(Document):
    """A prompt that both releases have and that is not the same in them."""

    prompt_id: str
    why: tuple[str, ...]
    """new votes | words | media | side | config | code | votes elsewhere"""
    side: tuple[str, str]
    """before, after"""
    votes: tuple[int, int]
    ranks: dict[str, tuple[int | None, int | None]]
    """response -> its rank before and after, where they differ; null where it is not ranked."""


class ConfigChange(Document):
    """The items of one config, before and after."""

    before: int
    after: int
    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: tuple[str, ...]
    """The same responses, but other ranks, words or order."""


class DiffReport(Document):
    """What changed from one release to another, and why."""

    before: str
    after: str
    same: bool
    """Both hold the same data."""
    causes: tuple[str, ...]
    """new votes | config | code | media | words | side: what differs between the two builds."""
    votes: tuple[int, int]
    batches: dict[str, tuple[str, ...]]
    """added, removed -> ingests behind only one of them."""
    config: dict[str, tuple[Any, Any]]
    """Dotted key of the release's or the denoise run's config -> before and after."""
    code: tuple[str, str]
    prompts_added: tuple[str, ...]
    prompts_removed: tuple[str, ...]
    prompts: tuple[PromptChange, ...]
    items: dict[str, ConfigChange]
    """config -> its changes; configs that are the same are left out."""


class ReleaseLine(Document):
    """One release of a folder of releases."""

    folder: str
    state: Literal["whole", "unfinished", "damaged"]
    """whole: the manifest is sealed and every file is there at its size. Only verify reads the bytes."""
    name: str = ""
    release: str = ""
    version: str = ""
    run: str = ""
    """The denoise run."""
    prompts: int = 0
    items: int = 0
    """Of all configs of items; other formats hold some of them again."""
    votes: int = 0
