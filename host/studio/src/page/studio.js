// The page: shows the state of the program, and sends it the sound of the microphone.
import { ask, askJson, token } from "./api.js";
import { openMicrophone } from "./microphone.js";
import { clearProblem, resolveProblems, showProblem } from "./problems.js";
import { resetBars, showEvents, showLevels, wordBar } from "./scores.js";
import { language, text } from "./strings.js";

const byId = (id) => document.getElementById(id);
let state = {};
/** Purpose of the sound: "take", "room", "live" or nothing. */
let purpose = "";
/** Number of the last action, so that the result of an earlier one is ignored. */
let begun = 0;
let microphone = null;
/** Button of each purpose. */
const buttons = { take: byId("take"), room: byId("room"), live: byId("listen") };
/** Seconds of digital silence after which the microphone counts as muted. */
const MUTED_S = 1.5;

document.documentElement.lang = language;
for (const element of document.querySelectorAll("[data-text]")) {
  element.textContent = text(element.dataset.text);
}

/** Controls whose action is running. */
const busy = new Set();

/** Runs an action of a control. An error is shown beside it until the action succeeds. */
async function attempt(control, action, options) {
  if (busy.has(control)) return;
  busy.add(control);
  try {
    await action();
    if (!muted.has(control)) clearProblem(control);
  } catch (error) {
    finish();
    showProblem(control, error.message, options);
  } finally {
    busy.delete(control);
  }
}

const guarded = (control, action, options) => (event) => {
  event?.preventDefault();
  return attempt(control, action, options);
};

// --- the microphone ---------------------------------------------------------------------------

async function useMicrophone() {
  microphone ??= await openMicrophone(heard, () => {
    microphone = null;
    const button = buttons[purpose];
    finish();
    if (button) showProblem(button, text("ended"));
  });
}

/** Controls beside which the message about a muted microphone is shown. */
const muted = new Set();

function showSilence(button, silentS) {
  if (silentS >= MUTED_S && !muted.has(button)) {
    muted.add(button);
    showProblem(button, text("silent"), { takesFocus: false });
  } else if (!silentS && muted.delete(button)) {
    clearProblem(button);
  }
}

// Blocks are sent in order, one request at a time; waiting blocks are sent together.
let waiting = [];
let sending = false;

async function heard(block) {
  if (!purpose) return;
  waiting.push(block);
  if (sending) return;
  sending = true;
  try {
    while (waiting.length && purpose) {
      const blocks = waiting.splice(0);
      const sentFor = purpose;
      const url = `/api/sound?for=${sentFor}&rate=${microphone.rate}`;
      const answer = await askJson("POST", url, new Blob(blocks));
      showLevel(answer);
      showSilence(buttons[sentFor], answer.silent_s);
      if (purpose === sentFor) handlers[sentFor](answer);
    }
  } catch (error) {
    const button = buttons[purpose];
    finish();
    if (button) showProblem(button, error.message);
  } finally {
    sending = false;
  }
}

function begin(what) {
  finish();
  begun += 1;
  purpose = what;
}

function finish() {
  purpose = "";
  waiting = [];
  pressed("room", false, "roomStart");
  pressed("listen", false, "listenStart");
  byId("take").textContent = text("take");
  byId("sign").textContent = "";
}

function pressed(id, isOn, key) {
  byId(id).setAttribute("aria-pressed", isOn);
  byId(id).textContent = text(key);
}

function showLevel({ peak_db, clipped }) {
  byId("level").value = peak_db;
  byId("level-text").textContent = clipped ? text("clipping") : text("levelText", { db: Math.round(peak_db) });
  byId("level-text").className = clipped ? "bad" : "";
}

const handlers = { take: takeHeard, room: roomHeard, live: liveHeard };

// --- the phrase -------------------------------------------------------------------------------

byId("phrase-form").onsubmit = guarded(byId("phrase"), async () => {
  const [phrase, speaker, language] = ["phrase", "speaker", "language"].map((id) => byId(id).value.trim());
  if (!phrase) throw new Error(text("noPhrase"));
  finish();
  show(await askJson("POST", "/api/begin", JSON.stringify({ phrase, speaker, language })));
  byId("take").focus();
});
byId("phrase-form").oninput = () => clearProblem(byId("phrase"));

