// Tests of the built package: WAKELING_NPM is its folder, WAKELING_MODELS one with model files and damaged ones.
import assert from "node:assert/strict";
import { readFile, readdir } from "node:fs/promises";
import test from "node:test";
import { pathToFileURL } from "node:url";

const folder = process.env.WAKELING_NPM;
const models = process.env.WAKELING_MODELS;
const wakeling = await import(pathToFileURL(`${folder}/index.js`));
const { Model, ModelError } = wakeling;
const { Engine } = await import(pathToFileURL(`${folder}/engine.js`));
const loud = await readFile(`${models}/loud.wkl`);

/** One second of silence, then one of a sawtooth. */
const sound = Int16Array.from({ length: 32000 }, (_, n) => (n < 16000 ? 0 : (n % 40) * 400 - 8000));

test("a model detects in samples of either kind and in any blocks", async () => {
  const model = await Model.load(loud);
  assert.deepEqual(model.labels, ["loud"]);
  assert.equal(model.name, "example");
  assert.equal(model.stepsPerSecond, 25);
  const floats = Float32Array.from(sound, (sample) => sample / 32768);
  for (const samples of [sound, floats]) {
    for (const block of [1, 128, 1601, 32000]) {
      const detector = await model.detector();
      const found = [];
      for (let start = 0; start < samples.length; start += block) {
        found.push(...detector.push(samples.subarray(start, start + block)));
      }
      assert.equal(found.length, 1);
      assert.equal(found[0].label, "loud");
      assert.equal(found[0].endSamples, 18240);
      assert.equal(found[0].time, 1.14);
      assert.ok(found[0].level >= 50 && found[0].score >= 0.5);
    }
  }
});

test("sound of 48 kHz gives the detection at the same time", async () => {
  const at48 = Float32Array.from({ length: 96000 }, (_, n) => sound[Math.floor(n / 3)] / 32768);
  const detector = await (await Model.load(loud)).detector({ sampleRate: 48000 });
  const [first] = detector.push(at48);
  assert.ok(Math.abs(first.time - 1.14) <= 0.08, `${first.time}`);
});

test("a reset gives the same scores again, and detectors are independent", async () => {
  const model = await Model.load(loud);
  const [one, other] = [await model.detector(), await model.detector()];
  const scores = (detector) => { const all = []; detector.push(sound, (step) => all.push(step)); return all; };
  const first = scores(one);
  assert.notDeepEqual(scores(one).map((step) => step.scores), first.map((step) => step.scores));
  one.reset();
  assert.deepEqual(scores(one), first);
  assert.deepEqual(scores(other), first);
});

test("thresholds follow sensitivity and choice, and survive a reset", async () => {
  const detector = await (await Model.load(loud)).detector();
  assert.ok(Math.abs(detector.thresholds[0] - 0.5) < 1e-4);
  detector.sensitivity = "strict";
  const [strict] = detector.thresholds;
  detector.sensitivity = "eager";
  const [eager] = detector.thresholds;
  assert.ok(strict > 0.7 && eager < 0.3);
  detector.setThreshold(0.999999, "loud");
  assert.equal(detector.sensitivity, "chosen");
  detector.reset();
  assert.equal(detector.push(sound).length, 0);
  detector.setThreshold(0.5);
  detector.reset();
  assert.equal(detector.push(sound).length, 1);
  for (const score of [0, 1, -1, NaN, undefined, "x"]) assert.throws(() => detector.setThreshold(score), RangeError);
  assert.throws(() => detector.setThreshold(0.5, "quiet"), /no keyword "quiet"; there are: loud/);
  assert.throws(() => { detector.sensitivity = "loud"; }, RangeError);
});

