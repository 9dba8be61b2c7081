//! Entry points for user data. Each input becomes a file among valid ones, where a reader expects
//! it.

use std::{
    ffi::OsStr,
    fs,
    io::{Cursor, Write},
    path::{Path, PathBuf},
    sync::LazyLock,
};

use tempfile::TempDir;
use wakeling_audio as sound_files;
use wakeling_data::{
    dataset::{self, Item, unpack},
    phrase,
    text::clean,
    tokens::Tokenizer,
};
use wakeling_shared::model::Shape;
use wakeling_vision as images;
use wakeling_vision::pixels as image_files;

use crate::{Random, forms, sound};

/// Number of clips of a reader whose sound is read as well.
const MAX_CLIPS: usize = 4;

thread_local! {
    /// Folder of this thread, emptied before each input.
    static SCRATCH: TempDir = tempfile::tempdir().expect("a temporary folder");
}

/// A tenth of a second of sound as a WAV file.
static WAV: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let place = tempfile::tempdir().expect("a temporary folder");
    let path = place.path().join("a.wav");
    sound_files::write_wav(&path, &sound::speech_like(1, 1)[..1_600]).expect("a recording");
    fs::read(path).expect("a recording")
});

/// Calls `with` on an empty folder.
pub(super) fn in_scratch<T>(with: impl FnOnce(&Path) -> T) -> T {
    SCRATCH.with(|scratch| {
        let folder = scratch.path().join("input");
        if folder.exists() {
            fs::remove_dir_all(&folder).expect("a folder of ours");
        }
        fs::create_dir(&folder).expect("a folder of ours");
        with(&folder)
    })
}

/// Writes a file and the folders above it.
pub(super) fn put(folder: &Path, name: impl AsRef<Path>, bytes: &[u8]) -> PathBuf {
    let path = folder.join(name);
    fs::create_dir_all(path.parent().expect("a folder above")).expect("a folder of ours");
    fs::write(&path, bytes).expect("a file of ours");
    path
}

/// Reads a dataset in every format that its path may mean, then the sound of its first clips.
fn read(path: &Path) {
    let mut clips = Vec::new();
    let outcome = dataset::stream(path, None, &mut |item| {
        match item {
            Item::Clip(clip) if clips.len() < MAX_CLIPS => clips.push(clip),
            Item::Clip(clip) => drop(clip.name()),
            Item::Skipped(skipped) => assert!(!skipped.to_string().is_empty()),
        }
        Ok(())
    });
    if let Err(error) = outcome {
        assert!(!error.to_string().is_empty());
    }
    // A manifest may name any file on this machine; only those of the test are read here.
    let ours = path.ancestors().find(|a| a.ends_with("input")).unwrap_or(path);
    for clip in clips.iter().filter(|clip| clip.path.starts_with(ours)) {
        if !clip.path.components().any(|part| part.as_os_str() == "..") {
            let _ = clip.record();
        }
    }
}

/// Reads a NeMo manifest.
pub fn manifest(bytes: &[u8]) {
    in_scratch(|folder| {
        put(folder, "a.wav", &WAV);
        read(&put(folder, "m.jsonl", bytes));
    });
}

/// Manifests with everything that a line may contain.
pub fn manifests() -> Vec<Vec<u8>> {
    let line = "{\"audio_filepath\": \"a.wav\", \"offset\": 0.01, \"duration\": 0.05, \"text\": \
                \"hey you\", \"speaker\": 7, \"lang\": \"en\", \"kind\": \"word\", \"gender\": \
                \"f\"}\n";
    let bare = "{\"audio_filepath\":\"a.wav\"}\n{\"audio_filepath\":\"b.wav\"}\n[1]\n\n";
    vec![[line, bare].concat().into(), line.repeat(3).into(), bare.into()]
}

/// Reads a table of Common Voice.
pub fn common_voice(bytes: &[u8]) {
    in_scratch(|folder| {
        put(folder, "clips/a.mp3", &WAV);
        put(folder, "train.tsv", bytes);
        read(folder);
        read(&folder.join("train.tsv"));
    });
}

/// Tables with and without the optional columns.
pub fn tables() -> Vec<Vec<u8>> {
    let whole = "client_id\tpath\tsentence\tup_votes\tlocale\nab12\ta.mp3\tHey, you\t2\ten\nab13\ta\t\
                 one\t0\ten\n";
    vec![whole.into(), "path\tsentence\na.mp3\tone two\na\t-\n".into()]
}

/// Reads a transcript of LibriSpeech.
pub fn librispeech(bytes: &[u8]) {
    in_scratch(|folder| {
        let chapter = folder.join("train-clean-100/19/198");
        put(&chapter, "19-198-0000.flac", &WAV);
        put(&chapter, "19-198-0001.flac", b"");
        put(&chapter, "19-198.trans.txt", bytes);
        read(folder);
    });
}

