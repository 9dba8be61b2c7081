/** Wakeling in the browser and in Node: models, detectors, and the microphone. */

/** Sample rate that models expect: 16,000 Hz. */
export const SAMPLE_RATE: 16000;

/** Named threshold of a model, from its table of false accepts. */
export type Sensitivity = "strict" | "normal" | "eager";

/** Bytes of a model file. They are copied. */
export type ModelBytes = ArrayBuffer | ArrayBufferView;

/** Reason for which a model file is rejected. */
export type ModelErrorCode =
  | "memory"
  | "no-file"
  | "truncated"
  | "magic"
  | "version"
  | "flags"
  | "kind"
  | "alignment"
  | "lengths"
  | "checksum"
  | "description"
  | "trailing"
  | "arrays"
  | "shape";

/** Error of a model file that is damaged, of another version, or no model at all. */
export class ModelError extends Error {
  private constructor();
  readonly name: "ModelError";
  readonly code: ModelErrorCode;
}

/** Keyword that was detected. */
export interface Detection {
  readonly label: string;
  /** Index of the keyword in `model.labels`. */
  readonly keyword: number;
  /** Samples (16 kHz) from the start of the sound to the decision. */
  readonly endSamples: number;
  /** The same in seconds. */
  readonly time: number;
  /** Smoothed score, 0 to 1. */
  readonly score: number;
  /** Score on a scale of 0 to 100 with the threshold at 50. */
  readonly level: number;
}

/** Result of a step, by keyword. */
export interface Step {
  /** Samples (16 kHz) from the start of the sound to the end of the step. */
  readonly endSamples: number;
  /** The same in seconds. */
  readonly time: number;
  /** False where the gate of the model was closed, so that the network did not run. */
  readonly listened: boolean;
  /** Smoothed scores, 0 to 1. */
  readonly scores: readonly number[];
  /** Scores on a scale of 0 to 100 with the threshold at 50. */
  readonly levels: readonly number[];
  /** Indexes of the keywords that were detected. */
  readonly detected: readonly number[];
}

/** A model file that was checked. */
export class Model {
  private constructor();
  /** Checks the bytes of a `.wkl` file. Rejects with `ModelError`. */
  static load(bytes: ModelBytes): Promise<Model>;
  /** Fetches a model file and checks it. */
  static fetch(url: string | URL, options?: RequestInit): Promise<Model>;
  /** Labels of the keywords. */
  readonly labels: readonly string[];
  readonly name: string;
  /** Name of the pretrained model that it was fine-tuned from. */
  readonly pretrained: string;
  /** Origin of the model and of its data. */
  readonly provenance: string;
  readonly licence: string;
  /** Results per second of sound. */
  readonly stepsPerSecond: number;
  /** Bytes of memory of a detector, the model file included. */
  readonly memoryBytes: number;
  /** Creates a detector in its initial state, for sound of a sample rate (16,000 Hz). */
  detector(options?: { sensitivity?: Sensitivity; sampleRate?: number }): Promise<Detector>;
}

/** Detector of the keywords of one model in one stream of sound. */
export class Detector {
  private constructor();
  readonly model: Model;
  /** Reads as "chosen" after `setThreshold`. */
  get sensitivity(): Sensitivity | "chosen";
  set sensitivity(name: Sensitivity);
  /** Scores from which on each keyword is detected. */
  readonly thresholds: readonly number[];
  /** Sets the score, above 0 and below 1, from which on a keyword (the first) is detected. */
  setThreshold(score: number, label?: string): void;
  /**
   * Processes samples in blocks of any length, and returns the detections in them. `Float32Array`s hold −1 to 1.
   * The result does not depend on the division into blocks.
   */
  push(samples: Float32Array | Int16Array, onStep?: (step: Step) => void): Detection[];
  /** Returns to the initial state, as after a start; thresholds stay. */
  reset(): void;
}

/** Converts sound of another sample rate to 16 kHz, block by block. */
export class Resampler {
  /** @param rate Usual rate from 8,000 to 384,000 Hz. Others throw `RangeError`. */
  constructor(rate: number);
  /** Returns the samples that a block completes. The array is valid until the next call. */
  push(samples: Float32Array): Float32Array;
}

export interface ListenOptions {
  /** A model, the address of a model file, or its bytes. */
  model: Model | string | URL | ModelBytes;
  onDetection?: (detection: Detection) => void;
  /** Called 6 to 100 times a second, by the model, with all scores. */
  onStep?: (step: Step) => void;
  /** Called once the microphone is released. */
  onEnd?: (reason: "stopped" | "unplugged" | "failed") => void;
  sensitivity?: Sensitivity;
  /** Sound to use instead of the microphone. Its tracks are then left running at the end. */
  stream?: MediaStream;
  /** Ends the detection when aborted. */
  signal?: AbortSignal;
  /** Address of the package's `engine.js`, where a bundler does not find it. */
  workletUrl?: string | URL;
}

/** A microphone with a detector. */
export interface Listener {
  readonly model: Model;
  /** Sample rate of the browser's sound in Hz, before it is converted; undefined after the end. */
  readonly sampleRate: number | undefined;
  get sensitivity(): Sensitivity | "chosen";
  set sensitivity(name: Sensitivity);
  setThreshold(score: number, label?: string): void;
  reset(): void;
  /** Releases the microphone. */
  stop(): Promise<void>;
}

/**
 * Detects keywords in the microphone, in an audio worklet. Call it from a click: browsers start no sound before.
 * Rejects with `ModelError`, or with the browser's `DOMException` if there is no microphone or no permission.
 */
export function listen(options: ListenOptions): Promise<Listener>;
