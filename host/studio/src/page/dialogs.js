// The report in a dialog, and the note that takes a deletion back.
import { guarded } from "./actions.js";
import { ask } from "./api.js";
import { byId, setText } from "./dom.js";
import { change, onState, state } from "./state.js";
import { text } from "./strings.js";

let address = "";

/** Opens the report; its closing gives the focus back to the control. */
export async function openReport(control) {
  if (!state.report) throw new Error(text("noReport"));
  const page = await (await ask("GET", "/api/report")).blob();
  URL.revokeObjectURL(address);
  address = URL.createObjectURL(page);
  const frame = byId("report-frame");
  frame.src = address;
  frame.title = text("report");
  byId("report-tab").href = address;
  const dialog = byId("report-dialog");
  dialog.onclose = () => control.focus();
  dialog.showModal();
}

/** Deletion whose note was dismissed. */
let dismissed = "";
const keyOf = (deleted) => (deleted ? JSON.stringify(deleted) : "");

/** Connects the dialog of the report and the note of a deletion. */
export function startDialogs() {
  byId("report").onclick = guarded(byId("report"), () => openReport(byId("report")), {
    isResolved: ({ report }) => report,
  });
  byId("report-close").onclick = () => byId("report-dialog").close();
  // A click on the dialog itself is one beside its content.
  byId("report-dialog").onclick = ({ target }) => target === byId("report-dialog") && target.close();
  byId("undo").onclick = guarded(
    byId("undo"),
    async () => {
      const { kind, name } = state.deleted ?? {};
      await change("/api/undo");
      focusRestored(kind, name);
    },
    { retry: false },
  );
  byId("dismiss").onclick = () => {
    dismissed = keyOf(state.deleted);
    byId("toast").hidden = true;
    (document.querySelector(".step.current h2, #h-words") ?? byId("main")).focus();
  };
  onState(({ deleted }, last) => {
    // A second take of the same name can be deleted after the first one was brought back.
    if (!deleted || keyOf(deleted) !== keyOf(last.deleted))
      dismissed = deleted && keyOf(deleted) === dismissed && !last.words.length ? dismissed : "";
    const isShown = Boolean(deleted) && keyOf(deleted) !== dismissed;
    byId("toast").hidden = !isShown;
    setText(byId("toast-text"), isShown ? text(`deleted.${deleted.kind}`, { name: deleted.name }) : "");
  });
}

/** Moves the focus to what was brought back. */
function focusRestored(kind, name) {
  const word = state.words.find(({ phrase }) => phrase === name);
  const found = kind === "word" ? word && byId(`open-${word.id}`) : byId(`play-${name}`);
  (found ?? document.querySelector(".step.current h2, #h-words"))?.focus();
}
