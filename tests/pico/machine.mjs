// The Pico: an RP2040 of rp2040js, with what a test of whole firmware needs and the package lacks. See README.md.

import { pathToFileURL } from 'node:url';
import { Cache, FLASH_BYTES, FlashChip, FlashController, installRom } from './flash.mjs';
import { Microphone } from './microphone.mjs';
import { Uart } from './uart.mjs';

const FLASH_START = 0x10000000;
/** The flash's address space by its highest six bits, and others by their highest eight. */
const FLASH_SEGMENT = FLASH_START >>> 26;
const XIP_CONTROL_SEGMENT = 0x14;
const SSI_SEGMENT = 0x18;
const RAM_START = 0x20000000;
const SIO_START = 0xd0000000;
const PPB_START = 0xe0000000;
const IRQ_UART0 = 20;
const FUNCTION_UART = 2;
/** Cycles of entry into an exception and of return from it (Cortex-M0+ technical reference, 3.3). */
const EXCEPTION_CYCLES = 15;

const place = process.env.WAKELING_RP2040JS;
if (!place) throw new Error('set WAKELING_RP2040JS to the folder of the package rp2040js');
const { RP2040 } = await import(pathToFileURL(`${place}/dist/esm/index.js`));

export const PINS = { send: 0, receive: 1, clock: 10, select: 11, data: 12, pin: 15, led: 25 };

export class Machine {
  /** `flash` is the content of the chip; `pcm` the sound in the room; `line` the other end of the UART. */
  constructor({ flash, pcm = new Int16Array(), line = {}, onOperation }) {
    const mcu = new RP2040();
    this.mcu = mcu;
    this.cycles = 0;
    this.seconds = 0;
    this.stall = 0;
    this.isTouched = false;
    this.sleeping = 0;
    this.instructions = 0;
    this.missCycles = 0;
    this.isReset = false;
    this.warnings = new Set();
    const note = (name, text) => this.warnings.add(`${name}: ${text}`);
    mcu.logger = { debug() {}, info() {}, warn: note, error: note };
    this.flash = new FlashChip(flash);
    if (onOperation) this.flash.onOperation = onOperation;
    this.controller = new FlashController();
    this.cache = new Cache();
    this.uart = new Uart(mcu, IRQ_UART0, {
      baud: 115_200,
      take: line.take ?? (() => {}),
      give: line.give ?? (() => undefined),
      isWired: () => [PINS.send, PINS.receive].every((pin) => mcu.gpio[pin].functionSelect === FUNCTION_UART),
    });
    this.installPeripherals();
    this.installMemory();
    this.installPio();
    installRom(this);
    this.microphone = new Microphone(this, pcm, PINS);
    this.edges = [];
    for (const name of ['led', 'pin']) {
      const pin = mcu.gpio[PINS[name]];
      let was = false;
      pin.addListener(() => {
        const is = pin.outputEnable && pin.outputValue;
        if (is !== was) this.edges.push({ name, isHigh: is, at: this.seconds });
        was = is;
      });
    }
    mcu.core.reset();
  }

  /** Registers that rp2040js lacks, or models too roughly. */
  installPeripherals() {
    const { mcu, controller, cache, uart } = this;
    const peripheral = (model) => ({
      readUint32: (offset) => model.readUint32(offset),
      writeUint32Atomic: (offset, value, kind) => {
        const old = kind ? model.readUint32(offset) : 0;
        model.writeUint32(offset, [value, old ^ value, old | value, old & ~value][kind]);
      },
    });
    mcu.peripherals[0x18000] = peripheral(controller);
    mcu.peripherals[0x40034] = peripheral(uart);
    // XIP_CTRL: FLUSH, STAT, and a stream that is never used.
    mcu.peripherals[0x14000] = peripheral({
      readUint32: (offset) => (offset === 0x08 ? 3 : 0),
      writeUint32: (offset) => { if (offset === 0x04) cache.flush(); },
    });
    const watchdog = mcu.peripherals[0x40058];
    watchdog.onWatchdogTrigger = () => {
      // rp2040js would arm the alarm again for the same moment, for ever.
      watchdog.alarm.enable = false;
      this.isReset = true;
    };
    // The watchdog counts ticks of the reference clock, which the program divides; rp2040js takes them for granted.
    const write = watchdog.writeUint32.bind(watchdog);
    watchdog.writeUint32 = (offset, value) => {
      write(offset, value);
      // Twice per tick: erratum RP2040-E1.
      if (offset === 0x2c) watchdog.timer.frequency = (2 * mcu.clocks.refFreq) / (value & 0x1ff || Infinity);
    };
  }

