"""What managers can do with a campaign; each action is an event of its log."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter, model_validator

from schemas.base import Document
from schemas.campaign import CampaignConfig, Role

Names = Annotated[tuple[str, ...], Field(min_length=1, max_length=1000)]
FIXED = (
    "name",
    "votes",
    "votes_per_pair",
    "max_votes",
    "prompts",
    "criterion",
    "criteria",
    "undo_minutes",
    "reopen_stopped",
    "seed",
)
"""Settings that ``edit`` cannot change: the log depends on them, or ``extend`` and ``add`` change them."""


class Pause(Document):
    """Hand out no more questions; answers to open ones are accepted."""

    action: Literal["pause"] = "pause"


class Resume(Document):
    """Hand out questions again."""

    action: Literal["resume"] = "resume"


class Invite(Document):
    """Create secret links."""

    action: Literal["invite"] = "invite"
    names: Names
    role: Role = "annotator"


class Revoke(Document):
    """End secret links."""

    action: Literal["revoke"] = "revoke"
    names: Names


class Pardon(Document):
    """Let a stopped or warned annotator continue, judged by the votes from now on; the earlier votes count again."""

    action: Literal["pardon"] = "pardon"
    annotator: str


class Extend(Document):
    """Collect more votes: new limits, at least the present ones."""

    action: Literal["extend"] = "extend"
    votes: Annotated[int, Field(ge=1)] | None = None
    """Votes wanted in total."""
    max_votes: Annotated[int, Field(ge=0)] | None = None
    """Maximum per annotator; 0: no limit."""
    votes_per_pair: Annotated[int, Field(ge=1)] | None = None
    """Votes per pair: of the pairs of ``prompt``, else of all pairs, also future ones. The total grows accordingly."""
    prompt: str | None = None

    @model_validator(mode="after")
    def _something(self) -> Extend:
        if self.votes is None and self.max_votes is None and self.votes_per_pair is None:
            raise ValueError("give votes, max_votes or votes_per_pair")
        if self.prompt is not None and self.votes_per_pair is None:
            raise ValueError("votes_per_pair is missing: a prompt has no limit of its own")
        return self


class Edit(Document):
    """Change rules; votes that were given under the old ones stay valid."""

    action: Literal["edit"] = "edit"
    changes: Annotated[dict[str, Any], Field(min_length=1)]
    """Fields of CampaignConfig except FIXED, with new values; ``thresholds`` may name some of its fields only."""

    def of(self, config: CampaignConfig) -> CampaignConfig:
        """The changed config. Raises ValueError for an unknown or fixed field, and for an invalid value."""
        fixed = [key for key in self.changes if key in FIXED or key not in CampaignConfig.model_fields]
        if fixed:
            raise ValueError(f"{fixed[0]} cannot be edited")
        values = config.model_dump() | self.changes
        if isinstance(thresholds := self.changes.get("thresholds"), dict):
            values["thresholds"] = config.thresholds.model_dump() | thresholds
        return CampaignConfig.model_validate(values)


class Retire(Document):
    """Ask no more questions about prompts; their votes stay."""

    action: Literal["retire"] = "retire"
    prompts: Names
    reason: str = ""


class Add(Document):
    """Ask about prompts: retired ones again, or others of the store."""

    action: Literal["add"] = "add"
    prompts: Names


class Reset(Document):
    """Forget skips and load errors of prompts: those who skipped may get the questions again."""

    action: Literal["reset"] = "reset"
    prompts: Names


Action = Pause | Resume | Invite | Revoke | Pardon | Extend | Edit | Retire | Add | Reset
ACTION: TypeAdapter[Action] = TypeAdapter(Annotated[Action, Field(discriminator="action")])


class Order(Document):
    """An action with who wants it; a file of the campaign's orders/ until the page has done it."""

    by: str
    action: Annotated[Action, Field(discriminator="action")]
