"""The signature of a release: a minisign signature of its manifest, which has the digest of every other file.

https://jedisct1.github.io/minisign/ describes the format. The library is imported only to sign and to check.
"""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from curate.shards.atomic import MANIFEST, SIGNATURE, publish_file
from schemas.errors import ConflictError, CurateError, MissingError
from schemas.release import Finding

if TYPE_CHECKING:
    from minisign import PublicKey, SecretKey

COMMENT = "signature of a release of curate"
"""The comment of a signature that is not signed."""
UNREADABLE = "unreadable"
"""What stands for the key of a signature that is damaged."""
KEYS = "make a pair of keys: curate release keygen FILE"


def generate_key(out: Path, password: str) -> str:
    """Write a new secret key to ``out`` and its public key to ``out``.pub; return the id of the key.

    password: encrypts the secret key; "" for none. Raises CurateError if one of the files exists.
    """
    from minisign import KeyPair

    public_path = out.with_name(f"{out.name}.pub")
    for path in (out, public_path):
        if path.exists():
            raise ConflictError(f"{path}: exists, and keys are never overwritten", hint="choose another name")
    pair = KeyPair.generate()
    key_id = _id(pair.public_key.to_base64())
    pair.public_key.untrusted_comment = f"minisign public key {key_id}"
    if password:
        pair.secret_key.encrypt(password)
    handle = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(bytes(pair.secret_key) + b"\n")
    pair.secret_key.wipe()
    public_path.write_bytes(bytes(pair.public_key) + b"\n")
    return key_id


def write_signature(folder: Path, key: Path, comment: str, password: Callable[[], str]) -> str:
    """Sign the manifest of a release; return the id of the key. Equal manifests, comments and keys give equal bytes.

    key: the file of the secret key. comment: is signed as well; ASCII. password: called if the key is encrypted. Raises
    CurateError if the release is signed with another key, or the key cannot be used.
    """
    manifest = (folder / MANIFEST).read_bytes()
    with _secret_key(key) as secret:
        key_id = _id(secret.get_public_key().to_base64())
        if (signed := signed_by(folder)) not in ("", key_id):
            raise CurateError(
                f"{folder / SIGNATURE}: is a signature by another key ({signed})",
                hint="remove this file to sign the release again",
            )
        if secret.is_encrypted():
            _decrypt(secret, key, password())
        signature = secret.sign(manifest, untrusted_comment=COMMENT, trusted_comment=comment)
    publish_file(folder / SIGNATURE, bytes(signature) + b"\n")
    return key_id


def signed_by(folder: Path) -> str:
    """Return the id of the key that a release states to be signed with, without checking it.

    "" for a release without a signature, UNREADABLE for a damaged one. Needs no library.
    """
    try:
        lines = (folder / SIGNATURE).read_bytes().splitlines()
    except FileNotFoundError:
        return ""
    except OSError:
        return UNREADABLE
    if len(lines) != 4:
        return UNREADABLE
    try:
        return _id(lines[1])
    except (binascii.Error, ValueError):
        return UNREADABLE


def signature_findings(folder: Path, key: str) -> Iterator[Finding]:
    """Yield why the release is not signed with this key. key: the file of the public key, or the key itself.

    Raises CurateError if the key cannot be used.
    """
    from minisign import Error as MinisignError
    from minisign import Signature, VerifyError

    public = _public_key(key)
    wanted, signed = _id(public.to_base64()), signed_by(folder)
    what = ""
    try:
        content = (folder / SIGNATURE).read_bytes()
        signature = Signature.from_bytes(content)
        if bytes(signature).splitlines()[1:] != content.splitlines()[1:]:
            what = "is not written as minisign writes it: bits of its base64 that mean nothing are set"
        elif signed != wanted:
            what = f"is by key {signed}, not by the given key {wanted}"
        else:
            public.verify((folder / MANIFEST).read_bytes(), signature)
    except FileNotFoundError:
        what = "is missing: the release is not signed"
    except VerifyError:
        what = f"does not fit the manifest: one of them was changed, or another key with the id {wanted} signed it"
    except MinisignError as error:
        what = f"is not a complete signature ({error})"
    except OSError as error:
        what = f"cannot be read: {error.strerror}"
    if what:
        yield Finding(check="signature", where=SIGNATURE, what=what)


def _id(encoded: bytes) -> str:
    """Return the id of a key as minisign prints it: bytes 2 to 10 of a key or signature, the last first."""
    raw = base64.b64decode(encoded, validate=True)[2:10]
    if len(raw) != 8:
        raise ValueError("too short")
    return raw[::-1].hex().upper()


def _secret_key(path: Path) -> SecretKey:
    from minisign import Error as MinisignError
    from minisign import PublicKey, SecretKey

    content = _read(path, "secret key")
    try:
        return SecretKey.from_bytes(content)
    except MinisignError as error:
        try:
            PublicKey.from_bytes(content)
        except MinisignError:
            raise CurateError(f"{path}: not a secret key of minisign ({error})", hint=KEYS) from error
        raise CurateError(f"{path}: is a public key; signing needs the secret one", hint=KEYS) from error


def _decrypt(secret: SecretKey, path: Path, password: str) -> None:
    from minisign import Error as MinisignError

    try:
        secret.decrypt(password)
    except MinisignError as error:
        raise CurateError(f"{path}: {error}", hint="give the password of this key") from error


def _public_key(key: str) -> PublicKey:
    from minisign import Error as MinisignError
    from minisign import PublicKey, SecretKey

    path = Path(key)
    if not path.exists():
        try:
            return PublicKey.from_base64(key)
        except MinisignError as error:
            raise CurateError(f"{key}: neither a file nor a public key of minisign", hint=KEYS) from error
    content = _read(path, "public key")
    try:
        return PublicKey.from_bytes(content)
    except MinisignError as error:
        try:
            SecretKey.from_bytes(content)
        except MinisignError:
            raise CurateError(f"{path}: not a public key of minisign ({error})", hint=KEYS) from error
        raise CurateError(f"{path}: is a secret key; checking needs the public one", hint=f"{path}.pub?") from error


def _read(path: Path, what: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise MissingError(f"{path}: {error.strerror}", hint=f"give the file of the {what}") from error
