"""The platforms that are known, and which of them wrote a file."""

from __future__ import annotations

from annotations.platforms import (
    arena,
    argilla,
    campaign,
    genai_bench,
    k_wise,
    label_studio,
    mturk,
    potato,
    prodigy,
    prolific,
    toloka,
    wildvision,
)
from annotations.platforms.base import Platform
from annotations.platforms.sniffing import head_of
from annotations.readers.files import VoteFile
from schemas.errors import UsageError

PLATFORMS: tuple[Platform, ...] = tuple(
    module.PLATFORM
    for module in (
        campaign,
        label_studio,
        argilla,
        prodigy,
        arena,
        wildvision,
        genai_bench,
        toloka,
        mturk,
        prolific,
        potato,
        k_wise,
    )
)
AUTO = "auto"
PROLIFIC = "prolific"
GENERIC = "generic"
"""A table of votes that no platform claims: its columns speak for themselves, or the mapping does."""


def platform_of(file: VoteFile, name: str = AUTO) -> Platform | None:
    """The platform that wrote a file, by its content; None where none or more than one claims it.

    name: the platform to take it for, or "generic" for none. Raises UsageError for a name that is neither.
    """
    if name == GENERIC:
        return None
    if name != AUTO:
        for platform in PLATFORMS:
            if platform.name == name:
                return platform
        known = ", ".join(platform.name for platform in PLATFORMS)
        raise UsageError(f"--format {name}: no such format", hint=f"one of: {AUTO}, {GENERIC}, {known}")
    head = head_of(file)
    claims = [platform for platform in PLATFORMS if head.columns and platform.recognises(head)]
    return claims[0] if len(claims) == 1 else None
