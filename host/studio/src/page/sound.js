// The sound of the microphone on its way to the program: what it is for, the level, and what is sent again after an
// interruption.
import { Gone, askJson, untilBack } from "./api.js";
import { announce, byId } from "./dom.js";
import { openMicrophone } from "./microphone.js";
import { clearProblem, showProblem } from "./problems.js";
import { text } from "./strings.js";

/** Seconds of digital silence after which the microphone counts as muted. */
const MUTED_S = 1.5;
/** Number of blocks of 0.1 s in one request, and number that is kept for sending again. */
const [MOST_BLOCKS, KEPT_BLOCKS] = [100, 300];

/**
 * Purpose of sound: the control that starts it, what is done with the answers, and how it goes on after an
 * interruption: `resume` returns how many of the kept blocks are sent again.
 * @typedef {{ button: HTMLElement, onAnswer: (answer: object) => void, onFinish: () => void,
 *   resume: (kept: number) => Promise<number> }} Purpose
 * @type {Record<string, Purpose>}
 */
const purposes = {};
let purpose = "";
/** Number of the last action, so that the result of an earlier one is ignored. */
let begun = 0;
let microphone = null;
let opening = null;
let waiting = [];
let kept = [];
let isSending = false;
/** Controls beside which the message about a muted microphone is shown. */
const muted = new Set();

/**
 * Adds a purpose: "take", "room", "live"; "pause", in which nothing is sent; "level", which runs whenever nothing else
 * does.
 */
export function addPurpose(name, entry) {
  purposes[name] = entry;
}

/** Returns what the sound is for; "" if for nothing. */
export const purposeNow = () => purpose;
export const isMuted = (control) => muted.has(control);
/** Returns a number that changes with each beginning, for ignoring late answers. */
export const turn = () => begun;

/** Opens the microphone unless it is open. A second one would feed its blocks in between. */
export async function useMicrophone() {
  if (microphone) return;
  opening ??= openMicrophone(push, () => {
    microphone = null;
    byId("microphone-test").hidden = false;
    const { button } = purposes[purpose] ?? {};
    finish();
    if (button) showProblem(button, text("ended"));
  }).finally(() => (opening = null));
  microphone = await opening;
}

/** Opens the microphone that was chosen in place of the open one. */
export async function changeMicrophone() {
  if (!microphone) return;
  finish();
  microphone.close();
  microphone = null;
  await useMicrophone();
  begin("level");
}

/** Begins to send sound for a purpose, in place of any other. */
export function begin(name) {
  stop();
  begun += 1;
  purpose = name;
}

/** Ends the sending of sound. An open microphone goes on showing its level. */
export function finish() {
  stop();
  if (microphone) begin("level");
}

function stop() {
  const last = purposes[purpose];
  purpose = "";
  [waiting, kept] = [[], []];
  last?.onFinish();
}

/** Queues a block of samples. */
function push(block) {
  if (
    !purpose ||
    purpose === "pause" ||
    (purpose === "level" && (document.hidden || document.body.dataset.step !== "record"))
  )
    return;
  waiting.push(block);
  // While the program is away, more than it takes at once is of no use.
  if (waiting.length > KEPT_BLOCKS) waiting.shift();
  send();
}

/** Sends blocks in order, one request at a time; waiting blocks are sent together. */
async function send() {
  if (isSending) return;
  isSending = true;
  let sentFor = "";
  try {
    while (waiting.length && purpose) {
      const blocks = waiting.splice(0, MOST_BLOCKS);
      const mine = begun;
      sentFor = purpose;
      try {
        const url = `/api/sound?for=${sentFor}&rate=${microphone?.rate ?? 16000}`;
        const answer = await askJson("POST", url, new Blob(blocks));
        if (mine !== begun) continue;
        kept = [...kept, ...blocks].slice(-KEPT_BLOCKS);
        showLevel(answer);
        if (sentFor !== "level") showSilence(purposes[sentFor].button, answer.silent_s);
        purposes[sentFor].onAnswer(answer);
      } catch (error) {
        if (!(error instanceof Gone)) throw error;
        if (mine === begun) await goOn(mine, sentFor, blocks);
      }
    }
  } catch (error) {
    const { button } = purposes[sentFor];
    stop();
    if (sentFor !== "level" && button) showProblem(button, error.message);
  } finally {
    isSending = false;
  }
}

/** Waits for the program, and goes on with what was sent: the sound since the beginning is sent again. */
async function goOn(mine, name, blocks) {
  const { button, resume } = purposes[name];
  if (name !== "level") showProblem(button, text(`gone.${name}`), { takesFocus: false });
  for (;;) {
    await untilBack();
    if (mine !== begun) break;
    try {
      const again = await resume(kept.length);
      if (mine !== begun) break;
      waiting = [...(again ? kept.slice(-again) : []), ...blocks, ...waiting].slice(-KEPT_BLOCKS);
      kept = again ? kept.slice(0, -again) : kept;
      break;
    } catch (error) {
      if (!(error instanceof Gone)) throw error;
    }
  }
  if (name !== "level") {
    clearProblem(button);
    announce(text("back"));
  }
}

function showSilence(button, silentS) {
  if (silentS >= MUTED_S && !muted.has(button)) {
    muted.add(button);
    showProblem(button, text("silent"), { takesFocus: false });
  } else if (!silentS && muted.delete(button)) {
    clearProblem(button);
  }
}

/** Levels in dB below which sound is too quiet, and above which it clips. */
const [QUIET_DB, HIGH_DB, LEAST_DB] = [-36, -3, -60];
let peak = { db: LEAST_DB, at: 0 };

function showLevel({ peak_db, clipped, silent_s }) {
  const now = performance.now();
  const db = Math.max(LEAST_DB, Math.min(0, peak_db));
  if (db >= peak.db || now - peak.at > 1200) peak = { db, at: now };
  const loudness = clipped || peak.db > HIGH_DB ? "Clipping" : peak.db < QUIET_DB ? "Quiet" : "Good";
  const kind = silent_s >= MUTED_S ? "Muted" : loudness;
  const words = text(`level${kind}`);
  const level = byId("level");
  const share = (value) => `${(100 * (value - LEAST_DB)) / -LEAST_DB}%`;
  level.style.setProperty("--now", share(db));
  level.style.setProperty("--peak", share(peak.db));
  level.dataset.kind = kind;
  level.setAttribute("aria-valuenow", Math.round(db));
  level.setAttribute("aria-valuetext", words);
  byId("microphone-test").hidden = true;
  byId("level-text").textContent = words;
  if (purpose === "live") byId("live-level").textContent = text("liveLevel", { level: words });
}
