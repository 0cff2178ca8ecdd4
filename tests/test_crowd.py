"""A campaign open to a crowd, over HTTP: stages, codes, pseudonyms, returning participants, hostile requests."""

from __future__ import annotations

import json
import re
from pathlib import Path
from urllib.parse import urlencode

import pytest

from annotations.campaign.folder import read_crowd
from annotations.page.security import Limits
from cli.main import run
from pipelines.campaign_management import revoke
from pipelines.campaigns import close
from pipelines.crowd import open_study
from schemas.errors import CurateError
from schemas.management import Pause, Resume
from tests.campaigns import known, make_campaign, pair
from tests.crowds import CODES, SITE, Person, crowd_campaign
from tests.pages import page_of

pytestmark = pytest.mark.slow

TURK = {"assignmentId": "A1", "hitId": "H1", "workerId": "W1", "turkSubmitTo": "https://www.mturk.com/"}


def events(folder: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_bytes().splitlines()]


def test_a_participant_goes_from_arrival_to_the_completion_code(tmp_path: Path) -> None:
    folder = crowd_campaign(tmp_path / "c")
    with page_of(folder, tokens={}) as here:
        one = Person(here.url)
        one.join("5f1aPID")
        assert "<em>agree</em>" in one.page
        assert not one.view()["sheet"]  # nothing is handed out before the practice
        one.open("/")
        one.send("consent")
        assert "Practice questions: 2. Correct answers needed: 2." in one.said()
        one.send("ready")
        one.practise()
        assert "Practice question 2 of 2" in one.page
        one.practise()
        assert 'id="progress"' in one.page  # the voting page
        assert not one.view()["can_finish"]
        assert one.vote_all() == 3
        assert one.view()["can_finish"]
        assert one.finish() == CODES["completed"]
        assert f'href="https://app.prolific.com/submissions/complete?cc={CODES["completed"]}"' in one.page
        assert not one.view()["sheet"]
        assert one.client.post("/api/undo", json={}).json()["code"] == "closed"
    kinds = [event["event"] for event in events(folder) if event.get("annotator")]
    assert kinds[:6] == ["join", "consent", "ready", "practice", "practice", "qualify"]
    assert kinds[-1] == "finish"


def test_platform_ids_are_only_in_the_private_file(tmp_path: Path) -> None:
    folder = crowd_campaign(tmp_path / "c")
    with page_of(folder, tokens={}) as here:
        Person(here.url).qualify("5f1aPID")
    holders = [path for path in folder.rglob("*") if path.is_file() and b"5f1aPID" in path.read_bytes()]
    assert [path.name for path in holders] == ["participants.jsonl"]
    for private in ("participants.jsonl", "crowd.key", "people.jsonl", "log.jsonl", "crowd.json"):
        assert (folder / private).stat().st_mode & 0o077 == 0, private
    (name,) = {event["annotator"] for event in events(folder) if event["event"] == "join"}
    assert re.fullmatch(r"p[a-z2-7]{12}", str(name))


def test_a_returning_participant_continues_on_another_device(tmp_path: Path) -> None:
    folder = crowd_campaign(tmp_path / "c")
    with page_of(folder, tokens={}) as here:
        Person(here.url).qualify("one")
        again = Person(here.url)
        again.join("one", session="s2")
        assert 'id="progress"' in again.page
        again.vote_all()
        again.finish()
        for session in ("s1", "s2"):  # the same submissions show the code again
            again.join("one", session=session)
            assert again.code() == CODES["completed"]
        refused = again.open("/join", PROLIFIC_PID="one", STUDY_ID="study", SESSION_ID="s3")
        assert refused.status_code == 403
        assert "already taken part" in again.said()
        assert not again.code()
    assert sum(event["event"] == "join" for event in events(folder)) == 1


