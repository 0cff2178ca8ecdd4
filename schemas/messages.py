"""What is wrong with a document, in plain words: the messages of pydantic without its terms and regular expressions."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

MESSAGES = {
    "extra_forbidden": "unknown key",
    "missing": "is missing",
    "literal_error": "expected {expected}, not {given}",
    "greater_than_equal": "expected {ge} or more, not {given}",
    "greater_than": "expected more than {gt}, not {given}",
    "less_than_equal": "expected {le} or less, not {given}",
    "less_than": "expected less than {lt}, not {given}",
    "too_short": "expected at least {min_length}, not {actual_length}",
    "too_long": "expected at most {max_length}, not {actual_length}",
    "string_too_short": "expected {min_length} or more characters, not {given}",
    "string_too_long": "expected at most {max_length} characters, not {given}",
    "finite_number": "expected a finite number, not {given}",
    "value_error": "{error}",
}
"""Type of an error of pydantic -> message."""
KINDS = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "string": "a text",
    "path": "a path",
    "tuple": "a list",
    "list": "a list",
    "dict": "a table",
    "model": "a table",
}
"""First word of the type of an error on a value of another kind -> what was expected."""
PATTERNS = {
    r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$": "1 to 64 letters, digits and . _ -, the first a letter or digit",
    r"^\w[\w.-]{0,63}$": "1 to 64 letters, digits and . _ -, the first none of . -",
    r"^[a-z0-9][a-z0-9._-]*$": "lowercase letters, digits and . _ -, the first a letter or digit",
    r"^(\d+\.\d+\.\d+|next)?$": "a number such as 1.0.0, or next",
    r"^[a-z]{2,3}$": "a code of a language such as en",
    r"^([\w.-]+/[\w.-]+)?$": "OWNER/NAME",
    r"^(\d{4}-\d{2}-\d{2})?$": "a date such as 2026-01-31",
    r"^[A-Za-z0-9_-]{4,64}$": "4 to 64 letters, digits and _ -",
    r"^[A-Za-z0-9_-]+$": "letters, digits and _ -",
    r"^[0-9]+(\.[0-9]+)? ?[KMGT]i?B$": "a number and a unit such as 4GiB",
}
"""Pattern of a field -> its meaning."""


def problem(error: ValidationError) -> tuple[tuple[int | str, ...], str]:
    """Return the place of the first problem, as keys and positions, and what is wrong there.

    >>> from schemas.campaign import QualityThresholds
    >>> try:
    ...     QualityThresholds(patience=0)
    ... except ValidationError as error:
    ...     problem(error)
    (('patience',), 'expected 1 or more, not 0')
    """
    found = error.errors()
    first: Any = found[0]
    place = tuple(part for part in first["loc"] if part != "[key]")
    alternatives = [one for one in found if one["loc"][: len(place) - 1] == place[:-1] and one["loc"] != first["loc"]]
    if place and alternatives and all(one["type"].endswith(("_type", "_parsing")) for one in (first, alternatives[0])):
        return place[:-1], "has none of the accepted forms"
    given = repr(first["input"])
    given = given if len(given) <= 60 else given[:59] + "…"
    kind = KINDS.get(first["type"].partition("_")[0])
    if first["type"] == "string_pattern_mismatch":
        meant = PATTERNS.get(first["ctx"]["pattern"], "another text")
        return place, f"expected {meant}, not {given}"
    if kind and first["type"].endswith(("_type", "_parsing", "_from_float")):
        return place, f"expected {kind}, not {given}"
    values = {"given": given, **first.get("ctx", {})}
    return place, MESSAGES.get(first["type"], first["msg"].replace("{", "{{").replace("}", "}}")).format(**values)


def described(error: ValidationError) -> str:
    """Return ``key: what is wrong`` of the first problem."""
    place, what = problem(error)
    return f"{'.'.join(map(str, place))}: {what}" if place else what
