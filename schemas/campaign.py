"""A campaign's documents: what is asked of whom, what a page shows and sends back, and how annotators stand."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from schemas.base import Document
from schemas.plan import Focus
from schemas.release import Funnel
from schemas.votes import Outcome

Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Role = Literal["annotator", "manager"]
Standing = Literal["ok", "warned", "stopped"]
"""warned: below a bar, and told so. stopped: still below it after `patience` more votes; is asked nothing more."""
Kind = Literal["vote", "gold", "attention"]
"""What a question is for: a vote; one whose answer is known; one whose text says what to answer."""


class QualityBars(Document):
    """Below which bar an annotator is warned, and stopped where that does not help."""

    gold_accuracy: Share = 0.6
    """Share of known answers that they gave."""
    seconds: Annotated[float, Field(ge=0)] = 2.0
    """Median time on a question."""
    agreement: Share = 0.0
    """Share of their decided votes that others' majority on the same pair agrees with."""
    side_bias: Share = 0.9
    """Share of their decided votes on one side, at most."""
    least: Annotated[int, Field(ge=1)] = 5
    """Questions of a kind (known answers; votes) from which it is judged."""
    patience: Annotated[int, Field(ge=1)] = 10
    """Votes after a warning until they are stopped, if they are still below."""


class CampaignConfig(Document):
    """What a campaign asks, of how many, and under which rules."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
    title: str = ""
    instructions: str = ""
    """Markdown, shown before the first question and at any time after."""
    votes: Annotated[int, Field(ge=1)]
    """Votes wanted in all."""
    votes_per_pair: Annotated[int, Field(ge=1)] = 1
    """Votes wanted on a pair, each another annotator's."""
    batch: Annotated[int, Field(ge=1)] = 500
    """Votes that the planner chooses at a time, from all votes so far."""
    focus: Focus = "order"
    prompts: tuple[str, ...] = ()
    """Ask about these only (all when empty)."""
    pairs_per_video: Annotated[int, Field(ge=1, le=20)] = 4
    """Pairs asked in one viewing of a video, at most."""
    gold_share: Share = 0.1
    """Share of questions whose answer is known."""
    attention_share: Share = 0.02
    """Share of questions whose text says what to answer."""
    min_watched: Share = 0.0
    """Share of the video that must have been played before a vote on it is taken."""
    lease_minutes: Positive = 30.0
    """A question that is not answered within goes to someone else."""
    undo_minutes: Annotated[float, Field(ge=0)] = 10.0
    """How long the last vote can be taken back; ingest reads it after that, or once the annotator has gone on."""
    break_minutes: Annotated[float, Field(ge=0)] = 45.0
    """After so long without a pause the page reminds of one; 0: never."""
    max_votes: Annotated[int, Field(ge=0)] = 0
    """Votes of one annotator, at most; 0: no limit."""
    ask_reason: bool = False
    """Whether the page offers a field for the reason."""
    ask_confidence: bool = False
    """Whether the page asks how sure they are (1 guess, 2 rather, 3 sure)."""
    bars: QualityBars = QualityBars()
    reopen_stopped: bool = True
    """Whether pairs are asked again where votes of someone who was stopped were counted; the votes themselves stay."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Of sides, order and where known answers stand."""

    @model_validator(mode="after")
    def _mostly_votes(self) -> CampaignConfig:
        if self.gold_share + self.attention_share > 0.5:
            raise ValueError("gold_share and attention_share together take more than half of the questions")
        return self


class Task(Document):
    """A pair that is asked, or a question whose answer is known. One line of tasks/*.jsonl; no side is drawn yet."""

    task_id: str
    kind: Kind = "vote"
    prompt_id: str
    question: str
    video: str
    """The name of its file below the campaign's media/; empty where there is none."""
    video_seconds: float | None = None
    """How long that is; None for an image, or where there is none."""
    first: str
    """Response id."""
    second: str
    first_text: str
    second_text: str
    answer: Literal["first", "second", "tie", "both_bad"] | None = None
    """What is known to be right; None for a vote. It never leaves the server."""
    quota: Annotated[int, Field(ge=1)] = 1
    """Votes wanted; for a question whose answer is known it says nothing: nobody is asked it twice."""


class Question(Document):
    """A pair as one annotator sees it: nothing here tells a vote from a question whose answer is known."""

    question_id: str
    """Random-looking, one for each lease; what a ballot names."""
    question: str
    left_text: str
    right_text: str


class Sheet(Document):
    """What one annotator holds now: the open questions on one video, in order."""

    sheet_id: str
    video: str
    """Name below media/; empty where there is none."""
    video_seconds: float | None
    kind: Literal["video", "image", "none"]
    questions: tuple[Question, ...]
    expires: str
    """ISO 8601, UTC."""


