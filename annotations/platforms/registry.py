"""The known platforms, built in or of installed packages, and the one that wrote a file.

A built-in platform is a module of this package that defines ``PLATFORM``. An installed package declares others as
entry points of the group ``curate.platforms``.
"""

from __future__ import annotations

import pkgutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from functools import lru_cache, wraps
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any

import annotations.platforms as package
from annotations.platforms.base import Participants, Platform, heads
from annotations.readers.files import VoteFile
from annotations.readers.formats import Chunk
from annotations.readers.guard import ReaderCrash, guarded
from schemas.errors import CurateError, UsageError

PLATFORMS: tuple[Platform, ...] = tuple(
    module.PLATFORM
    for name in sorted(info.name for info in pkgutil.iter_modules(package.__path__))
    if name not in ("base", "contract", "registry")
    and hasattr(module := import_module(f"{package.__name__}.{name}"), "PLATFORM")
)
"""The built-in platforms."""
GROUP = "curate.platforms"
AUTO = "auto"
GENERIC = "generic"
"""A plain table of votes: its columns have well-known names, or the mapping names them."""
TAKEN = {platform.name for platform in PLATFORMS} | {AUTO, GENERIC}


def detect_platform(file: VoteFile, name: str = AUTO) -> Platform | None:
    """Return the platform that wrote a file, by its content; None if none recognizes it.

    name: the platform to assume, or "generic" for none. Raises UsageError for an unknown name, and CurateError if
    several platforms recognize the file or a third-party platform cannot be loaded.
    """
    if name == GENERIC:
        return None
    if name != AUTO:
        return platform_named(name)
    try:
        [head] = heads(file) if file.format == "csv" else guarded(heads, file)
    except ReaderCrash:  # so will the reader, which reports it
        return None
    if not head.columns:
        return None
    found = [platform for platform in all_platforms() if platform.recognizes(head)]
    if len(found) > 1:
        names = [platform.name for platform in found]
        raise CurateError(
            f"{file}: several platforms recognize this file: {', '.join(names)}",
            hint=f"choose one: {' or '.join(f'--format {each}' for each in names)}; {GENERIC} reads a plain table",
        )
    return found[0] if found else None


def read_rows(file: VoteFile, platform: str, now: datetime) -> Iterator[Chunk]:
    """Yield the rows of a file, read as that platform's export."""
    return platform_named(platform).read(file, now)


def read_participants(file: VoteFile, platform: str) -> Iterator[Participants]:
    """Yield the participants that a platform's export holds; nothing if it holds none."""
    if (read := platform_named(platform).read_participants) is not None:
        yield read(file)


def platform_named(name: str) -> Platform:
    """Return the platform of a name. Raises UsageError for an unknown name, CurateError if it cannot be loaded."""
    for platform in PLATFORMS:
        if platform.name == name:
            return platform
    points = _third_party()
    if name in points:
        return _loaded(points[name])
    known = ", ".join([AUTO, GENERIC, *(platform.name for platform in PLATFORMS), *points])
    raise UsageError(f"--format {name}: unknown format", hint=f"expected {known}")


def all_platforms() -> tuple[Platform, ...]:
    """Return the built-in platforms, then those of installed packages. Raises CurateError if one cannot be loaded."""
    return (*PLATFORMS, *map(_loaded, _third_party().values()))


def _third_party() -> dict[str, EntryPoint]:
    return _third_party_on(tuple(sys.path))


@lru_cache(maxsize=1)
def _third_party_on(_: tuple[str, ...]) -> dict[str, EntryPoint]:
    """Return the platforms of the packages on ``sys.path`` by name. Raises CurateError if two have the same name."""
    found: dict[str, EntryPoint] = {}
    for point in sorted(entry_points(group=GROUP), key=lambda point: (point.name, point.value)):
        if point.name in TAKEN or point.name in found:
            other = _package(found[point.name]) if point.name in found else "curate itself"
            raise CurateError(
                f"platform {point.name!r} of {_package(point)} has the name of a platform of {other}",
                hint=f"uninstall {_package(point)}, or ask its authors for another name",
            )
        found[point.name] = point
    return found


def _loaded(point: EntryPoint) -> Platform:
    """Return a third-party platform whose errors name its package."""
    hint = f"update or uninstall {_package(point)}, or name another format with --format NAME"
    try:
        platform = point.load()
    except Exception as error:  # anything may be raised by an import of foreign code
        message = f"platform {point.name!r} of {_package(point)} ({point.value}) cannot be imported: {error}"
        raise CurateError(message, hint=hint) from error
    if not isinstance(platform, Platform) or platform.name != point.name:
        message = f"platform {point.name!r} of {_package(point)}: {point.value} is not a Platform of that name"
        raise CurateError(message, hint=hint)

    @contextmanager
    def guard() -> Iterator[None]:
        try:
            yield
        except (CurateError, MemoryError):
            raise
        except Exception as error:
            message = f"platform {point.name!r} of {_package(point)} failed: {type(error).__name__}: {error}"
            raise CurateError(message, hint=hint) from error

    def guarded(function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def call(*args: Any) -> Any:
            with guard():
                return function(*args)

        return call

    def read(*args: Any) -> Iterator[Any]:
        with guard():
            yield from platform.read(*args)

    people = platform.read_participants
    return replace(
        platform,
        recognizes=guarded(platform.recognizes),
        read=read,
        read_participants=guarded(people) if people else None,
    )


def _package(point: EntryPoint) -> str:
    return f"{point.dist.name} {point.dist.version}" if point.dist else "an unknown package"
