// Small helpers for elements, and for what the page remembers between visits.

/** @param {string} id */
export const byId = (id) => document.getElementById(id);

/**
 * Creates an element. Attributes that start with "on" are handlers, `class` and others are set as they are; those
 * that are false, null or undefined are left out.
 * @param {string} kind
 * @param {Record<string, any>} attributes
 * @param {...(Node | string | number | null | false)} children
 */
export function h(kind, attributes = {}, ...children) {
  const element = document.createElement(kind);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element[name] = value;
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null && child !== false && child !== undefined));
  return element;
}

const SVG = "http://www.w3.org/2000/svg";

/** Creates an SVG element. */
export function svg(kind, attributes = {}, ...children) {
  const element = document.createElementNS(SVG, kind);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/** Creates an icon of the page; it has no name, since its button or text has one. */
export const icon = (name) => svg("svg", { class: "icon", "aria-hidden": "true" }, svg("use", { href: `#i-${name}` }));

/** Sets a text only if it differs: a status is announced at each change. */
export function setText(element, content) {
  if (element.textContent !== content) element.textContent = content;
}

/** Sets the icon and the text of a button, only if they differ. */
export function setButton(button, name, content) {
  const key = `${name} ${content}`;
  if (button.dataset.shows === key) return;
  button.dataset.shows = key;
  button.replaceChildren(icon(name), h("span", {}, content));
}

/** Replaces the content only if the data it is made of differs, so as not to disturb focus and announcements. */
export function replaceIfChanged(element, data, children) {
  const key = JSON.stringify(data);
  if (element.dataset.shows === key) return false;
  element.dataset.shows = key;
  element.replaceChildren(...children());
  return true;
}

/** Announces a text to screen readers, without showing it. */
export function announce(content) {
  setText(byId("status"), content);
}

/**
 * Returns what the page remembers under a name.
 * @param {string} name
 * @param {"localStorage" | "sessionStorage"} place the second is kept for a reload alone
 */
export function remembered(name, place = "localStorage") {
  try {
    return window[place].getItem(`wakeling.${name}`);
  } catch {
    return null;
  }
}

/** Remembers a value under a name; null forgets it. */
export function remember(name, value, place = "localStorage") {
  try {
    if (value === null) window[place].removeItem(`wakeling.${name}`);
    else window[place].setItem(`wakeling.${name}`, value);
  } catch {
    // A browser that stores nothing asks again next time.
  }
}
