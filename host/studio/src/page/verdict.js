// What a report found out, in the language of the page.
import { PROGRAM, duration, isKnown, language, number, text } from "./strings.js";

/** Hours of sound from which on a rate of false accepts means something. */
const RATE_FROM_H = 0.5;

/** Returns the misses as "3 of 40". */
export const missedText = (missed, recordings) => text("missedOf", { count: missed, all: recordings });

/** Returns false accepts, with a rate only where it means something. */
export function acceptsText({ count, hours }) {
  const values = { count, time: duration(3600 * hours) };
  return hours < RATE_FROM_H
    ? text("acceptsIn", values)
    : text("acceptsRate", { ...values, rate: number(count / hours, 1) });
}

function adviceText({ kind, field, value }) {
  if (kind !== "record_group") return text(`advise.${kind}`);
  const label = field === "style" && isKnown(`label.${value}`) ? text(`label.${value}`) : value;
  return text("advise.record_group", { label });
}

/** Returns the verdict: the program's sentence, or one of its counts in another language. */
export function verdictText({ text: written, keyword }) {
  if (language === PROGRAM || !keyword) return written;
  const { misses, false_accepts, advice } = keyword;
  const parts = misses
    .filter(({ recordings }) => recordings)
    .map(({ snr_db, missed, recordings }) =>
      text(snr_db === null ? "verdictQuiet" : "verdictNoise", { missed: missedText(missed, recordings), db: snr_db }),
    );
  if (false_accepts.hours) parts.push(text("verdictAccepts", { accepts: acceptsText(false_accepts) }));
  return `${[...parts, ...advice.map(adviceText)].join("; ")}.`;
}

/** Returns why a take is not used. */
export const faultText = (kind, written) => (isKnown(`fault.${kind}`) ? text(`fault.${kind}`) : written);
