// Bars for the levels of keywords, and the list of detections.
import { text } from "./strings.js";

/** Level at which a keyword is detected. */
const THRESHOLD = 50;
/** Time for which a bar holds the highest level, in milliseconds. */
const HOLD_MS = 1000;

/** Creates a bar for the level of a keyword, with a mark at the threshold. */
export function wordBar({ word }) {
  const row = document.createElement("p");
  row.className = "gauge";
  const bar = document.createElement("span");
  bar.className = "score";
  bar.setAttribute("role", "meter");
  bar.setAttribute("aria-label", word);
  bar.setAttribute("aria-valuemax", 100);
  bar.append(document.createElement("span"));
  row.append(bar, document.createElement("span"));
  row.held = { level: 0, at: 0 };
  return row;
}

/** Clears the levels that the bars hold. */
export function resetBars(bars) {
  for (const row of bars.children) row.held = { level: 0, at: 0 };
}

/** Shows the level of each keyword, or the highest of the last second. */
export function showLevels(bars, words) {
  const now = performance.now();
  words.forEach(({ word, level }, i) => {
    const row = bars.children[i];
    if (level >= row.held.level || now - row.held.at > HOLD_MS) row.held = { level, at: now };
    const [bar, line] = row.children;
    const shown = Math.floor(row.held.level);
    bar.setAttribute("aria-valuenow", shown);
    bar.firstChild.style.width = `${row.held.level}%`;
    bar.classList.toggle("over", row.held.level >= THRESHOLD);
    line.textContent = text("wordLine", { word, level: shown });
  });
}

/** Lists detections that began, and completes those that ended with their peak. */
export function showEvents(list, begun, ended) {
  for (const event of begun) list.prepend(eventItem(event));
  for (const { time_s, word, level } of ended) {
    const item = [...list.children].find(({ event }) => event.time_s === time_s && event.word === word);
    if (item) showPeak(item, level);
  }
}

function eventItem(event) {
  const item = Object.assign(document.createElement("li"), { event });
  showPeak(item, event.level);
  return item;
}

function showPeak(item, level) {
  const { time_s, word } = item.event;
  item.textContent = text("heardLine", { time: time_s.toFixed(2), word, level: Math.floor(level) });
}
