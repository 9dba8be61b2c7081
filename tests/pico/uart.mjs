// UART of the RP2040 (PL011, datasheet 4.2), with FIFOs that take time. rp2040js sends a byte at once and reports
// an empty transmitter for ever, which a driver with a buffer never leaves.

// Registers.
const DR = 0x00;
const FR = 0x18;
const IBRD = 0x24;
const FBRD = 0x28;
const LCR_H = 0x2c;
const CR = 0x30;
const IFLS = 0x34;
const IMSC = 0x38;
const RIS = 0x3c;
const MIS = 0x40;
const ICR = 0x44;
const DMACR = 0x48;
// Bits of FR, of LCR_H, of CR, and of the interrupts.
const [FR_BUSY, FR_RXFE, FR_TXFF, FR_RXFF, FR_TXFE] = [3, 4, 5, 6, 7].map((bit) => 1 << bit);
const FIFO_ENABLED = 1 << 4;
const EIGHT_BITS = 3 << 5;
const ENABLED = (1 << 9) | (1 << 8) | 1;
const [RX, TX, RT, OVERRUN] = [4, 5, 6, 10].map((bit) => 1 << bit);
const FIFO_BYTES = 32;
/** Fill levels of the interrupts, by the fields of IFLS. */
const LEVELS = [4, 8, 16, 24, 28];
const BITS_PER_BYTE = 10;
/** Bits of silence after which the receiver reports what it has (4.2.6.2). */
const TIMEOUT_BITS = 32;
/** Difference of the rates at which the last bit of a byte is still the right one, with a margin. */
const TOLERANCE = 0.03;

export class Uart {
  /** `line` has `baud`, `take(byte)` for sent bytes, `give()` for the next to receive, and `isWired()`. */
  constructor(mcu, irq, line) {
    Object.assign(this, { mcu, irq, line });
    this.registers = new Map([[IBRD, 0], [FBRD, 0], [LCR_H, 0], [CR, 0x300], [IFLS, 0x12], [IMSC, 0], [DMACR, 0]]);
    this.sent = [];
    this.received = [];
    this.raw = 0;
    this.sendAt = Infinity;
    this.receiveAt = 0;
    this.timeoutAt = Infinity;
    this.now = 0;
    this.overruns = 0;
  }

  get isOn() {
    return (this.registers.get(CR) & ENABLED) === ENABLED;
  }

  /** Seconds a bit takes by the divider, and by whoever is at the other end. */
  get bitTime() {
    const divider = this.registers.get(IBRD) + this.registers.get(FBRD) / 64;
    return (16 * divider) / this.mcu.clkPeri;
  }

  /** Returns whether the other end understands what this one sends, and the reverse. */
  get isUnderstood() {
    const lcr = this.registers.get(LCR_H);
    return (lcr & 0x6e) === EIGHT_BITS && Math.abs(this.bitTime * this.line.baud - 1) < TOLERANCE &&
      this.line.isWired();
  }

  level(shift) {
    if (!(this.registers.get(LCR_H) & FIFO_ENABLED)) return 1;
    return LEVELS[(this.registers.get(IFLS) >>> shift) & 7];
  }

  update() {
    this.mcu.setInterrupt(this.irq, (this.raw & this.registers.get(IMSC)) !== 0);
  }

  /** Moment of the next event, in seconds. */
  get nextAt() {
    return Math.min(this.sendAt, this.receiveAt, this.timeoutAt);
  }

  /** Moves bytes whose time has come; `now` is in seconds. */
  advance(now) {
    this.now = now;
    if (now >= this.sendAt) {
      const byte = this.sent.shift();
      this.line.take(this.isUnderstood ? byte : byte ^ 0x55);
      this.sendAt = this.sent.length ? this.sendAt + BITS_PER_BYTE * this.bitTime : Infinity;
      // The interrupt follows the level as it falls, not the level itself.
      if (this.sent.length === Math.max(FIFO_BYTES - this.level(0), 0) || this.sent.length === 0) this.raw |= TX;
      this.update();
    }
    if (now >= this.receiveAt) {
      this.receiveAt = now + BITS_PER_BYTE / this.line.baud;
      const byte = this.isOn ? this.line.give() : undefined;
      if (byte !== undefined) {
        if (this.received.length >= FIFO_BYTES) {
          this.raw |= OVERRUN;
          this.overruns++;
        } else {
          this.received.push(this.isUnderstood ? byte : byte ^ 0x55);
        }
        this.timeoutAt = now + TIMEOUT_BITS * this.bitTime;
        if (this.received.length >= this.level(3)) this.raw |= RX;
        this.update();
      }
    }
    if (now >= this.timeoutAt) {
      this.timeoutAt = Infinity;
      if (this.received.length) this.raw |= RT;
      this.update();
    }
  }

  readUint32(offset) {
    switch (offset) {
      case DR: {
        const byte = this.received.shift() ?? 0;
        if (this.received.length < this.level(3)) this.raw &= ~RX;
        if (!this.received.length) this.raw &= ~RT;
        this.update();
        return byte;
      }
      case FR:
        return (this.received.length ? 0 : FR_RXFE) | (this.received.length >= FIFO_BYTES ? FR_RXFF : 0) |
          (this.sent.length >= FIFO_BYTES ? FR_TXFF : 0) | (this.sent.length ? FR_BUSY : FR_TXFE);
      case RIS:
        return this.raw;
      case MIS:
        return this.raw & this.registers.get(IMSC);
      default:
        if (this.registers.has(offset)) return this.registers.get(offset);
        throw new Error(`reads register ${offset.toString(16)} of the UART, which is not modelled`);
    }
  }

  writeUint32(offset, value) {
    if (offset === DR) {
      if (!this.isOn) return;
      if (this.sent.length >= FIFO_BYTES) return;
      if (!this.sent.length) this.sendAt = this.now + BITS_PER_BYTE * this.bitTime;
      this.sent.push(value & 0xff);
    } else if (offset === ICR) {
      this.raw &= ~value;
      this.update();
    } else if (this.registers.has(offset)) {
      this.registers.set(offset, value >>> 0);
      this.update();
    } else {
      throw new Error(`writes register ${offset.toString(16)} of the UART, which is not modelled`);
    }
  }
}
