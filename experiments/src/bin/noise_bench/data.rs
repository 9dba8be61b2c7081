//! Test data of the benchmark: conditions, babble, and cached embeddings.

use std::{
    collections::{BTreeMap, HashMap},
    fs,
    ops::Range,
    path::{Path, PathBuf},
};

use rand::{RngExt, SeedableRng, rngs::StdRng, seq::IndexedRandom};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use wakeling_audio::{
    features::{log_mel, mel_powers},
    to_i16,
};
use wakeling_core::{Error, files};
use wakeling_data::{
    dataset::{Dataset, Example},
    mixing::MelStream,
    negatives::{SpeechClip, load_speech},
    text::{clean, contains_phrase},
};
use wakeling_train::embeddings::{Embeddings, embed_streams};
use wakeling_train::{
    compare::in_a_row,
    evaluate::{Noise, PaddedClip, TestConditions},
    head_checkpoint::fingerprint,
    quantize::Backbone,
};

use wakeling_experiments::{Keyword, Result, WORDS, test_negatives};

/// Version of the cached files, increased when their content changes.
const CACHE_VERSION: u32 = 1;
/// Seed of the noise, the babble, and their positions under the recordings.
const SEED: u64 = 1;
/// Number of babble clips of 12 s: 40 minutes in total.
const BABBLE_CLIPS: usize = 200;
const BABBLE_SAMPLES: usize = 12 * 16_000;
/// Root mean square of babble in i16 steps, which leaves headroom for peaks.
const BABBLE_RMS: f32 = 2_000.0;

/// Background of a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Background {
    /// Silence.
    Quiet,
    /// Recorded household noise of the split `noise-test`.
    Noise,
    /// Two to six speakers of the split `dev`.
    Babble,
    /// Music of the list `music-test`.
    Music,
    /// Silence; the recording is played in a room of the list `rooms`.
    Room,
}

/// Condition under which recordings are tested.
#[derive(Debug)]
pub struct Condition {
    /// Name in tables and file names.
    pub name: &'static str,
    /// Background under the recordings.
    pub background: Background,
    /// Signal-to-noise ratio in dB: the loudest 32 ms of a recording over the loudest 32 ms of its
    /// background.
    pub snr_db: f32,
}

/// Conditions of the benchmark.
pub const CONDITIONS: [Condition; 7] = [
    Condition { name: "quiet", background: Background::Quiet, snr_db: f32::INFINITY },
    Condition { name: "noise 10 dB", background: Background::Noise, snr_db: 10.0 },
    Condition { name: "noise 5 dB", background: Background::Noise, snr_db: 5.0 },
    Condition { name: "babble 10 dB", background: Background::Babble, snr_db: 10.0 },
    Condition { name: "babble 5 dB", background: Background::Babble, snr_db: 5.0 },
    Condition { name: "music 10 dB", background: Background::Music, snr_db: 10.0 },
    Condition { name: "room", background: Background::Room, snr_db: f32::INFINITY },
];

/// Embeddings of audio without the keywords.
pub struct Negative {
    /// Embeddings, one stream per minute.
    pub outputs: Embeddings,
    /// Length in hours, without the pauses between clips.
    pub hours: f64,
    texts: Vec<String>,
}

impl Negative {
    /// Returns the streams whose text does not satisfy `holds`.
    pub fn without(&self, holds: impl Fn(&str) -> bool) -> Self {
        let kept = (0..self.texts.len()).filter(|&i| !holds(&self.texts[i]));
        let (streams, texts): (Vec<_>, Vec<_>) =
            kept.map(|i| (self.outputs.streams[i].clone(), self.texts[i].clone())).unzip();
        let outputs = Embeddings { streams, ..self.outputs };
        let hours = self.hours * outputs.hours() / self.outputs.hours();
        Self { outputs, hours, texts }
    }
}

/// Embedded test data and the backgrounds.
pub struct TestData {
    /// Speech without the keywords.
    pub speech: Negative,
    /// Household noise alone.
    pub noise: Negative,
    /// Babble alone.
    pub babble: Negative,
    conditions: Conditions,
    cache: Cache,
}

/// Backgrounds under the recordings.
pub struct Conditions {
    noise: Noise,
    crowd: Noise,
    babble: Vec<Vec<i16>>,
    music: Noise,
    rooms: Vec<Vec<f32>>,
}

