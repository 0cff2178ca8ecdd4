"""Releases: the config of a build, its manifest, and the reports of build, verify, diff and ls."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from schemas.base import Document
from schemas.config import ExportConfig, SplitConfig
from schemas.leakage import LeakConfig
from schemas.manifest import Ceiling, FragilityFigures, Manifest

Share = Annotated[float, Field(ge=0, le=1)]
Side = Literal["train", "benchmark"]
MediaAs = Literal["files", "webdataset", "embedded", "none"]
"""files: in the folder media/; webdataset: tar shards in media/; embedded: bytes in each row; none: by name only."""
OnBadMedia = Literal["stop", "drop"]
BenchmarkItems = Literal["keep", "redraw"]

SIDES: tuple[Side, ...] = ("train", "benchmark")
RENAMED_MEDIA_AS = {"media_as": {"inside": "embedded"}}
"""Field -> {old value -> new value}."""


class Filters(Document):
    """Which ranked prompts are published. The defaults exclude none."""

    min_votes: Annotated[int, Field(ge=0)] = 0
    """Votes of a prompt that the denoise run used."""
    min_coverage: Share = 0.0
    """Share of a prompt's pairs with a vote."""
    min_agreement: Annotated[float, Field(ge=-1, le=1)] = -1.0
    """Mean Kendall tau-b between the ensemble's members; above −1, prompts with unknown agreement are excluded."""
    min_expected_tau: Annotated[float, Field(ge=-1, le=1)] = -1.0
    """Expected Kendall tau between a prompt's ranking and the true order; above −1, prompts with an unknown value are
    excluded."""
    min_responses: Annotated[int, Field(ge=2)] = 2
    """Connected responses of a prompt."""


class ReleaseConfig(Document):
    """How a denoise run becomes a release."""

    renamed_values = RENAMED_MEDIA_AS

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]*$")] = "release"
    """Lower case, digits, dot, dash, underscore."""
    version: Annotated[str, Field(pattern=r"^(\d+\.\d+\.\d+|next)?$")] = ""
    """The release number, such as 1.0.0; if empty, the digest of the content is used. next: 1.0.0, or the highest known
    number with its middle part raised if the content differs."""
    run: str = ""
    """The denoise run (its id or a prefix of it); the latest if empty."""
    split: SplitConfig = SplitConfig()
    responses: Annotated[int, Field(ge=3)] = 4
    """Responses in an item of the configs train and benchmark."""
    train_items_per_prompt: Annotated[int, Field(ge=1)] = 4
    benchmark_items_per_prompt: Annotated[int, Field(ge=1)] = 4
    train_min_confidence: Share = 0.0
    benchmark_min_confidence: Share = 0.0
    """Smallest confidence of an item. Full rankings are exempt."""
    benchmark_min_fragility: Annotated[int, Field(ge=0)] = 0
    """Smallest fragility of an item, votes; an item of unknown fragility is dropped, too. 0: none is dropped."""
    benchmark_items: BenchmarkItems = "keep"
    """keep: items of the previous version stay while their labels hold, and new ones replace the others; redraw: all
    are drawn again."""
    rows_per_shard: Annotated[int, Field(ge=1)] = 10_000
    seed: int = 0
    filters: Filters = Filters()
    leakage: LeakConfig = LeakConfig()
    media_as: MediaAs | None = None
    """None: files if a media folder is given, else none."""
    bad_media: OnBadMedia = "stop"
    """A prompt whose video is missing or does not decode: stop the build, or exclude the prompt and count it."""
    videos_per_shard: Annotated[int, Field(ge=1)] = 1000
    """Videos in a WebDataset tar file."""
    licence: str = ""
    """Licence of the data: an identifier such as cc-by-4.0. Stated in the card and in the Croissant metadata."""
    language: tuple[Annotated[str, Field(pattern=r"^[a-z]{2,3}$")], ...] = ()
    """Languages of questions and responses, as codes of ISO 639 such as en. Never guessed: if empty, none is stated."""
    description: str = ""
    """What the data is about; stated at the top of the card."""
    citation: str = ""
    creators: tuple[str, ...] = ()
    url: str = ""
    repository: Annotated[str, Field(pattern=r"^([\w.-]+/[\w.-]+)?$")] = ""
    """Repository on the Hub that the release is published in, such as lab/name: the card's examples load it from there.
    If empty, they load the folder."""
    date: Annotated[str, Field(pattern=r"^(\d{4}-\d{2}-\d{2})?$")] = ""
    """Date of publication, 2026-01-31; never filled in from the clock."""

    def export(self, side: Side, *, min_confidence: float) -> ExportConfig:
        """The config of an export that draws the same items of one side."""
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


