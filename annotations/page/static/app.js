/* The annotator's page: what the server's desk says is shown, and each answer goes back to it. All text goes in as text. */

import { ask } from "./api.js";
import { Breaks, TaskClock } from "./clock.js";
import { Keys } from "./keys.js";
import { Outbox, newId } from "./outbox.js";
import { Player } from "./player.js";
import { recall, remember } from "./store.js";

const LOOK_AGAIN = 30_000; // milliseconds, where nothing is left to ask
const GLANCE = 300; // milliseconds: what comes sooner after a new question is a second press on the last one
const byId = (id) => document.getElementById(id);
const percent = (share) => `${Math.floor(share * 100 + 1e-6)}%`;
const count = (number, noun) => `${number} ${noun}${number === 1 ? "" : "s"}`;

/* Half of a letter of two units, as cutting a text can leave it, is no JSON that the server takes. */
const wellFormed = (text) => new TextDecoder().decode(new TextEncoder().encode(text)).trim();

let desk = null;
let current = null; // the question before the annotator
let lastAsked = ""; // the question that was answered last: shown again first when it is undone
let mayVote = false;
let shownAt = 0; // milliseconds: when the question before the annotator came
let acting = false; // an undo or a skip is on its way: a vote would overtake it
let player, outbox, clock, breaks, keys;

/* What is said to a screen reader, and seen by nobody. */
function say(text) {
  byId("said").textContent = "";
  setTimeout(() => (byId("said").textContent = text), 50);
}

function begin(first) {
  const own = `curate:${first.campaign}:${first.annotator}`;
  player = new Player(own, weigh);
  clock = new TaskClock(`${own}:clock`);
  outbox = new Outbox(`${own}:outbox`, { answered, changed: tellState });
  breaks = new Breaks(`${own}:work`, remind);
  breaks.minutes = first.break_minutes;
  keys = new Keys(`${own}:keys`, {
    left: () => vote("left"),
    right: () => vote("right"),
    tie: () => vote("tie"),
    both_bad: () => vote("both_bad"),
    undo,
    skip: openSkip,
    play: () => player.toggle(),
    back: () => player.seek(-5),
    forward: () => player.seek(5),
    slower: () => say(`Speed ${player.faster(-1)}`),
    faster: () => say(`Speed ${player.faster(1)}`),
    guess: () => sure("1"),
    rather: () => sure("2"),
    sure: () => sure("3"),
    reason: () => desk.ask_reason && byId("reason").focus(),
    help: openInstructions,
  });
  const instructions = byId("instructions");
  const seen = `${own}:read`;
  if (instructions.dataset.digest) {
    byId("open-instructions").hidden = false;
    if (recall(seen, "") !== instructions.dataset.digest) {
      openInstructions();
      instructions.addEventListener("close", () => remember(seen, instructions.dataset.digest), { once: true });
    }
  }
  show(first);
  outbox.send();
}

/* ---- what the desk says ---- */

function show(next) {
  desk = next;
  document.title = desk.title || "Which answer is better?";
  byId("title").textContent = desk.title || desk.campaign;
  byId("extras").hidden = !desk.ask_reason && !desk.ask_confidence;
  byId("confidence").hidden = !desk.ask_confidence;
  byId("reason-field").hidden = !desk.ask_reason;
  for (const action of ["guess", "rather", "sure", "reason"]) {
    const asked = action === "reason" ? desk.ask_reason : desk.ask_confidence;
    const row = document.querySelector(`#keys button[data-action="${action}"]`)?.closest("tr");
    if (row) row.hidden = !asked;
  }
  tellProgress();
  const warned = desk.standing === "warned" && desk.message;
  byId("warning").hidden = !warned;
  if (warned && byId("warning").textContent !== desk.message) byId("warning").textContent = desk.message;
  const open = (desk.sheet?.questions ?? []).filter((question) => !outbox.holds(question.question_id));
  if (desk.standing !== "stopped" && !desk.closed && open.length) {
    showQuestion(open.find((question) => question.question_id === lastAsked) ?? open[0], open.length - 1);
  } else {
    showRest();
  }
  tellState();
}

function tellProgress() {
  const votes = desk.votes + outbox.size;
  byId("progress").hidden = desk.goal <= 0;
  byId("progress").max = Math.max(1, desk.goal);
  byId("progress").value = Math.min(votes, desk.goal);
  byId("progress-text").textContent = desk.goal > 0 ? `${votes} of ${count(desk.goal, "vote")}` : count(votes, "vote");
}

