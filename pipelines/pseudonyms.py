"""The secret key of pseudonyms: the one that was given, else one of the store's own, kept beside it."""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass, field
from pathlib import Path

from annotations.readers.privacy import Pseudonyms
from schemas.errors import CurateError, UsageError

VARIABLE = "CURATE_PSEUDONYM_KEY"
"""The environment variable that gives the key where no argument does."""
LEAST = 16
"""Characters of a key: shorter ones can be found by trying."""
SUFFIX = ".pseudonym-key"


def given_key(key: str | None) -> bytes | None:
    """The bytes of ``--pseudonym-key``, else of VARIABLE: of the file of that name, or the text itself; else None.

    Raises UsageError for a text that looks like the path of a missing file, and for a key that is too short.
    """
    key = key or os.environ.get(VARIABLE)
    if not key:
        return None
    path = Path(key).expanduser()
    if path.is_file():
        secret, where = path.read_bytes().strip(), str(path)
    elif "/" in key or os.sep in key or path.suffix:
        raise UsageError(f"--pseudonym-key {key}: no such file", hint="make one: openssl rand -hex 32 > FILE")
    else:
        secret, where = key.strip().encode(), "the text given"
    if len(secret) < LEAST:
        hint = "make one: openssl rand -hex 32 > FILE"
        raise UsageError(f"--pseudonym-key: {where} has fewer than {LEAST} characters", hint=hint)
    return secret


@dataclass
class KeyRing:
    """Gives the pseudonyms of one ingest, and remembers whether they were needed."""

    store: Path
    given: bytes | None = None
    """None: the store's own key, made when it is first needed."""
    lasting: bool = True
    """False in a dry run: a key that is made is not written."""
    known: frozenset[str] = frozenset()
    """Fingerprints of the keys of earlier ingests into the store."""
    made: bool = False
    """A key of the store's own was written now."""
    used: Pseudonyms | None = field(default=None, init=False)

    @property
    def own(self) -> Path:
        """The file of the store's own key."""
        return self.store.with_name(self.store.name + SUFFIX)

    def __call__(self) -> Pseudonyms:
        """The pseudonyms. Raises CurateError where earlier ingests had another key: one person would count as two."""
        if self.used is None:
            found = Pseudonyms(self.given or self._own_key())
            if self.known and found.fingerprint not in self.known:
                raise CurateError(
                    f"{self.store}: its people have pseudonyms under another key",
                    hint="give the key of the first ingest, or start a new store: one person would count as two",
                )
            self.used = found
        return self.used

    def _own_key(self) -> bytes:
        if self.own.is_file():
            return self.own.read_bytes().strip()
        secret = secrets.token_hex(32).encode()
        if self.lasting:
            with os.fdopen(os.open(self.own, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
                file.write(secret + b"\n")
                file.flush()
                os.fsync(file.fileno())
            self.made = True
        return secret

    def take_back(self) -> None:
        """Leave no key behind of an ingest that came to nothing."""
        if self.made:
            self.own.unlink(missing_ok=True)
            self.made = False
