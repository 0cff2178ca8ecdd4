/* Requests to the server: what came back, or status 0 where nothing did. */

const HEADER = "x-curate-page";
const PATIENCE = 30_000; // milliseconds

let pageToken = "";

export async function ask(path, body) {
  const options = { method: "GET", headers: {}, cache: "no-store", signal: AbortSignal.timeout(PATIENCE) };
  if (body !== undefined) {
    options.method = "POST";
    options.headers = { "content-type": "application/json", [HEADER]: pageToken };
    options.body = JSON.stringify(body);
  }
  try {
    const response = await fetch(path, options);
    pageToken = response.headers.get(HEADER) ?? pageToken;
    const json = (response.headers.get("content-type") ?? "").startsWith("application/json");
    const answer = json ? await response.json() : { code: "", message: await response.text() };
    return { status: response.status, ok: response.ok, answer };
  } catch {
    return { status: 0, ok: false, answer: { code: "offline", message: "no connection" } };
  }
}
