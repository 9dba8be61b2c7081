// Texts of the page in the language of the user. Each language is a file with the same keys and placeholders.
import { remembered } from "./dom.js";

/** Languages of the page, each with its own name. */
export const languages = { en: "English", de: "Deutsch" };

/** Language of the program, whose own sentences say more than those of the page. */
export const PROGRAM = "en";

const preferred = [remembered("language"), ...(navigator.languages ?? [])].map((code) => code?.slice(0, 2));
/** Code of the language of the page. */
export const language = preferred.find((code) => code in languages) ?? "en";
const texts = (await import(`./strings/${language}.js`)).default;

/** Returns whether a key has a text. */
export const isKnown = (key) => key in texts;

/**
 * Returns the text of a key; `{name}` is replaced by the value of that name.
 * @param {string} key
 * @param {Record<string, string | number>} values
 */
export function text(key, values = {}) {
  const found = texts[key] ?? key;
  return found.replace(/\{(\w+)\}/g, (all, name) => values[name] ?? all);
}

/** Returns the text of `key.one` for the number 1 and of `key.many` for others. */
export const counted = (key, count, values = {}) =>
  text(`${key}.${count === 1 ? "one" : "many"}`, { count, ...values });

/** Formats a number in the language of the page, with at most `digits` decimals. */
export const number = (value, digits = 0) => value.toLocaleString(language, { maximumFractionDigits: digits });

/** Formats a length of time: "12 s", "4 min". */
export function duration(seconds) {
  const [key, unit] = seconds < 90 ? ["seconds", 1] : seconds < 5400 ? ["minutes", 60] : ["hours", 3600];
  return text(key, { count: number(seconds / unit, unit === 3600 ? 1 : 0) });
}

/** Puts the texts into the elements that name them: as content, or as label of `data-label`. */
export function fillTexts() {
  document.documentElement.lang = language;
  for (const element of document.querySelectorAll("[data-text]")) element.textContent = text(element.dataset.text);
  for (const element of document.querySelectorAll("[data-label]")) {
    element.setAttribute("aria-label", text(element.dataset.label));
  }
}
