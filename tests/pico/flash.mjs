// The flash of the Pico, as its program sees it: a serial flash chip of 2 MiB (W25Q16JV), the controller that
// reads it in place (SSI, RP2040 datasheet 4.10), the cache before it (2.6.3), and the functions of the boot ROM
// that erase and program it (2.8.3). rp2040js models the flash as memory that is always there; here reads fail
// while the controller is not in a mode for them, as on the chip.

import { crc32 } from './uf2.mjs';

export const FLASH_BYTES = 2 * 1024 * 1024;
export const SECTOR_BYTES = 4096;
export const PAGE_BYTES = 256;

// Times of the W25Q16JV (data sheet, AC characteristics), typical, in seconds.
const ERASE_SECTOR_S = 45e-3;
const PROGRAM_PAGE_S = 0.4e-3;

/** Content of the chip, and a record of every operation on it. */
export class FlashChip {
  constructor(bytes) {
    this.bytes = bytes;
    this.eraseSeconds = ERASE_SECTOR_S;
    /** Called with `{ kind, offset, bytes }` before an operation; `bytes` is what is programmed. */
    this.onOperation = () => {};
  }

  erase(offset, length) {
    if (offset % SECTOR_BYTES || length % SECTOR_BYTES || offset + length > FLASH_BYTES) {
      throw new Error(`erases ${length} bytes at ${offset}, which are no sectors of the flash chip`);
    }
    for (let sector = offset; sector < offset + length; sector += SECTOR_BYTES) {
      this.onOperation({ kind: 'erase', offset: sector });
      this.bytes.fill(0xff, sector, sector + SECTOR_BYTES);
    }
    return (length / SECTOR_BYTES) * this.eraseSeconds;
  }

  program(offset, data) {
    if (offset % PAGE_BYTES || data.length % PAGE_BYTES || offset + data.length > FLASH_BYTES) {
      throw new Error(`programs ${data.length} bytes at ${offset}, which are no pages of the flash chip`);
    }
    for (let page = 0; page < data.length; page += PAGE_BYTES) {
      const bytes = data.slice(page, page + PAGE_BYTES);
      this.onOperation({ kind: 'program', offset: offset + page, bytes });
      // Programming only clears bits.
      for (let i = 0; i < PAGE_BYTES; i++) this.bytes[offset + page + i] &= bytes[i];
    }
    return (data.length / PAGE_BYTES) * PROGRAM_PAGE_S;
  }
}

// Registers of the SSI, and bits of them.
const CTRLR0 = 0x00;
const CTRLR1 = 0x04;
const SSIENR = 0x08;
const SER = 0x10;
const BAUDR = 0x14;
const SR = 0x28;
const DR0 = 0x60;
const RX_SAMPLE_DLY = 0xf0;
const SPI_CTRLR0 = 0xf4;
const SR_TFNF = 1 << 1;
const SR_TFE = 1 << 2;
const SR_RFNE = 1 << 3;

// Commands of the chip.
const WRITE_STATUS = 0x01;
const READ_STATUS = 0x05;
const WRITE_ENABLE = 0x06;
const READ_STATUS_2 = 0x35;
const READ_QUAD = 0xeb;
/** Mode byte after which the chip takes an address without a command (data sheet, "Fast Read Quad I/O"). */
const CONTINUOUS = 0xa0;
const QUAD_ENABLE = 0x02;

/** Controller of the flash: passes commands to the chip, or reads it in place. */
export class FlashController {
  constructor() {
    this.registers = new Map([[CTRLR0, 0], [CTRLR1, 0], [SSIENR, 0], [SER, 0], [BAUDR, 0],
      [RX_SAMPLE_DLY, 0], [SPI_CTRLR0, 0]]);
    this.status2 = 0;
    this.isWritable = false;
    this.isContinuous = false;
    /** Bytes of the command under way, and what the chip has answered. */
    this.command = [];
    this.received = [];
  }

  /** Returns whether the processor can read the flash, which it does for every instruction in it. */
  get isMapped() {
    const control = this.registers.get(CTRLR0);
    const spi = this.registers.get(SPI_CTRLR0);
    const isQuad = ((control >>> 21) & 3) === 2 && ((control >>> 8) & 3) === 3 && ((control >>> 16) & 31) === 31;
    // 24 bits of address and 8 of mode, four clocks of delay, no command, address and data on four wires.
    const isRead = ((spi >>> 2) & 15) === 8 && ((spi >>> 11) & 31) === 4 && ((spi >>> 8) & 3) === 0 &&
      (spi & 3) === 2 && spi >>> 24 === CONTINUOUS;
    return this.registers.get(SSIENR) === 1 && isQuad && isRead && this.isContinuous &&
      (this.status2 & QUAD_ENABLE) !== 0;
  }

  /** Cycles of the processor that a line of the cache takes: address, mode and delay, and 8 bytes of 2 clocks. */
  get lineCycles() {
    return (8 + 4 + 16) * this.registers.get(BAUDR);
  }

  /** Leaves the mode in which the flash is read in place: what the ROM does before it sends commands. */
  exitXip() {
    this.isContinuous = false;
    this.registers.set(SSIENR, 0);
    this.command = [];
    this.received = [];
  }

  readUint32(offset) {
    if (offset === SR) {
      // Whoever waits for the end of a transfer has ended it: the chip is deselected.
      this.command = [];
      return SR_TFE | SR_TFNF | (this.received.length ? SR_RFNE : 0);
    }
    if (offset === DR0) return this.received.shift() ?? 0;
    if (this.registers.has(offset)) return this.registers.get(offset);
    throw new Error(`reads register ${offset.toString(16)} of the SSI, which is not modelled`);
  }

