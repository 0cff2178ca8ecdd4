/* The annotator's page: shows the view that the server sends, and sends answers back. All texts are inserted as text. */

import { BreakTimer, QuestionTimer } from "./clock.js";
import { clock, content } from "./content.js";
import { markDifferences } from "./diff.js";
import { Keys } from "./keys.js";
import { Player } from "./player.js";
import { Outbox, newId, request } from "./server.js";
import { load, remove, save } from "./storage.js";
import { byId, english, has, t } from "./texts.js";

const REFRESH = 30_000; // milliseconds between two checks for new questions
const MIN_LOOK = 300; // milliseconds: an earlier press is a double press on the previous question
const VIEW = `curate:view:${window.location.pathname}`; // the last view, for a reload without a connection
const percent = (share) => `${Math.floor(share * 100 + 1e-6)}%`;

/* Replace half of a surrogate pair, which a length limit can leave and the server does not accept as JSON. */
const wellFormed = (text) => new TextDecoder().decode(new TextEncoder().encode(text)).trim();

let view = null;
let current = null; // the question on the screen
let differing = false; // whether the words that differ are marked
let lastAnswered = ""; // id of the question answered last: it comes first again after an undo
let mayVote = false;
let shownAt = 0; // milliseconds: when the current question appeared
let stale = false; // whether the view has to be loaded again
let acting = false; // an undo or a skip is in progress, during which no vote is taken
let player, outbox, timer, breaks, keys;

/* Announce a text to screen readers only. */
function announce(text) {
  byId("announcement").textContent = "";
  setTimeout(() => (byId("announcement").textContent = text), 50);
}

function begin(first) {
  const prefix = `curate:${first.campaign}:${first.annotator}`;
  player = new Player(prefix, updateVoting);
  player.onFail = (video) => request("/api/problem", { video });
  timer = new QuestionTimer(`${prefix}:clock`);
  outbox = new Outbox(`${prefix}:outbox`, { onAnswer: handleAnswer, onChange: handleOutbox });
  breaks = new BreakTimer(`${prefix}:work`, suggestBreak);
  breaks.minutes = first.break_minutes;
  keys = new Keys(`${prefix}:keys`, {
    left: () => vote("left"),
    right: () => vote("right"),
    tie: () => vote("tie"),
    both_bad: () => vote("both_bad"),
    undo,
    skip: openSkip,
    play: () => player.toggle(),
    back: () => player.seek(-5),
    forward: () => player.seek(5),
    frame_back: () => player.step(-1),
    frame_forward: () => player.step(1),
    diff: compareWords,
    up: () => scrollAnswers(-1),
    down: () => scrollAnswers(1),
    slower: () => announce(t("speed-now", { speed: player.changeSpeed(-1) })),
    faster: () => announce(t("speed-now", { speed: player.changeSpeed(1) })),
    guess: () => setConfidence("1"),
    fairly: () => setConfidence("2"),
    certain: () => setConfidence("3"),
    reason: () => view.ask_reason && byId("reason").focus(),
    help: openInstructions,
  });
  const instructions = byId("instructions");
  const readKey = `${prefix}:read`;
  if (instructions.dataset.digest) {
    byId("open-instructions").hidden = false;
    if (load(readKey, "") !== instructions.dataset.digest) {
      openInstructions();
      instructions.addEventListener("close", () => save(readKey, instructions.dataset.digest), { once: true });
    }
  }
  show(first);
  outbox.send();
}

/* ---- The view ---- */

