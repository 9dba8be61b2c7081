// Wakeling in the browser and in Node: models, detectors, and the microphone.
import { checkThreshold, Engine, ModelError, presetOf, Resampler, SAMPLE_RATE } from "./engine.js";

export { ModelError, Resampler, SAMPLE_RATE };

let compiled;

/** Compiles the module once: the one with vectors, unless this browser or Node is too old for it. */
function compile() {
  compiled ??= (async () => {
    let bytes = bytesOf(await import("./wasm-simd.js"));
    if (!WebAssembly.validate(bytes)) bytes = bytesOf(await import("./wasm-plain.js"));
    return { bytes, module: await WebAssembly.compile(bytes) };
  })();
  return compiled;
}

function bytesOf({ default: text }) {
  return Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
}

async function instantiate() {
  const { module } = await compile();
  return (await WebAssembly.instantiate(module, {})).exports;
}

/** A model file that was checked. */
export class Model {
  #file;
  #texts;

  constructor(file, engine) {
    this.#file = file;
    const decoder = new TextDecoder();
    const text = (kind, index) => decoder.decode(engine.bytes(kind, index));
    /** Labels of the keywords. */
    this.labels = Object.freeze(Array.from({ length: engine.keywords }, (_, keyword) => text(1, keyword)));
    /** Name of the model. */
    this.name = text(2);
    /** Name of the pretrained model that it was fine-tuned from. */
    this.pretrained = text(3);
    /** Origin of the model and of its data. */
    this.provenance = text(4);
    /** Licence of the model. */
    this.licence = text(5);
    /** Results per second of sound. */
    this.stepsPerSecond = 100 / engine.framesPerStep;
    /** Bytes of memory of a detector, the model file included. */
    this.memoryBytes = engine.memoryBytes;
    Object.freeze(this);
  }

  /** Checks the bytes of a `.wkl` file: an `ArrayBuffer` or a view of one. Rejects with `ModelError`. */
  static async load(bytes) {
    // A copy, since the caller may change the bytes.
    const file = copyOf(bytes);
    return new Model(file, new Engine(await instantiate(), file));
  }

  /** Fetches a model file and checks it. */
  static async fetch(url, options) {
    const answer = await fetch(url, options);
    if (!answer.ok) throw new Error(`${url}: HTTP status ${answer.status}`);
    return Model.load(await answer.arrayBuffer());
  }