  writeUint32(offset, value) {
    if (offset === DR0) this.transfer(value);
    else if (this.registers.has(offset)) this.registers.set(offset, value >>> 0);
    else throw new Error(`writes register ${offset.toString(16)} of the SSI, which is not modelled`);
  }

  /** Transfers a frame, by which the chip may do something. */
  transfer(value) {
    this.command.push(value & 0xff);
    const [command, ...rest] = this.command;
    let answer = 0;
    if (command === WRITE_ENABLE) this.isWritable = true;
    else if (command === READ_STATUS_2 && rest.length) answer = this.status2;
    else if (command === READ_STATUS && rest.length) answer = 0;
    else if (command === WRITE_STATUS && rest.length === 2 && this.isWritable) {
      this.status2 = rest[1];
      this.isWritable = false;
    } else if (command === READ_QUAD && rest.length) {
      // With a read command the SSI sends an address and the mode as one frame; its low byte is the mode.
      this.isContinuous = (value & 0xff) === CONTINUOUS;
    }
    this.received.push(answer);
  }
}

const LINE_BYTES = 8;
const SETS = 16 * 1024 / LINE_BYTES / 2;

/** Cache of the flash: 16 KiB, two ways, lines of 8 bytes (2.6.3.2). The older line of a set is replaced. */
export class Cache {
  constructor() {
    this.recent = new Int32Array(SETS);
    this.older = new Int32Array(SETS);
    this.misses = 0;
    this.flush();
  }

  flush() {
    this.recent.fill(-1);
    this.older.fill(-1);
    this.isStale = false;
  }

  /** Returns whether a byte of the flash was there; it is afterwards. */
  has(offset) {
    const line = offset >>> 3;
    const set = line & (SETS - 1);
    if (this.recent[set] === line) return true;
    const isHit = this.older[set] === line;
    this.older[set] = this.recent[set];
    this.recent[set] = line;
    if (!isHit) this.misses++;
    return isHit;
  }
}

// Addresses in the ROM. Its code is not Raspberry Pi's: each function is a breakpoint that calls a function here.
const LOOKUP_AT = 0x40;
const RESET_AT = 0x42;
const FUNCTIONS_AT = 0x44;
const TABLE_AT = 0x100;
const BOOT_STAGE_2 = 0x20041f00;
const BOOT_STAGE_2_BYTES = 256;
const STACK_TOP = BOOT_STAGE_2;

/** Fills the boot ROM of `machine` with what its program calls (2.8.3), and the way it starts (2.8.1). */
export function installRom(machine) {
  const { mcu, flash, controller, cache } = machine;
  const { core } = mcu;
  const [r0, r1, r2] = [0, 1, 2];
  const argument = (register) => core.registers[register] >>> 0;
  let isConnected = false;
  const inCommands = (name) => {
    if (!isConnected || controller.isMapped) throw new Error(`calls ${name} before flash_exit_xip`);
  };
  const functions = {
    IF: () => { isConnected = true; },
    EX: () => {
      if (!isConnected) throw new Error('calls flash_exit_xip before connect_internal_flash');
      controller.exitXip();
    },
    RE: () => {
      inCommands('flash_range_erase');
      cache.isStale = true;
      machine.elapse(flash.erase(argument(r0), argument(r1)));
    },
    RP: () => {
      inCommands('flash_range_program');
      cache.isStale = true;
      const data = Uint8Array.from({ length: argument(r2) }, (_, i) => mcu.readUint8(argument(r1) + i));
      machine.elapse(flash.program(argument(r0), data));
    },
    FC: () => { cache.flush(); },
    C4: () => {
      for (let i = 0; i < argument(r2); i += 4) {
        core.writeUint32(argument(r0) + i, core.readUint32(argument(r1) + i));
      }
      machine.stall += argument(r2);
    },
  };
  const rom = new DataView(mcu.bootrom.buffer);
  const breakpoint = (address, number) => rom.setUint16(address, 0xbe00 | number, true);
  rom.setUint32(0, STACK_TOP, true);
  rom.setUint32(4, RESET_AT | 1, true);
  // "Mu", 1, and the version of the ROM (2.8.3.1).
  rom.setUint32(0x10, 0x0201754d, true);
  rom.setUint16(0x14, TABLE_AT, true);
  rom.setUint16(0x18, LOOKUP_AT | 1, true);
  breakpoint(LOOKUP_AT, 0);
  breakpoint(RESET_AT, 1);
  const codes = Object.keys(functions);
  const addresses = new Map(codes.map((code, i) => [code, FUNCTIONS_AT + 2 * i]));
  codes.forEach((code, i) => breakpoint(addresses.get(code), 2 + i));

  const lookUp = () => {
    const tag = argument(r1);
    const code = String.fromCharCode(tag & 0xff, tag >>> 8);
    const address = addresses.get(code);
    if (address === undefined) throw new Error(`needs the function ${code} of the ROM, which is not modelled`);
    core.registers[r0] = address | 1;
  };
  const start = () => {
    const stage2 = flash.bytes.slice(0, BOOT_STAGE_2_BYTES);
    const expected = new DataView(stage2.buffer).getUint32(BOOT_STAGE_2_BYTES - 4, true);
    if (crc32(stage2.subarray(0, -4)) !== expected) throw new Error('the second stage of the boot has a wrong checksum');
    mcu.sram.set(stage2, BOOT_STAGE_2 - 0x20000000);
    // Zero means: start the program, and do not return.
    core.LR = 0;
    core.PC = BOOT_STAGE_2;
  };
  mcu.onBreak = (number) => {
    if (core.PC >= mcu.bootrom.length * 4) throw new Error(`breakpoint ${number} at ${core.PC.toString(16)}`);
    if (number === 1) return start();
    if (number === 0) lookUp();
    else functions[codes[number - 2]]();
    core.PC = core.LR & ~1;
  };
}
