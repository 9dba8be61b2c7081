// Requests to the program, and waiting for a program that does not answer.
import { isKnown, text } from "./strings.js";

export const token = location.hash.slice(1);

/** Time between two attempts to reach the program, in milliseconds. */
const RETRY_MS = 1000;

/** Error of a request without an answer. */
export class Gone extends Error {}

/**
 * Sends a request. Throws [Gone] without an answer, and an error with the program's text if it refuses.
 * @param {"GET" | "POST"} method
 * @param {string} path
 * @param {BodyInit} [body]
 */
export async function ask(method, path, body) {
  let response;
  try {
    response = await fetch(path, { method, body, headers: { "X-Wakeling-Token": token } });
  } catch {
    throw new Gone(text("gone"));
  }
  if (response.ok) return response;
  const { error, code } = await response.json().catch(() => ({}));
  if (isKnown(`error.${code}`)) throw new Error(text(`error.${code}`));
  throw new Error(error ? text("program", { why: error }) : text("odd", { status: response.status }));
}

/** Sends a request and returns its answer as JSON. */
export const askJson = async (...request) => {
  const response = await ask(...request);
  return response.json().catch(() => {
    // A program that ends within its answer.
    throw new Gone(text("gone"));
  });
};

let waiting = null;
let restore = async (state) => state;

/** Sets what is done with the first state of a program that is back, before anything else. */
export function onBack(action) {
  restore = action;
}

/** Waits until the program answers. Fails if it answers but refuses, as after a start at another address. */
export function untilBack() {
  waiting ??= poll().finally(() => (waiting = null));
  return waiting;
}

async function poll() {
  for (;;) {
    await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
    try {
      return await restore(await askJson("GET", "/api/state"));
    } catch (error) {
      if (!(error instanceof Gone)) throw error;
    }
  }
}