class Ballot(Document):
    """What a page sends: one answer."""

    question_id: Annotated[str, Field(max_length=64)]
    vote_id: Annotated[str, Field(min_length=8, max_length=64, pattern=r"^[A-Za-z0-9_-]+$")]
    """Made by the page, anew for each answer: the same ballot sent twice counts once."""
    outcome: Outcome
    seconds: Annotated[float, Field(ge=0, le=86_400, allow_inf_nan=False)]
    """On this question, with the page in view."""
    watched: Share = 0.0
    """Share of the video played so far, each part counted once."""
    reason: Annotated[str, Field(max_length=2_000)] = ""
    confidence: Annotated[int, Field(ge=1, le=3)] | None = None


class Refusal(Document):
    """Why a ballot, an undo or a skip was not taken; nothing was stored."""

    code: Literal["expired", "unwatched", "stopped", "closed", "unknown", "nothing-to-undo", "disk-full", "full"]
    message: str
    """For the annotator, with what to do next."""


class Desk(Document):
    """What an annotator's page shows: the rules, their own progress, and what they hold."""

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
    """Theirs so far, known answers and attention checks included."""
    goal: int
    """Theirs at most (max_votes), or an equal share of what the campaign wants; their votes once all are in; 0: not
    known."""
    standing: Standing
    message: str
    """A warning, or why they are stopped; empty where they stand well."""
    can_undo: bool
    closed: bool
    sheet: Sheet | None
    """None where nothing is left to ask them."""


class AnnotatorStatus(Document):
    """One annotator, live. Figures that rest on nothing are None."""

    annotator: str
    invited: str
    """When, ISO 8601 UTC."""
    revoked: bool
    standing: Standing
    reasons: tuple[str, ...]
    """Below which bars, in words."""
    votes: int
    skips: int
    undone: int
    gold: int
    """Known answers asked (attention checks included)."""
    gold_right: float | None
    seconds: float | None
    """Median on a question."""
    left: float | None
    """Share of decided votes for the left side."""
    agreement: float | None
    """Share of decided votes that the others' majority on the pair agrees with."""
    agreement_on: int
    """Of so many votes."""
    watched: float | None
    """Mean share of the video played."""
    open: int
    """Questions they hold now."""
    last: str | None
    """When they last did something, ISO 8601 UTC."""


class CampaignStatus(Document):
    """A campaign, live."""

    campaign: str
    folder: str
    closed: bool
    wanted: int
    """Votes wanted in all."""
    votes: int
    """On pairs, without known answers and attention checks, and without those set aside."""
    set_aside: int = 0
    """Votes on pairs of annotators who were stopped: others are asked for them. outcomes and left have them too."""
    open: int
    """Pairs handed out and not answered."""
    planned: int
    """Votes that batches so far ask for."""
    pairs: int
    """On so many pairs."""
    prompts: int
    batches: int
    skips: int
    outcomes: dict[str, int]
    left: float | None
    """Share of decided votes for the left side."""
    median_seconds: float | None
    gold_right: float | None
    annotators: tuple[AnnotatorStatus, ...]
    warnings: tuple[str, ...]


class CampaignFile(Document):
    """campaign.json: what a campaign is, for good. Written once."""

    format: Literal[1] = 1
    campaign_id: str
    """8 hex digits of its config and of what it asks first: what the ids of its votes begin with."""
    config: CampaignConfig
    store: str
    """Of the votes that the planner chooses by; a path from the campaign's folder."""


class MediaLine(Document):
    """One line of media.jsonl: a video or image of the store's, and the file that a browser is given."""

    video: str
    """As the prompts name it."""
    file: str
    """Below media/; empty where it is refused."""
    kind: Literal["video", "image", "none"]
    seconds: float | None
    how: Literal["copied", "transcoded", "refused"]
    reason: str = ""
    """Why it is refused."""


class Invitation(Document):
    """A secret link, told once."""

    name: str
    role: Role
    link: str


class CampaignReport(Document):
    """A campaign that was made."""

    folder: str
    campaign: str
    campaign_id: str
    store: str
    funnel: Funnel
    """Videos to files that a browser plays, prompts to those that can be asked."""
    refused: dict[str, str]
    """Video -> why it is not shown; its prompts are not asked."""
    wanted: int
    batch_votes: int
    """Votes that the first batch asks for."""
    batch_pairs: int
    gold: int
    """Questions whose answer is known."""
    gold_from: str
    """Where these come from, in words."""
    attention: int
    warnings: tuple[str, ...]
