// Interpreter of the Cortex-M0+ for the core of rp2040js, on its registers and flags. The package compares each
// instruction with up to eighty patterns; this one looks its first byte up, and is five times as fast. What is
// rare (system instructions, breakpoints, sleep) the package still executes. It also sets the overflow flag of
// `adcs` and `sbcs` right, which the package does not when the second operand and the carry together wrap;
// `check.mjs` compares the two on random instructions.
//
// Cycles are those of the Cortex-M0+ technical reference, 3.3, with RP2040's multiplier of one cycle and its
// port of one cycle for the SIO (2.3.1); peripherals take the package's wait states.

const [SP, LR, PC] = [13, 14, 15];

/** Returns `run(core, budget)`, which executes until the budget of cycles is used, the core sleeps, or `machine`
 * notes an access to a peripheral, and returns the number of cycles. */
export function interpreter(machine) {
  const { core } = machine.mcu;
  // Signed, so that no value needs more than a small integer of the JavaScript engine.
  const r = new Int32Array(core.registers.buffer);

  const result = (value) => {
    const word = value | 0;
    core.N = word < 0;
    core.Z = word === 0;
    return word;
  };
  const add = (a, b, carry) => {
    const sum = (a | 0) + (b | 0) + carry;
    const word = sum | 0;
    core.N = word < 0;
    core.Z = word === 0;
    core.C = (a >>> 0) + (b >>> 0) + carry > 0xffffffff;
    core.V = ((a ^ word) & (b ^ word)) < 0;
    return word;
  };
  const subtract = (a, b) => add(a, ~b, 1);

  const shiftLeft = (value, count) => {
    if (count === 0) return result(value);
    core.C = count <= 32 && ((value >>> (32 - count)) & 1) === 1;
    return result(count < 32 ? value << count : 0);
  };
  const shiftRight = (value, count) => {
    if (count === 0) return result(value);
    core.C = count <= 32 && ((value >>> (count - 1)) & 1) === 1;
    return result(count < 32 ? value >>> count : 0);
  };
  const shiftArithmetic = (value, count) => {
    if (count === 0) return result(value);
    core.C = ((value >> Math.min(count - 1, 31)) & 1) === 1;
    return result(value >> Math.min(count, 31));
  };
  const rotate = (value, count) => {
    if (count === 0) return result(value);
    const by = count & 31;
    const word = by ? (value >>> by) | (value << (32 - by)) : value;
    core.C = word < 0 || (word >>> 31) === 1;
    return result(word);
  };

  /** Data processing on low registers, `010000 op Rm Rdn`. */
  const process = (opcode) => {
    const m = (opcode >>> 3) & 7;
    const d = opcode & 7;
    switch ((opcode >>> 6) & 15) {
      case 0: r[d] = result(r[d] & r[m]); break;
      case 1: r[d] = result(r[d] ^ r[m]); break;
      case 2: r[d] = shiftLeft(r[d] | 0, r[m] & 0xff); break;
      case 3: r[d] = shiftRight(r[d] | 0, r[m] & 0xff); break;
      case 4: r[d] = shiftArithmetic(r[d] | 0, r[m] & 0xff); break;
      case 5: r[d] = add(r[d], r[m], core.C ? 1 : 0); break;
      case 6: r[d] = add(r[d], ~r[m], core.C ? 1 : 0); break;
      case 7: r[d] = rotate(r[d] | 0, r[m] & 0xff); break;
      case 8: result(r[d] & r[m]); break;
      case 9: r[d] = subtract(0, r[m]); break;
      case 10: subtract(r[d], r[m]); break;
      case 11: add(r[d], r[m], 0); break;
      case 12: r[d] = result(r[d] | r[m]); break;
      case 13: r[d] = result(Math.imul(r[d], r[m])); break;
      case 14: r[d] = result(r[d] & ~r[m]); break;
      default: r[d] = result(~r[m]);
    }
  };

  const holds = (condition) => {
    switch (condition) {
      case 0: return core.Z;
      case 1: return !core.Z;
      case 2: return core.C;
      case 3: return !core.C;
      case 4: return core.N;
      case 5: return !core.N;
      case 6: return core.V;
      case 7: return !core.V;
      case 8: return core.C && !core.Z;
      case 9: return !core.C || core.Z;
      case 10: return core.N === core.V;
      case 11: return core.N !== core.V;
      case 12: return core.N === core.V && !core.Z;
      default: return core.N !== core.V || core.Z;
    }
  };

  /** Wait states of an access, besides the instruction's own cycle. */
  const wait = (address, isWrite) => {
    const segment = address >>> 28;
    if (segment === 0xd) return 0;
    return segment === 4 ? (isWrite ? 4 : 3) : 1;
  };

  const load = (kind, address) => {
    switch (kind) {
      case 0: return core.readUint32(address);
      case 1: return core.readUint16(address);
      case 2: return core.readUint8(address);
      case 3: return (core.readUint8(address) << 24) >> 24;
      default: return (core.readUint16(address) << 16) >> 16;
    }
  };
  const store = (kind, address, value) => {
    if (kind === 0) core.writeUint32(address, value);
    else if (kind === 1) core.writeUint16(address, value);
    else core.writeUint8(address, value);
  };

  const loadMany = (opcode) => {
    const n = (opcode >>> 8) & 7;
    let address = r[n];
    let cycles = 1;
    for (let i = 0; i < 8; i++) {
      if (!(opcode & (1 << i))) continue;
      r[i] = core.readUint32(address);
      address += 4;
      cycles++;
    }
    if (!(opcode & (1 << n))) r[n] = address;
    return cycles;
  };
  const storeMany = (opcode) => {
    const n = (opcode >>> 8) & 7;
    let address = r[n];
    let cycles = 1;
    for (let i = 0; i < 8; i++) {
      if (!(opcode & (1 << i))) continue;
      core.writeUint32(address, r[i]);
      address += 4;
      cycles++;
    }
    r[n] = address;
    return cycles;
  };
  const push = (opcode) => {
    let count = 0;
    for (let i = 0; i < 9; i++) count += (opcode >>> i) & 1;
    let address = r[SP] - 4 * count;
    r[SP] = address;
    for (let i = 0; i < 9; i++) {
      if (!(opcode & (1 << i))) continue;
      core.writeUint32(address, r[i === 8 ? LR : i]);
      address += 4;
    }
    return 1 + count;
  };
  const pop = (opcode) => {
    let address = r[SP];
    let cycles = 1;
    for (let i = 0; i < 8; i++) {
      if (!(opcode & (1 << i))) continue;
      r[i] = core.readUint32(address);
      address += 4;
      cycles++;
    }
    if (!(opcode & 0x100)) {
      r[SP] = address;
      return cycles;
    }
    r[SP] = address + 4;
    core.BXWritePC(core.readUint32(address));
    return cycles + 3;
  };

  /** Executes one instruction and returns its cycles, or 0 if the package shall execute it. */
  const step = (opcode, at) => {
    const d = opcode & 7;
    const n = (opcode >>> 3) & 7;
    const m = (opcode >>> 6) & 7;
    const five = (opcode >>> 6) & 31;
    const byte = opcode & 0xff;
    const high = (opcode >>> 8) & 7;
    let address;
    r[PC] = at + 2;
    switch (opcode >>> 11) {
      case 0b00000: r[d] = shiftLeft(r[n] | 0, five); return 1;
      case 0b00001: r[d] = shiftRight(r[n] | 0, five || 32); return 1;
      case 0b00010: r[d] = shiftArithmetic(r[n] | 0, five || 32); return 1;
      case 0b00011:
        switch ((opcode >>> 9) & 3) {
          case 0: r[d] = add(r[n], r[m], 0); return 1;
          case 1: r[d] = subtract(r[n], r[m]); return 1;
          case 2: r[d] = add(r[n], m, 0); return 1;
          default: r[d] = subtract(r[n], m); return 1;
        }
      case 0b00100: r[high] = result(byte); return 1;
      case 0b00101: subtract(r[high], byte); return 1;
      case 0b00110: r[high] = add(r[high], byte, 0); return 1;
      case 0b00111: r[high] = subtract(r[high], byte); return 1;
      case 0b01000: {
        if (!(opcode & 0x400)) {
          process(opcode);
          return 1;
        }
        const to = ((opcode >>> 4) & 8) | d;
        const from = (opcode >>> 3) & 15;
        const value = from === PC ? at + 4 : r[from];
        switch ((opcode >>> 8) & 3) {
          case 0:
            if (to === PC) {
              r[PC] = (at + 4 + value) & ~1;
              return 2;
            }
            r[to] = to === SP ? (r[SP] + value) & ~3 : r[to] + value;
            return 1;
          case 1: subtract(r[to], value); return 1;
          case 2:
            if (to === PC) {
              r[PC] = value & ~1;
              return 2;
            }
            r[to] = to === SP ? value & ~3 : value;
            return 1;
          default:
            if (opcode & 0x80) {
              r[LR] = (at + 2) | 1;
              r[PC] = value & ~1;
            } else {
              core.BXWritePC(value);
            }
            return 2;
        }
      }
      case 0b01001:
        r[high] = core.readUint32(((at + 4) & ~3) + 4 * byte);
        return 2;
      case 0b01010:
      case 0b01011:
        address = (r[n] + r[m]) >>> 0;
        switch ((opcode >>> 9) & 7) {
          case 0: store(0, address, r[d]); return 1 + wait(address, true);
          case 1: store(1, address, r[d]); return 1 + wait(address, true);
          case 2: store(2, address, r[d]); return 1 + wait(address, true);
          case 3: r[d] = load(3, address); return 1 + wait(address, false);
          case 4: r[d] = load(0, address); return 1 + wait(address, false);
          case 5: r[d] = load(1, address); return 1 + wait(address, false);
          case 6: r[d] = load(2, address); return 1 + wait(address, false);
          default: r[d] = load(4, address); return 1 + wait(address, false);
        }
      case 0b01100: address = r[n] + 4 * five; core.writeUint32(address, r[d]); return 1 + wait(address, true);
      case 0b01101: address = r[n] + 4 * five; r[d] = core.readUint32(address); return 1 + wait(address, false);
      case 0b01110: address = r[n] + five; core.writeUint8(address, r[d]); return 1 + wait(address, true);
      case 0b01111: address = r[n] + five; r[d] = core.readUint8(address); return 1 + wait(address, false);
      case 0b10000: address = r[n] + 2 * five; core.writeUint16(address, r[d]); return 1 + wait(address, true);
      case 0b10001: address = r[n] + 2 * five; r[d] = core.readUint16(address); return 1 + wait(address, false);
      case 0b10010: core.writeUint32(r[SP] + 4 * byte, r[high]); return 2;
      case 0b10011: r[high] = core.readUint32(r[SP] + 4 * byte); return 2;
      case 0b10100: r[high] = ((at + 4) & ~3) + 4 * byte; return 1;
      case 0b10101: r[high] = r[SP] + 4 * byte; return 1;
      case 0b10110:
        switch ((opcode >>> 6) & 31) {
          case 0: case 1: r[SP] += 4 * (opcode & 0x7f); return 1;
          case 2: case 3: r[SP] -= 4 * (opcode & 0x7f); return 1;
          case 8: r[d] = (r[n] << 16) >> 16; return 1;
          case 9: r[d] = (r[n] << 24) >> 24; return 1;
          case 10: r[d] = r[n] & 0xffff; return 1;
          case 11: r[d] = r[n] & 0xff; return 1;
          case 16: case 17: case 18: case 19: case 20: case 21: case 22: case 23: return push(opcode & 0x1ff);
          default: return 0;
        }
      case 0b10111:
        return (opcode & 0x600) === 0x400 ? pop(opcode) : 0;
      case 0b11000: return storeMany(opcode);
      case 0b11001: return loadMany(opcode);
      case 0b11010:
      case 0b11011: {
        const condition = (opcode >>> 8) & 15;
        if (condition > 13) return 0;
        if (!holds(condition)) return 1;
        r[PC] = at + 4 + ((byte << 24) >> 23);
        return 2;
      }
      case 0b11100: r[PC] = at + 4 + ((opcode << 21) >> 20); return 2;
      case 0b11110: {
        const second = core.readUint16(at + 2);
        if (second >>> 14 !== 3 || !(second & 0x1000)) return 0;
        const sign = (opcode << 21) >> 31;
        const one = ~((second >>> 13) ^ sign) & 1;
        const two = ~((second >>> 11) ^ sign) & 1;
        const offset = (sign << 24) | (one << 23) | (two << 22) | ((opcode & 0x3ff) << 12) | ((second & 0x7ff) << 1);
        r[LR] = (at + 4) | 1;
        r[PC] = at + 4 + offset;
        return 3;
      }
      default: return 0;
    }
  };

  return (budget) => {
    let cycles = 0;
    machine.isTouched = false;
    while (cycles < budget && !core.waiting) {
      if (core.interruptsUpdated && core.checkForInterrupts()) core.waiting = false;
      machine.stall = 0;
      const at = r[PC] & ~1;
      const opcode = core.readUint16(at);
      let taken = step(opcode, at);
      if (taken === 0) {
        r[PC] = at;
        taken = core.executeInstruction();
      }
      machine.instructions++;
      cycles += taken + machine.stall;
      if (machine.isTouched) break;
    }
    return cycles;
  };
}
