// The lines of `wakeling simulate --json --scores`, made by the package. Runs in Node and in a page.

/** Returns the lines for a recording: samples (`Int16Array` or `Float32Array`) in blocks of `block` samples. */
export async function lines(wakeling, file, samples, { name, block = samples.length, sensitivity = "normal" }) {
  const model = await wakeling.Model.load(file);
  const detector = await model.detector({ sensitivity });
  const thresholds = detector.thresholds;
  let text = "";
  for (let start = 0; start < samples.length; start += block) {
    detector.push(samples.subarray(start, start + block), ({ time, scores, detected }) => {
      const all = scores.map((score, i) => `${JSON.stringify(model.labels[i])}:${rounded(score)}`);
      text += `{"file":${JSON.stringify(name)},"time_s":${number(time)},"scores":{${all}}}\n`;
      for (const i of detected) {
        text += `{"file":${JSON.stringify(name)},"time_s":${number(time)},"word":${JSON.stringify(model.labels[i])}` +
          `,"score":${rounded(scores[i])},"threshold":${rounded(thresholds[i])}}\n`;
      }
    });
  }
  return text;
}

/** Formats a score with four decimals at most, as the program rounds it. */
function rounded(score) {
  return number(Math.round(score * 10000) / 10000);
}

/** Formats a number as the program does: a whole one has a decimal. */
function number(value) {
  return Number.isInteger(value) ? `${value}.0` : `${value}`;
}

/** Measures the CPU seconds per second of sound by `clock`, which returns seconds. */
export async function cost(wakeling, file, seconds, clock) {
  const detector = await (await wakeling.Model.load(file)).detector();
  const block = new Int16Array(1600);
  let seed = 1;
  const run = (count) => {
    for (let i = 0; i < 10 * count; i++) {
      for (let n = 0; n < block.length; n++) {
        seed = (Math.imul(seed, 1664525) + 1013904223) | 0;
        block[n] = seed >> 18;
      }
      detector.push(block);
    }
  };
  // Browsers compile what runs often a second time.
  run(10);
  const start = clock();
  run(seconds);
  return (clock() - start) / seconds;
}
