"""What is not kept of people: their ids become keyed pseudonyms; addresses and names go, and are counted.

A pseudonym is HMAC-SHA256 of the id under a secret key (RFC 2104): the same person under the same key is the same
pseudonym whatever the file, and nobody without the key can tell who it is, nor try out a list of ids.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import polars as pl

IPS, EMAILS, NAMES = "IP addresses", "e-mail addresses", "names and phone numbers"
EMAIL = r"[A-Za-z0-9._%+\-]+@[A-Za-z0-9\-]+(?:\.[A-Za-z0-9\-]+)*\.[A-Za-z]{2,}"
_BYTE = r"(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
_HEX = r"[0-9A-Fa-f]{1,4}"
IP = rf"(?:{_BYTE}\.){{3}}{_BYTE}|\b(?:{_HEX}:){{7}}{_HEX}\b|\b(?:{_HEX}:){{1,6}}(?::{_HEX}){{1,6}}\b"
VALUES = {EMAILS: (EMAIL, "[e-mail address]"), IPS: (IP, "[IP address]")}
"""Kind -> (what it looks like, what stands in its place)."""
PERSONAL = {
    IPS: re.compile(r"(?:^|_)ip(?:v[46])?(?:_?addr(?:ess)?)?$|^remote_addr$"),
    EMAILS: re.compile(r"(?:^|_)e?_?mail(?:_?address)?$"),
    NAMES: re.compile(r"(?:^|_)(?:first|last|full|sur|user)_?name$|(?:^|_)phone(?:_number)?$"),
}
"""Kind -> the columns that hold nothing else, by the last part of their name."""


@dataclass(frozen=True)
class Pseudonyms:
    """Pseudonyms under one key."""

    key: bytes

    def of(self, person: str) -> str:
        """``p-`` and 12 letters and digits, 60 bits. Spelling of an e-mail address does not matter."""
        spelled = person.strip()
        if re.fullmatch(EMAIL, spelled):
            spelled = spelled.lower()
        digest = hmac.new(self.key, spelled.encode(), hashlib.sha256).digest()
        return "p-" + base64.b32encode(digest)[:12].decode().lower()

    def mapped(self, people: pl.Series) -> pl.Series:
        """(n,) the pseudonyms of n people; null where nobody is named."""
        named = people.drop_nulls().unique()
        table = {person: self.of(person) if person.strip() else None for person in named}
        return people.replace_strict(table, default=None, return_dtype=pl.String)

    @property
    def fingerprint(self) -> str:
        """What tells two keys apart and nothing else of them."""
        return hmac.new(self.key, b"curate pseudonyms", hashlib.sha256).hexdigest()[:12]


def scrubbed(frame: pl.DataFrame, content: Iterable[str]) -> tuple[pl.DataFrame, Counter[str]]:
    """The frame without personal columns and addresses, and how many values of each kind went.

    content: columns that are left as they are: what was judged, and ids. Elsewhere an address within a text is replaced
    by its kind in brackets.
    """
    gone: Counter[str] = Counter()
    content = set(content)
    for name in frame.columns:
        if name in content:
            continue
        column = frame[name]
        if kind := personal_kind(name):
            gone[kind] += len(column) - column.null_count()
            frame = frame.drop(name)
            continue
        for kind, (pattern, instead) in VALUES.items():
            found = int(column.str.count_matches(pattern).sum())
            if found:
                gone[kind] += found
                column = column.str.replace_all(pattern, instead)
                frame = frame.with_columns(column)
    return frame, +gone


def found_in(column: pl.Series) -> Counter[str]:
    """How many addresses of each kind stand in a column."""
    return +Counter({kind: int(column.str.count_matches(pattern).sum()) for kind, (pattern, _) in VALUES.items()})


def personal_kind(column: str) -> str:
    """What a column of this name holds of a person; empty for nothing."""
    last = re.split(r"[.:/ ]", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", column))[-1].lower().replace("-", "_")
    return next((kind for kind, pattern in PERSONAL.items() if pattern.search(last)), "")


def addresses(people: pl.Series) -> int:
    """How many of the distinct ids hold an e-mail or IP address."""
    return int(people.drop_nulls().unique().str.contains(f"{EMAIL}|{IP}").sum())
