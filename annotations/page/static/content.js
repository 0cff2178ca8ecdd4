/* Answers: their Markdown and formulas as elements, and the times that they mention as buttons. */

import { t } from "./texts.js";

const TAGS = new Set("div p h4 ul ol li blockquote pre code strong em s u br hr table thead tbody tr th td".split(" "));
const BLOCKS = new Set("p h4 li blockquote pre td th".split(" "));
const MATHML = "http://www.w3.org/1998/Math/MathML";
const TIME =
  /(?:(\d{1,2}):)?(\d{1,2}):(\d{2}(?:\.\d+)?)(?![\d:])|(\d+(?:\.\d+)?)\s?(?:s|secs?|seconds?|Sek(?:unden?|\.)?|ثانية|ثوان[يٍ]?|秒)(?![\p{L}\p{M}\p{N}])/giu;

/** The elements of an answer: a text, or a tree [tag, child, …]. onTime(seconds) is called for a time up to `duration`
    seconds that is chosen; without a video the duration is 0. */
export function content(text, tree, duration, onTime) {
  const withTimes = (node) => (typeof node === "string" ? times(node, duration, onTime) : [build(node, withTimes)]);
  return withTimes(tree || text);
}

function build([tag, ...children], withTimes) {
  if (tag === "math") return formula([tag, ...children]);
  const [name, start] = tag.replace(/^h\d$/, "h4").split(" "); // headings are below those of the page
  const node = document.createElement(TAGS.has(name) ? name : "span");
  if (start) node.start = Number(start);
  if (BLOCKS.has(name)) node.dir = "auto"; // each paragraph has the direction of its own script
  node.append(...children.flatMap(withTimes));
  return node;
}

/* The server sends only elements and attributes of presentation. */
function formula([tag, attributes, ...children]) {
  const node = document.createElementNS(MATHML, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children.map((child) => (typeof child === "string" ? child : formula(child))));
  return node;
}

function times(text, duration, onTime) {
  const parts = [];
  let end = 0;
  for (const found of text.matchAll(TIME)) {
    const [whole, hours, minutes, seconds, alone] = found;
    const at = alone === undefined ? 3600 * (hours || 0) + 60 * minutes + Number(seconds) : Number(alone);
    const inside = /[\p{L}\p{N}.:,]$/u.test(text.slice(0, found.index)); // of a word or a longer number
    if (inside || Number(seconds) >= 60 || !(at <= duration)) continue;
    const button = document.createElement("button");
    button.type = "button";
    button.className = "time";
    button.textContent = whole;
    button.title = t("go-to", { time: clock(at) });
    button.addEventListener("click", () => onTime(at));
    parts.push(text.slice(end, found.index), button);
    end = found.index + whole.length;
  }
  return [...parts, text.slice(end)].filter((part) => part !== "");
}

/** Seconds as 0:42 or 1:02:03. */
export function clock(seconds) {
  const [hours, minutes, rest] = [seconds / 3600, (seconds / 60) % 60, seconds % 60].map(Math.floor);
  const two = (number) => String(number).padStart(2, "0");
  return hours ? `${hours}:${two(minutes)}:${two(rest)}` : `${minutes}:${two(rest)}`;
}
