"""The HTML of the crowd's pages. They need no script, and nothing in them comes from a request."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from types import MappingProxyType

from starlette.responses import HTMLResponse

from annotations.campaign.participants import Practice
from annotations.campaign.records import Item
from annotations.campaign.views import IMAGES
from annotations.page.arrivals import TurkVisit, prolific_return
from annotations.page.files import rendered, template
from annotations.page.markup import html_of
from annotations.page.security import page_token, policy
from schemas.crowd import CrowdConfig, CrowdResult

NONE: Mapping[str, str] = MappingProxyType({})
OUTCOMES = {"left": "A is better", "tie": "Tie", "both_bad": "Both bad", "right": "B is better"}
ENDS: dict[CrowdResult, tuple[str, str]] = {
    "completed": ("Thank you, you are done", "You have given all your votes."),
    "screened_out": (
        "Thank you for your interest",
        "Too many of the practice questions were answered differently than expected, so the study ends here for you.",
    ),
    "stopped": ("The study ends here for you", "Your votes did not meet the quality thresholds."),
    "no_more_work": ("Thank you", "There are no more questions for you."),
}
"""Result -> title and text of the last page."""


def page(
    title: str,
    body: str,
    *,
    status: int = 200,
    refresh: bool = False,
    wide: bool = False,
    directives: Mapping[str, str] = NONE,
) -> HTMLResponse:
    """A page. refresh: open / at once. directives: of its content security policy, which allows its own forms."""
    head = '<meta http-equiv="refresh" content="0;url=/">' if refresh else ""
    kind = "wide" if wide else "message"
    response = HTMLResponse(template("join.html", head=head, kind=kind, title=escape(title), body=body), status)
    response.headers["content-security-policy"] = policy({"form-action": "'self'", **directives})
    response.headers["referrer-policy"] = "same-origin"  # with no-referrer, browsers send a form with Origin: null
    return response


def form(step: str, token: str, content: str) -> str:
    """A form that is posted to /join/{step} with the page token."""
    hidden = f'<input type="hidden" name="page" value="{page_token(token)}">'
    return f'<form method="post" action="/join/{step}">{hidden}{content}</form>'


def welcome() -> HTMLResponse:
    """A page of ours that opens /: only then do browsers send a SameSite=Strict cookie."""
    return page("Welcome", '<p><a href="/">Continue to the study</a></p>', refresh=True)


def start(title: str, token: str) -> HTMLResponse:
    """The start of a study by a plain link."""
    field = '<input id="code" name="code" required maxlength="40" autocomplete="off">'
    body = f"""<p>You take part without an account. You get a code, with which you can continue later.</p>
{form("begin", token, '<button class="main">Begin</button>')}
<h2>Continue with your code</h2>
{form("begin", token, f'<p><label for="code">Your code</label> {field}</p><button>Continue</button>')}"""
    return page(title, body)


def own_code(code: str) -> str:
    """The code that a participant by a plain link keeps."""
    if not code:
        return ""
    text = "With it you can continue later or on another device, and it is needed to pay you. Please keep it."
    return f'<p class="note">Your own code: <strong class="code">{escape(code)}</strong>. {text}</p>'


def consent(title: str, text: str, token: str, code: str) -> HTMLResponse:
    """The consent text. code: the participant's own, or empty."""
    label = "I have read this, and I agree to take part"
    agree = f'<p><label><input type="checkbox" required> <span>{label}</span></label></p>'
    refuse = "If you do not agree, close this page and return the submission. It is only stored that you opened it."
    body = f"""<div class="prose">{rendered(text)}</div>
{own_code(code)}{form("consent", token, f'{agree}<button class="main">Continue</button>')}
<p class="muted">{refuse}</p>"""
    return page(title, body)


def tutorial(text: str, config: CrowdConfig, token: str) -> HTMLResponse:
    """The tutorial, and what is expected in the practice."""
    count, note, label = config.qualification, "", "Begin"
    if count:
        needed = next(right for right in range(count + 1) if right >= config.pass_mark * count - 1e-9)
        follow = "s follow" if count > 1 else " follows"
        note = f"<p>{count} practice question{follow}. Correct answers needed: {needed}.</p>"
        label = "Begin the practice"
    button = form("ready", token, f'<button class="main">{label}</button>')
    return page("How it works", f'<div class="prose">{rendered(text)}</div>{note}{button}')


