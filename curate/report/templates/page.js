/* The interactive views of the report: prompts, one prompt, two models. All texts are inserted as text. */
"use strict";

const SVG = "http://www.w3.org/2000/svg";
const MORE = 50; // rows of the list of prompts that appear at once
const TITLE = 160; // characters of a question in the title; a longer one is repeated below
const LONG = 25; // rows of a long table that appear at first: see .short
const IMAGE = /\.(jpe?g|png|webp|bmp|tiff?)$/i; // names of images; all others are videos
const TOP = 10; // prompts where two models differ most, each way
const root = document.documentElement;
const byId = (id) => document.getElementById(id);
const known = (value) => value !== null && value !== undefined;
const whole = (n) => n.toLocaleString("en-US", { maximumFractionDigits: 2 });
const many = (n, noun) => `${whole(n)} ${noun}${n === 1 ? "" : "s"}`;
const number = (x, digits = 2) => (known(x) ? (Math.abs(x) < 0.5 / 10 ** digits ? 0 : x).toFixed(digits).replace("-", "−") : "");
const percent = (x, digits = 1) => (known(x) ? `${number(100 * x, digits)}%` : "");
const cut = (text, length) => (text.length > length ? `${text.slice(0, length - 1)}…` : text);

function build(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (known(value) && value !== false) node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat(9).filter((child) => known(child) && child !== false));
  return node;
}
const h = (name, attributes = {}, ...children) => build(document.createElement(name), attributes, children);
const s = (name, attributes = {}, ...children) => build(document.createElementNS(SVG, name), attributes, children);

/* Addresses: #view, #view=value,value, and &name=value for what is chosen in it. */

function address(view, values = [], chosen = {}) {
  const rest = Object.entries(chosen).filter(([, value]) => known(value) && String(value) !== "");
  const list = (value) => [value].flat().map(encodeURIComponent).join(",");
  return `#${view}${values.length ? `=${list(values)}` : ""}${rest.map(([name, value]) => `&${name}=${list(value)}`).join("")}`;
}

function parse(hash) {
  const parts = hash.replace(/^#/, "").split("&").map((part) => {
    const at = part.indexOf("=");
    if (at < 0) return [part, []];
    try {
      return [part.slice(0, at), part.slice(at + 1).split(",").map(decodeURIComponent)];
    } catch {
      return [part.slice(0, at), []]; // a damaged link
    }
  });
  return { view: parts[0][0] || "leaderboard", values: parts[0][1], chosen: Object.fromEntries(parts.slice(1)) };
}

/* Tables. A column is [label, cell of a row, its value if it can be sorted by it, classes]. */

function table(caption, columns, rows, className = "") {
  const labels = columns.map(([label]) => (typeof label === "string" ? label : label.textContent));
  const row = (one) => h("tr", {}, columns.map(([, cell, value, classes = ""], k) => {
    const shared = { class: classes, "data-label": labels[k], "data-v": value ? value(one) : null };
    return classes.includes("head") ? h("th", { scope: "row", ...shared }, cell(one)) : h("td", shared, cell(one));
  }));
  const heads = columns.map(([label, , value, classes = ""]) => h("th", { scope: "col", class: classes, "data-sort": Boolean(value) }, label));
  const made = h("table", { class: `stack ${className}` }, h("caption", { class: "hidden" }, caption), h("thead", {}, h("tr", {}, heads)), h("tbody", {}, rows.map(row)));
  return keepRoles(made);
}

/* Rows that are shown as blocks on a phone would lose the roles of a table. */
function keepRoles(made) {
  const roles = { "": "table", thead: "rowgroup", tbody: "rowgroup", tr: "row", td: "cell", "tbody th": "rowheader", "thead th": "columnheader" };
  for (const [selector, role] of Object.entries(roles)) {
    for (const node of selector ? made.querySelectorAll(selector) : [made]) node.setAttribute("role", role);
  }
  return made;
}

/* Put a button in each head with data-sort, which sorts the rows by data-v: numbers as numbers, rows without a value last. */
function sortable(made) {
  const body = made.tBodies[0];
  [...made.tHead.rows[0].cells].forEach((head, at) => {
    if (!known(head.dataset.sort)) return;
    const button = h("button", { type: "button", class: "sort", onclick: () => {
      const up = head.getAttribute("aria-sort") ? head.getAttribute("aria-sort") === "descending" : head.dataset.sort !== "down";
      const value = (row) => row.cells[at].dataset.v ?? "";
      const compare = (a, b) => (a !== "" && b !== "" && isFinite(a) && isFinite(b) ? a - b : a.localeCompare(b, "en"));
      const rows = [...body.rows].sort((a, b) => (value(a) === "") - (value(b) === "") || (up ? 1 : -1) * compare(value(a), value(b)));
      body.append(...rows);
      for (const other of made.tHead.rows[0].cells) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      made.classList.toggle("grouped", at === 0 && up);
    } });
    button.append(...head.childNodes);
    head.append(button);
  });
  return made;
}

/* The data. */

let D = null;
let first = null; // of each prompt: its first response and its first row of votes
let list = []; // the prompts that the search found, in their order

