// The page: shows what the program says, and sends it what the microphone hears.
import { language, text } from "./strings.js";

const byId = (id) => document.getElementById(id);
const token = location.hash.slice(1);
let state = {};
/** What the sound is for: "take", "room", "live" or nothing. */
let purpose = "";
/** Counts what was begun, so that what was begun later wins. */
let begun = 0;
let microphone = null;

document.documentElement.lang = language;
for (const element of document.querySelectorAll("[data-text]")) {
  element.textContent = text(element.dataset.text);
}

function problem(message) {
  byId("problem").textContent = message;
  byId("problem").hidden = !message;
}

async function ask(method, path, body) {
  let response;
  try {
    response = await fetch(path, { method, body, headers: { "X-Wakeling-Token": token } });
  } catch {
    throw new Error(text("gone"));
  }
  if (!response.ok) throw new Error((await response.json()).error);
  return response;
}

const askJson = async (...request) => (await ask(...request)).json();

/** Runs what a button does; what goes wrong is shown. */
const guarded = (action) => async (event) => {
  event?.preventDefault();
  problem("");
  try {
    await action();
  } catch (error) {
    finish();
    problem(error.message);
  }
};

// --- the microphone ---------------------------------------------------------------------------

async function openMicrophone() {
  if (microphone) return;
  try {
    // The device has no such helpers, so the model must not learn from sound that passed them.
    const audio = { channelCount: 1, echoCancellation: false, noiseSuppression: false, autoGainControl: false };
    const stream = await navigator.mediaDevices.getUserMedia({ audio });
    let context, source;
    try {
      context = new AudioContext({ sampleRate: 16000 });
      source = context.createMediaStreamSource(stream);
    } catch {
      // This browser does not convert; the program does.
      context = new AudioContext();
      source = context.createMediaStreamSource(stream);
    }
    await context.audioWorklet.addModule("worklet.js");
    const capture = new AudioWorkletNode(context, "capture", { numberOfOutputs: 0 });
    source.connect(capture);
    capture.port.onmessage = (message) => heard(message.data);
    await context.resume();
    microphone = { rate: context.sampleRate };
  } catch (error) {
    throw new Error(text("noMicrophone", { why: error.message }));
  }
}

// Blocks are sent in their order, one request at a time; what waits is sent together.
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
      if (purpose === sentFor) handlers[sentFor](answer);
    }
  } catch (error) {
    finish();
    problem(error.message);
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

// --- takes ------------------------------------------------------------------------------------

async function startTake() {
  await openMicrophone();
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
  const isAutomatic = byId("automatic").checked;
  if (!take) {
    byId("sign").textContent = text("nothing");
    if (isAutomatic) guarded(startTake)();
    return;
  }
  showTake(take);
  if (isAutomatic) guarded(take.good ? keep : startTake)();
  else byId(take.good ? "keep" : "redo").focus();
}

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
  if (byId("automatic").checked) await startTake();
  else {
    byId("picture").hidden = true;
    byId("take").focus();
  }
}

byId("phrase-form").onsubmit = guarded(async () => {
  const body = JSON.stringify({ phrase: byId("phrase").value, speaker: byId("speaker").value });
  finish();
  show(await askJson("POST", "/api/begin", body));
  byId("take").focus();
});
byId("take").onclick = guarded(() => (purpose === "take" ? finish() : startTake()));
byId("keep").onclick = guarded(keep);
byId("redo").onclick = guarded(startTake);

// --- the room ---------------------------------------------------------------------------------

byId("room").onclick = guarded(async () => {
  if (purpose === "room") {
    finish();
    show(await askJson("POST", "/api/room"));
    return;
  }
  await openMicrophone();
  begin("room");
  pressed("room", true, "stop");
});

function roomHeard({ seconds }) {
  byId("room-seconds").textContent = text("roomSeconds", { seconds: Math.floor(seconds) });
}

// --- training ---------------------------------------------------------------------------------

byId("train").onclick = guarded(async () => {
  finish();
  show(await askJson("POST", "/api/train"));
  follow();
});

function follow() {
  setTimeout(guarded(async () => {
    show(await askJson("GET", "/api/state"));
    if (["finetune", "evaluate"].includes(state.training?.state)) follow();
    else if (state.model) byId("listen").focus();
  }), 500);
}

