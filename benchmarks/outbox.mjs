/* Annotators without a browser, who vote until nothing is left: the outbox and the requests are the page's own server.js.

   node outbox.mjs ADDRESS PATH_OF_SERVER_JS TOKEN…

   Prints as JSON the ids of the votes made, and how many are still in an outbox at the end. Timers up to 20 seconds run
   10 times as fast, so that waiting after a failure does not take the time of the benchmark. */

import { AsyncLocalStorage } from "node:async_hooks";

const [address, server, ...tokens] = process.argv.slice(2);
const cookies = new AsyncLocalStorage(); // the cookie of the annotator whose code runs
const stored = new Map();
globalThis.window = { addEventListener() {} };
globalThis.localStorage = {
  get length() { return stored.size; },
  key: (at) => [...stored.keys()][at],
  getItem: (key) => stored.get(key) ?? null,
  setItem: (key, text) => stored.set(key, text),
  removeItem: (key) => stored.delete(key),
};
const wait = globalThis.setTimeout;
globalThis.setTimeout = (call, delay, ...rest) => wait(call, delay < 20_000 ? delay / 10 : delay, ...rest);
const sleep = (delay) => new Promise((done) => setTimeout(done, delay));
const ask = globalThis.fetch;
globalThis.fetch = (path, options) =>
  ask(new URL(path, address), { ...options, headers: { ...options.headers, cookie: cookies.getStore() } });

const made = [];
const outcomes = ["left", "right", "tie", "both_bad"];

async function enter(token) {
  for (;;) {
    try {
      const answer = await ask(`${address}/a/${token}`);
      const cookie = answer.headers.get("set-cookie");
      if (cookie) return cookie.split(";")[0];
    } catch {
      // The server has just been killed.
    }
    await sleep(1000);
  }
}

async function annotate(token, number) {
  const { Outbox, newId, request } = await import(`${server}?${number}`); // with a page token of its own
  let view = null;
  const refresh = async () => {
    const result = await request("/api/view");
    if (result.ok) view = result.answer;
  };
  const onAnswer = async (result) => (result.ok ? (view = result.answer) : refresh());
  const outbox = new Outbox(`outbox:${number}`, { onAnswer, onChange() {} });
  while (!view || view.sheet || outbox.size) {
    if (!view) await refresh();
    const questions = [view?.sheet, ...(view?.ahead ?? [])].filter(Boolean).flatMap((sheet) => sheet.questions);
    const open = questions.find((question) => !outbox.has(question.question_id));
    if (open) {
      const vote_id = newId();
      made.push(vote_id);
      const outcome = outcomes[made.length % outcomes.length];
      outbox.add({ question_id: open.question_id, vote_id, outcome, seconds: 3, watched: 0, reason: "", confidence: null });
    }
    await sleep(open ? 1 : 50);
    if (!open && !outbox.size) await refresh(); // others may have been given the rest
  }
}

await Promise.all(tokens.map(async (token, number) => cookies.run(await enter(token), annotate, token, number)));
console.log(JSON.stringify({ made, unsent: stored.size }));
