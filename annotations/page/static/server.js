/* Requests to the server, and the outbox of votes that it has not confirmed yet. */

import { keysWith, load, remove, save } from "./storage.js";

const HEADER = "x-curate-page";
const TIMEOUT = 30_000; // milliseconds
const MAX_WAIT = 15_000; // milliseconds between two attempts
const RETRY = new Set([0, 401, 408, 429, 500, 502, 503, 504, 507]); // the vote may still be accepted later

let pageToken = "";

/** Send a request; status 0 means that there was no response. */
export async function request(path, body) {
  const options = { method: "GET", headers: {}, cache: "no-store", signal: AbortSignal.timeout(TIMEOUT) };
  if (body !== undefined) {
    options.method = "POST";
    options.headers = { "content-type": "application/json", [HEADER]: pageToken };
    options.body = JSON.stringify(body);
  }
  try {
    const response = await fetch(path, options);
    pageToken = response.headers.get(HEADER) ?? pageToken;
    const json = (response.headers.get("content-type") ?? "").startsWith("application/json");
    const answer = json ? await response.json() : { code: "", message: await response.text() };
    return { status: response.status, ok: response.ok, answer };
  } catch {
    return { status: 0, ok: false, answer: { code: "offline", message: "no connection" } };
  }
}

/** Votes that are kept until the server has answered, and sent again under the same id, in order, one at a time.

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
    this.problem = null; // the last response that was not final
    this.busy = false;
    this.wait = 1000;
    this.timer = 0;
    window.addEventListener("online", () => this.send());
  }

  get size() {
    return this.ballots.length;
  }

  has(questionId) {
    return this.ballots.some((ballot) => ballot.question_id === questionId);
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
      if (RETRY.has(result.status) || (result.status === 403 && result.answer.code === "no-page-token")) {
        this.problem = result;
        this.timer = setTimeout(() => this.send(), this.wait);
        this.wait = Math.min(MAX_WAIT, this.wait * 2);
        return;
      }
      this.problem = null;
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