async function unpack() {
  const bytes = Uint8Array.from(atob(byId("data").textContent), (c) => c.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  const data = JSON.parse(await new Response(stream).text());
  data.pictures = JSON.parse(byId("pictures").textContent).map(([, picture]) => picture);
  data.place = new Map(data.prompts.prompt_id.map((id, k) => [id, k]));
  const sums = (sizes) => sizes.reduce((ends, n) => (ends.push(ends.at(-1) + n), ends), [0]);
  first = { responses: sums(data.prompts.size), votes: sums(data.votes.size) };
  return data;
}

const answers = new Map();
/* The responses to prompt k, in rank order. */
function responsesOf(k) {
  if (!answers.has(k)) {
    const R = D.responses;
    answers.set(k, Array.from({ length: D.prompts.size[k] }, (_, i) => {
      const at = first.responses[k] + i;
      const found = { at: i, id: R.response_id[at], model: R.model[at], text: R.text[at], rank: R.rank[at], low: R.best_rank[at] };
      Object.assign(found, { high: R.worst_rank[at], strength: R.strength[at], se: R.strength_se[at], component: R.component[at] });
      return { ...found, name: known(found.model) ? D.models[found.model] : found.id };
    }));
  }
  return answers.get(k);
}

/* Rows of votes on prompt k, which are sums of a pair where the page has no single votes. */
function votesOf(k) {
  const V = D.votes;
  return Array.from({ length: V.size[k] }, (_, i) => {
    const at = first.votes[k] + i;
    const found = { a: V.first_at[at], b: V.second_at[at], forA: V.for_first[at], forB: V.for_second[at], tied: V.tied[at] };
    return V.annotator ? { ...found, who: V.annotator[at], bad: V.both_bad[at], aLeft: V.first_left[at] } : found;
  });
}

/* Vote weight by pair of responses, the better-ranked first. */
function pairsOf(k) {
  const found = new Map();
  for (const { a, b, forA, forB, tied } of votesOf(k)) {
    const [i, j, forI, forJ] = a < b ? [a, b, forA, forB] : [b, a, forB, forA];
    const pair = found.get(`${i} ${j}`) ?? { i, j, forI: 0, forJ: 0, tied: 0 };
    Object.assign(pair, { forI: pair.forI + forI, forJ: pair.forJ + forJ, tied: pair.tied + tied });
    found.set(`${i} ${j}`, pair);
  }
  return [...found.values()].sort((x, y) => x.i - y.i || x.j - y.j);
}

const itemsOf = (k) => D.items.prompt.flatMap((place, at) => (place === k ? [at] : []));
const questionOf = (k) => D.prompts.question[k] || `Prompt ${D.prompts.prompt_id[k]}`;
const pictureOf = (k) => (known(D.prompts.video[k]) && D.pictures[D.prompts.video[k]] ? `data:image/jpeg;base64,${D.pictures[D.prompts.video[k]]}` : null);
const promptLink = (k, ...children) => h("a", { href: address("prompt", [D.prompts.prompt_id[k]]) }, ...children);

/* Pictures. */

const at = (share) => `${(4 + 92 * Math.min(Math.max(share, 0), 1)).toFixed(1)}%`;

function interval(value, low, high, from, to) {
  const x = (v) => at(to > from ? (v - from) / (to - from) : 0.5);
  return s("svg", { class: "interval", height: 18, "aria-hidden": "true" },
    s("line", { x1: x(low), x2: x(high), y1: 9, y2: 9, class: "whisker" }), s("circle", { cx: x(value), cy: 9, r: 4, class: "dot" }));
}

function bar(share, label) {
  return h("span", { class: "share" }, s("svg", { height: 8, "aria-hidden": "true" },
    s("rect", { width: "100%", height: 8, rx: 4, class: "track" }), s("rect", { width: `${100 * share}%`, height: 8, rx: 4, class: "bar" })), label);
}

/* Responses in rank order on a line; above it, red, the votes for the worse-ranked one, with an arrowhead at the loser. */
function graph(k) {
  const nodes = responsesOf(k).filter((one) => known(one.rank));
  const place = new Map(nodes.map((one, i) => [one.at, i]));
  const arcs = pairsOf(k).filter((pair) => place.has(pair.i) && place.has(pair.j)).flatMap(({ i, j, forI, forJ, tied }) =>
    [[i, j, forI + tied / 2], [j, i, forJ + tied / 2]].filter(([, , weight]) => weight > 0));
  const step = Math.min(52, Math.max(18, 860 / nodes.length)), radius = Math.min(12, step / 2 - 2);
  const width = Math.max(step * nodes.length + 20, 240), left = (width - step * (nodes.length - 1)) / 2;
  const height = 40 + Math.min(150, 9 * nodes.length), line = height + 4, most = Math.max(...arcs.map((arc) => arc[2]), 0);
  const kinds = {}, against = [];
  arcs.sort((x, y) => Math.abs(x[0] - x[1]) - Math.abs(y[0] - y[1]));
  for (const [winner, loser, weight] of arcs) {
    const [i, j] = [place.get(winner), place.get(loser)], [won, lost] = [nodes[i], nodes[j]];
    const kind = won.rank < lost.rank ? "agree" : won.rank > lost.rank ? "against" : "equal";
    const [x, z, high] = [left + i * step, left + j * step, 16 + ((height - 24) * Math.abs(i - j)) / Math.max(nodes.length - 1, 1)];
    const y = kind === "against" ? line - radius : line + radius, sweep = kind !== "against" && x > z ? 1 : 0;
    const path = `M${x.toFixed(1)} ${y}A${(Math.abs(x - z) / 2).toFixed(1)} ${(high - radius).toFixed(1)} 0 0 ${sweep} ${z.toFixed(1)} ${y}`;
    const level = `w${Math.max(1, Math.round((weight / most) * 4))}`;
    if (kind !== "against") (kinds[`arc ${kind} ${level}`] ??= []).push(path);
    else {
      const title = `${won.name} (rank ${won.rank}) over ${lost.name} (rank ${lost.rank}): ${whole(weight)}`;
      const open = () => (location.hash = address("prompt", [D.prompts.prompt_id[k]], { votes: [won.id, lost.id] }));
      against.push(s("path", { d: path, class: `arc against ${level}`, onclick: open }, s("title", {}, title)), s("path", { d: `M${z.toFixed(1)} ${y}l-2.8 -6h5.6z`, class: "head" }));
    }
  }
  const dots = nodes.map((one, i) => s("g", {}, s("title", {}, `rank ${one.rank}: ${one.name}`),
    s("circle", { cx: left + i * step, cy: line, r: radius, class: "node" }), s("text", { x: left + i * step, y: line + 4, "text-anchor": "middle", class: "t" }, one.rank)));
  const label = `Preference graph: ${nodes.length} responses in rank order, ${percent(D.prompts.disagreement[k]) || "no"} disagreement`;
  const top = against.length ? 0 : line - radius - 2;
  return s("svg", { viewBox: `0 ${top} ${width} ${2 * line - top}`, width, role: "img", "aria-label": label, class: `graph ${arcs.length > 80 ? "dense" : ""}` },
    Object.entries(kinds).sort().map(([kind, paths]) => s("path", { d: paths.join(""), class: kind })), against, dots);
}

/* Number of prompts by the difference in strength: the model at the right is ahead right of the middle. */
function differences(values, left, right) {
  const reach = Math.max(...values.map(Math.abs), 0.5), bins = 24, counts = Array(bins).fill(0);
  for (const value of values) counts[Math.min(bins - 1, Math.floor(((value + reach) / (2 * reach)) * bins))] += 1;
  const most = Math.max(...counts), width = 480, high = 110, each = width / bins;
  const bars = counts.map((count, i) => s("rect", { x: i * each + 1, y: 6 + high * (1 - count / most), width: each - 2, height: (high * count) / most, class: i < bins / 2 ? "bar other" : "bar" },
    s("title", {}, `${number(-reach + (2 * reach * i) / bins)} to ${number(-reach + (2 * reach * (i + 1)) / bins)} logits: ${many(count, "prompt")}`)));
  const text = (x, anchor, words) => s("text", { x, y: high + 22, "text-anchor": anchor, class: "label" }, words);
  return s("svg", { viewBox: `0 0 ${width} ${high + 28}`, width, role: "img", class: "chart", "aria-label": `Number of prompts by difference in strength of ${right} and ${left}` },
    bars, s("line", { x1: width / 2, x2: width / 2, y1: 0, y2: high + 6, class: "mean" }), text(0, "start", `← ${cut(left, 24)} stronger`), text(width, "end", `${cut(right, 24)} stronger →`));
}

/* The list of prompts. */

const SORTS = {
  prompt: ["prompt", (k) => D.prompts.prompt_id[k], 1],
  best: ["best response", (k) => responsesOf(k)[0]?.name ?? "", 1],
  votes: ["votes", (k) => D.prompts.votes[k], -1],
  disagreement: ["disagreement", (k) => D.prompts.disagreement[k], -1],
  tau: ["expected tau", (k) => D.prompts.expected_tau[k], 1],
  items: ["items", (k) => D.itemCounts[k], -1],
};
const texts = new Map();

function textOf(k) {
  if (!texts.has(k)) texts.set(k, [D.prompts.prompt_id[k], D.prompts.question[k], ...responsesOf(k).map((one) => one.text)].join("\n").toLowerCase());
  return texts.get(k);
}

function bestOf(k) {
  const one = responsesOf(k)[0];
  return one && known(one.rank) ? one : null;
}

function found({ q = [""], split = [""], status = [""], best = [""], sort = ["prompt"] }) {
  const words = q[0].toLowerCase().split(/\s+/).filter(Boolean), P = D.prompts;
  const keep = (k) => (!split[0] || (P.split[k] ?? "none") === split[0]) && (!status[0] || P.status[k] === status[0]) &&
    (!best[0] || bestOf(k)?.name === best[0]) && words.every((word) => textOf(k).includes(word));
  const down = sort[0].startsWith("-"), [, value, usual] = SORTS[sort[0].replace("-", "")] ?? SORTS.prompt;
  const sign = down ? -usual : usual;
  const compare = (a, b) => (typeof a === "string" ? a.localeCompare(b, "en", { numeric: true }) : a - b);
  return P.prompt_id.map((_, k) => k).filter(keep).sort((a, b) => {
    const [x, y] = [value(a), value(b)];
    return known(x) && known(y) ? sign * compare(x, y) || a - b : known(y) - known(x);
  });
}

function showPrompts(chosen) {
  const box = byId("found"), form = byId("search");
  for (const name of ["q", "split", "status", "best"]) {
    const field = form.elements[name];
    if (field && document.activeElement !== field) field.value = chosen[name]?.[0] ?? "";
  }
  list = found(chosen);
  const total = D.prompts.prompt_id.length;
  byId("count").textContent = list.length === total ? many(total, "prompt") : `${whole(list.length)} of ${many(total, "prompt")}`;
  const now = chosen.sort?.[0] ?? "prompt";
  const head = (key) => {
    const active = now.replace("-", "") === key, values = { ...chosen, sort: now === key ? `-${key}` : key };
    return h("a", { id: `by-${key}`, onclick: () => (lastFocus = `by-${key}`), class: `sort ${active ? (now === key) === SORTS[key][2] > 0 ? "up" : "down" : ""}`, href: address("prompts", [], values) }, SORTS[key][0]);
  };
  const P = D.prompts;
  const columns = [
    [head("prompt"), lead, null, "head lead"],
    [head("best"), (k) => (bestOf(k) ? [h("span", { class: "faint" }, bestOf(k).name), h("span", { class: "clip" }, bestOf(k).text ?? "")] : "not ranked"), null, "lead"],
    [head("votes"), (k) => whole(P.votes[k]), null, "n"],
    [head("disagreement"), (k) => (known(P.disagreement[k]) ? bar(P.disagreement[k], percent(P.disagreement[k])) : "–"), null, "n"],
    [head("tau"), (k) => number(P.expected_tau[k]) || "–", null, "n"],
    [head("items"), (k) => whole(D.itemCounts[k]), null, "n"],
  ].filter((_, i) => i < 5 || D.items.prompt.length);
  let shown = Math.max(MORE, Number(box.dataset.shown ?? 0));
  const draw = () => {
    box.dataset.shown = shown;
    const rows = table("Prompts", columns, list.slice(0, shown), "prompts");
    const more = list.length > shown && h("button", { type: "button", class: "more", onclick: () => ((shown += MORE), draw()) }, `Show ${Math.min(MORE, list.length - shown)} more`);
    box.replaceChildren(...[list.length ? rows : h("p", { class: "todo" }, "No prompt has all of these words and values."), more].filter(Boolean));
  };
  draw();
  if (lastFocus) byId(lastFocus)?.focus();
}

/* A prompt with its first frame, as a link. */
function lead(k) {
  const P = D.prompts, picture = pictureOf(k), status = P.status[k] === "ranked" ? null : P.status[k].replaceAll("_", " ");
  const frames = IMAGE.test(D.videos.name[P.video[k]]) ? 1 : 4; // side by side in a picture
  const first = ({ target }) => (target.style.width = `${Math.min(92, (52 * target.naturalWidth) / frames / target.naturalHeight)}px`);
  return promptLink(k, picture && h("span", { class: "thumb" }, h("img", { src: picture, alt: "", onload: first, loading: "lazy", decoding: "async" })),
    h("span", {}, h("span", { class: "ask" }, questionOf(k)), h("span", { class: "faint" }, [P.prompt_id[k], P.split[k], status].filter(Boolean).join(" · "))));
}

/* One prompt. */

function media(k) {
  const video = D.prompts.video[k];
  if (!known(video)) return null;
  const [link, name, error] = [D.videos.link[video], D.videos.name[video], D.videos.error[video]], picture = pictureOf(k);
  const still = () => (picture ? h("img", { class: "still", src: picture, alt: `Frames of ${name}, in the order of time` }) : null);
  const note = (text) => h("p", { class: "faint" }, text);
  if (!link || IMAGE.test(name)) return [still(), note(error ? `${name}: ${error}` : name)];
  const box = h("div", { class: "media" });
  const missing = () => box.replaceChildren(...[still(), note(`The video is not at ${decodeURI(link)}, or this browser does not play it.`)].filter(Boolean));
  box.append(h("video", { src: link, controls: true, muted: true, loop: true, preload: "metadata", onerror: missing, "aria-label": `Video ${name}` }), ...[still()].filter(Boolean));
  return box;
}

function votes(k, ids) {
  const own = responsesOf(k), one = own.find(({ id }) => id === ids?.[0]), other = own.find(({ id }) => id === ids?.[1]);
  const choose = (label, now, rest) => h("label", {}, label, h("select", { onchange: (event) => {
    const pair = [one?.id ?? "", other?.id ?? ""];
    pair[rest] = event.target.value;
    history.replaceState(null, "", address("prompt", [D.prompts.prompt_id[k]], { votes: pair }));
    here = location.hash;
    byId("votes").replaceWith(votes(k, pair));
    byId("votes").querySelectorAll("select")[rest].focus();
  } }, h("option", { value: "" }, "–"), own.map((each) => h("option", { value: each.id, selected: each === now }, `${each.rank ?? "–"}. ${cut(each.name, 40)}`))));
  const box = h("div", { id: "votes" }, h("h3", { tabindex: -1 }, "Votes of a pair"), h("div", { class: "controls" }, choose("Response", one, 0), choose("and", other, 1)));
  if (!one || !other || one === other) return box;
  const rows = votesOf(k).filter(({ a, b }) => (a === one.at && b === other.at) || (b === one.at && a === other.at));
  const weight = (row, which) => (which === "tied" ? row.tied : (row.a === which.at ? row.forA : row.forB));
  const sum = (which) => whole(rows.reduce((total, row) => total + weight(row, which), 0));
  box.append(h("p", {}, h("strong", {}, sum(one)), ` for ${one.name}, `, h("strong", {}, sum(other)), ` for ${other.name}, `, h("strong", {}, sum("tied")), " tied."));
  if (!rows.length) return box;
  if (!D.votes.annotator) return box.append(h("p", { class: "faint" }, "The page has only sums: there are too many single votes.")), box;
  const A = D.annotators, left = (row) => (known(row.aLeft) ? (row.aLeft === 1 ? own[row.a] : own[row.b]).name : null);
  const said = (row) => (weight(row, one) ? one.name : weight(row, other) ? other.name : row.bad ? "both bad" : "tie");
  box.append(sortable(table("Votes", [
    ["annotator", (row) => (known(row.who) ? A.id[row.who] : "anonymous"), (row) => (known(row.who) ? A.id[row.who] : ""), "head"],
    ["prefers", said, said],
    ["shown left", left, left],
    ["weight", (row) => whole(row.forA + row.forB + row.tied), (row) => row.forA + row.forB + row.tied, "n"],
    ["agreement of the annotator", (row) => percent(A.agreement[row.who], 0), (row) => A.agreement[row.who], "n"],
    ["P(spammer)", (row) => number(A.p_spammer[row.who]), (row) => A.p_spammer[row.who], "n"],
  ].filter(([, , value]) => rows.some((row) => known(value(row)))), rows)));
  return box;
}

function showPrompt([id], chosen) {
  const k = D.place.get(id), box = byId("one"), P = D.prompts;
  if (!known(k)) return title("Unknown prompt"), box.replaceChildren(h("p", { class: "todo" }, "This page has no such prompt."));
  if (!list.length) list = P.prompt_id.map((_, i) => i);
  const here = list.indexOf(k), own = responsesOf(k), last = Math.max(...own.map((one) => one.high ?? 1), 2);
  const step = (to, text) => (known(list[to]) && here >= 0 ? h("a", { class: "button", href: address("prompt", [P.prompt_id[list[to]]]) }, text) : null);
  const facts = [["status", P.status[k].replaceAll("_", " ")], ["split", P.split[k]], ["votes", whole(P.votes[k]) + (P.ties[k] ? ` (${whole(P.ties[k])} tied)` : "")],
    ["pairs with votes", `${whole(P.pairs_covered[k])} of ${whole(P.pairs_possible[k])}`], ["cyclic triads", whole(P.cyclic_triads[k])], ["disagreement", percent(P.disagreement[k])],
    ["lowest possible", known(P.bound[k]) && P.compared[k] ? percent(P.bound[k] / P.compared[k]) : ""], ["expected tau", number(P.expected_tau[k])], ["shown because", P.reason[k]]].filter(([, value]) => value);
  const ranked = own.some((one) => known(one.rank)), components = new Set(own.map((one) => one.component).filter(known)).size;
  const columns = [["rank", (one) => one.rank ?? "–", (one) => one.rank, "n rank"], [own.some((one) => known(one.model)) ? "model" : "response", (one) => one.name, (one) => one.name, "head name"]];
  if (ranked) columns.push(["90% interval of the rank", (one) => known(one.rank) && h("div", { class: "range" }, interval(one.rank, one.low, one.high, 1, last), `${one.low}–${one.high}`), (one) => one.low, "span"]);
  if (own.some((one) => known(one.text))) columns.push(["answer", (one) => (known(one.text) ? answer(one.text) : "unknown"), null, "answer lead"]);
  if (ranked) columns.push(["strength", (one) => known(one.strength) && [number(one.strength), h("span", { class: "faint" }, ` ±${number(one.se)}`)], (one) => one.strength, "n"]);
  if (components > 1) columns.push(["component", (one) => (known(one.component) ? one.component + 1 : "–"), (one) => one.component, "n"]);
  const pairs = pairsOf(k), I = D.items, items = itemsOf(k), size = (x) => h("span", { class: "faint" }, x);
  const label = (i) => (known(own[i]) ? `${own[i].rank ?? "–"}. ${own[i].name}` : "?");
  title(cut(questionOf(k), TITLE));
  box.replaceChildren(...[
    h("div", { class: "controls" }, h("a", { class: "button", href: lastList }, "All prompts"), step(here - 1, "← Previous"), step(here + 1, "Next →"), h("span", { class: "faint" }, id)),
    questionOf(k).length > TITLE && h("p", { class: "answer" }, questionOf(k)), media(k), h("dl", { class: "facts" }, facts.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value)))),
    h("h3", {}, "Ranked answers"), sortable(table("Responses by rank", columns, own, "responses")),
    components > 1 && h("p", { class: "faint" }, `No votes connect the ${components} components; ranks count within each.`),
    own.filter((one) => known(one.rank)).length > 1 && [h("h3", {}, "Preference graph"),
      h("p", { class: "faint" }, "Responses in rank order, the best at the left. Below the line: votes that agree with the order (dashed: equal ranks). Above it, red, with an arrowhead at the loser: votes against it; choose one to see its votes. Wider arcs have more weight; a tie counts half each way."), graph(k)],
    pairs.length > 0 && [votes(k, chosen.votes), h("details", {}, h("summary", {}, `All ${many(pairs.length, "pair")} with votes`), sortable(table("Votes by pair", [
      ["better-ranked", ({ i }) => label(i), ({ i }) => i, "head"], ["for it", ({ forI }) => whole(forI), ({ forI }) => forI, "n"], ["tied", ({ tied }) => whole(tied), ({ tied }) => tied, "n"],
      ["for the other", ({ forJ }) => whole(forJ), ({ forJ }) => forJ, "n"], ["worse-ranked", ({ j }) => label(j), ({ j }) => j],
      ["votes", ({ i, j }) => h("a", { href: address("prompt", [id], { votes: [own[i].id, own[j].id] }), "aria-label": `Votes on ${own[i].name} and ${own[j].name}` }, "show")]], pairs)))],
    items.length > 0 && [h("h3", {}, many(items.length, "item")), sortable(table("Items that use this prompt", [
      ["item", (i) => h("code", {}, I.item_id[i]), (i) => I.item_id[i], "head"], ["set", (i) => [`${I.config[i]} `, size(I.source[i])], (i) => I.config[i]],
      ["responses, the labelled best first", (i) => members(i).map(label).map((text, n) => [n > 0 && ", ", h(n ? "span" : "strong", { class: "whole" }, text)]), null, "lead"],
      ["confidence", (i) => percent(I.confidence[i], 0), (i) => I.confidence[i], "n"], ["votes to change it", (i) => I.fragility[i] ?? "–", (i) => I.fragility[i], "n"]], items))],
  ].flat(9).filter(Boolean));
  if (chosen.votes) byId("votes").scrollIntoView({ block: "center" });
}

