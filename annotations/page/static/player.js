/* The video or image of a sheet, the share of the video that was watched, and the media of the next sheets. */

import { load, save } from "./storage.js";
import { byId, t } from "./texts.js";

const SPEEDS = [0.5, 0.75, 1, 1.25, 1.5, 2];
const GAP = 0.25; // seconds: players leave such gaps between played ranges and at both ends
const FRAME = 1 / 25; // seconds of a frame, until the browser has told the times of some
const LARGEST = 100e6; // bytes of a file that is kept in memory for work without a connection
const LONGEST_LOAD = 10_000; // milliseconds to wait at most for the current video before the next are loaded
const reducedMotion = window.matchMedia("(prefers-reduced-motion: reduce)");

/** Sorted ranges without overlap; ranges less than GAP apart are merged. */
function union(ranges) {
  const merged = [];
  for (const [start, end] of ranges.slice().sort((a, b) => a[0] - b[0])) {
    const last = merged[merged.length - 1];
    if (last && start <= last[1] + GAP) last[1] = Math.max(last[1], end);
    else merged.push([start, end]);
  }
  return merged;
}

/** The share of `duration` seconds that the ranges cover, 0 to 1. */
function coverage(ranges, duration) {
  if (!(duration > 0)) return 0;
  let covered = 0;
  for (const [start, end] of union(ranges)) {
    const from = start < GAP ? 0 : start;
    const to = end > duration - GAP ? duration : end;
    covered += Math.max(0, Math.min(to, duration) - from);
  }
  return Math.min(1, covered / duration);
}

/* Whether a video or an image could not be loaded. */
const failed = (element) => Boolean(element.error || (element.complete && !element.naturalWidth));

export class Player {
  /** onPlayed() is called when more of the video has been played. */
  constructor(key, onPlayed) {
    this.video = byId("video");
    this.image = byId("image");
    this.error = byId("media-error");
    this.key = key;
    this.onPlayed = onPlayed;
    this.kind = "none";
    this.name = null;
    this.seconds = null;
    this.frame = 0; // seconds; 0 if unknown
    this.playedBefore = []; // ranges played before this page or source was loaded
    this.files = new Map(); // name → address of a file that is in memory
    this.spare = null; // the element of the next sheet, loaded and hidden
    this.next = []; // sheets whose media are loaded
    this.preparing = false;
    this.video.volume = load(`${key}:volume`, 1);
    this.video.muted = load(`${key}:muted`, false);
    this.speed = load(`${key}:speed`, 1);
    this.autoplay = load(`${key}:autoplay`, !reducedMotion.matches);
    this.listen(this.video);
    this.listen(this.image);
    window.addEventListener("online", () => this.retry());
    const auto = byId("autoplay");
    auto.checked = this.autoplay;
    auto.addEventListener("change", () => {
      this.autoplay = auto.checked;
      save(`${key}:autoplay`, this.autoplay);
    });
    byId("speed").value = String(this.speed);
    byId("speed").addEventListener("change", (event) => this.setSpeed(Number(event.target.value)));
    byId("frame-back").addEventListener("click", () => this.step(-1));
    byId("frame-forward").addEventListener("click", () => this.step(1));
  }

  /** Handle the events of an element while it is the one on the screen. */
  listen(element) {
    const on = (event, handle) =>
      element.addEventListener(event, () => {
        if (element === this.video || element === this.image) handle();
      });
    on("error", () => this.fail());
    on("load", () => (this.error.hidden = true));
    if (element.tagName !== "VIDEO") return;
    for (const event of ["timeupdate", "pause", "ended", "loadedmetadata"]) {
      on(event, () => {
        this.saveWatched();
        this.onPlayed();
      });
    }
    on("playing", () => (this.error.hidden = true));
    on("volumechange", () => {
      save(`${this.key}:volume`, element.volume);
      save(`${this.key}:muted`, element.muted);
    });
    on("ratechange", () => {
      if (element.playbackRate === 1 && element.readyState === 0) return; // a new source starts at 1
      this.speed = element.playbackRate;
      save(`${this.key}:speed`, this.speed);
      byId("speed").value = String(this.speed);
    });
    if (!element.requestVideoFrameCallback) return;
    let last = NaN;
    const measure = (_, { mediaTime }) => {
      const gap = mediaTime - last;
      if (element === this.video && gap > 1 / 250 && gap < 0.2) this.frame = Math.min(this.frame || gap, gap);
      last = mediaTime;
      element.requestVideoFrameCallback(measure);
    };
    element.requestVideoFrameCallback(measure);
  }

  show(sheet) {
    this.seconds = sheet.video_seconds;
    if (sheet.video === this.name && sheet.kind === this.kind) return;
    this.name = sheet.video;
    this.kind = sheet.kind;
    this.frame = 0;
    this.error.hidden = true;
    byId("stage").hidden = sheet.kind === "none";
    byId("playing").hidden = sheet.kind !== "video";
    byId("work").classList.toggle("bare", sheet.kind === "none");
    this.restoreWatched();
    if (sheet.kind !== "none") this.place(sheet);
    this.video.hidden = sheet.kind !== "video";
    this.image.hidden = sheet.kind !== "image";
    if (sheet.kind !== "video") {
      this.video.removeAttribute("src");
      this.video.load();
      return;
    }
    this.setSpeed(this.speed);
    this.start();
  }

