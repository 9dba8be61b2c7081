// Trying the model: level, detections, sensitivity, and clips of its mistakes for the next training.
import { attempt, guarded } from "./actions.js";
import { ask, askJson } from "./api.js";
import { byId, h, icon, remember, remembered, replaceIfChanged, setButton, setText } from "./dom.js";
import { begin, finish, purposeNow, useMicrophone, addPurpose } from "./sound.js";
import { change, onState, state } from "./state.js";
import { goTo } from "./steps.js";
import { duration, isKnown, number, text } from "./strings.js";
import { allowSounds, chime } from "./tone.js";

/** Level at which a keyword is detected; the same for every model and sensitivity. */
const THRESHOLD = 50;
/** Time for which a bar holds the highest level, and the word stays lit, in milliseconds. */
const [HOLD_MS, LIT_MS] = [1000, 1500];

/** Index of the selected sensitivity; none for the model's own. */
let chosen = null;
let held = [];
let litUntil = 0;

async function listen() {
  if (byId("chime").checked) allowSounds();
  await useMicrophone();
  showBars(await openLive());
  byId("heard").replaceChildren();
  begin("live");
  showListening(true);
}

async function openLive() {
  let answer = await askJson("POST", "/api/live");
  if (chosen !== null) answer = await askJson("POST", `/api/level?row=${chosen}`);
  chosen ??= answer.level;
  showSettings(answer.settings, chosen);
  return answer;
}

function showListening(isOn) {
  const button = byId("listen");
  button.setAttribute("aria-pressed", isOn);
  setButton(button, isOn ? "stop" : "microphone", text(isOn ? "listenStop" : "listenStart"));
  byId("missed").disabled = !isOn;
  byId("light").classList.toggle("listening", isOn);
  setText(byId("light-state"), text(isOn ? "sayIt" : "notListening"));
  if (!isOn) byId("live-level").textContent = "";
}

/** Shows a bar per keyword, with the mark at the threshold. */
function showBars({ words }) {
  held = words.map(() => ({ level: 0, at: 0 }));
  const bars = words.map(({ word }) => {
    const bar = h(
      "div",
      {
        class: "score",
        role: "meter",
        "aria-label": text("scoreLabel", { word }),
        "aria-valuemin": 0,
        "aria-valuemax": 100,
        "aria-valuenow": 0,
      },
      h("i"),
      h("u"),
    );
    return h(
      "div",
      {},
      bar,
      h(
        "p",
        { class: "row between soft" },
        h("span", { class: "number" }, text("scoreNow", { level: 0 })),
        h("span", {}, text("scoreMark")),
      ),
    );
  });
  byId("words").replaceChildren(...bars);
}

/** Shows the level of each keyword, or the highest of the last second. */
function showLevels(words) {
  const now = performance.now();
  words.forEach(({ level }, i) => {
    if (!held[i] || level >= held[i].level || now - held[i].at > HOLD_MS) held[i] = { level, at: now };
    const bar = byId("words").children[i]?.firstChild;
    if (!bar) return;
    const shown = Math.floor(held[i].level);
    bar.setAttribute("aria-valuenow", shown);
    bar.style.setProperty("--now", `${held[i].level}%`);
    bar.classList.toggle("over", held[i].level >= THRESHOLD);
    bar.nextSibling.firstChild.textContent = text("scoreNow", { level: shown });
  });
  const isLit = now < litUntil;
  byId("light").classList.toggle("on", isLit);
  setText(byId("light-state"), text(isLit ? "detected" : "sayIt"));
}

function showEvents({ heard, ended }) {
  for (const event of heard) {
    litUntil = performance.now() + LIT_MS;
    if (byId("chime").checked) chime();
    byId("heard").prepend(detection(event));
    byId("try-next").classList.add("primary");
  }
  for (const { time_s, word, level } of ended) {
    const item = [...byId("heard").children].find(({ event }) => event.time_s === time_s && event.word === word);
    if (item) item.querySelector("span").textContent = lineOf(item.event, level);
  }
  byId("heard-empty").hidden = byId("heard").children.length > 0;
}

const lineOf = ({ time_s, word }, level) =>
  text("heardLine", { time: number(time_s, 1), word, level: Math.floor(level) });