function showQuestion(question, more) {
  byId("rest").hidden = true;
  byId("work").hidden = false;
  player.show(desk.sheet);
  const where = player.kind === "image" ? "image" : player.kind === "video" ? "video" : "";
  byId("more").textContent = more && where ? `${count(more, "more question")} on this ${where} after this one` : "";
  if (current?.question_id !== question.question_id) {
    const first = current === null;
    current = question;
    shownAt = performance.now();
    byId("question").textContent = question.question;
    byId("left").textContent = question.left_text;
    byId("right").textContent = question.right_text;
    byId("reason").value = "";
    for (const radio of document.querySelectorAll("input[name=confidence]")) radio.checked = false;
    clock.start(question.question_id);
    if (!first && !document.querySelector("dialog[open]")) byId("question").focus({ preventScroll: true });
    window.scrollTo({ top: 0 });
  }
  weigh();
}

/* Whether a vote may be given now: enough of the video has been played. */
function weigh() {
  if (!current || !desk) return;
  const watched = player.share();
  const before = mayVote;
  mayVote = watched + 1e-9 >= desk.min_watched;
  byId("watched").textContent = player.kind === "video" ? `${percent(watched)} watched` : "";
  byId("why-not").textContent = mayVote
    ? ""
    : `Watch at least ${percent(desk.min_watched)} of the video, then vote: ${percent(watched)} so far.`;
  for (const button of document.querySelectorAll(".choice")) button.setAttribute("aria-disabled", String(!mayVote));
  if (mayVote && !before && desk.min_watched > 0) say("You can vote now.");
}

function showRest() {
  current = null;
  if (!player.video.paused) player.video.pause();
  byId("work").hidden = true;
  byId("rest").hidden = false;
  const [title, text] = restWords();
  const changed = byId("rest-title").textContent !== title;
  byId("rest-title").textContent = title;
  byId("rest-text").textContent = text;
  const over = desk.standing === "stopped" || desk.closed;
  byId("again").hidden = over || outbox.size > 0;
  byId("rest-undo").hidden = over || !desk.can_undo || outbox.size > 0;
  if (changed) byId("rest-title").focus();
}

function restWords() {
  if (desk.standing === "stopped") return ["You are asked no more questions", desk.message];
  if (desk.closed) return ["This campaign is closed", `Thank you. You gave ${count(desk.votes, "vote")}.`];
  if (outbox.size) return ["Your votes are being saved", "The next questions come when they are."];
  if (desk.goal > 0 && desk.votes >= desk.goal) return ["You are done", `Thank you. You gave ${count(desk.votes, "vote")}.`];
  const message = desk.message || "Nothing is left to ask you at the moment. This page looks again by itself.";
  return ["No question for you now", message];
}

function tellState() {
  if (!desk) return;
  let text = "";
  const trouble = outbox.trouble;
  if (trouble && outbox.size) {
    const kept = `${count(outbox.size, "vote")} not saved yet, kept here`;
    if (trouble.status === 401) text = `${kept}: your link is not valid any more. Open it again.`;
    else if (trouble.status === 403) text = `${kept}: reload this page.`;
    else if (trouble.status === 507) text = `${kept}: ${trouble.answer.message}`;
    else text = `${kept} and sent again: ${trouble.status === 0 ? "no connection" : "the server does not answer"}.`;
  } else if (outbox.size) {
    text = "Saving…";
  } else if (desk.votes) {
    text = "All votes saved.";
  }
  for (const id of ["state", "rest-state"]) {
    if (byId(id).textContent !== text) byId(id).textContent = text;
    byId(id).classList.toggle("warn-text", Boolean(trouble && outbox.size));
  }
  byId("undo").setAttribute("aria-disabled", String(!desk.can_undo || outbox.size > 0));
  tellProgress();
}

/* ---- what the annotator does ---- */

function vote(outcome) {
  if (!current || acting || performance.now() - shownAt < GLANCE) return;
  if (!mayVote) return say(byId("why-not").textContent);
  const sure = document.querySelector("input[name=confidence]:checked");
  const ballot = {
    question_id: current.question_id,
    vote_id: newId(),
    outcome,
    seconds: Math.min(86_400, Math.round(clock.seconds() * 100) / 100),
    watched: Math.round(player.share() * 1e4) / 1e4,
    reason: desk.ask_reason ? wellFormed(byId("reason").value) : "",
    confidence: desk.ask_confidence && sure ? Number(sure.value) : null,
  };
  clock.pause();
  lastAsked = "";
  const undone = current.question_id;
  outbox.put(ballot);
  show(desk);
  lastAsked = undone;
  const button = document.querySelector(`[data-outcome="${outcome}"]`);
  say(`${button.firstChild.textContent.trim()}.${current ? ` Next: ${current.question}` : ""}`);
}

/* The server's word on a vote, an undo or a skip. */
async function answered({ status, ok, answer }) {
  if (ok) {
    byId("notice").hidden = true;
    return show(answer);
  }
  if (status === 0) return complain("No connection: try again in a moment.");
  if (status === 401) return complain("Your link is not valid any more. Open the link that you were sent.");
  complain(answer.message || "That did not work.");
  const fresh = await ask("/api/desk");
  if (fresh.ok) show(fresh.answer);
}