/* Places of the responses of an item by rank, the labelled best first. */
function members(i) {
  const best = D.items.members[i][D.items.best[i] ?? -1];
  return [...D.items.members[i]].sort((a, b) => (b === best) - (a === best) || a - b);
}

/* A text, of which the first lines are shown if it is long. */
function answer(text) {
  if (text.length <= 400 && text.split("\n").length <= 6) return text;
  const body = h("div", { class: "lines" }, text);
  const more = h("button", { type: "button", "aria-expanded": "false", onclick: () => {
    const all = body.classList.toggle("lines");
    more.textContent = all ? "Show all" : "Show less";
    more.setAttribute("aria-expanded", !all);
  } }, "Show all");
  return [body, more];
}

/* Two models. */

function showPair([a, b]) {
  const box = byId("two"), one = D.models.indexOf(a), other = D.models.indexOf(b), W = D.wins;
  const choose = (label, now, rest) => h("label", {}, label, h("select", { id: `model-${rest}`, onchange: (event) => {
    const pair = [D.models[one], D.models[other]];
    pair[rest] = event.target.value;
    lastFocus = event.target.id;
    location.hash = address("pair", pair);
  } }, now < 0 && h("option", { value: "" }, "–"), D.models.map((name, i) => h("option", { value: name, selected: i === now }, cut(name, 60)))));
  if (D.models.length < 2) return box.replaceChildren(h("p", { class: "todo" }, "There are not two known models."));
  if (one < 0 || other < 0) {
    if (!a && !b) return history.replaceState(null, "", address("pair", D.models.slice(0, 2))), showPair(D.models.slice(0, 2));
    return box.replaceChildren(h("div", { class: "controls" }, choose("Model", one, 0), choose("against", other, 1)), h("p", { class: "todo" }, "Choose two models."));
  }
  title(`${a} against ${b}`);
  const common = [], P = D.prompts;
  for (let k = 0; k < P.prompt_id.length; k += 1) {
    const own = responsesOf(k), [x, y] = [own.find((each) => each.model === one), own.find((each) => each.model === other)];
    if (x && y && known(x.rank) && known(y.rank) && x.component === y.component) common.push({ k, x, y, by: known(x.strength) ? x.strength - y.strength : y.rank - x.rank });
  }
  const ahead = (sign) => common.filter(({ x, y }) => sign * (y.rank - x.rank) > 0);
  const parts = [h("div", { class: "controls" }, choose("Model", one, 0), choose("against", other, 1), h("a", { class: "button", href: address("pair", [b, a]) }, "Swap"))];
  const won = W?.won[one]?.[other], lost = W?.won[other]?.[one];
  if (won + lost > 0) {
    const share = won / (won + lost), by = W.strength[one] - W.strength[other], reach = known(W.reach) && known(W.error[one][other]) ? W.reach * W.error[one][other] : null;
    parts.push(h("p", { class: "result" }, h("strong", {}, percent(share)), ` of ${whole(won + lost)} votes prefer ${a} to ${b}.`));
    parts.push(s("svg", { class: "versus", height: 14, role: "img", "aria-label": `${a} ${percent(share)}, ${b} ${percent(1 - share)}` },
      s("rect", { width: "100%", height: 14, class: "bar other" }), s("rect", { width: `${100 * share}%`, height: 14, class: "bar" })));
    if (W.component[one] === W.component[other]) parts.push(h("p", {}, `Over all votes, ${a} is ${number(Math.abs(by))} logits ${by < 0 ? "weaker" : "stronger"}`,
      known(reach) ? ` (difference ${number(by)}, 90% interval ${number(by - reach)} to ${number(by + reach)})` : "", W.significant[one][other] ? ", which is significant among all pairs." : ", which is not significant among all pairs."));
  } else parts.push(h("p", { class: "result" }, `No vote compares ${a} with ${b}.`));
  if (common.length) {
    const most = (sign) => [...ahead(sign)].sort((x, y) => sign * (y.by - x.by)).slice(0, TOP);
    const unit = known(common[0].x.strength) ? "logits" : "ranks";
    const block = (sign, name) => h("div", {}, h("h3", {}, `Where ${name} is ahead most`), table(`Prompts where ${name} is ahead most`, [
      ["prompt", ({ k }) => lead(k), null, "head lead"], ["ranks", ({ x, y }) => `${x.rank} and ${y.rank}`, null, "n"],
      [unit, ({ by }) => number(by, unit === "logits" ? 2 : 0), null, "n"], ["votes", ({ k, x, y }) => h("a", { href: address("prompt", [P.prompt_id[k]], { votes: [x.id, y.id] }), "aria-label": `Votes on ${P.prompt_id[k]}` }, "show")],
    ], most(sign), "prompts"));
    parts.push(h("p", {}, `On ${many(common.length, "prompt")} with both, the response of ${a} is ranked better on `, h("strong", {}, whole(ahead(1).length)), `, that of ${b} on `, h("strong", {}, whole(ahead(-1).length)), `; equally good on ${whole(common.length - ahead(1).length - ahead(-1).length)}.`),
      unit === "logits" && differences(common.map(({ by }) => by), b, a), h("div", { class: "two" }, block(1, a), block(-1, b)));
  }
  box.replaceChildren(...parts.filter(Boolean));
  if (lastFocus) byId(lastFocus)?.focus();
}