RENAMED_REASONS = {
    "thin": "too_few_votes",
    "of annotators taken for spammers": "by likely spammers",
    "below the asked confidence, or best shared": "below min_confidence, or no clear best",
    "below min_confidence, or best rank shared": "below min_confidence, or no clear best",
    "agreement below min_agreement, or not known": "agreement below min_agreement, or unknown",
    "expected tau below min_expected_tau, or not known": "expected tau below min_expected_tau, or unknown",
}
"""Old text -> current text of reasons that were renamed in 0.2; manifests may have the old ones."""


class FunnelStage(Document):
    """One stage: input = kept + all dropped."""

    renamed = {"came": "input"}

    stage: str
    unit: str
    """What is counted: rows, votes, prompts, sets."""
    input: int
    kept: int
    dropped: dict[str, int]
    """Reason -> count."""

    @field_validator("dropped", mode="before")
    @classmethod
    def _current_reasons(cls, dropped: Any) -> Any:
        if not isinstance(dropped, dict):
            return dropped
        return {RENAMED_REASONS.get(reason, reason): count for reason, count in dropped.items()}

    @model_validator(mode="after")
    def _nothing_is_lost(self) -> FunnelStage:
        if self.input != self.kept + sum(self.dropped.values()):
            raise ValueError(
                f"stage {self.stage!r}: input {self.input}, but {self.kept} kept and {self.dropped} dropped"
            )
        return self


class Funnel(Document):
    """The counts of every stage, from the rows of the vote files to the items."""

    stages: tuple[FunnelStage, ...]


class Stability(Document):
    """The items of a benchmark config, beside those of the previous version."""

    previous: str
    """name-version."""
    before: int
    """Its items."""
    kept: int
    """Those of them that are kept: question, media, responses, their order and the label are the same."""
    retired: dict[str, int]
    """Reason -> those of them that are not."""
    new: int
    common: dict[str, int]
    """Version -> items in it and in every version since. Scores of these versions are comparable on them."""

    @property
    def summary(self) -> str:
        """That in a sentence."""
        return f"{kept_summary(self.kept, self.before, self.retired)}; {self.new:,} new"


def kept_summary(kept: int, before: int, retired: dict[str, int]) -> str:
    """Return "311 of 312 items kept, 1 retired because of: best changed"; with the numbers of several reasons."""
    text = f"{kept:,} of {before:,} items kept"
    if not retired:
        return text
    several = len(retired) > 1
    why = ", ".join(f"{reason} ({number:,})" if several else reason for reason, number in retired.items())
    return f"{text}, {sum(retired.values()):,} retired because of: {why}"


class Release(Manifest):
    """The manifest of a release. ``files`` includes the card and the Croissant metadata."""

    renamed_values = RENAMED_MEDIA_AS

    kind: Literal["release"]
    name: str
    release: str
    """The release number; empty if none was given."""
    version: str
    """12 hex digits of the data: changes with every file except the card and the Croissant metadata, which state it."""
    seal: str
    """Digest of this document without the seal."""
    media_as: MediaAs
    previous: tuple[str, ...]
    """Earlier releases that were compared for leakage, as name-version."""
    funnel: Funnel
    counts: dict[str, Any]
    """As in an export, for all configs; prompts and excluded by side; and votes, annotators, models, videos, agreement,
    balance and stability (benchmark, benchmark_pairwise -> ``Stability``; empty without a previous version)."""

    @property
    def label(self) -> str:
        """name-1.0.0, or name-DIGEST without a release number."""
        return f"{self.name}-{self.release or self.version}"


