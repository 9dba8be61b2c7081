//! A second reader of model files, written from `docs/reference/model-file.md` alone. It names
//! every field and shares no code with the loader, so tests can compare the document with the code.

use std::fmt::Write;

/// One field of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// Offset from the start of the file.
    pub offset: usize,
    /// Bytes of the field.
    pub bytes: Vec<u8>,
    /// Path of the field.
    pub name: String,
    /// Value of the field as text.
    pub value: String,
}

/// The file ends within a field, or a variant is unknown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable(pub String);

type Read<T> = Result<T, Unreadable>;

/// Returns every field of `file`, in order.
///
/// # Errors
/// [`Unreadable`], with the name of the field.
pub fn fields(file: &[u8]) -> Read<Vec<Field>> {
    let mut reader = FieldReader { file, position: 0, fields: Vec::new(), arrays: Vec::new() };
    reader.header()?;
    reader.card()?;
    reader.frontend()?;
    reader.u8("frames_per_step")?;
    reader.list("layers", FieldReader::layer)?;
    reader.u8("backbone_layers")?;
    reader.list("heads", FieldReader::head)?;
    reader.list("words", FieldReader::word)?;
    if reader.position < described(file) {
        reader.variant("gate", &["None", "Some"])?;
        reader.u8("gate.margin")?;
        reader.u8("gate.hold_steps")?;
    }
    reader.padding()?;
    for (name, words) in std::mem::take(&mut reader.arrays) {
        reader.take(4 * words, &name)?;
        reader.note(4 * words, &name, format!("{words} words"));
    }
    if reader.position == file.len() {
        Ok(reader.fields)
    } else {
        Err(Unreadable(format!("{} bytes are left", file.len() - reader.position)))
    }
}

/// Returns the end of the description, without its padding.
fn described(file: &[u8]) -> usize {
    const HEADER_BYTES: usize = 24;
    let bytes = file.get(12..16).unwrap_or_default();
    HEADER_BYTES + bytes.iter().rev().fold(0, |v, &b| v << 8 | usize::from(b))
}

/// Reads one field after another.
struct FieldReader<'f> {
    file: &'f [u8],
    position: usize,
    fields: Vec<Field>,
    /// Names of the arrays that the description implies, and their lengths in words.
    arrays: Vec<(String, usize)>,
}

