// The microphone, as blocks of 16-bit samples.
import { text } from "./strings.js";

// The device has no such processing, so the model must not be trained on processed sound.
const AUDIO = { channelCount: 1, echoCancellation: false, noiseSuppression: false, autoGainControl: false };

/** Opens the microphone. Calls `onBlock` with each block, and `onEnd` when the device is gone. */
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
    // Browsers that cannot convert the sample rate leave it to the program.
    context?.close();
    context = new AudioContext();
    return { context, source: context.createMediaStreamSource(stream) };
  }
}

/** Returns the message, with a remedy, for a microphone that the browser does not provide. */
function refusal({ name, message }) {
  const key = `microphone.${name}`;
  const known = text(key);
  return known === key ? text("microphone", { why: message || name }) : known;
}
