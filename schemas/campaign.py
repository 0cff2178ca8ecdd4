"""A campaign's documents: configuration, tasks, what the page shows and sends, and the status."""

from __future__ import annotations

from collections import Counter
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from schemas.base import Document
from schemas.choices import Focus
from schemas.release import Funnel
from schemas.votes import Outcome

Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Role = Literal["annotator", "manager"]
Language = Literal["", "ar", "de", "en"]
QualityStatus = Literal["ok", "warned", "stopped"]
"""An annotator's status. warned: below a quality threshold. stopped: still below it after `patience` more votes; gets
no more questions."""
QuestionKind = Literal["vote", "gold", "attention"]
"""vote: a pair to vote on. gold: a control question. attention: one whose text states the answer."""


class QualityThresholds(Document):
    """An annotator below one of these thresholds is warned, and stopped if it does not improve."""

    renamed = {"least": "min_questions", "seconds": "min_seconds", "side_bias": "max_side_share"}

    gold_accuracy: Share = 0.6
    """Minimum share of control questions answered correctly."""
    min_seconds: Annotated[float, Field(ge=0)] = 2.0
    """Minimum median time per question, seconds."""
    agreement: Share = 0.0
    """Minimum share of decisive votes that agree with the majority of the others on the same pair; 0: not checked."""
    max_side_share: Share = 0.9
    """Maximum share of decisive votes for one side."""
    min_questions: Annotated[int, Field(ge=1)] = 5
    """Questions of the kind concerned (control questions; votes) before a threshold applies."""
    patience: Annotated[int, Field(ge=1)] = 10
    """Votes after a warning until the annotator is stopped, if still below a threshold."""


class Criterion(Document):
    """A question that is asked about every pair; each has a vote of its own."""

    id: Annotated[str, Field(pattern=r"^\w[\w.-]{0,63}$")]
    """Stored with each vote; ``--criterion`` names it."""
    question: Annotated[str, Field(min_length=1, max_length=300)]
    """Such as "Which answer is more accurate?"."""
    translations: dict[Language, Annotated[str, Field(min_length=1, max_length=300)]] = {}
    """Language of the page -> the question in it."""

    def text(self, language: str) -> str:
        """The question in a language of the page, if it is translated."""
        return {str(name): text for name, text in self.translations.items()}.get(language, self.question)


