// Recordings from files: dropped anywhere on the page, or chosen, alone or as a folder.
import { attempt } from "./actions.js";
import { Gone, askJson } from "./api.js";
import { byId, h, setText } from "./dom.js";
import { sentences } from "./problems.js";
import { show, state } from "./state.js";
import { goTo } from "./steps.js";
import { counted, text } from "./strings.js";
import { faultText } from "./verdict.js";

/** Endings of names that are no recordings, as they lie in folders of recordings. */
const OTHER = /(^|\/)\.|\.(jsonl?|txt|md|csv|png|jpe?g|pdf|html?|zip|wkl|head)$/i;

/**
 * Sends files one after the other, and shows the progress and the problem of each.
 * @param {{ word: string, files: File[], next: number, kept: number }} job work that goes on where it was interrupted
 */
async function send(job) {
  const { word, files } = job;
  const problems = byId("files-problems");
  if (!job.next) problems.replaceChildren();
  for (; job.next < files.length; job.next += 1) {
    const file = files[job.next];
    setText(
      byId("files-progress"),
      text("filesProgress", { number: job.next + 1, count: files.length, name: file.name }),
    );
    const path = `/api/file?word=${encodeURIComponent(word)}&name=${encodeURIComponent(file.name)}`;
    const answer = await askJson("POST", path, file).catch((error) => {
      // A file that is refused does not stop the others.
      if (error instanceof Gone) throw error;
      return { kept: [], problem: error.message, state };
    });
    job.kept += answer.kept.length;
    if (answer.problem) {
      const why = sentences(faultText(answer.fault, answer.problem)).join(" ");
      problems.append(h("li", {}, h("b", {}, file.name), `: ${why}`));
    }
    show(answer.state);
  }
  const failed = problems.children.length;
  const parts = [counted("filesKept", job.kept), failed ? counted("filesFailed", failed) : ""];
  setText(byId("files-progress"), files.length ? parts.filter(Boolean).join(" ") : text("noFiles"));
}

/** Sends files for the word that was open when they were chosen: another may be opened while they are read. */
function sendFiles(button, files, word = state.id) {
  const job = { word, files: files.filter(({ name }) => !OTHER.test(name)), next: 0, kept: 0 };
  return attempt(button, () => send(job));
}

/** Returns all files of what was dropped, also those in folders. */
async function filesOf(transfer) {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  if (!entries.length) return [...transfer.files];
  const all = await Promise.all(entries.map(filesIn));
  return all.flat().sort((a, b) => a.name.localeCompare(b.name, undefined, { numeric: true }));
}

async function filesIn(entry) {
  const call = (action) => new Promise((resolve, reject) => action(resolve, reject));
  if (entry.isFile) return [await call((...to) => entry.file(...to))];
  const reader = entry.createReader();
  const found = [];
  for (;;) {
    // A reader returns a hundred entries at most in one call.
    const part = await call((...to) => reader.readEntries(...to));
    if (!part.length) break;
    found.push(...part);
  }
  return (await Promise.all(found.map(filesIn))).flat();
}

/** Connects the buttons and the page itself as a place to drop files. */
export function startUpload() {
  for (const kind of ["files", "folder"]) {
    const [button, input] = [byId(kind), byId(`${kind}-input`)];
    button.onclick = () => input.click();
    input.onchange = async () => {
      const files = [...input.files];
      input.value = "";
      if (files.length) await sendFiles(button, files);
    };
  }
  const veil = byId("veil");
  let depth = 0;
  const isFiles = (event) => event.dataTransfer?.types.includes("Files") && state.phrase;
  const cover = (isOn) => {
    depth = isOn ? depth : 0;
    veil.hidden = !isOn;
  };
  addEventListener("dragenter", (event) => {
    if (!isFiles(event)) return;
    depth += 1;
    cover(true);
  });
  addEventListener("dragleave", () => {
    depth -= 1;
    if (depth <= 0) cover(false);
  });
  addEventListener("dragover", (event) => event.preventDefault());
  addEventListener("drop", async (event) => {
    event.preventDefault();
    cover(false);
    if (!isFiles(event)) return;
    const { id } = state;
    const files = filesOf(event.dataTransfer);
    goTo("record", { focus: byId("files") });
    await sendFiles(byId("files"), await files, id);
  });
}
