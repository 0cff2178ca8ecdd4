/* Values kept in this browser for one annotator. Without localStorage, they last as long as the page. */

const fallback = new Map();

export function save(key, value) {
  const text = JSON.stringify(value);
  fallback.set(key, text);
  try {
    localStorage.setItem(key, text);
  } catch {
    // A private window, or no space left: the fallback is used.
  }
}

export function remove(key) {
  fallback.delete(key);
  try {
    localStorage.removeItem(key);
  } catch {
    // Nothing was stored.
  }
}

/** All keys with the prefix. */
export function keysWith(prefix) {
  const keys = new Set(fallback.keys());
  try {
    for (let i = 0; i < localStorage.length; i++) keys.add(localStorage.key(i));
  } catch {
    // Only the fallback.
  }
  return [...keys].filter((key) => key.startsWith(prefix));
}

export function load(key, otherwise) {
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
