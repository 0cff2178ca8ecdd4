"""What the page sends besides ballots."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from schemas.base import Document


class Nothing(Document):
    """{}: who asks is all that is to know."""


class Skip(Document):
    """A question given back."""

    question_id: Annotated[str, Field(max_length=64)]
    reason: Annotated[str, Field(min_length=1, max_length=500)]
