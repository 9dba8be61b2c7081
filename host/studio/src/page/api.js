// Requests to the program.
import { text } from "./strings.js";

export const token = location.hash.slice(1);

export async function ask(method, path, body) {
  let response;
  try {
    response = await fetch(path, { method, body, headers: { "X-Wakeling-Token": token } });
  } catch {
    throw new Error(text("gone"));
  }
  if (response.ok) return response;
  const { error } = await response.json().catch(() => ({}));
  throw new Error(error ?? text("odd", { status: response.status }));
}

export const askJson = async (...request) => (await ask(...request)).json();