class ReleaseReport(Document):
    """One build."""

    renamed_values = RENAMED_MEDIA_AS

    out: str
    name: str
    release: str
    version: str
    run: str
    criterion: str = ""
    """By which the responses were compared; empty if the votes have no criterion."""
    reused: bool
    """True if exactly this release existed already."""
    media_as: MediaAs
    prompts: dict[str, int]
    """train, benchmark -> prompts with an item."""
    items: dict[str, int]
    """config -> items."""
    ceiling: dict[str, Ceiling | None]
    """config -> score of a judge that knows the true order."""
    fragility: dict[str, FragilityFigures] = {}
    """benchmark, benchmark_pairwise -> how few votes their labels rest on."""
    stability: dict[str, Stability] = {}
    """benchmark, benchmark_pairwise -> items kept from the previous version; empty if there is none."""
    videos: int
    votes: int
    annotators: int
    funnel: Funnel
    previous: tuple[str, ...]
    files: int
    bytes: int
    newer_votes: int
    """Votes in the store that were ingested after the denoise run."""
    notes: tuple[str, ...] = ()
    """What the user should know."""


class ClientReport(Document):
    """One export of a release for a client."""

    client: str
    out: str
    release: str
    """name-1.0.0, or name-DIGEST."""
    version: str
    """Of the release's data."""
    rows: dict[str, int]
    """File -> rows."""
    media: int
    """Files in media/."""
    skipped: dict[str, int]
    """Reason -> rows that the client could not read as intended."""
    notes: tuple[str, ...]


class Finding(Document):
    """One violation of what a release promises."""

    check: str
    """signature | outside | files | manifest | tables | labels | texts | formats | media | decoded | figures | card |
    croissant | split | history | leakage"""
    where: str
    """File, row or prompt."""
    what: str


class VerifyReport(Document):
    """The result of ``verify``. A release is valid if there is no finding."""

    folder: str
    name: str
    version: str
    checks: dict[str, int]
    """check -> number of things checked."""
    findings: tuple[Finding, ...]
    notes: tuple[str, ...]
    """What could not be checked."""
    signed_by: str = ""
    """Id of the key that the signature names, 16 hex digits; "" without a signature."""
    signature: Literal["none", "not checked", "valid", "invalid"] = "none"
    """Whether the manifest is signed with the key that was given."""


class SignReport(Document):
    """One signature of a release."""

    folder: str
    file: str
    """The signature, in the folder."""
    name: str
    version: str
    key_id: str
    """16 hex digits."""
    comment: str
    """What is signed with the manifest: name and version."""


class PromptChange(Document):
    """A prompt that is in both releases and differs between them."""

    prompt_id: str
    why: tuple[str, ...]
    """new votes | text | media | side | config | code | other votes"""
    side: tuple[str, str]
    """before, after"""
    votes: tuple[int, int]
    ranks: dict[str, tuple[int | None, int | None]]
    """response -> rank before and after, if they differ; null if it is not ranked."""


class ConfigChange(Document):
    """The items of one config, before and after."""

    before: int
    after: int
    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: tuple[str, ...]
    """The same responses with other ranks, texts or order."""
    kept: int = 0
    """Items with the same question, media, responses, order and best: scores are comparable on them."""
    retired: dict[str, int] = {}
    """Reason -> items of the first release that are not kept, of benchmark and benchmark_pairwise."""

    @property
    def summary(self) -> str:
        """What is kept, in a sentence."""
        kept = kept_summary(self.kept, self.before, self.retired)
        return f"{kept}; scores are comparable on the {self.kept:,} items kept"


class DiffReport(Document):
    """What changed from one release to another, and why."""

    before: str
    after: str
    same: bool
    """Both hold the same data."""
    causes: tuple[str, ...]
    """new votes | config | code | media | text | side: the differences between the two builds."""
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
    """config -> its changes; only configs that changed."""


class ReleaseLine(Document):
    """One release of a folder of releases."""

    folder: str
    state: Literal["complete", "unfinished", "damaged"]
    """complete: the seal is valid and every file has its size. Only verify reads the bytes."""
    name: str = ""
    release: str = ""
    version: str = ""
    run: str = ""
    """The denoise run."""
    prompts: int = 0
    items: int = 0
    """Of all item configs; other formats repeat some of them."""
    votes: int = 0
    signed_by: str = ""
    """Id of the key that the signature names, which is not checked; "" without a signature."""
