// Actions of controls: one at a time each, with their errors beside the control.
import { Gone, untilBack } from "./api.js";
import { announce } from "./dom.js";
import { clearProblem, showProblem } from "./problems.js";
import { text } from "./strings.js";

/** Controls whose action is running. */
const busy = new Set();
let isHeld = () => false;

/** Sets which controls keep their message after a successful action. */
export function setHeld(holds) {
  isHeld = holds;
}

/**
 * Runs an action of a control. An error is shown beside the control until the action succeeds. If the program does
 * not answer, the message says so until it does; the action is then run again, unless `retry` is false.
 * @param {HTMLElement} control
 * @param {() => Promise<void> | void} action
 * @param {{ retry?: boolean, isResolved?: (state: object) => boolean, takesFocus?: boolean }} options
 */
export async function attempt(control, action, { retry = true, ...options } = {}) {
  if (busy.has(control)) return;
  busy.add(control);
  try {
    for (;;) {
      try {
        await action();
        break;
      } catch (error) {
        if (!(error instanceof Gone)) throw error;
        showProblem(control, error.message, options);
        await untilBack();
        announce(text("back"));
        if (!retry) break;
      }
    }
    if (!isHeld(control)) clearProblem(control);
  } catch (error) {
    // Whatever runs goes on: a refused correction, for instance, is no reason to stop listening.
    showProblem(control, error.message, options);
  } finally {
    busy.delete(control);
  }
}

/** Returns a handler that runs an action as `attempt` does. */
export const guarded = (control, action, options) => (event) => {
  event?.preventDefault();
  return attempt(control, () => action(event), options);
};
