// The five steps: which can be reached, which is current, and the way from one to the next.
import { announce, byId, remember, remembered, setText } from "./dom.js";
import { clipCount, isTraining, newClips, onState, state } from "./state.js";
import { counted, duration, text } from "./strings.js";

const STEPS = ["phrase", "record", "train", "try", "export"];
/** Width from which all steps are side by side, as in studio.css. */
const wide = matchMedia("(width >= 68.75em)");
let current = "phrase";

export const currentStep = () => current;

function isReachable(step) {
  if (step === "phrase" || step === "record") return true;
  if (step === "train") return state.takes.length > 0 || Boolean(state.training);
  return state.model;
}

/**
 * Makes a step current.
 * @param {string} step
 * @param {{ focus?: HTMLElement, says?: string }} options element that receives the focus in place of the heading,
 *   and what is announced
 */
export function goTo(step, { focus, says } = {}) {
  current = step;
  remember("step", `${step} ${state.phrase}`, "sessionStorage");
  render();
  if (says) announce(says);
  const section = document.querySelector(`.step[data-step=${step}]`);
  const target = focus && !focus.disabled && focus.getClientRects().length ? focus : section.querySelector("h2");
  target.focus({ preventScroll: true });
  const { top } = section.getBoundingClientRect();
  // The columns begin below the steps, which stay in view.
  if (!wide.matches || step !== "export") scrollTo(0, 0);
  else if (top < 0 || top > 0.6 * innerHeight) section.scrollIntoView();
}

/** Returns the step of this word at which the user was before a reload of the page. */
function lastStep() {
  const [step, phrase] = (remembered("step", "sessionStorage") ?? "").split(/ (.*)/s);
  return phrase === state.phrase && STEPS.includes(step) ? step : null;
}

/** Returns the step that is due. */
function dueStep() {
  if (isTraining() || state.training?.was_interrupted) return "train";
  if (state.model) return "try";
  return state.takes.length >= (state.wanted ?? 20) ? "train" : "record";
}

function render() {
  const isOpen = Boolean(state.phrase);
  document.body.dataset.step = isOpen ? current : "home";
  byId("stepper").hidden = !isOpen;
  byId("home").hidden = !isOpen;
  byId("hero").hidden = isOpen;
  byId("words-section").hidden = isOpen || !state.words.length;
  for (const step of STEPS) {
    const button = byId(`to-${step}`);
    if (step === current) button.setAttribute("aria-current", "step");
    else button.removeAttribute("aria-current");
    button.disabled = !isReachable(step);
    button.classList.toggle("done", isDone(step));
    const section = document.querySelector(`.step[data-step=${step}]`);
    section.classList.toggle("current", step === current);
    section.classList.toggle("locked", !isReachable(step));
    section.hidden = !isOpen && step !== "phrase";
  }
  setText(byId("progress-phrase"), isOpen ? state.phrase : "");
  setText(byId("progress-record"), text("of", { count: state.takes.length, wanted: state.wanted ?? 20 }));
  setText(byId("progress-train"), trainingProgress());
  const fresh = newClips(state.phrase, clipCount());
  setText(byId("progress-try"), fresh ? counted("clips", fresh) : "");
  const title = isOpen ? text("titleOf", { phrase: state.phrase, step: text(`step.${current}`) }) : text("title");
  if (document.title !== title) document.title = title;
}

function trainingProgress() {
  const { training, model } = state;
  if (!isTraining()) return model ? text("done") : "";
  if (training.left_s !== null) return text("left", { left: duration(training.left_s) });
  return `${Math.round(100 * training.share)} %`;
}

function isDone(step) {
  if (step === "phrase") return Boolean(state.phrase);
  if (step === "record") return state.takes.length >= (state.wanted ?? 20);
  return step === "train" && state.model && !isTraining();
}

/** Connects the buttons of the steps. */
export function startSteps() {
  for (const step of STEPS) byId(`to-${step}`).onclick = () => goTo(step);
  onState((now, last) => {
    if (now.phrase && now.phrase !== last.phrase) current = lastStep() ?? dueStep();
    if (now.phrase && !isReachable(current)) current = dueStep();
    render();
  });
}
