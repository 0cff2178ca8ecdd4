/* The annotator's page: shows the view that the server sends, and sends answers back. All texts are inserted as text. */

import { BreakTimer, QuestionTimer } from "./clock.js";
import { Keys } from "./keys.js";
import { Player } from "./player.js";
import { Outbox, newId, request } from "./server.js";
import { load, save } from "./storage.js";

const REFRESH = 30_000; // milliseconds between two checks for new questions
const MIN_LOOK = 300; // milliseconds: an earlier press is a double press on the previous question
const FOREIGN =
  "something else answered instead of the server, such as the sign-in page of a network. Please open another page to sign in.";
const TAGS = new Set("div p h4 ul ol li blockquote pre code strong em s u br hr table thead tbody tr th td".split(" "));
const byId = (id) => document.getElementById(id);
const percent = (share) => `${Math.floor(share * 100 + 1e-6)}%`;
const count = (number, noun) => `${number} ${noun}${number === 1 ? "" : "s"}`;

/* Replace half of a surrogate pair, which a length limit can leave and the server does not accept as JSON. */
const wellFormed = (text) => new TextDecoder().decode(new TextEncoder().encode(text)).trim();

let view = null;
let current = null; // the question on the screen
let lastAnswered = ""; // id of the question answered last: it comes first again after an undo
let mayVote = false;
let shownAt = 0; // milliseconds: when the current question appeared
let acting = false; // an undo or a skip is in progress, during which no vote is taken
let player, outbox, timer, breaks, keys;

/* The elements of a tree [tag, child, …] of Markdown; headings are below those of the page. */
function build([tag, ...children]) {
  const [name, start] = tag.replace(/^h\d$/, "h4").split(" ");
  const node = document.createElement(TAGS.has(name) ? name : "span");
  if (start) node.start = Number(start);
  node.append(...children.map((child) => (typeof child === "string" ? child : build(child))));
  return node;
}

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
  outbox = new Outbox(`${prefix}:outbox`, { onAnswer: handleAnswer, onChange: showSaveState });
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
    slower: () => announce(`Speed ${player.changeSpeed(-1)}`),
    faster: () => announce(`Speed ${player.changeSpeed(1)}`),
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
  document.title = view.title || "Which answer is better?";
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
  const warned = view.status === "warned" && view.message;
  byId("warning").hidden = !warned;
  if (warned && byId("warning").textContent !== view.message) byId("warning").textContent = view.message;
  const open = (view.sheet?.questions ?? []).filter((question) => !outbox.has(question.question_id));
  if (view.status !== "stopped" && !view.closed && open.length) {
    showQuestion(open.find((question) => question.question_id === lastAnswered) ?? open[0], open.length - 1);
  } else {
    showIdle();
  }
  showSaveState();
}

function showProgress() {
  const votes = view.votes + outbox.size;
  byId("progress").hidden = view.goal <= 0;
  byId("progress").max = Math.max(1, view.goal);
  byId("progress").value = Math.min(votes, view.goal);
  byId("progress-text").textContent = view.goal > 0 ? `${votes} of ${count(view.goal, "vote")}` : count(votes, "vote");
}

function showQuestion(question, more) {
  byId("idle").hidden = true;
  byId("work").hidden = false;
  player.show(view.sheet);
  const medium = player.kind === "none" ? "" : player.kind;
  byId("more").textContent = more && medium ? `${count(more, "more question")} about this ${medium} after this one` : "";
  if (current?.question_id !== question.question_id) {
    const first = current === null;
    current = question;
    shownAt = performance.now();
    byId("question").textContent = question.question;
    byId("left").replaceChildren(question.left_markup ? build(question.left_markup) : question.left_text);
    byId("right").replaceChildren(question.right_markup ? build(question.right_markup) : question.right_text);
    byId("reason").value = "";
    for (const radio of document.querySelectorAll("input[name=confidence]")) radio.checked = false;
    timer.start(question.question_id);
    if (!first && !document.querySelector("dialog[open]")) byId("question").focus({ preventScroll: true });
    window.scrollTo({ top: 0 });
  }
  updateVoting();
}

/* Enable the vote buttons once enough of the video has been played. */
function updateVoting() {
  if (!current || !view) return;
  const watched = player.watched();
  const before = mayVote;
  mayVote = watched + 1e-9 >= view.min_watched;
  byId("watched").textContent = player.kind === "video" ? `${percent(watched)} watched` : "";
  byId("why-not").textContent = mayVote
    ? ""
    : `Please watch at least ${percent(view.min_watched)} of the video before you vote (${percent(watched)} so far).`;
  for (const button of document.querySelectorAll(".choice")) button.setAttribute("aria-disabled", String(!mayVote));
  if (mayVote && !before && view.min_watched > 0) announce("You can vote now.");
}

function showIdle() {
  current = null;
  if (!player.video.paused) player.video.pause();
  byId("work").hidden = true;
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
  const thanks = `Thank you! You gave ${count(view.votes, "vote")}.`;
  if (view.status === "stopped") return ["There are no more questions for you", view.message];
  if (view.closed) return ["This campaign is closed", thanks];
  if (outbox.size) return ["Your votes are being saved", "The next questions will follow in a moment."];
  if (view.goal > 0 && view.votes >= view.goal) return ["You are done", thanks];
  const text = "There are no questions for you right now. This page checks for new ones automatically.";
  return ["No questions at the moment", view.message || text];
}