function show(next) {
  view = next;
  save(VIEW, view);
  document.title = view.title || t("title");
  byId("title").textContent = view.title || view.campaign;
  byId("extras").hidden = !view.ask_reason && !view.ask_confidence;
  byId("confidence").hidden = !view.ask_confidence;
  byId("reason-field").hidden = !view.ask_reason;
  for (const action of ["guess", "fairly", "certain", "reason"]) {
    const asked = action === "reason" ? view.ask_reason : view.ask_confidence;
    const row = document.querySelector(`#keys button[data-action="${action}"]`)?.closest("tr");
    if (row) row.hidden = !asked;
  }
  showProgress();
  const warning = view.status === "warned" && view.message ? foreword("warned") + view.message : "";
  byId("warning").hidden = !warning;
  if (byId("warning").textContent !== warning) byId("warning").textContent = warning;
  const sheets = [view.sheet, ...(view.ahead ?? [])].filter(Boolean);
  const unanswered = (one) => one.questions.filter((question) => !outbox.has(question.question_id));
  const place = sheets.findIndex((one) => unanswered(one).length);
  if (view.status !== "stopped" && !view.closed && place >= 0) {
    const open = unanswered(sheets[place]);
    showQuestion(sheets[place], open.find((question) => question.question_id === lastAnswered) ?? open[0], open.length - 1);
    player.prepare(sheets.slice(place + 1));
  } else if (isSaving()) {
    byId("work").classList.add("saving"); // until the next view
  } else {
    showIdle();
  }
  showSaveState();
}

/* Whether the question on the screen was answered and the next one depends on the response. */
function isSaving() {
  return Boolean(current && !outbox.problem && outbox.has(current.question_id));
}

function handleOutbox() {
  showSaveState();
  if (byId("work").classList.contains("saving") && !isSaving()) show(view);
}

function showProgress() {
  const votes = view.votes + outbox.size;
  byId("progress").hidden = view.goal <= 0;
  byId("progress").max = Math.max(1, view.goal);
  byId("progress").value = Math.min(votes, view.goal);
  byId("progress-text").textContent = view.goal > 0 ? t("votes-of", { done: votes, n: view.goal }) : t("votes", { n: votes });
}

function showQuestion(sheet, question, more) {
  byId("idle").hidden = true;
  for (const id of ["work", "undo", "skip"]) byId(id).hidden = false;
  byId("work").classList.remove("saving");
  player.show(sheet);
  byId("more").textContent = more && player.kind !== "none" ? t(`more-${player.kind}`, { n: more }) : "";
  if (current?.question_id !== question.question_id) {
    const first = current === null;
    const again = isSamePair(current, question);
    current = question;
    shownAt = performance.now();
    showCriteria();
    if (!again) {
      byId("question").textContent = question.question;
      differing = false;
      showAnswers();
      for (const id of ["side-a", "side-b"]) byId(id).scrollTop = 0;
    }
    byId("reason").value = "";
    for (const radio of document.querySelectorAll("input[name=confidence]")) radio.checked = false;
    timer.start(question.question_id);
    if (!first && !document.querySelector("dialog[open]")) (document.querySelector("#criteria [aria-current]") ?? byId("question")).focus({ preventScroll: true });
    if (!again) window.scrollTo({ top: 0 });
  }
  updateVoting();
}

/* Whether the next question is about the same answers, by another criterion. */
function isSamePair(before, next) {
  return Boolean(next.criterion && before) && ["question", "left_text", "right_text"].every((key) => before[key] === next[key]);
}

/* The questions that are asked about each pair, with the one that is asked now marked. */
function showCriteria() {
  byId("criteria").hidden = !current.criterion;
  const rows = (view.criteria ?? []).map((criterion) => {
    const row = document.createElement("li");
    row.textContent = criterion.translations[document.documentElement.lang] ?? criterion.question;
    row.dir = "auto";
    if (criterion.id !== current.criterion) return row;
    row.setAttribute("aria-current", "step");
    row.tabIndex = -1;
    return row;
  });
  byId("criteria").replaceChildren(...rows);
}

/* The question on the screen as a text. */
function asked() {
  const criterion = document.querySelector("#criteria [aria-current]");
  return current ? [current.question, criterion?.textContent].filter(Boolean).join(" ") : "";
}

/* Enable the vote buttons once enough of the video has been played. */
function updateVoting() {
  if (!current || !view) return;
  const watched = player.watched();
  const before = mayVote;
  mayVote = watched + 1e-9 >= view.min_watched;
  byId("watched").textContent = player.kind === "video" ? t("watched", { share: percent(watched) }) : "";
  const missing = { wanted: percent(view.min_watched), share: percent(watched) };
  byId("why-not").textContent = mayVote ? "" : t("watch-more", missing);
  for (const button of document.querySelectorAll(".choice")) button.setAttribute("aria-disabled", String(!mayVote));
  if (mayVote && !before && view.min_watched > 0) announce(t("may-vote"));
}

