"""The configuration of each job: one frozen model per job, read from curate.toml, a recipe or the command line."""

from __future__ import annotations

from fnmatch import fnmatchcase
from pathlib import Path, PurePath
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, Field, model_validator

from schemas.base import Document
from schemas.choices import (
    BothBad,
    CopiedVotes,
    Dependence,
    Design,
    Disconnected,
    Effort,
    EqualTexts,
    Link,
    OnError,
    PerceptionUnit,
    Repeats,
    StrengthDistribution,
    TextComparison,
)
from schemas.engine import EngineConfig
from schemas.mapping import FileMapping, Limits, Mapping
from schemas.rankers import BUILT_IN, check_choice, check_ranker

RankerName = Annotated[str, AfterValidator(check_ranker)]
"""A ranker of curate or of an installed package."""
RankerChoice = Annotated[str, AfterValidator(check_choice)]
"""A ranker, or "auto": the method with the lowest log-loss on held-out votes of the store."""


MERGED = ("columns", "prompt_columns", "response_columns", "outcomes")
"""Parts of a mapping that a file's own mapping extends instead of replacing."""


class IngestConfig(Document):
    """How vote files become votes in the store."""

    mapping: Mapping = Mapping()
    files: tuple[FileMapping, ...] = ()
    """Mappings of files by name or pattern, over ``mapping``; where several match, the first has precedence."""
    format: str = "auto"
    """The platform that wrote the files, by its name in ``curate ingest --formats``; "generic": a plain table of votes;
    "auto": detected from their content."""
    on_error: OnError = "stop"
    """At a damaged file: "stop" leaves the store unchanged; "reject" rejects only the damaged records."""
    repeats: Repeats = "last"
    """Votes of an annotator on the same pair: keep the last, keep all, or reject all after the first."""
    max_rejects: Annotated[float, Field(ge=0, le=1)] = 0.2
    """The share of a file's rows that may be rejected for one reason; beyond it the file is refused. One or two rejects
    never refuse a file, unless no row is left."""
    limits: Limits = Limits()

    def mapping_of(self, path: str) -> Mapping:
        """Return the mapping of a file: the common one, overridden by the entries of ``files`` that match."""
        values = self.mapping.model_dump()
        for own in reversed(self._entries(path)):
            changes = own.model_dump(exclude={"match", "format"}, exclude_unset=True)
            values |= {name: {**values[name], **new} if name in MERGED else new for name, new in changes.items()}
        return Mapping.model_validate(values)

    def format_of(self, path: str) -> str:
        """Return the platform of a file, "generic" or "auto"."""
        return next((own.format for own in self._entries(path) if own.format), self.format)

    def _entries(self, path: str) -> list[FileMapping]:
        names = (path, PurePath(path).name)
        return [own for own in self.files if any(fnmatchcase(name, own.match) for name in names)]


class BradleyTerryConfig(Document):
    """Hyperparameters of the Bradley-Terry ranker."""

    ridge: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 0.1
    """Precision of the normal prior on strengths, 1 / logits²."""


class PageRankConfig(Document):
    """Hyperparameters of the PageRank ranker."""

    damping: Annotated[float, Field(gt=0, lt=1)] = 0.85


class FeedbackArcSetConfig(Document):
    """Hyperparameters of the exact feedback-arc-set ranker."""

    max_states: Annotated[int, Field(gt=0)] = 200_000
    """Subsets the search may hold for one connected component before linear programs take over."""
    solver: Literal["search", "integer-program"] = "search"
    """integer-program: HiGHS through cvxpy on every prompt, a check on the search some hundred times as slow."""
    max_nodes: Annotated[int, Field(gt=0)] = 100
    """Linear programs for one component, where the subsets are too many: a count, so that no result depends on time."""
    max_steps: Annotated[float, Field(gt=0)] = 1e8
    """Work on one prompt after the first try, in steps of about 20 ns: simplex iterations times rows and columns, and
    the search for cycles. Also a count."""
    max_total_steps: Annotated[float, Field(gt=0)] = 2e8
    """The same for all prompts together. Each prompt that the first try leaves open gets an equal share."""
    prove: bool = True
    """Prove optimality within these limits; false: local search only. Held-out votes and the bootstrap never prove."""