/// Transcripts of LibriSpeech.
pub fn transcripts() -> Vec<Vec<u8>> {
    vec![
        b"19-198-0000 NORTHANGER ABBEY\n19-198-0001 THIS LITTLE WORK\n".into(),
        b"19-198-0000\n\n19-198-0009 NOT THERE\n".into(),
    ]
}

/// Reads folders of words, as in Speech Commands. The input holds the names of files, one per line,
/// and is also the list beside them.
pub fn speech_commands(bytes: &[u8]) {
    in_scratch(|folder| {
        for name in bytes.split(|&byte| byte == b'\n').take(16) {
            let Some(parts) = safe(name) else { continue };
            let path = folder.join(parts);
            let is_free = path.symlink_metadata().is_err();
            let above = path.parent().unwrap_or(folder);
            if is_free && fs::create_dir_all(above).is_ok() {
                // A name may be too long, or not allowed by the file system.
                let _ = fs::write(&path, &*WAV);
            }
        }
        let _ = fs::write(folder.join("validation_list.txt"), bytes);
        read(folder);
    });
}

/// Returns a path below a folder, of at most three parts.
fn safe(name: &[u8]) -> Option<PathBuf> {
    if name.is_empty() || name.contains(&0) || name.len() > 300 {
        return None;
    }
    #[cfg(unix)]
    let name = std::os::unix::ffi::OsStrExt::from_bytes(name);
    #[cfg(not(unix))]
    let name = OsStr::new(std::str::from_utf8(name).ok()?);
    let path = Path::new::<OsStr>(name);
    let normal = |part| matches!(part, std::path::Component::Normal(_));
    (path.components().count() <= 3 && path.components().all(normal)).then(|| path.to_path_buf())
}

/// Names as in Speech Commands.
pub fn folders() -> Vec<Vec<u8>> {
    vec![
        b"yes/0a7c2a8d_nohash_0.wav\nyes/0a7c2a8d_nohash_1.wav\nno/x-1.wav\n_background_noise_/a.wav"
            .into(),
        b"a.wav\nb/c/d.wav\n_unknown_/x_1.wav\nb/x.m4a\n\xff\xfe/\xc0.wav\n.hidden/a.wav".into(),
    ]
}

/// Reads a WebDataset shard.
pub fn shards(bytes: &[u8]) {
    in_scratch(|folder| {
        let shard = put(folder, "s.tar", bytes);
        read(&shard);
        read(folder);
    });
}

/// Shards with every label, and one without a name for its audio.
pub fn shard_files() -> Vec<Vec<u8>> {
    let json = b"{\"text\": \"hey you\", \"speaker\": \"a\", \"duration\": 0.1}";
    let labelled: [(&str, &[u8]); 4] =
        [("a.wav", &WAV), ("a.json", json), ("b.wav", &WAV), ("b.cls", b"yes")];
    let odd: [(&str, &[u8]); 3] = [("x/c.txt", b"words"), ("x/c.wav", &WAV), ("d.jpg", b"?")];
    vec![tar(&labelled), tar(&odd)]
}

/// Builds a tar file.
fn tar(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, name, *content).expect("memory");
    }
    builder.into_inner().expect("memory")
}

/// Unpacks an archive. Nothing may be written outside the target folder, whatever its contents.
pub fn archive(bytes: &[u8]) {
    in_scratch(|folder| {
        let archive = put(folder, "in/a.tar", bytes);
        let outside = folder.join("out");
        fs::create_dir(&outside).expect("a folder of ours");
        let target = outside.join("unpacked");
        let unpacked = unpack::unpack(&archive, &target);
        let names: Vec<_> = fs::read_dir(&outside)
            .expect("ours")
            .filter_map(|e| e.ok()?.file_name().into())
            .collect();
        let expected: &[&str] = if unpacked.is_ok() { &["unpacked"] } else { &[] };
        assert_eq!(names, expected, "{unpacked:?}");
        let beside = fs::read_dir(folder).expect("ours").count();
        assert_eq!(beside, 2, "something was written outside of the folder");
    });
}

/// Archives of every kind, including one that climbs out of its folder.
pub fn archives() -> Vec<Vec<u8>> {
    let files: [(&str, &[u8]); 2] = [("a/b.txt", b"hello"), ("c.txt", b"")];
    let plain = tar(&files);
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gz.write_all(&plain).expect("memory");
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let options: zip::write::SimpleFileOptions = Default::default();
    for (name, content) in files {
        zip.start_file(name, options).expect("memory");
        zip.write_all(content).expect("memory");
    }
    zip.add_symlink("link", "/etc/passwd", options).expect("memory");
    let mut climbing = plain.clone();
    climbing[..8].copy_from_slice(b"../b.txt");
    vec![plain, gz.finish().expect("memory"), zip.finish().expect("memory").into_inner(), climbing]
}