function showIdle() {
  current = null;
  if (!player.video.paused) player.video.pause();
  byId("work").classList.remove("saving");
  for (const id of ["work", "undo", "skip"]) byId(id).hidden = true;
  byId("idle").hidden = false;
  const [title, text] = idleText();
  const changed = byId("idle-title").textContent !== title;
  byId("idle-title").textContent = title;
  byId("idle-text").textContent = text;
  const over = view.status === "stopped" || view.closed;
  byId("check-again").hidden = over || outbox.size > 0;
  byId("idle-undo").hidden = over || !view.can_undo || outbox.size > 0;
  byId("finish").hidden = !view.can_finish || outbox.size > 0;
  if (changed) byId("idle-title").focus();
}

function idleText() {
  const thanks = t("thanks", { n: view.votes });
  if (view.status === "stopped") return [t("stopped-title"), foreword("refused-stopped") + view.message];
  if (view.closed) return [t("closed-title"), thanks];
  if (outbox.size) return [t("saving-title"), t("saving-text")];
  if (view.goal > 0 && view.votes >= view.goal) return [t("done-title"), thanks];
  return [t("idle-title"), view.message || t("idle-text")];
}

/* The server's messages are in English: on a page in another language, a sentence in that language comes before. */
function foreword(key) {
  return english || !has(key) ? "" : `${t(key)} `;
}

function showSaveState() {
  if (!view) return;
  let text = "";
  const problem = outbox.problem;
  if (problem && outbox.size) {
    text = t("unsaved", { n: outbox.size, why: whyUnsaved(problem) });
  } else if (outbox.size) {
    text = t("saving");
  } else if (view.votes) {
    text = t("saved");
  }
  for (const id of ["save-state", "idle-state"]) {
    if (byId(id).textContent !== text) byId(id).textContent = text;
    byId(id).classList.toggle("warn-text", Boolean(problem && outbox.size));
  }
  byId("undo").setAttribute("aria-disabled", String(!view.can_undo || outbox.size > 0));
  showProgress();
}

function whyUnsaved({ answer, foreign, status }) {
  const known = { "no-session": "why-link", "no-page-token": "why-reload", malformed: "why-malformed" }[answer.code];
  if (known) return t(known);
  if (answer.code === "disk-full") return english ? answer.message : t("refused-disk-full");
  return t(foreign ? "why-foreign" : status === 0 ? "why-offline" : "why-silent");
}

/* Show both answers, with the words that differ marked if that is wanted. */
function showAnswers() {
  const goTo = (seconds) => player.goTo(seconds);
  const [left, right] = ["left", "right"].map((side) => {
    const { [`${side}_text`]: text, [`${side}_markup`]: tree } = current;
    byId(side).replaceChildren(...content(text, tree, player.duration(), goTo));
    return byId(side);
  });
  byId("diff").setAttribute("aria-pressed", String(differing));
  return differing ? markDifferences(left, right) : 0;
}

/* ---- Actions ---- */

function compareWords() {
  if (!current) return;
  differing = !differing;
  const marked = showAnswers();
  if (!differing) return;
  if (Number.isNaN(marked)) announce(t("too-long"));
  else announce(marked ? t("differences", { n: marked }) : t("no-differences"));
}

/* Scroll both answers, or the page where they do not scroll by themselves. */
function scrollAnswers(direction) {
  for (const element of [byId("side-a"), byId("side-b"), document.scrollingElement]) {
    element.scrollTop += direction * Math.max(80, 0.4 * element.clientHeight);
  }
}