class HierarchicalConfig(Document):
    """Hyperparameters of the hierarchical ranker; its priors are fitted to the votes."""

    renamed_values: ClassVar[dict[str, dict[str, str]]] = {"ties": {"rao-kupper": "davidson"}}

    ties: Literal["davidson"] = "davidson"
    """The model of ties. Rao and Kupper's is deprecated: its held-out log-loss was higher (docs/rankers.md)."""


class AutoConfig(Document):
    """How held-out votes choose the ranker, and the weights of several."""

    folds: Annotated[int, Field(ge=2)] = 5
    """Parts of the votes, each held out once."""
    prompts: Annotated[int, Field(ge=1)] = 500
    """Prompts whose votes decide, at most; of more, so many are drawn."""
    votes: Annotated[int, Field(ge=1)] = 100_000
    """Votes that decide, at most; of more, whole annotators (or single votes) are drawn."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Of the draw of prompts and folds."""


class DenoiseConfig(Document):
    """How votes become one ranking per prompt."""

    renamed: ClassVar[dict[str, str]] = {"joint": "hierarchical"}

    ranker: RankerChoice = "auto"
    """The ranker whose order becomes the ranking."""
    effort: Effort = "normal"
    """The limits of work: low takes a tenth of the configured ones (auto.prompts and auto.votes; those of
    feedback_arc_set), high ten times as much."""
    compare: bool = False
    """Run all other rankers as well, and store their scores beside those of the chosen one."""
    weights: dict[RankerName, Annotated[float, Field(ge=0, le=1e6)]] = {
        "bradley-terry": 1.0,
        "pagerank": 1.0,
        "feedback-arc-set": 1.0,
    }
    """Members of the ensemble and their weights."""
    auto: AutoConfig = AutoConfig()
    max_spammer: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Exclude the votes of annotators who are spammers with a higher probability than this (curate annotators)."""
    copied_votes: CopiedVotes = "exclude"
    """Accounts whose answers agree more than independent judgments can are a ring. Of the equal votes of a ring on one
    pair, the first counts ("exclude"), or all do ("keep")."""
    prompts: tuple[str, ...] = ()
    """Only these prompts (all when empty)."""
    criterion: str = ""
    """Only the votes by this criterion; needed if the votes are by several. "(none)": those without a criterion."""
    control: tuple[str, ...] = ()
    """Covariates of the responses whose effects on votes are estimated and removed: length, markdown, position (always
    modelled), or numeric columns of the file of responses. Only the hierarchical ranker does this."""
    min_votes: Annotated[int, Field(ge=1)] = 1
    """A prompt with fewer votes is reported as too_few_votes and not ranked."""
    disconnected: Disconnected = "components"
    """Responses that no chain of votes connects: rank each connected component on its own, or skip the prompt."""
    both_bad: BothBad = "tie"
    """A both_bad vote counts as a tie, or is dropped."""
    equal_texts: EqualTexts = "merge"
    """Responses of one prompt with equal texts: "merge" gives them one strength, their votes together, and one rank;
    "keep" ranks each on its own. Items never hold two of them."""
    text_comparison: TextComparison = "careful"
    """When texts are equal. "careful": in words, case and whitespace do not count; in maths, code and markup, only
    whitespace at the ends of lines and the Unicode form (NFC) do not count. "loose": case, whitespace and compatibility
    forms (NFKC) never count. "exact": everything counts."""
    bradley_terry: BradleyTerryConfig = BradleyTerryConfig()
    pagerank: PageRankConfig = PageRankConfig()
    feedback_arc_set: FeedbackArcSetConfig = FeedbackArcSetConfig()
    hierarchical: HierarchicalConfig = HierarchicalConfig()
    options: dict[RankerName, dict[str, Any]] = {}
    """Third-party ranker -> its options, handed to it as they are."""

    @property
    def effort_factor(self) -> float:
        """The factor of all limits of work."""
        return {"low": 0.1, "normal": 1.0, "high": 10.0}[self.effort]

    @property
    def unproven(self) -> DenoiseConfig:
        """The same without proofs of optimality."""
        own = self.feedback_arc_set.model_copy(update={"prove": False})
        return self.model_copy(update={"feedback_arc_set": own})

    @property
    def members(self) -> dict[str, float]:
        """The members of the ensemble with a weight above 0."""
        return {name: weight for name, weight in self.weights.items() if weight > 0}

    @model_validator(mode="after")
    def _ensemble_has_members(self) -> DenoiseConfig:
        if "ensemble" in self.weights:
            raise ValueError("the ensemble cannot be a member of itself")
        if self.ranker == "ensemble" and not self.members:
            raise ValueError("the ensemble needs at least one member with a weight above 0")
        return self

    @model_validator(mode="after")
    def _options_are_of_third_parties(self) -> DenoiseConfig:
        for name in self.options:
            if name in BUILT_IN:
                raise ValueError(
                    f"options.{name}: built-in rankers have sections of their own, such as [denoise.pagerank]"
                )
        return self


EARLIER_DENOISE: dict[str, Any] = {
    "criterion": "",
    "equal_texts": "keep",
    "text_comparison": "careful",
    "copied_votes": "keep",
}
"""How the runs of earlier versions behaved whose configs lack these keys."""


class SplitConfig(Document):
    """Which prompts are reserved for the benchmark. Stored at the first export; it cannot change afterwards."""

    benchmark_fraction: Annotated[float, Field(ge=0, le=1)] = 0.2
    """Expected share of the units (videos; prompts without one) that are assigned to the benchmark."""
    seed: int = 0


class ExportConfig(Document):
    """How rankings become shards."""

    split: SplitConfig = SplitConfig()
    run: str = ""
    """The denoise run to export (its id or a prefix of it); the latest if empty."""
    responses: Annotated[int, Field(ge=0)] = 4
    """Responses in an item, 2 or more; 0 takes all responses of a prompt (training items only)."""
    items_per_prompt: Annotated[int, Field(ge=1)] = 4
    """Largest number of items of one prompt."""
    min_confidence: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Smallest probability that an item's labelled best is the best. Above 0, sets whose best rank is shared are
    excluded."""
    rows_per_shard: Annotated[int, Field(ge=1)] = 10_000
    seed: int = 0
    """Seed of the items; the split has its own."""

    @model_validator(mode="after")
    def _items_compare(self) -> ExportConfig:
        if self.responses == 1:
            raise ValueError("an item needs 2 or more responses, or 0 for all")
        return self