function showSaveState() {
  if (!view) return;
  let text = "";
  const problem = outbox.problem;
  if (problem && outbox.size) {
    const unsaved = `${count(outbox.size, "vote")} not saved yet, but kept in this browser`;
    if (problem.answer.code === "no-session") text = `${unsaved}: your link is no longer valid. Please open it again.`;
    else if (problem.answer.code === "no-page-token") text = `${unsaved}: please reload this page.`;
    else if (problem.answer.code === "disk-full") text = `${unsaved}: ${problem.answer.message}`;
    else if (problem.answer.code === "malformed") text = `${unsaved}: the server cannot read it. Please reload this page.`;
    else if (problem.foreign) text = `${unsaved}: ${FOREIGN} Trying again.`;
    else text = `${unsaved} (${problem.status === 0 ? "no connection" : "the server does not answer"}). Trying again.`;
  } else if (outbox.size) {
    text = "Saving…";
  } else if (view.votes) {
    text = "All votes saved.";
  }
  for (const id of ["save-state", "idle-state"]) {
    if (byId(id).textContent !== text) byId(id).textContent = text;
    byId(id).classList.toggle("warn-text", Boolean(problem && outbox.size));
  }
  byId("undo").setAttribute("aria-disabled", String(!view.can_undo || outbox.size > 0));
  showProgress();
}

/* ---- Actions ---- */

function vote(outcome) {
  if (!current || acting || performance.now() - shownAt < MIN_LOOK) return;
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
  announce(`${button.firstChild.textContent.trim()}.${current ? ` Next: ${current.question}` : ""}`);
}

/* Handle the response to a vote, an undo or a skip. */
async function handleAnswer({ status, ok, foreign, answer }) {
  if (ok) {
    byId("notice").hidden = true;
    return show(answer);
  }
  if (foreign) return showNotice(`Not done: ${FOREIGN}`);
  if (status === 0) return showNotice("No connection. Please try again in a moment.");
  if (status === 401) return showNotice("Your link is no longer valid. Please open the link that you received.");
  showNotice(answer.message || "Something went wrong. Please try again.");
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
  if (!view.can_undo || outbox.size) return announce(outbox.size ? "Your vote is being saved." : "There is nothing to undo.");
  timer.pause();
  const result = await act("/api/undo", {});
  if (result.ok) announce(`Your last vote was undone. ${current ? current.question : ""}`);
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
  if (!current) return;
  byId("skip-error").textContent = "";
  byId("skip-text").value = "";
  for (const radio of document.querySelectorAll("input[name=skip]")) radio.checked = false;
  const label = byId("skip-media");
  const reason = player.kind === "image" ? "The image does not show" : "The video does not play";
  label.hidden = player.kind === "none";
  label.querySelector("input").value = label.querySelector("span").textContent = reason;
  openDialog(byId("skipping"));
}

async function sendSkip() {
  const chosen = document.querySelector("input[name=skip]:checked");
  const own = wellFormed(byId("skip-text").value);
  const reason = [chosen?.value, own].filter(Boolean).join(": ");
  if (!reason) {
    byId("skip-error").textContent = "Please choose a reason, or write one.";
    return;
  }
  const questionId = current?.question_id;
  byId("skipping").close();
  if (!questionId) return;
  const result = await act("/api/skip", { question_id: questionId, reason });
  if (result.ok) announce(`Skipped. ${current ? current.question : ""}`);
}

function suggestBreak(minutes) {
  if (!byId("break").hidden) return;
  const worked = count(Math.max(1, minutes), "minute");
  byId("break-text").textContent = `You have been working for ${worked}. Consider a short break: your questions will wait.`;
  byId("break").hidden = false;
}

/* Load the view; at the start, try again until there is one. */
async function refresh() {
  const result = await request("/api/view");
  if (result.ok) {
    byId("notice").hidden = true;
    if (view === null) begin(result.answer);
    else show(result.answer);
  } else if (view === null) {
    if (result.foreign) showNotice(`Not loaded: ${FOREIGN} This page tries again automatically.`);
    else if (result.status === 0) showNotice("No connection. This page tries again automatically.");
    else showNotice(result.answer.message);
    if (result.foreign || (result.status !== 401 && result.status !== 403)) setTimeout(refresh, 3000);
  }
}

async function leave() {
  const question = "Some votes are not saved yet. They are kept in this browser. Leave anyway?";
  if (outbox?.size && !window.confirm(question)) return;
  await request("/api/leave", {});
  window.location.assign("/");
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
byId("check-again").addEventListener("click", refresh);
byId("break-done").addEventListener("click", () => {
  byId("break").hidden = true;
  breaks.reset();
});
document.addEventListener("visibilitychange", () => {
  const expired = view?.sheet && Date.parse(view.sheet.expires) < Date.now();
  if (document.visibilityState === "visible" && expired) refresh();
});
setInterval(() => {
  const idle = view && !current && !outbox.size && view.status !== "stopped" && !view.closed;
  if (idle && document.visibilityState === "visible") refresh();
}, REFRESH);
refresh();
