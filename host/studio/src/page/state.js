// State of the program, as the page last received it, and the modules that show it.
import { askJson, onBack } from "./api.js";
import { remember, remembered } from "./dom.js";
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

/** Returns the number of clips of the model's mistakes that are kept for the open word. */
export const clipCount = ({ corrections } = state) =>
  (corrections?.false_wakes.length ?? 0) + (corrections?.missed.length ?? 0);

/** Returns how many of `count` clips the last training did not have. The clips stay for later trainings. */
export const newClips = (phrase, count) => Math.max(0, count - Number(remembered(`clips.${phrase}`) ?? 0));

/** Remembers that a training has the clips that there are now. */
export const noteClips = () => remember(`clips.${state.phrase}`, `${clipCount()}`);

// A program that was started again opens the word that the page shows, and goes on with its training.
onBack(async (next) => {
  const board = encodeURIComponent(state.training?.board ?? "");
  const wasTraining = isTraining();
  if (state.phrase && !next.phrase) {
    const word = next.words.find(({ phrase }) => phrase === state.phrase);
    if (word) next = await askJson("POST", `/api/open?word=${encodeURIComponent(word.id)}`);
  }
  if (wasTraining && next.training?.was_interrupted) next = await askJson("POST", `/api/train?board=${board}`);
  show(next);
  return next;
});
