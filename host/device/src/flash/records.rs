//! Lines of an Intel HEX file. `xtask`, which does without the program's crates, includes this file by its
//! path.

use ihex::Record;

/// Bytes below an upper half of addresses.
pub const BLOCK_BYTES: u32 = 0x1_0000;

/// Formats contents of flash, by their addresses, as a file whose lines hold up to `line_bytes`, at most 255.
pub fn lines<'b>(contents: impl IntoIterator<Item = (u32, &'b [u8])>, line_bytes: usize) -> String {
    let mut records = Vec::new();
    let mut upper = None;
    for (mut address, mut rest) in contents {
        while !rest.is_empty() {
            if upper != Some(address >> 16) {
                upper = Some(address >> 16);
                records.push(Record::ExtendedLinearAddress((address >> 16) as u16));
            }
            // A line does not cross the border of its block.
            let room = (BLOCK_BYTES - address % BLOCK_BYTES) as usize;
            let (line, others) = rest.split_at(rest.len().min(line_bytes).min(room));
            records.push(Record::Data { offset: address as u16, value: line.to_vec() });
            address = address.wrapping_add(line.len() as u32);
            rest = others;
        }
    }
    records.push(Record::EndOfFile);
    // Only a line of more than 255 bytes has no text.
    let texts = records.iter().filter_map(|record| record.to_record_string().ok());
    texts.flat_map(|text| [text, "\n".to_owned()]).collect()
}
