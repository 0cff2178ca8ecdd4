"""Small documents that commands print with ``--json``: rows of tables, and what a command did."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import ConfigDict, Field

from schemas.base import Document
from schemas.leakage import Leak


class Failure(Document):
    """Why a command failed; every command prints it with ``--json``, and exits with ``exit_code``."""

    error: str
    """What happened, and where."""
    hint: str
    """The next step; empty without one."""
    exit_code: int
    """One of the exit codes of the reference."""
    leaks: tuple[Leak, ...] = ()
    """Of ``curate release build``: each leak between training and benchmark."""


class LogLine(Document):
    """A line on stderr with ``--log json``; fields without a value are left out."""

    model_config = ConfigDict(frozen=True, extra="forbid", json_schema_serialization_defaults_required=False)

    time: str
    """ISO 8601, UTC."""
    command: str
    event: Literal["start", "message", "progress", "error", "end"]
    message: str | None = None
    """Of a message or an error."""
    hint: str | None = None
    """Of an error: the next step."""
    version: str | None = None
    """At the start: the version of curate."""
    step: str | None = None
    """Of progress: what is being done."""
    done: int | None = None
    """Finished units of the step."""
    total: int | None = None
    """All units of the step, where known."""
    per_second: float | None = None
    """Units per second since the step began."""
    remaining_seconds: float | None = None
    """Until the end of the step at this rate."""
    exit_code: int | None = None
    """Of an error and the end: one of the exit codes of the reference."""
    seconds: float | None = None
    """At the end: how long the command ran."""
    longest_steps: dict[str, float] | None = None
    """At the end: the seconds of the three longest steps."""


class LeaderboardRow(Document):
    """One model. With ``--by``, the column of that name comes first, and its value is a text."""

    model_config = ConfigDict(frozen=True, extra="allow", json_schema_serialization_defaults_required=False)
    __pydantic_extra__: dict[str, str | None]

    model: str
    component: int
    """Models that votes connect share it; 0 is the largest component, and ranks are counted within it."""
    rank: int
    """1 = highest strength."""
    best_rank: int
    """1 + the number of models that are significantly better."""
    worst_rank: int
    """The number of models minus those that are significantly worse."""
    class_: int = Field(alias="class")
    """1 = the models that do not differ significantly from the best; each next class likewise, of the others."""
    strength: float | None
    """Log odds of winning against the mean model."""
    strength_se: float | None
    """Its standard error, cluster-robust."""
    low: float | None
    """Lower end of the 90% interval of strength."""
    high: float | None
    """Upper end."""
    win_rate: float | None
    """Share of vote weight won; a tie counts half."""
    votes: int
    prompts: int
    acceptable: float | None
    """Mean probability that an annotator finds a response acceptable; null without a both_bad vote."""
    rank_uncontrolled: int | None = None
    """With --control: the rank without it."""
    strength_uncontrolled: float | None = None
    """With --control: the strength without it."""


class CovariateEffect(Document):
    """What position or a covariate does to votes."""

    covariate: str
    effect: float | None
    """Log odds per unit of the left response's surplus; per doubling for length and markdown."""
    effect_se: float | None
    low: float | None
    """Lower end of its 90% interval."""
    high: float | None
    """Upper end."""


class RankingRow(Document):
    """One response of a prompt. ``rank_NAME`` is its rank by each ranker that the run used."""

    model_config = ConfigDict(frozen=True, extra="allow")
    __pydantic_extra__: dict[str, int | None]

    prompt_id: str
    response_id: str
    model: str | None
    component: int
    """Responses that votes connect share it; 0 is the largest component, and ranks are counted within it."""
    rank: int
    """1 = best; equals share a rank."""
    best_rank: int
    """Best rank of the 90% interval."""
    worst_rank: int
    """Worst rank of it."""
    score: float | None
    """The ranker's score, higher is better."""
    strength: float | None
    """Posterior mean by the hierarchical ranker, logits."""
    strength_se: float | None
    acceptable: float | None
    """Probability that an annotator finds it acceptable; null without a both_bad vote."""
    acceptable_low: float | None
    """Lower end of its 90% interval."""
    acceptable_high: float | None
    """Upper end."""


class RejectRow(Document):
    """A row of a vote file that is no vote."""

    file: str
    line: int
    column: str | None
    """The column at fault; null if it is the whole row."""
    value: str | None
    """What it holds."""
    reason: str
    """A code of the reference of reject reasons."""
    message: str
    """The reason in a sentence."""
    row: str | None
    """The row as it was read."""
    batch_id: str
    """The ingest that rejected it."""


class PlatformLine(Document):
    """A supported platform."""

    renamed: ClassVar[dict[str, str]] = {"about": "description", "told_by": "detected_by"}

    name: str
    """For ``--format``."""
    description: str
    detected_by: str
    """What in a file tells that the platform wrote it."""
    sides: str
    """Whether its exports state which response was shown left."""
    dropped: str
    """Personal data that is not kept."""


class RevokedLinks(Document):
    """The members whose links no longer work."""

    revoked: tuple[str, ...]


class ActionDone(Document):
    """An action of a manager."""

    folder: str
    done: bool
    """False: the running page does it with its next request."""


class ClosedCampaign(Document):
    """A campaign that accepts no more votes."""

    folder: str
    closed: bool
    """False: the running page closes it with its next request."""


class PageAddress(Document):
    """Where the voting page listens; printed as soon as it does."""

    campaign: str
    address: str
    url: str
    """The public address."""


class FailedCampaign(Document):
    """A campaign that cannot be served."""

    campaign: str
    error: str


class PageAddresses(Document):
    """Where the voting pages of several campaigns listen."""

    campaigns: tuple[PageAddress, ...]
    failed: tuple[FailedCampaign, ...]


class ServerAddress(Document):
    """Where a reward model listens; printed as soon as it does, before the model is loaded."""

    model: str
    url: str


class ScoreLine(Document):
    """The scores of an example: one line of ``curate score``."""

    item_id: str
    scores: tuple[float, ...]
    """One per response, in their order; higher is better."""


class WrittenScores(Document):
    """A file of scores: ``curate score --out FILE``."""

    out: str
    examples: int


class MergedModel(Document):
    """A model whose adapters are part of its weights."""

    out: str
    model: str
    dtype: str


class KeyPair(Document):
    """A new pair of keys."""

    key_id: str
    secret: str
    """Its file."""
    public: str
    """Its file."""


class PlotReport(Document):
    """A picture."""

    out: str
    plot: str
    bytes: int


class SchemaLine(Document):
    """A JSON Schema that ``curate schema NAME`` prints."""

    name: str
    """A file, or a command whose ``--json`` it describes."""
    meaning: str
