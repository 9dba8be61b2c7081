// The kept takes as small cards, the last one first: wave, verdict, label; to play and to remove.
import { guarded } from "./actions.js";
import { askJson } from "./api.js";
import { waveImage } from "./charts.js";
import { byId, h, icon, replaceIfChanged } from "./dom.js";
import { badgeOf } from "./recorder.js";
import { change, onState, state } from "./state.js";
import { isKnown, number, text } from "./strings.js";
import { playRecording } from "./tone.js";
import { faultText } from "./verdict.js";

/** Images of takes by file and length; a file is never changed after it was kept. */
const images = new Map();

/** Returns the image and the sound of a take, from the program or from before. */
function imageOf({ name, seconds }) {
  const key = `${state.phrase}/${name}/${seconds}`;
  if (!images.has(key)) {
    const loaded = askJson("GET", `/api/take?name=${encodeURIComponent(name)}`);
    loaded.catch(() => images.delete(key));
    images.set(key, loaded);
  }
  return images.get(key);
}

/** Loads the waves of cards that come into view. */
const observer = new IntersectionObserver(
  (entries) => {
    for (const { isIntersecting, target } of entries) {
      if (!isIntersecting) continue;
      observer.unobserve(target);
      const show = ({ wave }) => target.replaceChildren(waveImage(wave, 60));
      // Without an image, the card still plays and removes.
      imageOf(target.take).then(show, () => {});
    }
  },
  { rootMargin: "200px" },
);

/** Returns the label of a take in words: how it was said, or where it is from. */
export function labelOf({ style, origin }) {
  if (origin === "file") return text("label.file");
  if (origin === "live") return text("label.live");
  return isKnown(`label.${style}`) ? text(`label.${style}`) : style || text("label.plain");
}

function takeCard(take, i) {
  const { name, seconds, speaker, fault, fault_kind, warning } = take;
  const verdict = take.verdict ?? (fault ? "unusable" : warning ? "noisy" : "good");
  const wave = Object.assign(h("div", { class: "thumb" }), { take });
  if (!fault) observer.observe(wave);
  const play = h("button", {
    id: `play-${name}`,
    class: "button quiet round",
    "aria-label": text("playLabel", { number: i + 1 }),
  });
  const showPlaying = (isPlaying) => play.replaceChildren(icon(isPlaying ? "stop" : "play"));
  showPlaying(false);
  play.onclick = guarded(play, async () => playRecording((await imageOf(take)).sound, showPlaying), { retry: false });
  const remove = h(
    "button",
    { id: `remove-${name}`, class: "button quiet round", "aria-label": text("removeLabel", { number: i + 1 }) },
    icon("remove"),
  );
  remove.onclick = guarded(remove, () => removeTake(name), { retry: false });
  // The speaker of this session need not be named.
  const label = [labelOf(take), speaker !== state.speaker && speaker].filter(Boolean).join(" · ");
  const badge = h("span", { class: `badge ${badgeOf(verdict)}` }, icon(badgeOf(verdict)), text(`verdict.${verdict}`));
  const remark = fault ? text("takeFault", { fault: faultText(fault_kind, fault) }) : "";
  return h(
    "li",
    { "data-row": true, class: fault ? "unused" : null },
    h("div", { class: "row between" }, h("b", { class: "number" }, `${i + 1}`), badge),
    wave,
    h("div", {}, h("p", { class: "label" }, label), remark && h("p", { class: "remark" }, remark)),
    h(
      "div",
      { class: "row between" },
      play,
      h("span", { class: "soft number" }, text("seconds", { count: number(seconds, 1) })),
      remove,
    ),
  );
}

async function removeTake(name) {
  const cards = byId("takes").children;
  const i = [...cards].findIndex((card) => card.contains(document.activeElement));
  await change(`/api/remove?take=${encodeURIComponent(name)}`);
  (cards[Math.min(Math.max(i, 0), cards.length - 1)]?.querySelector("[id^=remove]") ?? byId("take")).focus();
}

/** Connects the list of takes. */
export function startTakes() {
  const undo = byId("undo-take");
  undo.onclick = guarded(
    undo,
    async () => {
      const { name } = state.takes.at(-1);
      await change(`/api/remove?take=${encodeURIComponent(name)}`);
      (undo.disabled ? byId("take") : undo).focus();
    },
    { retry: false },
  );
  onState(({ takes, phrase }) => {
    byId("takes-empty").hidden = takes.length > 0;
    undo.disabled = takes.length === 0;
    replaceIfChanged(byId("takes"), [phrase, takes], () => takes.map(takeCard).reverse());
  });
}
