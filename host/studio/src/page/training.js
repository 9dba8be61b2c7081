// Training: what goes into it, its progress, and its result.
import { guarded } from "./actions.js";
import { Gone, askJson, untilBack } from "./api.js";
import { curve, thinned } from "./charts.js";
import { announce, byId, h, icon, replaceIfChanged, setButton, setText } from "./dom.js";
import { clearProblem, showProblem } from "./problems.js";
import { finish } from "./sound.js";
import { change, isTraining, noteClips, onState, show, state } from "./state.js";
import { currentStep, goTo } from "./steps.js";
import { PROGRAM, counted, duration, isKnown, language, text } from "./strings.js";
import { faultText, verdictText } from "./verdict.js";

/** Fewest takes from which on some are kept for the report, as in the studio's `training.rs`. */
const ENOUGH_TAKES = 8;
const POLL_MS = 500;

/** Starts a training, of a model that fits `board` if one is named. */
export async function train(board) {
  finish();
  await change(board ? `/api/train?board=${encodeURIComponent(board)}` : "/api/train");
  noteClips();
  follow();
}

/** Follows a training to its end. Requests without an answer are repeated. */
let isFollowing = false;
export async function follow() {
  if (isFollowing || !isTraining()) return;
  isFollowing = true;
  while (isTraining()) {
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    // It may have been cancelled meanwhile.
    if (!isTraining()) break;
    const wasAtCancel = document.activeElement === byId("cancel");
    try {
      show(await askJson("GET", "/api/state"));
    } catch (error) {
      showProblem(byId("cancel"), error instanceof Gone ? text("gone.train") : error.message, { takesFocus: false });
      if (error instanceof Gone) await untilBack();
      clearProblem(byId("cancel"));
    }
    if (wasAtCancel && !isTraining()) byId("train").focus();
  }
  isFollowing = false;
  if (state.training?.state !== "done") return;
  if (currentStep() === "train") goTo("try", { focus: byId("listen"), says: text("says.try") });
  else announce(text("says.try"));
}

/** Returns the rows of what goes into the training: kind of icon and text. */
function ingredients({ takes, room_seconds, corrections }) {
  if (!takes.length) return [["fair", text("needsRecording")]];
  const unused = takes.filter(({ fault }) => fault).length;
  const used = takes.length - unused;
  const rows = [[used >= ENOUGH_TAKES ? "good" : "fair", counted("withTakes", used)]];
  if (used > 0 && used < ENOUGH_TAKES) rows.push(["fair", text("needsTakes", { count: ENOUGH_TAKES })]);
  if (unused) rows.push(["fair", counted("unusedTakes", unused)]);
  rows.push(
    room_seconds >= 1
      ? ["good", text("withRoom", { time: duration(Math.floor(room_seconds)) })]
      : ["fair", text("withoutRoom")],
  );
  const { false_wakes = [], missed = [] } = corrections ?? {};
  if (false_wakes.length) rows.push(["good", counted("withWakes", false_wakes.length)]);
  if (missed.length) rows.push(["good", counted("withMissed", missed.length)]);
  return rows;
}

function detail({ share, left_s, stage, message }) {
  const name = isKnown(`stage.${stage}`) ? text(`stage.${stage}`) : stage;
  // The message of a bar describes the work better than its title, in the language of the program.
  const values = { percent: Math.round(100 * share), stage: (language === PROGRAM && message) || name };
  if (left_s === null || left_s === undefined) return text("detail", values);
  const rounded = left_s < 90 ? 5 * Math.ceil(left_s / 5) : left_s;
  return text("detailLeft", { ...values, left: duration(rounded) });
}

function curves({ loss = [], missed = [] } = {}) {
  return [
    loss.length > 0 && curve(thinned(loss), { title: text("curveLoss"), digits: 3 }),
    missed.length > 0 && curve(thinned(missed), { title: text("curveMissed"), unit: " %", digits: 1 }),
  ].filter(Boolean);
}

function showTraining(training) {
  const runs = isTraining();
  byId("training").hidden = !training?.state;
  byId("cancel").hidden = !runs;
  byId("train").hidden = runs;
  byId("train").disabled = !state.takes.length;
  byId("interrupted").hidden = !training?.was_interrupted || runs;
  const verb = training?.was_interrupted ? "trainOn" : state.model ? "trainAgain" : "train";
  setButton(byId("train"), "report", text(verb));
  byId("train").classList.toggle("primary", !state.model || Boolean(training?.was_interrupted));
  if (!training) return;
  const [count, test] = training.takes ?? [0, 0];
  const key = { finetune: "trainingOn", evaluate: "evaluating", done: "trained" }[training.state] ?? training.state;
  setText(byId("stage"), key ? text(key, { train: count, test }) : "");
  byId("bar").value = 100 * training.share;
  byId("progress").hidden = !runs;
  setText(byId("detail"), runs ? detail(training) : "");
  byId("log").textContent = (training.log ?? []).join("\n");
  replaceIfChanged(byId("curves"), training.curve ?? {}, () => curves(training.curve));
  const out = training.left_out ?? [];
  byId("left-out").hidden = !out.length;
  replaceIfChanged(byId("left-out-takes"), out, () => out.map(({ name, reason, fault }) => h("li", {}, `${name}: ${faultText(fault, reason)}`)));
  if (training.state === "failed" && !byId("problem-train")) {
    byId("log").parentElement.open = true;
    const isResolved = ({ training: now }) => now?.state !== "failed";
    const why = training.error ? text("program", { why: training.error }) : text("failed");
    showProblem(byId("train"), why, { isResolved, takesFocus: isFollowing });
  }
}

/** Connects the controls of the training. */
export function startTraining() {
  byId("train").onclick = guarded(byId("train"), async () => {
    // After an interruption, it may run already.
    if (!isTraining()) await train();
    byId("cancel").focus();
  });
  byId("cancel").onclick = guarded(
    byId("cancel"),
    async () => {
      await change("/api/cancel");
      byId("train").focus();
    },
    { isResolved: () => !isTraining() },
  );
  byId("train-next").onclick = () => goTo("try", { focus: byId("listen") });
  onState((now) => {
    const rows = ingredients(now);
    replaceIfChanged(byId("ingredients"), rows, () =>
      rows.map(([kind, line]) => h("li", { class: kind }, icon(kind), line)),
    );
    showTraining(now.training);
    byId("result").hidden = !now.model || isTraining(now);
    setText(byId("result-text"), now.verdict ? verdictText(now.verdict) : text(now.report ? "resultReport" : "resultPlain"));
    byId("report").hidden = !now.report;
    follow();
  });
}
