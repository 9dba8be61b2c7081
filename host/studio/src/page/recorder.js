// One take after the other: countdown, sign, and what was recorded.
import { attempt, guarded } from "./actions.js";
import { ask } from "./api.js";
import { waveImage } from "./charts.js";
import { byId, icon, remember, remembered, setButton, setText } from "./dom.js";
import { showProblem } from "./problems.js";
import { addPurpose, begin, finish, isMuted, purposeNow, turn, useMicrophone } from "./sound.js";
import { change, onState, state } from "./state.js";
import { goTo } from "./steps.js";
import { counted, number, text } from "./strings.js";
import { allowSounds, beep, playRecording } from "./tone.js";

const BADGES = { good: "good", unlike: "fair", noisy: "fair", quiet: "fair", short: "fair", long: "fair" };
/** Returns the kind of badge of a verdict: "good", "fair" or "bad". */
export const badgeOf = (verdict) => BADGES[verdict] ?? "bad";

const isAutomatic = () => byId("automatic").checked;
let phaseBefore = "";
/** Whether the countdown is one for a way through the room. */
let isLong = false;

async function startTake() {
  if (byId("beep").checked) allowSounds();
  await useMicrophone();
  const mine = turn();
  await ask("POST", "/api/take");
  if (mine !== turn()) return;
  begin("take");
  [phaseBefore, isLong] = ["", state.is_far];
  byId("booth").dataset.phase = "counting";
  setButton(byId("take"), "stop", text("stop"));
}

/** Shows the phase of the running take: countdown, waiting, speech, end. */
function showPhase({ phase, count, take }) {
  const booth = byId("booth");
  if (phase !== "over") {
    if (count > 3) isLong = true;
    booth.dataset.phase = phase;
    booth.classList.toggle("far", isLong);
    setText(byId("advice-now"), isLong && phase === "counting" ? text("walkAway") : "");
    setText(byId("sign"), text(phase, { count }));
    if (phase === "waiting" && phaseBefore !== "waiting" && byId("beep").checked) beep();
    phaseBefore = phase;
    return;
  }
  finish();
  const button = byId("take");
  if (!take) {
    // A message about the muted microphone is shown already; another try would not help.
    if (isMuted(button)) showProblem(button, text("silent"));
    else if (isAutomatic()) again();
    else showProblem(button, text("nothing"));
    return;
  }
  showTake(take);
  if (!isAutomatic()) byId(take.good ? "keep" : "redo").focus();
  else if (take.good) attempt(byId("keep"), keep);
  else again();
}

const again = () => attempt(byId("take"), startTake);

/** Seconds for the way back to the microphone, after a take from across the room. */
const WAY_BACK_S = 6;

/** Counts down while the user walks back, and records the next take. */
async function walkBack() {
  begin("pause");
  const mine = turn();
  setButton(byId("take"), "stop", text("stop"));
  byId("booth").classList.add("far");
  byId("booth").dataset.phase = "counting";
  setText(byId("advice-now"), text("walkBack"));
  for (let count = WAY_BACK_S; count > 0; count -= 1) {
    setText(byId("sign"), text("counting", { count }));
    await new Promise((resolve) => setTimeout(resolve, 1000));
    if (mine !== turn()) return;
  }
  finish();
  again();
}

/** Take that is shown: recorded and not yet kept, or the last one that was. */
let shown = null;
/** Number of takes that were kept before it. */
let keptBefore = 0;

/**
 * Shows a take with its verdict, as wave and spectrogram.
 * @param {object | null} take
 * @param {boolean} isKept whether it is among the takes already
 */