function vote(outcome) {
  if (!current || acting || outbox.has(current.question_id) || performance.now() - shownAt < MIN_LOOK) return;
  if (!mayVote) return announce(byId("why-not").textContent);
  const confidence = document.querySelector("input[name=confidence]:checked");
  const ballot = {
    question_id: current.question_id,
    vote_id: newId(),
    outcome,
    seconds: Math.min(86_400, Math.round(timer.seconds() * 100) / 100),
    watched: Math.round(player.watched() * 1e4) / 1e4,
    reason: view.ask_reason ? wellFormed(byId("reason").value) : "",
    confidence: view.ask_confidence && confidence ? Number(confidence.value) : null,
  };
  timer.pause();
  lastAnswered = "";
  outbox.add(ballot);
  show(view);
  lastAnswered = ballot.question_id;
  const button = document.querySelector(`[data-outcome="${outcome}"]`);
  announce(`${button.firstChild.textContent.trim()}.${current ? ` ${t("next", { question: asked() })}` : ""}`);
}

/* Handle the response to a vote, an undo or a skip. */
async function handleAnswer({ status, ok, foreign, answer }) {
  if (ok) {
    byId("notice").hidden = true;
    const isOther = view?.annotator && answer.annotator !== view.annotator; // the first view was someone else's
    if (isOther && !outbox.size) return window.location.reload(); // the outbox has the other's storage key
    return show(answer);
  }
  if (foreign) return showNotice(t("foreign"));
  if (status === 0) return showNotice(t("offline"));
  if (status === 401) return showNotice(t("bad-link"));
  const translated = !english && has(`refused-${answer.code}`);
  showNotice((translated ? t(`refused-${answer.code}`) : answer.message) || t("failed"));
  const next = await request("/api/view");
  if (next.ok) show(next.answer);
}

function showNotice(text) {
  byId("notice").hidden = false;
  byId("notice").textContent = text;
}

/* Send an undo or a skip; return the response. */
async function act(path, body) {
  acting = true;
  try {
    const result = await request(path, body);
    await handleAnswer(result);
    return result;
  } finally {
    acting = false;
  }
}

async function undo() {
  if (acting) return;
  if (!view.can_undo || outbox.size) return announce(t(outbox.size ? "being-saved" : "nothing-to-undo"));
  timer.pause();
  const result = await act("/api/undo", {});
  if (result.ok) announce(`${t("undone")} ${asked()}`);
}

function setConfidence(value) {
  if (!view.ask_confidence) return;
  const radio = document.querySelector(`input[name=confidence][value="${value}"]`);
  radio.checked = true;
  announce(radio.parentElement.querySelector("span").textContent);
}

function openDialog(dialog) {
  if (document.querySelector("dialog[open]")) return;
  dialog.showModal();
  dialog.scrollTop = 0;
  timer.update();
}

function openInstructions() {
  const dialog = byId("instructions");
  if (!dialog.dataset.digest) return;
  player.video.pause();
  openDialog(dialog);
}

function openSkip() {
  if (!current || outbox.has(current.question_id)) return;
  byId("skip-error").textContent = "";
  byId("skip-text").value = "";
  for (const radio of document.querySelectorAll("input[name=skip]")) radio.checked = false;
  const label = byId("skip-media");
  const image = player.kind === "image";
  label.hidden = player.kind === "none";
  label.querySelector("input").value = image ? "The image does not show" : "The video does not play"; // for the manager
  label.querySelector("span").textContent = t(image ? "skip-image" : "skip-video");
  openDialog(byId("skipping"));
}

async function sendSkip() {
  const chosen = document.querySelector("input[name=skip]:checked");
  const own = wellFormed(byId("skip-text").value);
  const reason = [chosen?.value, own].filter(Boolean).join(": ");
  if (!reason) {
    byId("skip-error").textContent = t("skip-reason");
    return;
  }
  const questionId = current?.question_id;
  byId("skipping").close();
  if (!questionId) return;
  const result = await act("/api/skip", { question_id: questionId, reason });
  if (result.ok) announce(`${t("skipped")} ${asked()}`);
}

function suggestBreak(minutes) {
  if (!byId("break").hidden) return;
  byId("break-text").textContent = t("break", { n: Math.max(1, minutes) });
  byId("break").hidden = false;
}

