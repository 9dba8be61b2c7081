// The microphone, as blocks of 16-bit samples, and the choice among several.
import { byId, h, remember, remembered, replaceIfChanged } from "./dom.js";
import { isKnown, text } from "./strings.js";

// The device has no such processing, so the model must not be trained on processed sound.
const AUDIO = { channelCount: 1, echoCancellation: false, noiseSuppression: false, autoGainControl: false };

/**
 * Opens the chosen microphone. Calls `onBlock` with each block of 0.1 s, and `onEnd` when the device is gone.
 * @returns {Promise<{ rate: number, close: () => void }>}
 */
export async function openMicrophone(onBlock, onEnd) {
  let stream;
  try {
    if (!navigator.mediaDevices) throw new DOMException("", "SecurityError");
    stream = await chosenStream();
    const { context, source } = sourceOf(stream);
    await context.audioWorklet.addModule("worklet.js");
    const capture = new AudioWorkletNode(context, "capture", { numberOfOutputs: 0 });
    source.connect(capture);
    capture.port.onmessage = (message) => onBlock(message.data);
    await context.resume();
    const close = () => {
      capture.port.onmessage = null;
      stream.getTracks().forEach((track) => track.stop());
      context.close();
    };
    for (const track of stream.getAudioTracks()) {
      track.onended = () => {
        close();
        onEnd();
      };
    }
    listMicrophones();
    return { rate: context.sampleRate, close };
  } catch (error) {
    stream?.getTracks().forEach((track) => track.stop());
    throw new Error(refusal(error));
  }
}

async function chosenStream() {
  const open = (audio) => navigator.mediaDevices.getUserMedia({ audio });
  const deviceId = remembered("microphone");
  if (!deviceId) return open(AUDIO);
  try {
    return await open({ ...AUDIO, deviceId: { exact: deviceId } });
  } catch (error) {
    // The remembered microphone is not plugged in today.
    if (error.name !== "OverconstrainedError" && error.name !== "NotFoundError") throw error;
    return open(AUDIO);
  }
}

function sourceOf(stream) {
  let context;
  try {
    context = new AudioContext({ sampleRate: 16000 });
    return { context, source: context.createMediaStreamSource(stream) };
  } catch {
    // Browsers that cannot convert the sample rate leave it to the program.
    context?.close();
    context = new AudioContext();
    return { context, source: context.createMediaStreamSource(stream) };
  }
}

/** Returns the message, with a remedy, for a microphone that the browser does not provide. */
function refusal({ name, message }) {
  const key = `microphone.${name}`;
  return isKnown(key) ? text(key) : text("microphone", { why: message || name });
}

/** Lists the microphones. Browsers name them only after the first use. */
export async function listMicrophones() {
  const all = (await navigator.mediaDevices?.enumerateDevices?.().catch(() => [])) ?? [];
  const devices = all.filter(({ kind, deviceId, label }) => kind === "audioinput" && label && deviceId !== "default");
  const names = devices.map(({ deviceId, label }) => [deviceId, label]);
  const select = byId("microphone");
  replaceIfChanged(select, names, () => {
    const options = names.map(([id, label]) => h("option", { value: id }, label));
    return [h("option", { value: "" }, text("microphoneDefault")), ...options];
  });
  const chosen = remembered("microphone") ?? "";
  select.value = names.some(([id]) => id === chosen) ? chosen : "";
}

/** Returns whether the page may use the microphone without a question. */
export async function isAllowed() {
  try {
    return (await navigator.permissions.query({ name: "microphone" })).state === "granted";
  } catch {
    return false;
  }
}

/** Calls `onChange` when another microphone is chosen. */
export function onChoice(onChange) {
  byId("microphone").onchange = ({ target }) => {
    remember("microphone", target.value || null);
    onChange();
  };
  navigator.mediaDevices?.addEventListener?.("devicechange", listMicrophones);
}
