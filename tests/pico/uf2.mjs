// UF2 files, as the RP2040's boot ROM takes them from the board's drive (datasheet 2.8.4.2), and its checksum.

const BLOCK_BYTES = 512;
const FAMILY_RP2040 = 0xe48bff56;
const FLAG_FAMILY = 0x2000;
const FLASH_START = 0x10000000;

/** Writes a UF2 file into `flash`, sector by sector. */
export function writeUf2(file, flash) {
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  if (file.length === 0 || file.length % BLOCK_BYTES) throw new Error('the file has no whole number of UF2 blocks');
  const erased = new Set();
  for (let at = 0; at < file.length; at += BLOCK_BYTES) {
    const word = (index) => view.getUint32(at + 4 * index, true);
    if (word(0) !== 0x0a324655 || word(1) !== 0x9e5d5157 || word(127) !== 0x0ab16f30) {
      throw new Error(`block ${at / BLOCK_BYTES} is none of UF2's`);
    }
    const [flags, address, length, number, count, family] = [2, 3, 4, 5, 6, 7].map(word);
    if (!(flags & FLAG_FAMILY) || family !== FAMILY_RP2040) throw new Error('a block for another chip');
    if (length !== 256 || number !== at / BLOCK_BYTES || count !== file.length / BLOCK_BYTES) {
      throw new Error(`block ${at / BLOCK_BYTES} would be dropped by the boot ROM`);
    }
    const offset = address - FLASH_START;
    const sector = offset - (offset % 4096);
    if (!erased.has(sector)) flash.erase(sector, 4096);
    erased.add(sector);
    flash.program(offset, file.slice(at + 32, at + 32 + length));
  }
}

/** Checksum of the second stage of the boot: CRC-32, not reflected, without a final inversion (2.8.1.3.1). */
export function crc32(bytes) {
  let crc = 0xffffffff;
  for (const byte of bytes) {
    crc ^= byte << 24;
    for (let bit = 0; bit < 8; bit++) crc = crc & 0x80000000 ? (crc << 1) ^ 0x04c11db7 : crc << 1;
  }
  return crc >>> 0;
}
