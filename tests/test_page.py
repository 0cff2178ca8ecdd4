"""The page over HTTP: authorization, protected changes, strict headers, limits."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import httpx
import pytest

from annotations.page.connections import HEAD_BYTES
from annotations.page.files import rendered
from annotations.page.markup import markup
from annotations.page.security import PAGE_HEADER, POLICY, Buckets, Denied, Limits
from annotations.page.texts import languages
from schemas.campaign import Language, Refusal
from tests.campaigns import Clock, make_campaign, pair
from tests.pages import Here, Instead, page_of

pytestmark = pytest.mark.slow

VIDEO = bytes(range(256)) * 40
SCRIPT = "<script>alert(1)</script><img src=x onerror=alert(1)>"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A campaign of three questions on one video."""
    tasks = [pair(number, video="clip.mp4") for number in range(3)]
    made = make_campaign(tmp_path / "campaign", tasks, title="Kitchen clips", instructions=f"# Be fair\n\n{SCRIPT}")
    (made / "media" / "clip.mp4").write_bytes(VIDEO)
    (made / "secret.txt").write_text("the people of the campaign")
    return made


@pytest.fixture
def here(folder: Path) -> Iterator[Here]:
    """Its page."""
    with page_of(folder) as running:
        yield running


READS = ["/api/view", "/api/status", "/media/clip.mp4"]
CHANGES = ["/api/vote", "/api/undo", "/api/skip", "/api/leave"]


@pytest.mark.parametrize("path", READS)
@pytest.mark.parametrize("token", ["", "guessed", "a" * 32, "%00", "é" * 32])
def test_nothing_can_be_read_without_a_valid_link(here: Here, path: str, token: str) -> None:
    visit = here.visit()
    assert visit.client.get(f"/a/{token}").status_code in (403, 404)
    answer = visit.get(path)
    assert answer.status_code == 401
    assert b"What happens" not in answer.content
    assert VIDEO[:64] not in answer.content


@pytest.mark.parametrize("path", CHANGES)
def test_nothing_can_be_changed_without_a_valid_link(here: Here, path: str) -> None:
    assert here.visit().post(path, {}).status_code == 401
    assert not here.votes()


def test_the_front_page_without_a_link_asks_for_it(here: Here) -> None:
    answer = here.visit().get("/")
    assert answer.status_code == 401
    assert "invited people only" in answer.text
    assert "Kitchen" not in answer.text


def test_the_session_cookie_is_httponly_and_samesite(here: Here) -> None:
    answer = httpx.get(f"{here.url}/a/{here.tokens['ann']}", trust_env=False)
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "samesite=strict" in cookie.lower()
    assert "Secure" not in cookie  # http on loopback
    assert here.tokens["ann"] not in answer.text


def test_behind_https_the_cookie_is_secure_and_bound_to_its_host(folder: Path) -> None:
    with page_of(folder, url="https://votes.example.org") as here:
        cookie = httpx.get(f"{here.url}/a/{here.tokens['ann']}", trust_env=False).headers["set-cookie"]
    assert cookie.startswith("__Host-")
    assert "Secure" in cookie
    assert "Path=/" in cookie


def test_revoking_a_link_works_at_once(here: Here) -> None:
    visit = here.visit("ann")
    assert visit.get("/api/view").status_code == 200
    question = visit.open()[0]
    here.revoke("ann")
    assert [visit.get(path).status_code for path in ("/", *READS)] == [401] * 4
    assert visit.vote(question).status_code == 401


def test_each_role_has_its_own_page(here: Here) -> None:
    ann, boss = here.visit("ann"), here.visit("max")
    assert "data-outcome" in ann.get("/").text
    assert "Annotators" in boss.get("/").text
    assert ann.get("/api/status").status_code == 403
    assert boss.get("/api/view").status_code == 403
    assert boss.get("/api/status").json()["wanted"] == 3