def test_the_practice_screens_out_and_a_repeated_answer_has_no_effect(tmp_path: Path) -> None:
    folder = crowd_campaign(tmp_path / "c")
    with page_of(folder, tokens={}) as here:
        one = Person(here.url)
        one.join("one")
        one.send("consent")
        one.send("ready")
        form = one.page
        one.practise(right=False)
        before = len(events(folder))
        one.page = form
        one.send("practice", number="0", outcome="tie")
        assert "The expected answer is" in one.said()
        assert len(events(folder)) == before
        one.open("/")
        one.practise()
        assert one.code() == CODES["screened_out"]
        assert one.client.get("/join/finish").url.path == "/"
        assert not one.view()["sheet"]


def test_stopped_participants_and_those_without_work_get_their_own_codes(tmp_path: Path) -> None:
    strict = {"min_questions": 3, "patience": 1, "min_seconds": 0, "max_side_share": 1}
    folder = crowd_campaign(tmp_path / "c", max_votes=30, gold_share=0.5, thresholds=strict, pairs=12)
    with page_of(folder, tokens={}) as here:
        careless, careful = Person(here.url), Person(here.url)
        careless.qualify("careless")
        careless.vote_all(choice="tie")
        assert careless.finish() == CODES["stopped"]
        careful.qualify("careful")
        careful.vote_all()
        assert careful.finish() == CODES["no_more_work"]


def test_a_closed_or_full_study_and_revoked_participants_are_refused(tmp_path: Path) -> None:
    folder = crowd_campaign(tmp_path / "c", config={"places": 2})
    with page_of(folder, tokens={}) as here:
        one = Person(here.url)
        one.qualify("one")
        Person(here.url).qualify("two")
        third = Person(here.url)
        assert third.join("three").status_code == 403
        assert "no more participants" in third.said()
        here.campaign.manage("boss", Pause())
        assert "is paused" in Person(here.url).join("four").text
        assert not one.view()["can_finish"]
        here.campaign.manage("boss", Resume())
        revoke(folder, [next(str(event["annotator"]) for event in events(folder) if event["event"] == "join")])
        assert one.join("one").status_code == 403
        close(folder)
        assert Person(here.url).join("four").status_code == 403


def test_mturk_previews_and_submits_in_its_frame(tmp_path: Path) -> None:
    folder = crowd_campaign(tmp_path / "c", "mturk", config={"qualification": 0})
    with page_of(folder, tokens={}) as here:
        frame = Person(here.url)
        preview = frame.open("/join", assignmentId="ASSIGNMENT_ID_NOT_AVAILABLE", hitId="H1", turkSubmitTo="x")
        assert "Accept this HIT" in frame.said()
        allowed = "frame-ancestors https://worker.mturk.com https://www.mturk.com https://workersandbox.mturk.com;"
        assert allowed in preview.headers["content-security-policy"]
        assert "x-frame-options" not in preview.headers
        assert not (folder / "participants.jsonl").exists()
        frame.open("/join", **TURK)
        assert "set-cookie" not in preview.headers
        link = re.search(r'href="(/a/\w+)"', frame.page)
        assert link
        tab = Person(here.url)
        tab.open(link.group(1))
        tab.send("consent")
        tab.vote_all()
        assert tab.finish() == CODES["completed"]
        frame.open("/join", **TURK)
        assert 'method="post" action="https://www.mturk.com/mturk/externalSubmit"' in frame.page
        fields = dict(re.findall(r'type="hidden" name="(\w+)" value="([\w-]+)"', frame.page))
        assert fields == {"assignmentId": "A1", "result": "completed", "code": CODES["completed"]}
        assert frame.open("/join", **TURK | {"assignmentId": "A2"}).status_code == 403


FOREIGN = (
    "",
    "https://evil.example",
    "http://www.mturk.com",
    "https://www.mturk.com.evil.example",
    "https://www.mturk.com@evil.example",
    "https://www.mturk.com/mturk/../evil",
    "//evil.example",
    "javascript:alert(1)",
    '"><script>',
)


