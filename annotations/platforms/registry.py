"""The known platforms, one per module of this package, and the one that wrote a file."""

from __future__ import annotations

import pkgutil
from importlib import import_module

import annotations.platforms as package
from annotations.platforms.base import Platform, read_head
from annotations.readers.files import VoteFile
from schemas.errors import UsageError

PLATFORMS: tuple[Platform, ...] = tuple(
    module.PLATFORM
    for name in sorted(info.name for info in pkgutil.iter_modules(package.__path__))
    if name not in ("base", "registry") and hasattr(module := import_module(f"{package.__name__}.{name}"), "PLATFORM")
)
AUTO = "auto"
GENERIC = "generic"
"""A plain table of votes: its columns have well-known names, or the mapping names them."""


def detect_platform(file: VoteFile, name: str = AUTO) -> Platform | None:
    """Return the platform that wrote a file, by its content; None if none or several recognize it.

    name: the platform to assume, or "generic" for none. Raises UsageError for an unknown name.
    """
    if name == GENERIC:
        return None
    if name != AUTO:
        return platform_named(name)
    head = read_head(file)
    found = [platform for platform in PLATFORMS if head.columns and platform.recognizes(head)]
    return found[0] if len(found) == 1 else None


def platform_named(name: str) -> Platform:
    """Return the platform of a name. Raises UsageError for an unknown name."""
    for platform in PLATFORMS:
        if platform.name == name:
            return platform
    known = ", ".join(platform.name for platform in PLATFORMS)
    raise UsageError(f"--format {name}: unknown format", hint=f"expected {AUTO}, {GENERIC}, {known}")
