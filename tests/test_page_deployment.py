"""The server in operation: several campaigns, a TLS proxy, health and metrics, copies of a campaign in use."""

from __future__ import annotations

import inspect
import json
import re
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from starlette.datastructures import Headers

from annotations.campaign.log import read_events
from annotations.campaign.session import CampaignSession
from annotations.page import proxy, server, site
from annotations.page.files import version
from annotations.page.plain import Plain
from annotations.page.security import PAGE_HEADER, Limits
from annotations.page.texts import FOLDER, languages, plain_texts
from cli.annotate import annotate
from cli.main import run
from pipelines.annotating import campaign_folders
from pipelines.campaigns import check, status
from schemas.campaign import AnnotatorView, Refusal
from tests.campaigns import ballot, held, invite, make_campaign, pair
from tests.crowds import CODES, Person, crowd_campaign
from tests.pages import Visit, page_of
from tests.proxies import certificate, tls_proxy

pytestmark = pytest.mark.slow


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_campaign(tmp_path / "june", [pair(number) for number in range(3)])


class Told:
    """What the command has printed so far."""

    out = err = ""


@contextmanager
def serving(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Told]:
    """``curate annotate`` in a thread: tests of the command line start it as a process."""
    servers, codes, told = [], [], Told()
    make = server.make_server
    monkeypatch.setattr(server, "make_server", lambda *a, **k: servers.append(make(*a, **k)) or servers[-1])
    thread = threading.Thread(target=lambda: codes.append(run(["annotate", "--port", "0", "--json", *arguments])))
    thread.start()
    try:
        while not (told.out.endswith("}\n") and "Ctrl-C" in told.err):
            said = capsys.readouterr()
            told.out, told.err = told.out + said.out, told.err + said.err
            assert thread.is_alive(), told.err
            time.sleep(0.02)
        yield told
    finally:
        for one in servers:
            one.should_exit = True
        thread.join(30)
    assert codes == [0]


def test_campaigns_of_a_folder_are_served_beside_a_damaged_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ("june", "july", "gone", "torn")
    made = {name: make_campaign(tmp_path / name, [pair(0), pair(1)], name=name) for name in names}
    tokens = {name: invite(made[name], "ann")["ann"] for name in names}
    (made["torn"] / "log.jsonl").write_text('{"seq": 1, "at": "2026-01-05T09:00:00Z", "event": "vote"}\nnonsense\n{}\n')
    with CampaignSession.open(made["gone"]):
        pass
    (made["gone"] / "tasks" / "0001.jsonl").unlink()
    with serving([str(tmp_path)], monkeypatch, capsys) as told:
        report = json.loads(told.out)
        urls = {page["campaign"]: page["url"] for page in report["campaigns"]}
        assert sorted(urls) == ["july", "june"]
        assert [one["campaign"] for one in report["failed"]] == ["gone", "torn"]
        root = urls["june"].removesuffix("/c/june")
        browser = Visit(root)  # one browser takes part in both
        for name in urls:
            answer = browser.client.get(f"/a/{tokens[name]}", follow_redirects=True)  # a link from before
            assert answer.url == f"{root}/c/{name}/a/{tokens[name]}"
            assert f'content="0;url=/c/{name}/"' in answer.text
            assert f"Path=/c/{name};" in answer.headers["set-cookie"]
        for name in urls:
            visit = Visit(urls[name])
            visit.client.cookies = browser.client.cookies
            visit.headers = {PAGE_HEADER: visit.get("/api/view").headers[PAGE_HEADER]}
            assert visit.vote(visit.open()[0]).json()["campaign"] == name
            assert 'href="/static/' in visit.get("/").text
            assert visit.get("").status_code in (200, 308)
        assert [browser.get(path).status_code for path in ("/", "/a/none", "/c/torn/", "/api/view", "/healthz")] == [
            401, 403, 404, 404, 200,
        ]  # fmt: skip
    said = told.err + capsys.readouterr().err
    assert "campaign torn is not served" in said
    assert f"campaign june: 0 votes of 2 at {urls['june']}" in said
    assert "june: stopped: 1 vote of 2" in said
    assert [status(made[name]).votes for name in urls] == [1, 1]


