/* Keyboard shortcuts: the bindings, how to change them, and when keys are ignored. */

import { load, save } from "./storage.js";
import { t } from "./texts.js";

/* [action, key of its name, default keys] */
const ACTIONS = [
  ["left", "left", ["a", "1"]],
  ["right", "right", ["b", "2"]],
  ["tie", "tie", ["t", "3"]],
  ["both_bad", "both_bad", ["n", "4"]],
  ["undo", "key-undo", ["u"]],
  ["skip", "key-skip", ["s"]],
  ["play", "key-play", [" ", "k"]],
  ["back", "key-back", ["ArrowLeft", "j"]],
  ["forward", "key-forward", ["ArrowRight", "l"]],
  ["frame_back", "frame-back", [","]],
  ["frame_forward", "frame-forward", ["."]],
  ["slower", "key-slower", ["["]],
  ["faster", "key-faster", ["]"]],
  ["diff", "diff", ["d"]],
  ["up", "key-up", ["ArrowUp", "PageUp"]],
  ["down", "key-down", ["ArrowDown", "PageDown"]],
  ["guess", "key-guess", ["7"]],
  ["fairly", "key-fairly", ["8"]],
  ["certain", "key-certain", ["9"]],
  ["reason", "key-reason", ["r"]],
  ["help", "key-help", ["?"]],
].map(([action, name, keys]) => [action, t(name), keys]);
const NAMES = { " ": t("key-space"), ArrowLeft: "←", ArrowRight: "→", ArrowUp: "↑", ArrowDown: "↓", PageUp: "⇞", PageDown: "⇟" };
const NATIVE = new Set([" ", "Enter", "ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown", "PageUp", "PageDown"]); // buttons and players use these themselves
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
    document.getElementById("keys-reset").addEventListener("click", () => this.set(this.defaults(), t("keys-were-reset")));
    const box = document.getElementById("keys-on");
    box.checked = this.on;
    box.addEventListener("change", () => {
      this.on = box.checked;
      save(`${key}:on`, this.on);
      this.render();
    });
    document.getElementById("settings").addEventListener("cancel", (event) => {
      if (this.changing) event.preventDefault(); // Escape cancels the change, but keeps the dialog open
      this.stop(t("key-unchanged"));
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
    if (NATIVE.has(key) && event.target.closest("button, a, input, video, [role=region]")) return;
    const action = Object.keys(this.bound).find((name) => this.bound[name].includes(key));
    if (!action) return;
    event.preventDefault();
    this.handlers[action]?.();
  }

  change(event) {
    const key = normal(event.key);
    if (key === "Tab") return this.stop(t("key-unchanged"));
    if (NEVER.has(key)) return;
    event.preventDefault();
    const bound = Object.fromEntries(Object.entries(this.bound).map(([name, keys]) => [name, keys.filter((k) => k !== key)]));
    const lost = ACTIONS.filter(([name]) => name !== this.changing && this.bound[name].length && !bound[name].length);
    bound[this.changing] = [key];
    const [, what] = ACTIONS.find(([name]) => name === this.changing);
    const without = lost.length ? ` ${t("key-lost", { what: lost[0][1] })}` : "";
    const changed = this.changing;
    this.set(bound, t("key-changed", { what, key: label(key) }) + without);
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
      button.textContent = this.bound[action].map(label).join(t("key-or")) || t("key-none");
      button.setAttribute("aria-label", t("key-change", { what, keys: button.textContent }));
      button.addEventListener("click", () => {
        this.changing = action;
        this.hint.textContent = t("key-press", { what });
      });
      cell.append(button);
      row.append(name, cell);
      return row;
    });
    document.getElementById("keys").replaceChildren(...rows);
  }
}