/** Shows the verdict on the phrase, the findings, and the language of the check. */
function showCheck(check) {
  byId("check").hidden = !check;
  if (!check) return;
  const { verdict, phrase, language_guess, findings, near_words, remedy } = check;
  const line = (kind, content) => Object.assign(document.createElement(kind), { textContent: content });
  const list = document.createElement("ul");
  list.append(...findings.map((finding) => line("li", finding.text)));
  const title = line("p", text(`check.${verdict}`, { phrase: `“${phrase}”` }));
  title.className = `verdict ${verdict}`;
  const isGuessed = language_guess.confidence !== "given";
  const about = [text(isGuessed ? "check.guessed" : "check.language", { language: language_guess.text })];
  const near = near_words.slice(0, 3).map((word) => `“${word.text}”`);
  if (near.length && verdict !== "unknown") about.push(text("check.near", { words: near.join(", ") }));
  if (remedy) about.push(text("check.remedy", { remedy }));
  replaceIfChanged(byId("check"), [title, ...(findings.length ? [list] : []), line("p", about.join(" "))]);
}

/** Replaces the content only if it differs, so as not to disturb focus and announcements. */
function replaceIfChanged(element, children) {
  const html = children.map((child) => child.outerHTML).join("");
  if (element.dataset.html === html) return;
  element.dataset.html = html;
  element.replaceChildren(...children);
}

// --- takes ------------------------------------------------------------------------------------

async function startTake() {
  await useMicrophone();
  byId("picture").hidden = true;
  const mine = begun;
  await ask("POST", "/api/take");
  if (mine !== begun) return;
  begin("take");
  byId("take").textContent = text("stop");
}

function takeHeard({ phase, count, take }) {
  const sign = text(phase, { count });
  if (phase !== "over") {
    if (byId("sign").textContent !== sign) byId("sign").textContent = sign;
    return;
  }
  finish();
  const button = byId("take");
  const isAutomatic = byId("automatic").checked;
  if (!take) {
    // A message about the muted microphone is shown already; another try would not help.
    if (muted.has(button)) showProblem(button, text("silent"));
    else if (isAutomatic) again();
    else showProblem(button, text("nothing"));
    return;
  }
  showTake(take);
  if (!isAutomatic) byId(take.good ? "keep" : "redo").focus();
  else if (take.good) attempt(byId("keep"), keep);
  else again();
}

const again = () => attempt(byId("take"), startTake);

function showTake({ seconds, peak_db, advice, good, wave, spectrogram, sound }) {
  byId("picture").hidden = false;
  const values = { seconds: seconds.toFixed(2), db: Math.round(peak_db), advice };
  byId("verdict").textContent = text("verdict", values);
  byId("verdict").className = good ? "" : "bad";
  byId("spectrogram").src = spectrogram;
  byId("spectrogram").alt = text("spectrogramAlt");
  byId("sound").src = sound;
  const canvas = byId("wave");
  canvas.setAttribute("aria-label", text("waveAlt", values));
  const { width, height } = canvas;
  const paint = canvas.getContext("2d");
  paint.clearRect(0, 0, width, height);
  paint.fillStyle = getComputedStyle(document.documentElement).getPropertyValue("--accent");
  wave.forEach(([least, most], i) => {
    const top = (height / 2) * (1 - most);
    const length = Math.max(1, (height / 2) * (most - least));
    paint.fillRect((i * width) / wave.length, top, width / wave.length, length);
  });
}

async function keep() {
  show(await askJson("POST", "/api/keep"));
  if (byId("automatic").checked) again();
  else {
    byId("picture").hidden = true;
    byId("take").focus();
  }
}

byId("take").onclick = guarded(byId("take"), () => (purpose === "take" ? finish() : startTake()));
byId("keep").onclick = guarded(byId("keep"), keep);
byId("redo").onclick = guarded(byId("redo"), startTake);

// --- the room ---------------------------------------------------------------------------------

byId("room").onclick = guarded(byId("room"), async () => {
  if (purpose === "room") {
    finish();
    show(await askJson("POST", "/api/room"));
    return;
  }
  await useMicrophone();
  begin("room");
  pressed("room", true, "stop");
});

