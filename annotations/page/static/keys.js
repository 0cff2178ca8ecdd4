/* Keyboard shortcuts: the bindings, how to change them, and when keys are ignored. */

import { load, save } from "./storage.js";

const ACTIONS = [
  ["left", "A is better", ["a", "1"]],
  ["right", "B is better", ["b", "2"]],
  ["tie", "Tie", ["t", "3"]],
  ["both_bad", "Both bad", ["n", "4"]],
  ["undo", "Undo the last vote", ["u"]],
  ["skip", "Skip this question", ["s"]],
  ["play", "Play or pause", [" ", "k"]],
  ["back", "Back 5 seconds", ["ArrowLeft", "j"]],
  ["forward", "Forward 5 seconds", ["ArrowRight", "l"]],
  ["slower", "Slower", ["["]],
  ["faster", "Faster", ["]"]],
  ["guess", "Confidence: a guess", ["7"]],
  ["fairly", "Confidence: fairly sure", ["8"]],
  ["certain", "Confidence: certain", ["9"]],
  ["reason", "Write a reason", ["r"]],
  ["help", "Instructions", ["?"]],
];
const NAMES = { " ": "Space", ArrowLeft: "←", ArrowRight: "→", ArrowUp: "↑", ArrowDown: "↓" };
const NATIVE = new Set([" ", "Enter", "ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown"]); // buttons and players use these themselves
const NEVER = new Set(["Tab", "Escape", "Enter", "Shift", "Control", "Alt", "Meta", "CapsLock", "Dead", "Unidentified"]);

const normal = (key) => (key.length === 1 ? key.toLowerCase() : key);
const label = (key) => NAMES[key] ?? (key.length === 1 ? key.toUpperCase() : key);

function typing(target) {
  if (target.closest("textarea, select, [contenteditable]")) return true;
  const input = target.closest("input");
  return input !== null && !["radio", "checkbox", "button"].includes(input.type);
}

export class Keys {
  /** handlers: action → function. */
  constructor(key, handlers) {
    this.key = key;
    this.handlers = handlers;
    this.on = load(`${key}:on`, true);
    this.bound = { ...this.defaults(), ...load(key, {}) };
    this.changing = null; // the action whose key is being changed
    document.addEventListener("keydown", (event) => this.press(event));
    this.hint = document.getElementById("keys-hint");
    document.getElementById("keys-reset").addEventListener("click", () => this.set(this.defaults(), "Keys were reset."));
    const box = document.getElementById("keys-on");
    box.checked = this.on;
    box.addEventListener("change", () => {
      this.on = box.checked;
      save(`${key}:on`, this.on);
      this.render();
    });
    document.getElementById("settings").addEventListener("cancel", (event) => {
      if (this.changing) event.preventDefault(); // Escape cancels the change, but keeps the dialog open
      this.stop("No key was changed.");
    });
    this.render();
  }

  defaults() {
    return Object.fromEntries(ACTIONS.map(([action, , keys]) => [action, keys]));
  }

  press(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    if (this.changing) return this.change(event);
    if (!this.on || event.repeat || typing(event.target) || document.querySelector("dialog[open]")) return;
    const key = normal(event.key);
    if (NATIVE.has(key) && event.target.closest("button, a, input, summary, video, [role=region]")) return;
    const action = Object.keys(this.bound).find((name) => this.bound[name].includes(key));
    if (!action) return;
    event.preventDefault();
    this.handlers[action]?.();
  }

  change(event) {
    const key = normal(event.key);
    if (key === "Tab") return this.stop("No key was changed.");
    if (NEVER.has(key)) return;
    event.preventDefault();
    const bound = Object.fromEntries(Object.entries(this.bound).map(([name, keys]) => [name, keys.filter((k) => k !== key)]));
    const lost = ACTIONS.filter(([name]) => name !== this.changing && this.bound[name].length && !bound[name].length);
    bound[this.changing] = [key];
    const [, what] = ACTIONS.find(([name]) => name === this.changing);
    const without = lost.length ? ` “${lost[0][1]}” has no key now.` : "";
    const changed = this.changing;
    this.set(bound, `${what}: ${label(key)}.${without}`);
    document.querySelector(`#keys button[data-action="${changed}"]`)?.focus();
  }

  stop(text) {
    if (!this.changing) return;
    this.changing = null;
    this.hint.textContent = text;
    this.render();
  }

  set(bound, text) {
    this.bound = bound;
    this.changing = null;
    save(this.key, bound);
    this.hint.textContent = text;
    this.render();
  }

  /** Show the keys next to the buttons and in the dialog. */
  render() {
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
        this.hint.textContent = `Press a key for: ${what}. Escape cancels.`;
      });
      cell.append(button);
      row.append(name, cell);
      return row;
    });
    document.getElementById("keys").replaceChildren(...rows);
  }
}
