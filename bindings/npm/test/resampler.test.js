import assert from "node:assert/strict";
import test from "node:test";
import { Resampler } from "../engine.js";

const RATES = [8000, 11025, 22050, 24000, 32000, 44100, 48000, 88200, 96000, 192000, 16000];

function sine(rate, hz, seconds) {
  return Float32Array.from({ length: rate * seconds }, (_, n) => Math.sin((2 * Math.PI * hz * n) / rate));
}

/** Returns all samples that a resampler gives for blocks of these lengths in turn. */
function resampled(rate, samples, lengths) {
  const resampler = new Resampler(rate);
  const all = [];
  for (let start = 0, i = 0; start < samples.length; i++) {
    const end = start + lengths[i % lengths.length];
    all.push(...resampler.push(samples.subarray(start, end)));
    start = end;
  }
  return Float32Array.from(all);
}

/** Largest magnitude away from the ends. */
function peak(samples) {
  return samples.subarray(800, samples.length - 800).reduce((most, x) => Math.max(most, Math.abs(x)), 0);
}

test("tones below the edge keep level and time", () => {
  for (const rate of RATES) {
    for (const hz of [125, 1000, 3000, 7400].filter((hz) => hz < 0.46 * rate)) {
      const found = resampled(rate, sine(rate, hz, 1), [480]);
      const expected = sine(16000, hz, 1);
      assert.ok(found.length > 15000 && found.length <= 16000, `${rate}: ${found.length}`);
      const error = peak(found.map((x, n) => x - expected[n]));
      assert.ok(error < 1e-3, `${rate} Hz, ${hz} Hz: error ${error}`);
    }
  }
});

test("tones above the edge are 80 dB down", () => {
  for (const rate of [24000, 32000, 44100, 48000, 96000, 192000]) {
    for (const hz of [8500, 9000, 11000, 15900, 23000, 40000].filter((hz) => hz < rate / 2)) {
      const level = 20 * Math.log10(peak(resampled(rate, sine(rate, hz, 1), [480])));
      assert.ok(level < -78, `${rate} Hz, ${hz} Hz: ${level} dB`);
    }
  }
});

test("blocks do not change the result", () => {
  const sound = Float32Array.from({ length: 20000 }, (_, n) => Math.sin(n * n * 1e-4));
  for (const rate of RATES) {
    const whole = resampled(rate, sound, [sound.length]);
    assert.deepEqual(resampled(rate, sound, [128]), whole);
    assert.deepEqual(resampled(rate, sound, [1, 7, 0, 4096, 13]), whole);
  }
});

test("rejects rates that have no filter", () => {
  for (const rate of [0, 7999, 44101, 48000.5, NaN, Infinity, 384001, "48000", undefined]) {
    assert.throws(() => new Resampler(rate), RangeError, `${rate}`);
  }
  assert.throws(() => new Resampler(48000).push(new Int16Array(3)), TypeError);
});