impl Conditions {
    /// Reads noise, music and rooms, and mixes the babble.
    pub fn load(data: &Path) -> Result<Self> {
        let read = |name: &str| -> Result<Noise> {
            let path = data.join("manifest").join(name);
            Ok(Noise::load(&path, &Dataset::open(&path)?.examples, SEED)?)
        };
        let (noise, music) = (read("noise-test.jsonl")?, read("music-test.jsonl")?);
        let rooms = Dataset::open(data.join("manifest/rooms.jsonl"))?.examples;
        let rooms = rooms.iter().map(|room| Ok(response(&room.load()?)));
        let rooms = rooms.collect::<Result<_>>()?;
        let babble = babble(&Dataset::open(data.join("manifest/dev.jsonl"))?.examples)?;
        Ok(Self { noise, crowd: Noise::of(babble.clone()), babble, music, rooms })
    }

    /// Returns the clips of babble, of 12 s each.
    pub fn babble(&self) -> &[Vec<i16>] {
        &self.babble
    }

    /// Plays recording number `index` of a keyword under a condition.
    pub fn place(&self, condition: &Condition, recording: &[i16], index: usize) -> PaddedClip {
        let noise = match condition.background {
            Background::Quiet => return TestConditions::Silence.place(recording, index),
            Background::Room => {
                let reverberant = in_room(recording, &self.rooms[index % self.rooms.len()]);
                return TestConditions::Silence.place(&reverberant, index);
            }
            Background::Noise => &self.noise,
            Background::Babble => &self.crowd,
            Background::Music => &self.music,
        };
        let noise = TestConditions::Noise { noise, snr_db: condition.snr_db, seed: SEED };
        noise.place(recording, index)
    }

    /// Returns the streams of some recordings under a condition, and the range of steps of each.
    fn streams(
        &self,
        condition: &Condition,
        recordings: &[Example],
        backbone: &Backbone,
    ) -> Result<(Vec<MelStream>, Vec<Range<usize>>)> {
        let frontend = backbone.frontend();
        let placed = recordings.par_iter().enumerate().map(|(index, example)| {
            let placed = self.place(condition, &example.load()?, index);
            let frames = log_mel(&mel_powers(&placed.pcm, &frontend));
            let mut stream = MelStream::new(frames.len());
            stream.add_clip(0, &frames);
            Ok((stream, placed.steps(backbone.steps_per_second())))
        });
        Ok(placed.collect::<Result<Vec<_>>>()?.into_iter().unzip())
    }
}

/// Returns the response of a room from its direct sound on, with energy 1.
fn response(pcm: &[i16]) -> Vec<f32> {
    let loudest = pcm.iter().enumerate().max_by_key(|(_, s)| s.unsigned_abs());
    let direct = loudest.map_or(0, |(at, _)| at);
    let reverberant: Vec<f32> = pcm[direct..].iter().map(|&s| f32::from(s)).collect();
    let energy = reverberant.iter().map(|s| s * s).sum::<f32>().sqrt().max(1.0);
    reverberant.into_iter().map(|s| s / energy).collect()
}

/// Returns a recording as it sounds in a room, as long as before and as loud at its loudest.
fn in_room(recording: &[i16], response: &[f32]) -> Vec<i16> {
    let size = (recording.len() + response.len()).next_power_of_two();
    let mut planner = realfft::RealFftPlanner::<f32>::new();
    let (forward, inverse) = (planner.plan_fft_forward(size), planner.plan_fft_inverse(size));
    let transform = |x: &mut dyn Iterator<Item = f32>| {
        let mut padded: Vec<f32> = x.chain(std::iter::repeat(0.0)).take(size).collect();
        let mut spectrum = forward.make_output_vec();
        forward.process(&mut padded, &mut spectrum).expect("buffers of one plan");
        spectrum
    };
    let mut product = transform(&mut recording.iter().map(|&s| f32::from(s)));
    let room = transform(&mut response.iter().copied());
    product.iter_mut().zip(&room).for_each(|(x, room)| *x *= room);
    // Rounding leaves imaginary parts where a real signal has none.
    for end in [0, size / 2] {
        product[end].im = 0.0;
    }
    let mut reverberant = inverse.make_output_vec();
    inverse.process(&mut product, &mut reverberant).expect("buffers of one plan");
    reverberant.truncate(recording.len());
    let peak = |x: &mut dyn Iterator<Item = f32>| x.fold(0.0, |peak, s: f32| s.abs().max(peak));
    let before = peak(&mut recording.iter().map(|&s| f32::from(s)));
    let gain = before / peak(&mut reverberant.iter().copied()).max(f32::MIN_POSITIVE);
    to_i16(&reverberant.iter().map(|s| s * gain).collect::<Vec<f32>>())
}

