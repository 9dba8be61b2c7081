// The words that were begun earlier, with their results: to open, compare, train again and delete.
import { guarded } from "./actions.js";
import { byId, h, icon, replaceIfChanged } from "./dom.js";
import { finish } from "./sound.js";
import { change, newClips, onState, state } from "./state.js";
import { goTo } from "./steps.js";
import { counted, language, number, text } from "./strings.js";
import { train } from "./training.js";
import { acceptsText, missedText } from "./verdict.js";

/** Words that are marked for the comparison, by id. */
const marked = new Set();

const dateOf = ({ trained_at }) =>
  new Intl.DateTimeFormat(language, { dateStyle: "medium" }).format(new Date(1000 * trained_at));

const missedOf = ({ missed }) => (missed ? missedText(...missed) : text("notMeasured"));
const acceptsOf = ({ false_accepts: accepts }) => (accepts ? acceptsText(accepts) : text("notMeasured"));

/** Returns a card of a word. */
function wordCard({ id, phrase, takes, model, corrections, is_training }, i) {
  const of = encodeURIComponent(id);
  const open = h("button", { id: `open-${id}`, class: "button primary" }, text("open"));
  open.onclick = guarded(open, () => change(`/api/open?word=${of}`).then(() => goTo(document.body.dataset.step)));
  const retrain = h(
    "button",
    { id: `retrain-${id}`, class: "button" },
    counted("retrain", newClips(phrase, corrections)),
  );
  retrain.onclick = guarded(retrain, async () => {
    await change(`/api/open?word=${of}`);
    await train();
    goTo("train", { focus: byId("cancel"), says: text("says.train") });
  });
  const remove = h(
    "button",
    { id: `delete-${id}`, class: "button quiet round", "aria-label": text("deleteLabel", { phrase }) },
    icon("remove"),
  );
  remove.onclick = guarded(
    remove,
    async () => {
      await change(`/api/delete?word=${of}`);
      marked.delete(id);
      const cards = byId("word-list").children;
      (cards[Math.min(i, cards.length - 1)]?.querySelector("[id^=open]") ?? byId("phrase")).focus();
    },
    { retry: false },
  );
  const mark = h("input", { type: "checkbox", id: `compare-${id}`, checked: marked.has(id) });
  mark.onchange = () => {
    if (mark.checked) marked.add(id);
    else marked.delete(id);
    showCompare();
  };
  const state = is_training ? ["fair", text("isTraining")] : model ? ["good", text("hasModel")] : ["", text("noModel")];
  const fact = (name, value) => h("div", {}, h("dt", {}, name), h("dd", { class: "number" }, value));
  const label = h(
    "label",
    { class: "check" },
    mark,
    h("span", { "aria-hidden": "true" }, text("compareOne")),
    h("span", { class: "visually-hidden" }, text("compareLabel", { phrase })),
  );
  return h(
    "li",
    { class: "card word", "data-word": id },
    h("div", { class: "row between", "data-row": true }, h("h3", {}, phrase), remove),
    h("div", { class: "row between" }, h("span", { class: `badge ${state[0]}` }, state[1]), model && label),
    h(
      "dl",
      {},
      fact(text("factTakes"), number(takes)),
      model && fact(text("factTrained"), dateOf(model)),
      model && fact(text("factMissed"), missedOf(model)),
      model && fact(text("factAccepts"), acceptsOf(model)),
    ),
    h("p", { class: "row foot", "data-row": true }, open, newClips(phrase, corrections) > 0 && retrain),
  );
}

function showCompare() {
  const button = byId("compare");
  button.hidden = marked.size < 2;
  button.textContent = text("compare", { count: marked.size });
  if (marked.size < 2) byId("comparison").hidden = true;
  else if (!byId("comparison").hidden) showTable();
}

/** Shows the marked words side by side. */
function showTable() {
  const words = state.words.filter(({ id, model }) => model && marked.has(id));
  const row = (title, of) =>
    h("tr", {}, h("th", { scope: "row" }, title), ...words.map((word) => h("td", {}, of(word))));
  const head = h("tr", {}, h("td", {}), ...words.map(({ phrase }) => h("th", { scope: "col" }, phrase)));
  const body = h(
    "tbody",
    {},
    row(text("factTakes"), ({ takes }) => number(takes)),
    row(text("factTrained"), ({ model }) => dateOf(model)),
    row(text("factBase"), ({ model }) => model.base),
    row(text("factMissed"), ({ model }) => missedOf(model)),
    row(text("factAccepts"), ({ model }) => acceptsOf(model)),
  );
  const table = h(
    "table",
    {},
    h("caption", { class: "visually-hidden" }, text("comparison")),
    h("thead", {}, head),
    body,
  );
  const scroll = h(
    "div",
    { class: "table-scroll", tabindex: 0, role: "region", "aria-label": text("comparison") },
    table,
  );
  byId("comparison").replaceChildren(
    h("h3", {}, text("comparison")),
    scroll,
    h("p", { class: "soft" }, text("comparisonText")),
  );
  byId("comparison").hidden = false;
}

/** Connects the list of words and the way back to it. */
export function startWords() {
  byId("home").onclick = guarded(byId("home"), async () => {
    finish();
    await change("/api/close");
    (state.words.length ? byId("h-words") : byId("phrase")).focus();
    scrollTo(0, 0);
  });
  byId("compare").onclick = () => {
    showTable();
    byId("comparison").focus();
    byId("comparison").scrollIntoView({ block: "nearest" });
  };
  onState(({ words = [] }) => {
    replaceIfChanged(byId("word-list"), words, () => words.map(wordCard));
    showCompare();
  });
}
