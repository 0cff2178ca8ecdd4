/* Which parts of a video were played, each counted once, over reloads of the page too. */

import { recall, remember } from "./store.js";

const GAP = 0.25; // seconds: players leave such gaps between ranges, and at both ends

/** Sorted ranges without overlap; those less than GAP apart become one. */
export function union(ranges) {
  const merged = [];
  for (const [start, end] of ranges.slice().sort((a, b) => a[0] - b[0])) {
    const last = merged.at(-1);
    if (last && start <= last[1] + GAP) last[1] = Math.max(last[1], end);
    else merged.push([start, end]);
  }
  return merged;
}

/** The share of `duration` seconds that the ranges cover, 0 to 1. */
export function share(ranges, duration) {
  if (!(duration > 0)) return 0;
  let covered = 0;
  for (const [start, end] of union(ranges)) {
    const from = start < GAP ? 0 : start;
    const to = end > duration - GAP ? duration : end;
    covered += Math.max(0, Math.min(to, duration) - from);
  }
  return Math.min(1, covered / duration);
}

export class Watched {
  constructor(video, key) {
    this.video = video;
    this.key = key;
    this.name = "";
    this.before = []; // what was played before this page or this source was loaded
  }

  /** A video has been set: what was played of it before counts on. */
  begin(name) {
    this.name = name;
    const kept = recall(this.key, null);
    this.before = kept?.name === name ? kept.ranges : [];
  }

  ranges() {
    const played = this.video.played;
    const now = Array.from({ length: played.length }, (_, i) => [played.start(i), played.end(i)]);
    return union([...this.before, ...now]);
  }

  share(seconds) {
    const known = Number.isFinite(this.video.duration) ? this.video.duration : seconds;
    return share(this.ranges(), known ?? 0);
  }

  save() {
    if (this.name) remember(this.key, { name: this.name, ranges: this.ranges() });
  }
}
