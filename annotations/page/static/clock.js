/* Time that is spent: on a question, only while the page is in view; and at work, until a break is due. */

import { recall, remember } from "./store.js";

const IDLE = 180; // seconds without a sign of life that count as a break

/** Seconds on one question. Paused while the page is hidden or a dialog is open; a reload goes on where it was. */
export class TaskClock {
  constructor(key) {
    this.key = key;
    this.id = "";
    this.total = 0;
    this.since = null;
    document.addEventListener("visibilitychange", () => this.check());
    window.addEventListener("pagehide", () => this.pause());
  }

  start(id) {
    if (id === this.id) return;
    const kept = recall(this.key, null);
    this.id = id;
    this.total = kept?.id === id ? kept.seconds : 0;
    this.since = null;
    this.check();
  }

  /** Run where the page is in view and nothing lies over the question; call it when either may have changed. */
  check() {
    if (document.visibilityState === "visible" && !document.querySelector("dialog[open]")) {
      this.since ??= performance.now();
    } else {
      this.pause();
    }
  }

  pause() {
    this.total = this.seconds();
    this.since = null;
    if (this.id) remember(this.key, { id: this.id, seconds: this.total });
  }

  seconds() {
    return this.total + (this.since === null ? 0 : (performance.now() - this.since) / 1000);
  }
}

/** Tells `due(minutes)` once so many minutes have been worked without a break. */
export class Breaks {
  constructor(key, due) {
    this.key = key;
    this.due = due;
    this.minutes = 0;
    const kept = recall(key, null);
    this.worked = kept && Date.now() - kept.at < IDLE * 1000 ? kept.worked : 0; // seconds
    this.alive = Date.now();
    for (const event of ["keydown", "pointerdown", "pointermove", "scroll"]) {
      document.addEventListener(event, () => this.sign(), { passive: true });
    }
    setInterval(() => this.tick(), 1000);
  }

  sign() {
    if (Date.now() - this.alive > IDLE * 1000) this.reset();
    this.alive = Date.now();
  }

  reset() {
    this.worked = 0;
    this.alive = Date.now();
    remember(this.key, { worked: 0, at: this.alive });
  }

  tick() {
    const playing = [...document.querySelectorAll("video")].some((video) => !video.paused);
    if (playing && document.visibilityState === "visible") this.alive = Date.now();
    if (Date.now() - this.alive > IDLE * 1000) return;
    this.worked += 1;
    remember(this.key, { worked: this.worked, at: this.alive });
    if (this.minutes > 0 && this.worked >= this.minutes * 60) this.due(Math.round(this.worked / 60));
  }
}