impl TestData {
    /// Loads all test data. Embeddings are taken from the cache if they are there.
    pub fn load(backbone: &Backbone, data: &Path, folder: PathBuf) -> Result<Self> {
        let frontend = backbone.frontend();
        let cache = Cache { folder, fingerprint: fingerprint(&backbone.pretrained)? };
        let household = Dataset::open(data.join("manifest/noise-test.jsonl"))?.examples;
        let conditions = Conditions::load(data)?;
        let speech = test_negatives(data)?;
        let crowd_of = |pcm: &Vec<i16>| SpeechClip {
            frames: log_mel(&mel_powers(pcm, &frontend)),
            ..SpeechClip::default()
        };
        let negative = |name: &str, examples: &[Example]| {
            let parts: Vec<String> = examples.iter().map(Example::name).collect();
            cache.negative(backbone, (name, &parts), || {
                load_speech(examples, &frontend, "test data")
            })
        };
        let seed = format!("{SEED} {BABBLE_CLIPS} {BABBLE_SAMPLES} {BABBLE_RMS}");
        Ok(Self {
            speech: negative("speech", &speech)?,
            noise: negative("noise", &household)?,
            babble: cache.negative(backbone, ("babble", &[seed]), || {
                conditions.babble().iter().map(crowd_of).collect()
            })?,
            conditions,
            cache,
        })
    }

    /// Returns the embeddings of some clips of a keyword in a condition, and the range of steps of
    /// each recording.
    ///
    /// All clips of the keyword are embedded together, so the clips of every seed are in the cache.
    pub fn clips(
        &self,
        backbone: &Backbone,
        (name, word): (&str, &Keyword),
        condition: &Condition,
        wanted: &[Example],
    ) -> Result<(Embeddings, Vec<Range<usize>>)> {
        let all = word.all_test();
        let place = || {
            let (streams, spans) = self.conditions.streams(condition, all, backbone)?;
            let spans = spans.into_iter().map(|span| (span.start, span.end)).collect();
            Ok(Streams { streams, spans, texts: Vec::new(), share: 1.0 })
        };
        let names: Vec<String> = all.iter().map(Example::name).collect();
        let file = format!("{name} {}", condition.name);
        let found = self.cache.embed(backbone, (&file, &names), place)?;
        let numbers: HashMap<&String, usize> = names.iter().zip(0..).collect();
        let wanted = wanted.iter().filter_map(|e| numbers.get(&e.name()).copied());
        let pairs = wanted.filter_map(|i| Some((found.streams.get(i)?, found.spans.get(i)?)));
        let (streams, spans) = pairs.map(|(stream, span)| (stream.clone(), span.0..span.1)).unzip();
        Ok((outputs(backbone, streams), spans))
    }
}

fn outputs(backbone: &Backbone, streams: Vec<Vec<i8>>) -> Embeddings {
    Embeddings {
        channels: backbone.config().channels,
        steps_per_second: backbone.steps_per_second(),
        streams,
    }
}

/// Mixes babble of two to six speakers. Each speaks sentences one after another, at levels within 6
/// dB of each other.
fn babble(dev: &[Example]) -> Result<Vec<Vec<i16>>> {
    let mut speakers: BTreeMap<String, Vec<Vec<f32>>> = BTreeMap::new();
    for example in dev {
        let text = clean(example.text.as_deref().unwrap_or(""));
        let is_free = !text.is_empty() && !WORDS.iter().any(|word| contains_phrase(&text, word));
        if example.kind.as_deref() == Some("sentence") && is_free {
            let pcm: Vec<f32> = example.load()?.into_iter().map(f32::from).collect();
            let loudness = active_rms(&pcm);
            if loudness > 0.0 {
                let speaker = example.speaker.clone().unwrap_or_default();
                let pcm = pcm.into_iter().map(|s| s / loudness).collect();
                speakers.entry(speaker).or_default().push(pcm);
            }
        }
    }
    let speakers: Vec<&Vec<Vec<f32>>> = speakers.values().collect();
    let mut rng = StdRng::seed_from_u64(SEED);
    let clip = |_| {
        let count = rng.random_range(2..=6);
        let mut sum = vec![0f32; BABBLE_SAMPLES];
        for sentences in speakers.sample(&mut rng, count) {
            let gain = 10f32.powf(rng.random_range(-6.0..=6.0f32) / 20.0);
            // The first sentence starts before the clip.
            let mut at = 0;
            while at < BABBLE_SAMPLES {
                let Some(sentence) = sentences.choose(&mut rng) else { break };
                let skipped = if at == 0 { rng.random_range(0..sentence.len()) } else { 0 };
                let kept = &sentence[skipped..];
                sum[at..].iter_mut().zip(kept).for_each(|(sum, s)| *sum += gain * s);
                at += kept.len() + rng.random_range(800..8_000usize);
            }
        }
        let loudness = active_rms(&sum).max(f32::MIN_POSITIVE);
        to_i16(&sum.iter().map(|s| s * BABBLE_RMS / loudness).collect::<Vec<f32>>())
    };
    Ok((0..BABBLE_CLIPS).map(clip).collect())
}

