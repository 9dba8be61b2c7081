// Compares the interpreter of cpu.mjs with the package's on random instructions, one at a time, from the same
// registers and memory.

import { Machine } from './machine.mjs';
import { FLASH_BYTES } from './flash.mjs';
import { Random } from './random.mjs';

const CODE = 0x20000400;
const RAM = 0x20000000;
const RAM_BYTES = 2048;
const [SP, PC] = [13, 15];

/** Returns whether the flags of an instruction are right in the package too. */
function packageSetsFlags(opcode, registers, carry) {
  const operand = registers[(opcode >>> 3) & 7];
  switch (opcode >>> 6) {
    // Adds with carry: the package adds the carry to an operand first, which may wrap.
    case 0x105: return !carry || ![0x7fffffff, 0xffffffff].includes(registers[opcode & 7]);
    case 0x106: return carry || ![0x7fffffff, 0xffffffff].includes(operand);
    // Shifts by more than 32, and rotations by none.
    case 0x102: case 0x103: case 0x104: return (operand & 0xff) <= 32 && (operand & 0xff) > 0;
    case 0x107: return (operand & 0xff) > 0;
    default: return true;
  }
}

/** Returns the state of a core. */
function state(core, sram) {
  const { N, Z, C, V } = core;
  return {
    registers: [...core.registers].join(' '),
    flags: [N, Z, C, V].map(Number).join(''),
    ram: Buffer.from(sram.subarray(0, RAM_BYTES)).toString('latin1'),
  };
}

/** Runs `count` instructions in both; returns the number that the fast one took itself. */
export function check(count, seed) {
  const machine = new Machine({ flash: new Uint8Array(FLASH_BYTES) });
  const { core, sram } = machine.mcu;
  const random = new Random(seed);
  const interesting = [0, 1, 2, 31, 32, 33, 0x7fffffff, 0x80000000, 0xffffffff];
  let fast = 0;
  const whole = core.executeInstruction.bind(core);
  for (let i = 0; i < count; i++) {
    let opcode = random.below(0x10000);
    // Wide instructions, breakpoints, undefined ones and hints are the package's in any case, but for `bl`.
    const isBranchLink = random.below(64) === 0;
    if (isBranchLink) opcode = 0xf000 | random.below(0x800);
    else if (opcode >>> 11 > 0b11100 || opcode >>> 8 === 0xbe || opcode >>> 9 === 0x6f || opcode >>> 8 === 0xbf) continue;
    // Branches to registers have no other encodings; one through the link register the package follows too late.
    if (opcode >>> 8 === 0x47 && (opcode & 7 || ((opcode >>> 3) & 15) >= 14)) continue;
    // A comparison with the program counter is not defined.
    if (opcode >>> 8 === 0x45 && (((opcode >>> 3) & 15) === PC || (opcode & 0x87) === 0x87)) continue;
    const second = 0xd000 | random.below(0x3000) | 0x1000;
    const registers = Array.from({ length: 16 }, () => {
      const kind = random.below(4);
      if (kind === 0) return interesting[random.below(interesting.length)];
      return kind === 1 ? RAM + 4 * random.below(256) : random.next();
    });
    if (opcode >>> 12 > 3) {
      // Addresses lie in RAM and are aligned.
      const isMemory = [0b0101, 0b0110, 0b0111, 0b1000, 0b1100].includes(opcode >>> 12);
      if (isMemory) {
        registers[(opcode >>> 3) & 7] = RAM + 0x600 + 4 * random.below(16);
        registers[(opcode >>> 6) & 7] = opcode >>> 12 === 5 ? 4 * random.below(16) : registers[(opcode >>> 6) & 7];
        if (opcode >>> 12 === 5 && ((opcode >>> 3) & 7) === ((opcode >>> 6) & 7)) continue;
        // A store of the base register itself stores nothing defined.
        if (opcode >>> 11 === 0b11000 && opcode & (1 << ((opcode >>> 8) & 7))) continue;
        if (opcode >>> 12 === 12) registers[(opcode >>> 8) & 7] = RAM + 0x600 + 4 * random.below(16);
      }
    }
    registers[SP] = RAM + 0x700;
    registers[PC] = CODE;
    const [n, z, c, v] = [0, 0, 0, 0].map(() => random.below(2) === 1);
    const memory = Uint8Array.from({ length: RAM_BYTES }, () => random.below(256));
    new DataView(memory.buffer).setUint16(CODE - RAM, opcode, true);
    new DataView(memory.buffer).setUint16(CODE - RAM + 2, second, true);
    const run = (execute) => {
      core.registers.set(registers);
      [core.N, core.Z, core.C, core.V] = [n, z, c, v];
      sram.set(memory);
      machine.stall = 0;
      const cycles = execute();
      return { cycles, ...state(core, sram) };
    };
    let isFast = true;
    core.executeInstruction = () => {
      isFast = false;
      return whole();
    };
    const mine = run(() => machine.execute(1));
    core.executeInstruction = whole;
    const theirs = run(whole);
    fast += isFast ? 1 : 0;
    if (!packageSetsFlags(opcode, registers, c)) {
      mine.flags = theirs.flags = '';
      // A carry that the package computes otherwise also changes results of its own.
    }
    // The package counts the link register and the program counter as no register of the list.
    if ([0xb5, 0xbd].includes(opcode >>> 8)) mine.cycles = theirs.cycles = 0;
    const differing = Object.keys(mine).filter((key) => mine[key] !== theirs[key]);
    if (differing.length) {
      throw new Error(`instruction ${opcode.toString(16)} differs in ${differing} from the package's: ` +
        JSON.stringify({ mine, theirs, registers, flags: [n, z, c, v] }, (key, value) => (key === 'ram' ? undefined : value)));
    }
  }
  return fast;
}
