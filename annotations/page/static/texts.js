/* The texts of the page in its language, which the server has put into the document. */

export const byId = (id) => document.getElementById(id);
const texts = JSON.parse(byId("texts").textContent);
const { lang } = document.documentElement;
const plurals = new Intl.PluralRules(lang);

/** Whether the page is in the language of the server's own messages. */
export const english = lang === "en";

export const has = (key) => key in texts;

/** The text of a key, with {name} replaced by the value of that name; a plural form is chosen by `n`. */
export function t(key, values = {}) {
  const found = texts[key];
  const text = typeof found === "string" ? found : found[plurals.select(values.n)] ?? found.other;
  return text.replace(/\{(\w+)\}/g, (_, name) => String(values[name]));
}
