// The demo page: a model file, the microphone, and the score of each keyword.
import { Model, ModelError, listen } from "../index.js";

/** Time for which a bar holds the highest level and a word stays lit, in milliseconds. */
const HOLD_MS = 1000;
/** Level at which a keyword is detected. */
const THRESHOLD = 50;
/** Most lines in the list of detections. */
const MOST_LINES = 50;

const element = (id) => document.getElementById(id);
let model, listener, bars = [];

/** Shows a problem in its place, or none. */
function problem(id, message = "") {
  element(id).textContent = message;
  element(id).hidden = message === "";
}

element("file").addEventListener("change", async ({ target }) => {
  const [file] = target.files;
  if (!file) return;
  await listener?.stop();
  problem("model-problem");
  try {
    model = await Model.load(await file.arrayBuffer());
  } catch (error) {
    model = undefined;
    problem("model-problem", `${file.name} ${reason(error)}`);
  }
  showModel();
});

/** Explains why a file is no model. */
function reason(error) {
  if (!(error instanceof ModelError)) return `cannot be read: ${error.message}`;
  if (error.code === "magic") return "is no model file. Pick the model.wkl that a training wrote.";
  if (error.code === "version") return `was written by another version of Wakeling (${error.message}). Train it again.`;
  if (error.code === "kind") return "is a model for images. Pick a model for sound.";
  return `is damaged: ${error.message}. Copy it again.`;
}

function showModel() {
  element("card").hidden = !model;
  element("toggle").disabled = !model;
  element("sensitivity").disabled = !model;
  element("hint").hidden = !model;
  element("status").textContent = model ? "Ready." : "Pick a model first.";
  bars = (model?.labels ?? []).map(barOf);
  element("words").replaceChildren(...bars.map(({ row }) => row));
  if (!model) return;
  element("labels").textContent = model.labels.join(", ");
  element("name").textContent = model.name || "–";
  element("memory").textContent = `${Math.ceil(model.memoryBytes / 1024)} KB`;
  element("licence").textContent = model.licence || "–";
}

/** Creates the bar of a keyword. */
function barOf(label) {
  const row = document.createElement("div");
  row.className = "word";
  const [name, level, bar] = ["b", "span", "div"].map((tag) => document.createElement(tag));
  name.textContent = label;
  level.textContent = "0";
  bar.className = "bar";
  bar.setAttribute("role", "meter");
  bar.setAttribute("aria-label", label);
  bar.setAttribute("aria-valuemin", 0);
  bar.setAttribute("aria-valuemax", 100);
  bar.setAttribute("aria-valuenow", 0);
  bar.append(document.createElement("i"));
  row.append(name, level, bar);
  return { row, level, bar, held: 0, since: 0, litUntil: 0 };
}

/** Shows the highest level of the last second of each keyword. */
function showStep({ levels }) {
  const now = performance.now();
  bars.forEach((word, i) => {
    if (levels[i] >= word.held || now - word.since > HOLD_MS) [word.held, word.since] = [levels[i], now];
    const shown = Math.floor(word.held);
    word.level.textContent = shown;
    word.bar.setAttribute("aria-valuenow", shown);
    word.bar.firstChild.style.width = `${word.held}%`;
    word.bar.classList.toggle("over", word.held >= THRESHOLD);
    word.row.classList.toggle("lit", now < word.litUntil);
  });
}

function showDetection({ label, keyword, time }) {
  bars[keyword].litUntil = performance.now() + HOLD_MS;
  bars[keyword].row.classList.add("lit");
  element("none").hidden = true;
  const line = document.createElement("li");
  line.textContent = `${label}, after ${time.toFixed(1)} s`;
  element("log").prepend(line);
  while (element("log").children.length > MOST_LINES) element("log").lastChild.remove();
}

/** Explains why there is no microphone. */
function refusal({ name, message }) {
  return {
    NotAllowedError: "The browser does not allow the microphone. Allow it in the address bar, then start again.",
    NotFoundError: "There is no microphone. Connect one, then start again.",
    NotReadableError: "Another program uses the microphone. Close it, then start again.",
    SecurityError: "Browsers give the microphone only to pages from https or from localhost.",
  }[name] ?? `The microphone does not start: ${message}`;
}

element("toggle").addEventListener("click", async () => {
  if (listener) return listener.stop();
  problem("listen-problem");
  element("toggle").disabled = true;
  element("status").textContent = "Waiting for the microphone …";
  try {
    const { value: sensitivity } = document.querySelector("input[name=sensitivity]:checked");
    listener = await listen({ model, sensitivity, onDetection: showDetection, onStep: showStep, onEnd: showEnd });
    element("toggle").textContent = "Stop";
    element("status").textContent = "Listening.";
  } catch (error) {
    problem("listen-problem", refusal(error));
    element("status").textContent = "Ready.";
  }
  element("toggle").disabled = false;
});

function showEnd(reason) {
  listener = undefined;
  element("toggle").textContent = "Start the microphone";
  element("status").textContent = "Stopped.";
  if (reason === "unplugged") problem("listen-problem", "The microphone was disconnected.");
  if (reason === "failed") problem("listen-problem", "The audio worklet failed. Load the page again.");
}

element("sensitivity").addEventListener("change", ({ target }) => {
  if (listener) listener.sensitivity = target.value;
});
