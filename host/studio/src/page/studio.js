// The page: shows the state of the program, and sends it the sound of the microphone. Each part of the page is a
// module, which adds itself to those that are shown a new state.
import { attempt, setHeld } from "./actions.js";
import { askJson, token } from "./api.js";
import { startCorrections } from "./corrections.js";
import { startDialogs } from "./dialogs.js";
import { byId, h, remember, setText } from "./dom.js";
import { startLive } from "./live.js";
import { isAllowed, listMicrophones, onChoice } from "./microphone.js";
import { startPhrase } from "./phrase.js";
import { startRecorder } from "./recorder.js";
import { startRoom } from "./room.js";
import { addPurpose, begin, changeMicrophone, isMuted, purposeNow, useMicrophone } from "./sound.js";
import { onState, show, state } from "./state.js";
import { currentStep, startSteps } from "./steps.js";
import { fillTexts, language, languages, text } from "./strings.js";
import { startTakes } from "./takes.js";
import { startTargets } from "./targets.js";
import { startTraining } from "./training.js";
import { startUpload } from "./upload.js";
import { startWords } from "./words.js";

fillTexts();
setHeld(isMuted);
const chooser = byId("page-language");
chooser.append(
  ...Object.entries(languages).map(([code, name]) =>
    h("option", { value: code, lang: code, selected: code === language }, name),
  ),
);
chooser.onchange = () => {
  remember("language", chooser.value);
  location.reload();
};

startSteps();
startPhrase();
startRecorder();
startTakes();
startRoom();
startUpload();
startTraining();
startLive();
startCorrections();
startTargets();
startDialogs();
startWords();

// The level before the first take. It needs the microphone, for which a browser asks only once the user wants it.
const test = byId("microphone-test");
addPurpose("level", { button: test, onAnswer: () => {}, onFinish: () => {}, resume: async () => 0 });
const showLevel = async () => {
  await useMicrophone();
  if (!purposeNow()) begin("level");
};
test.onclick = () =>
  attempt(test, async () => {
    await showLevel();
    byId("take").focus();
  });
onChoice(() => attempt(byId("microphone"), changeMicrophone));
let isAsked = false;
onState(async ({ phrase, version }) => {
  setText(byId("version"), version ? `Wakeling ${version}` : "");
  if (isAsked || !phrase || currentStep() !== "record") return;
  isAsked = true;
  // Without a permission from before, the user presses the button.
  if (await isAllowed()) showLevel().catch(() => {});
});

// The page is shown once its state is known, so that nothing moves after it has appeared.
attempt(byId("intro"), async () => {
  try {
    if (!token) throw new Error(text("noToken"));
    show(await askJson("GET", "/api/state"));
  } finally {
    byId("app").hidden = false;
  }
  listMicrophones();
  if (!state.phrase) byId("phrase").focus({ preventScroll: true });
});
