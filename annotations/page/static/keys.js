/* The keyboard: which key does what, how a person changes that, and when keys are for typing instead. */

import { recall, remember } from "./store.js";

const ACTIONS = [
  ["left", "A is better", ["a", "1"]],
  ["right", "B is better", ["b", "2"]],
  ["tie", "Tie", ["t", "3"]],
  ["both_bad", "Both bad", ["n", "4"]],
  ["undo", "Undo the last vote", ["u"]],
  ["skip", "Skip this question", ["s"]],
  ["play", "Play or pause", [" ", "k"]],
  ["back", "Back 5 seconds", ["ArrowLeft", "j"]],
  ["forward", "On 5 seconds", ["ArrowRight", "l"]],
  ["slower", "Slower", ["["]],
  ["faster", "Faster", ["]"]],
  ["guess", "Sure? A guess", ["7"]],
  ["rather", "Sure? Rather", ["8"]],
  ["sure", "Sure? Sure", ["9"]],
  ["reason", "Write a reason", ["r"]],
  ["help", "Instructions", ["?"]],
];
const NAMES = { " ": "Space", ArrowLeft: "←", ArrowRight: "→", ArrowUp: "↑", ArrowDown: "↓" };
const OWN = new Set([" ", "Enter", "ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown"]); // buttons and players use these
const NEVER = new Set(["Tab", "Escape", "Enter", "Shift", "Control", "Alt", "Meta", "CapsLock", "Dead", "Unidentified"]);

const normal = (key) => (key.length === 1 ? key.toLowerCase() : key);
const label = (key) => NAMES[key] ?? (key.length === 1 ? key.toUpperCase() : key);

function typing(target) {
  if (target.closest("textarea, select, [contenteditable]")) return true;
  const input = target.closest("input");
  return input !== null && !["radio", "checkbox", "button"].includes(input.type);
}

export class Keys {
  /** act: action → what it does. */
  constructor(key, act) {
    this.key = key;
    this.act = act;
    this.on = recall(`${key}:on`, true);
    this.bound = { ...this.defaults(), ...recall(key, {}) };
    this.changing = null; // the action that gets the next key
    document.addEventListener("keydown", (event) => this.press(event));
    this.tell = document.getElementById("keys-said");
    document.getElementById("keys-reset").addEventListener("click", () => this.set(this.defaults(), "Keys are as they were."));
    const box = document.getElementById("keys-on");
    box.checked = this.on;
    box.addEventListener("change", () => {
      this.on = box.checked;
      remember(`${key}:on`, this.on);
      this.paint();
    });
    document.getElementById("settings").addEventListener("cancel", (event) => {
      if (this.changing) event.preventDefault(); // Escape leaves the key as it is, and the dialog open
      this.stop("Nothing was changed.");
    });
    this.paint();
  }

  defaults() {
    return Object.fromEntries(ACTIONS.map(([action, , keys]) => [action, keys]));
  }

  press(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    if (this.changing) return this.change(event);
    if (!this.on || event.repeat || typing(event.target) || document.querySelector("dialog[open]")) return;
    const key = normal(event.key);
    if (OWN.has(key) && event.target.closest("button, a, input, summary, video, [role=region]")) return;
    const action = Object.keys(this.bound).find((name) => this.bound[name].includes(key));
    if (!action) return;
    event.preventDefault();
    this.act[action]?.();
  }

  change(event) {
    const key = normal(event.key);
    if (key === "Tab") return this.stop("Nothing was changed.");
    if (NEVER.has(key)) return;
    event.preventDefault();
    const bound = Object.fromEntries(Object.entries(this.bound).map(([name, keys]) => [name, keys.filter((k) => k !== key)]));
    const lost = ACTIONS.filter(([name]) => name !== this.changing && this.bound[name].length && !bound[name].length);
    bound[this.changing] = [key];
    const [, what] = ACTIONS.find(([name]) => name === this.changing);
    const without = lost.length ? ` ${lost[0][1]} has no key now.` : "";
    const changed = this.changing;
    this.set(bound, `${what}: ${label(key)}.${without}`);
    document.querySelector(`#keys button[data-action="${changed}"]`)?.focus();
  }

  stop(text) {
    if (!this.changing) return;
    this.changing = null;
    this.tell.textContent = text;
    this.paint();
  }

  set(bound, text) {
    this.bound = bound;
    this.changing = null;
    remember(this.key, bound);
    this.tell.textContent = text;
    this.paint();
  }

  /** Keys beside the buttons, and the table of the dialog. */
  paint() {
    for (const kbd of document.querySelectorAll("kbd[data-action]")) {
      const key = this.bound[kbd.dataset.action][0];
      kbd.textContent = key ? label(key) : "";
      kbd.hidden = !key || !this.on;
    }
    const rows = ACTIONS.map(([action, what]) => {
      const row = document.createElement("tr");
      const name = document.createElement("th");
      name.scope = "row";
      name.textContent = what;
      const cell = document.createElement("td");
      const button = document.createElement("button");
      button.type = "button";
      button.dataset.action = action;
      button.textContent = this.bound[action].map(label).join(" or ") || "none";
      button.setAttribute("aria-label", `${what}: ${button.textContent}. Change`);
      button.addEventListener("click", () => {
        this.changing = action;
        this.tell.textContent = `Press the key for: ${what}. Escape leaves it as it is.`;
      });
      cell.append(button);
      row.append(name, cell);
      return row;
    });
    document.getElementById("keys").replaceChildren(...rows);
  }
}