/* Load the view; at the start, try again until there is one. */
async function refresh() {
  const result = await request("/api/view");
  if (result.ok) {
    byId("notice").hidden = true;
    if (view === null) begin(result.answer);
    else if (view.annotator !== result.answer.annotator) window.location.reload(); // opened without a connection, for another
    else show(result.answer);
  } else if (view === null) {
    const kept = result.status === 0 && load(VIEW, null);
    if (kept) begin(kept);
    if (result.foreign) showNotice(t("foreign-start"));
    else if (result.status === 0) showNotice(t("offline-start"));
    else if (result.status === 401) showNotice(t("bad-link"));
    else showNotice(result.answer.message || t("failed"));
    stale = result.foreign || (result.status !== 401 && result.status !== 403);
  }
  if (result.ok) stale = false;
  else if (stale) setTimeout(refresh, 3000);
}

/* Let a service worker open this page without a connection, where the browser allows one: with https, and on localhost. */
async function workOffline() {
  const address = `service-worker.js?${encodeURIComponent(new URL(".", import.meta.url).pathname)}`; // new in each version
  const policy = window.trustedTypes?.createPolicy("service-worker", { createScriptURL: (url) => url });
  try {
    await navigator.serviceWorker?.register(policy?.createScriptURL(address) ?? address);
  } catch {
    // The page then works as long as it is open.
  }
}

/* Keep nothing of the campaign in this browser, except votes that are not saved. */
async function forget() {
  remove(VIEW);
  for (const name of (await window.caches?.keys()) ?? []) {
    if (!name.startsWith(`curate ${window.location.pathname} `)) continue;
    const cache = await caches.open(name);
    for (const { url } of await cache.keys()) if (!new URL(url).pathname.startsWith("/static/")) await cache.delete(url);
  }
}

async function leave() {
  if (outbox?.size && !window.confirm(t("leave-anyway"))) return;
  await request("/api/leave", {});
  await forget();
  window.location.assign("./");
}

/* The menu of narrow windows; wide ones show its buttons always. */
function openMenu(open) {
  byId("menu").setAttribute("aria-expanded", String(open));
  byId("tools").classList.toggle("open", open);
}

/* ---- Event handlers ---- */

for (const button of document.querySelectorAll(".choice")) button.addEventListener("click", () => vote(button.dataset.outcome));
for (const dialog of document.querySelectorAll("dialog")) {
  dialog.addEventListener("close", () => {
    timer?.update();
    if (dialog.id === "instructions") player?.start();
  });
  for (const button of dialog.querySelectorAll("[data-close]")) button.addEventListener("click", () => dialog.close());
}
byId("undo").addEventListener("click", undo);
byId("idle-undo").addEventListener("click", undo);
byId("skip").addEventListener("click", openSkip);
byId("skip-send").addEventListener("click", sendSkip);
for (const radio of document.querySelectorAll("input[name=skip]")) {
  radio.addEventListener("keydown", (event) => event.key === "Enter" && sendSkip());
}
byId("open-instructions").addEventListener("click", openInstructions);
byId("open-settings").addEventListener("click", () => openDialog(byId("settings")));
byId("leave").addEventListener("click", leave);
byId("diff").addEventListener("click", compareWords);
byId("menu").addEventListener("click", () => openMenu(byId("menu").getAttribute("aria-expanded") === "false"));
byId("tools").addEventListener("click", () => openMenu(false));
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || byId("menu").getAttribute("aria-expanded") === "false") return;
  openMenu(false);
  byId("menu").focus();
});
byId("check-again").addEventListener("click", refresh);
byId("break-done").addEventListener("click", () => {
  byId("break").hidden = true;
  breaks.reset();
});
document.addEventListener("visibilitychange", () => {
  const expired = view?.sheet && Date.parse(view.sheet.expires) < Date.now();
  if (document.visibilityState === "visible" && expired) refresh();
});
setInterval(() => (byId("elapsed").textContent = current && timer ? clock(timer.seconds()) : ""), 500);
setInterval(() => {
  const idle = view && !current && !outbox.size && view.status !== "stopped" && !view.closed;
  if (idle && document.visibilityState === "visible") refresh();
}, REFRESH);
refresh();
workOffline();