/* A picture of the leaderboard to post where a page cannot be: 1200 × 630 pixels. */
function picture() {
  const canvas = h("canvas", { width: 1200, height: 630 }), pen = canvas.getContext("2d"), style = getComputedStyle(root);
  const colour = (name) => style.getPropertyValue(`--${name}`).trim();
  const rows = [...document.querySelectorAll("#models tbody tr")].sort((a, b) => a.cells[0].dataset.v - b.cells[0].dataset.v).slice(0, 10).map((row) => row.dataset);
  const write = (text, x, y, size, name, weight = "400", align = "left") => {
    Object.assign(pen, { font: `${weight} ${size}px ${style.fontFamily}`, fillStyle: colour(name), textAlign: align });
    pen.fillText(text, x, y, 1080);
  };
  pen.fillStyle = colour("surface");
  pen.fillRect(0, 0, 1200, 630);
  write(document.querySelector("h1").textContent, 60, 84, 46, "ink", "700");
  write(`${document.querySelector(".lede").textContent.split(". ")[0]}. Strength with 90% intervals.`, 60, 126, 21, "faint");
  const [low, high] = [Math.min(...rows.map((row) => +row.low)), Math.max(...rows.map((row) => +row.high))], x = (v) => 480 + (520 * (v - low)) / (high - low || 1);
  rows.forEach((row, i) => {
    const y = 182 + i * 43;
    write(row.rank, 84, y + 7, 22, "faint", "400", "right");
    write(cut(row.model, 28), 104, y + 7, 23, "ink", "600");
    pen.strokeStyle = pen.fillStyle = colour("accent");
    pen.lineWidth = 4;
    pen.beginPath();
    pen.moveTo(x(row.low), y), pen.lineTo(x(row.high), y), pen.stroke();
    pen.beginPath();
    pen.arc(x(row.strength), y, 8, 0, 7), pen.fill();
    write(`${row.win} won`, 1140, y + 7, 21, "faint", "400", "right");
  });
  canvas.toBlob((blob) => h("a", { href: URL.createObjectURL(blob), download: "leaderboard.png" }).click());
}