function showTake(take, isKept = false) {
  shown = take;
  keptBefore = state.takes.length;
  const isDue = Boolean(take) && !isKept;
  for (const id of ["keep", "redo", "discard"]) byId(id).hidden = !isDue;
  byId("take").hidden = isDue;
  byId("booth").classList.toggle("due", isDue);
  byId("picture-empty").hidden = Boolean(take);
  byId("picture-take").hidden = !take;
  if (!take) return;
  const verdict = take.verdict ?? (take.good ? "good" : "unusable");
  byId("verdict").className = `badge ${badgeOf(verdict)}`;
  byId("verdict").replaceChildren(icon(badgeOf(verdict)), text(`verdict.${verdict}`));
  const values = { seconds: number(take.seconds, 2), db: Math.round(take.peak_db) };
  setText(byId("take-text"), text("takeText", values));
  setText(byId("advice"), text(isKept ? "advice.kept" : `advice.${verdict}`));
  byId("wave").replaceChildren(waveImage(take.wave, 240, text("waveAlt", values)));
  byId("spectrogram").src = take.spectrogram;
  byId("spectrogram").alt = text("spectrogramAlt");
  showPlaying(false);
}

const showPlaying = (isPlaying) =>
  setButton(byId("play"), isPlaying ? "stop" : "play", text(isPlaying ? "stop" : "play"));

async function keep() {
  const take = shown;
  const wasFar = state.is_far;
  // An answer that was lost on its way is no reason to keep it again.
  if (state.takes.length === keptBefore) await change("/api/keep");
  // The mode is the default after the first take, unless the user chose otherwise.
  if (remembered("automatic") === null) byId("automatic").checked = true;
  const { takes, wanted = 20 } = state;
  if (takes.length === wanted) {
    showTake(null);
    goTo("train", { focus: byId("train"), says: text("takesDone", { count: takes.length }) });
  } else if (isAutomatic()) {
    showTake(take, true);
    if (document.activeElement === document.body) byId("take").focus();
    if (wasFar && !state.is_far) walkBack();
    else again();
  } else {
    showTake(null);
    byId("take").focus();
  }
}

/** Connects the controls of the take. */
export function startRecorder() {
  const take = byId("take");
  byId("automatic").checked = remembered("automatic") === "on";
  byId("automatic").onchange = ({ target }) => remember("automatic", target.checked ? "on" : "off");
  byId("beep").checked = remembered("beep") !== "off";
  byId("beep").onchange = ({ target }) => remember("beep", target.checked ? "on" : "off");
  take.onclick = guarded(take, () => (["take", "pause"].includes(purposeNow()) ? finish() : startTake()));
  byId("keep").onclick = guarded(byId("keep"), keep);
  byId("redo").onclick = guarded(byId("redo"), async () => {
    showTake(null);
    await startTake();
    take.focus();
  });
  byId("discard").onclick = guarded(byId("discard"), async () => {
    await change("/api/discard");
    showTake(null);
    take.focus();
  });
  byId("play").onclick = () => playRecording(shown.sound, showPlaying);
  const onFinish = () => {
    setButton(take, "microphone", text("take"));
    setText(byId("sign"), "");
    setText(byId("advice-now"), "");
    byId("booth").classList.remove("far");
    byId("booth").dataset.phase = "";
  };
  addPurpose("pause", { button: take, onFinish });
  addPurpose("take", {
    button: take,
    onAnswer: showPhase,
    onFinish,
    async resume(kept) {
      await ask("POST", "/api/take");
      return kept;
    },
  });
  setButton(take, "microphone", text("take"));
  showPlaying(false);
  onState((now, last) => {
    if (now.phrase !== last.phrase) showTake(null);
    // A take that an earlier page, or a program that was ended, left undecided.
    if (now.pending && !shown && !["take", "pause"].includes(purposeNow())) showTake(now.pending);
    const count = now.takes.length;
    const wanted = now.wanted ?? 20;
    setText(byId("count"), text("of", { count, wanted }));
    byId("ring").setAttribute("stroke-dasharray", `${Math.min(100, (100 * count) / wanted)} 100`);
    setText(byId("prompt-phrase"), now.phrase);
    setText(byId("prompt"), text("prompt", { how: text(`style.${now.style || "plain"}`) }));
    byId("takes-next").hidden = count === 0;
    byId("takes-next").className = `button${count >= wanted ? " primary" : ""}`;
    setText(byId("takes-next"), count >= wanted ? text("takesNext") : counted("takesNextEarly", count));
  });
}
