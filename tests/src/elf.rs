//! Generated programs for boards: 32-bit ELF files with segments, and nothing in them that runs.

/// Type of a segment that is loaded (`PT_LOAD`).
pub const LOAD: u32 = 1;

/// Builds a program with segments at these addresses: `(address, bytes, type)`.
pub fn elf(segments: &[(u32, Vec<u8>, u32)]) -> Vec<u8> {
    const HEADER: usize = 52;
    const SEGMENT: usize = 32;
    let half = |n: u16| n.to_le_bytes();
    let word = |n: u32| n.to_le_bytes();
    let mut file = vec![0x7F, b'E', b'L', b'F', 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    file.extend([half(2), half(40)].concat());
    file.extend([word(1), word(0), word(HEADER as u32), word(0), word(0)].concat());
    let halves = [HEADER as u16, SEGMENT as u16, segments.len() as u16, 40, 0, 0];
    file.extend(halves.map(half).concat());
    let mut offset = HEADER + segments.len() * SEGMENT;
    for (address, bytes, kind) in segments {
        let length = bytes.len() as u32;
        let runs_at = 0x2000_0000;
        let words = [*kind, offset as u32, runs_at, *address, length, length, 5, 4];
        file.extend(words.map(word).concat());
        offset += bytes.len();
    }
    segments.iter().for_each(|(_, bytes, _)| file.extend(bytes));
    file
}
