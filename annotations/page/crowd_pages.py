"""The HTML of the crowd's pages. They need no script, and nothing in them comes from a request."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

from starlette.responses import HTMLResponse

from annotations.campaign.participants import Practice
from annotations.campaign.records import Item
from annotations.campaign.views import IMAGES
from annotations.page.arrivals import TurkVisit, prolific_return
from annotations.page.files import rendered, template
from annotations.page.markup import html_of
from annotations.page.plain import Plain
from schemas.crowd import CrowdConfig, CrowdResult

OUTCOMES = ("left", "tie", "both_bad", "right")
"""In the order of the buttons."""


def start(at: Plain, title: str) -> HTMLResponse:
    """The start of a study by a plain link. title: of the study."""
    field = '<input id="code" name="code" required maxlength="40" autocomplete="off" dir="ltr">'
    label = f'<p><label for="code">{at.t("your-code")}</label> {field}</p><button>{at.t("continue")}</button>'
    body = f"""<p>{at.t("no-account")}</p>
{at.form("begin", at.button("begin"))}
<h2>{at.t("continue-with-code")}</h2>
{at.form("begin", label)}"""
    return at.page(escape(title), body)


def own_code(at: Plain, code: str) -> str:
    """The code that a participant by a plain link keeps."""
    shown = f'{at.t("own-code")} <strong class="code" dir="ltr">{escape(code)}</strong>.'
    return f'<p class="note">{shown} {at.t("keep-code")}</p>' if code else ""


def prose(text: str) -> str:
    """The requester's Markdown, in the direction of its own script."""
    return f'<div class="prose" dir="auto">{rendered(text)}</div>'


def consent(at: Plain, title: str, text: str, code: str) -> HTMLResponse:
    """The consent text. code: the participant's own, or empty."""
    agree = f'<p><label><input type="checkbox" required> <span>{at.t("agree")}</span></label></p>'
    body = f"""{prose(text)}
{own_code(at, code)}{at.form("consent", agree + at.button("continue"))}
<p class="muted">{at.t("disagree")}</p>"""
    return at.page(escape(title), body)


def tutorial(at: Plain, text: str, config: CrowdConfig) -> HTMLResponse:
    """The tutorial, and what is expected in the practice."""
    count, note, label = config.qualification, "", "begin"
    if count:
        needed = next(right for right in range(count + 1) if right >= config.pass_mark * count - 1e-9)
        note, label = f"<p>{at.t('practice-count', count=count, needed=needed)}</p>", "begin-practice"
    return at.page(at.t("how-it-works"), prose(text) + note + at.form("ready", at.button(label)))


def practice_form(at: Plain, number: int) -> str:
    """The four answers to practice question ``number``."""
    buttons = "".join(
        f'<button class="choice" name="outcome" value="{value}" data-outcome="{value}">{at.t(value)}</button>'
        for value in OUTCOMES
    )
    hidden = f'<input type="hidden" name="number" value="{number}">'
    return at.form("practice", f'{hidden}<div class="choices">{buttons}</div>')


def feedback(at: Plain, answer: Practice, *, last: bool) -> str:
    """What the participant reads about an answer."""
    kind, key = ("", "correct") if answer.correct else (" warn", "not-correct")
    text = at.t(key, expected=at.text(answer.control), chosen=at.text(answer.outcome))
    onward = at.link("", "continue" if last else "next-question", "button main")
    return f'<p class="note{kind}" role="status">{text}</p><p>{onward}</p>'


def question(
    at: Plain, item: Item, task: Mapping[str, str], first_left: bool, *, progress: str, below: str, markdown: bool
) -> HTMLResponse:
    """A practice question, as on the voting page; below it the answers or the feedback."""
    texts = [task["first_text"], task["second_text"]]
    left, right = (html_of(text, markdown=markdown) for text in (texts if first_left else texts[::-1]))
    source, medium = f"{at.root}/media/{escape(item.video)}", ""
    if item.video.endswith(IMAGES):
        medium = f'<img src="{source}" alt="{at.t("image")}">'
    elif item.video:
        medium = f'<video controls playsinline preload="auto" aria-label="{at.t("video")}" src="{source}"></video>'
    parts = {"progress": progress, "medium": medium, "bare": "" if medium else ' class="bare"', "below": below}
    labels = {f"t.{key}": at.t(key) for key in ("stage", "answers", "answer-a", "answer-b", "your-answer")}
    body = template("practice.html", **labels, **parts, left=left, right=right, question=escape(task["question"]))
    return at.page(at.t("practice"), body, wide=True)


def end(at: Plain, config: CrowdConfig, result: CrowdResult, code: str) -> HTMLResponse:
    """The last page, with the completion code. code: the participant's own, or empty."""
    completion = getattr(config.codes, result)
    back = f'<p>{at.t("completion-code")} <strong class="code" dir="ltr">{completion}</strong></p>'
    if config.platform == "prolific":
        link = escape(prolific_return(config, completion))
        back += f'<p><a class="button main" href="{link}" rel="noreferrer">{at.t("to-prolific")}</a></p>'
    elif config.platform == "mturk":
        back += f"<p>{at.t('to-mturk', button=at.text('have-finished'))}</p>"
    return at.page(at.t(f"{result}-title"), f"<p>{at.t(result)}</p>{back}{own_code(at, code)}")


def finish(at: Plain, votes: int) -> HTMLResponse:
    """The question whether to finish."""
    buttons = f"{at.button('finish')} {at.link('', 'back', 'button')}"
    return at.page(at.t("finish-title"), f"<p>{at.t('finish-text', count=votes)}</p>{at.form('finish', buttons)}")


def turk_preview(at: Plain, title: str, text: str, directives: Mapping[str, str]) -> HTMLResponse:
    """What MTurk shows before a worker accepts the HIT."""
    note = f'<p class="note">{at.t("accept-hit")}</p>'
    return at.page(escape(title), note + prose(text), directives=directives)


def turk_working(at: Plain, title: str, visit: TurkVisit, token: str, directives: Mapping[str, str]) -> HTMLResponse:
    """The page in MTurk's frame. The study itself opens in a tab of its own, where cookies work."""
    tab = f'href="{at.root}/a/{token}" target="_blank" rel="noopener noreferrer"'
    body = f"""<p>{at.t("new-tab")}</p>
<p><a class="button main" {tab}>{at.t("open-study")}</a></p>
<p><a class="button" href="{at.root}{escape(visit.again)}">{at.t("have-finished")}</a></p>"""
    return at.page(escape(title), body, directives=directives)


def turk_submit(
    at: Plain, config: CrowdConfig, visit: TurkVisit, result: CrowdResult, directives: Mapping[str, str]
) -> HTMLResponse:
    """The form in MTurk's frame that submits the HIT."""
    fields = {"assignmentId": visit.assignment, "result": result, "code": getattr(config.codes, result)}
    hidden = "".join(f'<input type="hidden" name="{name}" value="{value}">' for name, value in fields.items())
    form = f'<form method="post" action="{escape(visit.submit)}">{hidden}{at.button("submit-hit")}</form>'
    return at.page(at.t(f"{result}-title"), f"<p>{at.t(result)}</p>{form}", directives=directives)
