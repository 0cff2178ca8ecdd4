"""Personal data: annotator ids become keyed pseudonyms; addresses and names are dropped and counted.

A pseudonym is HMAC-SHA256 of the id under a secret key (RFC 2104). The same person under the same key has the same
pseudonym in every file. Without the key nobody can compute an id from a pseudonym or test a list of ids.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import re
import secrets
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any

import polars as pl

from annotations.readers.json_text import decode, encode, query
from schemas.errors import CurateError, MissingError, UsageError

KEY_VARIABLE = "CURATE_PSEUDONYM_KEY"
"""The environment variable that holds the key if no argument does."""
MIN_KEY_LENGTH = 16
"""Characters of a key; a shorter one can be found by trial."""
KEY_SUFFIX = ".pseudonym-key"
IPS, EMAILS, NAMES = "IP addresses", "e-mail addresses", "names and phone numbers"
EMAIL = r"[A-Za-z0-9._%+\-]+@[A-Za-z0-9\-]+(?:\.[A-Za-z0-9\-]+)*\.[A-Za-z]{2,}"
BYTE = r"(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
HEX = r"[0-9A-Fa-f]{1,4}"
IP = rf"(?:{BYTE}\.){{3}}{BYTE}|\b(?:{HEX}:){{7}}{HEX}\b|\b(?:{HEX}:){{1,6}}(?::{HEX}){{1,6}}\b"
VALUES = {EMAILS: (EMAIL, "[e-mail address]"), IPS: (IP, "[IP address]")}
"""Kind of personal data -> (pattern, replacement)."""
PERSONAL = {
    IPS: re.compile(r"(?:^|_)ip(?:v[46])?(?:_?addr(?:ess)?)?$|^remote_addr$"),
    EMAILS: re.compile(r"(?:^|_)e?_?mail(?:_?address)?$"),
    NAMES: re.compile(r"(?:^|_)(?:first|last|full|sur|user)_?name$|(?:^|_)phone(?:_number)?$"),
}
"""Kind of personal data -> pattern of the last part of a column name that holds only this."""
PERSONAL_KEY = (
    r"(?i)(?:ip(?:[_-]?v[46])?(?:[_-]?addr(?:ess)?)?|remote[_-]?addr|mail(?:[_-]?address)?|"
    r"(?:first|last|full|sur|user)[_-]?name|phone(?:[_-]?number)?)\"\s*:|\\u00"
)
"""Matches every JSON text with a key that is personal (an escape may spell one), and some others."""
ADDRESS = f"{EMAIL}|{IP}"


@dataclass(frozen=True)
class Pseudonyms:
    """Pseudonyms under one key."""

    key: bytes

    def of(self, person: str) -> str:
        """Return ``p-`` and 12 letters and digits (60 bits). The case of an e-mail address is ignored."""
        name = person.strip()
        if re.fullmatch(EMAIL, name):
            name = name.lower()
        digest = hmac.new(self.key, name.encode(), hashlib.sha256).digest()
        return "p-" + base64.b32encode(digest)[:12].decode().lower()

    def of_all(self, people: pl.Series) -> pl.Series:
        """Return (n,) the pseudonyms of n people; null for null and blank ids."""
        named = people.drop_nulls().unique()
        table = {person: self.of(person) if person.strip() else None for person in named}
        return people.replace_strict(table, default=None, return_dtype=pl.String)

    @property
    def fingerprint(self) -> str:
        """A text that differs between keys and reveals nothing else about them."""
        return hmac.new(self.key, b"curate pseudonyms", hashlib.sha256).hexdigest()[:12]


def given_key(key: str | None) -> bytes | None:
    """Return the bytes of ``--pseudonym-key``, else of KEY_VARIABLE: the content of that file, or the text; else None.

    Raises UsageError for a text that looks like the path of a missing file, and for a key that is too short.
    """
    key = key or os.environ.get(KEY_VARIABLE)
    if not key:
        return None
    hint = "create one: openssl rand -hex 32 > FILE"
    path = Path(key).expanduser()
    if path.is_file():
        secret, where = path.read_bytes().strip(), str(path)
    elif "/" in key or os.sep in key or path.suffix:
        raise MissingError(f"--pseudonym-key {key}: no such file", hint=hint)
    else:
        secret, where = key.strip().encode(), "the given text"
    if len(secret) < MIN_KEY_LENGTH:
        raise UsageError(f"--pseudonym-key: {where} has fewer than {MIN_KEY_LENGTH} characters", hint=hint)
    return secret


@dataclass
class StoreKey:
    """The pseudonym key of one ingest: the given key, or the store's own key in a file beside the store."""

    store: Path
    given: bytes | None = None
    """None: the store's own key, created when it is first needed."""
    lasting: bool = True
    """False in a dry run: a new key is not written."""
    known: frozenset[str] = frozenset()
    """Fingerprints of the keys of earlier ingests into the store."""
    used: Pseudonyms | None = field(default=None, init=False)
    """The pseudonyms, once they were needed."""
    _created: bool = field(default=False, init=False)
    _lock: Lock = field(default_factory=Lock, init=False, compare=False, repr=False)

    @property
    def path(self) -> Path:
        """The file of the store's own key."""
        return self.store.with_name(self.store.name + KEY_SUFFIX)

    def pseudonyms(self) -> Pseudonyms:
        """Return the pseudonyms. Raises CurateError if earlier ingests used another key: one person would be two."""
        with self._lock:  # files may be read in several threads
            if self.used is None:
                found = Pseudonyms(self.given or self._own_key())
                if self.known and found.fingerprint not in self.known:
                    raise CurateError(
                        f"{self.store}: its annotators have pseudonyms under another key",
                        hint="use the key of the first ingest, or start a new store; with two keys one person would "
                        "count as two",
                    )
                self.used = found
            return self.used

    def _own_key(self) -> bytes:
        if self.path.is_file():
            return self.path.read_bytes().strip()
        secret = secrets.token_hex(32).encode()
        if self.lasting:
            with os.fdopen(os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
                file.write(secret + b"\n")
                file.flush()
                os.fsync(file.fileno())
            self._created = True
        return secret

    def discard_new(self) -> None:
        """Delete a key that this ingest created, because the ingest failed."""
        if self._created:
            self.path.unlink(missing_ok=True)
            self._created = False


def drop_personal_data(frame: pl.DataFrame, content: Iterable[str]) -> tuple[pl.DataFrame, Counter[str]]:
    """Return the frame without personal columns and addresses, and the number of dropped values by kind.

    content: columns that stay unchanged (what was judged, and ids). In other columns an address within a text is
    replaced by its kind in brackets.
    """
    dropped: Counter[str] = Counter()
    kept = set(content)
    for name in frame.columns:
        if name in kept:
            continue
        column = frame[name]
        if kind := personal_kind(name):
            dropped[kind] += len(column) - column.null_count()
            frame = frame.drop(name)
            continue
        for kind, (pattern, replacement) in VALUES.items():
            if count := int(column.str.count_matches(pattern).sum()):
                dropped[kind] += count
                column = column.str.replace_all(pattern, replacement)
                frame = frame.with_columns(column)
    return frame, +dropped


def count_addresses(column: pl.Series) -> Counter[str]:
    """Return the number of addresses in a column, by kind."""
    return +Counter({kind: int(column.str.count_matches(pattern).sum()) for kind, (pattern, _) in VALUES.items()})


def personal_kind(column: str) -> str:
    """Return the kind of personal data that a column of this name holds; empty for none."""
    last = re.split(r"[.:/ ]", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", column))[-1].lower().replace("-", "_")
    return next((kind for kind, pattern in PERSONAL.items() if pattern.search(last)), "")


def encode_meta(frame: pl.DataFrame) -> tuple[pl.Series, Counter[str]]:
    """Return (n,) the columns of each row as a JSON object, and the number of dropped values by kind.

    Absent values are omitted, and a row without values is null. Lists and objects keep their spelling, except that keys
    of objects that name personal data are dropped.
    """
    dropped: Counter[str] = Counter()
    names = sorted(frame.columns)
    columns = [
        _without_personal_keys(frame[name].cast(pl.String), dropped).alias(f"c{i}") for i, name in enumerate(names)
    ]
    labels = [json.dumps(name, ensure_ascii=False).replace("'", "''") for name in names]
    is_nested = "left(c{0}, 1) IN ('[', '{{') AND json_valid(c{0})".format
    parts = (
        f"CASE WHEN c{i} IS NULL THEN NULL WHEN {is_nested(i)} THEN '{label}: ' || c{i} "
        f"ELSE '{label}: ' || to_json(c{i}) END"
        for i, label in enumerate(labels)
    )
    meta = query(
        f"SELECT '{{' || nullif(array_to_string([{', '.join(parts)}], ', '), '') || '}}' AS meta FROM chunk",
        chunk=pl.DataFrame(columns),
    )
    return meta["meta"], dropped


def _without_personal_keys(column: pl.Series, dropped: Counter[str]) -> pl.Series:
    """Return the column without the keys of nested objects that name personal data; only such values are decoded."""
    found = (column.str.contains(r"^[\[{]") & column.str.contains(PERSONAL_KEY)).fill_null(False).arg_true()
    if found.is_empty():
        return column
    kept = [encode(_without_personal(decode(text), dropped)) for text in column.gather(found)]
    return column.clone().scatter(found, kept)


def _without_personal(value: Any, dropped: Counter[str]) -> Any:
    if isinstance(value, list):
        return [_without_personal(item, dropped) for item in value]
    if not isinstance(value, dict):
        return value
    kept = {}
    for name, item in value.items():
        if kind := personal_kind(name):
            dropped[kind] += item is not None
        else:
            kept[name] = _without_personal(item, dropped)
    return kept