function complain(text) {
  byId("notice").hidden = false;
  byId("notice").textContent = text;
}

/* An undo or a skip, and what came of it. */
async function act(path, body) {
  acting = true;
  try {
    const result = await ask(path, body);
    await answered(result);
    return result;
  } finally {
    acting = false;
  }
}

async function undo() {
  if (acting) return;
  if (!desk.can_undo || outbox.size) return say(outbox.size ? "Your vote is being saved." : "There is nothing to undo.");
  clock.pause();
  const result = await act("/api/undo", {});
  if (result.ok) say(`Your last vote was taken back. ${current ? current.question : ""}`);
}

function sure(value) {
  if (!desk.ask_confidence) return;
  const radio = document.querySelector(`input[name=confidence][value="${value}"]`);
  radio.checked = true;
  say(radio.parentElement.querySelector("span").textContent);
}

function openDialog(dialog) {
  if (document.querySelector("dialog[open]")) return;
  dialog.showModal();
  dialog.scrollTop = 0;
  clock.check();
}

function openInstructions() {
  const dialog = byId("instructions");
  if (!dialog.dataset.digest) return;
  player.video.pause();
  openDialog(dialog);
}

function openSkip() {
  if (!current) return;
  byId("skip-said").textContent = "";
  byId("skip-text").value = "";
  for (const radio of document.querySelectorAll("input[name=skip]")) radio.checked = false;
  const label = byId("skip-media");
  const fault = player.kind === "image" ? "The image does not show" : "The video does not play";
  label.hidden = player.kind === "none";
  label.querySelector("input").value = label.querySelector("span").textContent = fault;
  openDialog(byId("skipping"));
}

async function sendSkip() {
  const chosen = document.querySelector("input[name=skip]:checked");
  const own = wellFormed(byId("skip-text").value);
  const reason = [chosen?.value, own].filter(Boolean).join(": ");
  if (!reason) {
    byId("skip-said").textContent = "Choose a reason, or write one.";
    return;
  }
  const questionId = current?.question_id;
  byId("skipping").close();
  if (!questionId) return;
  const result = await act("/api/skip", { question_id: questionId, reason });
  if (result.ok) say(`Skipped. ${current ? current.question : ""}`);
}

function remind(minutes) {
  if (!byId("break").hidden) return;
  byId("break-text").textContent = `You have been at it for ${count(Math.max(1, minutes), "minute")}. A short break helps: the questions wait.`;
  byId("break").hidden = false;
}

async function look() {
  const result = await ask("/api/desk");
  if (result.ok) {
    byId("notice").hidden = true;
    if (desk === null) begin(result.answer);
    else show(result.answer);
  } else if (desk === null) {
    complain(result.status === 0 ? "No connection: this page tries again by itself." : result.answer.message);
    if (result.status !== 401 && result.status !== 403) setTimeout(look, 3000);
  }
}

async function leave() {
  if (outbox?.size && !window.confirm("Some votes are not saved yet. They stay in this browser. Leave?")) return;
  await ask("/api/leave", {});
  window.location.assign("/");
}

/* ---- wiring ---- */

for (const button of document.querySelectorAll(".choice")) button.addEventListener("click", () => vote(button.dataset.outcome));
for (const dialog of document.querySelectorAll("dialog")) {
  dialog.addEventListener("close", () => {
    clock?.check();
    if (dialog.id === "instructions") player?.start();
  });
  for (const button of dialog.querySelectorAll("[data-close]")) button.addEventListener("click", () => dialog.close());
}
byId("undo").addEventListener("click", undo);
byId("rest-undo").addEventListener("click", undo);
byId("skip").addEventListener("click", openSkip);
byId("skip-send").addEventListener("click", sendSkip);
for (const radio of document.querySelectorAll("input[name=skip]")) {
  radio.addEventListener("keydown", (event) => event.key === "Enter" && sendSkip());
}
byId("open-instructions").addEventListener("click", openInstructions);
byId("open-settings").addEventListener("click", () => openDialog(byId("settings")));
byId("leave").addEventListener("click", leave);
byId("again").addEventListener("click", look);
byId("break-done").addEventListener("click", () => {
  byId("break").hidden = true;
  breaks.reset();
});
document.addEventListener("visibilitychange", () => {
  const stale = desk?.sheet && Date.parse(desk.sheet.expires) < Date.now();
  if (document.visibilityState === "visible" && stale) look();
});
setInterval(() => {
  const idle = desk && !current && !outbox.size && desk.standing !== "stopped" && !desk.closed;
  if (idle && document.visibilityState === "visible") look();
}, LOOK_AGAIN);
look();