/* Which view is shown. */

const SHOW = { prompts: (values, chosen) => showPrompts(chosen), prompt: showPrompt, pair: showPair };
const scrolled = new Map(); // address -> where it was scrolled to
let here = null; // the address that is shown
let lastList = "#prompts"; // the address of the list that was shown last
let lastFocus = null; // id of the field whose change led here
let followed = false; // a link was followed, rather than back or forward

function title(text) {
  const section = document.querySelector("main > section.on");
  section.querySelector("h2").textContent = text;
  document.title = `${cut(text, 80)} · ${document.querySelector("h1").textContent}`;
}

function route() {
  const { view, values, chosen } = parse(location.hash);
  if (view === "main") return; // the link that skips the contents
  const sections = [...document.querySelectorAll("main > section")], shown = sections.find(({ id }) => id === view) ?? sections[0];
  const changed = parse(here ?? "#").view !== view || view === "prompt";
  here = location.hash;
  if (view === "prompts") lastList = here || lastList;
  for (const section of sections) section.classList.toggle("on", section === shown);
  const tab = shown.id === "prompt" ? "prompts" : shown.id;
  for (const link of document.querySelectorAll("nav a")) link.hash === `#${tab}` ? link.setAttribute("aria-current", "page") : link.removeAttribute("aria-current");
  document.title = `${shown.querySelector("h2").textContent} · ${document.querySelector("h1").textContent}`;
  if (D && SHOW[shown.id]) SHOW[shown.id](values, chosen);
  if (followed && changed && !lastFocus) {
    if (!chosen.votes) scrollTo(0, shown === sections[0] ? 0 : document.querySelector("nav").offsetTop);
    (chosen.votes ? byId("votes")?.querySelector("h3") : shown.querySelector("h2"))?.focus({ preventScroll: true });
  } else if (!followed) scrollTo(0, scrolled.get(here) ?? 0);
  followed = false;
  lastFocus = null;
}