class SimulateConfig(Document):
    """The size and the distributions of a simulated world of votes."""

    renamed: ClassVar[dict[str, str]] = {
        "model_spread": "model_sd",
        "interaction": "interaction_sd",
        "tails": "strength_distribution",
        "care": "discrimination_sd",
        "activity": "activity_sd",
        "lessons": "pretraining_videos",  # renamed
    }
    renamed_values: ClassVar[dict[str, dict[str, str]]] = {"strength_distribution": {"heavy": "heavy-tailed"}}

    prompts: Annotated[int, Field(ge=1)] = 450
    models: Annotated[int, Field(ge=2)] = 19
    annotators: Annotated[int, Field(ge=1)] = 120
    votes_per_pair: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0
    """Mean number of votes on each pair of each prompt, by different annotators. With 1.1 every pair has one vote and a
    random tenth of them a second one; below 1 some pairs have none. The total is exact. See also design."""
    model_sd: Annotated[float, Field(ge=0, le=100)] = 1.0
    """Standard deviation of the models' mean strengths, logits."""
    interaction_sd: Annotated[float, Field(ge=0, le=100)] = 1.0
    """Standard deviation of a response's strength around its model's mean, logits."""
    dependence: Dependence = "none"
    """How votes depend on more than strengths and annotators: two groups of annotators (60% and 40%) with strengths of
    their own (correlation .3; the true ones are the mean over annotators); attention that falls and a side bias that
    grows within shifts of 60 votes; prompts (20%) of which most annotators (60%) choose one side throughout; or a ring
    of accounts (10%), most of whose votes copy those of one of them."""
    strength_distribution: StrengthDistribution = "normal"
    """Distribution of both: normal, or heavy-tailed (Student's t with 3 degrees of freedom, scaled to the same standard
    deviation)."""
    link: Link = "logistic"
    """How a difference in strength affects votes: the logistic model, or "fixed-error": all differences are equally
    easy to see."""
    error: Annotated[float, Field(gt=0, le=0.5)] = 0.25
    """With the fixed-error link: the share of the decisive votes of a median honest annotator without side bias that go
    to the worse response."""
    design: Design = "balanced"
    """Which pairs get votes: all about equally many, or "adaptive": half of the votes go to pairs of responses that
    seem strong."""
    sittings_per_prompt: Annotated[int, Field(ge=0)] = 0
    """If above 0, votes are cast in sittings instead: so many annotators judge each prompt once, each all pairs of
    responses_per_sitting random responses; votes_per_pair and design do not apply."""
    responses_per_sitting: Annotated[int, Field(ge=2)] = 5
    """Number of responses that an annotator compares in a sitting."""
    perception_error: Annotated[float, Field(ge=0, le=100)] = 0.0
    """Standard deviation of an annotator's error in perceiving the strength of a response, logits."""
    perception_unit: PerceptionUnit = "sitting"
    """Whether all votes of an annotator on a prompt share these errors, or every vote has its own."""
    spammers: Annotated[float, Field(ge=0, le=1)] = 0.1
    """Share of annotators who vote without regard to the responses."""
    discrimination_sd: Annotated[float, Field(ge=0, le=5)] = 0.4
    """Standard deviation of the log discrimination of honest annotators."""
    activity_sd: Annotated[float, Field(ge=0, le=5)] = 1.0
    """Standard deviation of the log activity of annotators; at 0 all vote equally often."""
    ties: Annotated[float, Field(ge=0, le=0.99)] = 0.15
    """Share of ties between two equally strong responses."""
    left_bias: Annotated[float, Field(ge=-20, le=20)] = 0.15
    """Mean side bias of honest annotators, logits; its standard deviation is half of its size."""
    prompts_per_video: Annotated[int, Field(ge=1)] = 1
    """Number of consecutive prompts that share a video."""
    video: bool = False
    """Whether to write videos: short clips of moving shapes, with questions and right or wrong responses. A strength is
    then the value of the answer and of its wording: model_sd is the standard deviation of the models' log odds of a
    right answer, and interaction_sd / 5 that of the remainder. At most four prompts share a video."""
    shapes: Annotated[int, Field(ge=1, le=4)] = 4
    """Shapes in a video: one moves, one appears, the others stand still. With one shape there are three questions, and
    a small model from scratch learns the answers in minutes."""
    pretraining_videos: Annotated[int, Field(ge=0)] = 0
    """Number of additional videos without votes, with questions, responses and the right answers, for pretraining."""
    seed: Annotated[int, Field(ge=0)] = 0

    @model_validator(mode="after")
    def _check_votes_per_pair(self) -> SimulateConfig:
        if self.sittings_per_prompt:
            return self._check_sittings()
        if self.votes_per_pair > self.annotators:
            raise ValueError(
                f"votes_per_pair {self.votes_per_pair} needs more than {self.annotators} annotators: "
                "nobody votes twice on a pair"
            )
        return self

    def _check_sittings(self) -> SimulateConfig:
        if self.sittings_per_prompt > self.annotators:
            raise ValueError(
                f"{self.sittings_per_prompt} sittings per prompt need as many annotators, not {self.annotators}"
            )
        if self.responses_per_sitting > self.models:
            raise ValueError(
                f"{self.responses_per_sitting} responses per sitting need as many models, not {self.models}"
            )
        return self

    @model_validator(mode="after")
    def _check_video_options(self) -> SimulateConfig:
        if self.video and self.dependence == "taste-groups":
            raise ValueError("taste-groups do not go with video = true: strengths follow from the videos")
        if self.pretraining_videos and not self.video:
            raise ValueError("pretraining_videos needs video = true")
        questions = 4 if self.shapes > 1 else 3
        if self.video and self.prompts_per_video > questions:
            raise ValueError(f"prompts_per_video {self.prompts_per_video}: a video has {questions} questions")
        return self


class Settings(Document):
    """The project's own defaults, from curate.toml or [tool.curate] of pyproject.toml."""

    store: Path = Path("curate.duckdb")
    wait: Annotated[float, Field(ge=0)] = 0.0
    """Seconds to wait for a store that another process has open."""
    memory_limit: Annotated[str, Field(pattern=r"^[0-9]+(\.[0-9]+)? ?[KMGT]i?B$")] | None = None
    """Memory of DuckDB, such as "4GiB" (default: 1500 MiB); it writes what needs more to temporary files."""
    temporary_folder: Path | None = None
    """Where DuckDB writes temporary files. Default: beside the store."""
    ingest: IngestConfig = IngestConfig()
    denoise: DenoiseConfig = DenoiseConfig()
    export: ExportConfig = ExportConfig()
    simulate: SimulateConfig = SimulateConfig()
    engine: EngineConfig | None = None
