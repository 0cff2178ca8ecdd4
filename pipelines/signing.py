"""``curate release sign``: a signature that shows who published a release, and that nobody changed it since."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from curate.release.manifest import read_release, seal_is_valid
from curate.release.signature import generate_key, write_signature
from curate.shards.atomic import SIGNATURE, finished
from schemas.errors import CurateError
from schemas.release import SignReport

__all__ = ["generate_key", "sign"]


def sign(folder: Path, key: Path, password: Callable[[], str]) -> SignReport:
    """Sign the manifest of a release, and thereby every file that it lists.

    The signature is a file beside the manifest, and changes neither version nor seal. key: the file of the secret key
    of minisign. password: called if the key is encrypted. Raises CurateError if there is no release, if a file or the
    manifest was changed, if another key signed the release, or if the key cannot be used.
    """
    release = read_release(folder)
    finished(folder)
    if not seal_is_valid(folder):
        raise CurateError(f"{folder}: the manifest was changed after it was sealed", hint="build the release again")
    comment = f"{release.label}, version {release.version}"
    key_id = write_signature(folder, key, comment, password)
    return SignReport(
        folder=str(folder), file=SIGNATURE, name=release.name, version=release.version, key_id=key_id, comment=comment
    )
