// An INMP441 with its L/R pin at ground, on three pins of the Pico (data sheet DS-000069, "serial data
// interface"): it answers the left slot with 24 bits, the highest first and one clock after word select has
// changed, and leaves the wire alone otherwise.

const DATA_BITS = 24;
/** Bit clocks that the microphone works at, in hertz. */
const SLOWEST = 0.5e6;
const FASTEST = 3.2e6;
const SAMPLE_RATE = 16_000;

export class Microphone {
  /**
   * `pcm` is the sound in the room at 16 kHz, as the samples that the program makes of it; `clock`, `select` and
   * `data` are numbers of pins.
   */
  constructor(machine, pcm, { clock, select, data }) {
    Object.assign(this, { machine, pcm });
    const { gpio } = machine.mcu;
    this.data = gpio[data];
    this.isSelected = undefined;
    this.isRising = false;
    this.starts = false;
    this.bit = DATA_BITS;
    this.word = 0;
    this.noise = 1;
    this.frames = 0;
    this.clocks = 0;
    this.first = undefined;
    this.last = 0;
    this.level = undefined;
    this.slots = new Set();
    this.sinceSelect = 0;
    const isHigh = (pin) => pin.outputEnable && pin.outputValue;
    gpio[clock].addListener(() => this.onClock(isHigh(gpio[clock]), isHigh(gpio[select])));
  }

  /** Bits nobody answers for: those below the 16 the program keeps, and those of a wire left alone. */
  random() {
    this.noise = (Math.imul(this.noise, 1664525) + 1013904223) >>> 0;
    return this.noise >>> 28;
  }

  onClock(isHigh, isSelected) {
    if (isHigh === this.isRising) return;
    this.isRising = isHigh;
    if (isHigh) {
      this.clocks++;
      this.sinceSelect++;
      if (isSelected !== this.isSelected) {
        if (this.isSelected !== undefined) this.slots.add(this.sinceSelect);
        this.sinceSelect = 0;
        this.isSelected = isSelected;
        this.starts = true;
      }
      return;
    }
    if (this.starts) {
      this.starts = false;
      this.bit = this.isSelected ? DATA_BITS : 0;
      if (!this.isSelected) this.word = this.sample();
    }
    if (this.bit < DATA_BITS) {
      this.drive((this.word >>> (DATA_BITS - 1 - this.bit)) & 1);
      this.bit++;
    } else {
      this.release();
    }
  }

  /** Returns 24 bits for the sound at this moment: gain of the program backwards, and noise below. */
  sample() {
    const now = this.machine.seconds;
    this.first ??= now;
    this.frames++;
    this.last = now;
    const index = Math.round((now - this.first) * SAMPLE_RATE);
    const sample = index < this.pcm.length ? this.pcm[index] : 0;
    return ((sample << 4) | this.random()) & 0xffffff;
  }

  drive(level) {
    if (level === this.level) return;
    this.level = level;
    this.data.setInputValue(level === 1);
  }

  /** A wire that nobody drives follows the pad's pull, or anything. */
  release() {
    const { pulldownEnabled, pullupEnabled } = this.data;
    this.drive(pulldownEnabled !== pullupEnabled ? Number(pullupEnabled) : this.random() & 1);
  }

  /** Samples of a clock that never stops, less those that were asked for. */
  get missing() {
    return this.first === undefined ? 0 : Math.round((this.machine.seconds - this.first) * SAMPLE_RATE) + 1 - this.frames;
  }

  /** Clocks in hertz, as measured, and the lengths of slots in clocks. */
  measured() {
    const seconds = this.last - this.first;
    const rate = (this.frames - 1) / seconds;
    const clock = rate * (this.clocks / this.frames);
    if (this.frames > 2 && !(clock > SLOWEST && clock < FASTEST)) {
      throw new Error(`the microphone does not work at a bit clock of ${clock} Hz`);
    }
    return { frames: this.frames, rate, slots: [...this.slots] };
  }
}
