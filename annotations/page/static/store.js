/* What this browser remembers for one annotator; where it may remember nothing, the page works all the same. */

const fallback = new Map();

export function remember(key, value) {
  const text = JSON.stringify(value);
  fallback.set(key, text);
  try {
    localStorage.setItem(key, text);
  } catch {
    // Private windows and full stores: what is remembered lasts as long as the page.
  }
}

export function forget(key) {
  fallback.delete(key);
  try {
    localStorage.removeItem(key);
  } catch {
    // It was not there.
  }
}

/** All keys that begin so. */
export function keysFrom(prefix) {
  const keys = new Set(fallback.keys());
  try {
    for (let i = 0; i < localStorage.length; i++) keys.add(localStorage.key(i));
  } catch {
    // Only what this page remembers.
  }
  return [...keys].filter((key) => key.startsWith(prefix));
}

export function recall(key, otherwise) {
  let text = null;
  try {
    text = localStorage.getItem(key);
  } catch {
    text = null;
  }
  text ??= fallback.get(key) ?? null;
  if (text === null) return otherwise;
  try {
    return JSON.parse(text);
  } catch {
    return otherwise;
  }
}
