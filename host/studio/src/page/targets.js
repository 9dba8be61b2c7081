// Take it with you: one card per target, each with its next step.
import { guarded } from "./actions.js";
import { ask } from "./api.js";
import { byId, h, icon, replaceIfChanged } from "./dom.js";
import { sentences } from "./problems.js";
import { onState, state } from "./state.js";
import { goTo } from "./steps.js";
import { isKnown, text } from "./strings.js";
import { train } from "./training.js";
import { openReport } from "./dialogs.js";
import { verdictText } from "./verdict.js";

/** Ending of the file of each target. */
const ENDINGS = { esphome: "-esphome.zip", c: ".h", browser: "-browser.zip", model: ".wkl" };
/** Name of the board that is selected, by target. */
const chosen = {};

const fileName = () => state.phrase.replace(/\s+/g, "-");

async function download(path, name) {
  const blob = await (await ask("GET", path)).blob();
  const link = h("a", { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

/** Returns a button that downloads the file of a target. */
function getButton(id, path, name, label) {
  const button = h("button", { id, class: "button" }, label);
  button.onclick = guarded(button, () => download(path(), name()));
  return button;
}

/** Targets that are for a board: ids of the controls, request, and name of the file. */
const BOARDED = {
  uf2: {
    ids: ["drives", "drive-text", "uf2", "train-board"],
    path: (board) => `/api/uf2?board=${board}`,
    name: (board) => `${fileName()}-${board}.uf2`,
    get: "uf2",
  },
  esphome: {
    ids: ["esphome-boards", "esphome-text", "get-esphome", "train-esphome"],
    path: (board) => `/api/export?to=esphome&board=${board}`,
    name: () => fileName() + ENDINGS.esphome,
    get: "target.esphome.get",
  },
};

/** Obstacles that a training of another model removes. */
const TRAINABLE = ["slow", "large", "features"];

/** Returns why a model does not go to a target or board, and what a user of the page can do. */
function whyText({ why, obstacle, percent, title: board }) {
  const key = `why.${obstacle}`;
  return sentences(isKnown(key) ? text(key, { board, percent }) : why).join(" ");
}

/** Returns the choice of a board, what to do with the file, and its download, or a training that fits the board. */
function boardControls(id, boards) {
  const { ids, path, name, get } = BOARDED[id];
  const first = boards.find((board) => board.name === chosen[id]) ?? boards.find(({ fits }) => fits) ?? boards[0];
  chosen[id] = first.name;
  const select = h("select", { id: ids[0] }, ...boards.map((board) => h("option", { value: board.name }, board.title)));
  select.value = chosen[id];
  const about = h("p", { id: ids[1] });
  const button = getButton(
    ids[2],
    () => path(chosen[id]),
    () => name(chosen[id]),
    text(get),
  );
  const other = h("button", { id: ids[3], class: "button" });
  other.onclick = guarded(other, async () => {
    await train(chosen[id]);
    goTo("train", { focus: byId("cancel"), says: text("says.train") });
  });
  const showBoard = () => {
    const board = boards.find(({ name }) => name === chosen[id]);
    const { title, fits, obstacle } = board;
    about.className = fits ? "" : "note fair";
    about.textContent = fits ? (id === "uf2" ? text("driveText", { board: title }) : "") : whyText(board);
    [button.hidden, other.hidden] = [!fits, !TRAINABLE.includes(obstacle)];
    other.textContent = text("trainBoard", { board: title });
  };
  select.onchange = () => {
    chosen[id] = select.value;
    showBoard();
  };
  showBoard();
  return [
    h("label", { class: "field" }, h("span", {}, text("drive")), select),
    about,
    h("p", { class: "row foot", "data-row": true }, button, other),
  ];
}

function targetCard(target) {
  const { id, fits, boards } = target;
  const title = text(`target.${id}`);
  const head = h("div", { class: "row" }, icon(id), h("h3", {}, title));
  const lead = h("p", { class: "soft" }, text(`target.${id}.text`));
  const foot = (...children) => h("p", { class: "row foot", "data-row": true }, ...children);
  let body;
  if (id in BOARDED && boards.length) body = boardControls(id, boards);
  else if (!fits) body = [h("p", { class: "note fair" }, whyText(target))];
  else {
    const isModel = id === "model";
    const path = () => (isModel ? "/api/model" : `/api/export?to=${id}`);
    body = [
      foot(
        getButton(isModel ? "download" : `get-${id}`, path, () => fileName() + ENDINGS[id], text(`target.${id}.get`)),
      ),
    ];
  }
  return h("article", { class: "card target", "data-target": id }, head, lead, ...body);
}

/** Returns the card of the report. */
function reportCard() {
  const button = h("button", { id: "report-again", class: "button" }, text("report"));
  button.onclick = guarded(button, () => openReport(button));
  return h(
    "article",
    { class: "card target" },
    h("div", { class: "row" }, icon("report"), h("h3", {}, text("target.report"))),
    h("p", { class: "soft" }, state.verdict ? verdictText(state.verdict) : text("target.report.text")),
    h("p", { class: "row foot", "data-row": true }, button),
  );
}

/** Connects the cards of the targets. */
export function startTargets() {
  onState(({ model, phrase, targets = [], report, verdict }) => {
    byId("targets-locked").hidden = model;
    byId("targets").hidden = !model;
    if (!model) return;
    const known = targets.filter(({ id }) => id === "uf2" || id in ENDINGS);
    replaceIfChanged(byId("targets"), [phrase, known, report, verdict], () => {
      return [...known.map(targetCard), ...(report ? [reportCard()] : [])];
    });
  });
}
