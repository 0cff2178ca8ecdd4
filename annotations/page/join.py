"""The routes of a crowd: arrival, consent, tutorial, practice questions, and the way back to the platform.

GET  /join                 the study URL: admits the participant and opens /; for MTurk, the page in its frame
POST /join/begin           {code?} → a participation by a plain link, new or by its code
POST /join/consent, ready  {} → the next stage
POST /join/practice        {number, outcome} → the feedback
GET  /join/practice/{n}    the feedback on practice question n
GET  /join/finish          whether to finish
POST /join/finish          {} → the end, with the completion code

They are plain HTML forms, which work without a script and on bad connections: a form that is sent twice has no effect.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, cast, get_args
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from annotations.campaign import crowd
from annotations.campaign.auth import Visitor
from annotations.campaign.enrolment import Arrival, Enrolment, NotAdmitted, new_code, read_private
from annotations.campaign.participants import Participant
from annotations.campaign.session import CampaignSession
from annotations.campaign.state import State
from annotations.page import crowd_pages as pages
from annotations.page.arrivals import BadLink, TurkVisit, frame_policy, prolific_arrival, turk_visit
from annotations.page.security import Buckets, Denied, Limits, Sessions, read_body
from schemas.crowd import CrowdConfig
from schemas.votes import Outcome

Call = Callable[..., Awaitable[Any]]
Who = Callable[..., Awaitable[tuple[str, Visitor]]]


class Join:
    """The crowd's part of a page.

    call: calls a method of the session in a thread. who: the token and the owner of a request.
    """

    def __init__(
        self, session: CampaignSession, config: CrowdConfig, sessions: Sessions, limits: Limits, call: Call, who: Who
    ) -> None:
        self.session, self.config, self.sessions, self.limits = session, config, sessions, limits
        self._call, self._who = call, who
        self.enrolment = Enrolment(session, config)
        self._title = session.config.title or session.config.name
        self._framed = frame_policy(config) if config.platform == "mturk" else {}
        self._joins = Buckets(limits.join_rate, limits.join_burst, remembered=limits.remembered)

    def routes(self) -> list[Route]:
        """The routes."""
        return [
            Route("/join", self._arrive),
            Route("/join/begin", self._begin, methods=["POST"]),
            *(Route(f"/join/{step}", self._step, methods=["POST"]) for step in ("consent", "ready", "finish")),
            Route("/join/practice", self._practise, methods=["POST"]),
            Route("/join/practice/{number:int}", self._feedback),
            Route("/join/finish", self._ask_to_finish),
        ]

    # Arrival

    async def _arrive(self, request: Request) -> Response:
        """The study URL."""
        self._count(request)
        try:
            if self.config.platform == "mturk":
                return await self._frame(turk_visit(self.config, request.query_params))
            if self.config.platform == "link":
                return pages.welcome()
            admitted = await self._call(self.enrolment.admit, prolific_arrival(request.query_params))
        except (BadLink, NotAdmitted) as error:
            return self._refused(error)
        return self.sessions.begin(admitted.token, pages.welcome())

    async def _begin(self, request: Request) -> Response:
        """A participation by a plain link."""
        self._count(request)
        form = await self._form(request, self.sessions.token(request))
        code = form.get("code", "").strip().upper()
        try:
            if self.config.platform != "link" or (code and not await self._call(self.enrolment.knows, code)):
                raise NotAdmitted("This code is unknown. Please go back and check it.")
            admitted = await self._call(self.enrolment.admit, Arrival(code or new_code()))
        except NotAdmitted as error:
            return self._refused(error)
        return self.sessions.begin(admitted.token, pages.welcome())

    def start(self, token: str) -> Response | None:
        """What / shows to a stranger: the start of a study by a plain link; None for other platforms."""
        return pages.start(self._title, token) if self.config.platform == "link" else None

    async def _frame(self, visit: TurkVisit) -> Response:
        """The page in MTurk's frame."""
        if visit.arrival is None:
            return pages.turk_preview(self._title, self.config.consent, self._framed)
        admitted = await self._call(self.enrolment.admit, visit.arrival)
        result = (await self._participant(admitted.name)).result
        if result is None:
            return pages.turk_working(self._title, visit, admitted.token, self._framed)
        return pages.turk_submit(self.config, visit, result, self._framed)

    def _refused(self, error: Exception) -> Response:
        status = 400 if isinstance(error, BadLink) else 403
        return pages.page(
            "This study is not open to you", f"<p>{error}</p>", status=status, directives=self._framed
        )  # our sentences only

    def _count(self, request: Request) -> None:
        """Count an arrival toward the rate of its address."""
        self._joins.take(request.client.host if request.client else "")

    # Pages

    async def stage_page(self, name: str, token: str) -> Response | None:
        """The page of a participant's stage; None for annotators by invitation, and while the participant votes."""
        participant = await self._call(self.session.read, lambda state: state.participants.get(name))
        stage = crowd.stage(self.config, participant) if participant else "vote"
        if stage == "consent":
            return pages.consent(self._title, self.config.consent, token, await self._own_code(name))
        if stage == "tutorial":
            return pages.tutorial(self.config.tutorial or self.session.config.instructions, self.config, token)
        if stage == "practice":
            number = len(participant.practice)
            return await self._question(name, number, pages.practice_form(number, token))
        return pages.end(self.config, participant.result, await self._own_code(name)) if stage == "over" else None

    async def _feedback(self, request: Request) -> Response:
        _, visitor = await self._who(request, "annotator")
        number, answers = request.path_params["number"], (await self._participant(visitor.name)).practice
        if number >= len(answers):
            return RedirectResponse("/", 303)
        below = pages.feedback(answers[number], last=number + 1 == self.config.qualification)
        return await self._question(visitor.name, number, below)

    async def _question(self, name: str, number: int, below: str) -> Response:
        item, first_left = await self._call(self.session.read, lambda state: crowd.practice_item(state, name, number))
        task = await self._call(self.session.task, item)
        progress = f"Practice question {number + 1} of {self.config.qualification}"
        markdown = self.session.config.answers == "markdown"
        body = pages.question(item, task, first_left, progress=progress, below=below, markdown=markdown)
        return pages.page("Practice", body, wide=True)

    async def _ask_to_finish(self, request: Request) -> Response:
        token, visitor = await self._who(request, "annotator")
        participant = await self._participant(visitor.name)
        view = await self._call(self.session.view, visitor.name)
        if participant.result is not None or not view.can_finish:
            return RedirectResponse("/", 303)
        return pages.finish(view.votes, token)

    async def _own_code(self, name: str) -> str:
        """The code that a participant by a plain link keeps; empty for other platforms."""
        if self.config.platform != "link":
            return ""
        lines = await self._call(read_private, self.session.folder)
        return next((str(line.person) for line in lines if line.participant == name), "")

    async def _participant(self, name: str) -> Participant:
        found = await self._call(self.session.read, lambda state: state.participants.get(name))
        if found is None:
            raise Denied(403, "other-role", "only for participants of the crowd")
        return cast("Participant", found)

    # Changes

    async def _step(self, request: Request) -> Response:
        """Consent, tutorial read, or the end."""
        token, visitor = await self._who(request, "annotator")
        await self._form(request, token)
        await self._participant(visitor.name)
        name, step = visitor.name, request.url.path.rpartition("/")[2]
        digest = hashlib.sha256(self.config.consent.encode()).hexdigest()
        if step == "finish":
            await self._call(self.session.view, name)  # hands out what is left, so that nobody finishes too early

        def steps(state: State) -> Iterable[crowd.Step]:
            if step == "consent":
                return crowd.consent(state, name, digest)
            return crowd.ready(state, name) if step == "ready" else crowd.finish(state, name, self.config)

        await self._call(self.session.record, name, steps)
        return RedirectResponse("/", 303)

    async def _practise(self, request: Request) -> Response:
        token, visitor = await self._who(request, "annotator")
        form = await self._form(request, token)
        given, outcome, name = form.get("number", ""), form.get("outcome", ""), visitor.name
        if not given.isdecimal() or len(given) > 3 or outcome not in get_args(Outcome):
            raise Denied(422, "malformed", "no such answer")
        await self._participant(name)
        number, answer = int(given), cast("Outcome", outcome)
        steps = lambda state: crowd.practise(state, name, self.config, number, answer)  # noqa: E731
        await self._call(self.session.record, name, steps)
        return RedirectResponse(f"/join/practice/{number}", 303)

    async def _form(self, request: Request, token: str) -> Mapping[str, str]:
        """The fields of a form of ours. Raises Denied if another site may have sent it."""
        fields = dict(parse_qsl((await read_body(request, self.limits)).decode("utf-8", "replace")))
        self.sessions.check_form(request, token, fields.get("page", ""))
        return fields
