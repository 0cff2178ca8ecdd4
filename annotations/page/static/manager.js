/* The manager's page: the campaign's status, live while the page is visible, and the managers' actions. */

import { request } from "./server.js";

const INTERVAL = 4_000; // milliseconds between two requests where live updates are not possible
const RECONNECT = 60_000; // milliseconds until live updates are tried again
const FIXED = new Set(["name", "votes", "votes_per_pair", "max_votes", "prompts", "criterion", "criteria", "undo_minutes", "reopen_stopped", "seed"]);
const WINDOW = 10 * 60_000; // milliseconds over which the rate of votes is measured
const ORDER = { stopped: 0, warned: 1, ok: 2 };
const NAMES = { left: "Left (A)", right: "Right (B)", tie: "Tie", both_bad: "Both bad" };
const byId = (id) => document.getElementById(id);
const whole = new Intl.NumberFormat("en");
const percent = (share) => (share === null ? "–" : `${Math.round(share * 100)}%`);
const seconds = (value) => (value === null ? "–" : `${value < 10 ? value.toFixed(1) : Math.round(value)} s`);

let live = null; // an EventSource
let rules = {}; // rule → value
let lastStatus = null; // annotator → status at the last update

const COLUMNS = [
  ["Annotator", (one) => one.annotator],
  ["Status", (one) => (one.revoked ? "revoked" : one.status)],
  ["Votes", (one) => whole.format(one.votes), "n"],
  ["Control questions", (one) => (one.gold ? `${percent(one.gold_accuracy)} of ${one.gold}` : "–"), "n"],
  ["Agreement", (one) => (one.compared ? `${percent(one.agreement)} of ${one.compared}` : "–"), "n"],
  ["Seconds", (one) => seconds(one.median_seconds), "n"],
  ["Claimed", (one) => `${seconds(one.claimed_seconds)}${one.excess_claims ? ` (${one.excess_claims} too long)` : ""}`, "n"],
  ["Too fast", (one) => whole.format(one.too_fast), "n"],
  ["Left", (one) => percent(one.left_share), "n"],
  ["Watched", (one) => percent(one.watched), "n"],
  ["Skips", (one) => whole.format(one.skips), "n"],
  ["Undone", (one) => whole.format(one.undone), "n"],
  ["Open", (one) => whole.format(one.open), "n"],
  ["Last active", (one) => ago(one.last_active)],
];

function ago(when) {
  if (!when) return "never";
  const minutes = Math.max(0, (Date.now() - Date.parse(when)) / 60_000);
  if (minutes < 1) return "just now";
  if (minutes < 90) return `${Math.round(minutes)} min ago`;
  if (minutes < 48 * 60) return `${Math.round(minutes / 60)} h ago`;
  return `${Math.round(minutes / 1440)} days ago`;
}

function element(name, text, className) {
  const made = document.createElement(name);
  made.textContent = text;
  if (className) made.className = className;
  return made;
}

function button(text, onClick) {
  const made = element("button", text, "small");
  made.type = "button";
  made.addEventListener("click", onClick);
  return made;
}

function row(cells) {
  const made = document.createElement("tr");
  made.append(
    ...cells.map(([content, className], index) => {
      const cell = element(index ? "td" : "th", "", className);
      if (!index) cell.scope = "row";
      cell.append(...[content].flat());
      return cell;
    }),
  );
  return made;
}

function bar(value, max) {
  const meter = document.createElement("progress");
  meter.max = Math.max(1, max);
  meter.value = value;
  meter.setAttribute("aria-hidden", "true"); // the numbers next to it give the same information
  return meter;
}

