//! WebDataset shards: `.tar` files in which the files of one sample follow each other and share
//! their name up to its first dot.
//!
//! | file | gives |
//! |---|---|
//! | `KEY.wav`, `.flac`, `.mp3`, `.ogg` | the audio |
//! | `KEY.json` | what a line of a manifest says, without the file's name |
//! | `KEY.txt` | the words, if the JSON has none |
//! | `KEY.cls` | a class: the word of a clip that is one word |
//!
//! The audio is noted as a range of bytes of the shard, so that any clip of it can be read alone. A
//! shard that is cut off gives the samples before the cut and a reason. Compressed tar files cannot
//! be read that way and are refused.

use std::{
    fs::File,
    io::{BufReader, Read},
    path::{Path, PathBuf},
};

use serde_json::{Map, Value};

use super::{
    AUDIO, Example, Item, Sink, Skipped, UNSUPPORTED, extension, manifest, some_label, unsupported,
};
use crate::{Error, Result, audio::Member, remote};

/// Bytes of the longest label file that is read.
const LABEL_MAX: u64 = 1 << 20;
/// Bytes of which tar files are made; two of them, all zero, end one.
const BLOCK: u64 = 512;
/// Shards that one pattern may stand for.
const PATTERN_MAX: u64 = 1_000_000;

/// Whether a folder holds shards.
pub(super) fn are_in(folder: &Path) -> bool {
    shards_of(folder).is_ok_and(|shards| !shards.is_empty())
}

/// Whether a name stands for several, as in `{000..099}`.
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

/// Numbered shards: what stands before the number, the numbers, their digits, and what follows.
struct Pattern {
    before: String,
    numbers: std::ops::RangeInclusive<u64>,
    digits: usize,
    after: String,
}

/// The shards that `name-{0000..0099}.tar` stands for; none if there are no braces.
fn expand(path: &Path) -> Result<Option<Pattern>> {
    let name = path.to_string_lossy();
    let Some((before, rest)) = name.split_once('{') else { return Ok(None) };
    let wrong = || {
        Error::input(path, "{FIRST..LAST} is expected in braces", "write for instance {0000..0099}")
    };
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

/// Hands on one shard. What is wrong with the shard is a reason and no error, unless the network or
/// the disk refuses.
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

/// Why a shard ends early. The last sample goes with it, since labels may have followed.
fn lost(last: Option<Sample>, what: &str) -> String {
    let last = last.map_or(String::new(), |s| format!(" sample {} and", s.key));
    format!("damaged or cut off,{last} what follows is lost: {what}")
}

/// `dir/key.seg.wav` → `dir/key`, `seg.wav`.
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

/// The files of one sample.
#[derive(Default)]
struct Sample {
    key: String,
    audio: Option<Member>,
    json: Option<Map<String, Value>>,
    text: Option<String>,
    class: Option<String>,
    /// What is wrong with its labels.
    problem: Option<String>,
}

impl Sample {
    /// Takes one file in; a file that adds nothing is told.
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
            // Pictures, vectors and the like belong to other uses of the same shards.
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
