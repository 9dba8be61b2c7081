// Runs the Pico: `node main.mjs COMMAND SCENARIO.json`, with one JSON result on standard output. tests/tests/pico.rs
// calls it; README.md describes commands and results.

import fs from 'node:fs';
import net from 'node:net';
import { FLASH_BYTES, FlashChip, PAGE_BYTES, SECTOR_BYTES } from './flash.mjs';
import { Machine } from './machine.mjs';
import { Random } from './random.mjs';
import { writeUf2 } from './uf2.mjs';

const NEWLINE = 10;
/** Time in which a board that starts again prints its first lines. */
const RESTART_SECONDS = 0.1;

/** Reads a file of raw 16-bit samples. */
function readPcm(path) {
  const bytes = fs.readFileSync(path);
  return new Int16Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + (bytes.length & ~1)));
}

/** Returns a chip that held anything before, with a UF2 file written to it. */
function flashed(path) {
  const random = new Random(7);
  const bytes = Uint8Array.from({ length: FLASH_BYTES }, () => random.next() >>> 24);
  writeUf2(fs.readFileSync(path), new FlashChip(bytes));
  return bytes;
}

/** Collects what the Pico sends as lines, each with its moment and the samples missing until then. */
class Terminal {
  constructor() {
    this.lines = [];
    this.bytes = [];
  }

  take(byte, { seconds, microphone }) {
    if (byte !== NEWLINE) return void this.bytes.push(byte);
    const text = Buffer.from(this.bytes).toString('latin1');
    this.lines.push({ at: seconds, missing: microphone.missing, text });
    this.bytes = [];
  }

  has(start) {
    return this.lines.some((line) => line.text.startsWith(start));
  }
}

/** Counters of a machine at a moment. */
function counters(machine) {
  const { cycles, sleeping, missCycles, instructions } = machine;
  return { cycles, sleeping, missCycles, instructions, misses: machine.cache.misses };
}

function difference(to, from) {
  return Object.fromEntries(Object.keys(to).map((key) => [key, to[key] - from[key]]));
}

/** Runs a machine until `isOver`. Returns the reason why it stopped before, if it did. */
function runs(machine, isOver) {
  try {
    machine.run(isOver);
    return machine.isReset ? 'the watchdog reset the chip' : null;
  } catch (error) {
    return error.message;
  }
}

/**
 * Boots a UF2 file and lets it listen to a sound. The load is counted from `loadFrom` seconds to the end of the sound.
 * `stopClockAt` stops the microphone's clocks at that moment. If the watchdog resets the chip, it starts again, and
 * `restarted` has the lines of that start.
 */
function listen({ uf2, pcm, seconds, loadFrom = 0, stopClockAt = Infinity }) {
  const terminal = new Terminal();
  const flash = flashed(uf2);
  const sound = readPcm(pcm);
  const machine = new Machine({
    flash,
    pcm: sound,
    line: { take: (byte) => terminal.take(byte, machine) },
  });
  let from;
  const problem = runs(machine, () => {
    if (!from && machine.seconds >= loadFrom) from = counters(machine);
    if (machine.seconds >= stopClockAt) machine.mcu.pio[0].machines[0].enabled = false;
    return machine.seconds >= seconds;
  });
  return {
    problem,
    seconds: machine.seconds,
    hertz: machine.mcu.clkSys,
    lines: terminal.lines,
    edges: machine.edges,
    microphone: machine.microphone.measured(),
    load: from ? difference(counters(machine), from) : null,
    restarted: machine.isReset ? wakeOnce(flash, sound, RESTART_SECONDS).lines : null,
    warnings: [...machine.warnings],
  };
}

/**
 * Boots a UF2 file and connects its UART to a TCP port, until the peer hangs up. Writes the flash before, and every
 * operation on it, to files for `wake`. A sector is erased in `eraseSeconds`.
 */