def test_the_response_to_a_vote_is_the_next_view(here: Here) -> None:
    visit = here.visit("ann")
    first, *others = visit.open()
    view = visit.vote(first).json()
    assert [question["question_id"] for question in view["sheet"]["questions"]] == others
    assert visit.vote(first).json() == view
    assert view["votes"] == here.votes() == 1
    assert "instructions" not in view


def test_the_response_to_undo_and_skip_is_the_view(here: Here) -> None:
    visit = here.visit("ann")
    visit.vote(visit.open()[0])
    undone = visit.post("/api/undo", {}).json()
    assert (undone["votes"], len(undone["sheet"]["questions"])) == (0, 3)
    question = visit.open()[0]
    skipped = visit.post("/api/skip", {"question_id": question, "reason": "too dark"}).json()
    assert question not in [one["question_id"] for one in skipped["sheet"]["questions"]]
    assert '"too dark"' in (here.folder / "log.jsonl").read_text()


@pytest.mark.parametrize(
    ("code", "status"), [("unwatched", 409), ("expired", 409), ("stopped", 403), ("closed", 410), ("disk-full", 507)]
)
def test_a_refusal_has_a_status_and_a_message(folder: Path, code: str, status: int) -> None:
    refusal = Refusal(code=code, message="because")  # type: ignore[arg-type]
    with page_of(folder, wrap=lambda campaign: Instead(campaign, vote=lambda *_: refusal)) as here:
        answer = here.visit("ann").vote("some-question")
    refused = {"code": code, "message": "because", "vote_id": "vote-some-question"}
    assert (answer.status_code, answer.json()) == (status, refused)


def test_the_server_checks_min_watched(tmp_path: Path) -> None:
    folder = make_campaign(tmp_path / "c", [pair(0, video="a.mp4")], min_watched=0.8)
    clock = Clock()
    with page_of(folder, clock=clock) as here:
        visit = here.visit("ann")
        question = visit.open()[0]
        refused = visit.vote(question, watched=0.79)
        assert (refused.status_code, refused.json()["code"]) == (409, "unwatched")
        clock.later(seconds=3)
        refused = visit.vote(question, watched=0.8)
        assert (refused.status_code, refused.json()["code"]) == (409, "too-fast")
        clock.later(seconds=1)  # 8 of 10 s at double speed
        assert visit.vote(question, watched=0.8).status_code == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"origin": "https://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"sec-fetch-site": "same-site"}, 403),
        ({PAGE_HEADER: ""}, 403),
        ({PAGE_HEADER: "f" * 32}, 403),
        ({"content-type": "text/plain"}, 415),
        ({"content-type": "application/x-www-form-urlencoded"}, 415),
    ],
)
def test_a_change_from_elsewhere_is_refused(here: Here, headers: dict[str, str], status: int) -> None:
    visit = here.visit("ann")
    assert visit.post("/api/undo", {}, **headers).status_code == status
    assert visit.vote(visit.open()[0]).status_code == 200
    good = {"origin": here.url, "sec-fetch-site": "same-origin"}
    assert visit.post("/api/undo", {}, **good).status_code == 200


def test_the_public_address_is_a_valid_origin(folder: Path) -> None:
    with page_of(folder, url="https://votes.example.org") as here:
        visit = here.visit()
        cookie = visit.client.get(f"/a/{here.tokens['ann']}").headers["set-cookie"].partition(";")[0]
        token = visit.get("/api/view", cookie=cookie).headers[PAGE_HEADER]
        codes = [
            visit.post(
                "/api/skip", {"question_id": "x", "reason": "y"}, cookie=cookie, origin=origin, **{PAGE_HEADER: token}
            )
            for origin in ("https://other.example.org", "http://votes.example.org", "https://votes.example.org")
        ]
    assert [answer.json()["code"] for answer in codes] == ["other-origin", "other-origin", "unknown"]


def test_a_get_changes_nothing(here: Here) -> None:
    visit = here.visit("ann")
    assert [visit.get(path).status_code for path in CHANGES] == [405] * 4