def test_folders_and_names_of_several_campaigns(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, two = (make_campaign(tmp_path / name, [pair(0)], name="same") for name in ("one", "two"))
    assert campaign_folders([tmp_path]) == [one, two]
    assert campaign_folders([two, tmp_path]) == [two, one]
    assert run(["annotate", str(tmp_path)]) == 2
    assert "two campaigns named same" in capsys.readouterr().err
    (tmp_path / "token").write_text("short")
    assert run(["annotate", str(one), "--metrics", str(tmp_path / "token")]) == 4
    assert "at least 16 ASCII characters" in capsys.readouterr().err
    assert run(["annotate", str(one), "--metrics", str(tmp_path / "none")]) == 5
    assert run(["annotate", "no-folder", "nor-this"]) == 5
    assert capsys.readouterr().err.count("no campaign in this folder") == 2


@pytest.mark.parametrize(("root", "prefix"), [("", "__Host-"), ("/c/june", "__Secure-")])
def test_a_vote_and_links_through_a_tls_proxy(folder: Path, tmp_path: Path, root: str, prefix: str) -> None:
    pem = certificate(tmp_path)
    trusting = ssl.create_default_context(cafile=pem)
    with page_of(folder, root=root, behind_proxy=True) as here, tls_proxy(here.url, pem) as https:
        client = httpx.Client(base_url=https + root, verify=trusting, trust_env=False, timeout=20)
        entered = client.get(f"/a/{here.tokens['ann']}")
        cookie = entered.headers["set-cookie"].lower()
        assert entered.headers["set-cookie"].startswith(f"{prefix}curate-")
        assert {"secure", "httponly", "samesite=strict", f"path={root or '/'}"} <= set(cookie.split("; "))
        assert f'content="0;url={root}/"' in entered.text
        assert "strict-transport-security" not in entered.headers  # left to the proxy
        view = client.get("/api/view")
        page = {PAGE_HEADER: view.headers[PAGE_HEADER]}
        vote = ballot(view.json()["sheet"]["questions"][0]["question_id"]).model_dump(mode="json")
        refused = client.post("/api/vote", json=vote, headers={**page, "origin": https.replace("https", "http")})
        assert refused.json()["code"] == "other-origin"
        assert client.post("/api/vote", json=vote, headers={**page, "origin": https}).json()["votes"] == 1
        boss = httpx.Client(base_url=https + root, verify=trusting, trust_env=False, timeout=20)
        boss.get(f"/a/{here.tokens['max']}")
        page = {PAGE_HEADER: boss.get("/api/status").headers[PAGE_HEADER]}
        made = boss.post("/api/manage", json={"action": {"action": "invite", "names": ["ben"]}}, headers=page)
        assert made.json()["links"]["ben"].startswith(f"{https}{root}/a/")
        plain = Visit(here.url)  # without the proxy, and so without the cookie
        assert "Secure" not in plain.get(f"/a/{here.tokens['ann']}").headers["set-cookie"]
        assert here.votes() == 1


FORWARDED = [
    ({"x-forwarded-for": "198.51.100.7", "x-forwarded-proto": "https"}, "198.51.100.7", "https"),
    ({"x-forwarded-for": "127.0.0.1, 198.51.100.7"}, "198.51.100.7", ""),  # the client sent the first
    ({"x-forwarded-for": "198.51.100.7:4711"}, "198.51.100.7", ""),
    ({"x-forwarded-for": "198.51.100.7, unknown"}, "", ""),
    ({"x-forwarded-proto": "javascript"}, "", ""),
    ({"forwarded": 'For="[2001:db8::1]:4711"; Proto=HTTPS;by=10.0.0.1'}, "2001:db8::1", "https"),
    ({"forwarded": "for=192.0.2.1;proto=https, for=198.51.100.7;proto=http"}, "198.51.100.7", "http"),
    ({"forwarded": "for=192.0.2.1", "x-forwarded-for": "198.51.100.7"}, "198.51.100.7", ""),
    ({"forwarded": "for=_hidden"}, "", ""),
    ({}, "", ""),
]


@pytest.mark.parametrize(("headers", "address", "scheme"), FORWARDED)
def test_only_the_last_entry_of_forwarded_headers_counts(headers: dict[str, str], address: str, scheme: str) -> None:
    assert proxy.outer_client(Headers(headers)) == (address, scheme)


@pytest.mark.parametrize("behind_proxy", [True, False])
def test_limits_are_per_client_of_the_proxy_only_with_the_option(folder: Path, behind_proxy: bool) -> None:
    with page_of(folder, limits=Limits(stranger_rate=0.1, stranger_burst=2), behind_proxy=behind_proxy) as here:
        visit = here.visit()
        sent = [{"x-forwarded-for": f"198.51.100.{n}", "x-forwarded-proto": "https"} for n in (1, 1, 1, 2)]
        last = 403 if behind_proxy else 429
        assert [visit.get("/a/guess", **one).status_code for one in sent] == [403, 403, 429, last]
        cookie = visit.get(f"/a/{here.tokens['ann']}", **sent[0]).headers["set-cookie"]
        assert ("Secure" in cookie) is behind_proxy


def test_requests_of_one_address_at_once_are_limited(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proxy, "AT_ONCE", 2)
    one, other = ({"x-forwarded-for": f"198.51.100.{n}"} for n in (1, 2))
    with page_of(folder, behind_proxy=True) as here:
        boss = here.visit("max")
        with (
            boss.client.stream("GET", "/api/events", headers=one) as first,
            boss.client.stream("GET", "/api/events", headers=one) as second,
        ):
            assert [first.status_code, second.status_code] == [200, 200]
            assert boss.get("/healthz", **one).status_code == 429
            assert boss.get("/healthz", **other).status_code == 200


def test_healthz_is_503_with_the_reason_while_the_log_cannot_be_written(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(site, "HEALTH_SECONDS", 0.0)
    with page_of(folder) as here:
        visit = here.visit()
        assert (visit.get("/healthz").status_code, visit.get("/healthz").text) == (200, "ok\n")
        moved = folder.rename(folder.with_name("elsewhere"))  # as if the disk were gone
        answer = visit.get("/healthz")
        assert answer.status_code == 503
        assert answer.text == f"test: {folder}: a test file cannot be written\n"
        moved.rename(folder)
        assert visit.get("/healthz").status_code == 200


TOKEN = "a-token-of-the-operator"


def test_metrics_are_read_by_prometheus_and_have_no_personal_data(folder: Path) -> None:
    parser = pytest.importorskip("prometheus_client.parser")
    with page_of(folder, token=TOKEN, failed=["torn"]) as here:
        ann, stranger = here.visit("ann"), here.visit()
        ann.vote(ann.open()[0])
        ann.vote(ann.open()[0], seconds=-1)
        ann.vote("another-question")
        for sent in ({}, {"authorization": f"Bearer {TOKEN}x"}):
            assert stranger.get("/metrics", **sent).status_code == 401
        answer = stranger.get("/metrics", authorization=f"Bearer {TOKEN}")
        leases = here.campaign.status().open
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert all(secret not in answer.text for secret in ("ann", "max", *here.tokens.values(), "127.0.0.1"))
    families = {family.name: family for family in parser.text_string_to_metric_families(answer.text)}
    values = {
        (sample.name, *(value for key, value in sorted(sample.labels.items()) if key != "campaign")): sample.value
        for family in families.values()
        for sample in family.samples
        if sample.labels.get("campaign") != "torn"
    }
    assert values["curate_votes_accepted_total",] == values["curate_votes",] == 1
    assert values["curate_votes_refused_total", "malformed"] == values["curate_votes_refused_total", "unknown"] == 1
    assert values["curate_leases",] == leases > 0
    assert values["curate_votes_wanted",] == 3
    assert values["curate_log_bytes",] == (folder / "log.jsonl").stat().st_size
    assert values["curate_connections",] >= 2
    assert values["curate_campaign_state", "running"] == 1
    assert families["curate_vote_seconds"].type == "histogram"
    assert values["curate_vote_seconds_count",] == values["curate_vote_seconds_bucket", "+Inf"] == 1
    assert 0 < values["curate_vote_seconds_sum",] < 10
    assert 'curate_campaign_state{campaign="torn",state="failed"} 1' in answer.text


def test_there_are_no_metrics_without_a_token(folder: Path) -> None:
    with page_of(folder) as here:
        assert here.visit("max").get("/metrics").status_code == 404


def test_assets_are_named_by_their_content_and_kept_by_browsers(folder: Path) -> None:
    with page_of(folder) as here:
        visit = here.visit("ann")
        page = visit.get("/").text
        address = f"/static/{version()}/annotator.js"
        assert f'src="{address}"' in page
        answer = visit.get(address)
        assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
        assert answer.headers["content-encoding"] == "gzip"
        assert visit.get("/static/0123/annotator.js").headers["cache-control"] == "no-cache"


@pytest.mark.parametrize("language", ["de", "ar"])
def test_a_crowd_takes_part_in_its_language(tmp_path: Path, language: str) -> None:
    made = crowd_campaign(tmp_path / "c", config={"qualification": 1}, max_votes=1, gold_share=0.0)
    with page_of(made, tokens={}, root="/c/june") as here:
        one = Person(here.url)
        one.client.headers["accept-language"] = f"{language}-XX, en;q=0.5"
        texts, pages = Plain(language), []
        for step, title in (("", ""), ("consent", "how-it-works"), ("ready", "practice")):
            one.send(step) if step else one.join("one")
            pages.append(one.page)
            assert not title or f'<h1 dir="auto">{texts.t(title)}</h1>' in one.page
        one.practise()
        assert one.vote_all() == 1
        one.open("/join/finish")
        pages.append(one.page)
        one.send("finish")
        pages.append(one.page)
        assert texts.t("completed-title") in one.page
        assert CODES["completed"] in one.page
        pages.append(one.join("").text)
    direction = "rtl" if language == "ar" else "ltr"
    assert all(f'<html lang="{language}" dir="{direction}">' in page for page in pages)
    english = [text for key, text in plain_texts("en").items() if text != plain_texts(language)[key]]
    for page in pages:
        said = re.sub(r"<[^>]+>", "|", page)
        assert "{" not in said
        assert not [text for text in english if f"|{text}|" in said]


def test_plain_texts_of_all_languages_have_the_same_keys_and_values() -> None:
    own = languages(FOLDER / "plain")
    assert own.keys() == languages().keys()
    named = [{key: set(re.findall(r"\{\w+\}", str(text))) for key, text in texts.items()} for texts in own.values()]
    assert all(one == named[0] for one in named)


ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize("name", ["Dockerfile", "compose.yaml", "curate-annotate.service"])
def test_deployment_files_use_options_of_the_command(name: str) -> None:
    text = (ROOT / "deploy" / name).read_text()
    command = re.split(r"ENTRYPOINT|ExecStart=|command:", text)[1].split("volumes:")[0].split("Restart=")[0]
    used = set(re.findall(r"--[a-z-]+", command))
    declared = {f"--{name.replace('_', '-')}" for name in inspect.signature(annotate).parameters}
    assert "--behind-proxy" in used
    assert used <= declared


BACKUP = "cp -p june/log.jsonl june.log && cp -rp june backup && mv june.log backup/log.jsonl"


def test_a_copy_of_a_campaign_in_use_has_every_confirmed_vote(tmp_path: Path) -> None:
    assert BACKUP in (ROOT / "docs" / "deploy.md").read_text()
    people = ("a0", "a1", "a2")
    made = make_campaign(tmp_path / "june", [pair(n, quota=3) for n in range(2000)], people=people)
    confirmed: list[str] = []
    enough = threading.Event()
    with CampaignSession.open(made) as campaign:

        def votes(name: str) -> None:
            view: AnnotatorView | Refusal = campaign.view(name)
            while not enough.is_set():
                question = held(view)[0]
                view = campaign.vote(name, ballot(question, "tie"))
                confirmed.append(question.question_id)

        threads = [threading.Thread(target=votes, args=(name,)) for name in people]
        for thread in threads:
            thread.start()
        while len(confirmed) < 60:
            time.sleep(0.001)
            assert any(thread.is_alive() for thread in threads)
        before = set(confirmed)
        subprocess.run(["sh", "-ec", BACKUP], cwd=tmp_path, check=True)
        at_the_end = len(confirmed)
        enough.set()
        for thread in threads:
            thread.join()
    assert at_the_end > len(before)  # votes arrived while it was copied
    copy = tmp_path / "backup"
    with (copy / "log.jsonl").open("ab") as log:
        log.write(b'{"seq": 9999, "event": "vo')  # copied in the middle of a write
    assert not check(copy).findings
    with CampaignSession.open(copy) as again:
        view = again.view("a0")
        assert isinstance(again.vote("a0", ballot(held(view)[0])), AnnotatorView)
    assert not check(copy).findings
    stored = [event["question"] for event in read_events(copy / "log.jsonl") if event["event"] == "vote"]
    assert before <= set(stored)
    assert len(stored) == len(set(stored))
