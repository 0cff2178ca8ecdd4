"""The addresses of the crowd platforms: the study URL, who arrives by it, and the way back.

Prolific (docs.prolific.com, "The study object"): the study URL gets PROLIFIC_PID, STUDY_ID and SESSION_ID (the id of
the submission); at the end participants open /submissions/complete?cc=CODE. Amazon Mechanical Turk
(docs.aws.amazon.com, "ExternalQuestion"): the page is shown in a frame, with assignmentId (ASSIGNMENT_ID_NOT_AVAILABLE
in a preview), hitId, turkSubmitTo and workerId appended; it ends with a form that is posted to
turkSubmitTo/mturk/externalSubmit, with assignmentId and at least one other field.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import urlencode

from annotations.campaign.enrolment import Arrival
from schemas.crowd import CrowdConfig, CrowdPlatform

PREVIEW = "ASSIGNMENT_ID_NOT_AVAILABLE"
PROLIFIC = "https://app.prolific.com"
TURK_SUBMIT = ("https://www.mturk.com", "https://workersandbox.mturk.com")
TURK_FRAMES = ("https://worker.mturk.com", *TURK_SUBMIT)
"""The sites that show an ExternalQuestion in a frame."""
ID = re.compile(r"[A-Za-z0-9_-]{1,100}")
PLACEHOLDERS = "PROLIFIC_PID={{%PROLIFIC_PID%}}&STUDY_ID={{%STUDY_ID%}}&SESSION_ID={{%SESSION_ID%}}"


class BadLink(Exception):
    """A study URL without what the platform appends. key: of the text for the person, with its values."""

    def __init__(self, key: str, **values: str) -> None:
        super().__init__(key)
        self.key, self.values = key, values


class TurkVisit(NamedTuple):
    """A worker's view of a HIT."""

    arrival: Arrival | None
    """None in a preview."""
    assignment: str
    submit: str
    """Where the form goes."""
    again: str
    """This page again, below the path of the campaign."""


def study_url(site: str, platform: CrowdPlatform) -> str:
    """The address that the platform or people get. site: the public address of the page."""
    return f"{site.rstrip('/')}/join" + (f"?{PLACEHOLDERS}" if platform == "prolific" else "")


def prolific_arrival(query: Mapping[str, str]) -> Arrival:
    """The participant by the parameters that Prolific fills in. Raises BadLink without them."""
    return Arrival(*(_id(query, name, "Prolific") for name in ("PROLIFIC_PID", "SESSION_ID", "STUDY_ID")))


def prolific_return(config: CrowdConfig, code: str) -> str:
    """The address that ends a submission."""
    return f"{config.stand_in or PROLIFIC}/submissions/complete?{urlencode({'cc': code})}"


def turk_visit(config: CrowdConfig, query: Mapping[str, str]) -> TurkVisit:
    """The worker by the parameters that MTurk appends. Raises BadLink without them, or for a foreign site."""
    site = query.get("turkSubmitTo", "").rstrip("/")
    assignment = _id(query, "assignmentId", "Mechanical Turk")
    if assignment == PREVIEW:
        return TurkVisit(None, assignment, "", "")
    if site not in ((config.stand_in,) if config.stand_in else TURK_SUBMIT):
        raise BadLink("other-site")
    arrival = Arrival(_id(query, "workerId", "Mechanical Turk"), assignment, _id(query, "hitId", "Mechanical Turk"))
    ours = {"assignmentId": assignment, "hitId": arrival.study, "workerId": arrival.person, "turkSubmitTo": site}
    return TurkVisit(arrival, assignment, f"{site}/mturk/externalSubmit", f"/join?{urlencode(ours)}")


def frame_policy(config: CrowdConfig) -> dict[str, str]:
    """The sites that may show the page in a frame, and where its form may go."""
    sites, frames = ((config.stand_in,),) * 2 if config.stand_in else (TURK_SUBMIT, TURK_FRAMES)
    return {"frame-ancestors": " ".join(frames), "form-action": " ".join(sites)}


def _id(query: Mapping[str, str], name: str, platform: str) -> str:
    value = query.get(name, "")
    if not ID.fullmatch(value):
        raise BadLink("id-missing", platform=platform, name=name)
    return value