  /** Memory as the processor sees it: no unaligned access, flash through the cache while it is mapped. */
  installMemory() {
    const { mcu } = this;
    const { core } = mcu;
    // Little-endian, as the machines that run this.
    const flash8 = this.flash.bytes;
    const [flash16, flash32] = [new Uint16Array(flash8.buffer), new Uint32Array(flash8.buffer)];
    const ram8 = mcu.sram;
    const [ram16, ram32] = [new Uint16Array(ram8.buffer), new Uint32Array(ram8.buffer)];
    core.readUint32 = (to) => {
      const address = to >>> 0;
      if (address & 3) this.fail(`reads a word at ${hex(address)}`);
      const offset = address - RAM_START;
      if (offset >= 0 && offset < ram8.length) return ram32[offset >>> 2];
      if (address >>> 26 === FLASH_SEGMENT) return flash32[this.reach(address) >>> 2];
      this.isTouched ||= address < SIO_START;
      return mcu.readUint32(address);
    };
    core.readUint16 = (to) => {
      const address = to >>> 0;
      if (address & 1) this.fail(`reads a halfword at ${hex(address)}`);
      if (address >>> 26 === FLASH_SEGMENT) return flash16[this.reach(address) >>> 1];
      const offset = address - RAM_START;
      if (offset >= 0 && offset < ram8.length) return ram16[offset >>> 1];
      this.isTouched ||= address < SIO_START;
      return mcu.readUint16(address);
    };
    core.readUint8 = (to) => {
      const address = to >>> 0;
      const offset = address - RAM_START;
      if (offset >= 0 && offset < ram8.length) return ram8[offset];
      if (address >>> 26 === FLASH_SEGMENT) return flash8[this.reach(address)];
      this.isTouched ||= address < SIO_START;
      return mcu.readUint8(address);
    };
    const write = (name, size, ram, shift) => {
      core[name] = (to, value) => {
        const address = to >>> 0;
        if (address & (size - 1)) this.fail(`writes ${size} bytes at ${hex(address)}`);
        const offset = address - RAM_START;
        if (offset >= 0 && offset < ram8.length) {
          ram[offset >>> shift] = value;
          return;
        }
        if (offset < 0 && address >>> 24 !== SSI_SEGMENT && address >>> 24 !== XIP_CONTROL_SEGMENT) {
          this.fail(`writes to ${hex(address)}, which is no RAM`);
        }
        this.isTouched ||= address < SIO_START || address >= PPB_START;
        mcu[name](address, value);
      };
    };
    write('writeUint32', 4, ram32, 2);
    write('writeUint16', 2, ram16, 1);
    write('writeUint8', 1, ram8, 0);
    for (const name of ['exceptionEntry', 'exceptionReturn']) {
      const inner = core[name].bind(core);
      core[name] = (argument) => {
        this.stall += EXCEPTION_CYCLES;
        inner(argument);
      };
    }
  }

  /** State machines by their clock dividers, with joined FIFOs; rp2040js runs them beside the processor. */
  installPio() {
    const { mcu } = this;
    this.stateMachines = mcu.pio.flatMap((pio) => pio.machines);
    for (const pio of mcu.pio) {
      pio.run = () => {};
      for (const machine of pio.machines) {
        machine.dueIn = 0;
        const write = machine.writeUint32.bind(machine);
        machine.writeUint32 = (offset, value) => {
          write(offset, value);
          // SHIFTCTRL: one FIFO takes the room of the other.
          if (offset !== 0x08) return;
          const [joinsReceive, joinsSend] = [value >>> 31, (value >>> 30) & 1];
          resize(machine.rxFIFO, joinsReceive ? 8 : joinsSend ? 0 : 4);
          resize(machine.txFIFO, joinsSend ? 8 : joinsReceive ? 0 : 4);
        };
        machine.clkDivRestart = () => { machine.dueIn = 0; };
      }
    }
  }

