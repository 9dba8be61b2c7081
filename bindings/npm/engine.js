// An instance of the module with one model, the resampler, and the audio worklet that runs both.
//
// This file imports nothing: a worklet is loaded as one file, whatever a bundler does with the rest.

/** Sample rate that models expect, in Hz. */
export const SAMPLE_RATE = 16000;

/** Codes of `ModelError` by the number that the module returns. */
const CODES = [
  "none", "memory", "no-file", "truncated", "magic", "version", "flags", "kind", "alignment", "lengths", "checksum",
  "description", "trailing", "arrays", "shape",
];
const PRESETS = ["strict", "normal", "eager"];
/** Offsets in a record of the module, and its number of keywords. */
const RECORD = { endSamples: 0, fired: 8, listened: 12, smoothed: 16 };

/** Error of a model file that is damaged, of another version, or no model at all. */
export class ModelError extends Error {
  constructor(code, message) {
    super(message);
    this.name = "ModelError";
    this.code = code;
  }
}

/** One model with its state. Allocates memory once, in the constructor. */
export class Engine {
  #module;
  #samples;
  #records;
  #recordBytes;
  #keywords;
  #thresholds = [];
  #sensitivity = "normal";

  /** Loads a model file (`Uint8Array`) into a new instance of the module (its exports). */
  constructor(module, file) {
    this.#module = module;
    const address = file.length === 0 ? 0 : module.reserve(file.length);
    if (file.length === 0) throw new ModelError("truncated", "the model file is empty");
    if (address === 0) throw new ModelError("memory", `no memory for a model file of ${file.length} bytes`);
    new Uint8Array(module.memory.buffer, address, file.length).set(file);
    const code = CODES[module.load()] ?? "shape";
    if (code === "memory") throw new ModelError(code, "no memory for the working area of this model");
    if (code !== "none") throw new ModelError(code, asciiOf(this.bytes(0)) || code);
    // The memory does not grow any more, so its buffer stays.
    const { buffer } = module.memory;
    this.#samples = new Int16Array(buffer, module.samples(), module.most_samples());
    this.#records = new DataView(buffer, module.records());
    this.#recordBytes = module.record_bytes();
    this.#keywords = module.keywords();
    this.sensitivity = "normal";
  }