impl FieldReader<'_> {
    fn header(&mut self) -> Read<()> {
        let magic = self.take(4, "magic")?;
        self.note(4, "magic", String::from_utf8_lossy(&magic).into_owned());
        let fields =
            [("version", 2), ("flags", 2), ("length", 4), ("description", 4), ("checksum", 8)];
        for (name, size) in fields {
            let bytes = self.take(size, name)?;
            let value = bytes.iter().rev().fold(0u64, |v, &b| v << 8 | u64::from(b));
            let hex = name == "checksum";
            self.note(size, name, if hex { format!("{value:#018x}") } else { value.to_string() });
        }
        Ok(())
    }

    fn card(&mut self) -> Read<()> {
        ["name", "base", "provenance", "licence"]
            .into_iter()
            .try_for_each(|name| self.text(&format!("card.{name}")))
    }

    fn frontend(&mut self) -> Read<()> {
        self.table("frontend.mel_starts")?;
        self.table("frontend.mel_weights")?;
        let name = "frontend.normalization";
        let variants = ["Log", "LogPcen", "Pcan"];
        match self.variant(name, &variants)? {
            0 => {
                self.unsigned(&format!("{name}.floor"))?;
                if self.variant(&format!("{name}.level"), &["None", "Some"])? == 1 {
                    self.variant(&format!("{name}.level.statistic"), &["Mean", "Max"])?;
                    self.signed(&format!("{name}.level.initial_q8"))?;
                    self.u8(&format!("{name}.level.attack_shift"))?;
                    self.u8(&format!("{name}.level.decay_shift"))?;
                }
                self.quantizer(name)
            }
            1 => {
                self.unsigned(&format!("{name}.floor"))?;
                self.unsigned(&format!("{name}.strength_q8"))?;
                self.u8(&format!("{name}.smoothing_shift"))?;
                self.quantizer(name)
            }
            _ => {
                for field in ["even_smoothing", "odd_smoothing", "min_signal_remaining"] {
                    self.unsigned(&format!("{name}.{field}"))?;
                }
                self.table(&format!("{name}.gain_table"))
            }
        }
    }

    fn quantizer(&mut self, name: &str) -> Read<()> {
        self.signed(&format!("{name}.quantizer.offset_q8"))?;
        self.unsigned(&format!("{name}.quantizer.scale_q16")).map(drop)
    }

    fn layer(&mut self, name: &str) -> Read<()> {
        self.u8(&format!("{name}.input"))?;
        self.u8(&format!("{name}.output"))?;
        match self.variant(&format!("{name}.op"), &["Depthwise", "Pointwise", "Add"])? {
            0 => {
                let taps = self.u8(&format!("{name}.taps"))?;
                for field in ["dilation", "stride"] {
                    self.u8(&format!("{name}.{field}"))?;
                }
                self.i8(&format!("{name}.input_zero"))?;
                let (_, outputs) = self.affine(name)?;
                self.promise(name, outputs.div_ceil(4) * usize::from(taps) * 2, outputs);
                Ok(())
            }
            1 => self.dense(name),
            _ => {
                self.u8(&format!("{name}.other"))?;
                self.signed(&format!("{name}.x_scale"))?;
                self.signed(&format!("{name}.o_scale"))?;
                for field in ["x_zero", "o_zero", "zero"] {
                    self.i8(&format!("{name}.{field}"))?;
                }
                Ok(())
            }
        }
    }

    /// Reads the shape of a layer and returns its inputs and outputs.
    fn affine(&mut self, name: &str) -> Read<(usize, usize)> {
        let inputs = self.unsigned(&format!("{name}.inputs"))?;
        let outputs = self.unsigned(&format!("{name}.outputs"))?;
        self.i8(&format!("{name}.zero_point"))?;
        Ok((inputs as usize, outputs as usize))
    }

    /// Reads a layer that connects every output to every input.
    fn dense(&mut self, name: &str) -> Read<()> {
        let (inputs, outputs) = self.affine(name)?;
        self.promise(name, outputs.div_ceil(4) * inputs.div_ceil(8) * 8, outputs);
        Ok(())
    }

    /// Records that a layer has arrays after the description.
    fn promise(&mut self, name: &str, weights: usize, outputs: usize) {
        self.arrays.push((format!("{name}.weights"), weights));
        self.arrays.push((format!("{name}.factors"), outputs.div_ceil(4) * 8));
    }

    /// Reads zeros up to a multiple of 8.
    fn padding(&mut self) -> Read<()> {
        let size = self.position.next_multiple_of(8) - self.position;
        let bytes = self.take(size, "padding")?;
        if bytes.iter().any(|&byte| byte != 0) {
            return Err(Unreadable("padding".to_owned()));
        }
        if size > 0 {
            self.note(size, "padding", String::from("0"));
        }
        Ok(())
    }

    fn head(&mut self, name: &str) -> Read<()> {
        self.u8(&format!("{name}.layers"))?;
        self.u8(&format!("{name}.input"))?;
        self.dense(&format!("{name}.logits"))
    }

    fn word(&mut self, name: &str) -> Read<()> {
        self.text(&format!("{name}.label"))?;
        self.u8(&format!("{name}.smoothing_steps"))?;
        self.signed(&format!("{name}.threshold"))?;
        self.unsigned(&format!("{name}.refractory_steps"))?;
        self.list(&format!("{name}.points"), FieldReader::point)
    }

    fn point(&mut self, name: &str) -> Read<()> {
        self.unsigned(&format!("{name}.false_accepts"))?;
        self.unsigned(&format!("{name}.audio_seconds"))?;
        self.signed(&format!("{name}.threshold"))
    }

    fn list(&mut self, name: &str, item: impl Fn(&mut Self, &str) -> Read<()>) -> Read<()> {
        let (count, size) = self.varint(name)?;
        self.note(size, name, format!("{count} of them"));
        (0..count).try_for_each(|i| item(self, &format!("{name}[{i}]")))
    }

    fn text(&mut self, name: &str) -> Read<()> {
        let (length, size) = self.varint(name)?;
        let bytes = self.peek(size, length as usize, name)?;
        let text = String::from_utf8(bytes).map_err(|_| Unreadable(name.to_owned()))?;
        self.note(size + length as usize, name, format!("{text:?}"));
        Ok(())
    }

    fn table(&mut self, name: &str) -> Read<()> {
        let (length, size) = self.varint(name)?;
        self.peek(size, length as usize, name)?;
        self.note(size + length as usize, name, format!("{length} bytes"));
        Ok(())
    }

    fn variant(&mut self, name: &str, variants: &[&str]) -> Read<u64> {
        let (index, size) = self.varint(name)?;
        let variant = variants.get(index as usize).ok_or(Unreadable(name.to_owned()))?;
        self.note(size, name, (*variant).to_owned());
        Ok(index)
    }

    fn u8(&mut self, name: &str) -> Read<u8> {
        let byte = self.take(1, name)?[0];
        self.note(1, name, byte.to_string());
        Ok(byte)
    }

    fn i8(&mut self, name: &str) -> Read<()> {
        let byte = self.take(1, name)?[0] as i8;
        self.note(1, name, byte.to_string());
        Ok(())
    }

    fn unsigned(&mut self, name: &str) -> Read<u64> {
        let (value, size) = self.varint(name)?;
        self.note(size, name, value.to_string());
        Ok(value)
    }

    fn signed(&mut self, name: &str) -> Read<()> {
        let (value, size) = self.varint(name)?;
        let signed = (value >> 1) as i64 ^ -((value & 1) as i64);
        self.note(size, name, signed.to_string());
        Ok(())
    }

    /// Returns value and length of the varint at the position, which does not change.
    fn varint(&self, name: &str) -> Read<(u64, usize)> {
        let mut value = 0;
        for (i, &byte) in self.file[self.position..].iter().take(10).enumerate() {
            value |= u64::from(byte & 0x7f) << (7 * i);
            if byte < 0x80 {
                return Ok((value, i + 1));
            }
        }
        Err(Unreadable(name.to_owned()))
    }

    fn take(&self, size: usize, name: &str) -> Read<Vec<u8>> {
        self.peek(0, size, name)
    }

    fn peek(&self, skip: usize, size: usize, name: &str) -> Read<Vec<u8>> {
        let start = self.position + skip;
        let bytes = start.checked_add(size).and_then(|end| self.file.get(start..end));
        bytes.map(<[u8]>::to_vec).ok_or(Unreadable(name.to_owned()))
    }

    /// Records `size` bytes under `name` and advances past them.
    fn note(&mut self, size: usize, name: &str, value: String) {
        let bytes = self.file[self.position..self.position + size].to_vec();
        let name = name.to_owned();
        self.fields.push(Field { offset: self.position, bytes, name, value });
        self.position += size;
    }
}

/// Formats the fields as a Markdown table, with only the first bytes of long ones.
pub fn table(fields: &[Field]) -> String {
    const SHOWN: usize = 8;
    let mut text = String::from("| offset | bytes | field | value |\n|---:|---|---|---|\n");
    for Field { offset, bytes, name, value } in fields {
        let mut hex: Vec<String> =
            bytes.iter().take(SHOWN).map(|byte| format!("{byte:02x}")).collect();
        if bytes.len() > SHOWN {
            hex.push("…".into());
        }
        // Writing to a String cannot fail.
        let _ = writeln!(text, "| {offset} | `{}` | {name} | {value} |", hex.join(" "));
    }
    text
}

/// Formats the bytes with their offset, 16 per line.
pub fn dump(file: &[u8]) -> String {
    let mut text = String::new();
    for (line, bytes) in file.chunks(16).enumerate() {
        let hex: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{:04x}  {}", 16 * line, hex.join(" "));
    }
    text
}
