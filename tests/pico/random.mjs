// Random numbers of a seed (xorshift of 32 bits), so that a failure can be repeated.

export class Random {
  constructor(seed) {
    this.state = Math.imul(seed + 1, 0x9e3779b9) >>> 0 || 1;
  }

  /** Returns 32 bits. */
  next() {
    let x = this.state;
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    this.state = x >>> 0;
    return this.state;
  }

  /** Returns a number from 0 to `end`, exclusive. */
  below(end) {
    return Math.floor((this.next() / 0x100000000) * end);
  }
}
