/* The video or image of a sheet, and the share of the video that was watched. */

import { load, save } from "./storage.js";

const SPEEDS = [0.5, 0.75, 1, 1.25, 1.5, 2];
const GAP = 0.25; // seconds: players leave such gaps between played ranges and at both ends
const reducedMotion = window.matchMedia("(prefers-reduced-motion: reduce)");
const byId = (id) => document.getElementById(id);

/** Sorted ranges without overlap; ranges less than GAP apart are merged. */
function union(ranges) {
  const merged = [];
  for (const [start, end] of ranges.slice().sort((a, b) => a[0] - b[0])) {
    const last = merged.at(-1);
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

export class Player {
  /** onPlayed() is called when more of the video has been played. */
  constructor(key, onPlayed) {
    this.video = byId("video");
    this.image = byId("image");
    this.error = byId("media-error");
    this.key = key;
    this.kind = "none";
    this.name = null;
    this.seconds = null;
    this.playedBefore = []; // ranges played before this page or source was loaded
    this.video.volume = load(`${key}:volume`, 1);
    this.video.muted = load(`${key}:muted`, false);
    this.speed = load(`${key}:speed`, 1);
    this.autoplay = load(`${key}:autoplay`, !reducedMotion.matches);
    for (const event of ["timeupdate", "pause", "ended", "loadedmetadata"]) {
      this.video.addEventListener(event, () => {
        this.saveWatched();
        onPlayed();
      });
    }
    this.video.addEventListener("playing", () => (this.error.hidden = true));
    this.video.addEventListener("volumechange", () => {
      save(`${key}:volume`, this.video.volume);
      save(`${key}:muted`, this.video.muted);
    });
    this.video.addEventListener("ratechange", () => {
      if (this.video.playbackRate === 1 && this.video.readyState === 0) return; // a new source starts at 1
      this.speed = this.video.playbackRate;
      save(`${key}:speed`, this.speed);
      byId("speed").value = String(this.speed);
    });
    this.video.addEventListener("error", () => this.fail("video"));
    this.image.addEventListener("error", () => this.fail("image"));
    this.image.addEventListener("load", () => (this.error.hidden = true));
    window.addEventListener("online", () => this.retry());
    const auto = byId("autoplay");
    auto.checked = this.autoplay;
    auto.addEventListener("change", () => {
      this.autoplay = auto.checked;
      save(`${key}:autoplay`, this.autoplay);
    });
    byId("speed").value = String(this.speed);
    byId("speed").addEventListener("change", (event) => this.setSpeed(Number(event.target.value)));
  }

  show(sheet) {
    this.seconds = sheet.video_seconds;
    if (sheet.video === this.name && sheet.kind === this.kind) return;
    this.name = sheet.video;
    this.kind = sheet.kind;
    this.error.hidden = true;
    byId("stage").hidden = sheet.kind === "none";
    byId("work").classList.toggle("bare", sheet.kind === "none");
    this.video.hidden = sheet.kind !== "video";
    this.image.hidden = sheet.kind !== "image";
    const url = `/media/${encodeURIComponent(sheet.video)}`;
    if (sheet.kind === "image") this.image.src = url;
    if (sheet.kind !== "video") {
      this.video.removeAttribute("src");
      this.video.load();
      return;
    }
    this.restoreWatched();
    this.video.src = url;
    this.video.defaultPlaybackRate = this.speed;
    this.video.playbackRate = this.speed;
    this.start();
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
    if (this.kind !== "video" || !Number.isFinite(this.video.duration)) return;
    this.video.currentTime = Math.min(this.video.duration, Math.max(0, this.video.currentTime + seconds));
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

  /** The share watched, 0 to 1; 1 if there is nothing to play. */
  watched() {
    if (this.kind !== "video") return 1;
    const known = Number.isFinite(this.video.duration) ? this.video.duration : this.seconds;
    return coverage(this.playedRanges(), known ?? 0);
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

  fail(what) {
    this.saveWatched();
    this.error.hidden = false;
    this.onFail?.(this.name);
    this.error.textContent = `The ${what} could not be loaded. Reload the page to try again, or skip this question.`;
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