function roomHeard({ seconds }) {
  byId("room-seconds").textContent = text("roomSeconds", { seconds: Math.floor(seconds) });
}

// --- training ---------------------------------------------------------------------------------

const isRunning = () => ["finetune", "evaluate"].includes(state.training?.state);

byId("train").onclick = guarded(byId("train"), async () => {
  finish();
  show(await askJson("POST", "/api/train"));
  follow();
});
byId("cancel").onclick = guarded(byId("cancel"), async () => {
  show(await askJson("POST", "/api/cancel"));
  byId("train").focus();
}, { isResolved: () => !isRunning() });

/** Follows a training run to its end. Requests without an answer are repeated. */
let following = false;
async function follow() {
  if (following || !isRunning()) return;
  following = true;
  while (isRunning()) {
    await new Promise((resolve) => setTimeout(resolve, 500));
    // It may have been cancelled meanwhile.
    if (!isRunning()) break;
    const wasAtCancel = document.activeElement === byId("cancel");
    try {
      show(await askJson("GET", "/api/state"));
      clearProblem(byId("cancel"));
    } catch (error) {
      // Shown once, since the focus must not jump at each try.
      const isNew = !byId("problem-cancel");
      showProblem(byId("cancel"), error.message, { takesFocus: isNew });
    }
    if (wasAtCancel && !isRunning()) byId("train").focus();
  }
  following = false;
  if (state.training?.state === "done") byId("listen").focus();
}

function showTraining(training) {
  byId("training").hidden = !training;
  byId("cancel").hidden = !isRunning();
  byId("train").disabled = isRunning() || !state.takes.length;
  if (!training) return;
  const [train, test] = training.takes;
  const key = { finetune: "trainingOn", evaluate: "evaluating", done: "trained" }[training.state] ?? training.state;
  setText(byId("stage"), text(key, { train, test }));
  byId("bar").value = 100 * training.share;
  byId("bar").parentElement.hidden = !isRunning();
  byId("detail").textContent = detail(training);
  byId("log").textContent = training.log.join("\n");
  byId("left-out").hidden = !training.left_out.length;
  byId("left-out-takes").replaceChildren(...training.left_out.map(({ name, reason }) => {
    return Object.assign(document.createElement("li"), { textContent: `${name}: ${reason}` });
  }));
  if (training.state === "failed" && !byId("problem-train")) {
    byId("log").parentElement.open = true;
    const isResolved = ({ training: now }) => now?.state !== "failed";
    showProblem(byId("train"), training.error || text("failed"), { isResolved, takesFocus: following });
  }
}

function detail({ share, left_s, stage, message }) {
  const known = text(`stage.${stage}`);
  const name = known === `stage.${stage}` ? stage : known;
  // The message of a bar describes the work better than its title.
  const values = { percent: Math.round(100 * share), stage: message || name };
  if (left_s === null) return text("detail", values);
  const isLong = left_s >= 90;
  const count = isLong ? Math.round(left_s / 60) : 5 * Math.ceil(left_s / 5);
  return text("detailLeft", { ...values, left: text(isLong ? "minutes" : "seconds", { count }) });
}

/** Sets a text only if it differs: a status is announced at each change. */
function setText(element, content) {
  if (element.textContent !== content) element.textContent = content;
}

// --- trying -----------------------------------------------------------------------------------

/** Index of the selected sensitivity; none for the model's own. */
let chosen = null;

byId("listen").onclick = guarded(byId("listen"), async () => {
  if (purpose === "live") {
    finish();
    return;
  }
  await useMicrophone();
  let answer = await askJson("POST", "/api/live");
  if (chosen !== null) answer = await askJson("POST", `/api/level?row=${chosen}`);
  showSettings(answer);
  byId("words").replaceChildren(...answer.words.map(wordBar));
  byId("heard").replaceChildren();
  begin("live");
  pressed("listen", true, "listenStop");
});

