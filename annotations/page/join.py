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
from annotations.page.plain import Plain
from annotations.page.security import Buckets, Denied, Limits, Sessions, read_body
from schemas.crowd import CrowdConfig
from schemas.votes import Outcome

Call = Callable[..., Awaitable[Any]]
Who = Callable[..., Awaitable[tuple[str, Visitor]]]


class Join:
    """The crowd's part of a page.

    call: calls a method of the session in a thread. who: the token and the owner of a request. plain: makes pages for
    the visitor of a request.
    """

    def __init__(
        self,
        session: CampaignSession,
        config: CrowdConfig,
        sessions: Sessions,
        limits: Limits,
        call: Call,
        who: Who,
        plain: Callable[..., Plain],
    ) -> None:
        self.session, self.config, self.sessions, self.limits = session, config, sessions, limits
        self._call, self._who, self.at = call, who, plain
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
                return await self._frame(self.at(request), turk_visit(self.config, request.query_params))
            if self.config.platform == "link":
                return self.at(request).welcome("to-study")
            admitted = await self._call(self.enrolment.admit, prolific_arrival(request.query_params))
        except (BadLink, NotAdmitted) as error:
            return self._refused(self.at(request), error)
        return self.sessions.begin(request, admitted.token, self.at(request).welcome("to-study"))

    async def _begin(self, request: Request) -> Response:
        """A participation by a plain link."""
        self._count(request)
        form = await self._form(request, self.sessions.token(request))
        code = form.get("code", "").strip().upper()
        try:
            if self.config.platform != "link" or (code and not await self._call(self.enrolment.knows, code)):
                raise NotAdmitted("code-unknown")
            admitted = await self._call(self.enrolment.admit, Arrival(code or new_code()))
        except NotAdmitted as error:
            return self._refused(self.at(request), error)
        return self.sessions.begin(request, admitted.token, self.at(request).welcome("to-study"))

    def start(self, at: Plain) -> Response | None:
        """What / shows to a stranger: the start of a study by a plain link; None for other platforms."""
        return pages.start(at, self._title) if self.config.platform == "link" else None

    async def _frame(self, at: Plain, visit: TurkVisit) -> Response:
        """The page in MTurk's frame."""
        if visit.arrival is None:
            return pages.turk_preview(at, self._title, self.config.consent, self._framed)
        admitted = await self._call(self.enrolment.admit, visit.arrival)
        result = (await self._participant(admitted.name)).result
        if result is None:
            return pages.turk_working(at, self._title, visit, admitted.token, self._framed)
        return pages.turk_submit(at, self.config, visit, result, self._framed)

    def _refused(self, at: Plain, error: BadLink | NotAdmitted) -> Response:
        """Why someone cannot take part: our sentences only."""
        values, status = (error.values, 400) if isinstance(error, BadLink) else ({}, 403)
        why = at.t(str(error), **values)
        if str(error) in ("taken-part", "study-full"):
            why += f" {at.t(f'return-{self.config.platform}')}"
        return at.page(at.t("not-open"), f"<p>{why}</p>", status=status, directives=self._framed)

    def _count(self, request: Request) -> None:
        """Count an arrival toward the rate of its address."""
        self._joins.take(request.client.host if request.client else "")

    # Pages

    async def stage_page(self, name: str, at: Plain) -> Response | None:
        """The page of a participant's stage; None for annotators by invitation, and while the participant votes."""
        participant = await self._call(self.session.read, lambda state: state.participants.get(name))
        stage = crowd.stage(self.config, participant) if participant else "vote"
        if stage == "consent":
            return pages.consent(at, self._title, self.config.consent, await self._own_code(name))
        if stage == "tutorial":
            return pages.tutorial(at, self.config.tutorial or self.session.config.instructions, self.config)
        if stage == "practice":
            number = len(participant.practice)
            return await self._question(at, name, number, pages.practice_form(at, number))
        return pages.end(at, self.config, participant.result, await self._own_code(name)) if stage == "over" else None

    async def _feedback(self, request: Request) -> Response:
        _, visitor = await self._who(request, "annotator")
        number, answers = request.path_params["number"], (await self._participant(visitor.name)).practice
        if number >= len(answers):
            return self._home()
        at = self.at(request)
        below = pages.feedback(at, answers[number], last=number + 1 == self.config.qualification)
        return await self._question(at, visitor.name, number, below)

    async def _question(self, at: Plain, name: str, number: int, below: str) -> Response:
        item, first_left = await self._call(self.session.read, lambda state: crowd.practice_item(state, name, number))
        task = await self._call(self.session.task, item)
        progress = at.t("practice-number", number=number + 1, count=self.config.qualification)
        markdown = self.session.config.answers == "markdown"
        return pages.question(at, item, task, first_left, progress=progress, below=below, markdown=markdown)

    async def _ask_to_finish(self, request: Request) -> Response:
        token, visitor = await self._who(request, "annotator")
        participant = await self._participant(visitor.name)
        view = await self._call(self.session.view, visitor.name)
        if participant.result is not None or not view.can_finish:
            return self._home()
        return pages.finish(self.at(request, token=token), view.votes)

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
        return self._home()

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
        return self._home(f"join/practice/{number}")

    def _home(self, path: str = "") -> Response:
        """Open a path of the campaign."""
        return RedirectResponse(f"{self.sessions.root}/{path}", 303)

    async def _form(self, request: Request, token: str) -> Mapping[str, str]:
        """The fields of a form of ours. Raises Denied if another site may have sent it."""
        fields = dict(parse_qsl((await read_body(request, self.limits)).decode("utf-8", "replace")))
        self.sessions.check_form(request, token, fields.get("page", ""))
        return fields