def practice_form(number: int, token: str) -> str:
    """The four answers to practice question ``number``."""
    buttons = "".join(
        f'<button class="choice" name="outcome" value="{value}" data-outcome="{value}">{label}</button>'
        for value, label in OUTCOMES.items()
    )
    hidden = f'<input type="hidden" name="number" value="{number}">'
    return form("practice", token, f'{hidden}<div class="choices">{buttons}</div>')


def feedback(answer: Practice, *, last: bool) -> str:
    """What the participant reads about an answer."""
    expected = OUTCOMES[answer.control]
    text = f"Correct: {expected}."
    if not answer.correct:
        text = f"The expected answer is: {expected}. You chose: {OUTCOMES[answer.outcome]}."
    kind, label = "" if answer.correct else " warn", "Continue" if last else "Next question"
    return f'<p class="note{kind}" role="status">{text}</p><p><a class="button main" href="/">{label}</a></p>'


def question(
    item: Item, task: Mapping[str, str], first_left: bool, *, progress: str, below: str, markdown: bool
) -> str:
    """A practice question, as on the voting page; below it the answers or the feedback."""
    texts = [task["first_text"], task["second_text"]]
    left, right = (html_of(text, markdown=markdown) for text in (texts if first_left else texts[::-1]))
    source, medium = f"/media/{escape(item.video)}", ""
    if item.video.endswith(IMAGES):
        medium = f'<img src="{source}" alt="The image for this question">'
    elif item.video:
        medium = f'<video controls playsinline preload="auto" aria-label="The video" src="{source}"></video>'
    parts = {"progress": progress, "medium": medium, "bare": "" if medium else ' class="bare"', "below": below}
    return template("practice.html", **parts, left=left, right=right, question=escape(task["question"]))


def end(config: CrowdConfig, result: CrowdResult, code: str) -> HTMLResponse:
    """The last page, with the completion code. code: the participant's own, or empty."""
    title, text = ENDS[result]
    completion = getattr(config.codes, result)
    back = f'<p>Your completion code: <strong class="code">{completion}</strong></p>'
    if config.platform == "prolific":
        link = escape(prolific_return(config, completion))
        back += f'<p><a class="button main" href="{link}" rel="noreferrer">Return to Prolific</a></p>'
    elif config.platform == "mturk":
        back += "<p>Go back to the tab of Mechanical Turk, press <em>I have finished</em>, and submit the HIT.</p>"
    return page(title, f"<p>{text}</p>{back}{own_code(code)}")


def finish(votes: int, token: str) -> HTMLResponse:
    """The question whether to finish."""
    text = f"You gave {votes} vote{'s' * (votes != 1)}. After this you cannot change them or continue."
    buttons = '<button class="main">Finish</button> <a class="button" href="/">Back</a>'
    return page("Finish now?", f"<p>{text}</p>{form('finish', token, buttons)}")


def turk_preview(title: str, text: str, directives: Mapping[str, str]) -> HTMLResponse:
    """What MTurk shows before a worker accepts the HIT."""
    note = '<p class="note">Accept this HIT to take part.</p>'
    return page(title, f'{note}<div class="prose">{rendered(text)}</div>', directives=directives)


def turk_working(title: str, visit: TurkVisit, token: str, directives: Mapping[str, str]) -> HTMLResponse:
    """The page in MTurk's frame. The study itself opens in a tab of its own, where cookies work."""
    body = f"""<p>The questions open in a new tab. When you have finished there, come back to this page.</p>
<p><a class="button main" href="/a/{token}" target="_blank" rel="noopener noreferrer">Open the study</a></p>
<p><a class="button" href="{escape(visit.again)}">I have finished</a></p>"""
    return page(title, body, directives=directives)


def turk_submit(
    config: CrowdConfig, visit: TurkVisit, result: CrowdResult, directives: Mapping[str, str]
) -> HTMLResponse:
    """The form in MTurk's frame that submits the HIT."""
    fields = {"assignmentId": visit.assignment, "result": result, "code": getattr(config.codes, result)}
    hidden = "".join(f'<input type="hidden" name="{name}" value="{value}">' for name, value in fields.items())
    button = '<button class="main">Submit this HIT</button>'
    body = f'<p>{ENDS[result][1]}</p><form method="post" action="{escape(visit.submit)}">{hidden}{button}</form>'
    return page(ENDS[result][0], body, directives=directives)
