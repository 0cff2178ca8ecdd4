/* The manager's page: the campaign's status, updated every few seconds while the page is visible. */

import { request } from "./server.js";

const INTERVAL = 4_000; // milliseconds
const WINDOW = 10 * 60_000; // milliseconds over which the rate of votes is measured
const ORDER = { stopped: 0, warned: 1, ok: 2 };
const NAMES = { left: "Left (A)", right: "Right (B)", tie: "Tie", both_bad: "Both bad" };
const byId = (id) => document.getElementById(id);
const whole = new Intl.NumberFormat("en");
const percent = (share) => (share === null ? "–" : `${Math.round(share * 100)}%`);
const seconds = (value) => (value === null ? "–" : `${value < 10 ? value.toFixed(1) : Math.round(value)} s`);

let history = []; // [time, votes], oldest first
let lastStatus = null; // annotator → status at the last update

const COLUMNS = [
  ["Annotator", (one) => one.annotator],
  ["Status", (one) => (one.revoked ? "revoked" : one.status)],
  ["Votes", (one) => whole.format(one.votes), "n"],
  ["Control questions", (one) => (one.gold ? `${percent(one.gold_accuracy)} of ${one.gold}` : "–"), "n"],
  ["Agreement", (one) => (one.compared ? `${percent(one.agreement)} of ${one.compared}` : "–"), "n"],
  ["Seconds", (one) => seconds(one.median_seconds), "n"],
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

/* Votes per hour over the last ten minutes (as far as this page was open); null during the first half minute. */
function hourlyRate(votes) {
  const now = Date.now();
  history = [...history.filter(([time]) => now - time < WINDOW), [now, votes]];
  const [start, before] = history[0];
  return now - start < 30_000 ? null : ((votes - before) / (now - start)) * 3_600_000;
}

function show(status) {
  document.title = `${status.campaign}: ${whole.format(status.votes)} of ${whole.format(status.wanted)}`;
  byId("title").textContent = status.campaign;
  byId("progress").max = Math.max(1, status.wanted);
  byId("progress").value = Math.min(status.votes, status.wanted);
  const share = status.wanted ? Math.floor((100 * status.votes) / status.wanted) : 0;
  const closed = status.closed ? ". Closed" : "";
  byId("progress-text").textContent = `${whole.format(status.votes)} of ${whole.format(status.wanted)} votes (${share}%)${closed}`;
  const hourly = hourlyRate(status.votes);
  const left = Math.max(0, status.wanted - status.votes);
  const active = status.annotators.filter((one) => one.last_active && Date.now() - Date.parse(one.last_active) < WINDOW).length;
  const figures = [
    ["votes per hour", hourly === null ? "–" : whole.format(Math.round(hourly))],
    ["hours left at this rate", hourly ? (left / hourly).toFixed(1) : "–"],
    ["active in the last 10 min", `${active} of ${status.annotators.length}`],
    ["median time per question", seconds(status.median_seconds)],
    ["control questions correct", percent(status.gold_accuracy)],
    ["votes for the left side", percent(status.left_share)],
    ["pairs handed out now", whole.format(status.open)],
    ["votes planned so far", whole.format(status.planned)],
    ["pairs", whole.format(status.pairs)],
    ["prompts", whole.format(status.prompts)],
    ["batches", whole.format(status.batches)],
    ["skips", whole.format(status.skips)],
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
  showSkips(status.skip_reasons);
  showPeople(status.annotators);
}

function showOutcomes(outcomes) {
  const total = Object.values(outcomes).reduce((sum, votes) => sum + votes, 0);
  const rows = Object.keys(NAMES).map((outcome) => {
    const votes = outcomes[outcome] ?? 0;
    const row = document.createElement("tr");
    const name = element("th", NAMES[outcome]);
    name.scope = "row";
    const bar = document.createElement("td");
    const meter = document.createElement("progress");
    meter.max = Math.max(1, total);
    meter.value = votes;
    meter.setAttribute("aria-hidden", "true"); // the numbers next to it give the same information
    bar.append(meter);
    const part = total ? percent(votes / total) : "–";
    row.append(name, element("td", whole.format(votes), "n"), element("td", part, "n"), bar);
    return row;
  });
  byId("outcomes").replaceChildren(...rows);
}

function showSkips(reasons) {
  byId("skips").hidden = reasons.length === 0;
  byId("skip-reasons").replaceChildren(
    ...reasons.map((one) => {
      const row = document.createElement("tr");
      const name = element("th", one.reason);
      name.scope = "row";
      row.append(name, element("td", one.video), element("td", whole.format(one.skips), "n"));
      return row;
    }),
  );
}

function showPeople(annotators) {
  const sorted = annotators.slice().sort((a, b) => ORDER[a.status] - ORDER[b.status] || b.votes - a.votes);
  byId("nobody").hidden = sorted.length > 0;
  byId("annotators").replaceChildren(
    ...sorted.map((one) => {
      const row = document.createElement("tr");
      COLUMNS.forEach(([, value, className], index) => {
        const cell = element(index ? "td" : "th", value(one), className);
        if (!index) cell.scope = "row";
        if (index === 1) {
          const chip = element("span", cell.textContent, `chip ${one.revoked ? "revoked" : one.status}`);
          cell.replaceChildren(chip);
          if (one.reasons.length) cell.append(element("span", one.reasons.join("; "), "muted why"));
        }
        row.append(cell);
      });
      return row;
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
    byId("update").textContent = "Live";
  } else {
    const why = status === 0 ? "no connection" : answer.message;
    byId("update").textContent = `Not up to date: ${why}`;
  }
}

byId("columns").replaceChildren(
  ...COLUMNS.map(([name, , className]) => {
    const cell = element("th", name, className);
    cell.scope = "col";
    return cell;
  }),
);
byId("leave").addEventListener("click", async () => {
  await request("/api/leave", {});
  window.location.assign("/");
});
document.addEventListener("visibilitychange", update);
setInterval(update, INTERVAL);
update();