function detection(event) {
  const wrong = h(
    "button",
    { class: "button small wrong", id: `wrong-${Math.round(1000 * event.time_s)}` },
    text("wrong"),
  );
  wrong.onclick = guarded(
    wrong,
    async () => {
      await change(`/api/correct?kind=false_wake&time_s=${event.time_s}`);
      wrong.remove();
      const badge = h("span", { class: "badge fair", tabindex: -1 }, icon("good"), text("wrongKept"));
      item.append(badge);
      badge.focus();
    },
    { retry: false },
  );
  const item = h("li", { class: "row between", "data-row": true }, h("span", {}, lineOf(event, event.level)), wrong);
  return Object.assign(item, { event });
}

/** Withdraws the offer to correct detections whose sound is not kept any more. */
function withdrawWrong(keptFromS) {
  for (const item of byId("heard").children) {
    const wrong = item.querySelector(".wrong");
    if (!wrong || item.event.time_s >= keptFromS) continue;
    if (document.activeElement === wrong) byId("missed").focus();
    wrong.remove();
  }
}

/** Shows the named sensitivities of the model, each with what it means and with what was counted. */
function showSettings(settings, level) {
  byId("settings").hidden = settings.length === 0;
  replaceIfChanged(byId("rows"), settings, () =>
    settings.map(({ name, counted: evidence }, i) => {
      const radio = h("input", { type: "radio", name: "row", id: `row-${i}` });
      radio.onchange = guarded(radio, async () => {
        if (purposeNow() === "live") await ask("POST", `/api/level?row=${i}`);
        chosen = i;
        held = held.map(() => ({ level: 0, at: 0 }));
      });
      const title = isKnown(`sensitivity.${name}`) ? text(`sensitivity.${name}`) : name;
      const means = isKnown(`means.${name}`) ? text(`means.${name}`) : "";
      return h(
        "label",
        {},
        radio,
        h("b", {}, title),
        h("span", {}, means),
        h("small", { class: "soft" }, evidenceText(evidence)),
      );
    }),
  );
  const radio = byId(`row-${level}`);
  if (radio) radio.checked = true;
}

/** Returns what was counted at the thresholds of a setting, for each keyword. */
const evidenceText = (counted) => text("evidence", { counted: counted.map(countText).join("; ") });

function countText({ bound, count, hours, at_most }) {
  if (!hours) return text("notMeasured");
  const values = { count: count || text("evidence.none"), time: duration(3600 * hours) };
  const line = text(bound === "counted" ? "acceptsIn" : `evidence.${bound}`, values);
  if (bound === "more_than") return line;
  if (!at_most) return `${line}: ${text("evidence.brief")}`;
  // A bound that is rounded down would be wrong.
  return `${line} (${text("evidence.rate", { rate: number(Math.ceil(10 * at_most) / 10, 1) })})`;
}

/** Connects the controls of the live test. */
export function startLive() {
  byId("chime").checked = remembered("chime") === "on";
  byId("chime").onchange = ({ target }) => {
    remember("chime", target.checked ? "on" : "off");
    if (target.checked) allowSounds();
  };
  byId("listen").onclick = guarded(byId("listen"), () => (purposeNow() === "live" ? finish() : listen()));
  const missed = byId("missed");
  missed.onclick = guarded(
    missed,
    async () => {
      await change("/api/correct?kind=missed");
      setText(byId("light-state"), text("missedKept"));
    },
    { retry: false },
  );
  byId("try-next").onclick = () => goTo("export");
  addPurpose("live", {
    button: byId("listen"),
    onAnswer(answer) {
      showLevels(answer.words);
      showEvents(answer);
      withdrawWrong(answer.kept_from_s);
    },
    onFinish() {
      showListening(false);
      byId("light").classList.remove("on");
    },
    async resume() {
      await openLive();
      // The times of a program that was started again begin at 0.
      withdrawWrong(Infinity);
      return 0;
    },
  });
  showListening(false);
  showBars({ words: [{ word: "" }] });
  onState((now, last) => {
    setText(byId("light-word"), now.phrase);
    byId("try-locked").hidden = now.model;
    byId("try-body").hidden = !now.model;
    if (now.phrase !== last.phrase) {
      chosen = null;
      byId("heard").replaceChildren();
      byId("heard-empty").hidden = false;
    }
    if (now.model && purposeNow() !== "live")
      showSettings(now.settings ?? [], chosen ?? (now.settings ?? []).findIndex(({ name }) => name === "normal"));
    if (isGoneModel(now)) attempt(byId("listen"), finish);
  });
}

/** Returns whether the model that is listened with was removed, as by a new training. */
const isGoneModel = ({ model }) => purposeNow() === "live" && !model && state.phrase !== "";