  /** Number of keywords. */
  get keywords() { return this.#keywords; }
  /** Frames of 10 ms in a step. */
  get framesPerStep() { return this.#module.frames_per_step(); }
  /** Bytes of memory of the instance, the model file included. */
  get memoryBytes() { return this.#module.memory.buffer.byteLength; }

  /** Returns a text of the model as UTF-8: 1 label of a keyword, 2 name, 3 pretrained, 4 provenance, 5 licence. */
  bytes(kind, index = 0) {
    const address = this.#module.text_address(kind, index);
    return new Uint8Array(this.#module.memory.buffer, address, this.#module.text_length(kind, index)).slice();
  }

  /** Name of the sensitivity in force: "strict", "normal", "eager", or "chosen" after `setThreshold`. */
  get sensitivity() { return this.#sensitivity; }

  set sensitivity(name) {
    const preset = presetOf(name);
    for (let keyword = 0; keyword < this.#keywords; keyword++) {
      this.#setLogit(keyword, this.#module.threshold(keyword, preset));
    }
    this.#sensitivity = name;
  }

  /** Scores (0 to 1) from which on each keyword is detected. */
  get thresholds() { return this.#thresholds.map((logit) => this.scoreOf(logit)); }

  /** Sets the score, above 0 and below 1, from which on the keyword with this index is detected. */
  setThreshold(keyword, score) {
    if (!Number.isInteger(keyword) || keyword < 0 || keyword >= this.#keywords) {
      throw new RangeError(`no keyword ${keyword}; there are ${this.#keywords}`);
    }
    checkThreshold(score);
    const logit = Math.round(256 * Math.log(score / (1 - score)));
    this.#setLogit(keyword, Math.max(-32768, Math.min(32767, logit)));
    this.#sensitivity = "chosen";
  }

  #setLogit(keyword, logit) {
    this.#thresholds[keyword] = logit;
    this.#module.set_threshold(keyword, logit);
  }

  /** Returns to the initial state, as after a start; thresholds stay. */
  reset() { this.#module.reset(); }

  /** Returns the score (0 to 1) of a smoothed logit in Q8. */
  scoreOf(logit) { return this.#module.score(logit) / 65536; }

  /**
   * Processes samples, 16 kHz mono, in blocks of any length: an `Int16Array`, or a `Float32Array` of −1 to 1, which
   * is rounded. Calls `onStep` after each step that they complete.
   */
  push(samples, onStep) {
    const isFloat = samples instanceof Float32Array;
    if (!isFloat && !(samples instanceof Int16Array)) {
      throw new TypeError("samples must be an Int16Array or a Float32Array");
    }
    const block = this.#samples;
    for (let start = 0; start < samples.length; start += block.length) {
      const count = Math.min(block.length, samples.length - start);
      if (isFloat) {
        for (let i = 0; i < count; i++) block[i] = integerOf(samples[start + i]);
      } else {
        block.set(samples.subarray(start, start + count));
      }
      const steps = this.#module.push(count);
      for (let step = 0; step < steps; step++) onStep(this.#step(step * this.#recordBytes));
    }
  }

  /** Reads a record. */
  #step(at) {
    const records = this.#records;
    const endSamples = records.getFloat64(at + RECORD.endSamples, true);
    const fired = records.getUint32(at + RECORD.fired, true);
    const scores = [], levels = [], detected = [];
    for (let keyword = 0; keyword < this.#keywords; keyword++) {
      const logit = records.getInt16(at + RECORD.smoothed + 2 * keyword, true);
      scores.push(this.scoreOf(logit));
      levels.push(this.#module.level(logit, this.#thresholds[keyword]) / 10);
      if (fired & (1 << keyword)) detected.push(keyword);
    }
    const listened = records.getUint32(at + RECORD.listened, true) !== 0;
    return { endSamples, time: endSamples / SAMPLE_RATE, listened, scores, levels, detected };
  }
}

/** Returns the number of a sensitivity. */
export function presetOf(name) {
  const preset = PRESETS.indexOf(name);
  if (preset < 0) throw new RangeError(`sensitivity must be strict, normal or eager, not ${name}`);
  return preset;
}

export function checkThreshold(score) {
  if (!(score > 0 && score < 1)) throw new RangeError(`a threshold is above 0 and below 1, not ${score}`);
}

/** Rounds a sample of −1 to 1 to 16 bits, ties away from zero; saturates, and takes NaN for 0. */
function integerOf(sample) {
  const value = sample * 32768;
  if (value >= 32767) return 32767;
  if (value <= -32768) return -32768;
  return value < 0 ? -Math.floor(0.5 - value) : Math.floor(value + 0.5);
}

/** Decodes a message of the module, which is ASCII: a worklet has no TextDecoder. */
function asciiOf(bytes) {
  return String.fromCharCode(...bytes);
}

/** Attenuation of the resampler above 8.5 kHz, in dB. */
const ATTENUATION_DB = 80;
/** Edges of its transition band in Hz: models use the sound up to 7.5 kHz, onto which 8.5 kHz would fold. */
const PASS_HZ = 7500, STOP_HZ = 8500;
/** Most filters of a resampler, one per fraction of a sample. */
const MOST_PHASES = 640;

/**
 * Converts sound of another sample rate to 16 kHz, block by block, with a low-pass filter of linear phase (windowed
 * sinc, Kaiser 1974). Flat to 7.5 kHz, or to 47 % of a lower rate; 80 dB down from 8.5 kHz on. The delay of the filter
 * is removed, so the last milliseconds come with the next block.
 */
export class Resampler {
  #step;
  #phases;
  #taps;
  #filters;
  #pending;
  #kept;
  #phase = 0;
  #out = new Float32Array(0);

  /** Creates a resampler for a rate in Hz, such as 44100 or 48000. */
  constructor(rate) {
    const isRate = Number.isInteger(rate) && rate >= 8000 && rate <= 384000;
    const common = isRate ? divisor(rate, SAMPLE_RATE) : 0;
    if (!isRate || SAMPLE_RATE / common > MOST_PHASES) {
      throw new RangeError(`sound of ${rate} Hz cannot be converted; usual rates from 8000 to 384000 can`);
    }
    this.#phases = SAMPLE_RATE / common;
    this.#step = rate / common;
    // A lower rate than 16 kHz ends at half of it.
    const edges = rate < SAMPLE_RATE ? [0.47 * rate, 0.53 * rate] : [PASS_HZ, STOP_HZ];
    const [pass, stop] = edges.map((hz) => hz / rate);
    const half = Math.ceil((ATTENUATION_DB - 7.95) / (2.285 * 2 * Math.PI * (stop - pass)) / 2);
    this.#taps = 2 * half + 1;
    this.#filters = filters(this.#phases, half, pass + stop);
    // The first output is centred on the first sample.
    this.#pending = new Float32Array(4096 + this.#taps);
    this.#kept = half;
  }

  /** Returns the samples at 16 kHz that a block completes. The array is valid until the next call. */
  push(samples) {
    if (!(samples instanceof Float32Array)) throw new TypeError("samples must be a Float32Array");
    const length = this.#kept + samples.length;
    if (this.#pending.length < length) {
      const longer = new Float32Array(2 * length);
      longer.set(this.#pending.subarray(0, this.#kept));
      this.#pending = longer;
    }
    this.#pending.set(samples, this.#kept);
    const most = Math.ceil(((length + 1) * this.#phases) / this.#step) + 1;
    if (this.#out.length < most) this.#out = new Float32Array(most);
    let start = 0, count = 0, phase = this.#phase;
    const pending = this.#pending, filters = this.#filters, taps = this.#taps;
    while (start + taps <= length) {
      const filter = phase * taps;
      let sum = 0;
      for (let i = 0; i < taps; i++) sum += filters[filter + i] * pending[start + i];
      this.#out[count++] = sum;
      phase += this.#step;
      start += Math.floor(phase / this.#phases);
      phase %= this.#phases;
    }
    this.#phase = phase;
    // A filter is longer than a step, so the next output begins before the end.
    pending.copyWithin(0, start, length);
    this.#kept = length - start;
    return this.#out.subarray(0, count);
  }
}

/**
 * Returns the filters of all phases, `(phases, 2 half + 1)`. `cutoff` is twice the frequency of half amplitude as a
 * share of the rate. The sum of each filter is 1.
 */
function filters(phases, half, cutoff) {
  const taps = 2 * half + 1;
  const all = new Float32Array(phases * taps);
  const beta = 0.1102 * (ATTENUATION_DB - 8.7);
  for (let phase = 0; phase < phases; phase++) {
    const filter = Array.from({ length: taps }, (_, i) => {
      const t = i - half - phase / phases;
      const x = t / (half + 1);
      const window = Math.abs(x) < 1 ? bessel(beta * Math.sqrt(1 - x * x)) : 0;
      const angle = Math.PI * cutoff * t;
      return window * (angle === 0 ? 1 : Math.sin(angle) / angle);
    });
    const sum = filter.reduce((a, b) => a + b, 0);
    filter.forEach((value, i) => (all[phase * taps + i] = value / sum));
  }
  return all;
}

/** Modified Bessel function of the first kind, order 0, by its series. */
function bessel(x) {
  let sum = 1, term = 1;
  for (let k = 1; term > 1e-12 * sum; k++) {
    term *= (x / (2 * k)) ** 2;
    sum += term;
  }
  return sum;
}

function divisor(a, b) {
  return b === 0 ? a : divisor(b, a % b);
}

// In an audio worklet this file defines the processor; elsewhere there is no such function.
if (typeof registerProcessor === "function") {
  /** Name of the processor. */
  const NAME = "wakeling";

  registerProcessor(NAME, class extends AudioWorkletProcessor {
    #engine;
    #resampler;
    #wantsSteps;
    #isStopped = false;

    constructor({ processorOptions: { wasm, file, sensitivity, wantsSteps } }) {
      super();
      this.#wantsSteps = wantsSteps;
      try {
        const { exports } = new WebAssembly.Instance(new WebAssembly.Module(wasm), {});
        this.#engine = new Engine(exports, file);
        this.#engine.sensitivity = sensitivity;
        if (sampleRate !== SAMPLE_RATE) this.#resampler = new Resampler(sampleRate);
      } catch (error) {
        this.#isStopped = true;
        this.port.postMessage({ error: error.message, code: error.code });
        return;
      }
      this.port.onmessage = ({ data }) => this.#change(data);
      this.port.postMessage({ isReady: true });
    }

    #change({ sensitivity, threshold, reset, stop }) {
      if (sensitivity !== undefined) this.#engine.sensitivity = sensitivity;
      if (threshold !== undefined) this.#engine.setThreshold(threshold.keyword, threshold.score);
      if (reset) this.#engine.reset();
      if (stop) this.#isStopped = true;
    }

    process([[samples]]) {
      if (this.#isStopped) return false;
      if (samples) {
        this.#engine.push(this.#resampler ? this.#resampler.push(samples) : samples, (step) => {
          if (this.#wantsSteps || step.detected.length > 0) this.port.postMessage({ step });
        });
      }
      return true;
    }
  });
}
