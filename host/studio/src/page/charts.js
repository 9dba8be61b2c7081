// Small charts as SVG: the wave of a take, and curves of a training. Colours come from the style sheet.
import { h, svg } from "./dom.js";
import { number, text } from "./strings.js";

/**
 * Returns a wave, from the least and the most of each column, -1 to 1.
 * @param {[number, number][]} wave
 * @param {number} [columns] number of columns, for a small image
 * @param {string} [label] text alternative; without one the wave is decoration
 */
export function waveImage(wave, columns = wave.length, label = "") {
  const size = Math.max(1, Math.ceil(wave.length / columns));
  let path = "";
  for (let i = 0, x = 0; i < wave.length; i += size, x += 1) {
    const part = wave.slice(i, i + size);
    const least = Math.min(...part.map(([low]) => low));
    const most = Math.max(...part.map(([, high]) => high));
    // A quiet column is still a line.
    path += `M${x + 0.5} ${(50 - 49 * Math.max(most, 0.01)).toFixed(1)}V${(50 - 49 * Math.min(least, -0.01)).toFixed(1)}`;
  }
  const width = Math.max(1, Math.ceil(wave.length / size));
  const attributes = { class: "wave", viewBox: `0 0 ${width} 100`, preserveAspectRatio: "none" };
  const named = label ? { role: "img", "aria-label": label } : { "aria-hidden": "true" };
  return svg("svg", { ...attributes, ...named }, svg("path", { d: path }));
}

/**
 * Returns a curve with its first and last value, and a sentence for those who do not see it.
 * @param {[number, number][]} points steps and values
 * @param {{ title: string, unit?: string, digits?: number }} options
 */
export function curve(points, { title, unit = "", digits = 2 }) {
  const values = points.map(([, value]) => value);
  const [first, last] = [values[0], values.at(-1)];
  const [from, to] = [points[0][0], points.at(-1)[0]];
  const most = Math.max(...values, 1e-9);
  const show = (value) => `${number(value, digits)}${unit}`;
  const x = (step) => (200 * (step - from)) / Math.max(1, to - from);
  const y = (value) => 56 - 52 * (value / most);
  const line = points.map(([step, value]) => `${x(step).toFixed(1)},${y(value).toFixed(1)}`).join(" ");
  const label = text("curveLabel", { title, first: show(first), last: show(last), step: to });
  const image = svg(
    "svg",
    { viewBox: "0 0 200 60", role: "img", "aria-label": label, preserveAspectRatio: "none" },
    svg("path", { class: "axis", d: "M0 58H200" }),
    svg("polyline", { points: points.length > 1 ? line : `0,${y(first)} 200,${y(first)}` }),
  );
  const value = h("span", { class: "number strong" }, show(last));
  return h("figure", { class: "curve" }, h("figcaption", { class: "row between" }, title, value), image);
}

/** Number of points that a curve shows. */
const MOST_POINTS = 100;

/** Returns at most 100 of the points, with the first and the last. */
export function thinned(points) {
  const every = Math.ceil(points.length / MOST_POINTS);
  return points.filter((_, i) => i % every === 0 || i === points.length - 1);
}
