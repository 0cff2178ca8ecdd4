"""Documents of crowd mode: how people from a platform take part in a campaign, and how they are paid."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from schemas.base import Document
from schemas.campaign import Share

CrowdPlatform = Literal["prolific", "mturk", "link"]
"""Where participants come from. link: a plain link, with a code that each participant keeps."""
CrowdResult = Literal["completed", "screened_out", "stopped", "no_more_work"]
"""How a participation ended. screened_out: below the pass mark. stopped: by the quality thresholds. no_more_work: no
question was left before the quota."""
Money = Annotated[Decimal, Field(ge=0, decimal_places=2)]
"""An amount in the currency of the study."""
Code = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{4,64}$")]


class CompletionCodes(Document):
    """The code that a participant brings back to the platform, by result."""

    completed: Code
    screened_out: Code
    stopped: Code
    no_more_work: Code

    @model_validator(mode="after")
    def _distinct(self) -> CompletionCodes:
        if len(set(self.model_dump().values())) < 4:
            raise ValueError("two results have the same completion code")
        return self


class QualityBonus(Document):
    """A bonus for a completed participation with few errors; the highest one that is reached counts."""

    gold_accuracy: Share
    """Minimum share of control questions answered correctly; there must be thresholds.min_questions of them."""
    amount: Money


class PaymentConfig(Document):
    """What is paid, besides the rate per hour."""

    idle_seconds: Annotated[float, Field(gt=0, le=3600)] = 120.0
    """Time without any action that is paid at most, beyond the duration of a question's video."""
    paid: tuple[CrowdResult, ...] = ("completed", "no_more_work", "screened_out")
    """Results whose time is paid."""
    rewards: dict[CrowdResult, Money] = {}
    """What the platform pays by itself for a result; only the rest is paid as a bonus."""
    bonuses: tuple[QualityBonus, ...] = ()


class CrowdConfig(Document):
    """crowd.json: how a campaign is open to people of a platform. Written once by ``curate campaign open``."""

    platform: CrowdPlatform
    consent: Annotated[str, Field(min_length=1)]
    """Markdown; it must be accepted before anything else."""
    tutorial: str = ""
    """Markdown, shown before the practice questions; empty: the campaign's instructions."""
    qualification: Annotated[int, Field(ge=0, le=50)] = 0
    """Practice questions: control questions with feedback; 0: none."""
    pass_mark: Share = 0.8
    """Share of practice questions that must be answered correctly."""
    places: Annotated[int, Field(ge=0)] = 0
    """Maximum number of participants; 0: no limit."""
    codes: CompletionCodes
    payment: PaymentConfig = PaymentConfig()
    stand_in: str = ""
    """A loopback address that stands in for the platform's own, for a rehearsal; empty: the platform's."""

    @field_validator("stand_in")
    @classmethod
    def _on_this_machine(cls, value: str) -> str:
        parts = urlsplit(value)
        if value and (value != f"http://{parts.netloc}" or parts.hostname not in ("127.0.0.1", "localhost", "::1")):
            raise ValueError("not a loopback address such as http://127.0.0.1:9000")
        return value


class StudyLink(Document):
    """The result of ``curate campaign open``."""

    campaign: str
    platform: CrowdPlatform
    url: str
    """The study URL, with the platform's placeholders."""
    codes: CompletionCodes
    quota: int
    """Votes of one participant."""
    qualification: int
    places: int
    warnings: tuple[str, ...] = ()


class PaymentRow(Document):
    """What one participant gets in a payment batch."""

    participant: str
    """The pseudonym."""
    result: CrowdResult | Literal["unfinished"]
    votes: int
    hours: Decimal
    """Working time by the server's clock."""
    gold_accuracy: float | None
    """Share of control questions answered correctly; None without any."""
    time_amount: Money
    """hours × rate."""
    bonus: Money
    """For quality."""
    reward: Money
    """Paid by the platform itself."""
    paid_before: Money
    """In earlier batches."""
    amount: Money
    """To pay now."""
    approve: bool
    """Whether the platform's assignment is to be approved in this batch."""
    reasons: tuple[str, ...]


class PaymentBatch(Document):
    """One line of payments.jsonl."""

    batch: Annotated[int, Field(ge=1)]
    at: str
    """ISO 8601, UTC."""
    rate: Money
    """Per hour."""
    rows: tuple[PaymentRow, ...]

    @property
    def total(self) -> Decimal:
        """The sum of the amounts."""
        return sum((row.amount for row in self.rows), Decimal("0.00"))


class PaymentReport(Document):
    """The result of ``curate campaign pay``."""

    campaign: str
    platform: CrowdPlatform
    batch: PaymentBatch | None
    """None if nothing is due."""
    earlier: int
    """Batches before this one."""
    files: tuple[str, ...]
    """The files that were written."""
