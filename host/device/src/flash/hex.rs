//! Intel HEX files, which debug probes, the drives of interface chips and other flashing programs accept
//! ("Hexadecimal Object File Format Specification", revision A, Intel 1988).
//!
//! A file consists of lines. Each holds up to 255 bytes, the lower half of their address, and a checksum.
//! Other lines set the upper half.

use ihex::Record;

use super::{
    Part, Plan,
    records::{BLOCK_BYTES, lines},
};

/// First byte of a file.
pub const FIRST: u8 = b':';
/// Bytes in a line: what most programs write.
const LINE_BYTES: usize = 16;

/// Converts a plan to a file.
///
/// ```
/// use wakeling_device::{board::Board, flash::{Part, Plan, hex}};
///
/// let board = Board::named("microbit-v2")?;
/// let part = Part { what: "model", address: board.model.start, bytes: vec![7; 20] };
/// let file = hex::write(&Plan { board, parts: vec![part], load_percent: None });
/// assert_eq!(file.lines().nth(1), Some(":100000000707070707070707070707070707070780"));
/// assert_eq!(hex::read(file.as_bytes()).unwrap()[0].bytes, [7; 20]);
/// # Ok::<(), wakeling_device::Error>(())
/// ```
pub fn write(plan: &Plan) -> String {
    let contents = plan.parts.iter().map(|part| (part.address, &part.bytes[..]));
    lines(contents, LINE_BYTES)
}

/// Reason why a file is not an Intel HEX file, with the number of the line, from 1.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HexError {
    /// Bytes that are no text.
    #[error("it is no text")]
    NoText,
    /// A line that is not in the format, or whose checksum is wrong.
    #[error("line {line} is damaged: {problem}")]
    Line {
        /// Number of the line.
        line: usize,
        /// Description of the damage.
        problem: String,
    },
    /// Data that begin in front of the end of a block of 64 KiB, and end behind it.
    #[error("line {line} crosses a border of 64 KiB")]
    Border {
        /// Number of the line.
        line: usize,
    },
    /// The line that ends a file is missing, or others follow it.
    #[error("it was cut short, or more follows its end")]
    End,
}

/// Returns the content of a file, as contiguous parts in the file's order.
///
/// # Errors
/// [`HexError`] if the file is not a valid Intel HEX file.
pub fn read(file: &[u8]) -> Result<Vec<Part>, HexError> {
    let text = str::from_utf8(file).map_err(|_| HexError::NoText)?;
    let mut parts: Vec<Part> = Vec::new();
    let (mut upper, mut is_over) = (0, false);
    for (number, text) in (1..).zip(text.lines()) {
        let damaged = |problem: String| HexError::Line { line: number, problem };
        if is_over {
            return Err(HexError::End);
        }
        let record = Record::from_record_string(text.trim_end());
        match record.map_err(|error| damaged(error.to_string()))? {
            Record::Data { offset, value } => {
                if usize::from(offset) + value.len() > BLOCK_BYTES as usize {
                    return Err(HexError::Border { line: number });
                }
                let address = upper + u32::from(offset);
                match parts.last_mut() {
                    Some(part) if part.range().end == u64::from(address) => {
                        part.bytes.extend(value)
                    }
                    _ => parts.push(Part { what: "flash", address, bytes: value }),
                }
            }
            Record::ExtendedLinearAddress(half) => upper = u32::from(half) << 16,
            // Addresses of real mode, which no chip here has.
            Record::ExtendedSegmentAddress(_) => {
                return Err(damaged("it has a segment address".to_owned()));
            }
            // The chip starts by its own table.
            Record::StartLinearAddress(_) | Record::StartSegmentAddress { .. } => {}
            Record::EndOfFile => is_over = true,
        }
    }
    if is_over { Ok(parts) } else { Err(HexError::End) }
}
