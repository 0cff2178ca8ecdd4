"""The base class of every document we read or write: frozen, strict about unknown keys, tolerant of renamed ones."""

from __future__ import annotations

from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, ValidationInfo, model_validator

from schemas.errors import warn_renamed as warn_renamed

_STORED = {"stored": True}
"""Validation context of documents that an earlier version may have written: their old names are no mistake."""


class Document(BaseModel):
    """A frozen pydantic model that rejects unknown keys, so that a misspelt option is an error.

    A subclass lists renamed fields in ``renamed`` (old name -> new name). For one version the old name still works: as
    a key of the input (with a FutureWarning), as an attribute (with a FutureWarning), and as an extra key of the JSON
    that commands print (``with_old_names``).

    >>> class Report(Document):
    ...     renamed = {"mended": "recovered"}
    ...     recovered: int
    >>> Report(recovered=3).with_old_names() == {"recovered": 3, "mended": 3}  # renamed
    True
    """

    model_config = ConfigDict(frozen=True, extra="forbid", json_schema_serialization_defaults_required=True)

    renamed: ClassVar[dict[str, str]] = {}
    """Old name -> new name of each field that was renamed in this version."""
    renamed_values: ClassVar[dict[str, dict[str, str]]] = {}
    """Field -> {old value -> new value} of the choices that were renamed in this version."""

    @classmethod
    def from_stored(cls, stored: object) -> Self:
        """Return the document that a store or folder holds, as JSON text or as values; old names do not warn."""
        if isinstance(stored, str | bytes):
            return cls.model_validate_json(stored, context=_STORED)
        return cls.model_validate(stored, context=_STORED)

    @model_validator(mode="before")
    @classmethod
    def _accept_old_names(cls, values: Any, info: ValidationInfo) -> Any:
        if not isinstance(values, dict):
            return values
        warn = info.context != _STORED
        found = dict(values)
        for old, new in cls.renamed.items():
            if old in found:
                value = found.pop(old)
                if new not in found:
                    if warn:
                        warn_renamed(old, new)
                    found[new] = value
        for field, choices in cls.renamed_values.items():
            value = found.get(field)
            if isinstance(value, str) and value in choices:
                if warn:
                    warn_renamed(value, choices[value])
                found[field] = choices[value]
        return found

    def __getattr__(self, name: str) -> Any:
        if name in type(self).renamed:
            warn_renamed(name, type(self).renamed[name])
            return getattr(self, type(self).renamed[name])
        return super().__getattr__(name)  # type: ignore[misc]

    def with_old_names(self) -> dict[str, Any]:
        """The document as JSON values, each renamed field under its old name as well."""
        plain = self.model_dump(mode="json")
        nested = {name: _nested(getattr(self, name), plain[name]) for name in plain}
        return {**nested, **{old: nested[new] for old, new in type(self).renamed.items()}}


def _nested(value: Any, plain: Any) -> Any:
    """``plain``, the JSON of ``value``, in which every document has its old names as well."""
    if isinstance(value, Document):
        return value.with_old_names()
    if isinstance(value, dict):
        return {key: _nested(item, plain[str(key)]) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [_nested(item, one) for item, one in zip(value, plain, strict=True)]
    return plain