function show(status) {
  document.title = `${status.campaign}: ${whole.format(status.votes)} of ${whole.format(status.wanted)}`;
  byId("title").textContent = status.campaign;
  byId("progress").max = Math.max(1, status.wanted);
  byId("progress").value = Math.min(status.votes, status.wanted);
  const share = status.wanted ? Math.floor((100 * status.votes) / status.wanted) : 0;
  const closed = status.closed ? ". Closed" : "";
  byId("progress-text").textContent = `${whole.format(status.votes)} of ${whole.format(status.wanted)} votes (${share}%)${closed}`;
  const hourly = status.last_hour;
  const left = Math.max(0, status.wanted - status.votes);
  const active = status.annotators.filter((one) => one.last_active && Date.now() - Date.parse(one.last_active) < WINDOW).length;
  const figures = [
    ["votes in the last hour", whole.format(hourly)],
    ["hours left at this rate", hourly && left ? (left / hourly).toFixed(1) : "–"],
    ["active in the last 10 min", `${active} of ${status.annotators.length}`],
    ["median time per question", seconds(status.median_seconds)],
    ["control questions correct", percent(status.gold_accuracy)],
    ["votes for the left side", percent(status.left_share)],
    ["questions handed out now", whole.format(status.open)],
    ["votes planned so far", whole.format(status.planned)],
    ["pairs", whole.format(status.pairs)],
    ["prompts", whole.format(status.prompts)],
    ["batches", whole.format(status.batches)],
    ["skips", whole.format(status.skips)],
    ...Object.entries(status.criteria).map(([criterion, votes]) => [`votes by ${criterion}`, whole.format(votes)]),
    ...(status.excluded ? [["excluded votes (stopped annotators)", whole.format(status.excluded)]] : []),
  ];
  byId("figures").replaceChildren(
    ...figures.map(([name, value]) => {
      const box = document.createElement("div");
      box.append(element("dt", name), element("dd", value));
      return box;
    }),
  );
  byId("warnings").hidden = status.warnings.length === 0;
  byId("warnings").replaceChildren(...status.warnings.map((text) => element("li", text)));
  showOutcomes(status.outcomes);
  showHours(status.hourly);
  showProblems(status.problems);
  showCoverage(status.coverage);
  showRules(status.rules);
  byId("pause").textContent = status.paused ? "Resume" : "Pause";
  byId("pause").hidden = status.closed;
  showPeople(status.annotators);
}

function showOutcomes(outcomes) {
  const total = Object.values(outcomes).reduce((sum, votes) => sum + votes, 0);
  const rows = Object.keys(NAMES).map((outcome) => {
    const votes = outcomes[outcome] ?? 0;
    const part = total ? percent(votes / total) : "–";
    return row([[NAMES[outcome]], [whole.format(votes), "n"], [part, "n"], [bar(votes, total)]]);
  });
  byId("outcomes").replaceChildren(...rows);
}

function showHours(hours) {
  const most = Math.max(1, ...hours.map((one) => one.votes));
  byId("hours").hidden = hours.length === 0;
  byId("hours").setAttribute("aria-label", `Votes per hour: ${hours.map((one) => `${clock(one.hour)} ${one.votes}`).join(", ")}`);
  byId("hours").replaceChildren(
    ...hours.map((one) => {
      const column = document.createElement("div");
      const meter = bar(one.votes, most);
      column.append(element("span", whole.format(one.votes)), meter, element("span", clock(one.hour), "muted"));
      return column;
    }),
  );
}

const clock = (when) => new Date(when).toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit" });

function showProblems(problems) {
  byId("problems").hidden = problems.length === 0;
  byId("problem-rows").replaceChildren(
    ...problems.map((one) => {
      const reasons = Object.entries(one.reasons).map(([reason, skips]) => `${reason} (${skips})`);
      const retire = button("Retire", () => act({ action: "retire", prompts: one.prompts, reason: reasons.join("; ") }, `Retire ${one.prompts.join(", ")}?`));
      const reset = button("Reset", () => act({ action: "reset", prompts: one.prompts }));
      const names = `${one.prompts.slice(0, 3).join(", ")}${one.prompts.length > 3 ? ", …" : ""}`;
      return row([[one.video], [names], [whole.format(one.skips), "n"], [reasons.join("; ")], [whole.format(one.load_errors), "n"], [[retire, " ", reset]]]);
    }),
  );
}

function showCoverage(prompts) {
  byId("coverage").replaceChildren(
    ...prompts.map((one) => {
      const again = button(one.retired ? "Ask again" : "Retire", () =>
        one.retired ? act({ action: "add", prompts: [one.prompt_id] }) : act({ action: "retire", prompts: [one.prompt_id] }, `Retire ${one.prompt_id}?`),
      );
      const name = one.retired ? `${one.prompt_id} (retired)` : one.prompt_id;
      return row([[name], [whole.format(one.pairs), "n"], [whole.format(one.votes), "n"], [whole.format(one.wanted), "n"], [bar(one.votes, one.wanted)], [again]]);
    }),
  );
}

/* The rules that can be edited; the choice and what is being typed stay. */
function showRules(settings) {
  const { thresholds, ...others } = settings ?? {};
  const all = [...Object.entries(others), ...Object.entries(thresholds ?? {}).map(([key, value]) => [`thresholds.${key}`, value])];
  const now = Object.fromEntries(all.filter(([key]) => !FIXED.has(key)));
  if (JSON.stringify(now) === JSON.stringify(rules)) return;
  rules = now;
  const chosen = byId("rules").value;
  byId("rules").replaceChildren(...Object.keys(now).map((key) => element("option", key)));
  if (chosen in now) byId("rules").value = chosen;
  else showRule();
}

function showRule() {
  byId("rules").form.elements.value.value = String(rules[byId("rules").value] ?? "");
}