test("samples beyond the range saturate, and no number counts as silence", async () => {
  const model = await Model.load(loud);
  const levels = async (samples) => {
    const all = [];
    (await model.detector()).push(samples, (step) => all.push(step.scores));
    return all;
  };
  const wave = (high, low) => Int16Array.from({ length: 8000 }, (_, n) => (n % 8 < 4 ? high : low));
  const floats = (high, low) => Float32Array.from({ length: 8000 }, (_, n) => (n % 8 < 4 ? high : low));
  const full = await levels(wave(32767, -32768));
  assert.deepEqual(await levels(floats(1, -1)), full);
  assert.deepEqual(await levels(floats(1e30, -Infinity)), full);
  assert.deepEqual(await levels(floats(NaN, NaN)), await levels(wave(0, 0)));
  for (const samples of [[1, 2], new Float64Array(9), undefined, new Uint8Array(9)]) {
    const detector = await model.detector();
    assert.throws(() => detector.push(samples), TypeError);
  }
});

test("the caller's bytes are copied", async () => {
  const bytes = new Uint8Array(loud);
  const model = await Model.load(bytes);
  bytes.fill(0);
  assert.equal((await model.detector()).push(sound).length, 1);
  // A view into a larger buffer.
  const padded = new Uint8Array(loud.length + 7);
  padded.set(loud, 5);
  assert.deepEqual((await Model.load(padded.subarray(5, 5 + loud.length))).labels, ["loud"]);
});

test("damaged models give an error with a code, and never a trap", async () => {
  const names = (await readdir(`${models}/damaged`)).sort();
  assert.ok(names.length > 500, `${names.length} files`);
  const codes = new Map();
  let accepted = 0;
  for (const name of names) {
    const bytes = await readFile(`${models}/damaged/${name}`);
    try {
      const detector = await (await Model.load(bytes)).detector();
      if (!name.endsWith(".slow")) detector.push(sound.subarray(14400, 17600));
      accepted += 1;
    } catch (error) {
      assert.ok(error instanceof ModelError, `${name}: ${error.stack}`);
      assert.ok(error.message.length > 3 && !["none", "no-file"].includes(error.code), `${name}: ${error.code}`);
      codes.set(error.code, 1 + (codes.get(error.code) ?? 0));
    }
  }
  console.log(`${names.length} damaged files: ${accepted} valid, ${JSON.stringify(Object.fromEntries(codes))}`);
  for (const code of ["truncated", "magic", "version", "flags", "kind", "lengths", "checksum", "description", "arrays", "shape"]) {
    assert.ok(codes.has(code), `no file was rejected as ${code}`);
  }
  await assert.rejects(Model.load(new Uint8Array(0)), { name: "ModelError", code: "truncated" });
  for (const wrong of ["hey.wkl", undefined, null, 7, {}]) await assert.rejects(Model.load(wrong), TypeError);
});

test("both modules import nothing and give the same scores", async () => {
  const found = [];
  for (const name of ["simd", "plain"]) {
    const { default: text } = await import(pathToFileURL(`${folder}/wasm-${name}.js`));
    const module = new WebAssembly.Module(Buffer.from(text, "base64"));
    assert.deepEqual(WebAssembly.Module.imports(module), []);
    for (const file of (await readdir(models)).filter((file) => file.endsWith(".wkl")).sort()) {
      const engine = new Engine(new WebAssembly.Instance(module, {}).exports, await readFile(`${models}/${file}`));
      const before = engine.memoryBytes;
      const steps = [];
      engine.push(sound, (step) => steps.push(step));
      assert.equal(engine.memoryBytes, before, "the memory grew");
      found.push([name, file, JSON.stringify(steps)]);
    }
  }
  const half = found.length / 2;
  assert.ok(half >= 5);
  for (let i = 0; i < half; i++) assert.equal(found[i][2], found[half + i][2], found[i][1]);
});

test("a second model, or a call without one, is refused by the module", async () => {
  const { default: text } = await import(pathToFileURL(`${folder}/wasm-plain.js`));
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(Buffer.from(text, "base64")), {});
  assert.equal(exports.load(), 2);
  assert.equal(exports.push(1600), 0);
  exports.reset();
  exports.set_threshold(99, 1);
  new Engine(exports, loud);
  assert.equal(exports.reserve(10), 0);
  assert.equal(exports.load(), 2);
  assert.ok(exports.push(4294967295) >= 0);
  assert.equal(exports.reserve(4294967295), 0);
  const { exports: empty } = new WebAssembly.Instance(new WebAssembly.Module(Buffer.from(text, "base64")), {});
  assert.equal(empty.reserve(4294967295), 0);
});