/** Shows the named sensitivities of the model, with the false accepts that were counted. */
function showSettings({ settings, level }) {
  byId("settings").hidden = false;
  byId("rows").replaceChildren(...settings.map(({ name, counted }, i) => {
    const label = document.createElement("label");
    const radio = Object.assign(document.createElement("input"), { type: "radio", name: "row", id: `row-${i}`, checked: i === level });
    radio.onchange = guarded(radio, async () => {
      if (purpose === "live") await ask("POST", `/api/level?row=${i}`);
      chosen = i;
      resetBars(byId("words"));
    });
    const known = text(`sensitivity.${name}`);
    label.append(radio, " ", known === `sensitivity.${name}` ? name : known, `: ${counted}`);
    return label;
  }));
}

function liveHeard({ words, heard, ended }) {
  showLevels(byId("words"), words);
  showEvents(byId("heard"), heard, ended);
}

const download = async (path, name) => {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(await (await ask("GET", path)).blob());
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
};
const fileName = () => state.phrase.replace(/\s+/g, "-");
byId("download").onclick = guarded(byId("download"), () => download("/api/model", `${fileName()}.wkl`));

const showDrive = () => {
  const { title } = state.drives[byId("drives").selectedIndex];
  byId("drive-text").textContent = text("driveText", { board: title });
};
byId("drives").onchange = () => {
  clearProblem(byId("uf2"));
  showDrive();
};
byId("uf2").onclick = guarded(byId("uf2"), () => {
  const { name } = state.drives[byId("drives").selectedIndex];
  return download(`/api/uf2?board=${name}`, `${fileName()}-${name}.uf2`);
});
byId("report").onclick = guarded(byId("report"), async () => {
  if (!state.report) throw new Error(text("noReport"));
  const page = await (await ask("GET", "/api/report")).blob();
  byId("report-frame").src = URL.createObjectURL(page);
  byId("report-frame").title = text("report");
  byId("report-frame").hidden = false;
  byId("report-frame").scrollIntoView({ block: "nearest" });
}, { isResolved: ({ report }) => report });

// --- everything -------------------------------------------------------------------------------

function show(next) {
  state = next;
  const has = Boolean(state.phrase);
  for (const id of ["takes-section", "room-section", "train-section"]) byId(id).hidden = !has;
  byId("try-section").hidden = !state.model;
  if (!byId("drives").options.length) {
    byId("drives").append(...state.drives.map(({ title, name }) => new Option(title, name)));
  }
  showDrive();
  showCheck(state.check);
  if (has) {
    byId("prompt").textContent = text("prompt", { how: text(`style.${state.style}`) });
    byId("count").textContent = text("kept", { count: state.takes.length });
    showTakes();
    byId("room-seconds").textContent = text("roomSeconds", { seconds: Math.floor(state.room_seconds) });
    showTraining(state.training);
  }
  resolveProblems(state);
}

/** Takes shown in the list. */
let listed = "";

function showTakes() {
  const now = JSON.stringify(state.takes);
  if (now === listed) return;
  listed = now;
  byId("takes").replaceChildren(...state.takes.map(takeItem));
}

function takeItem({ name, seconds, speaker, style, fault, warning }, i) {
  const item = document.createElement("li");
  item.dataset.row = "";
  const remove = Object.assign(document.createElement("button"), { id: `remove-${name}`, textContent: text("remove") });
  remove.setAttribute("aria-label", text("removeLabel", { number: i + 1 }));
  remove.onclick = guarded(remove, async () => {
    show(await askJson("POST", `/api/remove?take=${encodeURIComponent(name)}`));
    (byId("takes").querySelectorAll("button")[i] ?? byId("take")).focus();
  });
  const line = [style, text("seconds", { count: seconds.toFixed(1) }), speaker].filter(Boolean).join(", ");
  item.append(fault ? name : line, " ");
  const remark = fault ? text("takeFault", { fault }) : warning;
  if (remark) item.append(Object.assign(document.createElement("span"), { className: "bad", textContent: remark }), " ");
  item.append(remove);
  return item;
}

attempt(byId("intro"), async () => {
  if (!token) throw new Error(text("noToken"));
  show(await askJson("GET", "/api/state"));
  // Text typed in the meantime is kept.
  byId("phrase").value ||= state.phrase;
  byId("speaker").value ||= state.speaker;
  const { language, language_guess } = state.check ?? {};
  if (language_guess?.confidence === "given") byId("language").value ||= language;
  follow();
});
