// Compiles only if the types of the package are right: `tsc --noEmit --strict types.mts`.
import { listen, Model, ModelError, Resampler, type Detection, type Listener, type Step } from "wakeling";

const model: Model = await Model.load(new Uint8Array(3));
const detector = await model.detector({ sensitivity: "eager", sampleRate: 48000 });
const levels: number[] = [];
const found: Detection[] = detector.push(new Int16Array(4), (step: Step) => levels.push(...step.levels));
detector.sensitivity = "strict";
const inForce: "strict" | "normal" | "eager" | "chosen" = detector.sensitivity;
detector.setThreshold(0.5, found[0]?.label);
try {
  await Model.load(new ArrayBuffer(1));
} catch (error) {
  if (error instanceof ModelError) console.log(error.code.toUpperCase(), inForce);
}
const listener: Listener = await listen({ model: "hey.wkl", onDetection: ({ label }) => console.log(label) });
listener.sensitivity = "eager";
await listener.stop();
const sound: Float32Array = new Resampler(48000).push(new Float32Array(1));
detector.push(sound);

// @ts-expect-error no such sensitivity
detector.sensitivity = "loud";
// @ts-expect-error no such samples
detector.push([1, 2]);
// @ts-expect-error made by `load` alone
new Model();
// @ts-expect-error read only
model.labels.push("more");