/// Embeddings of streams, as stored in a file.
#[derive(Serialize, Deserialize)]
struct Embedded {
    streams: Vec<Vec<i8>>,
    /// Range of steps of the recording in each stream.
    spans: Vec<(usize, usize)>,
    /// Transcript of each stream.
    texts: Vec<String>,
    /// Share of the streams that is not a pause between clips.
    share: f64,
}

/// Streams to embed.
struct Streams {
    streams: Vec<MelStream>,
    spans: Vec<(usize, usize)>,
    texts: Vec<String>,
    share: f64,
}

/// Folder of cached embeddings. The file name contains a checksum of everything that the content
/// depends on.
struct Cache {
    folder: PathBuf,
    fingerprint: u32,
}

impl Cache {
    /// Returns the embeddings under a name, of the given parts. `make` creates the streams if they
    /// are not cached.
    fn embed(
        &self,
        backbone: &Backbone,
        (name, parts): (&str, &[String]),
        make: impl FnOnce() -> Result<Streams>,
    ) -> Result<Embedded> {
        let mut crc = flate2::Crc::new();
        let version = [CACHE_VERSION, self.fingerprint].map(u32::to_le_bytes);
        crc.update(version.as_flattened());
        parts.iter().for_each(|part| crc.update(format!("{part}\n").as_bytes()));
        let path = self.folder.join(format!("{name} {:08x}.bin", crc.sum()));
        if let Ok(bytes) = fs::read(&path)
            && let Ok(found) = postcard::from_bytes(&bytes)
        {
            return Ok(found);
        }
        let Streams { streams, spans, texts, share } = make()?;
        let streams = embed_streams(backbone, &streams)?.streams;
        let embedded = Embedded { streams, spans, texts, share };
        fs::create_dir_all(&self.folder).map_err(Error::io(&self.folder, "create"))?;
        let bytes = postcard::to_allocvec(&embedded)
            .map_err(|e| Error::defect(format!("{}: {e}", path.display())))?;
        files::write_atomic(&path, &bytes)?;
        Ok(embedded)
    }

    fn negative(
        &self,
        backbone: &Backbone,
        name: (&str, &[String]),
        load: impl FnOnce() -> Vec<SpeechClip>,
    ) -> Result<Negative> {
        let make = || {
            let clips = load();
            let frames: usize = clips.iter().map(|clip| clip.frames.len()).sum();
            let streams = in_a_row(&clips);
            let all: usize = streams.streams.iter().map(MelStream::len).sum();
            let share = frames as f64 / all.max(1) as f64;
            Ok(Streams { streams: streams.streams, spans: Vec::new(), texts: streams.texts, share })
        };
        let Embedded { streams, texts, share, .. } = self.embed(backbone, name, make)?;
        let outputs = outputs(backbone, streams);
        let hours = outputs.hours() * share;
        Ok(Negative { outputs, hours, texts })
    }
}

/// Returns the root mean square of `x` over its 20 ms frames that are at most 25 dB below the
/// loudest. Silence around a sentence therefore does not change its level.
fn active_rms(x: &[f32]) -> f32 {
    const FRAME: usize = 320;
    const PAUSE_DB: f32 = 25.0;
    let power = |frame: &[f32]| frame.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>();
    let mean = |frame: &[f32]| power(frame) / frame.len() as f64;
    let floor =
        x.chunks(FRAME).map(mean).fold(0.0, f64::max) * 10f64.powf(f64::from(-PAUSE_DB) / 10.0);
    let active: Vec<&[f32]> = x.chunks(FRAME).filter(|frame| mean(frame) >= floor).collect();
    let samples: usize = active.iter().map(|frame| frame.len()).sum();
    let sum: f64 = active.iter().map(|frame| power(frame)).sum();
    (sum / samples.max(1) as f64).sqrt() as f32
}
