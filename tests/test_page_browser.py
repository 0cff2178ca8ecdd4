"""The page in a real browser: keys, touch, reloads, lost connections, warnings, accessibility."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from annotations.campaign.session import CampaignSession
from annotations.page import files
from schemas.campaign import Refusal
from tests.browsers import GLANCE, Screen, clip_campaign, logged, needs_chromium
from tests.campaigns import by_each, known, make_campaign, pair
from tests.pages import Instead, page_of

pytestmark = [needs_chromium, pytest.mark.slow]

SCRIPT = "<script>alert(1)</script><img src=x onerror=alert(1)><b>bold</b>"
RULES = "# What to look for\n\nWatch the video, then say which answer is **right**.\n\n1. Facts first.\n2. Then style."


def test_votes_by_keys_once_enough_of_the_clip_has_been_played(browser: Any, tmp_path: Path) -> None:
    folder = clip_campaign(tmp_path / "c", min_watched=0.8, max_votes=3)
    with page_of(folder) as here:
        screen = Screen(browser, reduced_motion="reduce").enter(here)  # so that it does not play by itself
        fetched: list[str] = []
        screen.page.on("request", lambda request: fetched.append(request.url))
        screen.vote("a")
        screen.text("#why-not", "80% of the video")
        screen.text("#announcement", "80% of the video")
        assert not logged(folder)
        screen.page.evaluate("() => { document.querySelector('video').muted = true; }")
        screen.press("k")
        screen.page.wait_for_function("() => document.querySelector('video').ended")
        screen.text("#announcement", "You can vote now.")
        media = len(fetched)
        for count, key in enumerate(["1", "t", "n"], start=1):
            screen.vote(key)
            screen.votes(count)
        screen.text("#idle-title", "You are done")
        assert not [url for url in fetched[media:] if "/media/" in url]  # the video stayed from question to question
    votes = logged(folder)
    assert [vote["outcome"] for vote in votes] == ["left", "tie", "both_bad"]
    assert all(vote["watched"] > 0.95 and 0 <= vote["seconds"] < 60 for vote in votes)
    assert not screen.complaints


def test_two_questions_about_a_pair_are_answered_by_keys(browser: Any, tmp_path: Path) -> None:
    """In order, beside the same answers; the next pair comes after the last one."""
    criteria = [
        {"id": "accuracy", "question": "Which answer is more accurate?", "translations": {"de": "Was stimmt eher?"}},
        {"id": "clarity", "question": "Which answer is clearer?"},
    ]
    tasks = [one for number in range(2) for one in by_each(pair(number), criteria)]
    folder = make_campaign(tmp_path / "c", tasks, people=("ben",), criteria=criteria)
    with page_of(folder) as here:
        screen = Screen(browser, locale="de-DE").enter(here)
        current, seen = screen.page.locator("#criteria [aria-current]"), []
        for count, key in enumerate("abtn", start=1):
            shown = (screen.page.locator("#criteria li").count(), screen.page.locator("#left").inner_text())
            seen.append((screen.question(), current.inner_text(), *shown))
            if count == 1:
                assert screen.axe() == []
            screen.vote(key)
            screen.text("#progress-text", str(count))
            screen.page.locator("#work:not(.saving):not([hidden]), #idle:not([hidden])").wait_for()
        screen.text("#idle-state", "gespeichert")
    assert [text for _, text, *_ in seen] == ["Was stimmt eher?", "Which answer is clearer?"] * 2
    assert [(one[0], one[2:]) for one in seen[::2]] == [(one[0], one[2:]) for one in seen[1::2]]
    assert len({one[0] for one in seen}) == 2
    assert [(vote["criterion"], vote["outcome"]) for vote in logged(folder)] == [
        ("accuracy", "left"), ("clarity", "right"), ("accuracy", "tie"), ("clarity", "both_bad"),
    ]  # fmt: skip
    assert not screen.complaints


def test_votes_by_touch_on_a_phone(browser: Any, tmp_path: Path) -> None:
    long = pair(0).model_copy(update={"first_text": "It rolls on. " * 60})
    tasks = [long.model_copy(update={"task_id": f"t{n}", "video": "clip0.mp4"}) for n in range(3)]
    folder = clip_campaign(tmp_path / "c", tasks=tasks, instructions=RULES)
    with page_of(folder) as here:
        screen = Screen(browser, width=360, height=740, touch=True).enter(here)
        screen.page.get_by_role("button", name="I have read this").tap()
        screen.glance()
        screen.page.get_by_role("button", name="B is better").tap()
        screen.votes(1)
        screen.glance()
        screen.page.get_by_role("button", name="Both bad").tap()
        screen.votes(2)
        sizes = screen.page.evaluate(
            "() => [...document.querySelectorAll('button')].filter((b) => b.offsetParent)"
            ".map((b) => b.getBoundingClientRect()).map((r) => Math.min(r.width, r.height))"
        )
        assert min(sizes) >= 44
        assert screen.page.evaluate("() => document.documentElement.scrollWidth") == 360
        left, right = (screen.page.locator(f"#{side}").bounding_box() for side in ("left", "right"))
        assert right["y"] > left["y"] + left["height"]  # one below the other
        box = {name: screen.page.locator(f".{name}").bounding_box() for name in ("top", "stage", "vote")}
        assert box["top"]["height"] < 50  # one line
        answers = box["vote"]["y"] - screen.page.locator(".answers").bounding_box()["y"]
        assert answers >= 0.55 * 740  # at once, with a question of one line
        screen.page.mouse.wheel(0, 5_000)
        screen.page.wait_for_function("() => document.querySelector('.stage').getBoundingClientRect().y === 0")
        assert box["vote"]["y"] - box["stage"]["height"] >= 0.6 * 740  # the video stays, the header does not
        screen.page.locator("#menu").tap()
        assert screen.page.get_by_role("button", name="Leave").is_visible()
    assert [vote["outcome"] for vote in logged(folder)] == ["right", "both_bad"]
    assert not screen.complaints


BLANKS = """() => {
  window.blanks = [];
  const look = () => {
    const video = document.querySelector('#video');
    const { width } = video.getBoundingClientRect();
    const question = document.querySelector('#question').textContent;
    if (document.querySelector('#work').hidden || !width || video.readyState < 2 || !question) {
      window.blanks.push([question, width, video.readyState]);
    }
    window.frames_seen = (window.frames_seen ?? 0) + 1;
    requestAnimationFrame(look);
  };
  look();
}"""
"""Looks at each frame whether it has a question and a picture."""
PREPARED = "() => document.querySelector('.spare')?.readyState >= 2"


def test_no_blank_between_sheets_and_work_goes_on_offline(browser: Any, tmp_path: Path) -> None:
    folder = clip_campaign(tmp_path / "c", videos=4, pairs=1, sheets_ahead=2)
    with page_of(folder) as here:
        screen = Screen(browser)
        network = screen.context.new_cdp_session(screen.page)
        slow = {"offline": False, "latency": 300, "downloadThroughput": -1, "uploadThroughput": -1}
        network.send("Network.enable")
        network.send("Network.emulateNetworkConditions", slow)
        screen.enter(here)
        screen.page.wait_for_function("() => document.querySelector('#video').readyState >= 2")
        screen.page.wait_for_function(PREPARED)
        screen.page.evaluate(BLANKS)
        names = [screen.page.locator("#video").get_attribute("data-name")]
        screen.vote("a")
        assert screen.page.evaluate("() => document.querySelector('#video').readyState") >= 2  # at once
        names.append(screen.page.locator("#video").get_attribute("data-name"))
        screen.votes(1)
        screen.page.wait_for_function(PREPARED)
        network.send("Network.emulateNetworkConditions", slow | {"offline": True})
        for _ in range(2):
            screen.vote("b")
            screen.page.wait_for_function("() => document.querySelector('#video').readyState === 4")
            screen.watch()
            names.append(screen.page.locator("#video").get_attribute("data-name"))
        screen.text("#save-state", "2 votes not saved yet")
        assert screen.page.evaluate("() => [window.blanks, window.frames_seen > 20]") == [[], True]
        assert sorted(names) == [f"clip{number}.mp4" for number in range(4)]
        screen.vote("t")
        screen.text("#idle-title", "being saved")
        network.send("Network.emulateNetworkConditions", slow)
        screen.text("#idle-title", "You are done")
        network.detach()
    assert [vote["outcome"] for vote in logged(folder)] == ["left", "right", "right", "tie"]
    assert not screen.complaints


def test_tools_compare_words_jump_to_times_and_step_frames(browser: Any, tmp_path: Path) -> None:
    one = "At 0:01 the *ball* rolls; after 1.2 s it stops. Not 9:59, 0:75 or 1990s. $x^2$"
    task = pair(0, video="clip0.mp4").model_copy(
        update={"first_text": one, "second_text": one.replace("stops", "falls")}
    )
    folder = clip_campaign(tmp_path / "c", tasks=[task])
    with page_of(folder) as here:
        screen = Screen(browser, reduced_motion="reduce").enter(here)
        at = "() => document.querySelector('#video').currentTime"
        screen.watch()
        assert screen.page.locator("#left .time").all_inner_texts() == ["0:01", "1.2 s"]
        screen.page.locator("#left .time").last.click()
        assert screen.page.evaluate(at) == 1.2
        screen.press(",")
        assert screen.page.evaluate(at) == pytest.approx(1.175, abs=0.002)  # 20 frames a second
        for _ in range(2):
            screen.press(".")
        assert screen.page.evaluate(at) == pytest.approx(1.275, abs=0.002)
        screen.press("d")
        screen.text("#announcement", "2 words differ.")
        assert sorted(screen.page.locator("mark").all_inner_texts()) == ["falls", "stops"]
        assert screen.axe() == []
        screen.press("d")
        assert not screen.page.locator("mark").count()
        assert screen.page.locator("#left math msup").count() == 1
        screen.page.set_viewport_size({"width": 1440, "height": 420})
        screen.press("ArrowDown")
        assert screen.page.locator("#video").bounding_box()["y"] >= 0
    assert not screen.complaints


def test_arabic_is_laid_out_from_right_to_left(browser: Any, tmp_path: Path) -> None:
    task = pair(0).model_copy(update={"first_text": "تخرج الكرة من اليمين", "second_text": "It comes out."})
    with page_of(make_campaign(tmp_path / "c", [task])) as here:
        screen = Screen(browser, locale="ar").enter(here)
        boxes = {
            name: screen.page.locator(f"#{name}").bounding_box()["x"]
            for name in ("side-a", "side-b", "question", "leave")
        }
        assert (
            boxes["leave"] <= boxes["side-a"] < boxes["side-b"] < boxes["question"]
        )  # A is on the left, as in the log
        directions = "() => ['left', 'right'].map((id) => getComputedStyle(document.getElementById(id)).direction)"
        assert sorted(screen.page.evaluate(directions)) == ["ltr", "rtl"]
        assert screen.axe() == []
        screen.vote("a")
        screen.text("#idle-title", "انتهيت")
    assert not screen.complaints


def test_a_reload_continues(browser: Any, tmp_path: Path) -> None:
    with page_of(clip_campaign(tmp_path / "c", min_watched=0.5)) as here:
        screen = Screen(browser).enter(here)
        screen.watch()
        screen.vote("2")
        screen.votes(1)
        before = screen.question()
        screen.page.reload()
        screen.text("#question", before)
        screen.text("#watched", "100% watched")
        screen.vote("b")
        screen.votes(2)
    assert len(logged(here.folder)) == 2


def test_autoplay_after_the_first_key_and_speed_is_remembered(browser: Any, tmp_path: Path) -> None:
    with page_of(clip_campaign(tmp_path / "c", videos=2, pairs=1)) as here:
        screen = Screen(browser).enter(here)
        for _ in range(2):
            screen.press("]")
        first = screen.page.evaluate("() => document.querySelector('video').src")
        screen.vote("a")
        screen.votes(1)
        screen.page.wait_for_function("() => document.querySelector('video').played.length > 0")
        playing = screen.page.evaluate(
            "() => { const v = document.querySelector('video'); return [v.src, v.playbackRate]; }"
        )
        assert playing[0] != first
        assert playing[1] == 1.5
        screen.page.reload()
        screen.page.wait_for_function("() => document.querySelector('video').playbackRate === 1.5")


def test_the_last_vote_is_undone(browser: Any, tmp_path: Path) -> None:
    with page_of(clip_campaign(tmp_path / "c")) as here:
        screen = Screen(browser).enter(here)
        first = screen.question()
        screen.vote("a")
        screen.votes(1)
        assert screen.question() != first
        screen.press("u")
        screen.text("#question", first)
        screen.text("#announcement", "Your last vote was undone.")
        screen.vote("b")
        screen.votes(1)
        assert here.votes() == 1
    assert [vote["outcome"] for vote in logged(here.folder)] == ["left", "right"]
    assert len(logged(here.folder, "undo")) == 1


def test_a_question_is_skipped_with_a_reason(browser: Any, tmp_path: Path) -> None:
    with page_of(clip_campaign(tmp_path / "c")) as here:
        screen = Screen(browser).enter(here)
        first = screen.question()
        screen.press("s")
        screen.page.locator("#skip-send").click()
        screen.text("#skip-error", "choose a reason")
        screen.page.get_by_role("radio", name="Something else").check()
        screen.page.get_by_label("In your own words").fill("a black screen")
        screen.page.locator("#skip-send").click()
        screen.page.wait_for_function("(was) => document.querySelector('#question').textContent !== was", arg=first)
        manager = Screen(browser).enter(here, "max")
        manager.text("#problem-rows", "a black screen")
        manager.text("#problem-rows", "clip0.mp4")
        (listed,) = here.campaign.status().skip_reasons
        assert (listed.reason, listed.video, listed.skips) == ("a black screen", "clip0.mp4", 1)
        second = screen.question()
        for key in ("s", "ArrowDown", "Enter"):  # by keys alone
            screen.press(key)
        screen.page.wait_for_function("(was) => document.querySelector('#question').textContent !== was", arg=second)
        assert not screen.page.locator("dialog[open]").count()
    reasons = ["a black screen", "I do not understand the question or an answer"]
    assert [skip["reason"] for skip in logged(here.folder, "skip")] == reasons


def test_a_careless_annotator_is_warned_then_stopped_and_the_manager_sees_it(browser: Any, tmp_path: Path) -> None:
    thresholds = {"min_questions": 3, "patience": 2, "min_seconds": 0}
    tasks, gold = [pair(n) for n in range(20)], [known(n, answer="tie") for n in range(50, 70)]
    with page_of(make_campaign(tmp_path / "c", tasks, gold=gold, gold_share=0.5, thresholds=thresholds)) as here:
        manager, screen = Screen(browser).enter(here, "max"), Screen(browser).enter(here)
        votes = 0
        while not screen.page.locator("#warning").is_visible():
            votes += 1
            screen.vote("a")
            screen.votes(votes)
        screen.text("#warning", "control questions")
        manager.page.clock.fast_forward(4_000)  # the interval of its updates
        manager.text("#annotators tr", "warned")
        while screen.page.locator("#work").is_visible():
            votes += 1
            screen.vote("a")
            screen.page.wait_for_function("() => !/Saving/.test(document.body.innerText)")
        screen.text("#idle-title", "no more questions")
        screen.text("#idle-text", "control questions")
        manager.page.clock.fast_forward(4_000)
        manager.text("#annotators tr", "stopped")
        row = manager.page.locator("#annotators tr").inner_text()
        manager.text("#announcement", "ann is stopped.")
        assert f"{here.votes()}" in row.split()
        assert 5 <= here.votes() <= 15
    assert not screen.complaints + manager.complaints


def test_votes_without_a_connection_are_kept_and_sent_again_once(browser: Any, tmp_path: Path) -> None:
    folder = clip_campaign(tmp_path / "c")
    with page_of(folder) as here:
        screen = Screen(browser).enter(here)
        screen.context.set_offline(True)
        screen.vote("a")
        screen.vote("b")
        screen.text("#save-state", "2 votes not saved yet")
        screen.text("#progress-text", "2 of")
        assert here.votes() == 0
        screen.context.set_offline(False)
        screen.votes(2)
    assert [vote["outcome"] for vote in logged(folder)] == ["left", "right"]


def test_a_double_click_is_one_vote(browser: Any, tmp_path: Path) -> None:
    with page_of(clip_campaign(tmp_path / "c")) as here:
        screen = Screen(browser).enter(here)
        screen.glance()
        screen.page.get_by_role("button", name="A is better").dblclick()
        screen.votes(1)
        assert here.votes() == 1


def test_two_windows_keep_their_votes_apart(browser: Any, tmp_path: Path) -> None:
    with page_of(clip_campaign(tmp_path / "c")) as here:
        one = Screen(browser).enter(here)
        one.vote("a")
        one.votes(1)
        two = one.context.new_page()
        two.goto(here.url)
        two.locator("#work:not([hidden])").wait_for()
        two.clock.fast_forward(GLANCE)
        one.context.set_offline(True)
        one.vote("a")
        one.text("#save-state", "1 vote not saved yet")
        two.keyboard.press("a")  # on the same question: the server takes one, and says so of the other
        two.locator("#save-state").filter(has_text="1 vote not saved yet").wait_for()
        one.page.close()
        two.close()
        one.context.set_offline(False)
        one.page = one.context.new_page()
        one.page.goto(here.url)
        one.votes(2)
        assert here.votes() == 2
    assert [vote["outcome"] for vote in logged(here.folder)] == ["left", "left"]


def test_a_vote_whose_answer_was_lost_counts_once(browser: Any, tmp_path: Path) -> None:
    with page_of(clip_campaign(tmp_path / "c")) as here:
        screen = Screen(browser).enter(here)
        lost = []

        def lose(route: Any) -> None:
            if lost:
                route.continue_()
            else:
                lost.append(route.fetch().status)  # the server has it
                route.abort()  # the page does not hear of it

        screen.page.route("**/api/vote", lose)
        screen.vote("a")
        screen.votes(1)
        assert lost == [200]
        assert here.votes() == 1
    assert len(logged(here.folder)) == 1


MIDDLEBOXES: dict[str, dict[str, Any]] = {
    "a captive portal": {"status": 200, "content_type": "text/html", "body": "<h1>Sign in</h1>"},
    "a portal that redirects": {"status": 302, "headers": {"location": "/static/style.css"}},
    "a firewall with JSON": {"status": 403, "content_type": "application/json", "body": '{"code": "stopped"}'},
    "a network that is down": {"status": 521, "content_type": "text/html", "body": ""},
}
"""What others answer in place of the server; benchmarks.annotate_kills has more, for the outbox alone."""


def test_no_vote_is_lost_where_something_else_answers(browser: Any, tmp_path: Path) -> None:
    with page_of(clip_campaign(tmp_path / "c", pairs=2 * len(MIDDLEBOXES) + 1, pairs_per_video=20)) as here:
        screen = Screen(browser).enter(here)
        for number, middlebox in enumerate(MIDDLEBOXES.values()):
            screen.page.route("**/api/**", lambda route, _, answer=middlebox: route.fulfill(**answer))
            screen.vote("a")
            screen.text("#save-state", "1 vote not saved yet, but kept in this browser: something else answered")
            screen.vote("b")
            screen.text("#save-state", "2 votes not saved yet")
            assert "NaN" not in screen.page.content()
            assert here.votes() == 2 * number
            if number % 2 == 0:
                screen.page.reload()  # into the portal
                screen.text("#notice", "something else answered instead of the server")
            screen.page.unroute("**/api/**")
            screen.page.evaluate("() => window.dispatchEvent(new Event('online'))")  # in place of waiting
            screen.votes(2 * number + 2)
    assert [vote["outcome"] for vote in logged(here.folder)] == ["left", "right"] * len(MIDDLEBOXES)
    assert not screen.complaints


def test_an_answer_to_another_vote_does_not_count(browser: Any, tmp_path: Path) -> None:
    """As from a cache: a view of this campaign, and then a refusal, both with the id of an earlier vote."""
    with page_of(clip_campaign(tmp_path / "c")) as here:
        screen = Screen(browser).enter(here)
        earlier = []
        screen.page.on("response", lambda found: earlier.append(found) if found.url.endswith("/api/vote") else None)
        screen.vote("a")
        screen.votes(1)
        old = earlier[0].body()
        refusal = {**json.loads(old), "code": "expired", "message": "gone"}
        answers = [(409, json.dumps(refusal)), (200, old)]  # the last one first

        def replay(route: Any) -> None:
            status, body = answers.pop() if len(answers) > 1 else answers[0]
            route.fulfill(status=status, content_type="application/json", body=body)

        screen.page.route("**/api/vote", replay)
        with screen.page.expect_response(lambda found: found.status == 409):
            screen.vote("b")
        screen.text("#save-state", "1 vote not saved yet")
        screen.page.unroute("**/api/vote")
        screen.votes(2)
    assert [vote["outcome"] for vote in logged(here.folder)] == ["left", "right"]


def test_a_vote_that_the_server_cannot_read_is_kept_and_others_are_saved(browser: Any, tmp_path: Path) -> None:
    with page_of(clip_campaign(tmp_path / "c")) as here:
        screen = Screen(browser).enter(here)
        screen.page.route("**/api/vote", lambda route: route.continue_(post_data="{}"))
        screen.vote("a")
        screen.text("#save-state", "1 vote not saved yet, but kept in this browser: the server cannot read it")
        screen.page.unroute("**/api/vote")
        screen.vote("b")
        screen.page.wait_for_function("() => document.querySelector('#progress-text').textContent.startsWith('2')")
        screen.page.reload()
        screen.votes(2)
    assert sorted(vote["outcome"] for vote in logged(here.folder)) == ["left", "right"]


def test_votes_survive_a_server_restart_and_a_closed_window(browser: Any, tmp_path: Path) -> None:
    folder = clip_campaign(tmp_path / "c")
    with page_of(folder) as here:
        screen = Screen(browser).enter(here)
    port = int(here.url.rpartition(":")[2])
    screen.vote("a")
    screen.text("#save-state", "1 vote not saved yet")
    screen.page.close()
    with page_of(folder, port=port, tokens=here.tokens) as again:
        screen.page = screen.context.new_page()
        screen.page.goto(again.url)
        screen.votes(1)
        assert again.votes() == 1


def test_a_reload_without_a_connection_opens_the_page_and_its_votes_arrive_later(browser: Any, tmp_path: Path) -> None:
    folder = clip_campaign(tmp_path / "c", videos=3, pairs=1, min_watched=0.5)
    pictures = os.environ.get("PICTURES")
    with page_of(folder) as here:
        screen = Screen(browser, service_workers="allow").enter(here)
        screen.page.evaluate("() => navigator.serviceWorker.ready.then(() => {})")
        screen.page.reload()  # from now on through the service worker
        screen.page.wait_for_function(PREPARED)
        screen.watch()
        screen.vote("a")
        screen.votes(1)
        question = screen.question()
    for width in (360, 1440):
        screen.page.set_viewport_size({"width": width, "height": 800})
        screen.page.reload()
        screen.text("#notice", "No connection. This page tries again automatically.")
        assert screen.question() == question
        if pictures:
            screen.page.screenshot(path=f"{pictures}/offline-{width}.png")
    screen.watch()
    screen.vote("b")
    screen.text("#save-state", "1 vote not saved yet")
    screen.page.reload()
    screen.text("#save-state", "1 vote not saved yet")
    with page_of(folder, port=int(here.url.rpartition(":")[2]), tokens=here.tokens) as again:
        screen.votes(2)
        assert again.votes() == 2
        screen.page.wait_for_function("() => document.getElementById('notice').hidden")
        kept = "() => caches.match('/').then((page) => [Boolean(page), 'curate:view:/' in localStorage])"
        assert screen.page.evaluate(kept) == [True, True]
        screen.page.locator("#leave").click()
        screen.page.locator("#work").wait_for(state="detached")
        assert screen.page.evaluate(kept) == [False, False]
    assert [vote["outcome"] for vote in logged(folder)] == ["left", "right"]
    assert not screen.complaints


def test_an_update_replaces_what_is_kept_for_work_offline(
    browser: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_campaign(tmp_path / "c", [pair(0)])
    with page_of(folder) as here:
        screen = Screen(browser, service_workers="allow").enter(here)
        screen.page.evaluate("() => navigator.serviceWorker.ready.then(() => {})")
        screen.page.reload()
    monkeypatch.setattr(files, "version", lambda: "f" * 16)
    script = "() => document.querySelector('script[src]').getAttribute('src')"
    new = f"/static/{'f' * 16}/annotator.js"
    with page_of(folder, port=int(here.url.rpartition(":")[2]), tokens=here.tokens):
        screen.page.reload()
        assert screen.page.evaluate(script) == new
        while screen.page.evaluate("() => caches.keys()") != [f"curate / /static/{'f' * 16}/"]:
            screen.page.wait_for_timeout(50)
        screen.page.reload()
        screen.text("#question", "What happens")
    screen.page.reload()
    screen.text("#question", "What happens")
    assert screen.page.evaluate(script) == new
    assert not screen.complaints


def test_refusals_are_reported_and_the_page_continues(browser: Any, tmp_path: Path) -> None:
    """A vote that cannot be saved is sent again; one that is refused is not."""
    refusals = [
        Refusal(code="expired", message="This question went to someone else meanwhile."),
        Refusal(code="disk-full", message="The disk is full: tell the manager."),
    ]

    def wrap(campaign: CampaignSession) -> Instead:
        return Instead(campaign, vote=lambda *ballot: refusals.pop() if refusals else campaign.vote(*ballot))

    with page_of(clip_campaign(tmp_path / "c"), wrap=wrap) as here:
        screen = Screen(browser).enter(here)
        screen.vote("a")
        screen.text("#save-state", "The disk is full: tell the manager.")
        screen.text("#notice", "This question went to someone else meanwhile.")
        screen.vote("b")
        screen.votes(1)
        assert not screen.page.locator("#notice").is_visible()
        assert here.votes() == 1


def test_html_in_answers_and_questions_stays_text(browser: Any, tmp_path: Path) -> None:
    task = pair(0).model_copy(update={"question": SCRIPT, "first_text": SCRIPT, "second_text": SCRIPT})
    with page_of(make_campaign(tmp_path / "c", [task], instructions=SCRIPT)) as here:
        screen = Screen(browser).enter(here)
        for place in ("#question", "#left", "#right", "#instructions .prose"):
            assert SCRIPT in screen.page.locator(place).text_content()
            assert screen.page.locator(f"{place} :is(script, img, b)").count() == 0
    assert not screen.complaints


def test_markdown_of_answers_is_shown_as_it_is_meant(browser: Any, tmp_path: Path) -> None:
    table = "Put it on the **apron**:\n\n| step | what |\n|---|---|\n| 1 | `fold` |\n\n3. <b>three</b>\n\n[more](http://x.y)"
    task = pair(0).model_copy(update={"first_text": table, "second_text": "2 * 3 < 5\n  as it is"})
    with page_of(make_campaign(tmp_path / "c", [task])) as here:
        screen = Screen(browser).enter(here)
        one = screen.page.locator(".text", has=screen.page.locator("strong"))
        assert [one.locator(name).inner_text() for name in ("strong", "td code", "ol[start='3'] li", "u")] == [
            "apron",
            "fold",
            "<b>three</b>",
            "more (http://x.y)",
        ]
        assert one.locator("a, b, script").count() == 0
        other = screen.page.locator(".text", has_text="as it is")
        assert other.evaluate("node => node.textContent") == "2 * 3 < 5\n  as it is"
    with page_of(make_campaign(tmp_path / "d", [task], answers="text")) as here:
        screen = Screen(browser).enter(here)
        screen.text(".text", "Put it on the **apron**")
    assert not screen.complaints


def test_reason_and_confidence_are_sent_and_typing_is_not_voting(browser: Any, tmp_path: Path) -> None:
    with page_of(clip_campaign(tmp_path / "c", ask_reason=True, ask_confidence=True)) as here:
        screen = Screen(browser).enter(here)
        screen.press("9")
        screen.press("r")
        screen.page.keyboard.type("a bat, not a ball: 1 2 3 t n u s")
        screen.press("a")  # still typing
        assert screen.page.get_by_label("Why?").input_value().endswith("t n u sa")
        assert screen.page.get_by_label("Certain", exact=False).first.is_visible()
        screen.glance()
        screen.page.get_by_role("button", name="Tie").click()
        screen.votes(1)
        assert screen.page.get_by_label("Why?").input_value() == ""
        screen.page.evaluate("() => { document.querySelector('#reason').value = 'a bat \\ud83e'; }")  # half a character
        screen.vote("t")
        screen.votes(2)
    first, second = logged(here.folder)
    assert (first["outcome"], first["confidence"]) == ("tie", 3)
    assert first["reason"].startswith("a bat, not a ball")
    assert second["reason"] == "a bat \ufffd"


def test_a_break_is_suggested_after_long_work(browser: Any, tmp_path: Path) -> None:
    with page_of(clip_campaign(tmp_path / "c", break_minutes=0.03)) as here:
        screen = Screen(browser).enter(here)
        screen.page.clock.run_for(3_000)
        screen.text("#break", "short break")
        screen.page.get_by_role("button", name="Continue").click()
        assert not screen.page.locator("#break").is_visible()


def test_everything_by_keyboard_alone(browser: Any, tmp_path: Path) -> None:
    """Read the instructions, give the tie another key, vote with it, undo, skip: no pointer, focus always seen."""
    with page_of(clip_campaign(tmp_path / "c", instructions=RULES)) as here:
        screen = Screen(browser).enter(here)
        focus = "document.activeElement"
        assert "I have read this" in screen.page.evaluate(f"() => {focus}.textContent")
        screen.press("Enter")
        for _ in range(20):
            screen.press("Tab")
            if screen.page.evaluate(f"() => {focus}.id") == "open-settings":
                break
        assert screen.page.evaluate(f"() => getComputedStyle({focus}).outlineStyle") == "solid"
        screen.press("Enter")
        while screen.page.evaluate(f"() => {focus}.dataset.action") != "tie":
            screen.press("Tab")
        screen.press("Enter")
        screen.text("#keys-hint", "Press a key for: Tie.")
        screen.press("x")
        screen.text("#keys-hint", "Tie: X.")
        screen.press("Escape")
        assert screen.page.locator(".choice kbd[data-action=tie]").inner_text() == "X"
        screen.vote("t")  # no longer
        screen.vote("x")
        screen.votes(1)
        assert screen.page.evaluate(f"() => {focus}.id") == "question"
        screen.press("u")
        screen.text("#announcement", "Your last vote was undone.")
        assert here.votes() == 0
        screen.press("?")
        screen.page.locator("#instructions[open]").wait_for()
        screen.press("Escape")
        screen.page.reload()
        screen.text("#question", "What happens")
        assert not screen.page.locator("#instructions[open]").count()  # read once
        screen.vote("x")
        screen.votes(1)
    assert {vote["outcome"] for vote in logged(here.folder)} == {"tie"}


def test_a_revoked_link_is_reported_and_the_vote_is_kept(browser: Any, tmp_path: Path) -> None:
    with page_of(clip_campaign(tmp_path / "c")) as here:
        screen = Screen(browser).enter(here)
        here.revoke("ann")
        screen.vote("a")
        screen.text("#save-state", "no longer valid")
        assert here.campaign.status().votes == 0


@pytest.mark.parametrize("width", [360, 1440])
def test_axe_finds_nothing_serious(browser: Any, tmp_path: Path, width: int) -> None:
    folder = clip_campaign(
        tmp_path / "c", instructions=RULES, ask_reason=True, ask_confidence=True, min_watched=0.9, gold_share=0.0
    )
    found: list[str] = []

    def look(screen: Screen) -> None:
        found.extend(screen.axe())
        screen.page.emulate_media(color_scheme="dark")  # changes colours only
        found.extend(screen.axe(rules=["color-contrast"]))
        screen.page.emulate_media(color_scheme="light")

    with page_of(folder) as here:
        screen = Screen(browser, width=width, touch=width == 360).enter(here)
        if width == 360:
            look(screen)
        screen.press("Escape")
        look(screen)
        if width == 360:  # dialogs are the same at any width
            for opener in ("#open-settings", "#skip"):
                if opener == "#open-settings":
                    screen.page.locator("#menu").click()
                screen.page.locator(opener).click()
                look(screen)
                screen.press("Escape")
            stranger = Screen(browser, width=width)
            stranger.page.goto(here.url)
            look(stranger)
            stranger.page.evaluate("() => document.body.append(document.createElement('button'))")
            assert "button-name" in "".join(stranger.axe())  # axe finds a button without a name
        look(Screen(browser, width=width).enter(here, "max"))
    assert found == []