class WithCriteria(Document):
    """A document that is stored without its field on criteria where a campaign has none, as by earlier versions."""

    of_criteria: ClassVar[str]
    """The field."""

    @model_serializer(mode="wrap")
    def _without_unused(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {name: value for name, value in dump(self).items() if value or name != self.of_criteria}


class CampaignConfig(WithCriteria):
    """The settings of a campaign."""

    of_criteria = "criteria"
    renamed = {"bars": "thresholds"}

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
    title: str = ""
    instructions: str = ""
    """Markdown, shown before the first question and on request."""
    votes: Annotated[int, Field(ge=1)]
    """Votes wanted in total."""
    votes_per_pair: Annotated[int, Field(ge=1)] = 1
    """Votes per pair, each from another annotator."""
    batch: Annotated[int, Field(ge=1)] = 500
    """Votes that the planner chooses at a time, from all votes so far."""
    focus: Focus = "order"
    prompts: tuple[str, ...] = ()
    """Ask only about these prompts (empty: all)."""
    criterion: str = ""
    """Choose pairs by the votes of this criterion; needed if the votes of the store are by several. With ``criteria``,
    each batch is chosen by the votes of another one, in turns, unless one is given here."""
    criteria: Annotated[tuple[Criterion, ...], Field(max_length=8)] = ()
    """Questions about every pair, in the order in which they are asked; empty: one, without a criterion."""
    pairs_per_video: Annotated[int, Field(ge=1, le=20)] = 4
    """Maximum number of pairs on one sheet."""
    gold_share: Share = 0.1
    """Share of questions with a known answer."""
    attention_share: Share = 0.02
    """Share of attention checks."""
    min_watched: Share = 0.0
    """Share of the video that must be played before a vote is accepted."""
    lease_minutes: Positive = 30.0
    """Time to answer a question before it goes to someone else; it starts again when the question's sheet begins."""
    sheets_ahead: Annotated[int, Field(ge=0, le=10)] = 1
    """Sheets that an annotator gets ahead of the current one, so that the page loads their videos in advance and works
    offline until their end. They come back like all others where nobody answers them."""
    undo_minutes: Annotated[float, Field(ge=0)] = 10.0
    """Time in which the last vote can be undone; ingest reads the vote after that, or after the next vote."""
    break_minutes: Annotated[float, Field(ge=0)] = 45.0
    """Time without a pause after which the page suggests a break; 0: never."""
    max_votes: Annotated[int, Field(ge=0)] = 0
    """Maximum number of votes of one annotator; 0: no limit."""
    ask_reason: bool = False
    """Whether the page has a field for the reason of a vote."""
    ask_confidence: bool = False
    """Whether the page asks for the confidence of a vote (1 guess, 2 fairly sure, 3 certain)."""
    thresholds: QualityThresholds = QualityThresholds()
    reopen_stopped: bool = True
    """Whether pairs are handed out again for the votes of stopped annotators; the votes themselves are kept."""
    answers: Literal["markdown", "text"] = "markdown"
    """How answers are shown: their Markdown as headings, lists, tables and emphasis, or every character as it is."""
    language: Language = ""
    """Language of the voting page; empty: that of each annotator's browser, if the page has it, else English."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Seed of sides, order and positions of control questions."""

    @model_validator(mode="after")
    def _mostly_votes(self) -> CampaignConfig:
        if self.gold_share + self.attention_share > 0.5:
            raise ValueError("gold_share and attention_share together exceed half of the questions")
        twice = [name for name, count in Counter(self.criterion_ids).items() if count > 1]
        if twice:
            raise ValueError(f"criteria: several have the id {twice[0]!r}")
        return self

    @property
    def criterion_ids(self) -> tuple[str, ...]:
        """The criteria by which each pair is asked; one, "", without any."""
        return tuple(one.id for one in self.criteria) or ("",)

    def question_of(self, criterion: str, language: str = "") -> str:
        """The question of a criterion; empty for none."""
        return next((one.text(language) for one in self.criteria if one.id == criterion), "")


class Task(WithCriteria):
    """A pair to vote on or a control question, before sides are drawn. One line of tasks/*.jsonl and gold.jsonl.

    With criteria, a pair has one task for each, and so has a control question.
    """

    of_criteria = "criterion"

    task_id: str
    kind: QuestionKind = "vote"
    prompt_id: str
    question: str
    video: str
    """Name of the file in the campaign's media/; empty without a video."""
    video_seconds: float | None = None
    """Duration; None for an image or without a video."""
    first: str
    """Response id."""
    second: str
    first_text: str
    second_text: str
    answer: Literal["first", "second", "tie", "both_bad"] | None = None
    """The known answer; None for a vote, and by a criterion for which it is unknown: that answer of a control question
    is a vote. It never leaves the server."""
    quota: Annotated[int, Field(ge=1)] = 1
    """Votes wanted; ignored for a control question, which every annotator gets at most once."""
    criterion: str = ""
    """The criterion of this task; empty in a campaign without criteria."""


class Question(Document):
    """A pair as one annotator sees it. Nothing in it distinguishes a vote from a control question."""

    question_id: str
    """Pseudo-random, one per lease; a ballot refers to it."""
    question: str
    criterion: str = ""
    """The criterion by which the answers are compared; empty in a campaign without criteria."""
    left_text: str
    right_text: str


class Sheet(Document):
    """The open questions on one video that an annotator holds, in order."""

    sheet_id: str
    video: str
    """Name in media/; empty without a video."""
    video_seconds: float | None
    kind: Literal["video", "image", "none"]
    questions: tuple[Question, ...]
    expires: str
    """ISO 8601, UTC."""


class Ballot(Document):
    """The answer that the page sends."""

    question_id: Annotated[str, Field(max_length=64)]
    vote_id: Annotated[str, Field(min_length=8, max_length=64, pattern=r"^[A-Za-z0-9_-]+$")]
    """Generated by the page for each answer; a ballot that is sent twice counts once."""
    outcome: Outcome
    seconds: Annotated[float, Field(ge=0, le=86_400, allow_inf_nan=False)]
    """Time on this question while the page was visible; the server's own time is an upper bound."""
    watched: Share = 0.0
    """Share of the video played so far, each part counted once."""
    reason: Annotated[str, Field(max_length=2_000)] = ""
    confidence: Annotated[int, Field(ge=1, le=3)] | None = None


class Refusal(Document):
    """Why a ballot, an undo or a skip was refused; nothing was stored."""

    code: Literal[
        "expired", "unwatched", "too-fast", "stopped", "closed", "unknown", "nothing-to-undo", "disk-full", "full"
    ]
    message: str
    """For the annotator, with what to do next."""


class AnnotatorView(Document):
    """What the page shows to one annotator: rules, progress and open questions."""

    campaign: str
    title: str
    instructions: str
    """Markdown."""
    annotator: str
    ask_reason: bool
    ask_confidence: bool
    min_watched: float
    break_minutes: float
    votes: int
    """Votes of the annotator so far, control questions included."""
    goal: int
    """max_votes, or an equal share of the campaign's questions; the annotator's votes once all are collected; 0 if
    unknown."""
    status: QualityStatus
    message: str
    """A warning, or why the annotator is stopped; else empty."""
    can_undo: bool
    closed: bool
    language: str = ""
    """Of the page; empty: the browser's."""
    criteria: tuple[Criterion, ...] = ()
    can_finish: bool = False
    """Whether someone from a crowd can end the participation now."""
    sheet: Sheet | None
    """None if no question is left for the annotator."""
    ahead: tuple[Sheet, ...] = ()
    """The sheets after it that the annotator holds already, in order: the page loads their videos in advance."""


class AnnotatorStatus(Document):
    """The progress and quality figures of one annotator; figures without data are None."""

    renamed = {
        "standing": "status",
        "gold_right": "gold_accuracy",
        "seconds": "median_seconds",
        "left": "left_share",
        "agreement_on": "compared",
        "last": "last_active",
    }

    annotator: str
    invited: str
    """ISO 8601, UTC."""
    revoked: bool
    status: QualityStatus
    reasons: tuple[str, ...]
    """The quality thresholds that are violated, as texts."""
    votes: int
    skips: int
    undone: int
    gold: int
    """Control questions answered, attention checks included."""
    gold_accuracy: float | None
    median_seconds: float | None
    """Median time per question: the claimed one, but at most the server's."""
    claimed_seconds: float | None = None
    """Median of the times that the page claimed."""
    excess_claims: int = 0
    """Votes whose claimed time exceeds the server's by more than a second."""
    too_fast: int = 0
    """Questions with a vote that was refused because it was faster than the video can be played."""
    left_share: float | None
    """Share of decisive votes for the left side."""
    agreement: float | None
    """Share of decisive votes that agree with the majority of the others on the pair."""
    compared: int
    """Votes that the agreement is computed from."""
    watched: float | None
    """Mean share of the video played."""
    open: int
    """Questions that the annotator holds."""
    last_active: str | None
    """Time of the last action, ISO 8601 UTC."""


class SkipReason(Document):
    """How often questions on a video were skipped for a reason."""

    reason: str
    video: str
    """Name in media/; the prompt's id without one."""
    skips: int


class VideoProblem(Document):
    """A video, image or prompt that annotators had problems with."""

    video: str
    """Name in media/; the prompt's id without one."""
    prompts: tuple[str, ...]
    """The prompts that share it, at most 20."""
    skips: int
    reasons: dict[str, int]
    """Reason -> skips."""
    load_errors: int
    """Annotators whose browser could not load it."""


class PromptCoverage(Document):
    """The votes of one prompt."""

    prompt_id: str
    pairs: int
    votes: int
    wanted: int
    """Votes that its pairs are to get."""
    retired: bool


class HourVotes(Document):
    """Votes within one hour, control questions included."""

    hour: str
    """Its start, ISO 8601 UTC."""
    votes: int


class CampaignStatus(Document):
    """The status of a campaign."""

    renamed = {"set_aside": "excluded", "left": "left_share", "gold_right": "gold_accuracy"}

    campaign: str
    folder: str
    closed: bool
    paused: bool = False
    rules: CampaignConfig | None = None
    """The present settings."""
    wanted: int
    """Votes wanted in total."""
    votes: int
    """Votes on pairs, without control questions and excluded votes."""
    excluded: int = 0
    """Votes of stopped annotators that are collected again from others; outcomes and left_share include them."""
    open: int
    """Pairs that are handed out and not answered."""
    planned: int
    """Votes that the batches so far ask for."""
    pairs: int
    """Pairs of these batches."""
    prompts: int
    batches: int
    skips: int
    skip_reasons: tuple[SkipReason, ...] = ()
    """The most frequent ones first, at most 20."""
    problems: tuple[VideoProblem, ...] = ()
    """Skips and load errors by video, the most first, at most 50."""
    coverage: tuple[PromptCoverage, ...] = ()
    """The prompts that lack most votes first, at most 200."""
    hourly: tuple[HourVotes, ...] = ()
    """The last 24 hours with votes."""
    last_hour: int = 0
    """Votes within the last 60 minutes."""
    criteria: dict[str, int] = {}
    """Votes by criterion; empty in a campaign without criteria."""
    outcomes: dict[str, int]
    left_share: float | None
    """Share of decisive votes for the left side."""
    median_seconds: float | None
    gold_accuracy: float | None
    annotators: tuple[AnnotatorStatus, ...]
    warnings: tuple[str, ...]


class CampaignFile(Document):
    """campaign.json: the identity and settings of a campaign. Written once."""

    format: Literal[1] = 1
    campaign_id: str
    """8 hex digits, a hash of the config and the first tasks; the prefix of the ids of its votes."""
    config: CampaignConfig
    store: str
    """The store that the planner reads; a path relative to the campaign's folder."""

    @model_validator(mode="before")
    @classmethod
    def _of_an_earlier_version(cls, values: Any) -> Any:
        """A running campaign of a version without ``answers`` shows them as it has begun."""
        config = values.get("config") if isinstance(values, dict) else None
        return {**values, "config": {"answers": "text", **config}} if isinstance(config, dict) else values


class MediaLine(Document):
    """One line of media.jsonl: a video or image of the store, and the file that browsers get."""

    video: str
    """Its name in the prompts."""
    file: str
    """Name in media/; empty if refused."""
    kind: Literal["video", "image", "none"]
    seconds: float | None
    how: Literal["copied", "transcoded", "refused"]
    reason: str = ""
    """Why it is refused."""


class LogFinding(Document):
    """A line of a campaign's log that is not as curate wrote it, or a gap."""

    line: int
    """Its number in the file; of a gap, the line that follows; 0: somewhere before the chain began."""
    kind: Literal["damaged", "edited", "missing", "reordered", "duplicate"]
    """damaged: not an event. edited: an event with another mac. missing: events that no line holds. reordered: after a
    later event. duplicate: a second time."""
    seq: int
    """The event concerned: of a gap, the first one; 0 if unknown."""
    through: int
    """Of a gap, the last event; else equal to seq."""
    about: str


class LogCheck(Document):
    """The result of ``curate campaign check`` and ``repair``."""

    log: str
    lines: int
    chained: int
    """Lines with a mac, whose changes are found one by one; 0 for a log of an earlier version."""
    findings: tuple[LogFinding, ...]
    quarantine: str = ""
    """Of ``repair``: the file that the affected lines were moved to."""


class Invitation(Document):
    """A secret link; it is printed once and never stored."""

    name: str
    role: Role
    link: str


class CampaignReport(Document):
    """The result of ``curate campaign create``."""

    renamed = {"gold_from": "gold_source"}

    folder: str
    campaign: str
    campaign_id: str
    store: str
    funnel: Funnel
    """From videos to files that browsers play, and from prompts to those that can be asked."""
    refused: dict[str, str]
    """Video -> why it cannot be shown; its prompts are not asked."""
    wanted: int
    batch_votes: int
    """Votes that the first batch asks for."""
    batch_pairs: int
    gold: int
    """Control questions with a known answer."""
    gold_source: str
    """The gold file, "denoise" or "none"."""
    attention: int
    """Attention checks."""
    warnings: tuple[str, ...]