def test_endless_headers_are_cut_off(here: Here) -> None:
    with socket.create_connection(("127.0.0.1", int(here.url.rpartition(":")[2])), timeout=20) as stranger:
        stranger.sendall(b"GET / HTTP/1.1\r\nhost: x\r\n")
        with pytest.raises(OSError, match=r"Broken pipe|reset"):
            stranger.sendall((b"x: " + b"a" * HEAD_BYTES + b"\r\n") * 300)
    assert here.visit("ann").get("/api/view").status_code == 200


@pytest.mark.parametrize("who", ["ann", "max"])
def test_every_response_has_the_strict_headers(here: Here, who: str) -> None:
    visit = here.visit(who)
    answers = [visit.get(path) for path in ("/", "/a/x", "/nowhere", "/static/x/annotator.js", *READS)]
    answers += [visit.vote("x"), visit.post("/api/vote", {})]
    for answer in answers:
        assert answer.headers["content-security-policy"] == POLICY
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
    assert visit.get("/").headers["cache-control"] == "no-store"
    assert visit.get("/api/view").headers["cache-control"] == "no-store"
    assert "unsafe" not in POLICY
    assert "default-src 'none'" in POLICY


def test_html_in_instructions_stays_text(here: Here) -> None:
    text = here.visit("ann").get("/").text
    assert "<h1>Be fair</h1>" in text
    assert "&lt;script&gt;" in text
    assert "<script>" not in text
    assert "<img src=x" not in text


@pytest.mark.parametrize(
    "text", ["[x](javascript:alert(1))", "[x](data:text/html,hi)", "![x](https://a.example/b.png)"]
)
def test_instructions_have_no_unsafe_links_or_images(text: str) -> None:
    html = rendered(text)
    assert 'href="javascript' not in html
    assert 'href="data' not in html
    assert "<img" not in html


def test_a_link_in_the_instructions_opens_a_new_tab() -> None:
    html = rendered("See [the guide](https://a.example/guide).")
    assert 'href="https://a.example/guide" target="_blank" rel="noopener noreferrer"' in html


def test_html_in_texts_is_sent_unchanged_as_json(tmp_path: Path) -> None:
    task = pair(0).model_copy(update={"first_text": SCRIPT, "second_text": SCRIPT, "question": SCRIPT})
    with page_of(make_campaign(tmp_path / "c", [task])) as here:
        answer = here.visit("ann").get("/api/view")
    assert answer.headers["content-type"] == "application/json"
    assert answer.json()["sheet"]["questions"][0]["left_text"] == SCRIPT


STATIC = Path(__file__).parent.parent / "annotations" / "page" / "static"
NEWER = {
    "16": r"AbortSignal\.(timeout|any)|\.to(Sorted|Reversed|Spliced)\(|\.with\(|@container|overscroll-beh|subgrid",
    "16.2": r"color-mix\(|\.requestClose\(",
    "16.4": r"\(\?<[=!]|static \{|\.(is|to)WellFormed\(|fromAsync|@property|navigator\.wakeLock|:user-(in)?valid",
    "16.5": r"^\s*&|[{;]\s*&",
    "17": r"popover|\.(union|intersection|difference|is(Subset|Superset)Of|isDisjoint)\(|/[gimsuy]*v[gimsuy]*[;,]",
    "17.2": r"import .* with \{|\bassert \{ ?type",
    "17.4": r"(Object|Map)\.groupBy|withResolvers|\.transfer\(|text-wrap|URL\.canParse|light-dark\(|@starting-",
    "18": r"Promise\.try|RegExp\.escape|Iterator\.|Temporal\.|\busing |startViewTrans|field-sizing|anchor\(",
}
"""What browsers lack below a version of Safari, by MDN's compatibility data. In syntax it leaves the page blank."""