def test_no_form_goes_to_another_site_than_mturk(tmp_path: Path) -> None:
    with page_of(crowd_campaign(tmp_path / "c", "mturk"), tokens={}) as here:
        for site in FOREIGN:
            answer = Person(here.url).open("/join", **TURK | {"turkSubmitTo": site})
            assert answer.status_code == 400, site
            assert "evil" not in answer.text
            assert "<script" not in answer.text
        one = Person(here.url)
        one.open("/join", **TURK, extra='"><script>alert(1)</script>')
    assert "<script>" not in one.page
    assert urlencode({"assignmentId": "A1", "hitId": "H1"}).replace("&", "&amp;") in one.page


def test_a_plain_link_gives_a_code_that_continues_elsewhere(tmp_path: Path) -> None:
    folder = crowd_campaign(tmp_path / "c", "link", config={"qualification": 0})
    with page_of(folder, tokens={}) as here:
        one, other = Person(here.url), Person(here.url)
        one.open("/join")
        one.send("begin")
        code = re.search(r"Your own code: <strong[^>]*>([A-Z0-9-]{14})<", one.page)
        assert code
        one.send("consent")
        one.open("/join")  # the same browser is recognised by its cookie
        assert 'id="progress"' in one.page
        other.open("/join")
        assert other.send("begin", code="AAAA-BBBB-CCCC").status_code == 403
        other.open("/")
        other.send("begin", code=code.group(1).lower())
        assert 'id="progress"' in other.page
    assert sum(event["event"] == "join" for event in events(folder)) == 1


def test_arrivals_without_valid_ids_are_refused(tmp_path: Path) -> None:
    folder = crowd_campaign(tmp_path / "c")
    with page_of(folder, tokens={}) as here:
        for person in ("", "a b", "{{%PROLIFIC_PID%}}", "<script>alert(1)</script>", "x" * 101, "é"):
            answer = Person(here.url).join(person)
            assert answer.status_code == 400, person
            assert "PROLIFIC_PID is missing" in answer.text
            assert "<script>" not in answer.text
    assert not (folder / "participants.jsonl").exists()


def test_forms_of_other_sites_are_refused(tmp_path: Path) -> None:
    folder = crowd_campaign(tmp_path / "c")
    with page_of(folder, tokens={}) as here:
        one = Person(here.url)
        one.join("one")
        token = re.findall(r'name="page" value="(\w+)"', one.page)[0]
        for page, headers in [
            ("", {}),
            ("f" * 32, {}),
            (token, {"origin": "https://evil.example"}),
            (token, {"origin": "null"}),
            (token, {"sec-fetch-site": "cross-site"}),
        ]:
            assert one.client.post("/join/consent", data={"page": page}, headers=headers).status_code == 403
        assert not [event for event in events(folder) if event["event"] == "consent"]
        assert one.client.get("/join/consent").status_code == 405
        headers = {"origin": here.url, "sec-fetch-site": "same-origin"}
        assert one.client.post("/join/consent", data={"page": token}, headers=headers).status_code == 200
        answer = {"page": token, "number": "0", "outcome": "best"}
        assert one.client.post("/join/practice", data=answer).status_code == 422
        stranger = Person(here.url)
        assert stranger.client.post("/join/consent", data={"page": token}).status_code == 401


def test_invited_annotators_and_managers_take_no_part_in_the_crowd(tmp_path: Path) -> None:
    with page_of(crowd_campaign(tmp_path / "c")) as here:
        visit = here.visit("ann")
        assert visit.open()
        assert "data-outcome" in visit.get("/").text
        assert visit.get("/join/finish").status_code == 403
        assert here.visit("max").get("/join/practice/0").status_code == 403


