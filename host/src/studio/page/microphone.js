// The microphone, as blocks of 16-bit samples.
import { text } from "./strings.js";

// The device has no such helpers, so the model must not learn from sound that passed them.
const AUDIO = { channelCount: 1, echoCancellation: false, noiseSuppression: false, autoGainControl: false };

/** Opens the microphone. `onBlock` gets each block, `onEnd` runs when the device is gone. */
export async function openMicrophone(onBlock, onEnd) {
  let stream;
  try {
    if (!navigator.mediaDevices) throw new DOMException("", "SecurityError");
    stream = await navigator.mediaDevices.getUserMedia({ audio: AUDIO });
    const { context, source } = sourceOf(stream);
    await context.audioWorklet.addModule("worklet.js");
    const capture = new AudioWorkletNode(context, "capture", { numberOfOutputs: 0 });
    source.connect(capture);
    capture.port.onmessage = (message) => onBlock(message.data);
    await context.resume();
    for (const track of stream.getAudioTracks()) {
      track.onended = () => {
        context.close();
        onEnd();
      };
    }
    return { rate: context.sampleRate };
  } catch (error) {
    stream?.getTracks().forEach((track) => track.stop());
    throw new Error(refusal(error));
  }
}

function sourceOf(stream) {
  let context;
  try {
    context = new AudioContext({ sampleRate: 16000 });
    return { context, source: context.createMediaStreamSource(stream) };
  } catch {
    // This browser does not convert; the program does.
    context?.close();
    context = new AudioContext();
    return { context, source: context.createMediaStreamSource(stream) };
  }
}

/** Message for a microphone that the browser does not give, with a remedy. */
function refusal({ name, message }) {
  const key = `microphone.${name}`;
  const known = text(key);
  return known === key ? text("microphone", { why: message || name }) : known;
}
