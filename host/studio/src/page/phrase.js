// The phrase: examples, its check, and the way to the first take.
import { guarded } from "./actions.js";
import { byId, h, icon, replaceIfChanged } from "./dom.js";
import { clearProblem } from "./problems.js";
import { finish } from "./sound.js";
import { change, onState, state } from "./state.js";
import { goTo } from "./steps.js";
import { isKnown, language as pageLanguage, number, text } from "./strings.js";

/** Codes of the languages that the select offers; the program knows more, and guesses them. */
const LANGUAGES =
  "ar ca cs da de el en es et eu fa fi fr ga he hi hr hu id is it ja ko lt lv mk ms nb nl pl pt ro ru sk sl sq sr sv sw ta th tr uk vi zh";

const names = new Intl.DisplayNames([pageLanguage], { type: "language" });

/** Returns the name of a language in the language of the page. */
function nameOf(code) {
  try {
    return names.of(code);
  } catch {
    return code;
  }
}

/** Returns the sentence for a finding; one without a text stays as the program wrote it. */
function findingText({ kind, words = [], per_hour = 0, text: written }, count) {
  const key = `finding.${kind}`;
  if (!isKnown(key)) return written[0].toUpperCase() + written.slice(1);
  const list = words.map((word) => text("quoted", { text: word })).join(", ");
  return text(key, { count, words: list, times: number(per_hour, 1) });
}

/** Shows the verdict on the phrase, the findings, and the language of the check. */
function showCheck(check) {
  const { verdict, phrase, language, language_guess, findings, near_words, phones, remedy } = check;
  const kind = { good: "good", poor: "bad", fair: "fair" }[verdict] ?? "";
  const isGuessed = language_guess.confidence !== "given";
  const about = [text(isGuessed ? "check.guessed" : "check.language", { language: nameOf(language) })];
  const near = near_words.slice(0, 3).map((word) => text("quoted", { text: word.text }));
  if (near.length && verdict !== "unknown") about.push(text("check.near", { words: near.join(", ") }));
  if (remedy) about.push(text("check.remedy", { remedy }));
  const list = findings.map((finding) => h("li", {}, findingText(finding, phones)));
  return [
    h(
      "p",
      { class: `verdict ${verdict}` },
      kind && icon(kind),
      text(`check.${verdict}`, { phrase: text("quoted", { text: phrase }) }),
    ),
    list.length > 0 && h("ul", {}, ...list),
    h("p", { class: "soft" }, about.join(" ")),
  ].filter(Boolean);
}

/** Shows the check only for the phrase that it is about. */
function showFitting() {
  const isIt = Boolean(state.check) && byId("phrase").value.trim() === state.phrase;
  byId("check").hidden = !isIt;
  byId("begin").className = `button big${isIt ? "" : " primary"}`;
}

function fillLanguages() {
  const options = LANGUAGES.split(" ").map((code) => [nameOf(code), code]);
  options.sort(([a], [b]) => a.localeCompare(b, pageLanguage));
  const elements = options.map(([name, code]) => h("option", { value: code }, name));
  byId("language").append(h("option", { value: "" }, text("languageGuess")), ...elements);
}

/** Connects the form of the phrase. */
export function startPhrase() {
  const form = byId("phrase-form");
  fillLanguages();
  const examples = text("examples")
    .split(", ")
    .map((phrase) => {
      const choose = () => {
        byId("phrase").value = phrase;
        form.oninput();
        byId("phrase").focus();
      };
      return h("button", { type: "button", class: "chip", onclick: choose }, phrase);
    });
  byId("examples").append(...examples);
  form.onsubmit = guarded(byId("phrase"), async () => {
    const [phrase, speaker, language] = ["phrase", "speaker", "language"].map((id) => byId(id).value.trim());
    if (!phrase) throw new Error(text("noPhrase"));
    finish();
    await change("/api/begin", JSON.stringify({ phrase, speaker, language }));
    byId("phrase").value = state.phrase;
    showFitting();
    goTo("phrase", { focus: byId("start-recording") });
    for (const id of ["start-recording", "check-text"]) byId(id).scrollIntoView({ block: "nearest" });
  });
  form.oninput = () => {
    clearProblem(byId("phrase"));
    showFitting();
  };
  byId("start-recording").onclick = () => goTo("record", { focus: byId("take"), says: text("says.record") });
  onState(({ phrase, speaker, check }, last) => {
    // Text that was typed before the first answer is kept.
    if (phrase !== last.phrase && (phrase || last.phrase)) {
      byId("phrase").value = phrase || "";
      byId("speaker").value = speaker || byId("speaker").value;
      byId("language").value = check?.language_guess.confidence === "given" ? check.language : "";
    }
    if (check) replaceIfChanged(byId("check-text"), check, () => showCheck(check));
    showFitting();
  });
}
