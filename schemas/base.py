"""The base of every document we read or write: frozen, and strict about unknown keys."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Document(BaseModel):
    """A frozen pydantic model that refuses unknown keys, so that a misspelt option is an error, not a silence."""

    model_config = ConfigDict(frozen=True, extra="forbid")