function showPeople(annotators) {
  const sorted = annotators.slice().sort((a, b) => ORDER[a.status] - ORDER[b.status] || b.votes - a.votes);
  byId("nobody").hidden = sorted.length > 0;
  byId("annotators").replaceChildren(
    ...sorted.map((one) => {
      const cells = COLUMNS.map(([, value, className]) => [value(one), className]);
      const chip = element("span", cells[1][0], `chip ${one.revoked ? "revoked" : one.status}`);
      const pardon = button("Pardon", () => act({ action: "pardon", annotator: one.annotator }));
      const revoke = button("Revoke", () => act({ action: "revoke", names: [one.annotator] }, `End the link of ${one.annotator}?`));
      const invite = button("New link", () => act({ action: "invite", names: [one.annotator] }));
      const why = one.reasons.length ? [element("span", one.reasons.join("; "), "muted why")] : [];
      cells[1] = [[chip, " ", ...(one.status === "ok" ? [] : [pardon, " "]), one.revoked ? invite : revoke, ...why]];
      return row(cells);
    }),
  );
  const now = new Map(sorted.map((one) => [one.annotator, one.status]));
  const worse = lastStatus ? [...now].filter(([name, is]) => is !== "ok" && lastStatus.get(name) !== is) : [];
  if (worse.length) byId("announcement").textContent = worse.map(([name, is]) => `${name} is ${is}.`).join(" ");
  lastStatus = now;
}

async function update() {
  if (document.visibilityState !== "visible") return;
  const { ok, status, answer } = await request("/api/status");
  if (ok) {
    show(answer);
    byId("update").textContent = live ? "Live" : `Updated every ${INTERVAL / 1000} seconds`;
  } else {
    const why = status === 0 ? "no connection" : answer.message;
    byId("update").textContent = `Not up to date: ${why}`;
  }
}

/* Live updates while the page is visible; if the server or a proxy refuses them, it is asked again and again. */
function connect() {
  live?.close();
  live = null;
  if (document.visibilityState !== "visible") return;
  const source = new EventSource("./api/events");
  source.onmessage = (event) => {
    live = source;
    show(JSON.parse(event.data));
    byId("update").textContent = "Live";
  };
  source.onerror = () => {
    source.close();
    if (live === source) live = null;
    update();
  };
}

/* Ask the server for an action, and report the result. */
async function act(action, question = "") {
  if (question && !window.confirm(question)) return;
  const { ok, status, answer } = await request("/api/manage", { action });
  byId("told").hidden = false;
  byId("told").replaceChildren();
  if (!ok) {
    byId("told").textContent = `Not done: ${status === 0 ? "no connection" : answer.message}`;
    return;
  }
  show(answer);
  const links = Object.entries(answer.links ?? {});
  byId("told").textContent = links.length ? "These links are shown only once: " : "Done.";
  byId("told").append(...links.map(([name, link]) => element("code", `${name} ${link}`)));
}

const words = (text) => text.split(/[\s,]+/).filter(Boolean);

/* The value of a rule: JSON (numbers, true, false), else the text as it is. */
function edited(rule, text) {
  let value = text;
  try {
    if (typeof rules[rule] !== "string") value = JSON.parse(text);
  } catch {
    // The server says what it expects.
  }
  const [group, field] = rule.split(".");
  return field ? { [group]: { [field]: value } } : { [group]: value };
}

const FORMS = {
  invite: (of) => ({ names: words(of.names.value), role: of.role.value }),
  extend: (of) => Object.fromEntries(
    ["votes", "max_votes", "votes_per_pair", "prompt"]
      .filter((key) => of[key].value.trim())
      .map((key) => [key, key === "prompt" ? of[key].value.trim() : Number(of[key].value)]),
  ),
  edit: (of) => ({ changes: edited(of.rule.value, of.value.value) }),
  add: (of) => ({ prompts: words(of.prompts.value) }),
};

for (const form of document.querySelectorAll("form[data-action]")) {
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    act({ action: form.dataset.action, ...FORMS[form.dataset.action](form.elements) });
  });
}
byId("rules").addEventListener("change", showRule);
byId("pause").addEventListener("click", () => act({ action: byId("pause").textContent.toLowerCase() }));
byId("columns").replaceChildren(
  ...COLUMNS.map(([name, , className]) => {
    const cell = element("th", name, className);
    cell.scope = "col";
    return cell;
  }),
);
byId("leave").addEventListener("click", async () => {
  await request("/api/leave", {});
  window.location.assign("./");
});
document.addEventListener("visibilitychange", connect);
setInterval(() => live || update(), INTERVAL);
setInterval(() => live || connect(), RECONNECT);
update().then(connect);
