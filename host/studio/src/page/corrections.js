// Clips of the model's mistakes, which the next training learns from.
import { guarded } from "./actions.js";
import { byId, h, icon, replaceIfChanged, setText } from "./dom.js";
import { change, newClips, onState, state } from "./state.js";
import { goTo } from "./steps.js";
import { counted, number, text } from "./strings.js";
import { train } from "./training.js";

function showCorrections({ false_wakes = [], missed = [] } = {}) {
  const all = [...false_wakes.map((clip) => [clip, "falseWake"]), ...missed.map((clip) => [clip, "missedClip"])];
  byId("corrections").hidden = all.length === 0;
  setText(
    byId("corrections-text"),
    text("corrections", {
      wakes: counted("falseWakes", false_wakes.length),
      missed: counted("missedOnes", missed.length),
    }),
  );
  const fresh = newClips(state.phrase, all.length);
  byId("retrain").hidden = fresh === 0;
  setText(byId("retrain"), counted("retrain", fresh));
  replaceIfChanged(byId("corrections-list"), all, () =>
    all.map(([{ name, seconds }, kind], i) => {
      const label = text(kind, { time: text("seconds", { count: number(seconds, 1) }) });
      const remove = h(
        "button",
        {
          class: "button quiet round",
          id: `uncorrect-${name}`,
          "aria-label": text("uncorrect", { clip: label, number: i + 1 }),
        },
        icon("remove"),
      );
      remove.onclick = guarded(
        remove,
        async () => {
          await change(`/api/uncorrect?name=${encodeURIComponent(name)}`);
          (byId("corrections-list").querySelectorAll("button")[i] ?? byId("listen")).focus();
        },
        { retry: false },
      );
      return h("li", { class: "row between", "data-row": true }, label, remove);
    }),
  );
}

/** Trains again with the clips that were collected. */
async function retrain() {
  await train();
  goTo("train", { focus: byId("cancel"), says: text("says.train") });
}

/** Connects the list of clips. */
export function startCorrections() {
  byId("retrain").onclick = guarded(byId("retrain"), retrain);
  onState(({ corrections }) => showCorrections(corrections));
}
