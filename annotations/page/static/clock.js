/* Timers: the time on a question while it is visible, and the working time until a break. */

import { load, save } from "./storage.js";

const IDLE = 180; // seconds without activity that count as a break

/** Seconds on one question. Paused while the page is hidden or a dialog is open; continues after a reload. */
export class QuestionTimer {
  constructor(key) {
    this.key = key;
    this.id = "";
    this.total = 0;
    this.since = null;
    document.addEventListener("visibilitychange", () => this.update());
    window.addEventListener("pagehide", () => this.pause());
  }

  start(id) {
    if (id === this.id) return;
    const kept = load(this.key, null);
    this.id = id;
    this.total = kept?.id === id ? kept.seconds : 0;
    this.since = null;
    this.update();
  }

  /** Run if the page is visible and no dialog is open, else pause. Call it when either may have changed. */
  update() {
    if (document.visibilityState === "visible" && !document.querySelector("dialog[open]")) {
      this.since ??= performance.now();
    } else {
      this.pause();
    }
  }

  pause() {
    this.total = this.seconds();
    this.since = null;
    if (this.id) save(this.key, { id: this.id, seconds: this.total });
  }

  seconds() {
    return this.total + (this.since === null ? 0 : (performance.now() - this.since) / 1000);
  }
}

/** Calls `onDue(minutes)` after `this.minutes` of work without a break. */
export class BreakTimer {
  constructor(key, onDue) {
    this.key = key;
    this.onDue = onDue;
    this.minutes = 0;
    const kept = load(key, null);
    this.worked = kept && Date.now() - kept.at < IDLE * 1000 ? kept.worked : 0; // seconds
    this.active = Date.now();
    for (const event of ["keydown", "pointerdown", "pointermove", "scroll"]) {
      document.addEventListener(event, () => this.activity(), { passive: true });
    }
    setInterval(() => this.tick(), 1000);
  }

  activity() {
    if (Date.now() - this.active > IDLE * 1000) this.reset();
    this.active = Date.now();
  }

  reset() {
    this.worked = 0;
    this.active = Date.now();
    save(this.key, { worked: 0, at: this.active });
  }

  tick() {
    const playing = [...document.querySelectorAll("video")].some((video) => !video.paused);
    if (playing && document.visibilityState === "visible") this.active = Date.now();
    if (Date.now() - this.active > IDLE * 1000) return;
    this.worked += 1;
    save(this.key, { worked: this.worked, at: this.active });
    if (this.minutes > 0 && this.worked >= this.minutes * 60) this.onDue(Math.round(this.worked / 60));
  }
}