function start() {
  const form = byId("search"), fill = (name, values) => {
    const rest = [...new Set(values)].filter(known).sort();
    form.elements[name].append(...rest.map((value) => h("option", { value }, cut(value.replaceAll("_", " "), 40))));
    if (rest.length < 2) form.elements[name].closest("label").hidden = true;
  };
  D.itemCounts = D.prompts.prompt_id.map(() => 0);
  for (const k of D.items.prompt) D.itemCounts[k] += 1;
  fill("split", D.prompts.split.map((split) => split ?? "none"));
  fill("status", D.prompts.status);
  fill("best", D.prompts.prompt_id.map((_, k) => bestOf(k)?.name));
  const update = () => {
    const values = Object.fromEntries(["q", "split", "status", "best"].map((name) => [name, form.elements[name].value]));
    const sort = parse(here).chosen.sort;
    delete byId("found").dataset.shown;
    history.replaceState(null, "", address("prompts", [], { ...values, sort }));
    here = lastList = location.hash;
    showPrompts(parse(here).chosen);
  };
  form.addEventListener("input", update);
  form.addEventListener("submit", (event) => event.preventDefault());
  root.classList.add("ready");
  route();
  root.dataset.ready = Math.round(performance.now());
}

function listen() {
  history.scrollRestoration = "manual";
  addEventListener("hashchange", route);
  addEventListener("scroll", () => scrolled.set(here, scrollY), { passive: true });
  document.addEventListener("click", (event) => {
    if (event.target.closest?.("a[href^='#'], .against")) followed = true;
    const cell = event.target.closest?.(".matrix td");
    if (cell && D && cell.cellIndex - 1 !== cell.parentNode.sectionRowIndex) {
      followed = true;
      location.hash = address("pair", [D.models[cell.parentNode.sectionRowIndex], D.models[cell.cellIndex - 1]]);
    }
  });
  document.addEventListener("keydown", (event) => {
    if (event.key !== "/" || event.ctrlKey || event.metaKey || /^(INPUT|SELECT|TEXTAREA)$/.test(document.activeElement.tagName)) return;
    event.preventDefault();
    lastFocus = "words";
    if (parse(location.hash).view === "prompts") route();
    else location.hash = "#prompts";
  });
  document.querySelectorAll("table.stack").forEach(keepRoles);
  document.querySelectorAll("table.sortable").forEach(sortable);
  for (const long of document.querySelectorAll("table.long")) {
    if (long.tBodies[0].rows.length <= LONG) continue;
    long.classList.add("short");
    const all = h("button", { type: "button", class: "more", onclick: () => (long.classList.remove("short"), all.remove()) }, `Show all ${long.tBodies[0].rows.length}`);
    long.after(all);
  }
  byId("picture")?.addEventListener("click", picture);
}

if (root.classList.contains("js")) {
  listen();
  route();
  unpack().then((data) => ((D = data), start())).catch((error) => {
    root.classList.remove("js"); // as without scripts
    byId("main").prepend(h("p", { class: "todo", role: "alert" }, `The interactive views do not work here (${error.message}).`));
  });
}
