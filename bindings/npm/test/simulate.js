// node simulate.js PACKAGE MODEL PCM NAME [block=N] [float] [sensitivity=NAME]: prints the lines of
// `wakeling simulate --json --scores` for raw 16-bit samples. `node simulate.js PACKAGE MODEL cost` prints the CPU
// seconds per second of sound instead.
import { readFile } from "node:fs/promises";
import { pathToFileURL } from "node:url";
import { cost, lines } from "./lines.js";

const [folder, model, pcm, name, ...options] = process.argv.slice(2);
const wakeling = await import(pathToFileURL(`${folder}/index.js`));
const file = await readFile(model);
if (pcm === "cost") {
  const clock = () => { const { user, system } = process.cpuUsage(); return (user + system) / 1e6; };
  console.log((await cost(wakeling, file, 60, clock)).toFixed(6));
} else {
  const { buffer } = new Uint8Array(await readFile(pcm));
  let samples = new Int16Array(buffer);
  if (options.includes("float")) samples = Float32Array.from(samples, (sample) => sample / 32768);
  const value = (key) => options.find((option) => option.startsWith(`${key}=`))?.slice(key.length + 1);
  const block = value("block") && Number(value("block"));
  process.stdout.write(await lines(wakeling, file, samples, { name, block, sensitivity: value("sensitivity") }));
}
