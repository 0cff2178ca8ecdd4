/* The video or the image of a sheet: shown once, kept while the questions on it change, watched share and all. */

import { recall, remember } from "./store.js";
import { Watched } from "./watched.js";

const SPEEDS = [0.5, 0.75, 1, 1.25, 1.5, 2];
const still = window.matchMedia("(prefers-reduced-motion: reduce)");
const byId = (id) => document.getElementById(id);

export class Player {
  /** played() is called when more of the video has been played. */
  constructor(key, played) {
    this.video = byId("video");
    this.image = byId("image");
    this.error = byId("media-error");
    this.key = key;
    this.kind = "none";
    this.name = null;
    this.seconds = null;
    this.watched = new Watched(this.video, `${key}:watched`);
    this.video.volume = recall(`${key}:volume`, 1);
    this.video.muted = recall(`${key}:muted`, false);
    this.speed = recall(`${key}:speed`, 1);
    this.autoplay = recall(`${key}:autoplay`, !still.matches);
    for (const event of ["timeupdate", "pause", "ended", "loadedmetadata"]) {
      this.video.addEventListener(event, () => {
        this.watched.save();
        played();
      });
    }
    this.video.addEventListener("playing", () => (this.error.hidden = true));
    this.video.addEventListener("volumechange", () => {
      remember(`${key}:volume`, this.video.volume);
      remember(`${key}:muted`, this.video.muted);
    });
    this.video.addEventListener("ratechange", () => {
      if (this.video.playbackRate === 1 && this.video.readyState === 0) return; // a new source begins at 1
      this.speed = this.video.playbackRate;
      remember(`${key}:speed`, this.speed);
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
      remember(`${key}:autoplay`, this.autoplay);
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
    this.watched.begin(sheet.video);
    this.video.src = url;
    this.video.defaultPlaybackRate = this.speed;
    this.video.playbackRate = this.speed;
    this.start();
  }

  /** Plays by itself, with sound, where that is wanted and the browser lets it; else waits for a key or a touch. */
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

  faster(steps) {
    const now = SPEEDS.findIndex((speed) => speed >= this.speed);
    this.setSpeed(SPEEDS[Math.min(SPEEDS.length - 1, Math.max(0, (now < 0 ? SPEEDS.length - 1 : now) + steps))]);
    return this.speed;
  }

  setSpeed(speed) {
    this.speed = speed;
    this.video.defaultPlaybackRate = speed;
    this.video.playbackRate = speed;
    remember(`${this.key}:speed`, speed);
    byId("speed").value = String(speed);
  }

  /** The share watched, 0 to 1; 1 where there is nothing to play. */
  share() {
    return this.kind === "video" ? this.watched.share(this.seconds) : 1;
  }

  fail(what) {
    this.watched.save();
    this.error.hidden = false;
    this.error.textContent = `The ${what} could not be loaded. Reload the page to try again, or skip this question.`;
  }

  retry() {
    if (this.error.hidden) return;
    if (this.kind === "image") this.image.src = this.image.getAttribute("src");
    if (this.kind !== "video") return;
    const at = this.video.currentTime;
    this.watched.begin(this.name);
    this.video.load();
    this.video.currentTime = at;
  }
}