def test_scripts_and_styles_use_nothing_newer_than_safari_15_4() -> None:
    sources = [*STATIC.glob("*.js"), *STATIC.glob("*.css"), *STATIC.glob("*.html")]
    assert len(sources) > 12
    found = [
        f"{path.name}:{number}: Safari {version} has this first: {line.strip()}"
        for path in sources
        for number, line in enumerate(path.read_text().splitlines(), start=1)
        for version, newer in NEWER.items()
        if re.search(newer, re.sub(r"//.*|/\*.*", "", line))
    ]
    assert not found
    samples = [
        "AbortSignal.timeout(9)",
        "/(?<=a)b/",
        "x.toSorted()",
        "class A { static { } }",
        "a { & b {} }",
        "/[a]/v;",
    ]
    assert all(any(re.search(newer, sample) for newer in NEWER.values()) for sample in samples)


def test_no_script_inserts_html() -> None:
    scripts = sorted(STATIC.glob("*.js"))
    assert len(scripts) > 5
    for path in scripts:
        for way in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function"):
            assert way not in path.read_text(), f"{path.name} has {way}"
    for path in STATIC.glob("*.html"):
        text = path.read_text()
        assert " style=" not in text
        assert "<style" not in text
        assert " on" not in [part[:3] for part in text.split('"')]
        assert "http" not in text.replace("http-equiv", "")


def test_the_page_is_in_the_language_of_the_browser_or_of_the_campaign(tmp_path: Path) -> None:
    with page_of(make_campaign(tmp_path / "c", [pair(0)])) as here:
        visit = here.visit("ann")
        answers = {sent: visit.get("/", **{"accept-language": sent}).text for sent in ("fr, ar-EG;q=0.9", "de", "fr")}
    assert [re.findall(r'<html lang="(\w+)" dir="(\w+)">', text)[0] for text in answers.values()] == [
        ("ar", "rtl"),
        ("de", "ltr"),
        ("en", "ltr"),
    ]
    assert not [text for text in answers.values() if "{{" in text]
    with page_of(make_campaign(tmp_path / "d", [pair(0)], language="ar")) as here:
        assert 'dir="rtl"' in here.visit("ann").get("/", **{"accept-language": "de"}).text


def test_every_language_has_the_same_texts_with_the_same_values() -> None:
    def named(text: str | dict[str, str]) -> list[set[str]]:
        forms = [text] if isinstance(text, str) else [form for kind, form in text.items() if kind in ("many", "other")]
        return [set(re.findall(r"\{(\w+)\}", form)) for form in forms]

    english = languages()["en"]
    assert {"", *languages()} == set(get_args(Language))
    for name, texts in languages().items():
        assert texts.keys() == english.keys(), name
        assert all(each == named(english[key])[-1] for key in texts for each in named(texts[key])), name
    used = {key for path in STATIC.glob("*.js") for key in re.findall(r'\bt\(\s*"([\w-]+)"', path.read_text())}
    assert len(used) > 30
    assert used <= english.keys()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("so $x<3$.", "so <math><mi>x<mo><<mn>3."),
        (r"\(\pi\) and \[x\] and $$y$$", "<math><mi>π and <math block><mi>x and <math block><mi>y"),
        (r"\(\href{javascript:alert(1)}{x}\)", "<math><mi>x"),
        (r"$\frac{1}{$ then $5$", r"<code>$\frac{1}{$ then <math><mn>5"),
        (r"`$x$`", "<code>$x$"),
        (r"It costs $5 or $10, US$7 and 3$, not \$4$.", None),
    ],
)
def test_formulas_become_mathml_without_links(text: str, shown: str | None) -> None:
    def written(tree: list[Any] | str) -> str:
        if isinstance(tree, str):
            return tree
        attributes = tree[1] if isinstance(tree[1], dict) else {}
        name = (
            "" if tree[0] in ("div", "p", "mrow") else f"<{tree[0]}{' block' * (attributes.get('display') == 'block')}>"
        )
        return name + "".join(written(child) for child in tree[1:] if not isinstance(child, dict))

    found = markup(text)
    assert (written(found) if found else None) == shown
    assert "href" not in str(found)


