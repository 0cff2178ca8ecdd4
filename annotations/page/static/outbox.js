/* Votes on their way: kept until the server has answered, sent again under the same id, in order, one at a time.

   Each is kept under a key of its own, so that two windows of one annotator do not overwrite each other's. */

import { ask } from "./api.js";
import { forget, keysFrom, recall, remember } from "./store.js";

const LONGEST = 15_000; // milliseconds between two tries
const KEEP = new Set([0, 401, 408, 429, 500, 502, 503, 504, 507]); // the vote may still be taken later

export class Outbox {
  /** answered(result) is told each final answer, changed() each change of state. */
  constructor(key, { answered, changed }) {
    this.key = key;
    this.answered = answered;
    this.changed = changed;
    this.ballots = keysFrom(`${key}:`)
      .map((one) => recall(one, null))
      .filter((kept) => kept?.ballot)
      .sort((a, b) => a.at - b.at)
      .map((kept) => kept.ballot);
    this.trouble = null; // the last answer that was not final
    this.busy = false;
    this.wait = 1000;
    this.timer = 0;
    window.addEventListener("online", () => this.send());
  }

  get size() {
    return this.ballots.length;
  }

  holds(questionId) {
    return this.ballots.some((ballot) => ballot.question_id === questionId);
  }

  put(ballot) {
    this.ballots.push(ballot);
    remember(`${this.key}:${ballot.vote_id}`, { at: Date.now(), ballot });
    this.changed();
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
      this.changed();
    }
  }

  async sendAll() {
    while (this.ballots.length) {
      this.changed();
      const result = await ask("/api/vote", this.ballots[0]);
      if (KEEP.has(result.status) || (result.status === 403 && result.answer.code === "no-page-token")) {
        this.trouble = result;
        this.timer = setTimeout(() => this.send(), this.wait);
        this.wait = Math.min(LONGEST, this.wait * 2);
        return;
      }
      this.trouble = null;
      this.wait = 1000;
      forget(`${this.key}:${this.ballots.shift().vote_id}`);
      await this.answered(result);
    }
  }
}

/** An id that no other vote has; crypto.randomUUID is not there on plain http. */
export function newId() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