  /** Returns the offset in the flash of an address that the processor reads. */
  reach(address) {
    const offset = address - FLASH_START;
    if (offset >= FLASH_BYTES) this.fail(`reads ${hex(address)}, where the board has no flash`);
    const { cache, controller } = this;
    if (!cache.has(offset)) {
      if (!controller.isMapped) this.fail(`reads ${hex(address)} while the flash takes commands`);
      if (cache.isStale) this.fail('reads the flash through a cache that was not flushed');
      this.stall += controller.lineCycles;
      this.missCycles += controller.lineCycles;
    }
    return offset;
  }

  fail(text) {
    throw new Error(`${text}; the program is at ${hex(this.mcu.core.PC)}`);
  }

  /** Lets time pass for everything but the processor. */
  elapse(seconds) {
    this.advance(Math.round(seconds * this.mcu.clkSys));
  }

  /** Advances everything but the processor by some cycles, in steps that end at what happens next. */
  advance(cycles) {
    let left = cycles;
    while (left > 0) {
      const step = Math.min(left, this.untilNext());
      left -= step;
      this.cycles += step;
      this.seconds += step / this.mcu.clkSys;
      this.stepPio(step);
      this.mcu.clock.tick((step * 1e9) / this.mcu.clkSys);
      if (this.seconds >= this.uart.nextAt) this.uart.advance(this.seconds);
    }
  }

  /** Returns the number of cycles after which something happens beside the processor; at least one. */
  untilNext() {
    const { mcu } = this;
    const { clock } = mcu;
    let next = (this.uart.nextAt - this.seconds) * mcu.clkSys;
    if (clock.nextAlarm) next = Math.min(next, (clock.nanosToNextAlarm * mcu.clkSys) / 1e9);
    for (const machine of this.stateMachines) {
      if (machine.enabled && machine.dueIn < next) next = machine.dueIn;
    }
    return Math.max(Math.ceil(next), 1);
  }

  stepPio(cycles) {
    for (const machine of this.stateMachines) {
      if (!machine.enabled) continue;
      machine.dueIn -= cycles;
      while (machine.dueIn <= 0) {
        machine.step();
        machine.dueIn += (machine.clockDivInt || 65536) + machine.clockDivFrac / 256;
        machine.pio.checkChangedPins();
      }
    }
  }

  /** Executes until the budget of cycles is used, the core sleeps, or an access to a peripheral; returns the cycles. */
  execute(budget) {
    const { core } = this.mcu;
    let cycles = 0;
    this.isTouched = false;
    while (cycles < budget && !core.waiting && !this.isTouched) {
      this.stall = 0;
      this.instructions++;
      cycles += core.executeInstruction() + this.stall;
    }
    return cycles;
  }

  /** Runs until `isOver` returns true, which is asked after every event, or the watchdog resets the chip. */
  run(isOver) {
    const { core } = this.mcu;
    while (!this.isReset && !isOver()) {
      const until = this.untilNext();
      let cycles = this.execute(until);
      if (core.waiting) {
        this.sleeping += Math.max(until - cycles, 0);
        cycles = Math.max(until, cycles);
      }
      this.advance(cycles);
    }
  }
}

function resize(fifo, size) {
  fifo.buffer = new Uint32Array(Math.max(size, 1));
  fifo.start = 0;
  fifo.used = 0;
  Object.defineProperty(fifo, 'full', { configurable: true, get() { return this.used >= size; } });
}

function hex(address) {
  return `0x${(address >>> 0).toString(16).padStart(8, '0')}`;
}
