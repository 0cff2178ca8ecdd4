"""The criterion by which a step uses the votes: votes by different criteria never count together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from schemas.errors import CurateError, MissingError
from schemas.votes import NO_CRITERION as NO_CRITERION

if TYPE_CHECKING:
    from curate.store.database import Store

CRITERION = f"coalesce(criterion, '{NO_CRITERION}')"
"""SQL: the criterion of a vote."""
RUN_CRITERION = "coalesce(nullif(report ->> 'criterion', ''), config ->> 'criterion', '')"
"""SQL: the criterion of a denoise run; empty for a run of an earlier version on votes that were all by one."""


def criteria(store: Store, votes: str = "votes", params: Mapping[str, Any] | None = None) -> dict[str, int]:
    """Return criterion -> number of votes, the most frequent first. votes: SQL of the rows."""
    rows = store.rows(
        f"SELECT {CRITERION} AS name, count(*) AS n FROM {votes} GROUP BY ALL ORDER BY n DESC, name", params or {}
    )
    return {row["name"]: row["n"] for row in rows}


def one_criterion(store: Store, asked: str = "", votes: str = "votes", params: Mapping[str, Any] | None = None) -> str:
    """Return the criterion asked for, or that of all votes; "(none)" if there are no votes.

    Raises CurateError naming the criteria if no vote has the one asked for, or none is asked for and there are several.
    """
    found = criteria(store, votes, params)
    named = ", ".join(f"{name} ({count:,})" for name, count in found.items())
    if asked and found and asked not in found:
        raise MissingError(f"{store.path}: no vote has the criterion {asked!r}", hint=f"criteria (votes): {named}")
    if not asked and len(found) > 1:
        raise CurateError(
            f"{store.path}: the votes are by {len(found)} criteria (votes): {named}",
            hint=f"choose one: --criterion '{next(iter(found))}', or criterion = \"{next(iter(found))}\" in the config",
        )
    return asked or next(iter(found), NO_CRITERION)