@pytest.mark.parametrize(
    "body",
    [{}, [], {"question_id": "x"}, {"question_id": "x", "vote_id": "12345678", "outcome": "best", "seconds": 1}],
)
def test_an_invalid_ballot_is_refused(here: Here, body: object) -> None:
    answer = here.visit("ann").post("/api/vote", body)
    assert answer.status_code == 422
    assert len(answer.json()["message"]) < 200
    assert not here.votes()


@pytest.mark.parametrize(
    "other",
    [{"seconds": -1}, {"watched": 2}, {"vote_id": "short"}, {"reason": "x" * 2001}, {"more": 1}, {"confidence": 4}],
)
def test_a_ballot_out_of_bounds_is_refused(here: Here, other: dict[str, object]) -> None:
    assert here.visit("ann").vote("x", **other).status_code == 422
    assert not here.votes()


def test_a_body_that_is_too_large_is_refused(here: Here) -> None:
    answer = here.visit("ann").vote("x", reason="x" * 20_000)
    assert answer.status_code == 413
    assert "at most 16,384 bytes" in answer.json()["message"]


def test_a_slow_body_is_refused(folder: Path) -> None:
    with page_of(folder, limits=Limits(body_seconds=0.2)) as here:
        visit = here.visit("ann")

        def slow() -> Iterator[bytes]:
            yield b"{"
            time.sleep(1)
            yield b"}"

        headers = {**visit.headers, "content-type": "application/json"}
        assert visit.client.post("/api/undo", content=slow(), headers=headers).status_code == 408


def test_too_many_requests_of_a_link_get_429(folder: Path) -> None:
    with page_of(folder, limits=Limits(session_rate=0.1, session_burst=5)) as here:
        visit = here.visit("ann")  # two requests
        codes = [visit.get("/api/view").status_code for _ in range(5)]
        late = visit.get("/api/view")
        assert codes == [200, 200, 200, 429, 429]
        assert int(late.headers["retry-after"]) > 1
        assert late.headers["content-type"].startswith("text/plain")
        assert here.visit("max").get("/api/status").status_code == 200  # another link has its own measure


def test_guessing_links_is_limited_per_address(folder: Path) -> None:
    with page_of(folder, limits=Limits(stranger_rate=0.1, stranger_burst=3)) as here:
        visit = here.visit()
        assert [visit.get(f"/a/guess{number}").status_code for number in range(4)] == [403, 403, 403, 429]
        assert here.visit("ann").get("/api/view").status_code == 200


def test_a_bucket_refills_and_forgets_the_oldest() -> None:
    now = [0.0]
    buckets = Buckets(2.0, 2, remembered=2, clock=lambda: now[0])
    buckets.take("a")
    buckets.take("a")
    with pytest.raises(Denied, match="wait 1 s"):
        buckets.take("a")
    now[0] = 0.5
    buckets.take("a")
    for key in ("b", "c"):
        buckets.take(key)
    buckets.take("a")  # forgotten, so whole again
    buckets.take("a")


def test_an_exception_sends_no_traceback(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    def fails(*_: object) -> None:
        raise RuntimeError("/srv/campaign/people.jsonl is broken")

    with page_of(folder, wrap=lambda campaign: Instead(campaign, view=fails)) as here:
        visit = here.visit("ann")
        for path in ("/", "/api/view"):
            answer = visit.get(path)
            assert answer.status_code == 500
            assert "people.jsonl" not in answer.text
            assert "Traceback" not in answer.text
            assert answer.headers["content-security-policy"] == POLICY
    assert "people.jsonl is broken" in caplog.text


def test_leaving_ends_the_session(here: Here) -> None:
    visit = here.visit("ann")
    assert visit.post("/api/leave", {}).status_code == 204
    assert visit.get("/api/view").status_code == 401
