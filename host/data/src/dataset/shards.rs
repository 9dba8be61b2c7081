//! Reader of WebDataset shards: `.tar` files in which the files of one sample are adjacent and
//! share their name up to its first dot.
//!
//! | file | content |
//! |---|---|
//! | `KEY.wav`, `.flac`, `.mp3`, `.ogg` | audio |
//! | `KEY.json` | fields as in a line of a manifest, without the file's name |
//! | `KEY.txt` | transcript, if the JSON has none |
//! | `KEY.cls` | class: the word of a clip with a single word |
//!
//! The audio is stored as a byte range of the shard, so any clip can be read alone. A truncated
//! shard yields the samples before the truncation, and a reason. Compressed tar files do not
//! support this and are rejected.

use std::{
    fs::File,
    io::{BufReader, Read},
    path::{Path, PathBuf},
};

use serde_json::{Map, Value};

use super::{
    AUDIO, Example, Item, Sink, Skipped, UNSUPPORTED, extension, manifest, some_label, unsupported,
};
use crate::remote;
use crate::{Error, Result};
use wakeling_audio::Member;

/// Maximum size of a label file, in bytes.
const LABEL_MAX: u64 = 1 << 20;
/// Block size of tar files, in bytes; two blocks of zeros end the file.
const BLOCK: u64 = 512;
/// Maximum number of shards in one pattern.
const PATTERN_MAX: u64 = 1_000_000;

/// Returns `true` if a folder holds shards.
pub(super) fn are_in(folder: &Path) -> bool {
    shards_of(folder).is_ok_and(|shards| !shards.is_empty())
}

/// Returns `true` if a name is a pattern for several shards, as in `{000..099}`.
pub(super) fn has_braces(path: &Path) -> bool {
    expand(path).is_ok_and(|range| range.is_some())
}

fn shards_of(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut shards = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let hidden = path.file_name().is_none_or(|n| n.as_encoded_bytes().starts_with(b"."));
        if extension(&path) == "tar" && !hidden && path.is_file() {
            shards.push(path);
        }
    }
    shards.sort();
    Ok(shards)
}

/// Pattern of numbered shards: the text before the number, the numbers, their minimum number of
/// digits, and the text after.
struct Pattern {
    before: String,
    numbers: std::ops::RangeInclusive<u64>,
    digits: usize,
    after: String,
}

/// Expands a pattern such as `name-{0000..0099}.tar`; `None` if there are no braces.
fn expand(path: &Path) -> Result<Option<Pattern>> {
    let name = path.to_string_lossy();
    let Some((before, rest)) = name.split_once('{') else { return Ok(None) };
    let wrong = || Error::ShardPattern { path: path.to_owned() };
    let (range, after) = rest.split_once('}').ok_or_else(wrong)?;
    let (first, last) = range.split_once("..").ok_or_else(wrong)?;
    let (Ok(from), Ok(to)) = (first.parse::<u64>(), last.parse::<u64>()) else {
        return Err(wrong());
    };
    if from > to || to - from >= PATTERN_MAX {
        return Err(wrong());
    }
    let (before, after) = (before.to_owned(), after.to_owned());
    Ok(Some(Pattern { before, numbers: from..=to, digits: first.len(), after }))
}

pub(super) fn stream(path: &Path, sink: &mut Sink<'_>) -> Result<()> {
    if let Some(Pattern { before, numbers, digits, after }) = expand(path)? {
        return numbers.into_iter().try_for_each(|number| {
            shard(Path::new(&format!("{before}{number:0digits$}{after}")), sink)
        });
    }
    if remote::is_url(path) {
        let listed = remote::list(path, ".tar")?;
        return listed.iter().try_for_each(|path| shard(path, sink));
    }
    if !path.is_dir() {
        return shard(path, sink);
    }
    let shards = shards_of(path).map_err(Error::io(path, "read"))?;
    shards.iter().try_for_each(|path| shard(path, sink))
}