def test_arrivals_are_limited_per_address(tmp_path: Path) -> None:
    limits = Limits(join_rate=0.1, join_burst=3)
    with page_of(crowd_campaign(tmp_path / "c"), tokens={}, limits=limits, behind_proxy=True) as here:
        codes = [Person(here.url, "198.51.100.7").join(f"p{n}").status_code for n in range(5)]
        assert codes == [200, 200, 200, 429, 429]
        assert Person(here.url, "198.51.100.8").join("p9").status_code == 200


def test_an_incomplete_private_line_is_removed_at_the_start(tmp_path: Path) -> None:
    folder = crowd_campaign(tmp_path / "c")
    private = folder / "participants.jsonl"
    private.write_text('{"participant":"p')
    with page_of(folder, tokens={}) as here:
        Person(here.url).join("one")
    assert [json.loads(line)["person"] for line in private.read_text().splitlines()] == ["one"]


def test_a_campaign_without_a_crowd_has_no_such_pages(tmp_path: Path) -> None:
    with page_of(make_campaign(tmp_path / "c", [pair(0)]), tokens={}) as here:
        assert Person(here.url).join("one").status_code == 404


def test_open_prints_the_study_url_and_the_codes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = make_campaign(tmp_path / "c", [pair(0)], gold=[known(1), known(2)], max_votes=5)
    (tmp_path / "consent.md").write_text("# Consent")
    options = ["--consent", str(tmp_path / "consent.md"), "--qualification", "2", "--url", SITE]
    assert run(["campaign", "open", str(folder), "--prolific", *options]) == 0
    said = capsys.readouterr()
    placeholders = "PROLIFIC_PID={{%PROLIFIC_PID%}}&STUDY_ID={{%STUDY_ID%}}&SESSION_ID={{%SESSION_ID%}}"
    assert said.out.strip() == f"{SITE}/join?{placeholders}"
    assert said.err.count("completion code") == 4
    assert run(["campaign", "open", str(folder), "--link", *options]) == 6
    assert "already open to prolific" in capsys.readouterr().err
    assert run(["campaign", "open", str(folder), "--url", SITE, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    config = read_crowd(folder)
    assert config
    assert found["codes"] == config.codes.model_dump()
    assert len(set(found["codes"].values())) == 4


@pytest.mark.parametrize(
    ("campaign", "options", "said"),
    [
        ({"max_votes": 0}, ["--link", "--consent", "{consent}"], "no limit of votes per person"),
        ({}, ["--link", "--consent", "{consent}", "--qualification", "9"], "too few for 9 practice questions"),
        ({}, ["--link"], "the consent text is missing"),
        ({}, ["--link", "--consent", "nowhere.md"], "nowhere.md: no such file"),
        ({}, ["--link", "--mturk", "--consent", "{consent}"], "several platforms"),
        ({}, [], "not open to a crowd"),
        ({}, ["--link", "--consent", "{consent}", "--pass-mark", "2"], "pass_mark"),
        ({}, ["--config", "{toml}"], "not a loopback address"),
    ],
)
def test_a_study_that_cannot_work_is_not_opened(
    tmp_path: Path, campaign: dict[str, int], options: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = make_campaign(tmp_path / "c", [pair(0)], **{"max_votes": 5, **campaign})
    (tmp_path / "consent.md").write_text("# Consent")
    (tmp_path / "c.toml").write_text('platform = "mturk"\nconsent = "x"\nstand_in = "https://evil.example"\n')
    names = {"consent": tmp_path / "consent.md", "toml": tmp_path / "c.toml"}
    assert run(["campaign", "open", str(folder), *[option.format(**names) for option in options]]) in (2, 4, 5, 6)
    assert said in capsys.readouterr().err
    assert read_crowd(folder) is None


def test_a_closed_campaign_cannot_be_opened(tmp_path: Path) -> None:
    folder = make_campaign(tmp_path / "c", [pair(0)], max_votes=5)
    close(folder)
    config = read_crowd(crowd_campaign(tmp_path / "other"))
    with pytest.raises(CurateError, match="is closed"):
        open_study(folder, config, url=SITE)
