"""The printed JSON of commands, checked against ``curate schema`` by the package jsonschema."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from typing import Any

from jsonschema import Draft202012Validator

from schemas.published import OUTPUTS, json_schema


def named(words: Sequence[str]) -> str:
    """The name of the schema of what a command prints. words: the command and its options."""
    plain = next(name for n in (2, 1) if (name := " ".join(words[:n])) in OUTPUTS)
    return next((name for word in words if (name := f"{plain} {word}") in OUTPUTS and word[0] == "-"), plain)


@cache
def validator(name: str) -> Draft202012Validator:
    """The validator of a file or an output, whose schema is checked itself."""
    schema = json_schema(name)
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


def assert_valid(name: str, text: str) -> Any:
    """Return the document of a text that fits the schema of ``name``."""
    document = json.loads(text)
    validator(name).validate(document)
    return document
