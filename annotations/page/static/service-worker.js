/* Service worker: without a connection, the voting page opens as it was loaded last, with the videos loaded in advance.

   It answers nothing else: changes, /api/ and all other pages are the browser's. Everything is kept per version of the
   scripts, and the server is asked first for what can change. */

const STATIC = "{{static}}/";
const FILES = ["annotator.js", "icon.svg", "style.css"];
const PAGE = new URL("./", self.location).pathname;
const OWN = `curate ${PAGE} `; // other campaigns of this host have caches of their own
const CACHE = OWN + STATIC;
const MEDIA = `${PAGE}media/`;
const MAX_FILES = 12; // of media
const MAX_BYTES = 100e6;

self.addEventListener("install", (event) => {
  self.skipWaiting();
  event.waitUntil(caches.open(CACHE).then((cache) => cache.addAll(FILES.map((name) => STATIC + name))));
});

self.addEventListener("activate", (event) => {
  const old = (names) => names.filter((name) => name.startsWith(OWN) && name !== CACHE);
  const removed = caches.keys().then((names) => Promise.all(old(names).map((name) => caches.delete(name))));
  event.waitUntil(removed.then(() => self.clients.claim()));
});

self.addEventListener("fetch", (event) => {
  const { request } = event;
  const { origin, pathname } = new URL(request.url);
  if (request.method !== "GET" || origin !== self.location.origin) return;
  if (pathname === PAGE && request.mode === "navigate") event.respondWith(page(request));
  else if (pathname.startsWith(STATIC)) event.respondWith(script(request));
  else if (pathname.startsWith(MEDIA)) event.respondWith(media(request));
});

async function page(request) {
  const cache = await caches.open(CACHE);
  try {
    const response = await fetch(request);
    const isOurs = (await response.clone().text()).includes(`${STATIC}annotator.js`); // not a portal, another page or version
    if (response.ok && isOurs) await cache.put(PAGE, response.clone());
    return response;
  } catch (error) {
    return (await cache.match(PAGE)) ?? Promise.reject(error);
  }
}

async function script(request) {
  const cache = await caches.open(CACHE);
  return (await cache.match(request.url)) ?? fetch(request);
}

async function media(request) {
  const cache = await caches.open(CACHE);
  try {
    const response = await fetch(request);
    if (response.status === 200 && Number(response.headers.get("content-length")) <= MAX_BYTES) await keep(cache, request.url, response.clone());
    return response;
  } catch (error) {
    const kept = await cache.match(request.url);
    return kept ? part(kept, request.headers.get("range")) : Promise.reject(error);
  }
}

async function keep(cache, url, response) {
  await cache.put(url, response);
  const files = (await cache.keys()).filter((one) => new URL(one.url).pathname.startsWith(MEDIA));
  await Promise.all(files.slice(0, -MAX_FILES).map((one) => cache.delete(one)));
}

/* The range of a file that a player asks for. */
async function part(kept, range) {
  const [, from, to] = /^bytes=(\d+)-(\d*)$/.exec(range ?? "") ?? [];
  if (from === undefined) return kept;
  const whole = await kept.blob();
  const begin = Number(from);
  const end = Math.min(to ? Number(to) + 1 : whole.size, whole.size);
  const headers = { "content-type": kept.headers.get("content-type"), "content-range": `bytes ${begin}-${end - 1}/${whole.size}` };
  return new Response(whole.slice(begin, end), { status: 206, headers });
}