  /** Creates a detector in its initial state. */
  async detector({ sensitivity = "normal", sampleRate = SAMPLE_RATE } = {}) {
    return new Detector(this, new Engine(await instantiate(), this.#file), sensitivity, sampleRate);
  }

  /** Options of a worklet's processor. */
  async processorOptions(options) {
    return { ...options, wasm: (await compile()).bytes, file: this.#file };
  }
}

function copyOf(bytes) {
  if (ArrayBuffer.isView(bytes)) return new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength).slice();
  if (bytes instanceof ArrayBuffer) return new Uint8Array(bytes).slice();
  throw new TypeError("a model is given as an ArrayBuffer or a Uint8Array");
}

/** Detector of the keywords of one model in one stream of sound. */
export class Detector {
  #engine;
  #resampler;

  /** Call `model.detector()` instead. */
  constructor(model, engine, sensitivity, sampleRate) {
    /** The model. */
    this.model = model;
    this.#engine = engine;
    this.#engine.sensitivity = sensitivity;
    this.#resampler = sampleRate === SAMPLE_RATE ? undefined : new Resampler(sampleRate);
  }

  /** "strict", "normal", "eager", or "chosen" after `setThreshold`. */
  get sensitivity() { return this.#engine.sensitivity; }
  set sensitivity(name) { this.#engine.sensitivity = name; }

  /** Scores from which on each keyword is detected. */
  get thresholds() { return this.#engine.thresholds; }

  /** Sets the score, above 0 and below 1, from which on a keyword is detected. */
  setThreshold(score, label = this.model.labels[0]) {
    this.#engine.setThreshold(keywordOf(this.model, label), score);
  }

  /** Processes samples, and returns the detections in them. Calls `onStep` with the scores of every step. */
  push(samples, onStep) {
    const detections = [];
    const sound = this.#resampler ? this.#resampler.push(floats(samples)) : samples;
    this.#engine.push(sound, (step) => {
      detections.push(...detectionsOf(this.model, step));
      onStep?.(step);
    });
    return detections;
  }

  /** Returns to the initial state, as after a start; thresholds stay. */
  reset() { this.#engine.reset(); }
}

function keywordOf(model, label) {
  const keyword = model.labels.indexOf(label);
  if (keyword < 0) throw new RangeError(`no keyword "${label}"; there are: ${model.labels.join(", ")}`);
  return keyword;
}

function floats(samples) {
  return samples instanceof Int16Array ? Float32Array.from(samples, (sample) => sample / 32768) : samples;
}

function detectionsOf(model, { detected, endSamples, time, scores, levels }) {
  return detected.map((keyword) => ({
    label: model.labels[keyword], keyword, endSamples, time, score: scores[keyword], level: levels[keyword],
  }));
}

// Devices do not process the sound of their microphone, and models are trained for that.
const AUDIO = { channelCount: 1, echoCancellation: false, noiseSuppression: false, autoGainControl: false };

/**
 * Detects keywords in the microphone, in an audio worklet. Call it from a click: browsers start no sound before.
 * Rejects with the browser's `DOMException` if there is no microphone or no permission.
 */
export async function listen({
  model: given, onDetection, onStep, onEnd, sensitivity = "normal", stream: givenStream, signal,
  workletUrl = new URL("./engine.js", import.meta.url),
}) {
  const model = given instanceof Model ? given
    : typeof given === "string" || given instanceof URL ? await Model.fetch(given, { signal })
    : await Model.load(given);
  signal?.throwIfAborted();
  if (!givenStream && !globalThis.navigator?.mediaDevices) {
    throw new DOMException("no microphone: the page must come from https or from localhost", "SecurityError");
  }
  const stream = givenStream ?? (await navigator.mediaDevices.getUserMedia({ audio: AUDIO }));
  const release = () => { if (!givenStream) stream.getTracks().forEach((track) => track.stop()); };
  let context;
  try {
    let source;
    ({ context, source } = sourceOf(stream));
    await context.audioWorklet.addModule(workletUrl);
    const processorOptions = await model.processorOptions({ sensitivity, wantsSteps: onStep !== undefined });
    const node = new AudioWorkletNode(context, "wakeling", {
      numberOfOutputs: 0, channelCount: 1, channelCountMode: "explicit", processorOptions,
    });
    const listener = new Listener(model, context, node, sensitivity, release);
    await listener.start({ source, stream, onDetection, onStep, onEnd, signal });
    return listener;
  } catch (error) {
    release();
    await context?.close();
    throw error;
  }
}

/** Creates an audio context at 16 kHz, or at the rate of the device where the browser does not convert. */
function sourceOf(stream) {
  let context;
  try {
    context = new AudioContext({ sampleRate: SAMPLE_RATE });
    return { context, source: context.createMediaStreamSource(stream) };
  } catch {
    context?.close();
    context = new AudioContext();
    return { context, source: context.createMediaStreamSource(stream) };
  }
}

/** A microphone with a detector. */
class Listener {
  #context;
  #node;
  #release;
  #sensitivity;
  #onEnd;

  constructor(model, context, node, sensitivity, release) {
    this.model = model;
    this.#context = context;
    this.#node = node;
    this.#sensitivity = sensitivity;
    this.#release = release;
  }

  /** Resolves once the worklet has loaded the model and sound arrives. */
  async start({ source, stream, onDetection, onStep, onEnd, signal }) {
    const port = this.#node.port;
    await new Promise((resolve, reject) => {
      this.#node.onprocessorerror = () => reject(new Error("the audio worklet failed"));
      port.onmessage = ({ data }) => (data.isReady ? resolve() : reject(new ModelError(data.code, data.error)));
    });
    port.onmessage = ({ data: { step } }) => {
      if (!this.#context) return;
      onStep?.(step);
      detectionsOf(this.model, step).forEach((detection) => onDetection?.(detection));
    };
    this.#onEnd = onEnd;
    this.#node.onprocessorerror = () => this.stop("failed");
    stream.getAudioTracks().forEach((track) => track.addEventListener("ended", () => this.stop("unplugged")));
    signal?.addEventListener("abort", () => this.stop());
    source.connect(this.#node);
    await this.#context.resume();
  }

  /** Sample rate of the sound before it is converted, in Hz. */
  get sampleRate() { return this.#context?.sampleRate; }

  get sensitivity() { return this.#sensitivity; }

  set sensitivity(name) {
    presetOf(name);
    this.#sensitivity = name;
    this.#node.port.postMessage({ sensitivity: name });
  }

  /** Sets the score, above 0 and below 1, from which on a keyword is detected. */
  setThreshold(score, label = this.model.labels[0]) {
    const keyword = keywordOf(this.model, label);
    checkThreshold(score);
    this.#sensitivity = "chosen";
    this.#node.port.postMessage({ threshold: { keyword, score } });
  }

  /** Returns to the initial state, as after a start. */
  reset() { this.#node.port.postMessage({ reset: true }); }

  /** Releases the microphone. A second call has no effect. */
  async stop(reason = "stopped") {
    const context = this.#context;
    if (!context) return;
    this.#context = undefined;
    this.#node.port.postMessage({ stop: true });
    this.#release();
    await context.close();
    this.#onEnd?.(reason);
  }
}