function showTraining(training) {
  byId("training").hidden = !training;
  if (!training) return;
  const percent = Math.round((100 * training.position) / Math.max(1, training.length));
  const [train, test] = training.takes;
  const key = { finetune: "trainingOn", evaluate: "evaluating", done: "trained", failed: "failed" }[training.state];
  byId("stage").textContent = text(key, { train, test, percent, stage: training.stage });
  byId("bar").value = training.state === "done" ? 100 : percent;
  byId("log").textContent = training.log.join("\n");
  byId("log").parentElement.open ||= training.state === "failed";
  byId("train").disabled = ["finetune", "evaluate"].includes(training.state);
}

// --- trying -----------------------------------------------------------------------------------

byId("listen").onclick = guarded(async () => {
  if (purpose === "live") {
    finish();
    return;
  }
  await openMicrophone();
  const answer = await askJson("POST", "/api/live");
  const rows = answer.levels.map((row, i) => new Option(row, i, false, i === answer.level));
  byId("rows").replaceChildren(...rows);
  byId("heard").replaceChildren();
  begin("live");
  pressed("listen", true, "listenStop");
});
byId("rows").onchange = guarded(() => ask("POST", `/api/level?row=${byId("rows").value}`));

function liveHeard({ words, heard: found }) {
  const lines = words.map(({ word, score, threshold }) => {
    const line = document.createElement("p");
    const meter = document.createElement("meter");
    Object.assign(meter, { max: 1, value: score, high: threshold });
    const values = { word, score: score.toFixed(3), threshold: threshold.toFixed(3) };
    line.append(meter, " ", text("wordLine", values));
    return line;
  });
  byId("words").replaceChildren(...lines);
  for (const { time_s, word, score } of found) {
    const item = document.createElement("li");
    item.textContent = text("heardLine", { time: time_s.toFixed(2), word, score: score.toFixed(3) });
    byId("heard").prepend(item);
  }
}

const download = async (path, name) => {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(await (await ask("GET", path)).blob());
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
};
const fileName = () => state.phrase.replace(/\s+/g, "-");
byId("download").onclick = guarded(() => download("/api/model", `${fileName()}.wkl`));

const showDrive = () => {
  const { name, title, program } = state.drives[byId("drives").selectedIndex];
  byId("drive-text").textContent = text(program ? "drive.whole" : "drive.model", { board: title, name });
};
byId("drives").onchange = showDrive;
byId("uf2").onclick = guarded(() => {
  const { name } = state.drives[byId("drives").selectedIndex];
  return download(`/api/uf2?board=${name}`, `${fileName()}-${name}.uf2`);
});
byId("report").onclick = guarded(async () => {
  if (!state.report) throw new Error(text("noReport"));
  const page = await (await ask("GET", "/api/report")).blob();
  byId("report-frame").src = URL.createObjectURL(page);
  byId("report-frame").title = text("report");
  byId("report-frame").hidden = false;
});

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
  if (!has) return;
  byId("prompt").textContent = text("prompt", { how: text(`style.${state.style}`) });
  byId("count").textContent = text("kept", { count: state.takes.length });
  const lines = state.takes.map(({ name, seconds, speaker, style }, i) => {
    const line = document.createElement("li");
    const remove = document.createElement("button");
    remove.textContent = text("remove");
    remove.setAttribute("aria-label", text("removeLabel", { number: i + 1 }));
    remove.onclick = guarded(async () => show(await askJson("POST", `/api/remove?take=${name}`)));
    line.append(text("takeLine", { style, seconds: seconds.toFixed(1), speaker }), " ", remove);
    return line;
  });
  byId("takes").replaceChildren(...lines);
  byId("train").disabled = !state.takes.length;
  byId("room-seconds").textContent = text("roomSeconds", { seconds: Math.floor(state.room_seconds) });
  showTraining(state.training);
}

guarded(async () => {
  if (!token) throw new Error(text("noToken"));
  show(await askJson("GET", "/api/state"));
  // What was typed meanwhile stays.
  byId("phrase").value ||= state.phrase;
  byId("speaker").value ||= state.speaker;
  if (state.training) follow();
})();
