// State of the program, as the page last received it, and the modules that show it.
import { askJson, onBack } from "./api.js";
import { resolveProblems } from "./problems.js";

/** Last state; see the table in the studio's `session.rs`. */
export let state = { phrase: "", takes: [], words: [], targets: [], drives: [], settings: [], training: null };

const viewers = [];

/** Adds a function that shows a part of each new state. It receives the state and the one before. */
export function onState(viewer) {
  viewers.push(viewer);
}

/** Shows a new state. */
export function show(next) {
  const last = state;
  state = next;
  for (const viewer of viewers) viewer(state, last);
  resolveProblems(state);
}

/** Sends a request whose answer is a state, and shows it. */
export async function change(path, body) {
  show(await askJson("POST", path, body));
}

/** Returns whether a training runs. */
export const isTraining = ({ training } = state) => ["finetune", "evaluate"].includes(training?.state);

/** Returns the open word of the list. */
export const openWord = () => state.words.find(({ is_open }) => is_open);

// A program that was started again opens the word that the page shows.
onBack(async (next) => {
  if (state.phrase && !next.phrase) {
    const word = next.words.find(({ phrase }) => phrase === state.phrase);
    if (word) next = await askJson("POST", `/api/open?word=${encodeURIComponent(word.id)}`);
  }
  show(next);
  return next;
});