/// Reads a sound file, independently of its extension.
pub fn audio(bytes: &[u8]) {
    in_scratch(|folder| {
        for name in ["a.wav", "a.mp3"] {
            let path = put(folder, name, bytes);
            let _ = sound_files::read(&path);
            let _ = sound_files::read_range(&path, 0.01, Some(0.02));
        }
    });
}

/// WAV files of several kinds, and a shipped Ogg Vorbis file.
pub fn recordings() -> Vec<Vec<u8>> {
    let ogg = Path::new(env!("CARGO_MANIFEST_DIR")).join("../demo/train/bf_alice.ogg");
    let ogg = fs::read(ogg).expect("the demo's recordings");
    // The first pages form a valid file by themselves.
    let mut seeds = vec![WAV.clone(), ogg[..ogg.len().min(6_000)].to_vec()];
    for (bits, channels) in [(8u16, 1u16), (24, 2), (32, 3)] {
        let frame = usize::from(bits / 8 * channels);
        let mut wav = WAV[..44].to_vec();
        wav[22..24].copy_from_slice(&channels.to_le_bytes());
        wav[24..28].copy_from_slice(&44_100u32.to_le_bytes());
        wav[28..32].copy_from_slice(&(44_100 * frame as u32).to_le_bytes());
        wav[32..34].copy_from_slice(&(frame as u16).to_le_bytes());
        wav[34..36].copy_from_slice(&bits.to_le_bytes());
        wav[40..44].copy_from_slice(&(frame as u32 * 50).to_le_bytes());
        let random = &mut Random::new(bits.into());
        wav.extend((0..frame * 50).map(|_| random.bits() as u8));
        seeds.push(wav);
    }
    seeds
}

/// Reads an image, independently of its extension.
pub fn image(bytes: &[u8]) {
    in_scratch(|folder| {
        let path = put(folder, "a.png", bytes);
        for channels in [1, 3] {
            let shape = Shape { height: 8, width: 8, channels };
            if let Ok(pixels) = image_files::read(&path, shape) {
                assert_eq!(pixels.len(), shape.bytes());
            }
        }
    });
}

/// An image in every supported format.
pub fn images() -> Vec<Vec<u8>> {
    let pixels = forms::form(&mut Random::new(1), 1, 12);
    let gray = image::GrayImage::from_raw(12, 12, pixels).expect("12 × 12");
    let image = image::DynamicImage::ImageLuma8(gray);
    [image::ImageFormat::Png, image::ImageFormat::Jpeg, image::ImageFormat::Bmp]
        .map(|format| {
            let mut bytes = Cursor::new(Vec::new());
            image.to_rgb8().write_to(&mut bytes, format).expect("memory");
            bytes.into_inner()
        })
        .into()
}

/// Reads a table of labels.
pub fn labels(bytes: &[u8]) {
    in_scratch(|folder| {
        let table = put(folder, "labels.csv", bytes);
        for split in [None, Some("train")] {
            let Ok(index) = images::dataset::DatasetIndex::open(&table, split) else { continue };
            for (_, answers) in &index.images {
                assert_eq!(answers.len(), index.labels.len());
            }
        }
    });
}

/// Tables with quotes, unknown answers and a split.
pub fn label_tables() -> Vec<Vec<u8>> {
    vec![
        b"file,cat,\"a \"\"dog\"\"\",split\na.png,1,0,train\n\"b,1.png\",?,1,test\n".into(),
        b"\xef\xbb\xbffile,x\r\na.png,1\r\n\r\n".into(),
    ]
}

/// Tokenizes a transcript in two languages, as training does, and checks it as a phrase.
pub fn tokens(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let cleaned = clean(&text);
    assert_eq!(clean(&cleaned), cleaned, "clean text stays as it is");
    let texts = ["en", "zh", ""].map(|lang| (lang.to_owned(), text.to_string()));
    let tokens = Tokenizer::default().tokenize(&texts).expect("no program is asked");
    assert_eq!(tokens.len(), texts.len());
    let short: String = text.chars().take(200).collect();
    let _ = phrase::check(&short, phrase::guess_language(&short), None);
}

/// Text in several scripts.
pub fn texts() -> Vec<Vec<u8>> {
    ["Hey, Wakeling! [noise] it’s {me}", "你好小鸭 lv4 zhuang1 ni3hao3", "ÓSAURO ß İstanbul ﬁ"]
        .map(|text| text.as_bytes().to_vec())
        .into()
}