  /* Show the element that was loaded in advance, or load the media now. */
  place({ kind, video: name }) {
    const old = this[kind];
    if (this.spare?.dataset.name === name && !failed(this.spare)) {
      const { spare } = this;
      this.spare = null;
      spare.id = old.id;
      spare.className = "";
      this[kind] = spare;
      if (kind === "video") [spare.volume, spare.muted] = [old.volume, old.muted];
      old.remove();
      old.removeAttribute("src");
    } else {
      old.dataset.name = name;
      old.src = this.address(name);
    }
  }

  address(name) {
    return this.files.get(name) ?? `./media/${encodeURIComponent(name)}`;
  }

  /** Load the media of the sheets that follow, once the current video can be played without a pause. */
  async prepare(sheets) {
    const next = sheets.filter(({ kind, video }) => kind !== "none" && video !== this.name);
    const names = next.map(({ video }) => video);
    for (const [name, address] of this.files) {
      if (name === this.name || names.includes(name)) continue;
      URL.revokeObjectURL(address);
      this.files.delete(name);
    }
    if (this.spare && (this.spare.dataset.name !== names[0] || failed(this.spare))) {
      this.spare.remove();
      this.spare = null;
    }
    this.next = next;
    if (this.preparing) return;
    this.preparing = true;
    await this.ready();
    for (const sheet of next) {
      if (!this.files.has(sheet.video)) await this.keep(sheet.video);
      if (sheet === this.next[0] && !this.spare) this.load(sheet);
    }
    this.preparing = false;
    if (this.next !== next) this.prepare(this.next);
  }

  /* Make the element of the next sheet, invisible beside that on the screen, so that its first picture is there. */
  load({ kind, video: name }) {
    this.spare = this[kind].cloneNode();
    this.spare.id = "";
    this.spare.hidden = false;
    this.spare.className = "spare";
    this.spare.dataset.name = name;
    this.listen(this.spare);
    this.spare.src = this.address(name);
    this[kind].after(this.spare);
  }

  ready() {
    const { video } = this;
    if (this.kind !== "video" || video.readyState === 4 || video.error) return null;
    return new Promise((resolve) => {
      for (const event of ["canplaythrough", "error", "emptied"]) video.addEventListener(event, resolve, { once: true });
      setTimeout(resolve, LONGEST_LOAD);
    });
  }

  /* Keep a file in memory, unless it is too large. */
  async keep(name) {
    try {
      const response = await fetch(this.address(name));
      const large = Number(response.headers.get("content-length")) > LARGEST;
      if (response.ok && !large) this.files.set(name, URL.createObjectURL(await response.blob()));
      else response.body?.cancel();
    } catch {
      // No connection: the element loads it later.
    }
  }

  /** Play automatically if that is enabled and the browser allows it. */
  start() {
    if (this.autoplay && this.kind === "video" && !document.querySelector("dialog[open]")) this.video.play().catch(() => {});
  }

  toggle() {
    if (this.kind !== "video") return;
    if (this.video.paused) this.video.play().catch(() => {});
    else this.video.pause();
  }

  seek(seconds) {
    this.goTo(this.video.currentTime + seconds);
  }

  goTo(seconds) {
    if (this.kind !== "video" || !Number.isFinite(this.video.duration)) return;
    this.video.currentTime = Math.min(this.video.duration, Math.max(0, seconds));
  }

  /** Pause, and go so many frames forward, to the middle of a frame. */
  step(frames) {
    this.video.pause();
    const frame = this.frame || FRAME;
    this.goTo((Math.floor(this.video.currentTime / frame + 1e-3) + frames + 0.5) * frame);
  }

  /** Change the speed by so many steps; return the new one. */
  changeSpeed(steps) {
    const now = SPEEDS.findIndex((speed) => speed >= this.speed);
    this.setSpeed(SPEEDS[Math.min(SPEEDS.length - 1, Math.max(0, (now < 0 ? SPEEDS.length - 1 : now) + steps))]);
    return this.speed;
  }

  setSpeed(speed) {
    this.speed = speed;
    this.video.defaultPlaybackRate = speed;
    this.video.playbackRate = speed;
    save(`${this.key}:speed`, speed);
    byId("speed").value = String(speed);
  }

  /** The duration of the video in seconds; 0 if there is none or it is not known. */
  duration() {
    if (this.kind !== "video") return 0;
    return Number.isFinite(this.video.duration) ? this.video.duration : (this.seconds ?? 0);
  }

  /** The share watched, 0 to 1; 1 if there is nothing to play. */
  watched() {
    return this.kind === "video" ? coverage(this.playedRanges(), this.duration()) : 1;
  }

  playedRanges() {
    const played = this.video.played;
    const now = Array.from({ length: played.length }, (_, i) => [played.start(i), played.end(i)]);
    return union([...this.playedBefore, ...now]);
  }

  saveWatched() {
    if (this.kind === "video") save(`${this.key}:watched`, { name: this.name, ranges: this.playedRanges() });
  }

  restoreWatched() {
    const kept = load(`${this.key}:watched`, null);
    this.playedBefore = kept?.name === this.name ? kept.ranges : [];
  }

  fail() {
    this.saveWatched();
    this.error.hidden = false;
    this.onFail?.(this.name);
    this.error.textContent = t(`${this.kind}-failed`);
  }

  retry() {
    if (this.error.hidden) return;
    if (this.kind === "image") this.image.src = this.image.getAttribute("src");
    if (this.kind !== "video") return;
    const at = this.video.currentTime;
    this.restoreWatched();
    this.video.load();
    this.video.currentTime = at;
  }
}
