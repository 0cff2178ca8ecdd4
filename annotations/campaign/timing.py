"""The time of a vote by the server's clock, which bounds what the page claims.

A question is sent at its lease and answered at the arrival of its vote: the time between is an upper bound of the time
of the vote. Votes of one person do not overlap: in the order of arrival, each begins at its lease or at the end of the
vote before it, whichever is later, and lasts for the claimed time, but at most until its arrival. Votes that were made
offline and arrive together thus share the time since their leases, and keep what they claim as long as the sum fits. In
the same way the share of a video that is claimed as watched needs share × duration / MAX_SPEED seconds since the video
was first sent, without those that earlier votes took; what was watched for one vote on a video counts for the next one.
An honest page never claims more than that, because its own intervals lie within the server's.
"""

from __future__ import annotations

from typing import NamedTuple

from annotations.campaign.records import Annotator, Item

MAX_SPEED = 2.0
"""The fastest playback that the page and browsers offer."""
PLAYER_GAPS = 0.5
"""Seconds of a video that the page counts as played at both ends together (GAP in player.js)."""
EXCESS = 1.0
"""Seconds by which a claimed time must exceed the measured one to be reported."""


class Measured(NamedTuple):
    """The times of a vote, seconds."""

    seconds: float
    """The time of the vote: the claimed one, at most the server's."""
    missing: float
    """Time that playing the claimed share takes beyond the server's; 0 if it was possible."""
    end: float
    """The end of the vote, since 1970: the next one begins no earlier."""


def measure(
    annotator: Annotator, item: Item, leased: float, *, claimed: float, watched: float, arrived: float
) -> Measured:
    """The times of a vote on an item that was sent at ``leased`` and answered at ``arrived`` (seconds since 1970).

    claimed: seconds, and watched: the share of the video played, as the page says.

    >>> item = Item(0, "t", "vote", "p", "a", "b", None, "v.mp4", 12.0, "v.mp4", place=None)
    >>> measure(Annotator(0, "ann"), item, 100.0, claimed=20.9, watched=1.0, arrived=101.0)
    Measured(seconds=1.0, missing=4.75, end=101.0)
    """
    if leased > arrived:  # the clock was set back, and nothing is known
        return Measured(claimed, 0.0, arrived)
    first, played = annotator.videos.get(item.group, (leased, 0.0))
    busy = annotator.busy if annotator.busy <= arrived else leased
    begin, playing = max(leased, busy), max(min(first, leased), busy)
    seconds = min(claimed, arrived - begin)
    needed = max(0.0, (watched - played) * (item.video_seconds or 0.0) - PLAYER_GAPS) / MAX_SPEED
    missing = max(0.0, needed - (arrived - playing))
    return Measured(seconds, missing, min(arrived, max(begin + seconds, playing + needed)))