async function serve({ uf2, pcm, before, operations, eraseSeconds }) {
  const flash = flashed(uf2);
  fs.writeFileSync(before, flash);
  const log = [];
  const terminal = new Terminal();
  const incoming = [];
  let socket;
  const machine = new Machine({
    flash,
    pcm: readPcm(pcm),
    line: {
      take: (byte) => {
        terminal.take(byte, machine);
        outgoing.push(byte);
      },
      give: () => incoming.shift(),
    },
    onOperation: ({ kind, offset, bytes }) => {
      log.push({ kind, offset, at: machine.seconds, bytes: bytes && Buffer.from(bytes).toString('base64') });
    },
  });
  machine.flash.eraseSeconds = eraseSeconds;
  let outgoing = [];
  let isOver = false;
  const server = net.createServer((peer) => {
    socket = peer;
    socket.setNoDelay(true);
    socket.on('data', (bytes) => incoming.push(...bytes));
    socket.on('error', () => { isOver = true; });
    socket.on('end', () => { isOver = true; });
  });
  await new Promise((listening) => server.listen(0, '127.0.0.1', listening));
  process.stdout.write(`${JSON.stringify({ port: server.address().port })}\n`);
  let problem = null;
  while (!isOver && !problem) {
    const until = machine.seconds + 2e-3;
    problem = runs(machine, () => machine.seconds >= until);
    if (outgoing.length && socket) {
      socket.write(Uint8Array.from(outgoing));
      outgoing = [];
    }
    // Lets the sockets have their turn.
    await new Promise((next) => setImmediate(next));
  }
  // A line that was begun when the peer hung up.
  const end = machine.seconds + 0.2;
  problem ??= runs(machine, () => machine.seconds >= end);
  socket?.destroy();
  server.close();
  fs.writeFileSync(operations, JSON.stringify(log));
  return {
    problem,
    lines: terminal.lines,
    operations: log.length,
    lostBytes: machine.uart.overruns,
  };
}

/** Carries an operation out, or a part of it as power fails: any of the bits that change may have changed. */
function carryOut(flash, { kind, offset, bytes }, torn) {
  const length = kind === 'erase' ? SECTOR_BYTES : PAGE_BYTES;
  const data = kind === 'erase' ? undefined : Buffer.from(bytes, 'base64');
  // Up to a random place all is done, and behind it a random share of the bits.
  const done = torn ? torn.below(length) : length;
  const share = torn ? torn.below(3) : 0;
  for (let i = 0; i < length; i++) {
    const old = flash[offset + i];
    const next = data ? old & data[i] : 0xff;
    const mask = i < done ? 0xff : share === 0 ? 0 : torn.next() >>> (share === 1 ? 24 : 0) & 0xff;
    flash[offset + i] = (old & ~mask) | (next & mask);
  }
}

/**
 * Cuts the power at moments of an update and starts again from what the flash holds: for each of `cuts`, the
 * operations before `operation` are done, and that one in part if there is a seed `torn`. With a number `again`,
 * power fails once more in that operation of the start, if it has as many.
 */
function wake({ before, operations, cuts, pcm, seconds }) {
  const start = fs.readFileSync(before);
  const log = JSON.parse(fs.readFileSync(operations));
  const sound = readPcm(pcm);
  return cuts.map(({ operation, torn, again }) => {
    const flash = new Uint8Array(start);
    log.slice(0, operation).forEach((each) => carryOut(flash, each));
    const random = torn === null ? undefined : new Random(torn);
    if (random && operation < log.length) carryOut(flash, log[operation], random);
    let second = false;
    if (again !== null) {
      const failure = { random: random ?? new Random(operation), left: again };
      second = wakeOnce(flash, sound, seconds, failure).problem === CUT;
    }
    return { ...wakeOnce(flash, sound, seconds), second };
  });
}

const CUT = 'power failed';

/** Starts from a flash; with a `failure`, only to an operation in whose middle power fails. */
function wakeOnce(flash, pcm, seconds, failure) {
  const terminal = new Terminal();
  const machine = new Machine({
    flash,
    pcm,
    line: { take: (byte) => terminal.take(byte, machine) },
    onOperation: ({ kind, offset, bytes }) => {
      if (!failure || failure.left-- > 0) return;
      carryOut(flash, { kind, offset, bytes: bytes && Buffer.from(bytes).toString('base64') }, failure.random);
      throw new Error(CUT);
    },
  });
  const problem = runs(machine, () => machine.seconds >= seconds || (failure && terminal.has('started')));
  return { problem, lines: terminal.lines, edges: machine.edges };
}

const COMMANDS = { listen, serve, wake };

const [, , command, scenario] = process.argv;
const result = await COMMANDS[command](JSON.parse(fs.readFileSync(scenario)));
process.stdout.write(`${JSON.stringify(result)}\n`);
