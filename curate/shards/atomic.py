"""Atomic folders and files: written under a hidden name, then renamed; the manifest is written last."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from pydantic import ValidationError

from schemas.errors import ConflictError, CurateError, MissingError, ResourceError
from schemas.manifest import Manifest, ManifestFile
from schemas.release import Release

MANIFEST = "manifest.json"
SIGNATURE = f"{MANIFEST}.minisig"
"""The signature of the manifest, which is added to a finished folder."""


@contextmanager
def publishing(out: Path, *, name: Callable[[], str] | None = None) -> Iterator[Path]:
    """Yield an empty folder that becomes ``out`` if the block succeeds and is removed if it fails.

    name: called at the end for the folder's name, if that depends on the content. Leftovers of killed processes are
    removed first. Raises CurateError if ``out`` was created by something else meanwhile.
    """
    out = out.resolve()
    fresh = out.with_name(f".{out.name}.{os.getpid()}.partial")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        _remove_stale(out)
        fresh.mkdir()
    except OSError as error:
        raise ResourceError(f"{out.parent}: {error.strerror}", hint="choose another --out") from error
    try:
        yield fresh
        for path in (*sorted(fresh.rglob("*")), fresh):
            sync(path)
        if name is not None:
            out = out.with_name(name())
        try:
            fresh.rename(out)
        except OSError as error:
            raise ResourceError(f"{out}: {error.strerror}", hint="choose another --out, or remove it") from error
        sync(out.parent)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def publish_file(out: Path, content: bytes) -> None:
    """Write one file atomically; it replaces an existing one. Raises CurateError."""
    out = out.resolve()
    fresh = out.with_name(f".{out.name}.{os.getpid()}.partial")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        try:
            fresh.write_bytes(content)
            sync(fresh)
            fresh.replace(out)
        finally:
            fresh.unlink(missing_ok=True)
    except OSError as error:
        raise ResourceError(f"{out}: {error.strerror}", hint="choose another --out") from error
    sync(out.parent)


def finished(out: Path) -> Manifest | None:
    """Return the manifest of a finished folder; None if ``out`` is missing or an empty folder.

    Raises CurateError if it is anything else, or if its files differ from its manifest.
    """
    hint = "choose another --out, or remove it"
    if not out.exists() and not out.is_symlink():
        return None
    if not out.is_dir():
        raise ConflictError(f"{out}: not a folder", hint=hint)
    if not any(out.iterdir()):
        return None
    names = set(files_of(out))
    if MANIFEST not in names:
        raise ConflictError(f"{out}: exists and is not an export of curate", hint=hint)
    try:
        manifest = read_manifest(out)
    except CurateError as error:
        raise CurateError(str(error), hint=hint) from error
    changed = _changed(out, manifest, names)
    if changed:
        raise ConflictError(f"{out}: changed since it was exported: {', '.join(changed)}", hint=hint)
    return manifest


def read_manifest(folder: Path) -> Manifest:
    """Return the manifest of an export, or of a release (a ``Release``). Raises CurateError for anything else."""
    path = folder / MANIFEST
    hint = "give a folder of curate export or curate release build"
    try:
        data = path.read_bytes()
        released = json.loads(data).get("kind") == "release"
        return (Release if released else Manifest).from_stored(data)
    except OSError as error:
        raise MissingError(f"{path}: {error.strerror}", hint=hint) from error
    except (ValidationError, ValueError, AttributeError) as error:
        raise CurateError(f"{path}: not a manifest that this version of curate reads", hint=hint) from error


def files_of(folder: Path) -> list[str]:
    """Return every file in the folder and below, as sorted relative paths; not its signature and what the Hub adds."""
    names = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir())
    return sorted(name for name in names if name != SIGNATURE and not of_the_hub(name))


def of_the_hub(name: str) -> bool:
    """Return whether a relative path is that of a file or folder that the Hub or its client adds to a download."""
    return name in (".gitattributes", ".cache") or f"{name}/".startswith(".cache/huggingface/")


def describe(path: Path, rows: int | None = None, *, root: Path | None = None) -> ManifestFile:
    """Return the manifest's entry of a file. root: the manifest's folder; that of the file if None."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    name = path.relative_to(root or path.parent).as_posix()
    return ManifestFile(path=name, sha256=digest, bytes=path.stat().st_size, rows=rows)


def version(files: Sequence[ManifestFile]) -> str:
    """Return 12 hex digits that change with the name or the content of any of the files."""
    lines = "".join(f"{file.sha256}  {file.path}\n" for file in sorted(files, key=lambda file: file.path))
    return hashlib.sha256(lines.encode()).hexdigest()[:12]


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write the manifest, after all files are on disk."""
    for file in manifest.files:
        sync(folder / file.path)
    (folder / MANIFEST).write_text(manifest.model_dump_json(indent=2) + "\n", encoding="utf-8")


def _changed(out: Path, manifest: Manifest, names: set[str]) -> list[str]:
    """Return descriptions of files that are missing, differ, or were added. Hidden files are ignored."""
    listed = {file.path: file for file in manifest.files}
    missing = [f"{name} is missing" for name in sorted(listed.keys() - names)]
    added = [f"{name} was added" for name in sorted(names - listed.keys() - {MANIFEST}) if not _hidden(name)]
    differ = [
        f"{name} differs"
        for name in sorted(listed.keys() & names)
        if describe(out / name, listed[name].rows, root=out) != listed[name]
    ]
    return missing + differ + added


def _hidden(name: str) -> bool:
    return any(part.startswith(".") for part in name.split("/"))


def _remove_stale(out: Path) -> None:
    """Remove the leftovers of killed processes, but not the folder of a live one."""
    for path in out.parent.iterdir():
        pid = path.name.removeprefix(f".{out.name}.").removesuffix(".partial")
        if path.name == f".{out.name}.{pid}.partial" and pid.isdigit() and not _other_alive(int(pid)):
            shutil.rmtree(path)


def _other_alive(pid: int) -> bool:
    if pid == os.getpid():
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def sync(path: Path) -> None:
    """Flush the file or folder to disk, so that a rename never survives a crash without its content."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
