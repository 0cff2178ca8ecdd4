/* Requests to the server, and the outbox of votes that it has not confirmed yet. */

import { keysWith, load, remove, save } from "./storage.js";

const HEADER = "x-curate-page";
const TIMEOUT = 30_000; // milliseconds
const MAX_WAIT = 15_000; // milliseconds between two attempts
const FINAL = new Set(["expired", "unwatched", "too-fast", "stopped", "closed", "unknown", "nothing-to-undo", "full"]);
const BUSY = new Set([408, 429, 500, 502, 503, 504]); // of the server, or of a proxy that does not reach it
const OURS = new Set([...FINAL, "disk-full", "no-session", "no-page-token", "other-origin", "other-role", "malformed", "not-possible"]);

let pageToken = "";
let annotator = ""; // whose page this is

/** Send a request; status 0 means that there was no response.

    A portal, a proxy or a firewall between the browser and the server may answer in its place, with any status. ok: the
    server has answered with a view or a status; refused: it has answered with a final refusal; foreign: something else
    has answered. */
export async function request(path, body) {
  if (body !== undefined && !pageToken) await request("/api/view"); // the page was opened without a connection
  const stop = new AbortController(); // AbortSignal.timeout is missing in older browsers
  const timer = setTimeout(() => stop.abort(), TIMEOUT);
  const options = { method: "GET", headers: {}, cache: "no-store", redirect: "manual", signal: stop.signal };
  if (body !== undefined) {
    options.method = "POST";
    options.headers = { "content-type": "application/json", [HEADER]: pageToken };
    options.body = JSON.stringify(body);
  }
  try {
    const response = await fetch(`.${path}`, options); // the campaign may be served below a path
    const answer = await parsed(response);
    // An answer to the vote just sent says whose page this is, even if the first view was someone else's.
    if (body?.vote_id && answer.vote_id === body.vote_id) annotator = answer.annotator ?? annotator;
    const isOther = annotator && answer.annotator && answer.annotator !== annotator; // from a cache, or by another link
    const ok = response.ok && typeof answer.campaign === "string" && !isOther;
    if (ok) annotator ||= answer.annotator ?? "";
    const known = !response.ok && OURS.has(answer.code) && typeof answer.message === "string";
    if (ok) pageToken = response.headers.get(HEADER) ?? pageToken;
    const foreign = !ok && !known && !BUSY.has(response.status);
    return { status: response.status, ok, refused: known && FINAL.has(answer.code), foreign, answer };
  } catch {
    return { status: 0, ok: false, refused: false, foreign: false, answer: { code: "offline", message: "" } };
  } finally {
    clearTimeout(timer);
  }
}

/** The JSON object of a response; of anything else, no code and no message. */
async function parsed(response) {
  try {
    const answer = await response.json();
    if (answer && typeof answer === "object") return answer;
  } catch {
    // Not JSON: no answer of this server's script interface.
  }
  return { code: "", message: "" };
}

/** Votes that are kept until the server has answered, and sent again under the same id, in order, one at a time.

    Only an answer that names the vote's id and is a view or a final refusal counts.

    Each has its own storage key, so that two windows of one annotator do not overwrite each other's votes. */
export class Outbox {
  /** onAnswer(result) is called for each final response, onChange() for each change of the outbox. */
  constructor(key, { onAnswer, onChange }) {
    this.key = key;
    this.onAnswer = onAnswer;
    this.onChange = onChange;
    this.ballots = keysWith(`${key}:`)
      .map((one) => load(one, null))
      .filter((kept) => kept?.ballot)
      .sort((a, b) => a.at - b.at)
      .map((kept) => kept.ballot);
    this.aside = []; // votes that the server cannot read; they are sent again when the page is opened again
    this.problem = null; // the last response that was not final
    this.busy = false;
    this.wait = 1000;
    this.timer = 0;
    window.addEventListener("online", () => this.send());
  }

  get size() {
    return this.ballots.length + this.aside.length;
  }

  has(questionId) {
    return [...this.ballots, ...this.aside].some((ballot) => ballot.question_id === questionId);
  }

  add(ballot) {
    this.ballots.push(ballot);
    save(`${this.key}:${ballot.vote_id}`, { at: Date.now(), ballot });
    this.onChange();
    this.send();
  }

  async send() {
    if (this.busy) return;
    this.busy = true;
    clearTimeout(this.timer);
    try {
      await this.sendAll();
    } finally {
      this.busy = false;
      this.onChange();
    }
  }

  async sendAll() {
    while (this.ballots.length) {
      this.onChange();
      const result = await request("/api/vote", this.ballots[0]);
      if (result.answer.code === "malformed") {
        this.problem = result;
        this.aside.push(this.ballots.shift());
        continue;
      }
      const ours = result.answer.vote_id === this.ballots[0].vote_id;
      const final = result.ok || result.refused;
      if (!ours || !final) {
        this.problem = final ? { ...result, foreign: true } : result;
        this.timer = setTimeout(() => this.send(), this.wait);
        this.wait = Math.min(MAX_WAIT, this.wait * 2);
        return;
      }
      if (!this.aside.length) this.problem = null;
      this.wait = 1000;
      remove(`${this.key}:${this.ballots.shift().vote_id}`);
      await this.onAnswer(result);
    }
  }
}

/** A random vote id. (crypto.randomUUID does not exist on plain http.) */
export function newId() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