/// Passes the samples of one shard to `sink`. A defective shard becomes a skipped item. Only a
/// failure of the network or the disk is an error.
fn shard(path: &Path, sink: &mut Sink<'_>) -> Result<()> {
    let skip = |reason: String| Item::Skipped(Skipped::new(path, reason));
    let file = match remote::local(path) {
        Ok(local) => File::open(&local).map_err(Error::io(&local, "read")),
        Err(error) => Err(error),
    };
    let file = match file {
        Ok(file) => file,
        Err(error) if error.is_missing() => return sink(skip("there is no such shard".into())),
        Err(error) => return Err(error),
    };
    let bytes = file.metadata().map_err(Error::io(path, "read"))?.len();
    let mut archive = tar::Archive::new(BufReader::new(file));
    let entries = match archive.entries_with_seek() {
        Ok(entries) => entries,
        Err(e) => return sink(skip(format!("not a tar file: {e}"))),
    };
    let mut sample: Option<Sample> = None;
    let mut end = 0;
    for entry in entries {
        let mut entry = match entry {
            Ok(entry) => entry,
            Err(e) => return sink(skip(lost(sample, &e.to_string()))),
        };
        if entry.header().entry_type().is_dir() {
            continue;
        }
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        if !entry.header().entry_type().is_file() {
            sink(skip(format!("{name}: a link or a device inside a shard")))?;
            continue;
        }
        let (key, _) = split_name(&name);
        if sample.as_ref().is_none_or(|s| s.key != key) {
            finish(path, sample.take(), sink)?;
            sample = Some(Sample { key: key.to_owned(), ..Sample::default() });
        }
        let (offset, length) = (entry.raw_file_position(), entry.size());
        if offset.checked_add(length).is_none_or(|end| end > bytes) {
            return sink(skip(lost(sample, &format!("{name} is cut off"))));
        }
        end = (offset + length).next_multiple_of(BLOCK);
        let member = Member { name, offset, length };
        if let Some(sample) = &mut sample
            && let Err(reason) = sample.add(member, &mut entry)
        {
            sink(skip(reason))?;
        }
    }
    if bytes < end + 2 * BLOCK {
        return sink(skip(lost(sample, "the mark at its end is missing")));
    }
    finish(path, sample, sink)
}

/// Returns the reason for a shard that ends early. The last sample is lost too, since labels may
/// have followed.
fn lost(last: Option<Sample>, what: &str) -> String {
    let last = last.map_or(String::new(), |s| format!(" sample {} and", s.key));
    format!("damaged or cut off,{last} what follows is lost: {what}")
}

/// Splits `dir/key.seg.wav` into `dir/key` and `seg.wav`.
fn split_name(name: &str) -> (&str, &str) {
    let file = name.rfind('/').map_or(0, |slash| slash + 1);
    match name[file..].find('.') {
        Some(dot) => (&name[..file + dot], &name[file + dot + 1..]),
        None => (name, ""),
    }
}

fn finish(shard: &Path, sample: Option<Sample>, sink: &mut Sink<'_>) -> Result<()> {
    let Some(sample) = sample else { return Ok(()) };
    let key = sample.key.clone();
    sink(match sample.example(shard) {
        Ok(example) => Item::Clip(example),
        Err(reason) => Item::Skipped(Skipped::new(shard, format!("{key}: {reason}"))),
    })
}

/// Files of one sample.
#[derive(Default)]
struct Sample {
    key: String,
    audio: Option<Member>,
    json: Option<Map<String, Value>>,
    text: Option<String>,
    class: Option<String>,
    /// Problem with its labels, if any.
    problem: Option<String>,
}

impl Sample {
    /// Adds one file. Returns the reason if the file cannot be used.
    fn add(&mut self, member: Member, content: &mut impl Read) -> Result<(), String> {
        let name = member.name.clone();
        let (_, suffix) = split_name(&name);
        let kind = suffix.rsplit('.').next().unwrap_or_default().to_ascii_lowercase();
        match kind.as_str() {
            kind if AUDIO.contains(&kind) => {
                if self.audio.is_some() {
                    return Err(format!("{name}: a second audio file of one sample"));
                }
                self.audio = Some(member);
            }
            "json" | "txt" | "cls" => {
                if let Err(problem) = self.label(&kind, &member, content) {
                    self.problem = Some(format!("{name}: {problem}"));
                }
            }
            kind if UNSUPPORTED.contains(&kind) => {
                return Err(format!("{name}: {}", unsupported(kind)));
            }
            // Images, embeddings and the like belong to other uses of the same shards.
            _ => {}
        }
        Ok(())
    }

    fn label(
        &mut self,
        kind: &str,
        member: &Member,
        content: &mut impl Read,
    ) -> Result<(), String> {
        if member.length > LABEL_MAX {
            return Err(format!("{} bytes of label; at most {LABEL_MAX}", member.length));
        }
        let mut text = String::new();
        content.read_to_string(&mut text).map_err(|e| format!("cannot be read: {e}"))?;
        match kind {
            "json" => match serde_json::from_str(&text) {
                Ok(Value::Object(map)) => self.json = Some(map),
                Ok(_) => return Err("a JSON object is expected".into()),
                Err(e) => return Err(format!("not JSON: {e}")),
            },
            "txt" => self.text = some_label(&text),
            _ => self.class = some_label(&text),
        }
        Ok(())
    }

    fn example(self, shard: &Path) -> Result<Example, String> {
        if let Some(problem) = self.problem {
            return Err(problem);
        }
        let audio = self.audio.ok_or("a sample without audio")?;
        let bare = Example { member: Some(audio), ..Example::unlabelled(shard) };
        let mut example = manifest::describe(&self.json.unwrap_or_default(), bare)?;
        example.text = example.text.or(self.text);
        if let Some(class) = self.class {
            example.text.get_or_insert(class);
            example.kind.get_or_insert_with(|| "word".into());
        }
        Ok(example)
    }
}
